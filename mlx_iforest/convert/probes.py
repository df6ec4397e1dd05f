"""Rows on which two ways to score the same forest would differ: on its thresholds, next to them, and with gaps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mlx_iforest.forest import Forest

__all__ = ["probing_rows"]

GAPS = 0.1
"""Share of the values that are missing, in half of the rows."""


def probing_rows(forest: Forest, n_rows: int = 512, seed: int = 0) -> NDArray[np.float32]:
    """Rows that a forest decides by a hair.

    Each stands for a random split and one of its sides. The region of rows that get there is a box, and the row lies on
    one of its corners: each value is a threshold of a split above, or the float32 next to it. So is any value that no
    split above asks for, by the threshold of some other split.

    Parameters
    ----------
    forest : Forest
    n_rows : int
    seed : int
        The same seed gives the same rows.

    Returns
    -------
    ndarray of float32, shape (n_rows, n_features)
        Finite or NaN.
    """
    forest.ensure_valid()
    rng = np.random.default_rng(seed)
    splits = np.flatnonzero(forest.feature >= 0)
    if not len(splits):
        rows = rng.normal(size=(n_rows, forest.n_features)).astype(np.float32)
    elif forest.direction_feature is None:
        rows = _corners(forest, splits, n_rows, rng)
    else:
        rows = _on_planes(forest, splits, n_rows, rng)
    gaps = rng.random(rows.shape) < GAPS
    gaps[::2] = False
    rows[gaps] = np.nan
    return rows


def _corners(forest: Forest, splits: NDArray[np.int64], n_rows: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Corners of the boxes of random splits' children."""
    root = np.repeat(forest.tree_start[:-1], np.diff(forest.tree_start))
    parent = np.full(forest.n_nodes, -1, np.int64)
    children = forest.left[splits] + root[splits]
    parent[children] = parent[children + 1] = splits
    low = np.full((n_rows, forest.n_features), -np.inf, np.float32)
    high = np.full((n_rows, forest.n_features), np.inf, np.float32)
    node = children[rng.integers(len(splits), size=n_rows)] + rng.integers(0, 2, n_rows)
    row = np.arange(n_rows)
    while len(row):
        above = parent[node]
        feature, threshold = forest.feature[above], forest.threshold[above]
        goes_left = node == forest.left[above] + root[above]
        left, right = row[goes_left], row[~goes_left]
        high[left, feature[goes_left]] = np.minimum(high[left, feature[goes_left]], threshold[goes_left])
        low[right, feature[~goes_left]] = np.maximum(low[right, feature[~goes_left]], _next(threshold[~goes_left]))
        inner = parent[above] >= 0
        row, node = row[inner], above[inner]
    corners = np.where(rng.random(low.shape) < 0.5, low, high)
    corners = np.where(np.isinf(corners), np.where(np.isinf(low), high, low), corners)
    for feature in range(forest.n_features):
        free = np.flatnonzero(np.isinf(corners[:, feature]))
        asked = forest.threshold[splits[forest.feature[splits] == feature]]
        cuts = rng.choice(asked if len(asked) else np.zeros(1, np.float32), len(free))
        corners[free, feature] = np.where(rng.random(len(free)) < 0.5, cuts, _next(cuts))
    return corners


def _on_planes(forest: Forest, splits: NDArray[np.int64], n_rows: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Rows on the planes of random oblique splits, as nearly as float32 can lie on one."""
    assert forest.direction_feature is not None
    assert forest.direction_weight is not None
    chosen = splits[rng.integers(len(splits), size=n_rows)]
    features, weights = forest.direction_feature[chosen], forest.direction_weight[chosen].astype(np.float64)
    rows = rng.normal(size=(n_rows, forest.n_features))
    every = np.arange(n_rows)
    for place in range(weights.shape[1]):
        # Weights are the inverse of a feature's range.
        weight = np.where(weights[:, place] == 0, 1.0, weights[:, place])
        rows[every, features[:, place]] /= np.abs(weight)
    rest = (rows[every[:, None], features] * weights).sum(axis=1) - rows[every, features[:, 0]] * weights[:, 0]
    rows[every, features[:, 0]] = (forest.threshold[chosen] - rest) / weights[:, 0]
    with np.errstate(over="ignore"):
        return np.nan_to_num(rows.astype(np.float32))


def _next(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The float32 above each."""
    with np.errstate(over="ignore"):
        return np.minimum(np.nextafter(values, np.float32(np.inf)), np.finfo(np.float32).max)
