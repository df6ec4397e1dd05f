"""`Limits`: how much one request may ask for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import anyio
from starlette.requests import ClientDisconnect, Request

from anomaly_detection.service.http.problems import Problem
from anomaly_detection.texts.said import Figure, say

__all__ = ["Limits", "read_body"]

_MB = 1024 * 1024
_NESTED = frozenset({dict, list})
"""What JSON has within JSON."""


@dataclass(frozen=True)
class Limits:
    """What a request may hold at most.

    Attributes
    ----------
    body : int
        Bytes.
    model : int
        Bytes of a model file.
    body_seconds : float
        Time in which a body must have arrived.
    records : int
        Records of a request.
    fields : int
        Fields of a record.
    depth : int
        Levels of lists and objects inside one another, in a record.
    requests : int
        Requests that are worked on at a time; further ones are answered 503.
    streams : int
        Streams of a service.
    rate : float
        Requests a second of a caller, but for programs on this machine where nobody logs in; twice as many at once.
    logins : int
        Tries to log in by a name from one address, or of a device that its owner used before, in a minute.
    jobs : int
        Trainings and the like that wait or run.
    head_seconds : float
        Time in which the head of a request must have arrived, the first from the beginning of the connection.
    answer_seconds : float
        Time for which a client may take nothing of its answer.
    """

    body: int = 32 * _MB
    model: int = 1024 * _MB
    body_seconds: float = 30.0
    records: int = 20_000
    fields: int = 1_000
    depth: int = 32
    requests: int = 256
    streams: int = 100
    rate: float = 500.0
    logins: int = 10
    jobs: int = 100
    head_seconds: float = 10.0
    answer_seconds: float = 30.0

    def check(self, record: Mapping[str, Any]) -> None:
        """Raise `Problem` (413) for a record with too many fields, or too deep."""
        if len(record) > self.fields:
            raise Problem(
                413,
                say(
                    "A record has %(count)s fields; at most %(fields)s are taken.",
                    count=Figure(f"{len(record):,}"),
                    fields=Figure(f"{self.fields:,}"),
                ),
            )
        if _deeper(record, self.depth):
            raise Problem(
                413,
                say("A record is nested more than %(depth)s levels deep; send a flatter one.", depth=self.depth),
            )


def _deeper(value: Mapping[str, Any] | list[Any], depth: int) -> bool:
    if depth == 0:
        return True
    items = value if isinstance(value, list) else value.values()
    # Most hold neither, which is found out at once.
    if _NESTED.isdisjoint(map(type, items)):
        return False
    return any(_deeper(item, depth - 1) for item in items if isinstance(item, (dict, list)))


async def read_body(request: Request, limits: Limits) -> bytes:
    """The body of a request; `Problem` where it is too large (413), too slow (408) or breaks off (400)."""
    too_large = Problem(
        413, say("The body is larger than %(body)s bytes; send the records in parts.", body=Figure(f"{limits.body:,}"))
    )
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > limits.body:
        raise too_large
    parts: list[bytes] = []
    size = 0
    with anyio.move_on_after(limits.body_seconds) as scope:
        try:
            async for part in request.stream():
                size += len(part)
                if size > limits.body:
                    raise too_large
                parts.append(part)
        except ClientDisconnect as error:
            raise Problem(400, say("The body broke off; send it again.")) from error
    if scope.cancelled_caught:
        raise Problem(
            408,
            say(
                "The body took longer than %(body_seconds)s seconds; send it again, or in parts.",
                body_seconds=f"{limits.body_seconds:g}",
            ),
        )
    return b"".join(parts)
