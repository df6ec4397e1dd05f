"""What Numba compiles to grow trees, on one thread and without the GIL."""

# Numba infers types from the arguments; annotations would only repeat them.
# mypy: allow-untyped-defs

from __future__ import annotations

import numpy as np

from mlx_iforest.backends.numba.drawing_kernels import bounded, draw_features, draw_rows, threefry, tree_keys
from mlx_iforest.backends.numba.growth_vectors import PADDING, find_varying, part_rows, read_values
from mlx_iforest.backends.numba.vectors import HAS_VECTORS_OF_16, UNCOUNTED
from mlx_iforest.compiled_code import compiled
from mlx_iforest.forest import LEAF, SMALLEST_SHARE
from mlx_iforest.growth import ATTEMPTS, TINY
from mlx_iforest.randomness import PERMUTATION_ROUNDS, Stream

FEW_ROWS = 16
"""Rows up to which columns that vary are found column by column, and beyond which row by row."""

SPLITS, ROWS, FEATURES = Stream.SPLITS, Stream.ROWS, Stream.FEATURES

u32 = np.uint32


@compiled(inline="always")
def _ordered(bits):
    """The bits of a float as a whole number of the same order, and back: negative floats count downwards."""
    return np.int32(bits ^ ((bits >> np.int32(31)) & np.int32(0x7FFFFFFF)))


@compiled()
def _range_of_numbers(values):
    """Smallest and largest where nothing is missing; as whole numbers, which compilers compare in vectors."""
    low = np.int32(0x7FFFFFFF)
    high = np.int32(-0x80000000)
    for i in range(len(values)):
        key = _ordered(np.float32(values[i]).view(np.int32))
        low = min(low, key)
        high = max(high, key)
    return np.int32(_ordered(low)).view(np.float32), np.int32(_ordered(high)).view(np.float32)


@compiled()
def _range(values):
    """Smallest and largest value present, and whether any is missing."""
    n_missing = 0
    for i in range(len(values)):
        n_missing += values[i] != values[i]
    if n_missing == 0:
        low, high = _range_of_numbers(values)
        return low, high, False
    low = np.float32(np.inf)
    high = np.float32(-np.inf)
    for i in range(len(values)):
        x = values[i]
        low = min(low, x) if x == x else low
        high = max(high, x) if x == x else high
    return low, high, True


@compiled()
def read_plainly(X, feature, order, first, size, values):
    """A feature of the `size` rows from ``order[first]`` on; returns its range as `_range` does."""
    for i in range(size):
        values[i] = X[order[first + i], feature]
    return _range(values[:size])


@compiled(inline="always")
def _read(X, feature, order, first, size, values):
    if HAS_VECTORS_OF_16:
        return read_values(X, X.shape[1], feature, order, first, size, values)  # type: ignore[call-arg]
    return read_plainly(X, feature, order, first, size, values)


@compiled()
def part_plainly(values, order, spare, first, size, threshold, missing_left):
    """Part the `size` rows from ``order[first]`` on: those whose value goes left come first, both in their order.

    Returns how many go left. `spare` is overwritten.
    """
    n_left = 0
    n_right = 0
    for i in range(size):
        row = order[first + i]
        x = values[i]
        # No branch, which would be mispredicted half of the time: both are written, one counts.
        goes_left = (x <= threshold) | (missing_left & (x != x))
        order[first + n_left] = row
        spare[n_right] = row
        n_left += goes_left
        n_right += not goes_left
    for i in range(n_right):
        order[first + n_left + i] = spare[i]
    return n_left


@compiled(inline="always")
def _part(values, order, spare, first, size, threshold, missing_left):
    if HAS_VECTORS_OF_16:
        return part_rows(values, order, spare, first, size, threshold, missing_left)  # type: ignore[call-arg]
    return part_plainly(values, order, spare, first, size, threshold, missing_left)


@compiled(**UNCOUNTED)
def _pick(target, n_features, splittable):
    """The splittable feature that has `target` others before it.

    64 features at a time are passed over: few of many may be splittable.
    """
    first = 0
    while first < n_features:
        count = np.int32(0)
        for j in range(first, min(first + 64, n_features)):
            count += np.int32(splittable[j])
        if target < count:
            break
        target -= count
        first += 64
    for j in range(first, n_features):
        target -= splittable[j]
        if target < 0:
            return j
    return -1


@compiled(inline="always")
def _choose(X, features, key0, key1, heap, order, first, size, splittable, ranges, values):
    """The column to split, or -1; its range; whether a value is missing; and the draw that decides the rest.

    The values of the rows in that column are left in `values`.
    """
    for attempt in range(ATTEMPTS):
        word0, word1 = threefry(key0, key1, u32(heap), u32(attempt))
        column = bounded(word0, len(features))
        low, high, missing = _read(X, features[column], order, first, size, values)
        if low < high:
            return column, low, high, missing, word1
    return _choose_listed(X, features, key0, key1, heap, order, first, size, splittable, ranges, values)


@compiled(**UNCOUNTED)
def _choose_listed(X, features, key0, key1, heap, order, first, size, splittable, ranges, values):
    """`_choose` among the columns that are not constant."""
    if HAS_VECTORS_OF_16 and size <= FEW_ROWS and len(features) == X.shape[1]:
        total = find_varying(X, X.shape[1], order, first, size, splittable)  # type: ignore[call-arg,var-annotated]
    else:
        total = _find_splittable(X, features, order[first : first + size], splittable, ranges)
    if total == 0:
        return -1, np.float32(0), np.float32(0), False, u32(0)
    word0, word1 = threefry(key0, key1, u32(heap), u32(ATTEMPTS))
    column = _pick(bounded(word0, total), len(features), splittable)
    low, high, missing = _read(X, features[column], order, first, size, values)
    return column, low, high, missing, word1


@compiled(**UNCOUNTED)
def _widen(row, lows, highs):
    """Let ranges of columns include a row's values. A missing value changes none: comparing with it is false."""
    for j in range(len(lows)):
        x = row[j]
        lows[j] = x if x < lows[j] else lows[j]
        highs[j] = x if x > highs[j] else highs[j]


@compiled(**UNCOUNTED)
def _find_splittable(X, features, rows, splittable, ranges):
    """Mark the columns that are not constant; returns how many there are.

    Row by row, where all columns of a row are widened together in vectors: many columns of few values make this
    necessary at most nodes.
    """
    lows, highs, row = ranges
    lows[:] = np.inf
    highs[:] = -np.inf
    for i in range(len(rows)):
        if len(features) == X.shape[1]:
            _widen(X[rows[i]], lows, highs)
        else:
            for j in range(len(features)):
                row[j] = X[rows[i], features[j]]
            _widen(row, lows, highs)
    count = np.int32(0)
    for j in range(len(features)):
        splittable[j] = lows[j] < highs[j]
        count += np.int32(splittable[j])
    return np.int64(count)


@compiled()
def _project(X, features, key0, key1, heap, order, first, size, splittable, ranges, values, columns, coefficients):
    """As `_choose` for an oblique split: the sums are left in `values`, the direction in the last two."""
    rows = order[first : first + size]
    n_splittable = _find_splittable(X, features, rows, splittable, ranges)
    n_chosen = min(len(columns), n_splittable)
    for k in range(n_chosen):
        word0, word1 = threefry(key0, key1, u32(heap), u32(ATTEMPTS + 1 + k))
        column = _pick(bounded(word0, n_splittable - k), len(features), splittable)
        splittable[column] = False
        low, high, _ = _read(X, features[column], order, first, size, values)
        columns[k] = column
        coefficients[k] = coefficient(low, high, word1)
    for k in range(n_chosen, len(columns)):
        columns[k] = columns[0]
        coefficients[k] = 0
    for i in range(len(rows)):
        total = np.float32(0)
        for k in range(n_chosen):
            total = np.float32(total + np.float32(X[rows[i], features[columns[k]]] * coefficients[k]))
        values[i] = total
    low, high, missing = _range(values[:size])
    _, word1 = threefry(key0, key1, u32(heap), u32(ATTEMPTS))
    column = columns[0] if n_chosen > 0 and low < high else -1
    return column, low, high, missing, word1


@compiled()
def coefficient(low, high, word):
    """`reference.draw_coefficient` of a scalar."""
    total = np.int64(-510)
    for k in range(4):
        total += np.int64((word >> u32(8 * k)) & u32(255))
    total = total if total != 0 else np.int64(1)
    width = max(np.float32(high * np.float32(0.5) - low * np.float32(0.5)), TINY)
    return np.float32(np.float32(np.float32(total) * np.float32(2.0**-9)) / width)


# Its arrays belong to the caller: counting references to them took longer than all else that a split needs.
@compiled(**UNCOUNTED)
def _grow_tree(X, features, n_rows, extension, key0, key1, max_depth, scratch, nodes):
    """Grow one tree breadth-first into the arrays of `nodes`; returns its number of nodes.

    `order` holds the tree's rows so that each node owns a slice of it, beginning at `start`; `heap` numbers the nodes
    for the draws. Values are read where they lie: a tree looks at few of a row's features, and copies none.
    """
    order, spare, values, start, heap, splittable, ranges, columns = scratch
    feature, threshold, missing_left, count, left_share, direction, direction_weight, left, depth, density = nodes
    half = np.float32(0.5)
    start[0] = 0
    count[0] = n_rows
    heap[0] = 1
    depth[0] = 0
    density[0] = 1.0
    n_nodes = 1
    node = 0
    while node < n_nodes:
        feature[node] = LEAF
        threshold[node] = 0
        missing_left[node] = False
        left_share[node] = 0
        left[node] = LEAF
        chosen = -1
        first, size = np.int64(start[node]), np.int64(count[node])
        if size > 1 and depth[node] < max_depth:
            if extension:
                chosen, low, high, missing, word = _project(
                    X, features, key0, key1, heap[node], order, first, size, splittable, ranges, values, columns,
                    direction_weight[node],
                )  # fmt: skip
            else:
                chosen, low, high, missing, word = _choose(
                    X, features, key0, key1, heap[node], order, first, size, splittable, ranges, values
                )
        if extension:
            for k in range(len(columns)):
                direction[node, k] = features[columns[k]] if chosen >= 0 else 0
                direction_weight[node, k] = direction_weight[node, k] if chosen >= 0 else np.float32(0)
        if chosen >= 0:
            u = np.float32(word >> u32(8)) * np.float32(2.0**-24)
            t = np.float32(2) * (low * half + u * (high * half - low * half))
            if t < low or t >= high:
                t = low
            t = t + np.float32(0)
            to_left = (word & u32(1)) == u32(1)
            n_left = _part(values, order, spare, first, size, t, to_left)
            n_right = size - n_left
            feature[node] = features[chosen]
            threshold[node] = t
            missing_left[node] = to_left if missing else n_left >= n_right
            left_share[node] = (t * half - low * half) / max(high * half - low * half, TINY)
            left[node] = n_nodes
            depth[n_nodes] = depth[n_nodes + 1] = depth[node] + 1
            # In the order of `forest.Families`, so that both round alike.
            share = min(max(np.float64(left_share[node]), SMALLEST_SHARE), 1 - SMALLEST_SHARE)
            of_samples = n_left / size
            density[n_nodes] = density[node] * (of_samples / share)
            density[n_nodes + 1] = density[node] * ((1 - of_samples) / (1 - share))
            start[n_nodes] = first
            count[n_nodes] = n_left
            heap[n_nodes] = 2 * heap[node]
            start[n_nodes + 1] = first + n_left
            count[n_nodes + 1] = n_right
            heap[n_nodes + 1] = 2 * heap[node] + 1
            n_nodes += 2
        node += 1
    return n_nodes


@compiled()
def grow_trees(
    X, seed0, seed1, first_tree, n_trees, row_table, extension, features_per_tree, subsample_size, bootstrap, max_depth
):  # fmt: skip
    """Grow the `n_trees` trees from the `first_tree`-th on; their nodes one after the other."""
    keys = np.empty((1 + PERMUTATION_ROUNDS, 2), np.uint32)
    most = 2 * subsample_size - 1
    width = extension + 1 if extension else 0
    # Room for the largest trees; what they do not use is never touched.
    feature = np.empty(n_trees * most, np.int32)
    threshold = np.empty(n_trees * most, np.float32)
    missing_left = np.empty(n_trees * most, np.bool_)
    count = np.empty(n_trees * most, np.int32)
    left_share = np.empty(n_trees * most, np.float32)
    left = np.empty(n_trees * most, np.int32)
    depth = np.empty(n_trees * most, np.int32)
    density = np.empty(n_trees * most, np.float64)
    direction = np.empty((n_trees * most, width), np.int32)
    direction_weight = np.empty((n_trees * most, width), np.float32)
    features = np.empty(features_per_tree, np.int64)
    order = np.zeros(subsample_size + PADDING, np.uint32)
    scratch = (
        order,
        np.empty(subsample_size + PADDING, np.uint32),
        np.empty(subsample_size + PADDING, np.float32),
        np.empty(most, np.int32),
        np.empty(most, np.int64),
        np.empty(features_per_tree + PADDING, np.bool_),
        (
            np.empty(features_per_tree, np.float32),
            np.empty(features_per_tree, np.float32),
            np.empty(features_per_tree, np.float32),
        ),
        np.zeros(width, np.int64),
    )
    tree_start = np.zeros(n_trees + 1, np.int64)
    for tree in range(n_trees):
        tree_keys(seed0, seed1, first_tree + tree, ROWS, keys)
        draw_rows(len(X), keys, row_table[tree], bootstrap, order[:subsample_size])
        tree_keys(seed0, seed1, first_tree + tree, FEATURES, keys)
        draw_features(X.shape[1], keys, features)
        tree_keys(seed0, seed1, first_tree + tree, SPLITS, keys)
        first, stop = tree_start[tree], tree_start[tree] + most
        nodes = (
            feature[first:stop], threshold[first:stop], missing_left[first:stop], count[first:stop],
            left_share[first:stop], direction[first:stop], direction_weight[first:stop], left[first:stop],
            depth[first:stop], density[first:stop],
        )  # fmt: skip
        n_nodes = _grow_tree(X, features, subsample_size, extension, keys[0, 0], keys[0, 1], max_depth, scratch, nodes)
        tree_start[tree + 1] = tree_start[tree] + n_nodes
    total = tree_start[-1]
    grown = (
        feature[:total], threshold[:total], missing_left[:total], count[:total], left_share[:total], direction[:total],
        direction_weight[:total], left[:total], depth[:total], density[:total],
    )  # fmt: skip
    return tree_start, grown
