"""Rank codes: a forest that asks small integers instead of floats, and answers the same.

A value x and a sorted list of thresholds t: ``x <= t[k]`` is the same question as ``rank(x) <= k``, where the rank
counts the thresholds below x. So each value is ranked once among its feature's thresholds, and all trees compare ranks.
A group of trees has few enough thresholds of each feature that a rank fits 8 bits; `CodedForest` numbers them group by
group.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlx_iforest import codes_kernels as kernels
from mlx_iforest.forest import Forest

__all__ = ["CodedForest", "Grid"]

MOST_THRESHOLDS = 253
"""Thresholds of one feature in a group: then their codes, those of values above them all, and one more are 8-bit
numbers below `ABOVE_ALL`."""

LARGEST_RECODE = 64 << 20
"""Bytes of the table from ranks to codes beyond which a forest is not coded."""

CELLS = 4096
"""Cells of a feature's lookup grid; 8 KB each."""


@dataclass(frozen=True)
class Grid:
    """Finds ranks: a uniform grid tells how many thresholds lie below a value's cell, and a few steps the rest.

    Parameters
    ----------
    thresholds : ndarray of float32, shape (n_features, width)
        Of each feature the distinct thresholds, increasing, then +inf.
    first, scale : ndarray of float32, shape (n_features,)
        A value's cell is ``(x - first) * scale``, rounded down and held within the grid.
    below : ndarray of int32, shape (n_features, CELLS)
        Thresholds in earlier cells.
    steps : ndarray of int64, shape (n_features,)
        Steps of the binary search that finds the rank within the fullest cell.
    """

    thresholds: NDArray[np.float32]
    first: NDArray[np.float32]
    scale: NDArray[np.float32]
    below: NDArray[np.int32]
    steps: NDArray[np.int64]

    @classmethod
    def of(cls, forest: Forest) -> Grid:
        """The grid of all thresholds of a forest."""
        is_split = forest.feature >= 0
        order = np.lexsort((forest.threshold[is_split], forest.feature[is_split]))
        feature, threshold = forest.feature[is_split][order], forest.threshold[is_split][order]
        distinct = np.ones(len(feature), np.bool_)
        distinct[1:] = (feature[1:] != feature[:-1]) | (threshold[1:] != threshold[:-1])
        feature, threshold = feature[distinct], threshold[distinct]
        counts = np.bincount(feature, minlength=forest.n_features)
        fullest = int(counts.max(initial=0))
        # A search may look as far as twice the fullest cell beyond the last threshold.
        width = 3 * fullest + 4
        thresholds = np.full((forest.n_features, width), np.inf, np.float32)
        starts = np.cumsum(counts) - counts
        thresholds[feature, np.arange(len(feature)) - starts[feature]] = threshold
        first = np.where(counts > 0, thresholds[:, 0], 0).astype(np.float32)
        last = thresholds[np.arange(forest.n_features), np.maximum(counts - 1, 0)]
        span = np.where(counts > 1, last.astype(np.float64) - first, 1.0)
        scale = np.minimum((CELLS - 1) / span, np.finfo(np.float32).max).astype(np.float32)
        below = np.empty((forest.n_features, CELLS), np.int32)
        most = kernels.fill_grid(thresholds, counts, first, scale, below)
        steps = np.ceil(np.log2(most + 1)).astype(np.int64)
        return cls(thresholds, first, scale, below, steps)


@dataclass(frozen=True)
class CodedForest:
    """A forest compiled for scoring block by block (see `codes_kernels`).

    Every tree is a list of operations, children before their parents. An operation selects, for each row of a block,
    the leaf that its left or its right child has found. What is selected are the numbers of the tree's leaves.

    Parameters
    ----------
    grid : Grid
    group_of_tree : ndarray of int64, shape (n_trees,)
        Trees of a group, which follow each other, share their codes.
    recode : ndarray of uint8, shape (n_groups, n_features, n_ranks)
        From the rank among all thresholds to the code among those of the group.
    tree_operations : ndarray of int64, shape (n_trees + 1,)
        Where each tree's operations begin.
    operations : ndarray of int64, shape (n_operations, 6)
        Feature, code of the threshold, 1 where missing values go left, and the rows of the work table to read from and
        to write to.
    tree_leaves : ndarray of int64, shape (n_trees + 1,)
        Where each tree's leaves begin.
    leaf_nodes : ndarray of int64, shape (n_leaves,)
        The node that each leaf is, as an index over all nodes.
    n_work_rows : int
        Rows that the work table needs beside one for each leaf number.
    """

    grid: Grid
    group_of_tree: NDArray[np.int64]
    recode: NDArray[np.uint8]
    tree_operations: NDArray[np.int64]
    operations: NDArray[np.int64]
    tree_leaves: NDArray[np.int64]
    leaf_nodes: NDArray[np.int64]
    n_work_rows: int

    @property
    def most_leaves(self) -> int:
        """Leaves of the largest tree."""
        return int(np.diff(self.tree_leaves).max())

    @classmethod
    def of(cls, forest: Forest) -> CodedForest | None:
        """Compile a forest of splits on single features.

        None where one tree has more thresholds of a feature than 8-bit codes can tell apart, or where the table of
        codes would be too large.
        """
        grid = Grid.of(forest)
        ranks = kernels.threshold_ranks(forest.feature, forest.threshold, grid.thresholds)
        group_of_tree = kernels.group_trees(
            forest.tree_start, forest.feature, ranks, grid.thresholds.shape[1], forest.n_features, MOST_THRESHOLDS
        )
        if group_of_tree[0] < 0:
            return None
        n_ranks = int(ranks.max(initial=0)) + 2
        if (int(group_of_tree[-1]) + 1) * forest.n_features * n_ranks > LARGEST_RECODE:
            return None
        recode, node_code = kernels.recode_groups(
            forest.tree_start, forest.feature, ranks, group_of_tree, n_ranks, forest.n_features
        )
        is_leaf = forest.feature < 0
        leaf_nodes = np.flatnonzero(is_leaf)
        tree_leaves = np.concatenate([[0], np.cumsum(np.add.reduceat(is_leaf, forest.tree_start[:-1], dtype=np.int64))])
        n_operations = np.diff(forest.tree_start) - np.diff(tree_leaves)
        tree_operations = np.concatenate([[0], np.cumsum(n_operations)])
        operations, n_work_rows = kernels.compile_trees(
            forest.tree_start, forest.feature, node_code, forest.left, forest.missing_left, tree_operations,
            int(np.diff(tree_leaves).max()), forest.max_depth,
        )  # fmt: skip
        return cls(grid, group_of_tree, recode, tree_operations, operations, tree_leaves, leaf_nodes, n_work_rows)
