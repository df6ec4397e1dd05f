"""What Numba compiles: drawing, growing and walking, each on one thread and without the GIL."""

# Numba infers types from the arguments; annotations would only repeat them.
# mypy: allow-untyped-defs

from __future__ import annotations

import numpy as np
from numba import njit

from mlx_iforest.forest import LEAF
from mlx_iforest.growth import ATTEMPTS
from mlx_iforest.randomness import PARITY, PERMUTATION_ROUNDS

ROW_BLOCK = 64
"""Rows walked through a tree together: their walks are independent, so the processor overlaps their cache misses."""

u32 = np.uint32


@njit(nogil=True, cache=True, inline="always")
def _mix(x0, x1, r):
    x0 = u32(x0 + x1)
    x1 = u32(u32(x1 << u32(r)) | u32(x1 >> u32(32 - r))) ^ x0
    return x0, x1


@njit(nogil=True, cache=True)
def threefry(key0, key1, counter0, counter1):
    """`randomness.threefry2x32` of scalars."""
    key2 = u32(key0 ^ key1 ^ u32(PARITY))
    x0 = u32(counter0 + key0)
    x1 = u32(counter1 + key1)
    x0, x1 = _mix(x0, x1, 13)
    x0, x1 = _mix(x0, x1, 15)
    x0, x1 = _mix(x0, x1, 26)
    x0, x1 = _mix(x0, x1, 6)
    x0, x1 = u32(x0 + key1), u32(x1 + key2 + u32(1))
    x0, x1 = _mix(x0, x1, 17)
    x0, x1 = _mix(x0, x1, 29)
    x0, x1 = _mix(x0, x1, 16)
    x0, x1 = _mix(x0, x1, 24)
    x0, x1 = u32(x0 + key2), u32(x1 + key0 + u32(2))
    x0, x1 = _mix(x0, x1, 13)
    x0, x1 = _mix(x0, x1, 15)
    x0, x1 = _mix(x0, x1, 26)
    x0, x1 = _mix(x0, x1, 6)
    x0, x1 = u32(x0 + key0), u32(x1 + key1 + u32(3))
    x0, x1 = _mix(x0, x1, 17)
    x0, x1 = _mix(x0, x1, 29)
    x0, x1 = _mix(x0, x1, 16)
    x0, x1 = _mix(x0, x1, 24)
    x0, x1 = u32(x0 + key1), u32(x1 + key2 + u32(4))
    x0, x1 = _mix(x0, x1, 13)
    x0, x1 = _mix(x0, x1, 15)
    x0, x1 = _mix(x0, x1, 26)
    x0, x1 = _mix(x0, x1, 6)
    return u32(x0 + key2), u32(x1 + key0 + u32(5))


@njit(nogil=True, cache=True, inline="always")
def bounded(word, bound):
    """`randomness.bounded` of a scalar."""
    return np.int64((np.uint64(word) * np.uint64(bound)) >> np.uint64(32))


@njit(nogil=True, cache=True)
def permute(keys, position, bits, size):
    """`randomness.permutation` of a scalar."""
    mask = u32((np.uint64(1) << np.uint64(bits)) - np.uint64(1))
    shift = u32((bits + 1) // 2)
    x = u32(position)
    while True:
        for r in range(PERMUTATION_ROUNDS):
            x = u32(u32(x * keys[r, 0]) + keys[r, 1]) & mask
            x = u32(x ^ (x >> shift))
        if x < size:
            return np.int64(x)


@njit(nogil=True, cache=True)
def _gather(X, row_keys, feature_keys, features_per_tree, bootstrap, sample, features):
    """Fill `features` and, column by column, `sample` with one tree's part of the data."""
    n_samples, n_features = X.shape
    bits = 1
    while (np.int64(1) << bits) < n_features:
        bits += 1
    for j in range(features_per_tree):
        features[j] = j if features_per_tree == n_features else permute(feature_keys[1:], j, bits, n_features)
    bits = 1
    while (np.int64(1) << bits) < n_samples:
        bits += 1
    subsample_size = sample.shape[1]
    for i in range(subsample_size):
        if bootstrap:
            word, _ = threefry(row_keys[0, 0], row_keys[0, 1], u32(i), u32(0))
            row = bounded(word, n_samples)
        elif subsample_size == n_samples:
            row = np.int64(i)
        else:
            row = permute(row_keys[1:], i, bits, n_samples)
        for j in range(features_per_tree):
            sample[j, i] = X[row, features[j]]


@njit(nogil=True, cache=True)
def _range(column, order, start, stop):
    """Smallest and largest value present, and whether any is missing."""
    low = np.float32(np.inf)
    high = np.float32(-np.inf)
    missing = False
    for i in range(start, stop):
        x = column[order[i]]
        missing |= x != x
        low = min(low, x) if x == x else low
        high = max(high, x) if x == x else high
    return low, high, missing


@njit(nogil=True, cache=True)
def _grow_tree(
    sample, features, key0, key1, max_depth, order, spare, start, heap, feature, threshold, missing_left, count
):
    """Grow one tree breadth-first into the arrays given; returns its number of nodes.

    `order` holds the sample's rows so that each node owns a slice of it, beginning at `start`; `heap` numbers the
    nodes for the draws.
    """
    features_per_tree, size = sample.shape
    for i in range(size):
        order[i] = i
    start[0] = 0
    count[0] = size
    heap[0] = 1
    n_nodes = 1
    node = 0
    while node < n_nodes:
        first = start[node]
        stop = first + count[node]
        feature[node] = LEAF
        threshold[node] = 0
        missing_left[node] = False
        low = np.float32(0)
        high = np.float32(0)
        missing = False
        found = False
        chosen = 0
        word1 = u32(0)
        # The depth of node h is the position of its highest bit: nodes below 2 ** max_depth lie above the limit.
        if count[node] > 1 and heap[node] < (np.int64(1) << max_depth):
            for attempt in range(ATTEMPTS):
                word0, word1 = threefry(key0, key1, u32(heap[node]), u32(attempt))
                chosen = bounded(word0, features_per_tree)
                low, high, missing = _range(sample[chosen], order, first, stop)
                if low < high:
                    found = True
                    break
            if not found:
                n_splittable = 0
                for j in range(features_per_tree):
                    low, high, missing = _range(sample[j], order, first, stop)
                    n_splittable += low < high
                if n_splittable:
                    found = True
                    word0, word1 = threefry(key0, key1, u32(heap[node]), u32(ATTEMPTS))
                    target = bounded(word0, n_splittable)
                    chosen = -1
                    while target >= 0:
                        chosen += 1
                        low, high, missing = _range(sample[chosen], order, first, stop)
                        target -= low < high
        if found:
            u = np.float32(word1 >> u32(8)) * np.float32(2.0**-24)
            half = np.float32(0.5)
            t = np.float32(2) * (low * half + u * (high * half - low * half))
            if t < low or t >= high:
                t = low
            t = t + np.float32(0)
            column = sample[chosen]
            n_left = 0
            n_right = 0
            to_left = (word1 & u32(1)) == u32(1)
            for i in range(first, stop):
                row = order[i]
                x = column[row]
                goes_left = x <= t or (to_left and x != x)
                # Both are written; only the one that counts is kept.
                order[first + n_left] = row
                spare[n_right] = row
                n_left += goes_left
                n_right += not goes_left
            order[first + n_left : stop] = spare[:n_right]
            feature[node] = features[chosen]
            threshold[node] = t
            missing_left[node] = to_left if missing else n_left >= n_right
            start[n_nodes] = first
            count[n_nodes] = n_left
            heap[n_nodes] = 2 * heap[node]
            start[n_nodes + 1] = first + n_left
            count[n_nodes + 1] = n_right
            heap[n_nodes + 1] = 2 * heap[node] + 1
            n_nodes += 2
        node += 1
    return n_nodes


@njit(nogil=True, cache=True)
def grow_trees(X, split_keys, row_keys, feature_keys, features_per_tree, subsample_size, bootstrap, max_depth):
    """Grow some trees; their nodes one after the other."""
    n_trees = len(split_keys)
    most = 2 * subsample_size - 1
    feature = np.empty((n_trees, most), np.int32)
    threshold = np.empty((n_trees, most), np.float32)
    missing_left = np.empty((n_trees, most), np.bool_)
    count = np.empty((n_trees, most), np.int32)
    start = np.empty(most, np.int32)
    heap = np.empty(most, np.int64)
    sample = np.empty((features_per_tree, subsample_size), np.float32)
    features = np.empty(features_per_tree, np.int32)
    order = np.empty(subsample_size, np.int32)
    spare = np.empty(subsample_size, np.int32)
    tree_start = np.zeros(n_trees + 1, np.int64)
    for tree in range(n_trees):
        _gather(X, row_keys[tree], feature_keys[tree], features_per_tree, bootstrap, sample, features)
        n_nodes = _grow_tree(
            sample, features, split_keys[tree, 0], split_keys[tree, 1], max_depth, order, spare, start, heap,
            feature[tree], threshold[tree], missing_left[tree], count[tree],
        )  # fmt: skip
        tree_start[tree + 1] = tree_start[tree] + n_nodes
    total = tree_start[-1]
    packed_feature = np.empty(total, np.int32)
    packed_threshold = np.empty(total, np.float32)
    packed_missing_left = np.empty(total, np.bool_)
    packed_count = np.empty(total, np.int32)
    for tree in range(n_trees):
        first, n_nodes = tree_start[tree], tree_start[tree + 1] - tree_start[tree]
        packed_feature[first : first + n_nodes] = feature[tree, :n_nodes]
        packed_threshold[first : first + n_nodes] = threshold[tree, :n_nodes]
        packed_missing_left[first : first + n_nodes] = missing_left[tree, :n_nodes]
        packed_count[first : first + n_nodes] = count[tree, :n_nodes]
    return tree_start, packed_feature, packed_threshold, packed_missing_left, packed_count


@njit(nogil=True, cache=True)
def path_lengths(tree_start, feature, threshold, left, missing_left, path_length, depths, X, total):
    """Add every row's path lengths over all trees to `total`.

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
                total[first + i] += path_length[node[i]]
