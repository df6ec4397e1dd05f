"""Which records a stream has had: so that of a table that comes again only what is new is judged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import orjson
from sqlalchemy import Connection, select, update
from sqlalchemy.dialects import postgresql, sqlite

from anomaly_detection.service.records.incoming import Incoming
from anomaly_detection.service.storage.database import Database
from anomaly_detection.service.storage.tables import records, seen, streams

__all__ = ["Occurrences", "catch_up"]

_AT_ONCE = 2000
_VALUES = 500
"""Of one IN or INSERT: older SQLite takes 999 values."""


def _digest(record: Incoming) -> bytes:
    return bytes.fromhex(record.fingerprint)[:16]


def catch_up(database: Database, stream_id: int) -> None:
    """Count the records that the stream has got since it was last counted, some at a time."""
    to = select(streams.c.seen_to).where(streams.c.id == stream_id)
    while True:
        with database.reading() as connection:
            last = connection.execute(to).scalar_one()
            mine = (records.c.stream_id == stream_id, records.c.id > last)
            query = select(records.c.id, records.c.body).where(*mine).order_by(records.c.id).limit(_AT_ONCE)
            rows = connection.execute(query).all()
        if not rows:
            return
        found = Counter(_digest(Incoming(orjson.loads(row.body))) for row in rows)
        with database.writing() as connection:
            moved = update(streams).where(streams.c.id == stream_id, streams.c.seen_to == last)
            # Where another worker was quicker, these are counted.
            if connection.execute(moved.values(seen_to=rows[-1].id)).rowcount:
                _count(connection, stream_id, found)


def _count(connection: Connection, stream_id: int, found: Counter[bytes]) -> None:
    insert = (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(seen)
    more = insert.on_conflict_do_update(
        index_elements=[seen.c.stream_id, seen.c.digest], set_={"count": seen.c.count + insert.excluded.count}
    )
    rows = [{"stream_id": stream_id, "digest": digest, "count": count} for digest, count in found.items()]
    connection.execute(more, rows)


class Occurrences:
    """Tells of the rows of one table which ones the stream lacks.

    A row that stands in the table for the third time is new where the stream has had it twice: copies within a table
    count, as they do for the model.
    """

    def __init__(self, stream_id: int) -> None:
        self._stream_id = stream_id
        self._met = Counter[bytes]()

    def met(self, part: Sequence[Incoming]) -> None:
        """Count rows that were dealt with before."""
        self._met.update(map(_digest, part))

    def new(self, connection: Connection, part: Sequence[Incoming]) -> list[bool]:
        """Of each row of a further part, whether it is new; the stream is caught up with (`catch_up`)."""
        digests = list(map(_digest, part))
        had: dict[bytes, int] = {}
        for first in range(0, len(digests), _VALUES):
            some = seen.c.digest.in_(digests[first : first + _VALUES])
            query = select(seen.c.digest, seen.c.count).where(seen.c.stream_id == self._stream_id, some)
            had |= {bytes(digest): count for digest, count in connection.execute(query)}
        found = []
        for digest in digests:
            self._met[digest] += 1
            found.append(self._met[digest] > had.get(digest, 0))
        return found
