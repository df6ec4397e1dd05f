"""`Writer`: the one thread that writes, for all requests that wait at a moment in one transaction."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from itertools import groupby
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Connection

from anomaly_detection.service.storage.database import Database

__all__ = ["Writer"]

_MOST = 256
"""Works of one transaction: more would make the first of them wait."""

Item = TypeVar("Item")
Result = TypeVar("Result")
Together = Callable[[Connection, Sequence[Item]], Sequence[Result]]


class _Work(NamedTuple):
    """What is to be done with an item, and who waits for the result."""

    together: Together[Any, Any]
    item: Any
    future: Future[Any]


class Writer:
    """Does works on a database, one after the other; each is kept when its future has a result.

    Works that come while the disk is waited for share the next transaction, and so the next wait; those of one kind,
    next to each other, also their statements. Where one of them fails, all are undone and each is done again by itself,
    so that none fails for another's sake: a work must do nothing but what it does to the connection.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queue: queue.SimpleQueue[list[_Work] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="writer", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many works wait, those that were handed in together as one."""
        return self._queue.qsize()

    def submit(self, together: Together[Item, Result], item: Item) -> Future[Result]:
        """Have a work done, with others that `together` is for; the future gets what it raises, and `FullError`.

        `together` is given the connection and the items of these works in their order, and gives a result for each.
        """
        return self.submit_all(together, [item])[0]

    def submit_all(self, together: Together[Item, Result], items: Sequence[Item]) -> list[Future[Result]]:
        """Have a work done for each of some items, in one transaction; as `submit`, the last future being the last."""
        works = [_Work(together, item, Future[Result]()) for item in items]
        self._queue.put(works)
        return [work.future for work in works]

    def run(self, work: Callable[[Connection], Result]) -> Result:
        """Do a work by itself and wait until it is kept; raises what it raises, and `FullError`."""
        result: Result = self.submit(_each, work).result()
        return result

    def close(self) -> None:
        """End after the works that wait now."""
        self._queue.put(None)
        self._thread.join()

    def _write(self) -> None:
        while (first := self._queue.get()) is not None:
            works = list(first)
            while len(works) < _MOST and not self._queue.empty():
                further = self._queue.get()
                if further is None:
                    # For the loop, after these.
                    self._queue.put(None)
                    break
                works += further
            self._transact(works)

    def _transact(self, works: list[_Work]) -> None:
        results: list[Any] = []
        try:
            with self._database.writing() as connection:
                for together, some in groupby(works, key=lambda work: work.together):
                    results += together(connection, [work.item for work in some])
        except BaseException as error:
            if len(works) == 1:
                works[0].future.set_exception(error)
                return
            for work in works:
                self._transact([work])
            return
        for work, result in zip(works, results, strict=True):
            work.future.set_result(result)


def _each(connection: Connection, works: Sequence[Callable[[Connection], Any]]) -> list[Any]:
    return [work(connection) for work in works]
