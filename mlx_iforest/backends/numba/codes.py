"""Rank codes: a forest that asks small integers instead of floats, and answers the same.

A value x and a sorted list of thresholds t: ``x <= t[k]`` is the same question as ``rank(x) <= k``, where the rank
counts the thresholds below x. So each value is ranked once among its feature's thresholds, and all trees compare ranks.
A group of trees has few enough thresholds of each feature that a rank fits 8 bits; `CodedForest` numbers them group by
group.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_iforest.backends.fixed_point import LARGEST
from mlx_iforest.backends.numba import coding_kernels as kernels
from mlx_iforest.backends.numba.coded_scoring import (
    BLOCK,
    CODE,
    LEFT,
    LEFT_STEP,
    LINE,
    MISSING_LEFT,
    RIGHT,
    RIGHT_STEP,
    THRESHOLD,
    WRITE,
    add_leaf_values,
    table_width,
)
from mlx_iforest.backends.scored_trees import merge_equal_leaves
from mlx_iforest.forest import Forest
from mlx_iforest.kernel_input import check_numbers, check_rows, shown

__all__ = ["CodedForest", "Grid", "check_blocks", "check_total", "class_tables", "leaf_classes", "own_work"]

LARGEST_RECODE = 64 << 20
"""Bytes of the table from ranks to codes beyond which a forest is not coded."""

CELLS = 4096
"""Cells of a feature's lookup grid, two bytes each."""


@dataclass(frozen=True)
class Grid:
    """Finds ranks: a uniform grid tells how many thresholds lie below a value's cell, and a few steps the rest.

    Parameters
    ----------
    thresholds : ndarray of float32, shape (n_features, width)
        Of each feature the distinct thresholds, increasing, then +inf.
    first, scale : ndarray of float32, shape (n_features,)
        A value's cell is ``(x - first) * scale``, rounded down and held within the grid.
    below : ndarray of uint16, shape (n_features, CELLS + 2)
        Thresholds in earlier cells.
    steps : ndarray of int64, shape (n_features,)
        Steps of the binary search that finds the rank within the fullest cell.
    """

    thresholds: NDArray[np.float32]
    first: NDArray[np.float32]
    scale: NDArray[np.float32]
    below: NDArray[np.uint16]
    steps: NDArray[np.int64]

    def __post_init__(self) -> None:
        # A search begins at a count of `below` and looks at most so many steps, halved each time, further; a gather of
        # a count reads the next one as well.
        furthest = self.below[:, :-1].max(axis=1).astype(np.int64) + 2**self.steps - 1
        assert self.thresholds.shape[1] >= furthest.max(initial=0), "a search would leave the thresholds"
        assert self.below.shape[1] >= CELLS + 1, "a gather would leave the counts"

    @classmethod
    def of(cls, feature: NDArray[np.int32], threshold: NDArray[np.float32], n_features: int) -> Grid | None:
        """The grid of all thresholds of some nodes; those whose feature is negative do not count.

        None where a feature has more thresholds than `below` can count.
        """
        is_split = feature >= 0
        order = np.lexsort((threshold[is_split], feature[is_split]))
        feature, threshold = feature[is_split][order], threshold[is_split][order]
        distinct = np.ones(len(feature), np.bool_)
        distinct[1:] = (feature[1:] != feature[:-1]) | (threshold[1:] != threshold[:-1])
        feature, threshold = feature[distinct], threshold[distinct]
        counts = np.bincount(feature, minlength=n_features)
        fullest = int(counts.max(initial=0))
        if fullest > np.iinfo(np.uint16).max:
            return None
        # A search may look as far as twice the fullest cell beyond the last threshold.
        width = 3 * fullest + 4
        thresholds = np.full((n_features, width), np.inf, np.float32)
        starts = np.cumsum(counts) - counts
        thresholds[feature, np.arange(len(feature)) - starts[feature]] = threshold
        first = np.where(counts > 0, thresholds[:, 0], 0).astype(np.float32)
        last = thresholds[np.arange(n_features), np.maximum(counts - 1, 0)]
        span = np.where(counts > 1, last.astype(np.float64) - first, 1.0)
        scale = np.minimum((CELLS - 1) / span, np.finfo(np.float32).max).astype(np.float32)
        # Two more, since a gather of the last reads beyond it.
        below = np.zeros((n_features, CELLS + 2), np.uint16)
        most = kernels.fill_grid(thresholds, counts, first, scale, below)
        steps = np.ceil(np.log2(most + 1)).astype(np.int64)
        return cls(thresholds, first, scale, below, steps)


@dataclass(frozen=True)
class CodedForest:
    """A forest, and values of its leaves, compiled for scoring block by block (see `coded_scoring`).

    Leaves of a tree that have the same values are one class, and a split between two leaves of one class is left out:
    of path lengths a tree has few different ones. Every tree is a list of operations, children before their parents. An
    operation selects, for each row of a block, the class that its left or its right child has found.

    Parameters
    ----------
    grid : Grid
    group_of_tree : ndarray of int64, shape (n_trees,)
        Trees of a group, which follow each other, share their codes.
    recode : ndarray of uint8 or uint16, shape (n_groups, n_features, n_ranks + 1)
        From the rank among all thresholds, or from the last place for missing values, to the code in the group.
    tree_operations : ndarray of int64, shape (n_trees + 1,)
        Where each tree's operations begin.
    operations : ndarray of int64, shape (n_operations, 8)
        The columns that `coded_scoring` names; places in the work table count its entries.
    tree_result : ndarray of int64, shape (n_trees,)
        Where in the work table a tree leaves its result.
    tables : ndarray of int32, shape (n_values, n_trees, width)
        The values of each class.
    work : ndarray of uint8 or uint16
        The work table with its classes filled in, to be copied by every thread.
    """

    grid: Grid
    group_of_tree: NDArray[np.int64]
    recode: NDArray[np.uint8] | NDArray[np.uint16]
    tree_operations: NDArray[np.int64]
    operations: NDArray[np.int64]
    tree_result: NDArray[np.int64]
    tables: NDArray[np.int32]
    work: NDArray[np.uint8] | NDArray[np.uint16]

    def __post_init__(self) -> None:
        n_groups, n_features, _ = self.recode.shape
        codes = n_features * BLOCK
        check_blocks(self.operations, self.tree_operations, self.tree_result, self.tables, self.work, 2 * codes)
        at = self.operations[:, CODE]
        assert np.all((at >= 0) & (at <= codes - BLOCK)), "an operation would read codes where none are"
        assert np.all((self.group_of_tree >= 0) & (self.group_of_tree < n_groups)), "a tree has no group"

    @classmethod
    def of(cls, forest: Forest, values: NDArray[np.int32]) -> CodedForest | None:
        """Compile a forest of splits on single features.

        Codes have 8 bits, or 16 where a tree has too many classes or thresholds of a feature for that. None where 16
        are too few, or where the table of codes would be too large.

        Parameters
        ----------
        values : ndarray of int32, shape (n_nodes, n_values)
            Read at leaves; at most 2**24 in size.

        Raises
        ------
        ValueError
            No such values, or a forest of oblique splits.
        InvalidForestError
            The forest would lead compiled code astray.
        """
        if forest.direction_feature is not None:
            raise ValueError("a forest of oblique splits has no codes; ObliqueBlocks scores it")
        forest.ensure_valid()
        check_numbers(forest, values, LARGEST)
        feature, leaf_class, class_values = leaf_classes(forest, values)
        grid = Grid.of(feature, forest.threshold, forest.n_features)
        if grid is None:
            return None
        ranks = kernels.threshold_ranks(feature, forest.threshold, grid.thresholds)
        n_ranks = int(ranks.max(initial=0)) + 2
        n_classes = class_values.shape[1]
        for dtype in (np.uint8, np.uint16):
            most = int(np.iinfo(dtype).max)
            if n_classes > most + 1:
                continue
            # The codes of values above all thresholds, of missing ones above those, and one more must differ.
            group_of_tree = kernels.group_trees(
                forest.tree_start, feature, ranks, grid.thresholds.shape[1], forest.n_features, most - 2
            )
            if group_of_tree[0] >= 0:
                break
        else:
            return None
        if (int(group_of_tree[-1]) + 1) * forest.n_features * n_ranks > LARGEST_RECODE:
            return None
        recode, node_code = kernels.recode_groups(
            forest.tree_start, feature, ranks, group_of_tree, n_ranks, forest.n_features
        )
        tree_operations, operations, nodes, tree_result, work = kernels.compile_trees(
            forest.tree_start, feature, forest.left, leaf_class, 2 * forest.n_features * BLOCK,
            LINE // np.dtype(dtype).itemsize, n_classes,
        )  # fmt: skip
        operations[:, CODE] = np.maximum(feature[nodes], 0) * BLOCK
        operations[:, THRESHOLD] = node_code[nodes]
        operations[:, MISSING_LEFT] = forest.missing_left[nodes]
        return cls(
            grid, group_of_tree, recode.astype(dtype), tree_operations, operations, tree_result,
            class_tables(class_values), work.astype(dtype),
        )  # fmt: skip

    def add_leaf_values(self, X: NDArray[np.float32], total: NDArray[np.float64]) -> None:
        """Add the values of every row's leaf in every tree to `total`, float64 of shape (n_samples, n_values)."""
        grid = self.grid
        X = check_rows(X, len(grid.first))
        check_total(total, (len(X), len(self.tables)))
        add_leaf_values(
            X, grid.thresholds, grid.first, grid.scale, grid.below, grid.steps, self.group_of_tree, self.recode,
            self.tree_operations, self.operations, self.tree_result, self.tables, own_work(self.work), total,
        )  # fmt: skip


def check_blocks(
    operations: NDArray[np.int64],
    tree_operations: NDArray[np.int64],
    tree_result: NDArray[np.int64],
    tables: NDArray[np.int32],
    work: NDArray[np.uint8] | NDArray[np.uint16],
    n_codes: int,
    lanes: int = 0,
) -> None:
    """That no operation reads or writes outside the work table, and no class has no value; compiled code trusts it.

    The arrays are those of `CodedForest`.

    Parameters
    ----------
    n_codes : int
        Entries at the beginning of `work` that are filled for each block and that no operation writes to.
    lanes : int, optional
        Entries of a class, as many as a vector has where nothing is said.
    """
    lanes = lanes or LINE // work.itemsize
    for place, step in ((LEFT, LEFT_STEP), (RIGHT, RIGHT_STEP)):
        begin, each = operations[:, place], operations[:, step]
        assert np.all((each == 0) | (each == lanes)), "an operand is neither a block of rows nor one vector"
        size = np.where(each == 0, lanes, BLOCK)
        assert np.all((begin >= n_codes) & (begin + size <= len(work))), "an operation would read outside its table"
    for written in (operations[:, WRITE], tree_result):
        assert np.all((written >= n_codes) & (written + BLOCK <= len(work))), "a result would lie outside its table"
    assert tree_operations[0] == 0, "the first tree does not begin with the first operation"
    assert np.all(np.diff(tree_operations) > 0), "a tree has no operation"
    assert tree_operations[-1] == len(operations), "the last tree does not end with the last operation"
    assert tables.shape[1] == len(tree_result), "a tree has no table"
    assert work[n_codes:].max() < tables.shape[2], "a class has no value"


def check_total(total: NDArray[np.float64], shape: tuple[int, int]) -> None:
    """Refuse what sums cannot be added to."""
    if not isinstance(total, np.ndarray) or total.dtype != np.float64 or total.shape != shape:
        raise ValueError(f"total is {shown(total)}; expected float64 of shape {shape}")


def class_tables(values: NDArray[np.int32]) -> NDArray[np.int32]:
    """The values of each tree's classes, shape (n_trees, n_classes, n_values), as `coded_scoring` reads them."""
    n_trees, n_classes, n_values = values.shape
    tables = np.zeros((n_values, n_trees, table_width(n_classes)), np.int32)
    tables[:, :, :n_classes] = np.moveaxis(values, 2, 0)
    return tables


def own_work(work: NDArray[Any]) -> NDArray[Any]:
    """A copy of a work table that begins at a multiple of `LINE` bytes."""
    room = np.empty(work.nbytes + LINE, np.uint8)
    aligned = -room.ctypes.data % LINE
    own: NDArray[Any] = room[aligned : aligned + work.nbytes].view(work.dtype)
    own[:] = work
    return own


def leaf_classes(
    forest: Forest, values: NDArray[np.int32]
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int32]]:
    """Number the distinct values of each tree's leaves, splits between equal ones left out.

    Returns
    -------
    feature : ndarray of int32, shape (n_nodes,)
        -1 at leaves, and at the splits that are left out.
    leaf_class : ndarray of int64, shape (n_nodes,)
        At a leaf: its class in the tree; -1 at splits.
    class_values : ndarray of int32, shape (n_trees, n_classes, n_values)
    """
    distinct, value_number = _number_rows(values)
    feature, value_number = merge_equal_leaves(forest, value_number)
    leaf_class, class_value = kernels.leaf_classes(forest.tree_start, feature, value_number)
    return feature, leaf_class, distinct[class_value]


def _number_rows(values: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """The distinct rows, and the number of each row among them."""
    if values.shape[1] == 1:
        distinct, number = np.unique(values[:, 0], return_inverse=True)
        return distinct[:, None], number
    number = np.zeros(len(values), np.int64)
    for column in values.T:
        _, inverse = np.unique(column, return_inverse=True)
        _, number = np.unique(number * len(values) + inverse, return_inverse=True)
    _, first = np.unique(number, return_index=True)
    return values[first], number
