"""What of a forest a scoring kernel needs, with splits that change nothing left out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_iforest.forest import LEAF, Forest, split_levels

__all__ = ["DoesNotFitError", "Trees", "merge_equal_leaves"]


class DoesNotFitError(ValueError):
    """The forest has too many nodes, features or levels for the kernel's words; plain operations score it."""


def merge_equal_leaves(forest: Forest, values: NDArray[Any]) -> tuple[NDArray[np.int32], NDArray[Any]]:
    """Let splits between leaves of equal values be leaves, from the bottom up: what scores a forest need not ask there.

    Parameters
    ----------
    forest : Forest
        Valid.
    values : ndarray, shape (n_nodes,) or (n_nodes, n_values)
        Read at leaves.

    Returns
    -------
    feature : ndarray of int32, shape (n_nodes,)
        -1 also at the splits that are gone.
    values : ndarray
        Of the new leaves too.
    """
    feature, values = forest.feature.copy(), values.copy()
    rows = values.reshape(len(values), -1)
    for splits, children in reversed(list(split_levels(forest.tree_start, forest.left))):
        equal = (feature[children] == LEAF) & (feature[children + 1] == LEAF)
        equal &= (rows[children] == rows[children + 1]).all(axis=1)
        feature[splits[equal]] = LEAF
        rows[splits[equal]] = rows[children[equal]]
    return feature, values


@dataclass(frozen=True)
class Trees:
    """What of a forest scoring needs. Splits between leaves of the same values are leaves.

    Parameters
    ----------
    n_features : int
    tree_start, feature, threshold, left, missing_left, direction_feature, direction_weight
        As in `Forest`.
    numbers : ndarray of int32, shape (n_nodes, n_values)
        The leaves' values, below 2**24 in size.
    depths : ndarray of int32, shape (n_trees,)
    """

    n_features: int
    tree_start: NDArray[np.int64]
    feature: NDArray[np.int32]
    threshold: NDArray[np.float32]
    left: NDArray[np.int32]
    missing_left: NDArray[np.bool_]
    numbers: NDArray[np.int32]
    depths: NDArray[np.int32]
    direction_feature: NDArray[np.int32] | None = None
    direction_weight: NDArray[np.float32] | None = None

    @classmethod
    def of(cls, forest: Forest, numbers: NDArray[np.int32]) -> Trees:
        forest.ensure_valid()
        root = np.repeat(forest.tree_start[:-1], np.diff(forest.tree_start))
        feature, numbers = merge_equal_leaves(forest, numbers)
        depth = np.full(len(feature), -1, np.int32)
        depth[forest.tree_start[:-1]] = 0
        for splits, children in split_levels(forest.tree_start, forest.left):
            kept = (feature[splits] != LEAF) & (depth[splits] >= 0)
            depth[children[kept]] = depth[children[kept] + 1] = depth[splits[kept]] + 1
        there = depth >= 0
        place = np.cumsum(there) - 1
        left = np.where(feature != LEAF, place[np.minimum(root + forest.left, len(root) - 1)] - place[root], LEAF)
        sizes = np.add.reduceat(there, forest.tree_start[:-1])
        return cls(
            forest.n_features, np.append(0, np.cumsum(sizes)), feature[there], forest.threshold[there],
            left[there].astype(np.int32), forest.missing_left[there], numbers[there],
            np.maximum.reduceat(depth, forest.tree_start[:-1]),
            None if forest.direction_feature is None else forest.direction_feature[there],
            None if forest.direction_weight is None else forest.direction_weight[there],
        )  # fmt: skip

    @property
    def n_trees(self) -> int:
        return len(self.depths)

    @property
    def n_values(self) -> int:
        return int(self.numbers.shape[1])

    @property
    def width(self) -> int:
        """Features of an oblique split; 0 where splits are plain."""
        return 0 if self.direction_feature is None else int(self.direction_feature.shape[1])

    @property
    def largest_tree(self) -> int:
        return int(np.diff(self.tree_start).max())

    @cached_property
    def feature_thresholds(self) -> list[NDArray[np.float32]]:
        """Of each feature the distinct thresholds, increasing."""
        splits = np.flatnonzero(self.feature != LEAF)
        splits = splits[np.argsort(self.feature[splits], kind="stable")]
        bounds = np.searchsorted(self.feature[splits], np.arange(1, self.n_features))
        return [np.unique(self.threshold[part]) for part in np.split(splits, bounds)]
