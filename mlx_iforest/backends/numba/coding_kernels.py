"""What Numba compiles to make a coded forest: ranks of thresholds, groups of trees, and the order of operations.

Loops stand where NumPy has a function: `np.diff`, `max`, `searchsorted` and the like each take Numba up to two seconds
to compile, most of it for texts of errors that never come.
"""

# Numba infers types from the arguments; annotations would only repeat them.
# mypy: allow-untyped-defs

from __future__ import annotations

import numpy as np

from mlx_iforest.backends.numba.coded_scoring import (
    BLOCK,
    LEFT,
    LEFT_STEP,
    RIGHT,
    RIGHT_STEP,
    WRITE,
    cell_of,
)
from mlx_iforest.compiled_code import compiled

__all__ = ["compile_trees", "fill_grid", "group_trees", "leaf_classes", "recode_groups", "threshold_ranks"]

WINDOW = 64
"""Operations of a tree that are sorted by height: their results fit the first-level cache beside all else."""


@compiled()
def _largest(numbers):
    largest = numbers[0]
    for number in numbers:
        largest = max(largest, number)
    return largest


@compiled()
def fill_grid(thresholds, counts, first, scale, below):
    """Count the thresholds below each cell; returns each feature's number of thresholds in its fullest cell."""
    n_features, cells = len(below), below.shape[1] - 2
    top = np.float32(cells - 1)
    most = np.zeros(n_features, np.int64)
    for f in range(n_features):
        k = 0
        for c in range(cells):
            start = k
            below[f, c] = k
            while k < counts[f] and cell_of(thresholds[f, k], first[f], scale[f], top) <= c:
                k += 1
            most[f] = max(most[f], k - start)
    return most


@compiled()
def threshold_ranks(feature, threshold, thresholds):
    """The rank of each split's threshold among its feature's; 0 at leaves."""
    ranks = np.zeros(len(feature), np.int64)
    for node in range(len(feature)):
        f = feature[node]
        if f >= 0:
            low, high = 0, thresholds.shape[1]
            while low < high:
                middle = (low + high) // 2
                if thresholds[f, middle] < threshold[node]:
                    low = middle + 1
                else:
                    high = middle
            ranks[node] = low
    return ranks


@compiled()
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


@compiled()
def recode_groups(tree_start, feature, ranks, group_of_tree, n_ranks, n_features):
    """For each group, the code of every rank and -1 for missing values; for each node the code of its threshold."""
    n_groups = _largest(group_of_tree) + 1
    used = np.zeros((n_groups, n_features, n_ranks), np.bool_)
    for tree in range(len(group_of_tree)):
        for node in range(tree_start[tree], tree_start[tree + 1]):
            if feature[node] >= 0:
                used[group_of_tree[tree], feature[node], ranks[node]] = True
    recode = np.full((n_groups, n_features, n_ranks + 1), -1, np.int32)
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


@compiled()
def leaf_classes(tree_start, feature, value_number):
    """Number the distinct values of each tree's leaves.

    Parameters
    ----------
    value_number : ndarray of int64, shape (n_nodes,)
        At a leaf: the number of its value among all values of the forest.

    Returns
    -------
    leaf_class : ndarray of int64, shape (n_nodes,)
        At a leaf: its class in the tree, less than `n_classes`; -1 at splits.
    class_value : ndarray of int64, shape (n_trees, n_classes)
        The number of each class's value.
    """
    n_trees = len(tree_start) - 1
    leaf_class = np.full(len(feature), -1, np.int64)
    class_of = np.full(_largest(value_number) + 1, -1, np.int64)
    n_classes = 1
    for tree in range(n_trees):
        counted = 0
        for node in range(tree_start[tree + 1] - 1, tree_start[tree] - 1, -1):
            if feature[node] < 0:
                value = value_number[node]
                if class_of[value] < 0:
                    class_of[value] = counted
                    counted += 1
                leaf_class[node] = class_of[value]
        for node in range(tree_start[tree], tree_start[tree + 1]):
            if feature[node] < 0:
                class_of[value_number[node]] = -1
        n_classes = max(n_classes, counted)
    class_value = np.zeros((n_trees, n_classes), np.int64)
    for tree in range(n_trees):
        for node in range(tree_start[tree], tree_start[tree + 1]):
            if feature[node] < 0:
                class_value[tree, leaf_class[node]] = value_number[node]
    return leaf_class, class_value


@compiled()
def _post_order(tree_start, feature, left):
    """The splits of each tree, children before their parents and subtree after subtree; a leaf where it has none."""
    n_trees = len(tree_start) - 1
    n_operations = most_nodes = 0
    for tree in range(n_trees):
        n_operations += feature[tree_start[tree]] < 0
        most_nodes = max(most_nodes, tree_start[tree + 1] - tree_start[tree])
    for node in range(len(feature)):
        n_operations += feature[node] >= 0
    tree_operations = np.zeros(n_trees + 1, np.int64)
    nodes = np.empty(n_operations, np.int64)
    stack = np.empty(most_nodes + 1, np.int64)
    at = 0
    for tree in range(n_trees):
        root = tree_start[tree]
        stack[0] = root
        height = 1
        while height:
            # A split is pushed once more, as the complement of its number, below its children.
            height -= 1
            node = stack[height]
            if node < 0 or feature[node] < 0:
                if node < 0 or node == root:
                    nodes[at] = ~node if node < 0 else node
                    at += 1
                continue
            stack[height] = ~node
            stack[height + 1] = root + left[node] + 1
            stack[height + 2] = root + left[node]
            height += 3
        tree_operations[tree + 1] = at
    return tree_operations, nodes


@compiled()
def _by_height(tree_start, feature, left, tree_operations, nodes):
    """Sort every `WINDOW` operations of a tree by their height, in place: none follows directly what it waits for."""
    height = np.full(len(feature), -1, np.int64)
    window = np.empty(WINDOW, np.int64)
    for tree in range(len(tree_operations) - 1):
        root = tree_start[tree]
        for first in range(tree_operations[tree], tree_operations[tree + 1], WINDOW):
            size = min(WINDOW, tree_operations[tree + 1] - first)
            highest = 0
            for k in range(size):
                node = nodes[first + k]
                window[k] = node
                child = root + left[node]
                height[node] = 1 + max(height[child], height[child + 1]) if feature[node] >= 0 else 0
                highest = max(highest, height[node])
            at = first
            for level in range(highest + 1):
                for k in range(size):
                    if height[window[k]] == level:
                        nodes[at] = window[k]
                        at += 1
            # Those before the window have long been written.
            for k in range(size):
                height[window[k]] = -1


@compiled()
def compile_trees(tree_start, feature, left, leaf_class, first_class, lanes, n_classes):
    """Put the splits of all trees in order, children before parents, and say where they read and write.

    Parameters
    ----------
    feature, leaf_class : ndarray of shape (n_nodes,)
        From `merge_equal_leaves` and `leaf_classes`.
    first_class : int
        Where the vectors of the classes begin in the work table, `lanes` entries each. Behind them lie the work rows,
        as many as are in use at a time; a row is free again once the parent has read it.

    Returns
    -------
    tree_operations : ndarray of int64, shape (n_trees + 1,)
    operations : ndarray of int64, shape (n_operations, 8)
        `CODE`, `THRESHOLD` and `MISSING_LEFT` are left for the caller to fill in. A tree without a split has one
        operation as well, which fills its rows with its leaf's class.
    nodes : ndarray of int64, shape (n_operations,)
        The split that each operation is.
    tree_result : ndarray of int64, shape (n_trees,)
        Where each tree's last operation writes.
    work : ndarray of uint16, shape (n_work,)
        The work table with the classes filled in.
    """
    tree_operations, nodes = _post_order(tree_start, feature, left)
    _by_height(tree_start, feature, left, tree_operations, nodes)
    n_trees = len(tree_start) - 1
    operations = np.zeros((len(nodes), 8), np.int64)
    tree_result = np.empty(n_trees, np.int64)
    place = np.empty(len(feature), np.int64)
    free = np.empty(len(feature), np.int64)
    first_row = first_class + n_classes * lanes
    n_rows = 0
    for node in range(len(feature)):
        place[node] = first_class + leaf_class[node] * lanes
    for tree in range(n_trees):
        root = tree_start[tree]
        used = n_free = 0
        for at in range(tree_operations[tree], tree_operations[tree + 1]):
            node = nodes[at]
            a = b = node
            if feature[node] >= 0:
                a = root + left[node]
                b = a + 1
            operations[at, LEFT], operations[at, RIGHT] = place[a], place[b]
            operations[at, LEFT_STEP] = lanes if place[a] >= first_row else 0
            operations[at, RIGHT_STEP] = lanes if place[b] >= first_row else 0
            for child in (a, b):
                if place[child] >= first_row:
                    free[n_free] = place[child]
                    n_free += 1
            if not n_free:
                free[0] = first_row + used * BLOCK
                n_free, used = 1, used + 1
            n_free -= 1
            place[node] = operations[at, WRITE] = free[n_free]
        n_rows = max(n_rows, used)
        tree_result[tree] = place[root]
    work = np.zeros(first_row + n_rows * BLOCK, np.uint16)
    for k in range(n_classes):
        work[first_class + k * lanes : first_class + (k + 1) * lanes] = k
    return tree_operations, operations, nodes, tree_result, work
