"""Tasks of a benchmark that measures no seconds, spread over processes: as many results, in the same order."""

from __future__ import annotations

import argparse
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

__all__ = ["add_processes", "spread"]

Made = TypeVar("Made")

_ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "LOKY_MAX_CPU_COUNT"), "1"
)
"""For each process, when there are several: together they use every core."""


def add_processes(parser: argparse.ArgumentParser) -> None:
    """Let the number of processes be given."""
    parser.add_argument(
        "--processes", type=int, default=os.cpu_count() or 1, help="that share the work (%(default)s); 1: this one"
    )


def spread(work: Callable[..., Made], tasks: Sequence[tuple[Any, ...]], processes: int) -> Iterator[Made]:
    """What a function of a module makes of the arguments of each task, in the order of the tasks.

    Parameters
    ----------
    work : callable
    tasks : sequence of tuple
        What can be pickled; small, for each goes to a process.
    processes : int
    """
    if processes < 2 or len(tasks) < 2:
        yield from (work(*task) for task in tasks)
        return
    # A fork would copy threads that are asleep.
    context = multiprocessing.get_context("spawn")
    with _environment(), ProcessPoolExecutor(min(processes, len(tasks)), context) as pool:
        found = [pool.submit(work, *task) for task in tasks]
        yield from (each.result() for each in found)


@contextmanager
def _environment() -> Iterator[None]:
    before = {name: os.environ.get(name) for name in _ONE_THREAD}
    os.environ.update(_ONE_THREAD)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
