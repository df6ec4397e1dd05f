"""`Rates`: how many requests a caller may send, by a bucket of tokens for each."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from anomaly_detection.service.http.problems import Problem
from anomaly_detection.texts.said import say

__all__ = ["Rates"]

_MOST = 10_000
"""Callers that are remembered: who has not asked for so many others starts anew, with a full bucket."""


class Rates:
    """A bucket for each caller holds `burst` tokens and gets `rate` a second; a request takes one.

    Any thread may ask it.

    Parameters
    ----------
    rate : float
        Tokens a second.
    burst : float
        Tokens of a full bucket.
    clock : callable
        Gives seconds.
    """

    def __init__(self, rate: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._buckets: dict[str, tuple[float, float]] = {}
        self._lock = threading.Lock()

    def take(self, caller: str) -> None:
        """Take a token; raises `Problem` (429) where there is none, with how long to wait."""
        with self._lock:
            self._take(caller)

    def _take(self, caller: str) -> None:
        moment = self._clock()
        # Put at the end again: the first are then those that have not asked for the longest time.
        tokens, last = self._buckets.pop(caller, (self._burst, moment))
        tokens = min(self._burst, tokens + (moment - last) * self._rate)
        if tokens < 1:
            self._buckets[caller] = tokens, moment
            wait = max(1, round((1 - tokens) / self._rate + 0.5))
            raise Problem(
                429, say("Too many requests; send the next in %(wait)s s.", wait=wait), {"Retry-After": str(wait)}
            )
        self._buckets[caller] = tokens - 1, moment
        if len(self._buckets) > _MOST:
            del self._buckets[next(iter(self._buckets))]
