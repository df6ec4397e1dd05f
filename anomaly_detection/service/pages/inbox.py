"""The inbox: the cases that somebody should look at, the worst first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, urlencode

import orjson
from starlette.responses import Response

from anomaly_detection.service.access.masking import MASK
from anomaly_detection.service.alerts.alert_book import STATES, VERDICTS
from anomaly_detection.service.alerts.case_book import CASES, worst_alerts
from anomaly_detection.service.alerts.case_facets import categories_of
from anomaly_detection.service.http.json_answer import answer
from anomaly_detection.service.http.shapes import number_of
from anomaly_detection.service.pages.done import Done, seen
from anomaly_detection.service.pages.heading import heading
from anomaly_detection.service.pages.rendering import as_files, figure, html, number
from anomaly_detection.service.pages.start import start_page
from anomaly_detection.service.pages.visit import Pairs, Visit
from anomaly_detection.service.routes.cases import get_facets, list_cases
from anomaly_detection.service.routes.streams import list_streams
from anomaly_detection.service.routes.views import list_views, remove_view, save_view
from anomaly_detection.texts.viewer import N_, gettext, midnight

__all__ = ["beside", "change_views", "facets_part", "inbox", "news_part", "view_of"]

_FIELDS = (
    "text",
    "stream",
    "state",
    "verdict",
    "min_severity",
    "column",
    "since",
    "until",
    "snoozed",
    "whose",
    "sort",
)
_SORTS = {
    "severity": N_("the worst"),
    "newest": N_("the newest"),
    "last_seen": N_("seen last"),
    "count": N_("the most records"),
}
_UNRESOLVED, _ALL = "unresolved", "all"
_NEW = 50


def inbox(visit: Visit, said: Done | None = None) -> Response:
    """``GET /``: the cases that the address asks for."""
    streams = visit.get(list_streams)["streams"]
    if not visit.query and not any(each["judged"] + each["waiting"] + each["refused"] for each in streams):
        return start_page(visit)
    asked, fields = _asked(visit.query)
    query = _of_cases(visit, asked, fields)
    page = visit.get(list_cases, query)
    kept = [*((name, value) for name, value in asked.items() if name != "after"), *_has(fields)]
    following = None if page["next"] is None else "/?" + urlencode([*kept, ("after", page["next"])])
    newest = visit.get(list_cases, [("sort", "newest"), ("snoozed", "too"), ("limit", "1")])["cases"]
    return html(
        "inbox",
        visit=visit,
        said=said,
        here="inbox",
        cases=_lines(visit, page["cases"]),
        next=following,
        is_first="after" not in asked,
        is_filtered=any(name in asked for name in _FIELDS) or bool(fields),
        address=urlencode(kept),
        newest=newest[0]["id"] if newest else 0,
        files=as_files("/v1/cases", [pair for pair in query if pair[0] != "after"]),
        views=visit.get(list_views)["views"],
        learning=[each for each in streams if each["learning"] and each["waiting"]],
        **_narrowing(visit, streams, asked, fields),
        counts=None,
        words={},
    )


def facets_part(visit: Visit) -> Response:
    """``GET /facets``: the part of the inbox that narrows, with what there is to choose from."""
    asked, fields = _asked(visit.query)
    values = _narrowing(visit, visit.get(list_streams)["streams"], asked, fields)
    counts = visit.get(get_facets, [("stream", values["stream"])] if values["stream"] else [])
    return html("facets", counts=counts, words=_words(counts), **values)


def _words(counts: Mapping[str, Any]) -> dict[str, str]:
    """What each place of the slider means; of one day alone, how many cases there are."""
    words = {}
    for each in counts["severities"]:
        least = gettext("%(least)s up", least=each["min_severity"]) if each["min_severity"] else gettext("any")
        a_day = gettext("%(count)s a day", count=figure(each["a_day"]))
        many = a_day if counts["days"] > 1 else gettext("%(count)s new", count=number(each["cases"]))
        words[str(each["min_severity"])] = f"{least}: {many}"
    return words


def news_part(visit: Visit) -> Response:
    """``GET /news``: how many cases wait, and how many came since the one that the address names."""
    last = int(number_of(dict(visit.query).get("newest") or "0", "newest", whole=True))
    wanted = [("state", _UNRESOLVED), ("sort", "newest"), ("limit", str(_NEW)), ("total", "true")]
    found = visit.get(list_cases, wanted)
    new = sum(case["id"] > last for case in found["cases"]) if last else 0
    return html("news", waiting=found["total"], new=new, many=_NEW)


def change_views(visit: Visit) -> Response:
    """``POST /views``: save what the inbox shows under a name, or remove such a view; then the inbox again."""
    _, here = seen(visit)
    if visit.button(("save", "remove"), "A view can") == "save":
        asked, fields = _asked(here.query)
        asked.pop("after", None)
        # What cannot be shown is not saved.
        visit.get(list_cases, [*_of_cases(visit, asked, fields), ("limit", "1")])
        query = [*asked.items(), *_has(fields)]
        name = visit.said("name").strip()
        visit.change(save_view, {"name": name, "query": urlencode(query)})
        return inbox(replace(here, query=query), Done(gettext("Saved as %(name)s.", name=name[:100])))
    removed = visit.get(remove_view, id=visit.whole("number"))
    return inbox(here, Done(gettext("The view %(name)s is removed.", name=removed["name"])))


def view_of(visit: Visit) -> str:
    """The view of the inbox that an address names: its own, or that of a case which was opened from it."""
    asked, fields = _asked(visit.query)
    return urlencode([*((name, asked[name]) for name in _FIELDS if name in asked), *_has(fields)])


def beside(visit: Visit, case: Mapping[str, Any] | None, where: str = "after") -> int | None:
    """The case ``after`` or ``before`` another in the view that the address names; without another its first."""
    asked, fields = _asked(parse_qsl(view_of(visit)))
    query = [*_of_cases(visit, asked, fields), ("limit", "1")]
    place = [] if case is None else [(where, CASES.place(case, asked.get("sort", "severity")))]
    found = visit.get(list_cases, [*query, *place])["cases"]
    return found[0]["id"] if found else None


def _asked(query: Pairs) -> tuple[dict[str, str], dict[str, str]]:
    """What an address says, and the fields of records that it names; what is empty says nothing."""
    asked = {name: value for name, value in query if value and name != "has"}
    fields = dict(value.split("=", 1) for name, value in query if name == "has" and "=" in value.strip("="))
    return asked, fields


def _has(fields: Mapping[str, str]) -> list[tuple[str, str]]:
    return [("has", f"{name}={value}") for name, value in fields.items()]


def _of_cases(visit: Visit, asked: Mapping[str, str], fields: Mapping[str, str]) -> list[tuple[str, str]]:
    """The same as the API asks for it."""
    said = {"state": _UNRESOLVED, **asked}
    # Days are the viewer's, and the last one is in it.
    said |= {name: midnight(said[name], name == "until") for name in ("since", "until") if name in said}
    whose = said.pop("whose", None)
    if whose is not None:
        said["assignee"] = {"me": visit.caller.name, "nobody": ""}.get(whose, whose)
    return [*((name, value) for name, value in said.items() if (name, value) != ("state", _ALL)), *_has(fields)]


def _narrowing(
    visit: Visit, streams: Sequence[Mapping[str, Any]], asked: Mapping[str, str], fields: Mapping[str, str]
) -> dict[str, Any]:
    """What the filters show: with one stream alone it is the one whose categories they offer."""
    names = [each["name"] for each in streams]
    busy = [each["name"] for each in streams if each["model"]]
    stream = asked.get("stream") or (busy[0] if len(busy) == 1 else "")
    judge = visit.service.judge_of(stream) if stream in names else None
    # Who may not see personal columns may not search records.
    offered = [] if judge is None or MASK.get() is not None else categories_of(judge.detector.preprocessor.schema_)
    shown = {name: asked.get(name, "") for name in _FIELDS}
    shown["state"] = shown["state"] or _UNRESOLVED
    return {
        "shown": shown,
        "fields": fields,
        "states": (_UNRESOLVED, *STATES, _ALL),
        "verdicts": VERDICTS,
        "sorts": _SORTS,
        "offered": list(dict.fromkeys([*offered, *fields])),
        "stream": stream,
        "streams": streams,
        "address_now": urlencode([*asked.items(), *_has(fields)]),
    }


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
