"""Dead letters: messages that could not be read, each with the reason, for people to look at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, delete, insert, select

from anomaly_detection.service.http.listing import OF_STREAM, Listing, of_source
from anomaly_detection.service.http.shapes import COUNT, TEXT, record
from anomaly_detection.service.records.incoming import without_nul
from anomaly_detection.service.storage.clock import now
from anomaly_detection.service.storage.tables import letters, streams
from anomaly_detection.service.topics.message import Letter

__all__ = ["LETTERS", "MOST_LETTERS", "write_letters"]

MOST_LETTERS = 10_000
"""Of a source: the newest stay."""

_MOST_TEXT = 10_000

_LETTER = record(
    {
        "id": COUNT,
        "source": COUNT,
        "stream": TEXT,
        "place": TEXT,
        "reason": TEXT,
        "body": TEXT,
        "created": TEXT,
    }
)


def _rendered(row: RowMapping) -> dict[str, Any]:
    return {name: row["source_id" if name == "source" else name] for name in _LETTER["properties"]}


LETTERS = Listing(
    "letters",
    select(letters, streams.c.name.label("stream")).join(streams).where(streams.c.deleted.is_(None)),
    letters.c.id,
    {"newest": (letters.c.id, True), "oldest": (letters.c.id, False)},
    (
        of_source(letters.c.source_id),
        OF_STREAM,
    ),
    _rendered,
    _LETTER,
)
"""Messages that could not be read."""


def write_letters(connection: Connection, source: RowMapping, found: Sequence[Letter]) -> None:
    """Keep some of a source, and no more than `MOST_LETTERS` of it in all."""
    if not found:
        return
    moment = now()
    rows = [
        {
            "source_id": source["id"],
            "stream_id": source["stream_id"],
            "place": without_nul(each.place),
            "reason": without_nul(each.reason),
            "body": without_nul(each.body[:_MOST_TEXT].decode("utf-8", "backslashreplace")),
            "created": moment,
        }
        for each in found
    ]
    connection.execute(insert(letters), rows)
    mine = letters.c.source_id == source["id"]
    last = select(letters.c.id).where(mine).order_by(letters.c.id.desc()).offset(MOST_LETTERS).limit(1)
    too_many = connection.execute(last).scalar()
    if too_many is not None:
        connection.execute(delete(letters).where(mine, letters.c.id <= too_many))
