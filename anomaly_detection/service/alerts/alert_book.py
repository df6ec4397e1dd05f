"""The kept alerts: found, and changed with a line of history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import Connection, RowMapping, Table, or_, select

from anomaly_detection.service.alerts.audit import LINE, history
from anomaly_detection.service.alerts.changes import ALERT, change_many
from anomaly_detection.service.alerts.reasons import about_of, reason_of, worded_reasons
from anomaly_detection.service.alerts.undoing import last_changes, undo_all
from anomaly_detection.service.http.fields import has_fields, has_text
from anomaly_detection.service.http.listing import OF_STREAM, Filter, Listing
from anomaly_detection.service.http.operations import Parameter
from anomaly_detection.service.http.shapes import (
    COUNT,
    ID,
    MOMENT,
    OBJECT,
    TEXT,
    Shape,
    array,
    choice,
    maybe,
    record,
    text,
)
from anomaly_detection.service.records.incoming import without_nul
from anomaly_detection.service.storage.tables import alerts, streams

__all__ = [
    "ALERTS",
    "ALERT_SHAPE",
    "CHANGE",
    "COMMENT",
    "RISKS",
    "STATES",
    "VERDICTS",
    "change_alerts",
    "change_of",
    "filters_of_seen",
    "find_alert",
    "importance",
    "kept_text",
    "wanted",
]

STATES = ("open", "acknowledged", "resolved")
VERDICTS = ("real: fixed", "real: accepted", "expected", "false alarm", "duplicate")
"""What a resolved alert turned out to be."""

RISKS = ("low", "medium", "high", "critical")
COMMENT = text(10_000)
_ASSIGNEE = maybe(text(255))
_CHANGED = ("state", "verdict", "assignee")

_ROW = {
    "id": COUNT,
    "stream": TEXT,
    "state": choice(*STATES),
    "verdict": maybe(choice(*VERDICTS)),
    "assignee": maybe(TEXT),
    "count": {"type": "integer", "minimum": 1},
    "first_seen": TEXT,
    "last_seen": TEXT,
    "severity": {"type": "number", "minimum": 0, "maximum": 100},
    "risk_level": choice(*RISKS),
    "column": TEXT,
    "about": TEXT,
    "reason": TEXT,
    "amount": maybe({"type": "number"}),
    "case_id": maybe(COUNT),
    "hidden_by": maybe(COUNT),
    "sent_id": maybe(TEXT),
    "record": OBJECT,
}
ALERT_SHAPE = record(_ROW, {"reasons": array(OBJECT), "history": array(LINE)}, closed=False)


def change_of(more: Mapping[str, Shape] | None = None) -> Shape:
    """The shape of a change of an alert or a case, with further members that each must or may have."""
    needed = dict(more or {})
    said = {"assignee": _ASSIGNEE, "comment": COMMENT}
    return {
        "anyOf": [
            record({**needed, "state": choice(*STATES[:-1])}, said),
            record({**needed, "state": choice(STATES[-1])}, {"verdict": choice(*VERDICTS), **said}),
            record({**needed, "undo": choice(True)}, {"comment": COMMENT}),
            record({**needed, "assignee": _ASSIGNEE}, {"comment": COMMENT}),
            record({**needed, "comment": COMMENT}, {"assignee": _ASSIGNEE}),
        ],
        "description": f"a change: a state ({', '.join(STATES)}), with resolved a verdict ({', '.join(VERDICTS)}),"
        " an assignee, a comment, or undo: true, which comes alone or with a comment",
    }


CHANGE = change_of()


def _rendered(row: RowMapping) -> dict[str, Any]:
    words = {"about": about_of(row), "reason": reason_of(row)}
    other = {**words, "column": row["lead_column"], "record": orjson.loads(row["record"])}
    return {name: other[name] if name in other else row[name] for name in _ROW}


def _text(connection: Connection, value: str) -> Any:
    return or_(*(has_text(connection, each, value) for each in (alerts.c.reason, alerts.c.record, alerts.c.sent_id)))


def _hidden(connection: Connection, value: str) -> Any:
    return {"no": alerts.c.hidden_by.is_(None), "only": alerts.c.hidden_by.is_not(None)}.get(value)


def _assigned(connection: Connection, value: str) -> Any:
    return alerts.c.assignee == value if value else alerts.c.assignee.is_(None)


def filters_of_seen(table: Table, column: str) -> tuple[Filter, ...]:
    """The filters that alerts and cases share, for the table of either; `column` says what that filter asks for."""
    seen = table.c
    return (
        Filter(
            Parameter("verdict", "Only those with this verdict.", choice(*VERDICTS)),
            lambda _, value: seen.verdict == value,
        ),
        Filter(
            Parameter("min_severity", "The least severity.", {"type": "number", "minimum": 0, "maximum": 100}),
            lambda _, value: seen.severity >= value,
        ),
        Filter(Parameter("column", column, text(255)), lambda _, value: seen.lead_column == value),
        Filter(Parameter("since", "Last seen from this moment on.", MOMENT), lambda _, value: seen.last_seen >= value),
        Filter(Parameter("until", "First seen before this moment.", MOMENT), lambda _, value: seen.first_seen < value),
    )


ALERTS = Listing(
    "alerts",
    select(alerts, streams.c.name.label("stream")).join(streams).where(streams.c.deleted.is_(None)),
    alerts.c.id,
    {
        "newest": (alerts.c.id, True),
        "oldest": (alerts.c.id, False),
        "severity": (alerts.c.severity, True),
        "last_seen": (alerts.c.last_seen, True),
        "count": (alerts.c.count, True),
    },
    (
        OF_STREAM,
        Filter(
            Parameter("state", "Only those in this state.", choice(*STATES)), lambda _, value: alerts.c.state == value
        ),
        *filters_of_seen(alerts, "Only those whose first reason is about this column."),
        Filter(
            Parameter("text", "Only those whose reason or record has this text.", text(200)), _text, looks_inside=True
        ),
        Filter(Parameter("assignee", "Only those of this one; of nobody where it is empty.", text(255, 0)), _assigned),
        has_fields(alerts.c.record),
        Filter(Parameter("case", "Only those of this case.", ID), lambda _, value: alerts.c.case_id == value),
        Filter(Parameter("rule", "Only those that this rule hides.", ID), lambda _, value: alerts.c.hidden_by == value),
        Filter(
            Parameter("hidden", "Those that rules hide too, or only those.", choice("no", "too", "only"), "no"), _hidden
        ),
    ),
    _rendered,
    record(_ROW, closed=False),
)
"""All alerts."""


def find_alert(connection: Connection, number: int) -> dict[str, Any] | None:
    """An alert with its reasons as values, and its history."""
    query = select(alerts, streams.c.name.label("stream")).join(streams).where(alerts.c.id == number)
    row = connection.execute(query.where(streams.c.deleted.is_(None))).mappings().first()
    if row is None:
        return None
    reasons = worded_reasons(orjson.loads(row["contributions"]))
    return {**_rendered(row), "reasons": reasons, "history": history(connection, "alert", number)}


def change_alerts(connection: Connection, ids: Sequence[int], who: str, said: Mapping[str, Any]) -> None:
    """Change the ``state``, ``verdict`` or ``assignee`` of alerts, comment on them, or ``undo`` each one's last change.

    Raises
    ------
    Problem
        404 where one is not there, 409 where there is nothing to undo.
    """
    after, comment = wanted(said)
    if "undo" not in said:
        change_many(connection, ALERT, ids, after, who, comment)
        return
    # That there is one is said before that nothing was changed.
    ALERT.now_of(connection, ids, ())
    undo_all(connection, last_changes(connection, ALERT, ids), who, comment)


def wanted(said: Mapping[str, Any]) -> tuple[dict[str, Any], str | None]:
    """What a change of the shape `change_of` makes of an alert or a case, and its comment."""
    after = {name: said[name] for name in _CHANGED if name in said}
    if after.get("assignee") is not None:
        after["assignee"] = kept_text(after["assignee"], 255)
    if "state" in after and after["state"] != "resolved":
        # What was judged is looked at again.
        after["verdict"] = None
    return after, kept_text(said["comment"], 10_000) if "comment" in said else None


def kept_text(text: str, most: int) -> str:
    """A text as it is kept, where a NUL takes more than one character."""
    return without_nul(text)[:most]


def importance(connection: Connection, stream_id: int, most: int) -> tuple[int, dict[str, float]]:
    """How many of the newest alerts were looked at, and the mean share that each column has in them."""
    query = select(alerts.c.contributions).where(alerts.c.stream_id == stream_id)
    found: Sequence[str] = list(connection.execute(query.order_by(alerts.c.id.desc()).limit(most)).scalars())
    shares: dict[str, float] = {}
    for each in found:
        for reason in orjson.loads(each):
            name = " and ".join(reason["columns"])
            shares[name] = shares.get(name, 0.0) + reason["share"] / len(found)
    return len(found), dict(sorted(shares.items(), key=lambda item: -item[1]))
