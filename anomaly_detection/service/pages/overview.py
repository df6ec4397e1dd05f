"""The overview as a page: how much comes in, what it is about, and whether the alerts get better."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from starlette.responses import Response

from anomaly_detection.data.columns.parsing import name_tokens
from anomaly_detection.service.access.masking import hides
from anomaly_detection.service.http.problems import Problem
from anomaly_detection.service.pages.rendering import html
from anomaly_detection.service.pages.visit import Visit
from anomaly_detection.service.routes.overview import get_overview
from anomaly_detection.service.routes.streams import list_streams
from anomaly_detection.texts.viewer import VIEWER, gettext, midnight, today

__all__ = ["overview_page"]

_LISTED = 10
_SPANS = (7, 30, 90, 365)
_FIELDS = (
    frozenset({"supplier", "vendor", "carrier", "forwarder"}),
    frozenset({"lane", "route", "mode", "method", "port", "destination", "origin", "warehouse", "location", "region"}),
    frozenset({"product", "item", "sku", "material", "category"}),
)
"""Words in the names of columns by which alerts are counted if nobody says by which."""


def overview_page(visit: Visit) -> Response:
    """``GET /overview``."""
    asked = {name: value for name, value in visit.query if value}
    span = asked.pop("days", "30")
    if span not in map(str, _SPANS):
        raise Problem(400, f"days is {', '.join(map(str, _SPANS))}.")
    streams = visit.get(list_streams)["streams"]
    shown = [each["name"] for each in streams if asked.get("stream", each["name"]) == each["name"]]
    categories = _categories(visit, shown)
    by = [asked.pop("by")] if "by" in asked else []
    by += [name for name in _usual_fields(categories) if name not in by]
    every = [(today() - timedelta(days=ago)).isoformat() for ago in reversed(range(int(span)))]
    zone = VIEWER.get().zone
    query = [*asked.items(), ("since", midnight(every[0])), *([] if zone is None else [("zone", str(zone))])]
    found = visit.get(get_overview, [*query, *(("by", name) for name in by)])
    days = {each["day"]: each for each in found["days"]}
    return html(
        "overview",
        visit=visit,
        said=None,
        here="overview",
        found=found,
        query=query,
        weeks=[{**each, "week": _monday(each["week"])} for each in found["weeks"]],
        chart={
            "x": [_seconds(day) for day in every],
            "series": [
                {"label": told, "values": [days[day][name] if day in days else 0 for day in every]}
                for name, told in (("records", gettext("Records")), ("alerts", gettext("Alerts")))
            ],
        },
        fields=[(name, [each for each in found["by_field"] if each["field"] == name][:_LISTED]) for name in by],
        streams=streams,
        categories=categories,
        shown={"stream": asked.get("stream", ""), "days": span, "by": dict(visit.query).get("by", "")},
        spans=_SPANS,
    )


def _categories(visit: Visit, streams: list[str]) -> list[str]:
    """The categories of the records of some streams, as their models read them, that the visitor may see."""
    judges = filter(None, map(visit.service.judge, streams))
    return [name for name in dict.fromkeys(name for judge in judges for name in judge.categories) if not hides(name)]


def _usual_fields(categories: list[str]) -> list[str]:
    """Of these that which names a supplier, a lane and a product in the fewest words; a number only without a name."""
    found = ([name for name in categories if name_tokens(name) & words] for words in _FIELDS)
    chosen = (min(names, key=_roundabout) for names in found if names)
    return list(dict.fromkeys(chosen))


def _roundabout(name: str) -> tuple[bool, int]:
    words = name_tokens(name)
    return "id" in words, len(words)


def _monday(week: str) -> str:
    """The first day of a week of ISO 8601."""
    return datetime.strptime(f"{week}-1", "%G-W%V-%u").date().isoformat()


def _seconds(day: str) -> float:
    return datetime.fromisoformat(day).replace(tzinfo=timezone.utc).timestamp()
