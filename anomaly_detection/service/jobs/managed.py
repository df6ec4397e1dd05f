"""`Managed`: what admins set up, sources and channels, listed, made, changed and removed in one way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, RowMapping
from starlette.responses import Response

from anomaly_detection.service.alerts.audit import history
from anomaly_detection.service.http.exports import whole
from anomaly_detection.service.http.json_answer import answer
from anomaly_detection.service.http.operations import Call
from anomaly_detection.service.http.shapes import Shape
from anomaly_detection.service.processes.service import Service

__all__ = ["Managed"]


@dataclass(frozen=True)
class Managed:
    """Rows of a kind.

    Attributes
    ----------
    name : str
        As the audit calls one; the API calls them so with an s.
    every : callable
        All rows, by a connection.
    find : callable
        One, by its number; raises `Problem` (404).
    render : callable
        A row for people and programs, without secrets.
    shape : dict
        Of what it gives.
    """

    name: str
    every: Callable[[Connection], list[RowMapping]]
    find: Callable[[Connection, int], RowMapping]
    render: Callable[[RowMapping], dict[str, Any]]
    shape: Shape

    def all(self, service: Service, call: Call) -> Response:
        """Answer with all of them."""
        with service.database.reading() as connection:
            rows = [self.render(row) for row in self.every(connection)]
        return whole(call, f"{self.name}s", rows, self.shape)

    def one(self, service: Service, call: Call) -> Response:
        """Answer with one and its history."""
        with service.database.reading() as connection:
            return answer(self._shown(connection, call.id))

    def made(self, service: Service, make: Callable[[Connection], int]) -> Response:
        """Have one made, and answer with it."""
        made = service.writer.run(lambda connection: self._shown(connection, make(connection)))
        return answer(made, 201, {"Location": f"/v1/{self.name}s/{made['id']}"})

    def changed(self, service: Service, call: Call, change: Callable[[Connection, RowMapping], object]) -> Response:
        """Have one changed, and answer with it as it is then."""

        def work(connection: Connection) -> dict[str, Any]:
            change(connection, self.find(connection, call.id))
            return self._shown(connection, call.id)

        return answer(service.writer.run(work))

    def removed(self, service: Service, call: Call, remove: Callable[[Connection, RowMapping], object]) -> Response:
        """Have one removed, and answer with what it was."""

        def work(connection: Connection) -> dict[str, Any]:
            row = self.find(connection, call.id)
            said = self.render(row)
            remove(connection, row)
            return said

        return answer(service.writer.run(work))

    def _shown(self, connection: Connection, number: int) -> dict[str, Any]:
        return {**self.render(self.find(connection, number)), "history": history(connection, self.name, number)}
