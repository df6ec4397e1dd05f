"""How far each part of a source of messages has come: written in the transaction that keeps its records."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import ColumnElement, Connection, select
from sqlalchemy.dialects import postgresql, sqlite

from anomaly_detection.service.storage.tables import marks

__all__ = ["all_marks", "marks_of", "write_marks"]

_VALUES = 500
"""Of one IN: older SQLite takes 999 values."""


def marks_of(connection: Connection, source_id: int, parts: Collection[int]) -> dict[int, str]:
    """The marks of some parts, of those that have one."""
    found: dict[int, str] = {}
    wanted = sorted(parts)
    for first in range(0, len(wanted), _VALUES):
        some = (marks.c.source_id == source_id, marks.c.part.in_(wanted[first : first + _VALUES]))
        found |= _found(connection, some)
    return found


def all_marks(connection: Connection, source_id: int) -> dict[int, str]:
    """Those of all parts."""
    return _found(connection, (marks.c.source_id == source_id,))


def _found(connection: Connection, conditions: Sequence[ColumnElement[bool]]) -> dict[int, str]:
    rows = connection.execute(select(marks.c.part, marks.c.mark).where(*conditions))
    return {row.part: row.mark for row in rows}


def write_marks(connection: Connection, source_id: int, given: Mapping[int, str]) -> None:
    """Put marks in the place of those that were there."""
    if not given:
        return
    insert = (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(marks)
    put = insert.on_conflict_do_update(
        index_elements=[marks.c.source_id, marks.c.part], set_={"mark": insert.excluded.mark}
    )
    connection.execute(put, [{"source_id": source_id, "part": part, "mark": mark} for part, mark in given.items()])
