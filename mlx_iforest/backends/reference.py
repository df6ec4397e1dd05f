"""The plain version of everything, one node and one row at a time: slow, obvious, and what the others must equal."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_iforest.forest import LEAF, Forest
from mlx_iforest.growth import ATTEMPTS, TINY, GrowthPlan
from mlx_iforest.randomness import bounded, threefry2x32

__all__ = ["ReferenceBackend", "draw_coefficient", "draw_threshold"]


ZERO = np.float32(0)


def draw_threshold(
    low: NDArray[np.float32], high: NDArray[np.float32], word: NDArray[np.uint32]
) -> NDArray[np.float32]:
    """A threshold in [low, high), uniform: the upper 24 bits of a draw decide.

    Halves are exact in float32 and keep ``high - low`` from overflowing. Where rounding reaches `high`, `low` is
    taken: neither side of a split is ever empty. Adding zero turns a negative zero into a positive one, so that equal
    thresholds are equal bits.
    """
    u = (word >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24)
    half = np.float32(0.5)
    threshold = np.float32(2) * (low * half + u * (high * half - low * half))
    threshold = np.where((threshold < low) | (threshold >= high), low, threshold)
    return threshold + np.float32(0)


def _draw(key: NDArray[np.uint32], node: int, attempt: int) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    return threefry2x32(key[:1], key[1:], np.array([node], np.uint32), np.array([attempt], np.uint32))


def _range(values: NDArray[np.float32]) -> tuple[np.float32, np.float32] | None:
    """Smallest and largest value present, or None where there are not two different ones."""
    present = values[~np.isnan(values)]
    if present.size == 0 or present.min() == present.max():
        return None
    return present.min(), present.max()


def draw_coefficient(low: np.float32, high: np.float32, word: NDArray[np.uint32]) -> np.float32:
    """A coefficient of an oblique split, about normal and in units of the feature's range in the node.

    Four bytes of a draw, added up, are near enough to a normal variable, and integers are the same on every machine.
    Dividing by the range makes directions independent of the features' units.
    """
    total = sum(int(word[0]) >> 8 * k & 255 for k in range(4)) - 510
    width = max(high * np.float32(0.5) - low * np.float32(0.5), TINY)
    return np.float32(np.float32(total or 1) * np.float32(2.0**-9) / width)


@dataclass
class Split:
    """How a node splits: the direction, a single feature of weight 1 where it is plain, and what was drawn."""

    features: list[int]
    weights: list[np.float32]
    low: np.float32
    high: np.float32
    word: NDArray[np.uint32]

    def values(self, X: NDArray[np.float32]) -> NDArray[np.float32]:
        if self.weights == [1]:
            return X[:, self.features[0]]
        return project(X, self.features, self.weights)


def project(
    X: NDArray[np.float32], features: Sequence[int] | NDArray[np.integer], weights: Sequence[np.float32] | NDArray[Any]
) -> NDArray[np.float32]:
    """Weighted sums, term after term in float32: the order and the roundings are part of the definition."""
    total = np.zeros(len(X), np.float32)
    for feature, weight in zip(features, weights, strict=True):
        total = total + X[:, feature] * weight
    return total


def _choose_split(
    X: NDArray[np.float32], features: NDArray[np.int64], key: NDArray[np.uint32], node: int
) -> Split | None:
    """A split on one feature, drawn among those that are not constant here; None where all are."""
    for attempt in range(ATTEMPTS):
        word0, word1 = _draw(key, node, attempt)
        feature = _pick(features, word0)
        if found := _range(X[:, feature]):
            return Split([feature], [np.float32(1)], *found, word1)
    splittable = np.array([_range(X[:, f]) is not None for f in features])
    if not splittable.any():
        return None
    word0, word1 = _draw(key, node, ATTEMPTS)
    feature = _pick(features[splittable], word0)
    found = _range(X[:, feature])
    return Split([feature], [np.float32(1)], *found, word1) if found else None


def _pick(features: NDArray[np.int64], word: NDArray[np.uint32]) -> int:
    return int(features[bounded(word, len(features))[0]])


def _choose_direction(
    X: NDArray[np.float32], features: NDArray[np.int64], extension_level: int, key: NDArray[np.uint32], node: int
) -> Split | None:
    """A split on a random direction in `extension_level` + 1 features (or all that are not constant, if fewer)."""
    remaining = [int(f) for f in features if _range(X[:, f])]
    chosen, weights = [], []
    for k in range(min(extension_level + 1, len(remaining))):
        word0, word1 = _draw(key, node, ATTEMPTS + 1 + k)
        feature = remaining.pop(int(bounded(word0, len(remaining))[0]))
        low, high = np.nanmin(X[:, feature]), np.nanmax(X[:, feature])
        chosen.append(feature)
        weights.append(draw_coefficient(low, high, word1))
    found = _range(project(X, chosen, weights)) if chosen else None
    return Split(chosen, weights, *found, _draw(key, node, ATTEMPTS)[1]) if found else None


@dataclass
class Node:
    """A grown node; a leaf has no split."""

    n_samples: int
    split: Split | None = None
    threshold: np.float32 = ZERO
    missing_left: bool = False

    @property
    def left_share(self) -> np.float32:
        if self.split is None:
            return np.float32(0)
        half = np.float32(0.5)
        low, high = self.split.low * half, self.split.high * half
        return np.float32((self.threshold * half - low) / max(high - low, TINY))


def grow_tree(
    X: NDArray[np.float32], features: NDArray[np.int64], key: NDArray[np.uint32], plan: GrowthPlan
) -> list[Node]:
    """The nodes of one tree, breadth-first.

    A node is left alone when it holds one sample, lies at the depth limit, or has no feature with two different values
    (Liu, Ting and Zhou, 2008, algorithm 2). Oblique splits are those of Hariri, Kind and Brunner (2019), with the
    threshold drawn from the range of the projections, so that neither side is ever empty.
    """
    nodes: list[Node] = []
    queue: deque[tuple[int, int, NDArray[np.float32]]] = deque([(1, 0, X)])
    while queue:
        number, depth, rows = queue.popleft()
        node = Node(len(rows))
        nodes.append(node)
        if len(rows) == 1 or depth == plan.max_depth:
            continue
        if plan.extension_level:
            node.split = _choose_direction(rows, features, plan.extension_level, key, number)
        else:
            node.split = _choose_split(rows, features, key, number)
        if node.split is None:
            continue
        values = node.split.values(rows)
        low, high = np.array([node.split.low]), np.array([node.split.high])
        node.threshold = draw_threshold(low, high, node.split.word)[0]
        missing = np.isnan(values)
        goes_left = values <= node.threshold
        if missing.any():
            node.missing_left = bool(node.split.word[0] & 1)
        else:
            node.missing_left = bool(2 * goes_left.sum() >= len(rows))
        goes_left |= missing & node.missing_left
        queue.append((2 * number, depth + 1, rows[goes_left]))
        queue.append((2 * number + 1, depth + 1, rows[~goes_left]))
    return nodes


def leaf(forest: Forest, tree: int, x: NDArray[np.float32]) -> int:
    """The leaf, as an index over all nodes, that one row falls into in one tree."""
    start = int(forest.tree_start[tree])
    node = start
    while forest.feature[node] != LEAF:
        value = x[forest.feature[node]]
        if forest.direction_feature is not None and forest.direction_weight is not None:
            value = project(x[None, :], forest.direction_feature[node], forest.direction_weight[node])[0]
        goes_left = forest.missing_left[node] if np.isnan(value) else value <= forest.threshold[node]
        node = start + int(forest.left[node]) + (0 if goes_left else 1)
    return node


class ReferenceBackend:
    """For tests."""

    name = "reference"

    def piece_rows(self, n_rows: int, n_features: int, n_threads: int) -> None:
        return None

    def grow(self, X: NDArray[np.float32], plan: GrowthPlan, *, n_threads: int = 1) -> Forest:
        trees = [
            grow_tree(X[rows], features, key, plan)
            for rows, features, key in zip(plan.rows(), plan.features(), plan.split_keys(), strict=True)
        ]
        nodes = [node for tree in trees for node in tree]
        directions: dict[str, Any] = {}
        if plan.extension_level:
            width = plan.extension_level + 1
            directions["direction_feature"] = np.array([_padded_features(node, width) for node in nodes], np.int32)
            directions["direction_weight"] = np.array([_padded_weights(node, width) for node in nodes], np.float32)
        return Forest.from_growth(
            plan.n_features,
            np.cumsum([0] + [len(tree) for tree in trees]).astype(np.int64),
            np.array([node.split.features[0] if node.split else LEAF for node in nodes], np.int32),
            np.array([node.threshold for node in nodes], np.float32),
            np.array([node.missing_left for node in nodes], np.bool_),
            np.array([node.n_samples for node in nodes], np.int32),
            np.array([node.left_share for node in nodes], np.float32),
            **directions,
        )

    def leaf_means(self, forest: Forest, values: NDArray[np.float32], X: NDArray[np.float32]) -> NDArray[np.float64]:
        leaves = [[leaf(forest, tree, x) for tree in range(forest.n_trees)] for x in X]
        return np.array([values[row].mean(axis=0, dtype=np.float64) for row in leaves])

    def peak_memory(self) -> int | None:
        return None

    def describe(self) -> dict[str, Any]:
        return {"numpy": np.__version__}


def _padded_features(node: Node, width: int) -> list[int]:
    features = node.split.features if node.split else [0]
    return features + [features[0]] * (width - len(features))


def _padded_weights(node: Node, width: int) -> list[np.float32]:
    weights = node.split.weights if node.split else []
    return weights + [np.float32(0)] * (width - len(weights))
