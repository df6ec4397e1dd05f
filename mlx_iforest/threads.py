"""One pool of threads for the life of the process: starting threads takes longer than scoring thousands of rows."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from threading import Lock
from typing import TypeVar

from joblib import cpu_count

__all__ = ["run"]

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


def run(task: Callable[[Item], Outcome], items: Sequence[Item], n_threads: int) -> list[Outcome]:
    """The outcome of a task for each item, in order.

    The calling thread works too and takes items as the others do, so calls from many threads, and from within a task,
    never wait for a free thread. After an error no further item is begun.

    Parameters
    ----------
    task : callable
        Should release the GIL for most of its time.
    items : sequence
    n_threads : int
        At most so many, the calling one included; never more than the machine has cores.
    """
    n_threads = min(n_threads, len(items))
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

    helpers = [_pool().submit(work) for _ in range(n_threads - 1)]
    try:
        work()
    finally:
        # Those that no thread has taken up yet are not waited for.
        running = [helper for helper in helpers if not helper.cancel()]
        errors = [helper.exception() for helper in running]
    for error in errors:
        if error is not None:
            raise error
    return [outcomes[k] for k in range(len(items))]


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max(1, cpu_count() - 1), thread_name_prefix="mlx_iforest")


if hasattr(os, "register_at_fork"):
    # A forked process has the pool, but none of its threads.
    os.register_at_fork(after_in_child=_pool.cache_clear)
