"""The overview: what there was in some days."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from starlette.responses import Response

from anomaly_detection.service.access import Need
from anomaly_detection.service.json_answer import answer
from anomaly_detection.service.masking import hides
from anomaly_detection.service.operations import Call, Operation, Parameter
from anomaly_detection.service.overview import OVERVIEW, overview
from anomaly_detection.service.problems import Problem
from anomaly_detection.service.service import Service
from anomaly_detection.service.shapes import MOMENT, text

__all__ = ["OPERATIONS"]

_DAYS = 30


def get_overview(service: Service, call: Call) -> Response:
    """``GET /v1/overview``."""
    given, moment = call.query, datetime.now(timezone.utc)
    if given["by"] is not None and hides(given["by"]):
        raise Problem(403, f"{given['by']} is a personal column, which it takes the right to see.")
    since = given["since"] or _written(moment - timedelta(days=_DAYS))
    until = given["until"] or _written(moment + timedelta(days=1))
    with service.database.reading() as connection:
        return answer(overview(connection, given["stream"], since, until, given["by"]))


def _written(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


OPERATIONS = (
    Operation(
        "GET",
        "/v1/overview",
        get_overview,
        "Records and alerts by day, what alerts are about, money in them, and how people judged them, of some days.",
        OVERVIEW,
        "The overview; alerts that rules hide are not counted.",
        (
            Parameter("stream", "Only of this stream.", text(64)),
            Parameter("since", "From this moment on; of the last 30 days if not given.", MOMENT),
            Parameter("until", "Before this moment.", MOMENT),
            Parameter("by", "Count alerts by this field of their records too, such as a supplier.", text(255)),
        ),
        turn="judging",
        needs=Need("read", "query"),
    ),
)
