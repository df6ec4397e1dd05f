"""`Rule`: what keeps alerts out of lists that somebody knows the reason of. Hidden alerts are kept and counted."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Connection, RowMapping, or_, select

from anomaly_detection.service.http.listing import OF_STREAM, Filter, Listing
from anomaly_detection.service.http.operations import Parameter
from anomaly_detection.service.http.problems import Problem
from anomaly_detection.service.http.shapes import COUNT, OBJECT, TEXT, Shape, array, choice, maybe, record, text
from anomaly_detection.service.storage.clock import now
from anomaly_detection.service.storage.tables import rules, streams
from anomaly_detection.texts.said import say

__all__ = [
    "CONDITIONS",
    "RULES",
    "RULE_SHAPE",
    "Rule",
    "conditions_of",
    "find_rule",
    "hiding",
    "number_of",
    "rule_shape",
    "rules_of",
]

_PLAIN: Shape = {"type": ["string", "number", "boolean", "null"], "maxLength": 1000}
_NUMBER: Shape = {"type": "number"}
CONDITIONS: Shape = {
    "type": "object",
    "minProperties": 1,
    "maxProperties": 50,
    "additionalProperties": {
        "anyOf": [
            _PLAIN,
            array(_PLAIN, 1, 1000),
            record({"min": _NUMBER}, {"max": _NUMBER}),
            record({"max": _NUMBER}),
        ],
        "description": 'a value, a list of values, or an object with min or max, such as {"max": 60}',
    },
}
"""By field: its value, some values of which it has one, or between what its number lies."""

RULE_SHAPE = record(
    {
        "id": COUNT,
        "stream": TEXT,
        "column": maybe(TEXT),
        "where": OBJECT,
        "reason": TEXT,
        "who": TEXT,
        "created": TEXT,
        "until": maybe(TEXT),
        "revoked": maybe(TEXT),
        "hidden": COUNT,
        "last_hidden": maybe(TEXT),
    },
    closed=False,
)


@dataclass(frozen=True)
class Rule:
    """A rule that holds.

    Attributes
    ----------
    id : int
        0 for one that is only tried.
    column : str or None
        It hides only alerts whose first reason is about this column.
    where : mapping of str to object
        See `CONDITIONS`. All must hold.
    until : str or None
        It hides nothing from this moment on.
    """

    id: int
    column: str | None
    where: Mapping[str, Any]
    until: str | None

    @classmethod
    def of(cls, row: RowMapping) -> Rule:
        """Out of its row."""
        conditions = orjson.loads(row["conditions"])
        return cls(row["id"], conditions["column"], conditions["where"], row["until"])

    def hides(self, fields: Mapping[str, Any], column: str, moment: str) -> bool:
        """Whether it hides the alert of a record with these fields, whose first reason is about a column."""
        if self.until is not None and moment >= self.until:
            return False
        if self.column is not None and self.column != column:
            return False
        return all(name in fields and _holds(fields[name], wanted) for name, wanted in self.where.items())


def _holds(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, dict):
        number = number_of(value)
        return number is not None and wanted.get("min", -math.inf) <= number <= wanted.get("max", math.inf)
    if isinstance(wanted, list):
        return any(_holds(value, each) for each in wanted)
    if isinstance(value, bool) or isinstance(wanted, bool):
        return value is wanted
    a, b = number_of(value), number_of(wanted)
    if a is not None and b is not None:
        return a == b
    if isinstance(value, str) and isinstance(wanted, str):
        return value.strip() == wanted.strip()
    return value is None and wanted is None


def number_of(value: Any) -> float | None:
    """What a number is, or a text that is one."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def hiding(holding: Iterable[Rule], fields: Mapping[str, Any], column: str, moment: str) -> int | None:
    """The first rule that hides an alert; None where none does."""
    return next((rule.id for rule in holding if rule.hides(fields, column, moment)), None)


def rules_of(connection: Connection, stream_id: int | None = None) -> Any:
    """The rules of a stream that hold now, the oldest first; of all, by the id of their stream, if none is given."""
    query = select(rules).where(rules.c.revoked.is_(None), or_(rules.c.until.is_(None), rules.c.until > now()))
    if stream_id is not None:
        query = query.where(rules.c.stream_id == stream_id)
    rows = list(connection.execute(query.order_by(rules.c.id)).mappings())
    if stream_id is not None:
        return [Rule.of(row) for row in rows]
    found: dict[int, list[Rule]] = {}
    for row in rows:
        found.setdefault(row["stream_id"], []).append(Rule.of(row))
    return found


def conditions_of(content: Mapping[str, Any]) -> dict[str, Any]:
    """What a rule of the shape `rule_shape` is to hide."""
    return {"column": content.get("column"), "where": dict(content.get("where", {}))}


def rule_shape(needed: Mapping[str, Shape], may: Mapping[str, Shape]) -> Shape:
    """The shape of a rule that is to be made: it names the column that alerts are about, or conditions, or both."""
    return {
        "anyOf": [
            record({**needed, "where": CONDITIONS}, {**may, "column": maybe(text(255))}),
            record({**needed, "column": text(255)}, {**may, "where": CONDITIONS}),
        ]
    }


def _rendered(row: RowMapping) -> dict[str, Any]:
    conditions = orjson.loads(row["conditions"])
    return {name: conditions[name] if name in conditions else row[name] for name in RULE_SHAPE["properties"]}


def _of_state(connection: Connection, value: str) -> Any:
    holds = rules.c.revoked.is_(None) & or_(rules.c.until.is_(None), rules.c.until > now())
    return {"active": holds, "ended": ~holds}[value]


RULES = Listing(
    "rules",
    select(rules, streams.c.name.label("stream")).join(streams).where(streams.c.deleted.is_(None)),
    rules.c.id,
    {"newest": (rules.c.id, True), "oldest": (rules.c.id, False), "hidden": (rules.c.hidden, True)},
    (
        OF_STREAM,
        Filter(Parameter("state", "Only those that hold, or do no more.", choice("active", "ended")), _of_state),
    ),
    _rendered,
    RULE_SHAPE,
)
"""All rules."""


def find_rule(connection: Connection, number: int) -> dict[str, Any]:
    """A rule; `Problem` (404) where there is none."""
    row = connection.execute(RULES.query.where(rules.c.id == number)).mappings().first()
    if row is None:
        raise Problem(404, say("There is no rule %(number)s.", number=number))
    return _rendered(row)
