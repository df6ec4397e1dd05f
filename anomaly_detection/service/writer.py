"""`Writer`: the one thread that writes, for all requests that wait at a moment in one transaction."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from sqlalchemy import Connection

from anomaly_detection.service.database import Database

__all__ = ["Writer"]

_MOST = 256
"""Works of one transaction: more would make the first of them wait."""

Result = TypeVar("Result")
Work = Callable[[Connection], Any]


class Writer:
    """Runs works on a database, one after the other; each is kept when `run` returns.

    Works that come while the disk is waited for share the next transaction, and so the next wait. Where one of them
    fails, all are undone and each runs again by itself, so that none fails for another's sake: a work must do nothing
    but what it does to the connection.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queue: queue.SimpleQueue[tuple[Work, Future[Any]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="writer", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many works wait."""
        return self._queue.qsize()

    def run(self, work: Callable[[Connection], Result]) -> Result:
        """Do a work and wait until it is kept; raises what it raises, and `FullError`."""
        future: Future[Result] = Future()
        self._queue.put((work, future))
        return future.result()

    def close(self) -> None:
        """End after the works that wait now."""
        self._queue.put(None)
        self._thread.join()

    def _write(self) -> None:
        while (first := self._queue.get()) is not None:
            works = [first]
            while len(works) < _MOST and not self._queue.empty():
                further = self._queue.get()
                if further is None:
                    # For the loop, after these.
                    self._queue.put(None)
                    break
                works.append(further)
            self._together(works)

    def _together(self, works: list[tuple[Work, Future[Any]]]) -> None:
        try:
            with self._database.writing() as connection:
                results = [work(connection) for work, _ in works]
        except BaseException as error:
            if len(works) == 1:
                works[0][1].set_exception(error)
                return
            for work in works:
                self._together([work])
            return
        for (_, future), result in zip(works, results, strict=True):
            future.set_result(result)
