"""Who may do what: the rights of the roles, what somebody needs to ask for something, and who asks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Connection, Table, select

from anomaly_detection.service.storage.tables import alerts, cases, jobs, records, rules, streams

__all__ = ["LISTED", "MANY", "OPEN", "PERSONAL", "ROLES", "ROWS", "Caller", "Need", "streams_of"]

OPEN = "open"
"""The right that everybody has."""

PERSONAL = "personal"
"""The right to see columns that are personal."""

ROLES: dict[str, frozenset[str]] = {
    "viewer": frozenset({OPEN, "read"}),
    "analyst": frozenset({OPEN, "read", "send", "change", PERSONAL}),
    "admin": frozenset({OPEN, "read", "send", "change", PERSONAL, "manage"}),
}
"""The rights of each role."""

LISTED = frozenset({OPEN, "send"})
"""The rights of who asks from a network that `/detect` is open to."""


class Need(NamedTuple):
    """What somebody must have to ask for something: a right, and the stream that it is about.

    `stream` says how that is found, for keys of certain streams: ``path`` (the part called ``name``), ``query`` (the
    parameter ``stream``), ``body`` (its member ``stream``), ``default``; a name of `ROWS`, for the row that the ``id``
    of the path numbers, or one of `MANY`, for those that the ``ids`` of the body number; ``none`` (it is about no
    stream), or ``all``, which such a key never has.
    """

    right: str
    stream: str


ROWS: dict[str, Table] = {"alert": alerts, "case": cases, "job": jobs, "record": records, "rule": rules}
"""Tables whose rows are a stream's."""

MANY = {"alerts": alerts, "cases": cases}

_AT_ONCE = 500


def streams_of(connection: Connection, table: Table, numbers: Sequence[int]) -> set[str | None]:
    """The names of the streams whose some rows of a table are, by their ids; None for what is no row."""
    found: dict[int, str] = {}
    for first in range(0, len(numbers), _AT_ONCE):
        some = table.c.id.in_(numbers[first : first + _AT_ONCE])
        for number, name in connection.execute(select(table.c.id, streams.c.name).join(streams).where(some)):
            found[number] = name
    return {found.get(number) for number in numbers}


@dataclass(frozen=True)
class Caller:
    """Who asks.

    Attributes
    ----------
    name : str
        Of the user or of the key; "local" where nobody logs in.
    rights : frozenset of str
        See `ROLES`.
    role : str
        Empty for who has none.
    streams : frozenset of str, optional
        The only ones that it may do anything with; all if None.
    session : str
        What its cookie holds; empty where it came without one.
    """

    name: str
    rights: frozenset[str]
    role: str = ""
    streams: frozenset[str] | None = None
    session: str = ""

    def may(self, right: str) -> bool:
        """Whether it has a right."""
        return right in self.rights
