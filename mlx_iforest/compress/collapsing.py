"""Collapsing: a forest with fewer nodes, whose leaf values move no further than a budget over all trees allows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_iforest.forest import LEAF, Forest

__all__ = ["Collapsed", "collapse", "share_budget"]

SPLIT_ARRAYS = ("feature", "threshold", "missing_left", "direction_feature", "direction_weight")

HALVINGS = 50
"""Of the range of magnitudes in which the price of deviation is searched."""

SMALLEST_COST = 1e-12
"""Below it a deviation is rounding."""


@dataclass(frozen=True)
class Collapsed:
    """A collapsed forest, and what its leaves stand for.

    Parameters
    ----------
    forest : Forest
    values : ndarray of float64, shape (n_nodes, n_columns)
        Of each leaf, what counts.
    lowest, highest : ndarray of float64, shape (n_nodes, n_columns)
        Of the leaves that each leaf took the place of, the range of what counted. Inner nodes: of all leaves below.
    """

    forest: Forest
    values: NDArray[np.float64]
    lowest: NDArray[np.float64]
    highest: NDArray[np.float64]


def collapse(forest: Forest, weights: dict[str, NDArray[np.float64]], budget: float) -> Collapsed:
    """Turn subtrees into leaves where that moves little, and leave out what no row can reach.

    What counts of a leaf are `n_columns` weighted sums of its values. A tree's deviation is the largest change of any
    of them at any of its leaves; the deviations of all trees add up to at most `budget`, so that the mean of a column
    over the trees moves by at most ``budget / n_trees``, for any row whatsoever. A leaf in place of a subtree gets the
    mean of the subtree's leaves, weighted by their samples, moved towards the middle of their range as far as the
    tree's deviation asks for, and keeps its number of samples.

    Parameters
    ----------
    forest : Forest
    weights : dict of name to ndarray of float64, shape (n_columns,)
        Of each of the forest's leaf values (`path_length`, and `log_density` where it has one), its weight in each
        column. Each column is of one value, or there is one column only.
    budget : float
        0 or more, or infinity.

    Returns
    -------
    Collapsed
    """
    forest.ensure_valid()
    roots, left, right = _live_children(forest)
    node_tree = np.repeat(np.arange(forest.n_trees), np.diff(forest.tree_start))
    names = list(weights)
    arrays = np.stack([getattr(forest, name).astype(np.float64) for name in names], axis=1)
    weight = np.stack([weights[name] for name in names])
    ranges = _Ranges.of(forest, roots, left, right, arrays, weight)

    inner = ranges.inner
    allowed = share_budget(ranges.cost[inner], node_tree[inner], forest.n_trees, budget)
    gone = np.zeros(forest.n_nodes, np.bool_)
    gone[inner] = ranges.cost[inner] <= allowed[node_tree[inner]]
    arrays[gone] = ranges.replacement(gone, allowed[node_tree[gone]])

    levels, level = [], roots
    while len(level):
        levels.append(level)
        split = level[(forest.feature[level] >= 0) & ~gone[level]]
        level = np.stack([left[split], right[split]], axis=1).ravel()
    order = np.concatenate(levels)
    order = order[np.argsort(node_tree[order], kind="stable")]
    is_split = (forest.feature[order] >= 0) & ~gone[order]
    tree_start = np.searchsorted(node_tree[order], np.arange(forest.n_trees + 1)).astype(np.int64)

    given: dict[str, Any] = {name: array[order] for name, array in forest.arrays().items() if name in SPLIT_ARRAYS}
    for name, array in given.items():
        array[~is_split] = LEAF if name == "feature" else 0
    grown = Forest.from_growth(forest.n_features, tree_start, **given, n_samples=forest.n_samples[order])
    leaf_values = np.where(is_split[:, None], 0, arrays[order]).astype(np.float32)
    # Path lengths that do not count are those of the new trees: they take no bytes in a packed forest.
    counted = {n: v for n, v in zip(names, leaf_values.T.copy(), strict=True) if weights[n].any() or n != "path_length"}
    found = Forest(forest.n_features, **{**grown.arrays(), **counted})
    return Collapsed(found, leaf_values @ weight, ranges.lowest[order], ranges.highest[order])


def _live_children(forest: Forest) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Roots, and the left and right child of every split, as indices over all nodes.

    Where a split can send rows one way only, because splits above it on the same feature let no others through, its
    child on that way stands in its place. Splits on several features are all taken to be live.
    """
    split = np.flatnonzero(forest.feature >= 0)
    sizes = np.diff(forest.tree_start)
    left = forest.left + np.repeat(forest.tree_start[:-1], sizes)
    ahead = np.arange(forest.n_nodes)
    if forest.direction_feature is None:
        parent = np.full(forest.n_nodes, -1)
        parent[left[split]] = parent[left[split] + 1] = split
        is_left = np.zeros(forest.n_nodes, np.bool_)
        is_left[left[split]] = True
        # What reaches a split of its feature: the values in (low, high], and NaN or not.
        low, high = np.full(len(split), -np.inf), np.full(len(split), np.inf)
        missing = np.ones(len(split), np.bool_)
        child, above = split, parent[split]
        while np.any(above >= 0):
            same = (above >= 0) & (forest.feature[above] == forest.feature[split])
            cut, went_left = forest.threshold[above], is_left[child]
            high = np.where(same & went_left, np.minimum(high, cut), high)
            low = np.where(same & ~went_left, np.maximum(low, cut), low)
            missing &= ~same | (forest.missing_left[above] == went_left)
            child, above = np.maximum(above, 0), np.where(above >= 0, parent[above], -1)
        cut, missing_left = forest.threshold[split], forest.missing_left[split]
        goes_left = (low < np.minimum(high, cut)) | (missing & missing_left)
        goes_right = (np.maximum(low, cut) < high) | (missing & ~missing_left)
        ahead[split[~goes_right]] = left[split[~goes_right]]
        ahead[split[goes_right & ~goes_left]] = left[split[goes_right & ~goes_left]] + 1
        while np.any(ahead != ahead[ahead]):
            ahead = ahead[ahead]
    right = np.minimum(left + 1, forest.n_nodes - 1)
    return ahead[forest.tree_start[:-1]], ahead[left], ahead[right]


@dataclass(frozen=True)
class _Ranges:
    """Of every live node, the range of what counts of the leaves below it, and the deviation of one value for all.

    Parameters
    ----------
    inner : ndarray of int64
        The live splits.
    lowest, highest : ndarray of float64, shape (n_nodes, n_columns)
    mean, middle : ndarray of float64, shape (n_nodes, n_values)
        Leaf values: the mean weighted by samples, and the middle between the leaves at the ends of the range. The
        middle is a float32.
    weight : ndarray of float64, shape (n_values, n_columns)
    cost : ndarray of float64, shape (n_nodes,)
        The deviation of the middle. It never falls from a node to its parent.
    """

    inner: NDArray[np.int64]
    lowest: NDArray[np.float64]
    highest: NDArray[np.float64]
    mean: NDArray[np.float64]
    middle: NDArray[np.float64]
    weight: NDArray[np.float64]
    cost: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        forest: Forest,
        roots: NDArray[np.int64],
        left: NDArray[np.int64],
        right: NDArray[np.int64],
        arrays: NDArray[np.float64],
        weight: NDArray[np.float64],
    ) -> _Ranges:
        levels, level = [], roots
        while len(level := level[forest.feature[level] >= 0]):
            levels.append(level)
            level = np.concatenate([left[level], right[level]])
        column = np.abs(weight).argmax(axis=1)
        values = arrays @ weight
        lowest, highest = values.copy(), values.copy()
        lowest_leaf = np.repeat(np.arange(forest.n_nodes)[:, None], weight.shape[1], axis=1)
        highest_leaf = lowest_leaf.copy()
        count = forest.n_samples.astype(np.float64)
        total = arrays * count[:, None]
        middle, cost = arrays.copy(), np.zeros(forest.n_nodes)
        for level in reversed(levels):
            a, b = left[level], right[level]
            count[level], total[level] = count[a] + count[b], total[a] + total[b]
            lowest_leaf[level] = np.where(lowest[a] <= lowest[b], lowest_leaf[a], lowest_leaf[b])
            highest_leaf[level] = np.where(highest[a] >= highest[b], highest_leaf[a], highest_leaf[b])
            lowest[level] = np.minimum(lowest[a], lowest[b])
            highest[level] = np.maximum(highest[a], highest[b])
            ends = [leaf[level][:, column] for leaf in (lowest_leaf, highest_leaf)]
            place = np.arange(len(column))
            middle[level] = ((arrays[ends[0], place] + arrays[ends[1], place]) / 2).astype(np.float32)
            deviation = _deviation(middle[level] @ weight, lowest[level], highest[level])
            cost[level] = np.maximum(deviation, np.maximum(cost[a], cost[b]))
        inner = np.concatenate([np.empty(0, np.int64), *levels])
        return cls(inner, lowest, highest, total / count[:, None], middle, weight, cost)

    def replacement(self, nodes: NDArray[np.bool_], allowed: NDArray[np.float64]) -> NDArray[np.float64]:
        """Leaf values in place of the subtrees at `nodes`, float32 in float64, which deviate by at most `allowed`."""
        mean, middle, lowest, highest = (a[nodes] for a in (self.mean, self.middle, self.lowest, self.highest))
        here, way = mean @ self.weight, (middle - mean) @ self.weight
        bound = allowed[:, None]
        short = np.clip(here, highest - bound, lowest + bound) - here
        share = np.divide(short, way, out=np.zeros_like(way), where=way != 0).max(axis=1, initial=0.0)
        moved = (mean + np.minimum(share, 1.0)[:, None] * (middle - mean)).astype(np.float32).astype(np.float64)
        fits = _deviation(moved @ self.weight, lowest, highest) <= allowed
        return np.where(fits[:, None], moved, middle)


def _deviation(
    value: NDArray[np.float64], lowest: NDArray[np.float64], highest: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The furthest that any column lies from an end of its range."""
    return np.maximum(value - lowest, highest - value).max(axis=1)


def share_budget(
    cost: NDArray[np.float64], tree: NDArray[np.int64], n_trees: int, budget: float
) -> NDArray[np.float64]:
    """The deviation that each tree may have, such that as many splits as possible collapse.

    A tree pays for its most costly collapse only; all splits that cost no more come with it. So each tree has a curve,
    splits against deviation. At a price of a unit of deviation, each tree takes the deviation with the most splits less
    what it costs; the price at which the budget just suffices spends it best, apart from a rest, which goes
    to single steps, the best first.

    Parameters
    ----------
    cost : ndarray of float64, shape (n_splits,)
    tree : ndarray of int64, shape (n_splits,)
    n_trees : int
    budget : float
        For the sum over all trees.

    Returns
    -------
    ndarray of float64, shape (n_trees,)
        Collapse what costs no more than this.
    """
    allowed = np.zeros(n_trees)
    if not len(cost):
        return allowed
    order = np.lexsort((cost, tree))
    cost, tree = cost[order], tree[order]
    with_splits, start, size = np.unique(tree, return_index=True, return_counts=True)
    rank = np.arange(1, len(cost) + 1) - np.repeat(start, size)

    def at_price(price: float) -> NDArray[np.float64]:
        worth = rank - price * cost
        best = np.repeat(np.maximum.reduceat(worth, start), size)
        return np.minimum.reduceat(np.where((worth == best) & (worth > 0), cost, np.inf), start)

    low, high = 0.5 / max(cost.max(), SMALLEST_COST), float(2 * np.max(rank / np.maximum(cost, SMALLEST_COST)))
    chosen = at_price(0.0)
    if chosen.sum() > budget:
        chosen = np.zeros(len(start))
        for _ in range(HALVINGS):
            price = (low * high) ** 0.5
            found = np.where(np.isinf(taken := at_price(price)), 0.0, taken)
            if found.sum() > budget:
                low = price
            else:
                high, chosen = price, found
    allowed[with_splits] = chosen
    while (rest := budget - allowed.sum()) > 0:
        more = cost - allowed[tree]
        fits = np.flatnonzero((more > 0) & (more <= rest))
        if not len(fits):
            break
        had = np.add.reduceat(more <= 0, start, dtype=np.int64)
        gain = rank[fits] - np.repeat(had, size)[fits]
        step = fits[np.argmax(gain / more[fits])]
        allowed[tree[step]] = cost[step]
    return allowed
