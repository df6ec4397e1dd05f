"""The overview: what came in and what became of it."""

from __future__ import annotations

from starlette.responses import Response

from anomaly_detection.service.json_answer import answer
from anomaly_detection.service.operations import Call, Operation, Parameter
from anomaly_detection.service.service import Service
from anomaly_detection.service.shapes import COUNT, TEXT, array, maybe, record, text
from anomaly_detection.service.totals import overview

__all__ = ["OPERATIONS"]

_AMOUNT = maybe({"type": "number"})


def get_overview(service: Service, call: Call) -> Response:
    """``GET /v1/overview``."""
    with service.database.reading() as connection:
        return answer(overview(connection, call.query["stream"], call.query["days"]))


OPERATIONS = (
    Operation(
        "GET",
        "/v1/overview",
        get_overview,
        "Records and alerts by day, false alarms by week, alerts by reason, and what is open.",
        record(
            {
                "days": array(record({"day": TEXT, "records": COUNT, "alerts": COUNT})),
                "weeks": array(record({"week": TEXT, "alerts": COUNT, "with_verdict": COUNT, "false_alarms": COUNT})),
                "reasons": array(record({"column": TEXT, "alerts": COUNT, "amount": _AMOUNT})),
                "open": record({"cases": COUNT, "alerts": COUNT, "amount": _AMOUNT}),
            }
        ),
        "The counts.",
        (
            Parameter("stream", "Only those of this stream.", text(64)),
            Parameter("days", "Of the last so many days.", {"type": "integer", "minimum": 1, "maximum": 366}, 30),
        ),
    ),
)
