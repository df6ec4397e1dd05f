"""Changes that are taken back, one or many at once, each with all that was a part of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import orjson
from sqlalchemy import ColumnElement, Connection, RowMapping, func, select

from anomaly_detection.service.alerts.audit import write_undos
from anomaly_detection.service.alerts.case_totals import recount
from anomaly_detection.service.alerts.changes import ALERT, SUBJECTS, Subject, parts
from anomaly_detection.service.http.problems import Problem
from anomaly_detection.service.storage.tables import audit
from anomaly_detection.texts.said import say

__all__ = ["last_change", "last_changes", "undo", "undo_all"]

_CHANGES = ("change", "promote")
"""Lines that say what a subject had before, and has after."""

_LAST = ("change", "comment", "merge", "split")
_DONE = (*_CHANGES, *_LAST[1:])
"""What can be taken back: a comment is said no more, a merge and a split go with what was a part of them."""


def last_change(connection: Connection, subject: Subject, number: int, whats: Sequence[str] = _LAST) -> int:
    """The last change of some kinds that was not taken back; `Problem` (409) where there is none."""
    return last_changes(connection, subject, [number], whats)[0]


def last_changes(
    connection: Connection, subject: Subject, ids: Sequence[int], whats: Sequence[str] = _LAST
) -> list[int]:
    """The same of many, in their order; `Problem` (409) where one has none."""
    last: dict[int, int] = {}
    for some in parts(ids):
        mine = (audit.c.subject == subject.name, audit.c.subject_id.in_(some))
        # A number may have been that of another that was deleted: its lines are those since it began.
        began = select(audit.c.subject_id, func.max(audit.c.id)).where(*mine, audit.c.what == "raise")
        first = {row[0]: row[1] for row in connection.execute(began.group_by(audit.c.subject_id))}
        changes = select(audit.c.subject_id, func.max(audit.c.id)).where(*mine, audit.c.what.in_(whats), ~_undone())
        for number, line in connection.execute(changes.group_by(audit.c.subject_id)):
            if line >= first.get(number, 0):
                last[number] = line
    if any(each not in last for each in ids):
        raise Problem(409, say("There is no change to undo."))
    return [last[each] for each in ids]


def _undone() -> ColumnElement[bool]:
    """Whether a line was taken back."""
    undoing = audit.alias()
    return select(undoing.c.id).where(undoing.c.undoes == audit.c.id).exists()


def undo(connection: Connection, number: int, who: str, comment: str | None = None) -> RowMapping:
    """Take a change back by its line, with all that was a part of it; gives the line.

    Raises
    ------
    Problem
        404 where there is no such line; 409 where it is no change, was taken back, or something was changed since.
    """
    return undo_all(connection, [number], who, comment)[0]


def undo_all(connection: Connection, numbers: Sequence[int], who: str, comment: str | None = None) -> list[RowMapping]:
    """The same for many lines, in their order, by as many statements as there are kinds of values."""
    found: dict[int, RowMapping] = {}
    for some in parts(numbers):
        found |= {row["id"]: row for row in connection.execute(select(audit).where(audit.c.id.in_(some))).mappings()}
    lacking = next((each for each in numbers if each not in found), None)
    if lacking is not None:
        raise Problem(404, say("There is no line %(lacking)s in the audit.", lacking=lacking))
    # A merge or a split is taken back as a whole, from whichever of its cases.
    wholes = [line["part_of"] for line in found.values() if line["subject"] == "case" and line["part_of"] is not None]
    for some in parts(wholes):
        found |= {row["id"]: row for row in connection.execute(select(audit).where(audit.c.id.in_(some))).mappings()}
    lines = [found[found[each]["part_of"] if found[each]["part_of"] in wholes else each] for each in numbers]
    _undo(connection, lines, who, comment, {})
    return lines


def _undo(
    connection: Connection, lines: Sequence[RowMapping], who: str, comment: str | None, wholes: Mapping[int, int]
) -> None:
    """Take lines back, and then what was a part of them; `wholes` has the lines that undid what these were parts of."""
    while lines:
        # Of what was changed twice the change that comes first here is taken back before the other is looked at.
        by_subject: dict[tuple[str, int], list[RowMapping]] = defaultdict(list)
        for line in lines:
            by_subject[line["subject"], line["subject_id"]].append(line)
        made = _taken_back(connection, [each[0] for each in by_subject.values()], who, comment, wholes)
        mine = (audit.c.part_of.in_(some) for some in parts(list(made)))
        more = [
            row
            for some in mine
            for row in connection.execute(select(audit).where(some, audit.c.what.in_(_DONE), ~_undone())).mappings()
        ]
        _undo(connection, sorted(more, key=lambda row: -row["id"]), who, None, made)
        lines = [line for each in by_subject.values() for line in each[1:]]


def _taken_back(
    connection: Connection, lines: Sequence[RowMapping], who: str, comment: str | None, wholes: Mapping[int, int]
) -> dict[int, int]:
    """Take back lines of different subjects; gives the line that undid each."""
    _check(connection, lines)
    by_name: dict[str, list[RowMapping]] = defaultdict(list)
    for line in lines:
        by_name[line["subject"]].append(line)
    for name, some in by_name.items():
        subject = SUBJECTS[name]
        some = [line for line in some if line["what"] in _CHANGES]
        afters = {line["subject_id"]: orjson.loads(line["after"]) for line in some}
        names = list(dict.fromkeys(each for after in afters.values() for each in after))
        current = subject.now_of(connection, list(afters), names)
        for number, after in afters.items():
            if any(current[number][each] != value for each, value in after.items()):
                raise Problem(409, say("This %(name)s was changed since; undo that first.", name=name))
        alike: dict[str, list[int]] = defaultdict(list)
        for line in some:
            alike[line["before"]].append(line["subject_id"])
        for before, ids in alike.items():
            subject.put_all(connection, ids, orjson.loads(before))
        if subject is ALERT:
            told = [orjson.loads(line[side]).get("case_id") for line in some for side in ("before", "after")]
            for case in sorted(set(told) - {None}):
                recount(connection, case)
    return write_undos(connection, who, lines, comment, wholes)


def _check(connection: Connection, lines: Sequence[RowMapping]) -> None:
    undone: set[int] = set()
    for some in parts([line["id"] for line in lines]):
        undone.update(connection.execute(select(audit.c.undoes).where(audit.c.undoes.in_(some))).scalars())
    for line in lines:
        if line["what"] not in _DONE:
            raise Problem(
                409,
                say(
                    "Line %(id)s is no change that can be undone, but %(what)s.",
                    id=line["id"],
                    what=f"{line['what']!r}",
                ),
            )
        if line["id"] in undone:
            raise Problem(409, say("Line %(id)s was undone already.", id=line["id"]))
