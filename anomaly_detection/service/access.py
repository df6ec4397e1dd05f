"""Who may do what: the rights of the roles, and the right that each route needs, as data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Connection, Table, select

from anomaly_detection.service.tables import alerts, cases, jobs, records, rules, streams

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
    "GET /session": Need(OPEN, "none"),
    "POST /v1/streams/{name}/records": Need("send", "path"),
    "GET /v1/records": Need("read", "query"),
    "GET /v1/records/{id}": Need("read", "record"),
    "GET /v1/records/{id}/explanation": Need("read", "record"),
    "GET /v1/streams": Need("read", "all"),
    "POST /v1/streams": Need("manage", "all"),
    "GET /v1/streams/{name}": Need("read", "path"),
    "PATCH /v1/streams/{name}": Need("manage", "path"),
    "DELETE /v1/streams/{name}": Need("manage", "path"),
    "GET /v1/streams/{name}/columns": Need("read", "path"),
    "PUT /v1/streams/{name}/columns": Need("manage", "path"),
    "GET /v1/streams/{name}/threshold": Need("read", "path"),
    "GET /v1/streams/{name}/models": Need("read", "path"),
    "POST /v1/streams/{name}/models": Need("manage", "path"),
    "GET /v1/streams/{name}/models/{version}": Need("read", "path"),
    "GET /v1/streams/{name}/models/{version}/file": Need("read", "path"),
    "POST /v1/streams/{name}/models/{version}/promote": Need("manage", "path"),
    "POST /v1/streams/{name}/rollback": Need("manage", "path"),
    "POST /v1/streams/{name}/train": Need("manage", "path"),
    "GET /v1/jobs": Need("read", "query"),
    "GET /v1/jobs/{id}": Need("read", "job"),
    "GET /v1/jobs/{id}/events": Need("read", "job"),
    "DELETE /v1/jobs/{id}": Need("manage", "job"),
    "GET /v1/alerts": Need("read", "query"),
    "PATCH /v1/alerts": Need("change", "all"),
    "GET /v1/alerts/{id}": Need("read", "alert"),
    "PATCH /v1/alerts/{id}": Need("change", "alert"),
    "GET /v1/alerts/{id}/rule": Need("read", "alert"),
    "GET /v1/cases": Need("read", "query"),
    "PATCH /v1/cases": Need("change", "all"),
    "POST /v1/cases/merge": Need("change", "all"),
    "GET /v1/cases/{id}": Need("read", "case"),
    "PATCH /v1/cases/{id}": Need("change", "case"),
    "POST /v1/cases/{id}/split": Need("change", "case"),
    "GET /v1/rules": Need("read", "query"),
    "POST /v1/rules": Need("change", "all"),
    "POST /v1/rules/preview": Need("change", "all"),
    "GET /v1/rules/{id}": Need("read", "rule"),
    "PATCH /v1/rules/{id}": Need("change", "rule"),
    "DELETE /v1/rules/{id}": Need("change", "rule"),
    "GET /v1/audit": Need("read", "all"),
    # Of changes that need this right too.
    "POST /v1/audit/{id}/undo": Need("manage", "all"),
    "GET /v1/settings": Need("manage", "all"),
    "PATCH /v1/settings": Need("manage", "all"),
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
    "case": _of(cases),
    "rule": _of(rules),
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
