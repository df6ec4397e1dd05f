"""`Stream`: the records of one table of somebody's, by name."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, RowMapping, bindparam, func, insert, select

from anomaly_detection.service.http.problems import Problem
from anomaly_detection.service.storage.clock import now
from anomaly_detection.service.storage.tables import streams
from anomaly_detection.service.streams.stream_settings import StreamSettings
from anomaly_detection.texts.said import say

__all__ = [
    "DEFAULT",
    "NAMED",
    "Stream",
    "all_streams",
    "find_stream",
    "is_name",
    "need_stream",
    "open_stream",
    "personal_columns",
]

DEFAULT = "default"
"""The stream that CryptaNet's calls are about."""

# Made once: making it takes as long as running it.
_BY_NAME = select(streams).where(streams.c.name == bindparam("stream"))
NAMED = "1 to 64 letters, digits, dots, dashes or underscores, and is not . or .."
"""What a name is made of: dots alone are a step in an address, which browsers and proxies take."""

_NAME = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9_.-]{1,64}")


def is_name(text: str) -> bool:
    """Whether a stream may be called so."""
    return _NAME.fullmatch(text) is not None


@dataclass(frozen=True)
class Stream:
    """A stream, and how many records of each fate it has had; see `tables.streams`."""

    id: int
    name: str
    judged: int
    waiting: int
    refused: int
    alerting: int
    learn_at: int
    settings: str
    model_version: int | None
    created: str

    @classmethod
    def of(cls, row: RowMapping) -> Stream:
        """Out of its row."""
        return cls(**{name: row[name] for name in cls.__dataclass_fields__})

    @property
    def kept(self) -> int:
        """Records that can be learned from."""
        return self.judged + self.waiting


def all_streams(connection: Connection) -> list[Stream]:
    """All that were not deleted, the oldest first."""
    query = select(streams).where(streams.c.deleted.is_(None)).order_by(streams.c.id)
    return [Stream.of(row) for row in connection.execute(query).mappings()]


def personal_columns(known: Iterable[Stream], given: Iterable[str]) -> frozenset[str]:
    """The columns whose values only some may see, in whatever stream: those `given` and those that streams name."""
    named = (name for stream in known for name in StreamSettings.of(stream.settings).personal)
    return frozenset((*given, *named))


def find_stream(connection: Connection, name: str) -> Stream | None:
    """The one of that name."""
    row = connection.execute(_BY_NAME, {"stream": name}).mappings().first()
    return None if row is None else Stream.of(row)


def need_stream(connection: Connection, name: str) -> Stream:
    """The one of that name; `Problem` (404) where there is none."""
    found = find_stream(connection, name)
    if found is None:
        raise Problem(404, say("There is no stream %(name)s.", name=f"{name!r}"))
    return found


def open_stream(connection: Connection, name: str, learn_from: int, most: int) -> Stream:
    """The one of that name, made if need be; `Problem` for an odd name, or where there are too many."""
    found = find_stream(connection, name)
    if found is not None:
        return found
    if not is_name(name):
        raise Problem(400, say("A stream's name has %(named)s.", named=NAMED))
    if connection.execute(select(func.count()).where(streams.c.deleted.is_(None))).scalar_one() >= most:
        raise Problem(409, say("There are %(most)s streams already, which is the most; use one of them.", most=most))
    counts = dict.fromkeys(("judged", "waiting", "refused", "alerting"), 0)
    connection.execute(insert(streams).values(name=name, created=now(), learn_at=learn_from, **counts))
    made = find_stream(connection, name)
    assert made is not None
    return made
