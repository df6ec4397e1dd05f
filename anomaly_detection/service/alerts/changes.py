"""Changes that are written down: of alerts, cases, streams, rules and settings alike."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Connection, Table, select, update

from anomaly_detection.service.alerts.audit import write_audit, write_line
from anomaly_detection.service.http.problems import Problem
from anomaly_detection.service.learning.lessons import TEACHES, note_verdicts
from anomaly_detection.service.storage.tables import alerts, cases, channels, rules, settings, sources, streams
from anomaly_detection.texts.said import say

__all__ = [
    "ALERT",
    "CASE",
    "CHANNEL",
    "RULE",
    "SETTING",
    "SOURCE",
    "STREAM",
    "SUBJECTS",
    "Subject",
    "change",
    "change_many",
    "parts",
]


@dataclass(frozen=True)
class Subject:
    """What can be changed.

    Attributes
    ----------
    name : str
        As the audit calls it.
    table : Table
    coded : frozenset of str
        Columns of JSON: in the audit they are values.
    """

    name: str
    table: Table
    coded: frozenset[str] = frozenset()

    def now(self, connection: Connection, number: int, names: Collection[str]) -> dict[str, Any]:
        """What it has at the moment under some names; `Problem` (404) where there is none."""
        return self.now_of(connection, [number], names)[number]

    def now_of(self, connection: Connection, ids: Sequence[int], names: Collection[str]) -> dict[int, dict[str, Any]]:
        """The same of many, by their ids."""
        found: dict[int, dict[str, Any]] = {}
        for some in parts(ids):
            query = select(self.table.c.id, *(self.table.c[name] for name in names)).where(self.table.c.id.in_(some))
            for row in connection.execute(query).mappings():
                found[row["id"]] = {
                    name: orjson.loads(row[name]) if name in self.coded else row[name] for name in names
                }
        lacking = next((each for each in ids if each not in found), None)
        if lacking is not None:
            raise Problem(404, say("There is no %(name)s %(lacking)s.", name=say(self.name), lacking=lacking))
        return found

    def put(self, connection: Connection, number: int, values: Mapping[str, Any]) -> None:
        """Give it other values."""
        self.put_all(connection, [number], values)

    def put_all(self, connection: Connection, ids: Sequence[int], values: Mapping[str, Any]) -> None:
        """Give many the same values."""
        coded = {name: orjson.dumps(values[name]).decode() for name in values if name in self.coded}
        for some in parts(ids):
            connection.execute(update(self.table).where(self.table.c.id.in_(some)).values({**values, **coded}))


# Made once: making it takes as long as running it.
_SETTINGS = select(settings)


class _Settings(Subject):
    """Settings, whose rows have names and no numbers."""

    def now_of(self, connection: Connection, ids: Sequence[int], names: Collection[str]) -> dict[int, dict[str, Any]]:
        rows = connection.execute(_SETTINGS).mappings()
        found = {row["name"]: orjson.loads(row["value"]) for row in rows}
        values = {name: found.get(name) for name in names}
        return dict.fromkeys(ids, values)

    def put_all(self, connection: Connection, ids: Sequence[int], values: Mapping[str, Any]) -> None:
        connection.execute(settings.delete().where(settings.c.name.in_(list(values))))
        rows = [
            {"name": name, "value": orjson.dumps(value).decode()} for name, value in values.items() if value is not None
        ]
        if rows:
            connection.execute(settings.insert(), rows)


class _Alerts(Subject):
    """Alerts: a change of a verdict teaches their stream."""

    def put_all(self, connection: Connection, ids: Sequence[int], values: Mapping[str, Any]) -> None:
        if "verdict" in values:
            for some in parts(ids):
                mine: Any = alerts.c.id.in_(some)
                if values["verdict"] not in TEACHES:
                    # Nothing that was taught is to be forgotten where none of them taught.
                    mine &= alerts.c.verdict.in_(TEACHES)
                note_verdicts(connection, select(alerts.c.stream_id).where(mine))
        super().put_all(connection, ids, values)


ALERT = _Alerts("alert", alerts)
CASE = Subject("case", cases)
STREAM = Subject("stream", streams, frozenset({"settings"}))
RULE = Subject("rule", rules)
SETTING = _Settings("setting", settings)
SOURCE = Subject("source", sources, frozenset({"settings"}))
CHANNEL = Subject("channel", channels)
SUBJECTS = {each.name: each for each in (ALERT, CASE, STREAM, RULE, SETTING, SOURCE, CHANNEL)}


def change(
    connection: Connection,
    subject: Subject,
    number: int,
    after: Mapping[str, Any],
    who: str,
    what: str = "change",
    comment: str | None = None,
    part_of: int | None = None,
) -> int | None:
    """Give a subject other values and write it down; gives the line's id, None where nothing changes or is said."""
    before = subject.now(connection, number, after)
    changed = {name: value for name, value in after.items() if value != before[name]}
    if changed:
        subject.put(connection, number, changed)
    elif comment is None:
        return None
    old = {name: before[name] for name in changed}
    line = (number, old or None, changed or None)
    return write_line(connection, who, what if changed else "comment", subject.name, line, comment, part_of)


def change_many(
    connection: Connection,
    subject: Subject,
    ids: Sequence[int],
    after: Mapping[str, Any],
    who: str,
    comment: str | None = None,
    part_of: int | None = None,
) -> int:
    """What `change` does, for many at once; gives how many have other values now.

    Raises
    ------
    Problem
        404 where one is not there; then nothing is changed.
    """
    before = subject.now_of(connection, ids, after)
    lines = []
    for each in ids:
        changed = {name: value for name, value in after.items() if value != before[each][name]}
        if changed:
            lines.append((each, {name: before[each][name] for name in changed}, changed))
    moved = [each for each, _, _ in lines]
    subject.put_all(connection, moved, after)
    write_audit(connection, who, "change", subject.name, lines, comment, part_of)
    if comment is not None:
        same = set(ids) - set(moved)
        said = [(each, None, None) for each in ids if each in same]
        write_audit(connection, who, "comment", subject.name, said, comment, part_of)
    return len(lines)


def parts(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    """So many ids as one statement takes."""
    # Older SQLite takes 999 values at a time.
    return (ids[first : first + 500] for first in range(0, len(ids), 500))
