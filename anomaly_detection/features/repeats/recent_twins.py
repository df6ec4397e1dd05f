"""`RecentTwins`: what was judged since the training, so that a record is known again that says all but one number."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from anomaly_detection.features.repeats.coincidences import cell_keys

__all__ = ["RecentTwins"]

Floats = npt.NDArray[np.float64]
Keys = npt.NDArray[np.uint64]


class RecentTwins:
    """The last records that were judged, by what twins agree in and their numbers; safe to share between threads.

    Parameters
    ----------
    numbers : int
        How many numbers of a record may differ.
    most : int, default 10,000
        How many records are remembered; the oldest are forgotten first.
    """

    def __init__(self, numbers: int, most: int = 10_000) -> None:
        self._lock = threading.Lock()
        # By place, which the oldest record leaves to the newest.
        self._numbers = np.empty((most, numbers))
        self._labels: list[Callable[[], str]] = [str] * most
        self._records: list[tuple[int, bytes]] = [(0, b"")] * most
        self._known: set[tuple[int, bytes]] = set()
        self._places: dict[int, deque[int]] = {}
        self._added = 0

    def __reduce__(self) -> tuple[Any, ...]:
        # What was judged since the training has no place in files.
        return RecentTwins, (self._numbers.shape[1], len(self._labels))

    def __len__(self) -> int:
        return len(self._known)

    def add(self, rest: Keys, numbers: Floats, label: Callable[[int], Callable[[], str]]) -> None:
        """Remember records; one that is remembered already changes nothing.

        Parameters
        ----------
        rest : ndarray of uint64, shape (n,)
            Keys of what each record says besides its numbers.
        numbers : ndarray of float64, shape (n, numbers)
        label : callable
            From a record's position to what says what reasons call it.
        """
        with self._lock:
            for at, key in enumerate(rest.tolist()):
                record = key, numbers[at].tobytes()
                if record in self._known:
                    continue
                place = self._added % len(self._labels)
                if self._added >= len(self._labels):
                    self._forget(self._records[place])
                self._known.add(record)
                self._places.setdefault(key, deque()).append(place)
                self._numbers[place], self._records[place], self._labels[place] = numbers[at], record, label(at)
                self._added += 1

    def _forget(self, record: tuple[int, bytes]) -> None:
        self._known.remove(record)
        # It came before all others that have a place there.
        self._places[record[0]].popleft()
        if not self._places[record[0]]:
            del self._places[record[0]]

    def twins(self, rest: Keys, numbers: Floats) -> dict[int, tuple[int, str]]:
        """By the positions of records that have such twins: which number the oldest has otherwise, and its label."""
        found = {}
        with self._lock:
            for at, key in enumerate(rest.tolist()):
                places = self._places.get(key)
                # Alone there, it is itself.
                if places is None or (len(places) == 1 and (key, numbers[at].tobytes()) in self._known):
                    continue
                known = self._numbers[places]
                differs = cell_keys(known.ravel()).reshape(known.shape) != cell_keys(numbers[at])
                # A gap is no other number.
                given = ~np.isnan(known) & ~np.isnan(numbers[at])
                twins = np.flatnonzero((differs.sum(axis=1) == 1) & (differs & given).any(axis=1))
                if len(twins):
                    found[at] = int(differs[twins[0]].argmax()), self._labels[places[int(twins[0])]]()
        return found
