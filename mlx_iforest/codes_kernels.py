"""What Numba compiles for `codes`: building coded forests, ranking values, and scoring blocks of rows.

A block of rows is scored without any branch on the data: every operation of a tree is one compare and one select over
the whole block, which the compiler turns into vector instructions. All nodes are visited instead of one path, but a
tree of 256 samples has only about 60 splits, and 256 rows go through each of them at once.
"""

# Numba infers types from the arguments; annotations would only repeat them.
# mypy: allow-untyped-defs

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = ["ABOVE_ALL", "BLOCK"]

BLOCK = 256
"""Rows of a block: the work table of a tree, and the codes of a few features, stay in the first-level cache."""

ABOVE_ALL = np.uint8(255)
"""Above the code of every threshold."""

FEATURE, CODE, MISSING_LEFT, READ_LEFT, READ_RIGHT, WRITE = range(6)
"""Columns of a coded forest's operations."""


@njit(nogil=True, cache=True)
def _cell(x, first, scale, top):
    """The grid cell of a value; increasing in x, which is all that ranks need. NaN is in the first."""
    position = (x - first) * scale
    position = position if position > np.float32(0) else np.float32(0)
    return np.int64(min(position, top))


@njit(nogil=True, cache=True)
def fill_grid(thresholds, counts, first, scale, below):
    """Count the thresholds below each cell; returns each feature's number of thresholds in its fullest cell."""
    n_features, cells = below.shape
    top = np.float32(cells - 1)
    most = np.zeros(n_features, np.int64)
    for f in range(n_features):
        k = 0
        for c in range(cells):
            start = k
            below[f, c] = k
            while k < counts[f] and _cell(thresholds[f, k], first[f], scale[f], top) <= c:
                k += 1
            most[f] = max(most[f], k - start)
    return most


@njit(nogil=True, cache=True)
def threshold_ranks(feature, threshold, thresholds):
    """The rank of each split's threshold among its feature's; 0 at leaves."""
    ranks = np.zeros(len(feature), np.int64)
    for node in range(len(feature)):
        f = feature[node]
        if f >= 0:
            ranks[node] = np.searchsorted(thresholds[f], threshold[node])
    return ranks


@njit(nogil=True, cache=True)
def group_trees(tree_start, feature, ranks, n_ranks, n_features, most):
    """Put each tree into the group of the one before while no feature has more than `most` thresholds there.

    Where a single tree has more, all numbers are -1: the forest cannot be coded.
    """
    n_trees = len(tree_start) - 1
    seen = np.full((n_features, n_ranks), -1, np.int32)
    counts = np.zeros(n_features, np.int64)
    group_of_tree = np.zeros(n_trees, np.int64)
    group = 0
    for tree in range(n_trees):
        for attempt in range(2):
            fits = True
            for node in range(tree_start[tree], tree_start[tree + 1]):
                f = feature[node]
                if f >= 0 and seen[f, ranks[node]] != group:
                    seen[f, ranks[node]] = group
                    counts[f] += 1
                    fits &= counts[f] <= most
            if fits:
                break
            if attempt == 1:
                group_of_tree[:] = -1
                return group_of_tree
            group += 1
            counts[:] = 0
        group_of_tree[tree] = group
    return group_of_tree


@njit(nogil=True, cache=True)
def recode_groups(tree_start, feature, ranks, group_of_tree, n_ranks, n_features):
    """For each group, the code of every rank; and for each node the code of its threshold in its group."""
    n_groups = group_of_tree.max() + 1
    used = np.zeros((n_groups, n_features, n_ranks), np.bool_)
    for tree in range(len(group_of_tree)):
        for node in range(tree_start[tree], tree_start[tree + 1]):
            if feature[node] >= 0:
                used[group_of_tree[tree], feature[node], ranks[node]] = True
    recode = np.zeros((n_groups, n_features, n_ranks), np.uint8)
    for group in range(n_groups):
        for f in range(n_features):
            code = 0
            for rank in range(n_ranks):
                recode[group, f, rank] = code
                code += used[group, f, rank]
    node_code = np.zeros(len(feature), np.int64)
    for tree in range(len(group_of_tree)):
        for node in range(tree_start[tree], tree_start[tree + 1]):
            if feature[node] >= 0:
                node_code[node] = recode[group_of_tree[tree], feature[node], ranks[node]]
    return recode, node_code


@njit(nogil=True, cache=True)
def compile_trees(tree_start, feature, node_code, left, missing_left, tree_operations, n_leaf_rows, max_depth):
    """The operations of all trees, children before parents, and the number of work rows they need.

    Row k of the work table, k < n_leaf_rows, holds the leaf number k throughout. The rows behind them are reused: at
    most one for each level is in use at a time, and one is free to write to.
    """
    operations = np.empty((tree_operations[-1], 6), np.int64)
    most_nodes = np.diff(tree_start).max()
    leaf_number = np.empty(most_nodes, np.int64)
    row = np.empty(most_nodes, np.int64)
    stack = np.empty(most_nodes + 1, np.int64)
    free = np.empty(max_depth + 3, np.int64)
    n_work_rows = max_depth + 3
    for tree in range(len(tree_start) - 1):
        first = tree_start[tree]
        n_leaves = 0
        for node in range(tree_start[tree + 1] - first):
            if feature[first + node] < 0:
                leaf_number[node] = n_leaves
                row[node] = n_leaves
                n_leaves += 1
            else:
                row[node] = -1
        for k in range(n_work_rows):
            free[k] = n_leaf_rows + n_work_rows - 1 - k
        n_free = n_work_rows
        at = tree_operations[tree]
        stack[0] = 0
        height = 1
        while height:
            node = stack[height - 1]
            if row[node] >= 0:
                height -= 1
                continue
            a = np.int64(left[first + node])
            b = a + 1
            if row[a] < 0:
                stack[height] = a
                height += 1
            elif row[b] < 0:
                stack[height] = b
                height += 1
            else:
                n_free -= 1
                row[node] = free[n_free]
                operations[at, FEATURE] = feature[first + node]
                operations[at, CODE] = node_code[first + node]
                operations[at, MISSING_LEFT] = missing_left[first + node]
                operations[at, READ_LEFT] = row[a]
                operations[at, READ_RIGHT] = row[b]
                operations[at, WRITE] = row[node]
                at += 1
                for child in (a, b):
                    if row[child] >= n_leaf_rows:
                        free[n_free] = row[child]
                        n_free += 1
                height -= 1
    return operations, n_work_rows


@njit(nogil=True, cache=True)
def _load_block(X, first_row, size, columns):
    """A block of rows as columns, 0 behind the last row; whether any value is missing.

    A cache line of a row holds 16 values, so 16 columns are filled together.
    """
    n_features = X.shape[1]
    any_missing = False
    for first in range(0, n_features, 16):
        for i in range(size):
            for f in range(first, min(first + 16, n_features)):
                x = X[first_row + i, f]
                columns[f, i] = x
                any_missing |= x != x
    columns[:, size:] = 0
    return any_missing


@njit(nogil=True, cache=True)
def _rank(column, thresholds, first, scale, below, n_steps, ranks):
    """The rank of each value among its feature's thresholds; what it says of missing values is not used.

    One simple loop after the other over the whole block: the compiler overlaps their loads.
    """
    top = np.float32(len(below) - 1)
    for i in range(len(ranks)):
        ranks[i] = below[_cell(column[i], first, scale, top)]
    step = np.int32(1 << n_steps)
    for _ in range(n_steps):
        step = np.int32(step >> 1)
        for i in range(len(ranks)):
            rank = ranks[i]
            ranks[i] = rank + (step if thresholds[rank + step - 1] < column[i] else np.int32(0))


@njit(nogil=True, cache=True)
def _recode(ranks, recode, codes):
    for i in range(len(codes)):
        codes[i] = recode[ranks[i]]


@njit(nogil=True, cache=True)
def _recode_block(columns, ranks, any_missing, recode, codes):
    """Ranks to the codes of one group, in two versions: missing values above all thresholds, or below.

    Where nothing is missing the versions are the same, and one is made.
    """
    for f in range(ranks.shape[0]):
        if not any_missing:
            _recode(ranks[f], recode[f], codes[0, f])
            continue
        for i in range(BLOCK):
            present = columns[f, i] == columns[f, i]
            code = recode[f, ranks[f, i]]
            codes[0, f, i] = code if present else ABOVE_ALL
            codes[1, f, i] = code + 1 if present else 0


@njit(nogil=True, cache=True)
def _select(codes, threshold, left, right, out):
    """One operation. Over `len(out)`: a constant bound makes the compiler unroll the loop instead of vectorising it."""
    for i in range(len(out)):
        # Both are loaded before the choice, so that it needs no branch.
        a = left[i]
        b = right[i]
        out[i] = a if codes[i] <= threshold else b


@njit(nogil=True, cache=True)
def _add(values, leaves, total):
    for i in range(len(total)):
        total[i] += values[leaves[i]]


@njit(nogil=True, cache=True)
def add_leaf_values(
    X, thresholds, first, scale, below, steps, group_of_tree, recode, tree_operations, operations, tree_leaves, values,
    work, codes, total,
):  # fmt: skip
    """Add the values of every row's leaf in every tree to `total`, a block of rows at a time.

    Parameters
    ----------
    values : ndarray of float32, shape (n_values, n_leaves)
    work : ndarray of uint8 or uint16, shape (n_leaf_rows + n_work_rows, BLOCK)
        Row k holds k for each leaf number k.
    codes : ndarray of the dtype of `work`, shape (2, n_features, BLOCK)
        Room for the codes of a block; equal widths let whole vectors be compared and selected.
    total : ndarray of float64, shape (n_samples, n_values)
    """
    n_samples, n_features = X.shape
    n_values = values.shape[0]
    columns = np.zeros((n_features, BLOCK), np.float32)
    ranks = np.zeros((n_features, BLOCK), np.int32)
    sums = np.empty((n_values, BLOCK), np.float64)
    for first_row in range(0, n_samples, BLOCK):
        size = min(BLOCK, n_samples - first_row)
        any_missing = _load_block(X, first_row, size, columns)
        for f in range(n_features):
            _rank(columns[f], thresholds[f], first[f], scale[f], below[f], steps[f], ranks[f])
        sums[:] = 0
        group = -1
        for tree in range(len(group_of_tree)):
            if group_of_tree[tree] != group:
                group = group_of_tree[tree]
                _recode_block(columns, ranks, any_missing, recode[group], codes)
            found = 0
            for k in range(tree_operations[tree], tree_operations[tree + 1]):
                version = operations[k, MISSING_LEFT] * any_missing
                found = operations[k, WRITE]
                _select(
                    codes[version, operations[k, FEATURE]],
                    codes.dtype.type(operations[k, CODE] + version),
                    work[operations[k, READ_LEFT]],
                    work[operations[k, READ_RIGHT]],
                    work[found],
                )
            for k in range(n_values):
                _add(values[k, tree_leaves[tree] : tree_leaves[tree + 1]], work[found], sums[k])
        for i in range(size):
            for k in range(n_values):
                total[first_row + i, k] += sums[k, i]
