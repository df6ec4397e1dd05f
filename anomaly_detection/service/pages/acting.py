"""What somebody does with cases by a button or a key, as changes of the API."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, urlencode

from starlette.responses import Response

from anomaly_detection.service.alerts.case_book import worst_alerts
from anomaly_detection.service.http.problems import Problem
from anomaly_detection.service.pages.case import case_page
from anomaly_detection.service.pages.done import Done, seen
from anomaly_detection.service.pages.inbox import beside, inbox, view_of
from anomaly_detection.service.pages.rules import rule_page
from anomaly_detection.service.pages.visit import Visit
from anomaly_detection.service.routes.cases import change_cases, get_case, merge
from anomaly_detection.texts.viewer import N_, gettext, midnight, ngettext, today

__all__ = ["DOING", "act"]

_DIGITS = 19
"""From so many on a number may be no row's; of thousands Python makes none."""


def act(visit: Visit) -> Response:
    """``POST /cases``: do one thing with some cases, and show the page that it was done on."""
    cases = [each for field in visit.form.get("ids", ()) for each in field.split(",") if each]
    if not cases:
        raise Problem(400, gettext("No case is chosen."))
    if not all(map(_is_number, cases)):
        raise Problem(400, "Cases are called by their numbers.")
    do = visit.button(DOING, "A case can be")
    numbers = list(dict.fromkeys(map(int, cases)))
    if do in ("hide", "merge"):
        return {"hide": _hide, "merge": _merge}[do](visit, numbers)
    told, change = _DOING[do]
    show, is_case = _shown(visit)
    moved = visit.change(change_cases, {"ids": numbers, **change(visit)})
    sentence = f"{_counted(len(numbers), moved['alerts'])}: {gettext(told)}."
    effects = ((each["stream"], _effect(each)) for each in moved["effects"])
    taught = tuple((stream, told) for stream, told in effects if told)
    # What was taken back is not taken back further by mistake.
    done = Done(sentence, "" if do == "undo" else ",".join(map(str, numbers)), effects=taught)
    return _next(visit, numbers[0], done) if is_case and do in _VERDICTS else show(done)


def _effect(found: Mapping[str, Any]) -> str:
    """What moved, in words; empty where nothing did."""
    below, up = len(found["alerts_below"]), len(found["records_up"])
    said = []
    if below:
        said.append(
            ngettext("%(num)s open alert moved below the line", "%(num)s open alerts moved below the line", below)
        )
    if up:
        said.append(ngettext("%(num)s record came up", "%(num)s records came up", up))
    return ", ".join(said)


def _next(visit: Visit, number: int, done: Done) -> Response:
    """The case after one that got its verdict, else the first of its view; the inbox where none is left."""
    view = view_of(seen(visit)[1])
    here = replace(visit, query=parse_qsl(view))
    after = beside(here, visit.get(get_case, id=number)) or beside(here, None)
    if after is not None:
        shown, where = case_page(replace(here, path={"id": after}), done), f"/cases/{after}"
    else:
        # With a query, for without one there may be nothing but the start.
        shown, where = inbox(replace(here, query=here.query or [("state", "unresolved")]), done), "/"
    shown.headers["HX-Push-Url"] = f"{where}?{view}" if view else where
    return shown


def _hide(visit: Visit, numbers: list[int]) -> Response:
    """To the page of a rule, which begins with what the worst alert of a case suggests."""
    if len(numbers) > 1:
        raise Problem(400, gettext("A rule is made from one case; choose no more."))
    view = view_of(seen(visit)[1])
    with visit.service.database.reading() as connection:
        worst = worst_alerts(connection, numbers)
    if not worst:
        raise Problem(409, gettext("Case %(number)s has no alert that is seen.", number=numbers[0]))
    back = {"back": view} if view else {}
    shown = rule_page(replace(visit, query=list(back.items()), path={"id": worst[0]["id"]}))
    shown.headers["HX-Push-Url"] = f"/alerts/{worst[0]['id']}/rule{'?' if back else ''}{urlencode(back)}"
    return shown


def _merge(visit: Visit, numbers: list[int]) -> Response:
    if len(numbers) < 2:
        raise Problem(400, gettext("Choose two cases or more; they become one."))
    show, _ = _shown(visit)
    into = visit.change(merge, {"ids": numbers})["id"]
    others = ",".join(str(each) for each in numbers if each != into)
    return show(Done(gettext("%(cases)s are case %(number)s now.", cases=_counted(len(numbers)), number=into), others))


def _shown(visit: Visit) -> tuple[Callable[[Done], Response], bool]:
    """What shows the page that htmx sent this from, as it is by then, and whether it is a case's."""
    path, here = seen(visit)
    room, _, number = path.strip("/").partition("/")
    if room == "cases" and _is_number(number):
        return partial(case_page, replace(here, path={"id": int(number)})), True
    return partial(inbox, here), False


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < _DIGITS


def _resolved(verdict: str) -> Callable[[Visit], dict[str, Any]]:
    return lambda visit: {"state": "resolved", "verdict": verdict}


def _snoozed(visit: Visit) -> dict[str, Any]:
    days, day = visit.said("days"), visit.said("until")
    step = visit.said("worse_by").strip()
    if visit.said("or_worse") and not (_is_number(step) and 1 <= int(step) <= 100):
        raise Problem(400, gettext("A severity is higher by 1 to 100 points."))
    worse = {"or_worse_by": float(step)} if visit.said("or_worse") else {}
    if not day and not days and worse:
        return worse
    if not day and not (_is_number(days) and 1 <= int(days) <= 365):
        raise Problem(400, gettext("A case is snoozed for 1 to 365 days, until a day, or until it gets worse."))
    return {"snooze_until": midnight(day or (today() + timedelta(days=int(days))).isoformat()), **worse}


_DOING: dict[str, tuple[str, Callable[[Visit], dict[str, Any]]]] = {
    "expected": (N_("expected"), _resolved("expected")),
    "false alarm": (N_("false alarm"), _resolved("false alarm")),
    "real": (N_("real, fixed"), _resolved("real: fixed")),
    "accepted": (N_("real, accepted"), _resolved("real: accepted")),
    "duplicate": (N_("duplicate"), _resolved("duplicate")),
    "acknowledge": (N_("acknowledged"), lambda visit: {"state": "acknowledged"}),
    "open": (N_("open again"), lambda visit: {"state": "open"}),
    "assign": (N_("yours"), lambda visit: {"assignee": visit.caller.name}),
    "give": (N_("given to somebody"), lambda visit: {"assignee": visit.said("assignee").strip() or None}),
    "snooze": (N_("snoozed"), _snoozed),
    "wake": (N_("no longer snoozed"), lambda visit: {"snooze_until": None}),
    "comment": (N_("comment added"), lambda visit: {"comment": visit.said("comment").strip()}),
    "undo": (N_("the last change is undone"), lambda visit: {"undo": True}),
}
"""By the button's value: what is told of it, and the change that it is."""

DOING = (*_DOING, "hide", "merge")
"""Values of buttons."""

_VERDICTS = ("expected", "false alarm", "real", "accepted", "duplicate")
"""What is done with a case when the next one may come."""


def _counted(cases: int, alerts: int = 0) -> str:
    """Such as ``2 cases with 3 alerts``."""
    told = ngettext("%(num)s case", "%(num)s cases", cases)
    with_alerts = ngettext("%(cases)s with %(num)s alert", "%(cases)s with %(num)s alerts", alerts)
    return with_alerts % {"cases": told} if alerts else told
