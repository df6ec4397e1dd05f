"""The overview as a page: how much comes in, what it is about, and whether the alerts get better."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from starlette.responses import Response

from anomaly_detection.service.pages.rendering import html
from anomaly_detection.service.pages.visit import Visit
from anomaly_detection.service.routes.overview import get_overview
from anomaly_detection.service.routes.streams import list_streams

__all__ = ["overview_page"]

_SPANS = (7, 30, 90, 365)


def overview_page(visit: Visit) -> Response:
    """``GET /overview``."""
    asked = {name: value for name, value in visit.query if value}
    found = visit.get(get_overview, list(asked.items()))
    return html(
        "overview",
        visit=visit,
        said=None,
        here="overview",
        found=found,
        chart={
            "x": [_seconds(each["day"]) for each in found["days"]],
            "series": [
                {"label": name.title(), "values": [each[name] for each in found["days"]]}
                for name in ("records", "alerts")
            ],
        },
        most=max((each["alerts"] for each in found["reasons"]), default=1),
        weeks=[{**each, "share": _share(each)} for each in reversed(found["weeks"])],
        streams=visit.get(list_streams)["streams"],
        shown={"stream": asked.get("stream", ""), "days": asked.get("days", "30")},
        spans=_SPANS,
    )


def _share(week: dict[str, Any]) -> float | None:
    return week["false_alarms"] / week["with_verdict"] if week["with_verdict"] else None


def _seconds(day: str) -> float:
    return datetime.fromisoformat(day).replace(tzinfo=timezone.utc).timestamp()
