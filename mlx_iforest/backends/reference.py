"""The plain version of everything, one node and one row at a time: slow, obvious, and what the others must equal."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_iforest.forest import LEAF, Forest
from mlx_iforest.growth import ATTEMPTS, GrowthPlan
from mlx_iforest.randomness import bounded, threefry2x32

__all__ = ["ReferenceBackend", "draw_threshold"]


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


def _choose_split(
    X: NDArray[np.float32], features: NDArray[np.int64], key: NDArray[np.uint32], node: int
) -> tuple[int, np.float32, bool] | None:
    """(feature, threshold, whether missing values go left if there are any), or None where nothing can be split."""
    for attempt in range(ATTEMPTS):
        word0, word1 = _draw(key, node, attempt)
        feature = int(features[bounded(word0, len(features))[0]])
        found = _range(X[:, feature])
        if found:
            break
    else:
        splittable = [int(f) for f in features if _range(X[:, f])]
        if not splittable:
            return None
        word0, word1 = _draw(key, node, ATTEMPTS)
        feature = splittable[int(bounded(word0, len(splittable))[0])]
        found = _range(X[:, feature])
    if found is None:
        raise AssertionError("a chosen feature has a range")
    low, high = found
    return feature, draw_threshold(np.array([low]), np.array([high]), word1)[0], bool(word1[0] & 1)


def grow_tree(
    X: NDArray[np.float32], features: NDArray[np.int64], key: NDArray[np.uint32], max_depth: int
) -> list[tuple[int, np.float32, bool, int]]:
    """One tree: (feature, threshold, missing_left, n_samples) of each node, breadth-first.

    A node is left alone when it holds one sample, lies at the depth limit, or has no feature with two different values
    (Liu, Ting and Zhou, 2008, algorithm 2).
    """
    nodes: list[tuple[int, np.float32, bool, int]] = []
    queue: deque[tuple[int, int, NDArray[np.float32]]] = deque([(1, 0, X)])
    while queue:
        node, depth, rows = queue.popleft()
        split = _choose_split(rows, features, key, node) if len(rows) > 1 and depth < max_depth else None
        if split is None:
            nodes.append((LEAF, np.float32(0), False, len(rows)))
            continue
        feature, threshold, missing_left = split
        values = rows[:, feature]
        missing = np.isnan(values)
        goes_left = values <= threshold
        if not missing.any():
            missing_left = bool(2 * goes_left.sum() >= len(rows))
        goes_left |= missing & missing_left
        nodes.append((feature, threshold, missing_left, len(rows)))
        queue.append((2 * node, depth + 1, rows[goes_left]))
        queue.append((2 * node + 1, depth + 1, rows[~goes_left]))
    return nodes


def path_length(forest: Forest, tree: int, x: NDArray[np.float32]) -> np.float32:
    """Path length of one row in one tree."""
    start = forest.tree_start[tree]
    node = start
    while forest.feature[node] != LEAF:
        value = x[forest.feature[node]]
        goes_left = forest.missing_left[node] if np.isnan(value) else value <= forest.threshold[node]
        node = start + forest.left[node] + (0 if goes_left else 1)
    return forest.path_length[node]


class ReferenceBackend:
    """For tests."""

    name = "reference"

    def grow(self, X: NDArray[np.float32], plan: GrowthPlan, *, n_threads: int = 1) -> Forest:
        trees = [
            grow_tree(X[rows], features, key, plan.max_depth)
            for rows, features, key in zip(plan.rows(), plan.features(), plan.split_keys(), strict=True)
        ]
        nodes = [node for tree in trees for node in tree]
        feature, threshold, missing_left, n_samples = zip(*nodes, strict=True)
        return Forest.from_growth(
            plan.n_features,
            np.cumsum([0] + [len(tree) for tree in trees]).astype(np.int64),
            np.array(feature, np.int32),
            np.array(threshold, np.float32),
            np.array(missing_left, np.bool_),
            np.array(n_samples, np.int32),
        )

    def path_lengths(
        self, forest: Forest, X: NDArray[np.float32], *, n_threads: int = 1, batch_size: int | None = None
    ) -> NDArray[np.float64]:
        return np.array(
            [np.mean([path_length(forest, tree, x) for tree in range(forest.n_trees)], dtype=np.float64) for x in X]
        )

    def peak_memory(self) -> int | None:
        return None

    def describe(self) -> dict[str, Any]:
        return {"numpy": np.__version__}
