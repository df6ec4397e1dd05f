"""The CPU backend: growing and scoring compiled by Numba, on a pool of threads.

Kernels release the GIL and run on one thread each; rows or trees are shared out over a pool (see docs/design.md,
"threads without
OpenMP").
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from weakref import WeakKeyDictionary

import numba
import numpy as np
from joblib import cpu_count
from numpy.typing import NDArray

from mlx_iforest.backends import numba_kernels as kernels
from mlx_iforest.codes import CodedForest
from mlx_iforest.codes_kernels import BLOCK
from mlx_iforest.codes_kernels import add_leaf_values as add_coded_leaf_values
from mlx_iforest.forest import Forest
from mlx_iforest.growth import GrowthPlan
from mlx_iforest.randomness import Stream, permutation_keys, tree_keys

__all__ = ["NumbaBackend"]

LARGEST_CODED = 4000
"""Mean nodes of a tree beyond which a walk, which visits few of them, wins over visiting them all."""

FEWEST_CODED_ROWS = 64
"""Rows below which a block would be mostly empty."""

FEWEST_ROWS_OF_A_THREAD = 1024
"""Rows below which starting a thread takes longer than scoring them."""

GROWTH_BYTES = 64 << 20
"""Bound of the memory of one task's growing trees before they are packed."""


class NumbaBackend:
    """Grows and scores on the CPU."""

    name = "numba"

    def grow(self, X: NDArray[np.float32], plan: GrowthPlan, *, n_threads: int) -> Forest:
        weights = np.ones(plan.features_per_tree, np.int64) if plan.weights is None else plan.weights

        def task(part: GrowthPlan) -> tuple[NDArray[np.int64], tuple[NDArray[Any], ...]]:
            row_keys = tree_keys(part.seed, part.tree_numbers, Stream.ROWS)
            feature_keys = tree_keys(part.seed, part.tree_numbers, Stream.FEATURES)
            row_table = np.empty((part.n_trees, 0), np.int64) if part.row_table is None else part.row_table
            grown: tuple[NDArray[np.int64], tuple[NDArray[Any], ...]] = kernels.grow_trees(
                X, part.split_keys(), _with_rounds(row_keys), row_table, _with_rounds(feature_keys), weights,
                part.extension_level, part.features_per_tree, part.subsample_size, part.bootstrap, part.max_depth,
            )  # fmt: skip
            return grown

        bytes_per_tree = 2 * plan.subsample_size * (17 + 8 * plan.extension_level)
        most = max(1, GROWTH_BYTES // bytes_per_tree)
        per_task = max(1, min(most, -(-plan.n_trees // n_threads)))
        parts = [plan.slice(i, min(per_task, plan.n_trees - i)) for i in range(0, plan.n_trees, per_task)]
        starts, packed = zip(*_run(task, parts, n_threads), strict=True)
        offsets = np.cumsum([0] + [int(start[-1]) for start in starts])
        tree_start = np.concatenate([s[:-1] + o for s, o in zip(starts, offsets, strict=False)] + [offsets[-1:]])
        arrays = [np.concatenate(same) for same in zip(*packed, strict=True)]
        return Forest.from_growth(
            plan.n_features, tree_start.astype(np.int64), *(arrays if plan.extension_level else arrays[:5])
        )

    def leaf_means(
        self,
        forest: Forest,
        values: NDArray[np.float32],
        X: NDArray[np.float32],
        *,
        n_threads: int,
        batch_size: int | None,
    ) -> NDArray[np.float64]:
        total = np.zeros((len(X), values.shape[1]))
        depths = forest.tree_depths
        even = max(-(-len(X) // n_threads), FEWEST_ROWS_OF_A_THREAD)
        rows = max(1, min(batch_size or even, even))
        arrays = (forest.tree_start, forest.feature, forest.threshold, forest.left, forest.missing_left)

        coded = _coded(forest, len(X))
        if coded is not None:
            leaf_values = np.ascontiguousarray(values[coded.leaf_nodes].T)
            rows = max(rows, BLOCK)

        def task(start: int) -> None:
            part, sums = X[start : start + rows], total[start : start + rows]
            if coded is not None:
                _add_coded(coded, leaf_values, part, sums)
            elif forest.direction_feature is None:
                kernels.add_leaf_values(*arrays, values, depths, part, sums)
            else:
                directions = (forest.direction_feature, forest.direction_weight)
                kernels.add_leaf_values_oblique(*arrays, *directions, values, depths, part, sums)

        for _ in _run(task, range(0, len(X), rows), n_threads):
            pass
        return total / forest.n_trees

    def peak_memory(self) -> int | None:
        return None

    def describe(self) -> dict[str, Any]:
        return {"numba": numba.__version__, "threads": cpu_count()}


_CODED: WeakKeyDictionary[Forest, CodedForest | None] = WeakKeyDictionary()


def _coded(forest: Forest, n_rows: int) -> CodedForest | None:
    """The forest compiled for blocks of rows, or None where walking is better: few rows, very deep trees, or oblique
    splits."""
    if (
        n_rows < FEWEST_CODED_ROWS
        or forest.direction_feature is not None
        or forest.n_nodes > LARGEST_CODED * forest.n_trees
    ):
        return None
    if forest not in _CODED:
        _CODED[forest] = CodedForest.of(forest)
    return _CODED[forest]


def _add_coded(
    coded: CodedForest, values: NDArray[np.float32], X: NDArray[np.float32], total: NDArray[np.float64]
) -> None:
    n_leaf_rows = coded.most_leaves
    dtype = np.uint8 if n_leaf_rows <= 256 else np.uint16
    work = np.zeros((n_leaf_rows + coded.n_work_rows, BLOCK), dtype)
    work[:n_leaf_rows] = np.arange(n_leaf_rows)[:, None]
    grid = coded.grid
    add_coded_leaf_values(
        X, grid.thresholds, grid.first, grid.scale, grid.below, grid.steps, coded.group_of_tree, coded.recode,
        coded.tree_operations, coded.operations, coded.tree_leaves, values, work,
        np.zeros((2, X.shape[1], BLOCK), dtype), total,
    )  # fmt: skip


def _with_rounds(keys: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """A tree's key, then the rounds of its permutation: shape (n_trees, 1 + PERMUTATION_ROUNDS, 2)."""
    return np.concatenate([keys[:, None], permutation_keys(keys)], axis=1)


def _run(task: Callable[[Any], Any], items: Any, n_threads: int) -> Iterator[Any]:
    """Results in order; without a pool where it would have one thread or one item."""
    if n_threads == 1 or len(items) == 1:
        return map(task, items)
    with ThreadPoolExecutor(min(n_threads, len(items))) as pool:
        return iter(list(pool.map(task, items)))
