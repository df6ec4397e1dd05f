"""`GrowthPlan`: all that a grower needs to know besides the data."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mlx_iforest import randomness
from mlx_iforest.randomness import Stream
from mlx_iforest.scoring import depth_limit

__all__ = ["ATTEMPTS", "GrowthPlan"]

ATTEMPTS = 4
"""Split features drawn, and rejected when constant in the node, before the non-constant ones are listed."""


@dataclass(frozen=True)
class GrowthPlan:
    """Which trees to grow, from which rows and features; a grower is a function of the data and this.

    Parameters
    ----------
    seed : int
        64 bits.
    first_tree, n_trees : int
        Trees are numbered through the life of a forest, so that growing 50 and then 50 more gives the same as growing
        100.
    n_samples, n_features : int
        Shape of the data.
    subsample_size : int
        Rows of each tree.
    features_per_tree : int
        Features of each tree.
    bootstrap : bool
        Whether rows are drawn with replacement.
    """

    seed: int
    first_tree: int
    n_trees: int
    n_samples: int
    n_features: int
    subsample_size: int
    features_per_tree: int
    bootstrap: bool = False

    @property
    def max_depth(self) -> int:
        return depth_limit(self.subsample_size)

    @property
    def tree_numbers(self) -> NDArray[np.int64]:
        return np.arange(self.first_tree, self.first_tree + self.n_trees)

    def slice(self, start: int, count: int) -> GrowthPlan:
        """The plan for `count` of these trees, from the `start`-th on."""
        return replace(self, first_tree=self.first_tree + start, n_trees=count)

    def rows(self) -> NDArray[np.int64]:
        """The rows of each tree, shape (n_trees, subsample_size)."""
        if not self.bootstrap:
            return randomness.sample(self.seed, self.tree_numbers, Stream.ROWS, self.n_samples, self.subsample_size)
        keys = randomness.tree_keys(self.seed, self.tree_numbers, Stream.ROWS)
        positions = np.arange(self.subsample_size, dtype=np.uint32)[None, :]
        word, _ = randomness.threefry2x32(keys[:, :1], keys[:, 1:], positions, np.zeros_like(positions))
        return randomness.bounded(word, self.n_samples)

    def features(self) -> NDArray[np.int64]:
        """The features of each tree, shape (n_trees, features_per_tree)."""
        return randomness.sample(self.seed, self.tree_numbers, Stream.FEATURES, self.n_features, self.features_per_tree)

    def split_keys(self) -> NDArray[np.uint32]:
        """The key of each tree's splits, shape (n_trees, 2)."""
        return randomness.tree_keys(self.seed, self.tree_numbers, Stream.SPLITS)
