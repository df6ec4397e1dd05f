"""The overview as a page: how much comes in, what it is about, and whether the alerts get better."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from starlette.responses import Response

from anomaly_detection.service.pages.rendering import html
from anomaly_detection.service.pages.visit import Visit
from anomaly_detection.service.problems import Problem
from anomaly_detection.service.routes.overview import get_overview
from anomaly_detection.service.routes.streams import list_streams

__all__ = ["overview_page"]

_SPANS = (7, 30, 90, 365)


def overview_page(visit: Visit) -> Response:
    """``GET /overview``."""
    asked = {name: value for name, value in visit.query if value}
    span = asked.pop("days", "30")
    if span not in map(str, _SPANS):
        raise Problem(400, f"days is {', '.join(map(str, _SPANS))}.")
    today = datetime.now(timezone.utc).date()
    every = [(today - timedelta(days=ago)).isoformat() for ago in reversed(range(int(span)))]
    found = visit.get(get_overview, [*asked.items(), ("since", every[0])])
    days = {each["day"]: each for each in found["days"]}
    return html(
        "overview",
        visit=visit,
        said=None,
        here="overview",
        found=found,
        chart={
            "x": [_seconds(day) for day in every],
            "series": [
                {"label": name.title(), "values": [days[day][name] if day in days else 0 for day in every]}
                for name in ("records", "alerts")
            ],
        },
        most=max((each["alerts"] for each in found["by_column"]), default=1),
        streams=visit.get(list_streams)["streams"],
        shown={"stream": asked.get("stream", ""), "days": span},
        spans=_SPANS,
    )


def _seconds(day: str) -> float:
    return datetime.fromisoformat(day).replace(tzinfo=timezone.utc).timestamp()
