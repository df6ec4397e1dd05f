"""One pool of threads for the life of the process: starting threads takes longer than scoring thousands of rows."""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from threading import Condition, Lock, current_thread
from typing import TypeVar

from mlx_iforest.cores import cores

__all__ = ["FEWEST_THREADED_ROWS", "run"]

FEWEST_THREADED_ROWS = 2048
"""Rows up to which no backend starts a thread; to find out how many there may be takes longer than to score a row."""

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


def run(task: Callable[[Item], Outcome], items: Sequence[Item], n_threads: int) -> list[Outcome]:
    """The outcome of a task for each item, in order.

    The calling thread works too and takes items as the others do, so calls from many threads, and from within a task,
    never wait for a free thread. After an error no further item is begun.

    While the process ends, the calling thread works alone. A daemon thread, for which the end does not wait, is ended
    by `SystemExit` at its next item: the end must not come while it is in compiled code.

    Parameters
    ----------
    task : callable
        Should release the GIL for most of its time.
    items : sequence
    n_threads : int
        At most so many, the calling one included; never more than the machine has cores.
    """
    n_threads = min(n_threads, len(items))
    if current_thread().daemon:
        task = _of_daemon(task)
    if n_threads <= 1:
        return [task(item) for item in items]
    outcomes: dict[int, Outcome] = {}
    remaining = iter(range(len(items)))
    lock = Lock()

    def work() -> None:
        nonlocal remaining
        while True:
            with lock:
                k = next(remaining, None)
            if k is None:
                return
            try:
                outcomes[k] = task(items[k])
            except BaseException:
                with lock:
                    remaining = iter(range(0))
                raise

    helpers: list[Future[None]] = []
    try:
        # The pool takes nothing more once the process ends.
        with suppress(RuntimeError):
            for _ in range(n_threads - 1):
                helpers.append(_pool().submit(work))
        work()
    finally:
        # An interrupt may come where no item was at fault.
        with lock:
            remaining = iter(range(0))
        # Those that no thread has taken up yet are not waited for.
        running = [helper for helper in helpers if not helper.cancel()]
        errors = [helper.exception() for helper in running]
    for error in errors:
        if error is not None:
            raise error
    return [outcomes[k] for k in range(len(items))]


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max(1, cores() - 1), thread_name_prefix="mlx_iforest")


class _Running:
    """How many items of daemon threads are being worked on."""

    def __init__(self) -> None:
        self.count = 0
        self.ending = False
        self.changed = Condition()

    def end(self) -> None:
        with self.changed:
            self.ending = True

    def wait(self) -> None:
        with self.changed:
            self.changed.wait_for(lambda: self.count <= 0)


_running = _Running()


def _of_daemon(task: Callable[[Item], Outcome]) -> Callable[[Item], Outcome]:
    def begin(item: Item) -> Outcome:
        running = _running
        with running.changed:
            if running.ending:
                raise SystemExit
            running.count += 1
        try:
            return task(item)
        finally:
            with running.changed:
                running.count -= 1
                running.changed.notify_all()

    return begin


def _end() -> None:
    """No further item is begun: else the pool, whose threads the end waits for, would go on to the last.

    An interrupt while a thread of the pool begins leaves one that the pool does not know, which only this wakes.
    """
    _running.end()
    if _pool.cache_info().currsize:
        _pool().shutdown(wait=False)


def _wait() -> None:
    """What is under way must not outlive Python."""
    _running.wait()


# The first is called before the pool is waited for, as `concurrent.futures` does it; the other one after all threads.
getattr(threading, "_register_atexit", atexit.register)(_end)
atexit.register(_wait)


def _forget() -> None:
    """A forked process has the pool and the counter, but none of the threads."""
    global _running
    _pool.cache_clear()
    _running = _Running()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
