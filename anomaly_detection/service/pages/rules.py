"""A rule out of an alert: what it would hide is shown before it is made; and revoking one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode

from starlette.responses import Response

from anomaly_detection.service.alerts.rules import number_of
from anomaly_detection.service.http.problems import Problem
from anomaly_detection.service.http.shapes import number_of as number_out_of
from anomaly_detection.service.pages.done import Done, seen, went_to
from anomaly_detection.service.pages.heading import heading, told, with_heading
from anomaly_detection.service.pages.inbox import inbox
from anomaly_detection.service.pages.rendering import html
from anomaly_detection.service.pages.visit import Visit
from anomaly_detection.service.routes.alerts import get_alert
from anomaly_detection.service.routes.rules import (
    change_rule,
    get_rule,
    make_rule,
    preview_rule,
    revoke_rule,
    suggest_rule,
)
from anomaly_detection.texts.said import say
from anomaly_detection.texts.viewer import N_, gettext, localised, ngettext, plain_number

__all__ = ["change_rules", "rule_page"]

_HOWS = {"is": N_("is"), "max": N_("is at most"), "min": N_("is at least"), "off": N_("does not matter")}
_UNTIL = {"30": N_("for 30 days"), "90": N_("for 90 days"), "365": N_("for a year"), "": N_("until it is revoked")}
_DOING = ("make", "revoke", "restore")
_EXAMPLES = 8
_OFFERED = 300


class Condition(NamedTuple):
    """One field of a rule, as the form has it."""

    name: str
    how: str
    value: str


def rule_page(visit: Visit) -> Response:
    """``GET /alerts/{id}/rule``: what the address says of a rule, or else what the alert suggests."""
    alert = visit.get(get_alert, id=visit.path["id"])
    asked = dict(visit.query)
    if "asked" in asked:
        conditions, about = _conditions(visit.query, alert["record"]), bool(asked.get("about"))
    else:
        suggested = visit.get(suggest_rule, id=alert["id"])
        conditions, about = [_of(*each) for each in suggested["where"].items()], bool(suggested["column"])
    rule = _rule(alert, conditions, about)
    preview = None
    if len(rule) > 1:
        preview = visit.change(preview_rule, rule)
    taken = {each.name for each in conditions}
    return html(
        "rule",
        visit=visit,
        said=None,
        here="inbox",
        alert=alert,
        heading=heading(visit.service, alert["stream"], alert["record"], alert["sent_id"]),
        about=about,
        conditions=conditions,
        others=[name for name, value in alert["record"].items() if name not in taken and _is_plain(value)][:_OFFERED],
        hows=_HOWS,
        preview=preview,
        examples=[with_heading(visit.service, each) for each in (preview or {"examples": []})["examples"][:_EXAMPLES]],
        reason=asked.get("reason", gettext("Known: %(what)s", what=alert["about"] or alert["column"])[:1000]),
        days=asked.get("days", "90"),
        spans=_UNTIL,
        back=asked.get("back", ""),
    )


def change_rules(visit: Visit) -> Response:
    """``POST /rules``: make one, and show the inbox without what it hides; or revoke one."""
    return {"make": _make, "revoke": _revoke, "restore": _restore}[visit.button(_DOING, "A rule can")](visit)


def _make(visit: Visit) -> Response:
    alert = visit.get(get_alert, id=int(number_out_of(visit.said("alert"), "alert", whole=True)))
    pairs = [(name, value) for name in ("name", "how", "value", "add") for value in visit.form.get(name, ())]
    rule = _rule(alert, _conditions(pairs, alert["record"]), bool(visit.said("about")))
    days = visit.said("days")
    if days not in _UNTIL:
        raise Problem(
            400,
            say("A rule holds for %(what)s days, or until it is revoked.", what=", ".join(filter(None, _UNTIL))),
        )
    until = {"until": (date.today() + timedelta(days=int(days))).isoformat()} if days else {}
    made = visit.change(make_rule, {**rule, **until, "reason": visit.said("reason").strip()})
    told = ngettext(
        "A rule hides %(num)s record now, and what comes like it.",
        "A rule hides %(num)s records now, and what comes like it.",
        made["hidden"],
    )
    done = Done(told, rule=made["id"])
    query = parse_qsl(visit.said("back"), keep_blank_values=True)
    shown = inbox(Visit(visit.service, visit.caller, query=query or [("state", "unresolved")]), done)
    shown.headers["HX-Push-Url"] = f"/?{urlencode(query)}" if query else "/"
    return shown


def _revoke(visit: Visit) -> Response:
    number = int(number_out_of(visit.said("number"), "number", whole=True))
    stream = visit.get(get_rule, id=number)["stream"]
    visit.get(revoke_rule, id=number)
    path, here = seen(visit)
    if path != "/":
        return went_to(visit, f"/streams/{stream}")
    return inbox(here, Done(gettext("The rule is revoked: what it hid is seen again.")))


def _restore(visit: Visit) -> Response:
    made = visit.change(change_rule, {"revoked": None}, id=visit.whole("number"))
    return went_to(visit, f"/streams/{made['stream']}")


def _conditions(pairs: Sequence[tuple[str, str]], record: Mapping[str, Any]) -> list[Condition]:
    """Those of an address or a form, and the field that is to come; `Problem` (400) for what is no condition."""
    fields = [[value for name, value in pairs if name == field] for field in ("name", "how", "value")]
    if len({len(each) for each in fields}) > 1:
        raise Problem(400, "Each condition has a field, how it is compared, and a value.")
    found = [Condition(*each) for each in zip(*fields, strict=True)]
    odd = next((each.how for each in found if each.how not in _HOWS), None)
    if odd is not None:
        raise Problem(400, say("A field can be %(hows)s; not %(odd)s.", hows=", ".join(_HOWS), odd=f"{odd[:40]!r}"))
    added = [value for name, value in pairs if name == "add" and value in record]
    return [each for each in found if each.how != "off"] + [_of(name, record[name]) for name in added]


def _of(name: str, wanted: Any) -> Condition:
    """As the form has what a rule says of a field."""
    if isinstance(wanted, dict):
        ((how, value),) = wanted.items()
        return Condition(name, how, _written(value))
    return Condition(name, "is", _written(wanted))


def _rule(alert: Mapping[str, Any], conditions: Sequence[Condition], about: bool) -> dict[str, Any]:
    where = {each.name: _wanted(each, alert["record"].get(each.name)) for each in conditions}
    column = alert["column"] if about else ""
    return {"stream": alert["stream"], **({"column": column} if column else {}), **({"where": where} if where else {})}


def _wanted(condition: Condition, value: Any) -> Any:
    """What a condition asks for; a text that says what the record has is that value itself."""
    if condition.how == "is":
        return value if condition.value == _written(value) else condition.value
    number = number_of(plain_number(condition.value.strip()))
    if number is None:
        said = gettext("%(name)s is compared with a number, not with “%(value)s”.")
        raise Problem(400, said % {"name": condition.name[:80], "value": condition.value[:40]})
    return {condition.how: number}


def _written(value: Any) -> str:
    """A value as the form has it: a number with the viewer's decimal sign."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return localised(told(value)) if is_number else told(value)


def _is_plain(value: Any) -> bool:
    return value is None or (isinstance(value, (str, int, float, bool)) and len(str(value)) <= 200)
