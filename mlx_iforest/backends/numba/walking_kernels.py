"""What Numba compiles to score by walking: for deep trees, and for a few rows."""

# Numba infers types from the arguments; annotations would only repeat them.
# mypy: allow-untyped-defs

from __future__ import annotations

import numpy as np

from mlx_iforest.compiled_code import compiled

__all__ = ["add_leaf_values", "add_leaf_values_oblique"]

ROW_BLOCK = 64
"""Rows walked through a tree together: their walks are independent, so the processor overlaps their cache misses."""


@compiled()
def add_leaf_values(tree_start, feature, threshold, left, missing_left, value, depths, X, total):
    """Add the values of every row's leaf in every tree to `total`.

    A block of rows walks a tree level by level, all together: the walks are independent, so the processor overlaps
    them.
    """
    n_samples = X.shape[0]
    n_trees = len(tree_start) - 1
    node = np.empty(ROW_BLOCK, np.int64)
    for first in range(0, n_samples, ROW_BLOCK):
        size = min(ROW_BLOCK, n_samples - first)
        for tree in range(n_trees):
            root = tree_start[tree]
            node[:size] = root
            for _ in range(depths[tree]):
                for i in range(size):
                    at = node[i]
                    f = feature[at]
                    if f >= 0:
                        x = X[first + i, f]
                        goes_left = x <= threshold[at] or (x != x and missing_left[at])
                        node[i] = root + left[at] + (not goes_left)
            for i in range(size):
                for k in range(value.shape[1]):
                    total[first + i, k] += value[node[i], k]


@compiled()
def add_leaf_values_oblique(
    tree_start, feature, threshold, left, missing_left, direction, direction_weight, value, depths, X, total
):
    """`add_leaf_values` for oblique splits."""
    n_samples = X.shape[0]
    n_trees = len(tree_start) - 1
    width = direction.shape[1]
    node = np.empty(ROW_BLOCK, np.int64)
    for first in range(0, n_samples, ROW_BLOCK):
        size = min(ROW_BLOCK, n_samples - first)
        for tree in range(n_trees):
            root = tree_start[tree]
            node[:size] = root
            for _ in range(depths[tree]):
                for i in range(size):
                    at = node[i]
                    if feature[at] >= 0:
                        x = np.float32(0)
                        for k in range(width):
                            x = np.float32(x + np.float32(X[first + i, direction[at, k]] * direction_weight[at, k]))
                        goes_left = x <= threshold[at] or (x != x and missing_left[at])
                        node[i] = root + left[at] + (not goes_left)
            for i in range(size):
                for k in range(value.shape[1]):
                    total[first + i, k] += value[node[i], k]
