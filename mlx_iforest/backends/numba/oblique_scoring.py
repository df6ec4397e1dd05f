"""Scoring forests of oblique splits block by block: `codes` without codes.

A weighted sum of columns has no thresholds to rank it among beforehand, so each operation computes the sums of its
split for the whole block, tells left from right, and selects as in `coded_scoring`.
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
    FLUSH,
    LEFT,
    LEFT_STEP,
    LINE,
    RIGHT,
    RIGHT_STEP,
    WRITE,
    add_result,
    flush,
    select_rows,
)
from mlx_iforest.backends.numba.codes import check_blocks, check_total, class_tables, leaf_classes, own_work
from mlx_iforest.compiled_code import compiled
from mlx_iforest.forest import Forest
from mlx_iforest.kernel_input import check_numbers, check_rows

__all__ = ["ObliqueBlocks"]


@dataclass(frozen=True)
class ObliqueBlocks:
    """A forest of oblique splits, and values of its leaves, compiled for scoring block by block.

    Parameters
    ----------
    n_features : int
    tree_operations, operations, tree_result, tables, work
        As in `codes.CodedForest`.
    direction_feature, direction_weight : ndarray, shape (n_operations, k)
    threshold : ndarray of float32, shape (n_operations,)
    missing_left : ndarray of bool, shape (n_operations,)
    """

    n_features: int
    tree_operations: NDArray[np.int64]
    operations: NDArray[np.int64]
    tree_result: NDArray[np.int64]
    tables: NDArray[np.int32]
    work: NDArray[np.uint8] | NDArray[np.uint16]
    direction_feature: NDArray[np.int32]
    direction_weight: NDArray[np.float32]
    threshold: NDArray[np.float32]
    missing_left: NDArray[np.bool_]

    def __post_init__(self) -> None:
        check_blocks(self.operations, self.tree_operations, self.tree_result, self.tables, self.work, BLOCK)

    @classmethod
    def of(cls, forest: Forest, values: NDArray[np.int32]) -> ObliqueBlocks | None:
        """Compile a forest; `values`, shape (n_nodes, n_values), as for `codes.CodedForest`.

        None where a tree has more classes of leaves than 16 bits can number.
        """
        if forest.direction_feature is None or forest.direction_weight is None:
            raise ValueError("a forest of splits on single features has no directions; CodedForest scores it")
        forest.ensure_valid()
        check_numbers(forest, values, LARGEST)
        feature, leaf_class, class_values = leaf_classes(forest, values)
        n_classes = class_values.shape[1]
        if n_classes > 1 << 16:
            return None
        dtype: Any = np.uint8 if n_classes <= 256 else np.uint16
        tree_operations, operations, nodes, tree_result, work = kernels.compile_trees(
            forest.tree_start, feature, forest.left, leaf_class, BLOCK, LINE // np.dtype(dtype).itemsize,
            n_classes,
        )  # fmt: skip
        return cls(
            forest.n_features, tree_operations, operations, tree_result, class_tables(class_values),
            work.astype(dtype), forest.direction_feature[nodes], forest.direction_weight[nodes],
            forest.threshold[nodes], forest.missing_left[nodes],
        )  # fmt: skip

    def add_leaf_values(self, X: NDArray[np.float32], total: NDArray[np.float64]) -> None:
        """Add the values of every row's leaf in every tree to `total`, float64 of shape (n_samples, n_values)."""
        X = check_rows(X, self.n_features)
        check_total(total, (len(X), len(self.tables)))
        add_leaf_values(
            X, self.direction_feature, self.direction_weight, self.threshold, self.missing_left, self.tree_operations,
            self.operations, self.tree_result, self.tables, own_work(self.work), total,
        )  # fmt: skip


@compiled()
def _start_sums(column: Any, weight: Any, sums: Any) -> None:
    for i in range(len(sums)):
        sums[i] = column[i] * weight


@compiled()
def _add_to_sums(column: Any, weight: Any, sums: Any) -> None:
    for i in range(len(sums)):
        sums[i] = sums[i] + column[i] * weight


@compiled()
def _goes_right(sums: Any, threshold: Any, missing_left: Any, right: Any) -> None:
    """1 where a row goes right; a sum with a missing value is missing."""
    if missing_left:
        for i in range(len(sums)):
            right[i] = sums[i] > threshold
    else:
        for i in range(len(sums)):
            right[i] = not (sums[i] <= threshold)


@compiled()
def add_leaf_values(
    X: Any, direction_feature: Any, direction_weight: Any, threshold: Any, missing_left: Any, tree_operations: Any,
    operations: Any, tree_result: Any, tables: Any, work: Any, total: Any,
) -> None:  # fmt: skip
    """`coded_scoring.add_leaf_values` for oblique splits; `work` begins with room for one row of each block."""
    n_samples, n_features = X.shape
    n_values, n_trees, _ = tables.shape
    lanes = LINE // work.itemsize
    columns = np.zeros((n_features, BLOCK), np.float32)
    projected = np.zeros(BLOCK, np.float32)
    sums = np.zeros((n_values, BLOCK), np.int32)
    for first_row in range(0, n_samples, BLOCK):
        size = min(BLOCK, n_samples - first_row)
        n_rows = (size + lanes - 1) // lanes * lanes
        for i in range(size):
            for f in range(n_features):
                columns[f, i] = X[first_row + i, f]
        for tree in range(n_trees):
            for k in range(tree_operations[tree], tree_operations[tree + 1]):
                _start_sums(columns[direction_feature[k, 0]], direction_weight[k, 0], projected[:n_rows])
                for j in range(1, direction_feature.shape[1]):
                    _add_to_sums(columns[direction_feature[k, j]], direction_weight[k, j], projected[:n_rows])
                _goes_right(projected[:n_rows], threshold[k], missing_left[k], work[:n_rows])
                select_rows(
                    work, 0, work.dtype.type(0), operations[k, LEFT], operations[k, LEFT_STEP], operations[k, RIGHT],
                    operations[k, RIGHT_STEP], operations[k, WRITE], n_rows,
                )  # fmt: skip
            for k in range(n_values):
                add_result(tables[k, tree], work, tree_result[tree], n_rows, sums[k])
            if (tree + 1) % FLUSH == 0 or tree == n_trees - 1:
                flush(sums, total, first_row, size)
