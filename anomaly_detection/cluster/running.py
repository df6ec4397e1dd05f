"""A task for each of many items, in processes of this machine or on a Dask cluster; of workers that end, once more."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from typing import Any, TypeVar

from anomaly_detection.cluster.partition import Failure
from anomaly_detection.errors import DataError, first_line

__all__ = ["Workers", "dask_cluster", "local_workers", "outcomes", "this_process"]

_TRIES = 3
"""How often a worker may end at an item, the last times with no other item at work, until it is given up."""

_GIVEN_UP = 10
"""So many in a row say that no worker stays, whatever it is given."""

_CONNECTING = 10.0
"""Seconds."""

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


@dataclass(frozen=True)
class Workers:
    """Workers to be had.

    Attributes
    ----------
    opened : callable
        Gives an executor for a block; again, where its workers have ended.
    lost : tuple of exception types
        What a task's future holds whose worker has ended.
    """

    opened: Callable[[], AbstractContextManager[Executor]]
    lost: tuple[type[BaseException], ...] = (BrokenExecutor,)


def outcomes(
    task: Callable[[Item], Outcome | Failure], items: Sequence[Item], workers: Workers, label: Callable[[Item], str]
) -> Iterator[tuple[Item, Outcome | Failure]]:
    """Each item with its outcome, as they come.

    Parameters
    ----------
    task : callable
        Can be pickled, and done twice.
    items : sequence
    workers : Workers
        Such as `local_workers` gives.
    label : callable
        What to call an item whose workers end again and again, which is a `Failure`.

    Raises
    ------
    DataError
        Where the workers are gone for good.
    """
    waiting = dict(enumerate(items))
    tries = given_up = 0
    while waiting and given_up < _GIVEN_UP:
        first = next(iter(waiting))
        # Where a worker ends, a pool ends the others. Which item it was shows once each has a turn alone.
        some = {first: waiting[first]} if tries else dict(waiting)
        with workers.opened() as executor:
            for place, outcome in _round(task, some, executor, workers.lost, label):
                given_up = 0
                yield waiting.pop(place), outcome
        tries = tries + 1 if first in waiting or not tries else 0
        if waiting and tries == _TRIES:
            item = waiting.pop(first)
            yield item, _ended(label(item))
            tries, given_up = 0, given_up + 1
    for item in waiting.values():
        yield item, _ended(label(item))


def _ended(label: str) -> Failure:
    return Failure(label, "its worker was ended, again and again; it may need more memory than there is")


def _round(
    task: Callable[[Item], Outcome | Failure],
    items: dict[int, Item],
    executor: Executor,
    lost: tuple[Any, ...],
    label: Callable[[Item], str],
) -> Iterator[tuple[int, Outcome | Failure]]:
    """The outcomes that came before a worker ended, or all."""
    places = {}
    try:
        for place, item in items.items():
            places[executor.submit(task, item)] = place
    except BrokenExecutor:
        pass  # what was submitted says so as well
    for future in as_completed(places):
        if future.cancelled():
            raise DataError("The cluster has gone away; give the same command again to go on where it stopped.")
        place, error = places[future], future.exception()
        if isinstance(error, lost):
            continue
        if error is None:
            yield place, future.result()
        else:
            # One that nobody thought of is this item's, and stops no other.
            yield place, Failure(label(items[place]), f"{type(error).__name__}: {first_line(error)}")


def this_process() -> Workers:
    """One item after another, here."""

    @contextmanager
    def opened() -> Iterator[Executor]:
        pool = ThreadPoolExecutor(1)
        try:
            yield pool
        finally:
            pool.shutdown(cancel_futures=True)

    return Workers(opened)


def local_workers(count: int) -> Workers:
    """So many processes of this machine, each of which uses its share of the cores."""
    threads = max(1, len(os.sched_getaffinity(0)) // count) if hasattr(os, "sched_getaffinity") else 1

    @contextmanager
    def opened() -> Iterator[Executor]:
        pool = ProcessPoolExecutor(count, get_context("spawn"), _begin, (threads,))
        try:
            yield pool
        finally:
            pool.shutdown(cancel_futures=True)

    return Workers(opened)


def _begin(threads: int) -> None:
    """Of a worker: leave interrupts to the process that began it, end with it, and use so many threads."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["LOKY_MAX_CPU_COUNT"] = str(threads)  # joblib goes by it
    parent = parent_process()
    assert parent is not None

    def end_with_it() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=end_with_it, daemon=True).start()


def dask_cluster(address: str) -> Workers:
    """The workers of a Dask scheduler.

    Raises
    ------
    DataError
        Where Dask is not installed; when opened, where no scheduler answers.
    """
    try:
        import distributed
    except ModuleNotFoundError as error:
        name = (error.name or "").partition(".")[0]
        raise DataError(
            f"--cluster needs {name}, which is not installed; run pip install 'mlx-iforest[cluster]', or give"
            " --workers N for processes of this machine."
        ) from error

    @contextmanager
    def opened() -> Iterator[Executor]:
        try:
            client: Any = distributed.Client(address, timeout=_CONNECTING)
        except (OSError, ValueError) as error:
            raise DataError(
                f"No Dask scheduler answers at {address} ({first_line(error)}); start one with dask scheduler, and give"
                " its address, such as tcp://scheduler:8786."
            ) from error
        with client:
            # A function of its arguments would be looked up by them, which takes longer than to send it.
            executor = client.get_executor(pure=False)
            try:
                yield executor
            finally:
                executor.shutdown(wait=False)

    # It has given the task to several workers by then.
    return Workers(opened, (distributed.scheduler.KilledWorker,))
