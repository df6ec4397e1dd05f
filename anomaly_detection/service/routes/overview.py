"""The overview: what there was in some days."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from starlette.responses import Response

from anomaly_detection.service.access.masking import hides
from anomaly_detection.service.access.rights import Need
from anomaly_detection.service.alerts.overview import OVERVIEW, overview
from anomaly_detection.service.http.exports import FORMAT, KINDS, export
from anomaly_detection.service.http.json_answer import answer
from anomaly_detection.service.http.operations import Call, Operation, Parameter
from anomaly_detection.service.http.problems import Problem
from anomaly_detection.service.http.shapes import MOMENT, choice, text
from anomaly_detection.service.processes.service import Service
from anomaly_detection.service.storage.zones import zone_of
from anomaly_detection.texts.said import say

__all__ = ["OPERATIONS"]

_DAYS = 30
_LISTS = ("days", "by_stream", "by_column", "by_field", "weeks")


def get_overview(service: Service, call: Call) -> Response:
    """``GET /v1/overview``."""
    given, moment = call.query, datetime.now(timezone.utc)
    by = list(dict.fromkeys(given["by"] or ()))
    hidden = next(filter(hides, by), None)
    if hidden is not None:
        raise Problem(403, say("%(hidden)s is a personal column, which it takes the right to see.", hidden=hidden))
    since = given["since"] or _written(moment - timedelta(days=_DAYS))
    until = given["until"] or _written(moment + timedelta(days=1))
    with service.database.reading() as connection:
        found = overview(connection, given["stream"], since, until, by, zone_of(given["zone"]))
    for each in found["by_stream"]:
        judge = service.judge(each["stream"])
        each["asked"] = None if judge is None else judge.asked
    if given["format"] != "json":
        part = given["part"]
        return export(iter([found[part]]), given["format"], part, OVERVIEW["properties"][part]["items"])
    return answer({**found, "asked_rate": _asked(found["by_stream"])})


def _asked(by_stream: list[dict[str, Any]]) -> float | None:
    """The share of all these records that was to be alerts; None where of some that is not known."""
    count = sum(each["records"] for each in by_stream)
    if not count or any(each["asked"] is None for each in by_stream if each["records"]):
        return None
    return sum(each["records"] * (each["asked"] or 0.0) for each in by_stream) / count


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
            Parameter("zone", "Days and weeks are those of this time zone, such as Europe/Berlin.", text(64), "UTC"),
            Parameter(
                "by", "Count alerts, the newest 20,000, by this field too, such as a supplier.", text(255), many=True
            ),
            FORMAT,
            Parameter("part", "Which of its lists a file has.", choice(*_LISTS), _LISTS[0]),
        ),
        kinds=KINDS,
        statuses=(422,),
        turn="judging",
        needs=Need("read", "query"),
    ),
)
