"""What Numba compiles to score by walking: for deep trees, and for a few rows."""

# Numba infers types from the arguments; annotations would only repeat them.
# mypy: allow-untyped-defs

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from mlx_iforest.backends.numba.vectors import BITS, INT64, REALS, data
from mlx_iforest.compiled_code import compiled

__all__ = ["add_leaf_values", "add_leaf_values_oblique", "walk"]

WALKS = 64
"""Walks that go on together, of several trees where there are few rows: none waits for its own last step."""

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


@intrinsic
def _step(typingctx, nodes, node, bits, rows, row):
    """The child of a node of two words (see `walks.WalkedForest`) that a row goes on to; a leaf is its own."""

    def codegen(context, builder, sig, args):
        nodes, rows = (data(context, builder, sig.args[k], args[k]) for k in (0, 3))
        node, bits, row = args[1], args[2], args[4]
        one = ir.Constant(INT64, 1)
        place = builder.shl(node, one)
        word = builder.zext(builder.load(builder.gep(nodes, [place])), INT64)
        limit = builder.gep(nodes, [builder.add(place, one)])
        limit = builder.load(builder.bitcast(limit, REALS.element.as_pointer()))
        mask = builder.sub(builder.shl(one, bits), one)
        value = builder.load(builder.gep(rows, [builder.add(row, builder.and_(builder.lshr(word, one), mask))]))
        goes_left = builder.trunc(word, BITS.element)
        stays_right = builder.and_(builder.fcmp_unordered("uno", value, value), builder.not_(goes_left))
        right = builder.or_(builder.fcmp_ordered(">", value, limit), stays_right)
        left = builder.add(node, builder.lshr(word, builder.add(bits, one)))
        return builder.add(left, builder.zext(right, INT64))

    return types.int64(nodes, types.int64, types.int64, rows, types.int64), codegen


@compiled()
def walk(tree_start, nodes, feature_bits, value, depths, X, total):
    """`add_leaf_values` by nodes of two words: rows stay in their leaf until the deepest is there, without a branch."""
    n_samples, n_features = X.shape
    n_trees = len(tree_start) - 1
    rows = X.reshape(-1)
    node = np.zeros(WALKS, np.int64)
    row = np.zeros(WALKS, np.int64)
    for first in range(0, n_samples, WALKS):
        size = min(WALKS, n_samples - first)
        together = WALKS // size
        for i in range(together * size):
            row[i] = (first + i % size) * n_features
        for tree in range(0, n_trees, together):
            few = min(together, n_trees - tree)
            deepest = 0
            for t in range(few):
                deepest = max(deepest, depths[tree + t])
                for i in range(size):
                    node[t * size + i] = tree_start[tree + t]
            for _ in range(deepest):
                for i in range(few * size):
                    node[i] = _step(nodes, node[i], feature_bits, rows, row[i])  # type: ignore[call-arg]
            for t in range(few):
                for i in range(size):
                    for k in range(value.shape[1]):
                        total[first + i, k] += value[node[t * size + i], k]


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
