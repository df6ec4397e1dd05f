"""Guards: trees whose rows also leave where they lie beyond what a node's training rows had.

A split at a threshold does not ask how far a row lies from the rows that it was drawn from: a value beyond all of them
goes on with the smallest or the largest, as if it were one. A guard asks. Below a split of the values [low, high] it
ends the path of a row whose value lies below ``low - margin * (high - low)`` or above
``high + margin * (high - low)``, and the path counts as long as the split is deep. It is the acceptable range of
SCiForest ([1]_), made of splits, so that all that scores, stores, prunes and explains trees does so with these.

An exit counts as a row of its own: of rows like n others one in n + 1 lies beyond them on a side (the rule of
succession). That is the share of the rows that explanations take to have left there.

References
----------
.. [1] Liu, Ting and Zhou. On detecting clustered anomalies using SCiForest. ECML PKDD 2010.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlx_iforest.forest import LEAF, Forest, split_levels

__all__ = ["Guards", "guarded", "with_guards"]

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Guards:
    """Where rows leave, for each node of a forest; infinite where none do.

    Parameters
    ----------
    below : ndarray of float32, shape (n_nodes,)
        Of the rows that go left at a split, those with values up to this one leave.
    above : ndarray of float32, shape (n_nodes,)
        Of the rows that go right, those with larger values leave.
    """

    below: Floats
    above: Floats


def guarded(forest: Forest, X: Floats, rows: NDArray[np.int64], margin: float) -> Forest:
    """The same trees with guards.

    Parameters
    ----------
    forest : Forest
        Just grown: plain splits.
    X : ndarray of float32, shape (n_samples, n_features)
        Finite or NaN.
    rows : ndarray of int64, shape (n_trees, subsample_size)
        The rows that each tree was grown on.
    margin : float
        How far beyond the range of a node's values a row leaves, in such ranges. At least 0.

    Returns
    -------
    Forest
        Without densities: an exit has a share of the space and none of the samples.
    """
    try:
        from mlx_iforest.backends.numba.guarding_kernels import guard_trees
    except ImportError:
        return with_guards(forest, reachable(forest, limits(*spans(forest, X, rows), margin)))
    arrays = (forest.feature, forest.threshold, forest.left, forest.missing_left, forest.path_length, forest.n_samples)
    return Forest(forest.n_features, *guard_trees(forest.tree_start, *arrays, X, rows, margin))


def spans(forest: Forest, X: Floats, rows: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """The smallest and the largest value of its split's feature among each node's training rows.

    Returns
    -------
    low, high : ndarray of float32, shape (n_nodes,)
        Infinite, low above high, at leaves.
    """
    low, high = np.full(forest.n_nodes, np.inf, np.float32), np.full(forest.n_nodes, -np.inf, np.float32)
    root = np.repeat(forest.tree_start[:-1], rows.shape[1])
    node, row = root, rows.ravel()
    while len(node):
        inner = forest.feature[node] >= 0
        node, row, root = node[inner], row[inner], root[inner]
        values = X[row, forest.feature[node]]
        np.fmin.at(low, node, values)
        np.fmax.at(high, node, values)
        goes_left = np.where(np.isnan(values), forest.missing_left[node], values <= forest.threshold[node])
        node = root + forest.left[node] + ~goes_left
    return low, high


def limits(low: Floats, high: Floats, margin: float) -> Guards:
    """Beyond which values rows leave; nowhere where that is no number."""
    with np.errstate(over="ignore", invalid="ignore"):
        reach = margin * (high.astype(np.float64) - low)
        below = np.nextafter((low - reach).astype(np.float32), np.float32(-np.inf))
        above = (high + reach).astype(np.float32)
    split = low <= high
    return Guards(
        np.where(split & np.isfinite(below), below, np.float32(-np.inf)),
        np.where(split & np.isfinite(above), above, np.float32(np.inf)),
    )


def reachable(forest: Forest, guards: Guards) -> Guards:
    """The guards that a row can come to: those within what the splits and guards above them leave."""
    parent, on_left = _parents(forest)
    floor, ceiling = np.full(forest.n_nodes, -np.inf, np.float32), np.full(forest.n_nodes, np.inf, np.float32)
    node = np.flatnonzero(forest.feature >= 0)
    at = node
    while len(node):
        left, above = on_left[at], parent[at]
        there = above >= 0
        node, left, above = node[there], left[there], above[there]
        same = forest.feature[above] == forest.feature[node]
        low = np.where(left, guards.below[above], forest.threshold[above])
        high = np.where(left, forest.threshold[above], guards.above[above])
        floor[node[same]] = np.maximum(floor[node[same]], low[same])
        ceiling[node[same]] = np.minimum(ceiling[node[same]], high[same])
        at = above
    return Guards(
        np.where(guards.below > floor, guards.below, np.float32(-np.inf)),
        np.where(guards.above < ceiling, guards.above, np.float32(np.inf)),
    )


def _parents(forest: Forest) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Each node's parent, -1 of a root, and whether it is the left child."""
    parent, on_left = np.full(forest.n_nodes, -1), np.zeros(forest.n_nodes, np.bool_)
    for splits, left in split_levels(forest.tree_start, forest.left):
        parent[left] = parent[left + 1] = splits
        on_left[left] = True
    return parent, on_left


NODE, BELOW, ABOVE, EXIT = range(4)
"""What becomes of a node: itself; the guards of the rows that go left and right at it; where they leave."""


def with_guards(forest: Forest, guards: Guards) -> Forest:
    """The forest with guards put below its splits.

    Parameters
    ----------
    forest : Forest
    guards : Guards
        Within the ranges that their nodes leave.
    """
    first = np.repeat(forest.tree_start[:-1], np.diff(forest.tree_start))
    depth = np.zeros(forest.n_nodes, np.int32)
    for number, (_, children) in enumerate(split_levels(forest.tree_start, forest.left)):
        depth[children] = depth[children + 1] = number + 1
    tree, kind, old = np.arange(forest.n_trees), np.full(forest.n_trees, NODE), forest.tree_start[:-1]
    levels = []
    while len(tree):
        levels.append((tree, kind, old))
        splits = (kind == BELOW) | (kind == ABOVE) | ((kind == NODE) & (forest.feature[old] >= 0))
        tree, kind, old = tree[splits], kind[splits], old[splits]
        child = first[old] + forest.left[old]
        # The children of a split, of the guard of its left rows, of the guard of its right ones.
        kinds = np.select(
            [kind[:, None] == NODE, kind[:, None] == BELOW],
            [
                np.stack([np.where(np.isfinite(guards.below[old]), BELOW, NODE),
                          np.where(np.isfinite(guards.above[old]), ABOVE, NODE)], axis=1),
                np.array([[EXIT, NODE]]),
            ],
            np.array([[NODE, EXIT]]),
        )  # fmt: skip
        inside = np.stack([child + (kind == ABOVE), child + (kind != BELOW)], axis=1)
        nodes = np.where(kinds == NODE, inside, old[:, None])
        tree, kind, old = np.repeat(tree, 2), kinds.ravel(), nodes.ravel()
    tree, kind, old = (np.concatenate(same) for same in zip(*levels, strict=True))
    order = np.argsort(tree, kind="stable")
    tree, kind, old = tree[order], kind[order], old[order]
    split = forest.feature[old] >= 0
    is_split = split & (kind != EXIT)
    tree_start = np.searchsorted(tree, np.arange(forest.n_trees + 1)).astype(np.int64)
    splits_before = np.cumsum(is_split) - is_split
    splits_before -= np.repeat(splits_before[tree_start[:-1]], np.diff(tree_start))
    left = np.where(is_split, 1 + 2 * splits_before, LEAF).astype(np.int32)
    thresholds = [forest.threshold[old], guards.below[old], guards.above[old]]
    n_samples = np.where(kind == EXIT, 1, forest.n_samples[old]).astype(np.int32)
    for parents, children in reversed(list(split_levels(tree_start, left))):
        n_samples[parents] = n_samples[children] + n_samples[children + 1]
    return Forest(
        forest.n_features,
        tree_start,
        np.where(is_split, forest.feature[old], LEAF).astype(np.int32),
        np.where(is_split, np.choose(np.minimum(kind, ABOVE), thresholds), np.float32(0)).astype(np.float32),
        left,
        # A missing value passes every guard.
        np.where(kind == NODE, forest.missing_left[old], kind == ABOVE),
        np.where(kind == EXIT, depth[old], forest.path_length[old]).astype(np.float32),
        n_samples,
    )
