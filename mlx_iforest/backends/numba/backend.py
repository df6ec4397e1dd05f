"""The CPU backend: growing and scoring compiled by Numba, on a pool of threads.

Kernels release the GIL and run on one thread each; rows or trees are shared out over a pool (see docs/design.md,
"one pool of threads, and pieces of rows").
"""

from __future__ import annotations

import weakref
from functools import cache, cached_property
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from mlx_iforest.backends.base import fair_share
from mlx_iforest.backends.fixed_point import whole_numbers
from mlx_iforest.backends.memoize import MadeOnce
from mlx_iforest.backends.numba import answering_kernels, coded_scoring, oblique_scoring
from mlx_iforest.backends.numba.answers import AnsweredForest
from mlx_iforest.backends.numba.coded_scoring import BLOCK
from mlx_iforest.backends.numba.codes import CodedForest
from mlx_iforest.backends.numba.growing_kernels import grow_trees
from mlx_iforest.backends.numba.oblique_scoring import ObliqueBlocks
from mlx_iforest.backends.numba.vectors import ARM, HAS_VECTORS_OF_16, LOOKED_UP
from mlx_iforest.backends.numba.walking_kernels import add_leaf_values, add_leaf_values_oblique
from mlx_iforest.backends.numba.walks import WalkedForest
from mlx_iforest.compiled_code import is_compiled
from mlx_iforest.cores import cores
from mlx_iforest.forest import Families, Forest
from mlx_iforest.growth import GrowthPlan
from mlx_iforest.kernel_input import check_rows, check_values
from mlx_iforest.randomness import split_seed
from mlx_iforest.threads import run

__all__ = ["NumbaBackend"]

RANKED_SPLITS = 60 if ARM and not HAS_VECTORS_OF_16 else 120 if LOOKED_UP == 32 else 700
"""Splits that a value's rank answers in the time that it takes to find: from so many for each feature on values are
ranked, else every split compares floats. AVX-512 has bits for answers; others pay for them."""

FULL_BLOCK, NODE_COST = 160, 1.3
"""Rows by which a block is as good as full, and what a node then costs for all of them, in levels of one row's walk.
So few rows are walked through any tree, and any number of rows through one of more than some 120 nodes a level."""

LARGEST_OBLIQUE, FEWEST_OBLIQUE_ROWS = 4000, 12
"""Mean nodes of an oblique tree beyond which walks win over blocks, and rows from which blocks win over walks."""

WORTH_COMPILING = 200_000_000
"""Walks of a row through a tree that take two seconds, half of what it takes to compile the passes over blocks."""

OBLIQUE_WALK = 4
"""Plain walks in the time of an oblique one."""

GROWTH_BYTES = 64 << 20
"""Bound of the memory of one task's growing trees before they are packed."""


class NumbaBackend:
    """Grows and scores on the CPU."""

    name = "numba"

    def piece_rows(self, n_rows: int, n_features: int, n_threads: int) -> int:
        # Enough to hide what a task costs, few enough that temporaries stay in the cache and all threads end together.
        return fair_share(32 * BLOCK, n_rows, n_threads)

    def grow(self, X: NDArray[np.float32], plan: GrowthPlan, *, n_threads: int) -> Forest:
        X = plan.check_rows(X)
        seed = tuple(np.uint32(word) for word in split_seed(plan.seed))
        row_table = np.empty((plan.n_trees, 0), np.int64) if plan.row_table is None else plan.row_table

        def task(first: int) -> tuple[NDArray[np.int64], tuple[NDArray[Any], ...]]:
            n_trees = min(per_task, plan.n_trees - first)
            grown: tuple[NDArray[np.int64], tuple[NDArray[Any], ...]] = grow_trees(
                X, seed[0], seed[1], plan.first_tree + first, n_trees, row_table[first : first + n_trees],
                plan.extension_level, plan.features_per_tree, plan.subsample_size, plan.bootstrap, plan.max_depth,
            )  # fmt: skip
            return grown

        bytes_per_tree = 2 * plan.subsample_size * (17 + 8 * plan.extension_level)
        most = max(1, GROWTH_BYTES // bytes_per_tree)
        # Several tasks a thread, so that all end together; one where there is one thread.
        n_tasks = 1 if n_threads == 1 else 2 * n_threads
        per_task = max(1, min(most, -(-plan.n_trees // n_tasks)))
        starts, packed = zip(*run(task, range(0, plan.n_trees, per_task), n_threads), strict=True)
        offsets = np.cumsum([0] + [int(start[-1]) for start in starts])
        tree_start = np.concatenate([s[:-1] + o for s, o in zip(starts, offsets, strict=False)] + [offsets[-1:]])
        arrays = [np.concatenate(same) for same in zip(*packed, strict=True)]
        return Forest.from_growth(
            plan.n_features, tree_start.astype(np.int64), *(arrays[:7] if plan.extension_level else arrays[:5]),
            families=Families(*arrays[7:]),
        )  # fmt: skip

    def leaf_means(self, forest: Forest, values: NDArray[np.float32], X: NDArray[np.float32]) -> NDArray[np.float64]:
        scorer = _scorer(forest, values)
        X = check_rows(X, forest.n_features)
        total = np.zeros((len(X), values.shape[1]))
        scorer.add(X, total)
        total *= scorer.unit / forest.n_trees
        return total

    def leaf_sums(
        self, forest: Forest, values: NDArray[np.float32], X: NDArray[np.float32], unit: float
    ) -> NDArray[np.float64]:
        """The sums that `leaf_means` are made of, as whole multiples of a `unit` that other forests share.

        No value is larger than ``2**24 * unit``.
        """
        X = check_rows(X, forest.n_features)
        total = np.zeros((len(X), values.shape[1]))
        _scorer_in(unit)(forest, values).add(X, total)
        return total

    def peak_memory(self) -> int | None:
        return None

    def describe(self) -> dict[str, Any]:
        return {"numba": numba.__version__, "threads": cores()}


class _Compiling:
    """Whether to score by blocks where that is not compiled yet: once as many walks were gone as pay for it.

    So a first process that scores little does not wait for a compiler, and one that scores much waits half as long
    again at most. Both ways give the same bits.
    """

    def __init__(self) -> None:
        self._walks = 0
        self._is_there: set[Any] = set()

    def pays(self, kernel: Any, walks: int) -> bool:
        """Whether to take a kernel, where else there would be so many walks more."""
        if kernel not in self._is_there:
            if self._walks < WORTH_COMPILING and not is_compiled(kernel):
                self._walks += walks
                return False
            self._is_there.add(kernel)
        return True


_compiling = _Compiling()


class _Scorer:
    """A forest made ready to add up values of its leaves.

    The values become whole multiples of `unit` (see `fixed_point`), so every way to score gives the same bits.
    """

    def __init__(self, forest: Forest, values: NDArray[np.float32], unit: float | None = None) -> None:
        forest.ensure_valid()
        check_values(forest, values)
        self.unit, self.numbers = whole_numbers(values, unit)
        self._forest = weakref.ref(forest)
        self._depths = forest.tree_depths
        self._levels = int(forest.tree_depths.sum())

    @property
    def _kind(self) -> tuple[type[CodedForest | AnsweredForest | ObliqueBlocks], Any]:
        """How the forest is scored by blocks, and the kernel that does it."""
        forest = self._forest()
        assert forest is not None  # held by the caller
        if forest.direction_feature is not None:
            return ObliqueBlocks, oblique_scoring.add_leaf_values
        # A tree has a leaf more than splits.
        if forest.n_nodes - forest.n_trees > 2 * RANKED_SPLITS * forest.n_features:
            return CodedForest, coded_scoring.add_leaf_values
        return AnsweredForest, answering_kernels.add_leaf_values

    @cached_property
    def _blocks(self) -> CodedForest | AnsweredForest | ObliqueBlocks | None:
        """The forest compiled for blocks of rows, or None where it cannot be."""
        forest = self._forest()
        assert forest is not None
        kind = self._kind[0]
        blocks = kind.of(forest, self.numbers)
        # A feature may have more thresholds than 16 bits can rank.
        return AnsweredForest.of(forest, self.numbers) if blocks is None and kind is CodedForest else blocks

    @cached_property
    def _walked(self) -> WalkedForest | None:
        """The forest's nodes packed for walks, or None where they cannot be."""
        forest = self._forest()
        assert forest is not None
        return None if forest.direction_feature is not None else WalkedForest.of(forest, self.numbers)

    def _walks(self, forest: Forest, n_rows: int) -> bool:
        """Whether walks are faster than blocks."""
        if forest.direction_feature is not None:
            return n_rows < FEWEST_OBLIQUE_ROWS or forest.n_nodes > LARGEST_OBLIQUE * forest.n_trees
        return min(n_rows, FULL_BLOCK) * self._levels < NODE_COST * forest.n_nodes

    def add(self, X: NDArray[np.float32], total: NDArray[np.float64]) -> None:
        """Add every row's sums over the trees to `total`."""
        forest = self._forest()
        assert forest is not None
        if not self._walks(forest, len(X)):
            walks = len(X) * forest.n_trees * (1 if forest.direction_feature is None else OBLIQUE_WALK)
            if _compiling.pays(self._kind[1], walks) and self._blocks is not None:
                self._blocks.add_leaf_values(X, total)
                return
        if self._walked is not None:
            self._walked.add_leaf_values(X, total)
            return
        arrays = (forest.tree_start, forest.feature, forest.threshold, forest.left, forest.missing_left)
        if forest.direction_feature is None:
            add_leaf_values(*arrays, self.numbers, self._depths, X, total)
        else:
            directions = (forest.direction_feature, forest.direction_weight)
            add_leaf_values_oblique(*arrays, *directions, self.numbers, self._depths, X, total)


_scorer = MadeOnce(_Scorer)


@cache
def _scorer_in(unit: float) -> MadeOnce[_Scorer]:
    """Scorers whose values are multiples of one unit, of which there are few: powers of two."""
    return MadeOnce(lambda forest, values: _Scorer(forest, values, unit))
