"""`Watched`: the features of records that verdicts may move, kept from one verdict to the next."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

import numpy as np

from anomaly_detection.service.records.incoming import Incoming
from anomaly_detection.service.records.judging import Extracted, Judge

__all__ = ["Name", "Watched"]

_MOST_NEW = 5
"""Records whose features are made at a verdict, the first of a model aside: so it waits for no more than these."""

Name = tuple[str, int]
"""Of a record: whether it is looked at as an alert or as a record, and the number of that."""

Fetch = Callable[[Sequence[Name]], Sequence[Incoming]]


@dataclass
class _Kept:
    """Of one stream: the model that the features are of, and these; None of a record that cannot be judged."""

    model_id: int
    rows: dict[Name, Extracted | None] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)


class Watched:
    """Keeps features, since judging a record is nearly all reading it; what a verdict changes is how they are weighed.

    A record is judged beside those that it was first watched with.
    """

    def __init__(self) -> None:
        self._streams: dict[int, _Kept] = {}
        self._lock = threading.Lock()

    def forget_others(self, streams: Collection[int]) -> None:
        """Keep nothing of any but these streams, by their ids."""
        with self._lock:
            self._streams = {number: kept for number, kept in self._streams.items() if number in streams}

    def moved(
        self, stream_id: int, names: Sequence[Name], fetch: Fetch, before: Judge, after: Judge
    ) -> dict[Name, int]:
        """Which records cross the line between two judges of one model: 1 is an alert no more, -1 is one by now.

        Parameters
        ----------
        stream_id : int
        names : sequence of Name
            The records, those first that are to be looked at first. Others are forgotten.
        fetch : callable
            Gives the records of some names.
        before, after : Judge
        """
        with self._lock:
            kept = self._streams.get(stream_id)
            if kept is None or kept.model_id != after.model_id:
                kept = self._streams[stream_id] = _Kept(after.model_id)
        with kept.lock:
            new = [name for name in names if name not in kept.rows]
            if kept.rows:
                new = new[:_MOST_NEW]
            records = fetch(new) if new else []
            # Few are read sooner each by itself than as a table.
            parts = [[each] for each in records] if kept.rows else [records]
            made = dict(zip(new, (row for part in parts for row in after.read_off(part)), strict=True))
            known = {**kept.rows, **made}
            kept.rows = {name: known[name] for name in names if name in known}
            rows = {name: row for name, row in kept.rows.items() if row is not None}
        if not rows:
            return {}
        was, now = (judge.decisions_by([*rows.values()]) < 0.0 for judge in (before, after))
        steps = was.astype(np.int64) - now
        return {name: step for name, step in zip(rows, steps.tolist(), strict=True) if step}
