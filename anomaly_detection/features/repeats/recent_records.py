"""`RecentRecords`: what was judged since the training, so that a copy of a record is one however late it comes."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Collection
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["RecentRecords"]

Keys = npt.NDArray[np.uint64]

_MOST = 100_000


class RecentRecords:
    """The last records that were judged, by keys of what they say; safe to share between threads.

    Parameters
    ----------
    most : int, default 100,000
        How many are remembered; the oldest are forgotten first.
    """

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._order: deque[tuple[int, int]] = deque()
        # By what they say: the names of those that say it.
        self._labels: dict[int, dict[int, Callable[[], str]]] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        # What was judged since the training has no place in files.
        return RecentRecords, (self._most,)

    def __len__(self) -> int:
        return len(self._order)

    def add(self, content: Keys, whole: Keys, label: Callable[[int], Callable[[], str]]) -> None:
        """Remember records; one that is remembered already, alike in its names too, changes nothing.

        Parameters
        ----------
        content, whole : ndarray of uint64, shape (n,)
            Keys of what each record says, and of that with its names.
        label : callable
            From a record's position to what says what reasons call it.
        """
        with self._lock:
            for at, key in enumerate(zip(content.tolist(), whole.tolist(), strict=True)):
                named = self._labels.setdefault(key[0], {})
                if key[1] not in named:
                    named[key[1]] = label(at)
                    self._order.append(key)
            while len(self._order) > self._most:
                said, one = self._order.popleft()
                del self._labels[said][one]
                if not self._labels[said]:
                    del self._labels[said]

    def alike(self, content: Keys) -> list[int]:
        """The positions of the records that say what a remembered one says."""
        known = self._labels
        return [at for at, key in enumerate(content.tolist()) if key in known]

    def others(self, content: int, names: Collection[int]) -> list[str]:
        """What those are called that say the same under other names, the oldest first.

        Parameters
        ----------
        content : int
            The key of what is said.
        names : collection of int
            Keys, with their names, of the records that are asked about: none of them is another.
        """
        with self._lock:
            return [label() for whole, label in self._labels.get(content, {}).items() if whole not in names]

    def first(self, content: int) -> tuple[int, Callable[[], str]] | None:
        """The oldest that says so, if any is remembered: its key with its names, and what says what it is called."""
        with self._lock:
            return next(iter(self._labels.get(content, {}).items()), None)
