"""Answers that are given again: a request with an ``Idempotency-Key`` takes effect once, however often it is sent."""

from __future__ import annotations

from sqlalchemy import Connection, insert, select

from anomaly_detection.service.http.problems import Problem
from anomaly_detection.service.storage.clock import now
from anomaly_detection.service.storage.tables import idempotency

__all__ = ["check_key", "earlier_reply", "keep_reply"]

_LONGEST = 255


def check_key(key: str) -> None:
    """Raise `Problem` (400) for a key that cannot be kept."""
    if not key.strip() or len(key) > _LONGEST:
        raise Problem(400, f"An Idempotency-Key has 1 to {_LONGEST} characters.")


def earlier_reply(connection: Connection, stream_id: int, key: str, digest: str) -> bytes | None:
    """The answer to the same request, by its body's digest, if it came before; `Problem` (422) for another body."""
    row = connection.execute(
        select(idempotency).where(idempotency.c.stream_id == stream_id, idempotency.c.key == key)
    ).first()
    if row is None:
        return None
    if row.digest != digest:
        raise Problem(422, "This Idempotency-Key came with another body; give every request a key of its own.")
    return bytes(row.answer)


def keep_reply(connection: Connection, stream_id: int, key: str, digest: str, answer: bytes) -> None:
    """Keep an answer, in the transaction of what it tells of."""
    values = {"stream_id": stream_id, "key": key, "digest": digest, "answer": answer, "created": now()}
    connection.execute(insert(idempotency).values(values))
