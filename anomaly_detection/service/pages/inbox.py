"""The inbox: the cases that somebody should look at, the worst first."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import orjson
from starlette.responses import Response

from anomaly_detection.service.alert_book import STATES, VERDICTS
from anomaly_detection.service.case_book import worst_alerts
from anomaly_detection.service.json_answer import answer
from anomaly_detection.service.pages.heading import heading
from anomaly_detection.service.pages.rendering import html
from anomaly_detection.service.pages.start import start_page
from anomaly_detection.service.pages.visit import Visit
from anomaly_detection.service.routes.cases import list_cases
from anomaly_detection.service.routes.streams import list_streams

__all__ = ["inbox"]

_FIELDS = ("text", "stream", "state", "verdict", "min_severity", "since", "until", "snoozed", "assignee", "sort")
_SEVERITIES = ((25, "medium and worse"), (50, "high and worse"), (75, "critical"))
_UNRESOLVED, _ALL = "unresolved", "all"


def inbox(visit: Visit, said: Any = None) -> Response:
    """``GET /``: the cases that the address asks for."""
    streams = visit.get(list_streams)["streams"]
    if not visit.query and not any(each["judged"] + each["waiting"] + each["refused"] for each in streams):
        return start_page(visit)
    asked = {name: value for name, value in visit.query if value}
    shown = {name: asked.get(name, "") for name in _FIELDS}
    shown["state"] = shown["state"] or _UNRESOLVED
    query = [(name, value) for name, value in {**asked, "state": shown["state"]}.items() if value != _ALL]
    page = visit.get(list_cases, query)
    following = None
    if page["next"] is not None:
        following = "/?" + urlencode({**asked, "after": page["next"]})
    return html(
        "inbox",
        visit=visit,
        said=said,
        here="inbox",
        cases=_lines(visit, page["cases"]),
        next=following,
        is_first="after" not in asked,
        shown=shown,
        is_filtered=any(name in asked for name in _FIELDS),
        streams=streams,
        states=(_UNRESOLVED, *STATES, _ALL),
        verdicts=VERDICTS,
        severities=_SEVERITIES,
        learning=[each for each in streams if each["learning"] and each["waiting"]],
    )


def _lines(visit: Visit, cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each case with what its worst alert says, as the API would show it."""
    with visit.service.database.reading() as connection:
        found = worst_alerts(connection, [case["id"] for case in cases])
    worst = {each["case_id"]: each for each in orjson.loads(bytes(answer({"alerts": found}).body))["alerts"]}
    return [_line(visit, case, worst.get(case["id"])) for case in cases]


def _line(visit: Visit, case: dict[str, Any], worst: dict[str, Any] | None) -> dict[str, Any]:
    if worst is None:
        return {**case, "sentence": "", "heading": None}
    found = heading(visit.service, case["stream"], worst["record"], worst["sent_id"])
    return {**case, "sentence": worst["reason"], "heading": found}
