"""What a piece of code costs: seconds, memory, rows a second, bytes on disk."""

from __future__ import annotations

import gc
import pickle
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psutil

from anomaly_detection.errors import DataError
from anomaly_detection.heap import trim

__all__ = ["Measurement", "measure", "model_bytes", "rows_per_second"]

_SAMPLE_SECONDS = 0.005


@dataclass
class Measurement:
    """What a block of code took; filled in when the block ends, however it ends.

    Attributes
    ----------
    seconds : float
        Wall-clock time.
    peak_memory_bytes : int
        The rise of the process's resident memory over its level at entry, at its highest; never negative. Free memory
        is given back to the system first where that can be asked for (glibc), else work that finds memory left over
        from earlier work would seem to need less. Sampled every few milliseconds, so a shorter peak may be missed.
    mlx_peak_memory_bytes : int or None
        The most memory that MLX held during the block (its GPU's, where it has one); None where MLX was not loaded.
    """

    seconds: float = 0.0
    peak_memory_bytes: int = 0
    mlx_peak_memory_bytes: int | None = None


@contextmanager
def measure() -> Iterator[Measurement]:
    """Measure the time and memory of a ``with`` block.

    Blocks may be nested; the inner one then restarts MLX's peak for the outer one too.

    Yields
    ------
    Measurement
        Its numbers are there once the block has ended.

    Examples
    --------
    >>> with measure() as cost:
    ...     total = sum(range(1000))
    >>> cost.seconds > 0
    True
    """
    _release_memory()
    measurement = Measurement()
    process = psutil.Process()
    mlx_before = sys.modules.get("mlx.core")
    if mlx_before is not None:
        mlx_before.reset_peak_memory()
    level = peak = process.memory_info().rss
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(_SAMPLE_SECONDS):
            peak = max(peak, process.memory_info().rss)

    watcher = threading.Thread(target=watch, name="memory-sampler", daemon=True)
    watcher.start()
    start = time.perf_counter()
    try:
        yield measurement
    finally:
        measurement.seconds = time.perf_counter() - start
        last = process.memory_info().rss
        done.set()
        watcher.join()
        measurement.peak_memory_bytes = max(peak, last) - level
        mlx: Any = sys.modules.get("mlx.core")
        if mlx is not None:
            measurement.mlx_peak_memory_bytes = int(mlx.get_peak_memory())


def _release_memory() -> None:
    """Free garbage of earlier code, which would else be freed or reused on the next block's account."""
    gc.collect()
    if (pyarrow := sys.modules.get("pyarrow")) is not None:
        pyarrow.default_memory_pool().release_unused()
    trim()


def rows_per_second(
    score: Callable[[], object],
    n_rows: int,
    *,
    repeats: int = 5,
    most_seconds: float = 0.25,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Time a call that scores `n_rows` rows, and give the rate of the fastest.

    Others may have compiled what became worth compiling by them.

    Parameters
    ----------
    score : callable
        Called `repeats` times; the first may still compile and warm caches, so it should be more than one.
    n_rows : int
        Rows that one call scores; at least 1.
    repeats : int
        Calls; at least 1.
    most_seconds : float
        Where two calls or more have taken so long together, no more follow.
    clock : callable
        Gives seconds, never going back.

    Returns
    -------
    float
        Rows a second: `n_rows` over the shortest duration. Finite and positive.

    Raises
    ------
    DataError
        `n_rows` or `repeats` below 1.
    """
    if n_rows < 1 or repeats < 1:
        raise DataError(f"Cannot time {n_rows} rows {repeats} times; expected at least 1 row and 1 repeat.")
    durations = []
    for _ in range(repeats):
        start = clock()
        score()
        durations.append(clock() - start)
        if len(durations) > 1 and sum(durations) >= most_seconds:
            break
    # A call can be shorter than the clock's tick; a rate must stay finite.
    return n_rows / max(min(durations), time.get_clock_info("perf_counter").resolution)


def model_bytes(model: object) -> int:
    """Give the size of an object as a pickle, in bytes; joblib's is as large, and takes five times as long."""
    return len(pickle.dumps(model, protocol=5))
