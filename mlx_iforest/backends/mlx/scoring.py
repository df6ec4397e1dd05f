"""Scoring by MLX's kernels: one launch walks all trees for a chunk of rows (see kernels/score.h)."""

from __future__ import annotations

import re
from collections import deque
from functools import cache

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

from mlx_iforest.backends.base import DeviceError
from mlx_iforest.backends.fixed_point import whole_numbers
from mlx_iforest.backends.memoize import MadeOnce
from mlx_iforest.backends.mlx.device_forest import RANK, SHORTEST, DeviceForest, Layout
from mlx_iforest.backends.mlx.launch import LOCK, launch
from mlx_iforest.backends.mlx.transfer import Transfer, transfer, transfer_parts
from mlx_iforest.backends.scored_trees import DoesNotFitError, Trees
from mlx_iforest.forest import Forest
from mlx_iforest.kernel_input import check_rows, check_values

__all__ = ["KernelScorer", "batch_rows", "group_limits", "kernel_scorer", "padded"]

LAUNCH_STEPS = 1 << 32
"""Rows times trees times levels of one launch: about a tenth of a second on a small chip. macOS ends longer work."""

CHUNK_BYTES = 32 << 20
"""Of rows that are moved to the device while those before them are scored."""

IN_FLIGHT = 2
"""Chunks handed to the device before the results of the first are awaited."""

BATCH_BYTES = 32 << 20
"""Of rows that are handed over at a time. Meanwhile other threads check and convert those of the next batches, and make
scores of those before."""

LEAST_BATCH_BYTES = 8 << 20
"""Of rows, so that each thread has some: below it launching takes as long as moving them."""

SHARE = 8
"""One part in so many of the device's free memory goes to a batch where that is less."""

FEWEST_ROWS = 1024
"""Rows of a launch below which no memory is what is missing."""

GROUPS = 1056
"""Groups of a launch at most: several for each of the largest chip's cores, and few enough that each loads the trees
for many rows."""

METAL_SHARED, METAL_THREADS = 32 << 10, 256
"""Bytes of shared memory, and threads, of a group on every Apple chip."""

CUDA_THREADS = 1024
"""Threads of a group at most, and on an H100 the best number where a thread has enough trees (`DeviceForest.best`)."""

CUDA_SHARED = {(7, 0): 96, (7, 2): 96, (7, 5): 64, (8, 0): 163, (8, 7): 163, (9, 0): 227, (10, 0): 227, (10, 3): 227}
"""Kilobytes of shared memory that a group may have, by compute capability; 99 on newer ones not listed."""

_OUT_OF_MEMORY = re.compile(r"alloc|memory", re.IGNORECASE)


def group_limits() -> tuple[int, int]:
    """Bytes of shared memory, and threads, that a group is given on this machine's GPU."""
    if not mx.cuda.is_available():
        return METAL_SHARED, METAL_THREADS
    info = mx.device_info()
    if "compute_capability_major" in info:
        found = (int(info["compute_capability_major"]), int(info.get("compute_capability_minor", 0)))
    else:
        digits = re.search(r"(\d+)\.?(\d)", str(info.get("architecture", "")))
        found = (int(digits[1]), int(digits[2])) if digits else (0, 0)
    kilobytes = CUDA_SHARED.get(found, 99 if found >= (8, 6) else 48)
    return kilobytes << 10, CUDA_THREADS


def batch_rows(n_rows: int, n_features: int, n_threads: int) -> int:
    """Rows that are best handed over at a time: `BATCH_BYTES`, less where threads or the device's memory ask for it."""
    free = max(0, _memory() - int(mx.get_active_memory()))
    shared = max(LEAST_BATCH_BYTES, 4 * n_features * -(-n_rows // n_threads))
    return max(FEWEST_ROWS, min(BATCH_BYTES, shared, free // SHARE) // (4 * n_features))


@cache
def _memory() -> int:
    """Bytes that the device has for this process; asked once, since the driver takes its time."""
    info = mx.device_info()
    names = ("max_recommended_working_set_size", "free_memory", "memory_size", "total_memory")
    return next((int(info[name]) for name in names if info.get(name)), 8 << 30)


class KernelScorer:
    """A forest, and values of its leaves, on the device.

    Parameters
    ----------
    forest : Forest
    values : ndarray of float32, shape (n_nodes, n_values)
    layout : Layout, optional
        The one that is chosen for the forest where none is given.
    n_groups : int
        Groups of a launch at most.

    Raises
    ------
    DoesNotFitError
        The kernel's words cannot hold the forest.
    """

    def __init__(
        self, forest: Forest, values: NDArray[np.float32], layout: Layout | None = None, n_groups: int = GROUPS
    ) -> None:
        forest.ensure_valid()
        check_values(forest, values)
        self.unit, numbers = whole_numbers(values)
        trees = Trees.of(forest, numbers)
        shared, threads = group_limits()
        self.packed = DeviceForest.of(trees, layout) if layout else DeviceForest.best(trees, shared, threads)
        self.n_features, self.n_groups = trees.n_features, n_groups
        steps = trees.n_trees * max(int(trees.depths.max()), 1)
        self.launch_rows = max(FEWEST_ROWS, min(LAUNCH_STEPS // steps, (1 << 31) // max(trees.n_features, 1)))
        self._arrays = {name: mx.array(array) for name, array in self.packed.arrays.items()}
        ranking = self.packed.ranking
        if ranking is not None:
            self._rank_template = ranking.template(threads)
            thresholds = ranking.thresholds.reshape(-1)
            self._thresholds = mx.array(np.pad(thresholds, (0, max(0, SHORTEST - thresholds.size))))
        # Evaluated, so that any thread may use them.
        mx.eval(*self._arrays.values(), *([] if ranking is None else [self._thresholds]))

    def codes(self, X: mx.array) -> mx.array:
        """The codes of rows, shape (n_samples, n_words) of uint32; only where the layout has `ranks`."""
        assert self.packed.ranking is not None
        n_words = self.packed.ranking.n_words
        inputs = {"X": padded(X), "sizes": mx.array([X.shape[0]], mx.uint32), "thresholds": self._thresholds}
        n_groups = min(self.n_groups, -(-X.shape[0] * n_words // self._rank_template["THREADS"]))
        return launch(RANK, self._rank_template, inputs, {"codes": (X.shape[0], n_words)}, n_groups)[0]

    def totals(self, rows: mx.array) -> mx.array:
        """For every row the sums of its leaves' values in units of `unit`, not yet evaluated.

        Parameters
        ----------
        rows : mx.array, shape (n_samples, n_features) of float32, or (n_samples, n_words) of uint32
            Rows or, where the layout has `ranks`, either rows or their `codes`. Of no more rows than a launch may have.

        Returns
        -------
        mx.array of int32 or int64, shape (n_samples, n_values)
        """
        packed = self.packed
        if packed.ranking is not None and rows.dtype == mx.float32:
            rows = self.codes(rows)
        n_rows = rows.shape[0]
        inputs = {"X": padded(rows), "sizes": mx.array([n_rows, packed.n_chunks], mx.uint32), **self._arrays}
        n_groups = min(self.n_groups, -(-n_rows // packed.layout.rows))
        return launch(packed.kernel, packed.template, inputs, {"totals": (n_rows, packed.n_values)}, n_groups)[0]

    def means(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        """For every row the means over the trees of its leaves' values: those of the CPU, bit for bit.

        Rows are moved to the device a chunk at a time while it scores those before. Where the device's memory is too
        small, chunks are halved.

        Raises
        ------
        DeviceError
            The device failed.
        """
        X = check_rows(X, self.n_features)
        n_values = self.packed.n_values
        means = np.empty((len(X), n_values))
        for part in transfer_parts(len(X), self.n_features, n_values):
            with transfer(X[part], n_values, self.packed.total) as moved:
                self._score(moved)
                np.multiply(moved.totals, self.unit / self.packed.n_trees, out=means[part])
        return means

    def _score(self, moved: Transfer) -> None:
        n_rows = len(moved.totals)
        rows = max(1, min(self.launch_rows, CHUNK_BYTES // (4 * self.n_features)))
        pending: deque[tuple[slice, mx.array]] = deque()
        begun = done = 0
        with LOCK:
            while done < n_rows:
                try:
                    if begun < n_rows and len(pending) <= IN_FLIGHT:
                        part = slice(begun, min(begun + rows, n_rows))
                        sent = moved.send(part, self.totals(moved.rows(part)))
                        mx.async_eval(sent)
                        pending.append((part, sent))
                        begun = part.stop
                    else:
                        part, sent = pending.popleft()
                        moved.receive(part, sent)
                        done = part.stop
                except (RuntimeError, MemoryError) as error:
                    if rows <= FEWEST_ROWS or not _OUT_OF_MEMORY.search(str(error) or "memory"):
                        raise DeviceError(f"MLX's device failed while scoring {rows} rows: {error}") from error
                    begun, rows = done, rows // 2
                    pending.clear()
                    mx.clear_cache()


def padded(rows: mx.array) -> mx.array:
    """Rows of which no array is too short for the device's memory; a kernel's text would differ, its name would not."""
    if rows.size >= SHORTEST:
        return rows
    return mx.concatenate([rows.reshape(-1), mx.zeros(SHORTEST, rows.dtype)])


def _make_scorer(forest: Forest, values: NDArray[np.float32]) -> KernelScorer | None:
    try:
        return KernelScorer(forest, values)
    except DoesNotFitError:
        return None


_scorer = MadeOnce(_make_scorer)


def kernel_scorer(forest: Forest, values: NDArray[np.float32]) -> KernelScorer | None:
    """The scorer of a forest and some values, made once; None where plain operations have to do it."""
    with LOCK:
        return _scorer(forest, values)
