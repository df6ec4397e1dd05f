"""`Visit`: a request for a page, which asks our own API in the same process."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from starlette.responses import Response

from anomaly_detection.service.access.rights import Caller
from anomaly_detection.service.http.openapi import OPERATIONS
from anomaly_detection.service.http.operations import Call, Operation
from anomaly_detection.service.http.problems import Problem
from anomaly_detection.service.http.shapes import check, number_of
from anomaly_detection.service.processes.service import Service
from anomaly_detection.service.routes.session import get_session
from anomaly_detection.texts.said import say

__all__ = ["Visit"]

_BY_RUN: dict[Callable[..., Any], Operation] = {each.run: each for each in OPERATIONS}

Pairs = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Visit:
    """A request for a page.

    What a page shows and changes goes through the operations of ``/v1``: what these check, hide and write down is
    checked, hidden and written down here.

    Attributes
    ----------
    service : Service
    caller : Caller
        Who asks.
    path : mapping
        The parts of the path that vary.
    query : sequence of pairs of str
        Of the address.
    form : mapping of str to list of str
        What a form sent.
    headers : mapping of str to str
    """

    service: Service
    caller: Caller
    path: Mapping[str, Any] = field(default_factory=dict)
    query: Pairs = ()
    form: Mapping[str, Sequence[str]] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def token(self) -> str:
        """What a change must send along; empty where none is needed."""
        return self.get(get_session)["token"] or ""

    def get(self, run: Callable[..., Response], query: Pairs = (), **path: Any) -> Any:
        """What an operation answers, by its function."""
        operation = self._allowed(run)
        call = Call(operation.read_path(path), operation.read_query(query), self.caller, self.headers)
        return orjson.loads(bytes(run(self.service, call).body))

    def change(self, run: Callable[..., Response], content: Any, **path: Any) -> Any:
        """The same of one that takes a body of JSON."""
        operation = self._allowed(run)
        assert operation.body is not None
        checked = check(content, operation.body, "This")
        call = Call(operation.read_path(path), operation.read_query(()), self.caller, self.headers, b"", checked)
        return orjson.loads(bytes(run(self.service, call).body))

    def _allowed(self, run: Callable[..., Response]) -> Operation:
        operation = _BY_RUN[run]
        if not self.caller.may(operation.needs.right):
            raise Problem(403, say("This needs the right to %(right)s.", right=operation.needs.right))
        return operation

    def said(self, name: str) -> str:
        """A field of the form; empty where it was not sent, `Problem` (400) where it came twice."""
        values = self.form.get(name, ())
        if len(values) > 1:
            raise Problem(400, f"The field {name} is given twice.")
        return values[0] if values else ""

    def whole(self, name: str) -> int:
        """A field of the form that is a whole number; `Problem` (400) where it is none."""
        return int(number_of(self.said(name).strip(), name, whole=True))

    def button(self, known: Collection[str], who_can: str) -> str:
        """The value of the button that was pressed; `Problem` (400) where the page has no such button."""
        do = self.said("do")
        if do not in known:
            raise Problem(400, f"{who_can} {', '.join(known)}; not {do[:40]!r}.")
        return do
