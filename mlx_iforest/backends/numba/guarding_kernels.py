"""What Numba compiles to put guards into trees (`mlx_iforest.guards`)."""

# Numba infers types from the arguments; annotations would only repeat them.
# mypy: allow-untyped-defs

from __future__ import annotations

import numpy as np

from mlx_iforest.compiled_code import compiled

__all__ = ["guard_trees"]

NODE, BELOW, ABOVE, EXIT = range(4)
"""As in `guards`."""


@compiled()
def _fill_spans(root, feature, threshold, left, missing_left, X, rows, low, high):
    """The range of its split's feature among the rows of each node of a tree."""
    for row in rows:
        node = 0
        while feature[root + node] >= 0:
            x = X[row, feature[root + node]]
            if x < low[node]:
                low[node] = x
            if x > high[node]:
                high[node] = x
            goes_left = x <= threshold[root + node] or (x != x and missing_left[root + node])
            node = left[root + node] + (not goes_left)


@compiled()
def _fill_limits(root, size, feature, threshold, left, margin, low, high, parent, depth):
    """From ranges to guards, in place; infinite where no row comes to them."""
    infinity = np.float32(np.inf)
    for node in range(size):
        asked = feature[root + node]
        if asked < 0:
            continue
        child = left[root + node]
        parent[child] = parent[child + 1] = node
        depth[child] = depth[child + 1] = depth[node] + 1
        below, above = -infinity, infinity
        if low[node] <= high[node]:
            reach = margin * (np.float64(high[node]) - np.float64(low[node]))
            below = np.nextafter(np.float32(low[node] - reach), -infinity)
            above = np.float32(high[node] + reach)
        floor, ceiling = -infinity, infinity
        at = node
        while at > 0:
            up = parent[at]
            if feature[root + up] == asked:
                on_left = at == left[root + up]
                floor = max(floor, low[up] if on_left else threshold[root + up])
                ceiling = min(ceiling, threshold[root + up] if on_left else high[up])
            at = up
        # The guards take the places of the range.
        low[node] = below if below > floor else -infinity
        high[node] = above if above < ceiling else infinity


@compiled()
def guard_trees(tree_start, feature, threshold, left, missing_left, path_length, n_samples, X, rows, margin):
    """`guards.guarded`: the arrays of the guarded forest."""
    n_trees = len(tree_start) - 1
    most = 3 * len(feature)
    starts = np.zeros(n_trees + 1, np.int64)
    features, thresholds = np.full(most, -1, np.int32), np.zeros(most, np.float32)
    lefts, missing_lefts = np.full(most, -1, np.int32), np.zeros(most, np.bool_)
    lengths, samples = np.zeros(most, np.float32), np.zeros(most, np.int32)
    kind, old = np.empty(most, np.int8), np.empty(most, np.int64)
    for tree in range(n_trees):
        root, size = tree_start[tree], tree_start[tree + 1] - tree_start[tree]
        low, high = np.full(size, np.inf, np.float32), np.full(size, -np.inf, np.float32)
        parent, depth = np.zeros(size, np.int64), np.zeros(size, np.int64)
        _fill_spans(root, feature, threshold, left, missing_left, X, rows[tree], low, high)
        _fill_limits(root, size, feature, threshold, left, margin, low, high, parent, depth)
        first = starts[tree]
        kind[0], old[0] = NODE, 0
        n_nodes, at = 1, 0
        while at < n_nodes:
            what, node = kind[at], old[at]
            here = first + at
            if what == EXIT:
                lengths[here], samples[here] = depth[node], 1
            elif feature[root + node] < 0:
                lengths[here], samples[here] = path_length[root + node], n_samples[root + node]
                missing_lefts[here] = missing_left[root + node]
            else:
                features[here], lefts[here] = feature[root + node], n_nodes
                child = left[root + node]
                if what == NODE:
                    thresholds[here], missing_lefts[here] = threshold[root + node], missing_left[root + node]
                    has_below, has_above = np.isfinite(low[node]), np.isfinite(high[node])
                    kind[n_nodes], old[n_nodes] = (BELOW, node) if has_below else (NODE, child)
                    kind[n_nodes + 1], old[n_nodes + 1] = (ABOVE, node) if has_above else (NODE, child + 1)
                elif what == BELOW:
                    thresholds[here] = low[node]
                    kind[n_nodes], old[n_nodes] = EXIT, node
                    kind[n_nodes + 1], old[n_nodes + 1] = NODE, child
                else:
                    # A missing value passes every guard.
                    thresholds[here], missing_lefts[here] = high[node], True
                    kind[n_nodes], old[n_nodes] = NODE, child + 1
                    kind[n_nodes + 1], old[n_nodes + 1] = EXIT, node
                n_nodes += 2
            at += 1
        for here in range(first + n_nodes - 1, first - 1, -1):
            if features[here] >= 0:
                samples[here] = samples[first + lefts[here]] + samples[first + lefts[here] + 1]
        starts[tree + 1] = first + n_nodes
    n = starts[n_trees]
    return (
        starts, features[:n].copy(), thresholds[:n].copy(), lefts[:n].copy(), missing_lefts[:n].copy(),
        lengths[:n].copy(), samples[:n].copy(),
    )  # fmt: skip
