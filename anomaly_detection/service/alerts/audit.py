"""The audit: who changed what, from what to what, and when. It only grows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import Connection, RowMapping, func, insert, or_, select

from anomaly_detection.service.http.listing import Filter, Listing
from anomaly_detection.service.http.operations import Parameter
from anomaly_detection.service.http.shapes import COUNT, ID, MOMENT, OBJECT, TEXT, maybe, record, text
from anomaly_detection.service.storage.clock import now
from anomaly_detection.service.storage.tables import audit

__all__ = ["AUDIT", "LINE", "first_line", "history", "write_audit", "write_line", "write_undos"]

_WRITTEN = insert(audit)

Change = tuple[int, Mapping[str, Any] | None, Mapping[str, Any] | None]

LINE = record(
    {
        "id": COUNT,
        "at": TEXT,
        "who": TEXT,
        "what": TEXT,
        "subject": TEXT,
        "subject_id": COUNT,
        "before": maybe(OBJECT),
        "after": maybe(OBJECT),
        "comment": maybe(TEXT),
        "undoes": maybe(COUNT),
        "part_of": maybe(COUNT),
    },
    closed=False,
)
"""The shape of a line."""


def write_audit(
    connection: Connection,
    who: str,
    what: str,
    subject: str,
    changes: Iterable[Change],
    comment: str | None = None,
    part_of: int | None = None,
) -> None:
    """Write that `who` did `what` to subjects: of each its id, and what changed, before and after."""
    moment = now()
    rows = [_line(moment, who, what, subject, change, comment, None, part_of) for change in changes]
    if rows:
        connection.execute(_WRITTEN, rows)


def write_line(
    connection: Connection,
    who: str,
    what: str,
    subject: str,
    change: Change,
    comment: str | None = None,
    part_of: int | None = None,
) -> int:
    """Write one line; gives its id."""
    values = _line(now(), who, what, subject, change, comment, None, part_of)
    return int(connection.execute(insert(audit).values(values).returning(audit.c.id)).scalar_one())


def write_undos(
    connection: Connection, who: str, lines: Sequence[RowMapping], comment: str | None, wholes: Mapping[int, int]
) -> dict[int, int]:
    """Write that lines were taken back, those in `wholes` as a part of that line; gives the new line of each."""
    moment = now()
    rows = [
        {
            **_line(moment, who, "undo", line["subject"], (line["subject_id"], None, None), comment, line["id"], None),
            "before": line["after"],
            "after": line["before"],
            "part_of": wholes.get(line["part_of"]),
        }
        for line in lines
    ]
    if not rows:
        return {}
    made = connection.execute(insert(audit).returning(audit.c.id, sort_by_parameter_order=True), rows).scalars()
    return dict(zip((line["id"] for line in lines), made, strict=True))


def _line(
    moment: str,
    who: str,
    what: str,
    subject: str,
    change: Change,
    comment: str | None,
    undoes: int | None,
    part_of: int | None,
) -> dict[str, Any]:
    number, before, after = change
    return {
        "at": moment,
        "who": who,
        "what": what,
        "subject": subject,
        "subject_id": number,
        "before": _json(before),
        "after": _json(after),
        "comment": comment,
        "undoes": undoes,
        "part_of": part_of,
    }


def _json(value: Mapping[str, Any] | None) -> str | None:
    return None if value is None else orjson.dumps(dict(value)).decode()


def first_line(connection: Connection, subject: str, number: int) -> int:
    """The line with which a subject began; 0 where none tells of it.

    SQLite may give the number of an alert that was deleted with its stream to a new one.
    """
    mine = (audit.c.subject == subject, audit.c.subject_id == number, audit.c.what == "raise")
    found = connection.execute(select(func.max(audit.c.id)).where(*mine)).scalar()
    return 0 if found is None else int(found)


def history(connection: Connection, subject: str, number: int) -> list[dict[str, Any]]:
    """All that was done to one subject, the oldest first."""
    mine = (
        audit.c.subject == subject,
        audit.c.subject_id == number,
        audit.c.id >= first_line(connection, subject, number),
    )
    query = select(audit).where(*mine).order_by(audit.c.id)
    return [_rendered(row) for row in connection.execute(query).mappings()]


def _rendered(row: RowMapping) -> dict[str, Any]:
    coded = {name: row[name] and orjson.loads(row[name]) for name in ("before", "after")}
    return {name: coded.get(name, row[name]) for name in LINE["properties"]}


def _equal(name: str, what: str) -> Filter:
    column = audit.c[name]
    shape = {**ID, "minimum": 0} if name == "subject_id" else text(255)
    return Filter(Parameter(name, what, shape), lambda connection, value: column == value)


AUDIT = Listing(
    "audit",
    select(audit),
    audit.c.id,
    {"newest": (audit.c.id, True), "oldest": (audit.c.id, False)},
    (
        _equal("who", "Only what this one did."),
        _equal("what", "Only this, such as `change` or `undo`."),
        _equal("subject", "Only what was done to an `alert`, a `case`, a `stream`, a `rule` or a `setting`."),
        _equal("subject_id", "Only what was done to the one with this id."),
        Filter(Parameter("since", "From this moment on.", MOMENT), lambda connection, value: audit.c.at >= value),
        Filter(Parameter("until", "Before this moment.", MOMENT), lambda connection, value: audit.c.at < value),
        Filter(
            Parameter("text", "Only lines whose comment, or what they changed, has this text.", text(200)),
            lambda connection, value: or_(
                *(each.icontains(value, autoescape=True) for each in (audit.c.comment, audit.c.before, audit.c.after))
            ),
        ),
    ),
    _rendered,
    LINE,
)
"""All lines."""
