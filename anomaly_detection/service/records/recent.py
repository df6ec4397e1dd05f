"""`Recent`: which records a judge has met, and which it has not: those of other processes and of before a restart."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from sqlalchemy import Connection, select

from anomaly_detection.service.storage.tables import models, records

__all__ = ["Recent"]

_MOST = 10_000
"""Records that are read at once: a worker's file of a million need not all be read again."""

_AT_ONCE = 500
"""Values of one IN: older SQLite takes 999."""


class Recent:
    """Which records a judge has met, and the others that were kept since its model was made."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._read_to: int | None = None
        self._own: set[int] = set()

    def met(self, ids: Sequence[int]) -> None:
        """Records of these numbers were judged here, and kept."""
        with self._lock:
            self._own.update(ids)

    def missing(self, connection: Connection, stream_id: int, model_id: int) -> list[str]:
        """The bodies of the last records that were kept since the model was made and since this was asked last.

        Without those that were `met`.
        """
        if self._read_to is None:
            made = select(models.c.created).where(models.c.id == model_id).scalar_subquery()
            before = select(records.c.id).where(records.c.stream_id == stream_id, records.c.received <= made)
            # Once: of a stream that has got nothing since, it would go through all records each time.
            self._read_to = connection.execute(before.order_by(records.c.id.desc()).limit(1)).scalar() or 0
        last = select(records.c.id).where(records.c.stream_id == stream_id, records.c.id > self._read_to)
        ids = list(connection.execute(last.order_by(records.c.id.desc()).limit(_MOST)).scalars())[::-1]
        if not ids:
            return []
        with self._lock:
            unknown = [number for number in ids if number not in self._own]
            self._read_to = ids[-1]
            self._own = {number for number in self._own if number > self._read_to}
        found: list[str] = []
        for first in range(0, len(unknown), _AT_ONCE):
            some = select(records.c.body).where(records.c.id.in_(unknown[first : first + _AT_ONCE]))
            found += connection.execute(some.order_by(records.c.id)).scalars()
        return found
