"""Who may do what: the rights of the roles, and the right that each route needs, as data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Connection, Table, select

from anomaly_detection.service.tables import alerts, jobs, records, streams

__all__ = ["ACCESS", "LISTED", "OPEN", "PERSONAL", "ROLES", "STREAM_OF", "UNKNOWN", "Caller", "Need"]

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
    """What a route needs: a right, and how the stream is found that it is about.

    `stream` is one of `STREAM_OF`, or ``path`` (the parameter ``name``), ``query`` (the parameter ``stream``),
    ``default``, ``none`` (it is about no stream) or ``all``, which a key of certain streams never has.
    """

    right: str
    stream: str


ACCESS: dict[str, Need] = {
    "GET /health": Need(OPEN, "none"),
    "GET /ready": Need(OPEN, "none"),
    "POST /login": Need(OPEN, "none"),
    "POST /logout": Need(OPEN, "none"),
    "POST /detect": Need("send", "default"),
    "POST /predict": Need("send", "default"),
    "POST /train": Need("manage", "default"),
    "GET /status": Need("read", "all"),
    "GET /explain": Need("read", "default"),
    "GET /explain/{name}": Need("read", "all"),
    "GET /metrics": Need("read", "all"),
    "GET /openapi.json": Need("read", "none"),
    "GET /v1/session": Need(OPEN, "none"),
    "POST /v1/streams/{name}/records": Need("send", "path"),
    "GET /v1/alerts": Need("read", "query"),
    "GET /v1/alerts/{id}": Need("read", "alert"),
    "POST /v1/alerts/{id}": Need("change", "alert"),
    "GET /v1/records/{id}": Need("read", "record"),
    "GET /v1/jobs/{id}": Need("read", "job"),
}
"""By method and path; HEAD needs what GET does."""

UNKNOWN = Need("manage", "all")
"""What a route needs that has no line."""


def _of(table: Table) -> Callable[[Connection, int], str | None]:
    def find(connection: Connection, number: int) -> str | None:
        query = select(streams.c.name).join_from(table, streams).where(table.c.id == number)
        name: str | None = connection.execute(query).scalar()
        return name

    return find


STREAM_OF: dict[str, Callable[[Connection, int], str | None]] = {
    "alert": _of(alerts),
    "record": _of(records),
    "job": _of(jobs),
}
"""The name of the stream that a row is about, by its id; None where there is no such row."""


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
