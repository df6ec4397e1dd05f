"""Rules that hide alerts: previewed, made, changed and revoked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import orjson
from sqlalchemy import Connection, RowMapping, func, insert, select, update
from starlette.responses import Response

from anomaly_detection.service.access.rights import Need
from anomaly_detection.service.alerts.alert_book import ALERTS, find_alert, kept_text
from anomaly_detection.service.alerts.audit import history, write_line
from anomaly_detection.service.alerts.case_totals import recount
from anomaly_detection.service.alerts.cases import show_again
from anomaly_detection.service.alerts.changes import RULE, change, parts
from anomaly_detection.service.alerts.rules import (
    RULE_SHAPE,
    RULES,
    Rule,
    conditions_of,
    find_rule,
    number_of,
    rule_shape,
)
from anomaly_detection.service.http.exports import KINDS
from anomaly_detection.service.http.json_answer import answer
from anomaly_detection.service.http.operations import NAME, Call, Operation
from anomaly_detection.service.http.problems import Problem
from anomaly_detection.service.http.shapes import (
    COUNT,
    MOMENT,
    OBJECT,
    TEXT,
    array,
    choice,
    maybe,
    moment_of,
    record,
    text,
)
from anomaly_detection.service.processes.service import Service
from anomaly_detection.service.storage.clock import now
from anomaly_detection.service.storage.tables import alerts, rules
from anomaly_detection.service.streams.streams import need_stream
from anomaly_detection.texts.said import say

__all__ = ["OPERATIONS", "counted"]

_DAYS = 90
_EXAMPLES = 20
_AT_ONCE = 1000
_LOOKED_AT = (alerts.c.id, alerts.c.record, alerts.c.lead_column, alerts.c.state, alerts.c.hidden_by)


def list_rules(service: Service, call: Call) -> Response:
    """``GET /v1/rules``."""
    return RULES.answer(service.database, call)


def get_rule(service: Service, call: Call) -> Response:
    """``GET /v1/rules/{id}``."""
    with service.database.reading() as connection:
        return answer(_with_history(connection, call.id))


def suggest_rule(service: Service, call: Call) -> Response:
    """``GET /v1/alerts/{id}/rule``: what would hide alerts like this one, for somebody to narrow or to widen."""
    with service.database.reading() as connection:
        found = find_alert(connection, call.id)
    if found is None:
        raise Problem(404, say("There is no alert %(id)s.", id=call.id))
    judge = service.judge_of(found["stream"])
    fields: dict[str, Any] = found["record"]
    where: dict[str, Any] = {}
    for reason in found["reasons"][:1]:
        # Within which group it was judged; then how far.
        grouped = () if judge is None else judge.group_of(reason["feature"])
        where |= {name: fields[name] for name in grouped if isinstance(fields.get(name), str)}
        name = reason["columns"][0]
        value = fields.get(name)
        if isinstance(value, (dict, list)) or name not in fields:
            continue
        number = number_of(value)
        end = {"high": "max", "low": "min"}.get(reason["direction"])
        # A late date of a supplier is known for the supplier, not for that day.
        if end is not None and number is None and where:
            continue
        where[name] = value if end is None or number is None else {end: number}
    return answer({"stream": found["stream"], "column": found["column"] or None, "where": where})


def preview_rule(service: Service, call: Call) -> Response:
    """``POST /v1/rules/preview``: what a rule would have hidden; nothing is changed."""
    with service.database.reading() as connection:
        stream = need_stream(connection, call.content["stream"])
        counts, examples = counted(connection, stream.id, _rule(call.content))
        shown = connection.execute(
            ALERTS.query.where(alerts.c.id.in_(examples[-_EXAMPLES:])).order_by(alerts.c.id.desc())
        )
        told = [ALERTS.render(row) for row in shown.mappings()]
    return answer({**counts, "examples": told})


def counted(connection: Connection, stream_id: int, rule: Rule) -> tuple[dict[str, int], list[int]]:
    """How many alerts there were in the last days, how many of them a rule would have hidden, and which."""
    since = datetime.now(timezone.utc) - timedelta(days=_DAYS)
    moment = since.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    recent = select(alerts.c.id).where(alerts.c.stream_id == stream_id, alerts.c.last_seen >= moment)
    count = connection.execute(recent.with_only_columns(func.count())).scalar_one()
    # Which they are is told by an index; records are long, and only those are read that a rule can be about.
    about = recent if rule.column is None else recent.where(alerts.c.lead_column == rule.column)
    still_open, hit = 0, []
    for some in parts(sorted(connection.execute(about).scalars())):
        query = select(*_LOOKED_AT).where(alerts.c.id.in_(some)).order_by(alerts.c.id)
        for row in connection.execute(query):
            if rule.hides(orjson.loads(row.record), row.lead_column, ""):
                still_open += row.state != "resolved" and row.hidden_by is None
                hit.append(row.id)
    return {"days": _DAYS, "alerts": count, "hidden": len(hit), "open": still_open}, hit


def make_rule(service: Service, call: Call) -> Response:
    """``POST /v1/rules``: it hides what matches and is not resolved now, and what comes."""
    conditions, reason = _rule(call.content), kept_text(call.content["reason"], 1000)
    until = _until(call.content)

    def work(connection: Connection) -> dict[str, Any]:
        stream = need_stream(connection, call.content["stream"])
        said = {"column": conditions.column, "where": dict(conditions.where)}
        values = {
            "stream_id": stream.id,
            "conditions": orjson.dumps(said).decode(),
            "reason": reason,
            "who": call.who,
            "created": now(),
            "until": until,
            "hidden": 0,
        }
        number = int(connection.execute(insert(rules).values(values).returning(rules.c.id)).scalar_one())
        write_line(connection, call.who, "make", "rule", (number, None, {**said, "until": until}), reason)
        _hide(connection, stream.id, replace(conditions, id=number))
        return _with_history(connection, number)

    made = service.writer.run(work)
    service.reload()
    return answer(made, 201, {"Location": f"/v1/rules/{made['id']}"})


def _hide(connection: Connection, stream_id: int, rule: Rule, since: str = "") -> None:
    """Hide what a rule names of the alerts that are seen and not resolved; what is older was counted before."""
    here = (alerts.c.state != "resolved") & alerts.c.hidden_by.is_(None)
    hidden = [
        row
        for row in _rows(connection, stream_id, here)
        if rule.hides(orjson.loads(row["record"]), row["lead_column"], now())
    ]
    _set_hidden(connection, [row["id"] for row in hidden], rule.id)
    if hidden:
        new = sum(row["count"] for row in hidden if row["first_seen"] >= since)
        counted = {"hidden": rules.c.hidden + new, "last_hidden": now()}
        connection.execute(update(rules).where(rules.c.id == rule.id).values(counted))
    for case in {row["case_id"] for row in hidden} - {None}:
        recount(connection, case)


def change_rule(service: Service, call: Call) -> Response:
    """``PATCH /v1/rules/{id}``."""
    after: dict[str, Any] = {}
    if "until" in call.content:
        after["until"] = _until(call.content)
    if "revoked" in call.content:
        after["revoked"] = None
    if "reason" in call.content:
        after["reason"] = kept_text(call.content["reason"], 1000)

    def work(connection: Connection) -> dict[str, Any]:
        revoked = find_rule(connection, call.id)["revoked"]
        change(connection, RULE, call.id, after, call.who)
        if "revoked" in after and revoked is not None:
            row = connection.execute(select(rules).where(rules.c.id == call.id)).mappings().one()
            _hide(connection, row["stream_id"], Rule.of(row), revoked)
        return _with_history(connection, call.id)

    made = service.writer.run(work)
    service.reload()
    return answer(made)


def revoke_rule(service: Service, call: Call) -> Response:
    """``DELETE /v1/rules/{id}``: it hides nothing more, and what it hid is seen again."""

    def work(connection: Connection) -> dict[str, Any]:
        if find_rule(connection, call.id)["revoked"] is not None:
            raise Problem(409, say("Rule %(id)s was revoked already.", id=call.id))
        moment = now()
        RULE.put(connection, call.id, {"revoked": moment})
        write_line(connection, call.who, "revoke", "rule", (call.id, {"revoked": None}, {"revoked": moment}))
        row = connection.execute(select(rules.c.stream_id).where(rules.c.id == call.id)).one()
        seen = list(_rows(connection, row.stream_id, alerts.c.hidden_by == call.id))
        _set_hidden(connection, [each["id"] for each in seen], None)
        show_again(connection, row.stream_id, seen)
        return _with_history(connection, call.id)

    made = service.writer.run(work)
    service.reload()
    return answer(made)


def _set_hidden(connection: Connection, ids: list[int], rule: int | None) -> None:
    for first in range(0, len(ids), 500):
        some = alerts.c.id.in_(ids[first : first + 500])
        connection.execute(update(alerts).where(some).values(hidden_by=rule))


def _rows(connection: Connection, stream_id: int, which: Any) -> Iterator[RowMapping]:
    """Alerts of a stream, some at a time: they may be many."""
    last = 0
    while True:
        query = select(alerts).where(alerts.c.stream_id == stream_id, alerts.c.id > last, which)
        rows = list(connection.execute(query.order_by(alerts.c.id).limit(_AT_ONCE)).mappings())
        yield from rows
        if len(rows) < _AT_ONCE:
            return
        last = rows[-1]["id"]


def _rule(content: Mapping[str, Any]) -> Rule:
    conditions = conditions_of(content)
    return Rule(0, conditions["column"], conditions["where"], None)


def _until(content: Mapping[str, Any]) -> str | None:
    said = content.get("until")
    return None if said is None else moment_of(said, "until")


def _with_history(connection: Connection, number: int) -> dict[str, Any]:
    return {**find_rule(connection, number), "history": history(connection, "rule", number)}


_REASON = text(1000)
_UNTIL = maybe(MOMENT)

OPERATIONS = (
    Operation(
        "GET",
        "/v1/rules",
        list_rules,
        "List the rules that hide alerts, with how many each has hidden.",
        RULES.shape,
        "A page of rules, or a file.",
        RULES.parameters,
        kinds=KINDS,
        needs=Need("read", "query"),
    ),
    Operation(
        "POST",
        "/v1/rules",
        make_rule,
        "Hide alerts that somebody knows the reason of: those that are open, and those that come.",
        RULE_SHAPE,
        "The rule.",
        body=rule_shape({"stream": NAME, "reason": _REASON}, {"until": _UNTIL}),
        good=201,
        statuses=(404,),
        needs=Need("change", "body"),
    ),
    Operation(
        "POST",
        "/v1/rules/preview",
        preview_rule,
        "What a rule would have hidden in the last 90 days; nothing is changed.",
        record({"days": COUNT, "alerts": COUNT, "hidden": COUNT, "open": COUNT, "examples": array(OBJECT)}),
        "How many alerts there were, how many it would have hidden, and the newest of those.",
        body=rule_shape({"stream": NAME}, {"until": _UNTIL, "reason": _REASON}),
        statuses=(404,),
        turn="judging",
        needs=Need("change", "body"),
    ),
    Operation(
        "GET",
        "/v1/alerts/{id}/rule",
        suggest_rule,
        "What a rule would say that hides alerts like this one; it is not made yet.",
        record({"stream": TEXT, "column": maybe(TEXT), "where": OBJECT}),
        "As POST /v1/rules takes it, with a reason.",
        needs=Need("read", "alert"),
    ),
    Operation(
        "GET",
        "/v1/rules/{id}",
        get_rule,
        "One rule with its history.",
        RULE_SHAPE,
        "The rule.",
        needs=Need("read", "rule"),
    ),
    Operation(
        "PATCH",
        "/v1/rules/{id}",
        change_rule,
        "Change until when a rule holds, or its reason; with revoked: null one that was revoked holds again.",
        RULE_SHAPE,
        "The rule as it is now.",
        body=record({}, {"until": _UNTIL, "reason": _REASON, "revoked": choice(None)}),
        statuses=(409,),
        needs=Need("change", "rule"),
    ),
    Operation(
        "DELETE",
        "/v1/rules/{id}",
        revoke_rule,
        "Revoke a rule: it hides nothing more, and what it hid is seen again.",
        RULE_SHAPE,
        "The rule.",
        statuses=(409,),
        needs=Need("change", "rule"),
    ),
)
