"""What follows the first paint of a case: pictures of odd values, usual records beside this one, what was before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from anomaly_detection.alerts.spread import Spread
from anomaly_detection.reports.drawings import draw_spread
from anomaly_detection.service.pages.heading import told, with_heading
from anomaly_detection.service.pages.rendering import html, number
from anomaly_detection.service.pages.visit import Visit
from anomaly_detection.service.routes.alerts import get_alert, get_context
from anomaly_detection.texts.viewer import gettext

__all__ = ["context_page", "is_drawn"]

_ROWS = 40
"""Columns that are shown side by side, the odd ones first: of 200 a person reads no more."""


def context_page(visit: Visit) -> Response:
    """``GET /alerts/{id}/context``: the parts of a case's page that are loaded after it."""
    alert = visit.get(get_alert, id=visit.path["id"])
    found = visit.get(get_context, id=visit.path["id"])
    rows = _side_by_side(alert["record"], found)
    return html(
        "context",
        alert=alert,
        found=found,
        pictures=[
            (place, _picture(each))
            for place, (each, reason) in enumerate(zip(found["odd"], alert["reasons"], strict=False))
            if is_drawn(reason)
        ],
        rows=rows[:_ROWS],
        more=len(rows[_ROWS:]),
        before=[with_heading(visit.service, each) for each in found["before"]],
    )


def is_drawn(reason: Mapping[str, Any]) -> bool:
    """Whether a reason is about one value, of which there may be a picture: the page keeps room for it."""
    value, direction = reason["value"], reason["direction"]
    return isinstance(value, (int, float)) or (direction == "rare" and not isinstance(value, list))


def _picture(odd: Mapping[str, Any]) -> dict[str, Any]:
    """The value among those of its group as a drawing, and over time as what `charts.js` draws."""
    spread, over_time = odd["spread"], odd["over_time"]
    made: dict[str, Any] = {"drawing": None, "caption": "", "chart": None, "told": ""}
    if isinstance(spread, dict):
        drawn = Spread(**{**spread, "counts": tuple(spread["counts"]), "ends": tuple(spread["ends"])})
        made["drawing"] = draw_spread(drawn)
        from_to = gettext("%(what)s: %(low)s to %(high)s; here %(value)s")
        logarithmic = gettext("%(what)s: %(low)s to %(high)s, logarithmic scale; here %(value)s")
        values = {"what": drawn.what, "low": drawn.ends[0], "high": drawn.ends[1], "value": drawn.value}
        made["caption"] = (from_to if drawn.even else logarithmic) % values
    if isinstance(over_time, dict):
        others = list(zip(over_time["at"], over_time["values"], strict=True))
        own = [] if over_time["own_at"] is None else [(over_time["own_at"], over_time["own"])]
        places = sorted([(*each, None) for each in others] + [(at, None, value) for at, value in own], key=_first)
        x, usual, here = zip(*places, strict=True)
        made["chart"] = {"x": x, "dots": True, "series": [{"label": gettext("others"), "values": usual}]}
        made["chart"]["series"].append({"label": gettext("this record"), "values": here})
        said = gettext("%(what)s by %(by)s: %(count)s records, and this one as a diamond")
        made["told"] = said % {"what": over_time["what"], "by": over_time["by"], "count": number(len(others))}
    return made


def _first(place: tuple[Any, ...]) -> float:
    return float(place[0])


def _side_by_side(record: Mapping[str, Any], found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The odd columns, and those in which a usual record differs: each with the values of all."""
    odd = [name for each in found["odd"] for name in each["columns"] if name in record]
    differing = {name for each in found["nearest"] for name in each["differs"]}
    names = [*odd, *(name for name in record if name in differing)]
    return [
        {
            "name": name,
            "odd": name in odd,
            "own": told(record[name]),
            "others": [(told(each["record"].get(name)), name in each["differs"]) for each in found["nearest"]],
        }
        for name in dict.fromkeys(names)
    ]
