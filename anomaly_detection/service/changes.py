"""Changes that are written down, and taken back: of alerts, cases, streams, rules and settings alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Connection, RowMapping, Table, select, update

from anomaly_detection.service.audit import first_line, write_audit, write_line
from anomaly_detection.service.case_totals import recount
from anomaly_detection.service.problems import Problem
from anomaly_detection.service.tables import alerts, audit, cases, rules, settings, streams

__all__ = ["ALERT", "CASE", "RULE", "SETTING", "STREAM", "Subject", "change", "change_many", "last_change", "undo"]


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

    def now(self, connection: Connection, number: int, names: Mapping[str, Any]) -> dict[str, Any]:
        """What it has at the moment under some names; `Problem` (404) where there is none."""
        query = select(self.table.c.id, *(self.table.c[name] for name in names)).where(self.table.c.id == number)
        row = connection.execute(query).mappings().first()
        if row is None:
            raise Problem(404, f"There is no {self.name} {number}.")
        return {name: orjson.loads(row[name]) if name in self.coded else row[name] for name in names}

    def put(self, connection: Connection, number: int, values: Mapping[str, Any]) -> None:
        """Give it other values."""
        coded = {name: orjson.dumps(values[name]).decode() for name in values if name in self.coded}
        connection.execute(update(self.table).where(self.table.c.id == number).values({**values, **coded}))


class _Settings(Subject):
    """Settings, whose rows have names and no numbers."""

    def now(self, connection: Connection, number: int, names: Mapping[str, Any]) -> dict[str, Any]:
        rows = connection.execute(select(settings).where(settings.c.name.in_(list(names)))).mappings()
        found = {row["name"]: orjson.loads(row["value"]) for row in rows}
        return {name: found.get(name) for name in names}

    def put(self, connection: Connection, number: int, values: Mapping[str, Any]) -> None:
        connection.execute(settings.delete().where(settings.c.name.in_(list(values))))
        rows = [
            {"name": name, "value": orjson.dumps(value).decode()} for name, value in values.items() if value is not None
        ]
        if rows:
            connection.execute(settings.insert(), rows)


ALERT = Subject("alert", alerts)
CASE = Subject("case", cases)
STREAM = Subject("stream", streams, frozenset({"settings"}))
RULE = Subject("rule", rules)
SETTING = _Settings("setting", settings)
_SUBJECTS = {each.name: each for each in (ALERT, CASE, STREAM, RULE, SETTING)}

_CHANGES = ("change", "promote")


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
    return write_line(connection, who, what if changed else "comment", subject.name, line, comment, None, part_of)


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
    columns = [subject.table.c.id, *(subject.table.c[name] for name in after)]
    before: dict[int, dict[str, Any]] = {}
    for some in _parts(ids):
        rows = connection.execute(select(*columns).where(subject.table.c.id.in_(some))).mappings()
        before |= {row["id"]: {name: row[name] for name in after} for row in rows}
    lacking = next((each for each in ids if each not in before), None)
    if lacking is not None:
        raise Problem(404, f"There is no {subject.name} {lacking}.")
    lines = []
    for each in ids:
        changed = {name: value for name, value in after.items() if value != before[each][name]}
        if changed:
            lines.append((each, {name: before[each][name] for name in changed}, changed))
    moved = [each for each, _, _ in lines]
    for some in _parts(moved):
        connection.execute(update(subject.table).where(subject.table.c.id.in_(some)).values(dict(after)))
    write_audit(connection, who, "change", subject.name, lines, comment, part_of)
    if comment is not None:
        same = set(ids) - set(moved)
        said = [(each, None, None) for each in ids if each in same]
        write_audit(connection, who, "comment", subject.name, said, comment, part_of)
    return len(lines)


def _parts(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    # Older SQLite takes 999 values at a time.
    return (ids[first : first + 500] for first in range(0, len(ids), 500))


def last_change(connection: Connection, subject: Subject, number: int, whats: Sequence[str] = ("change",)) -> int:
    """The last change of some kinds that was not taken back; `Problem` (409) where there is none."""
    undoing = audit.alias()
    undone = select(undoing.c.id).where(undoing.c.undoes == audit.c.id).exists()
    query = (
        select(audit.c.id)
        .where(audit.c.subject == subject.name, audit.c.subject_id == number, audit.c.what.in_(whats))
        .where(~undone, audit.c.id >= first_line(connection, subject.name, number))
        .order_by(audit.c.id.desc())
        .limit(1)
    )
    found = connection.execute(query).scalar()
    if found is None:
        raise Problem(409, "There is no change to undo.")
    return int(found)


def undo(
    connection: Connection, number: int, who: str, comment: str | None = None, part_of: int | None = None
) -> RowMapping:
    """Take a change back by its line, with all that was a part of it; gives the line.

    Raises
    ------
    Problem
        404 where there is no such line; 409 where it is no change, was taken back, or something was changed since.
    """
    line = connection.execute(select(audit).where(audit.c.id == number)).mappings().first()
    if line is None:
        raise Problem(404, f"There is no line {number} in the audit.")
    if line["what"] not in _CHANGES:
        raise Problem(409, f"Line {number} is no change that can be undone, but {line['what']!r}.")
    if connection.execute(select(audit.c.id).where(audit.c.undoes == number).limit(1)).first() is not None:
        raise Problem(409, f"Line {number} was undone already.")
    subject, before, after = _SUBJECTS[line["subject"]], orjson.loads(line["before"]), orjson.loads(line["after"])
    if subject.now(connection, line["subject_id"], after) != after:
        raise Problem(409, f"This {subject.name} was changed since; undo that first.")
    subject.put(connection, line["subject_id"], before)
    written = (line["subject_id"], after, before)
    made = write_line(connection, who, "undo", subject.name, written, comment, number, part_of)
    if line["subject"] == ALERT.name:
        for case in {before.get("case_id"), after.get("case_id")} - {None}:
            recount(connection, case)
    parts = select(audit.c.id).where(audit.c.part_of == number, audit.c.what.in_(_CHANGES)).order_by(audit.c.id.desc())
    for part in list(connection.execute(parts).scalars()):
        undo(connection, part, who, None, made)
    return line
