"""`GrowthPlan`: all that a grower needs to know besides the data."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from mlx_iforest import randomness
from mlx_iforest.forest import MOST_FEATURES
from mlx_iforest.kernel_input import check_rows
from mlx_iforest.randomness import Stream
from mlx_iforest.scoring import depth_limit

__all__ = ["ATTEMPTS", "TINY", "GrowthPlan"]

ATTEMPTS = 4
"""Split features drawn, and rejected when constant in the node, before the non-constant ones are listed."""

TINY = np.float32(2.0**-126)
"""The smallest normal float32: what a range is at least taken for when divided by."""


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
    extension_level : int
        0 splits on one feature; k on a direction in k + 1 features.
    row_table : ndarray of int64, shape (n_trees, subsample_size), or None
        The rows of each tree, where they are not the plan's own draws.
    """

    seed: int
    first_tree: int
    n_trees: int
    n_samples: int
    n_features: int
    subsample_size: int
    features_per_tree: int
    bootstrap: bool = False
    extension_level: int = 0
    row_table: NDArray[np.int64] | None = field(default=None, repr=False)

    def check_rows(self, X: NDArray[np.float32]) -> NDArray[np.float32]:
        """Rows to grow the trees from, in C order; growers do not look where an array ends.

        Raises
        ------
        ValueError
            `X` is no float32 of shape (n_samples, n_features), or the plan asks for rows or features that there are
            not.
        """
        X = check_rows(X, self.n_features)
        if len(X) != self.n_samples:
            raise ValueError(f"X has {len(X)} rows; the plan is for {self.n_samples}")
        if self.n_trees < 1 or self.subsample_size < 1 or self.extension_level < 0:
            raise ValueError("a plan must have a tree of a row, and an extension level of 0 or more")
        if not 1 <= self.features_per_tree <= self.n_features <= MOST_FEATURES:
            raise ValueError(
                f"features_per_tree is {self.features_per_tree}; expected a number in [1, {self.n_features}], and at"
                f" most {MOST_FEATURES} features"
            )
        if self.row_table is not None:
            shape = (self.n_trees, self.subsample_size)
            if self.row_table.shape != shape or self.row_table.min() < 0 or self.row_table.max() >= self.n_samples:
                raise ValueError(f"row_table must hold numbers in [0, {self.n_samples}) in the shape {shape}")
        elif not self.bootstrap and self.subsample_size > self.n_samples:
            raise ValueError(f"{self.subsample_size} of {self.n_samples} rows cannot be drawn without replacement")
        return X

    @property
    def max_depth(self) -> int:
        return depth_limit(self.subsample_size)

    @property
    def tree_numbers(self) -> NDArray[np.int64]:
        return np.arange(self.first_tree, self.first_tree + self.n_trees)

    def slice(self, start: int, count: int) -> GrowthPlan:
        """The plan for `count` of these trees, from the `start`-th on."""
        rows = None if self.row_table is None else self.row_table[start : start + count]
        return replace(self, first_tree=self.first_tree + start, n_trees=count, row_table=rows)

    def with_rows(self, rows: NDArray[np.int64], n_samples: int) -> GrowthPlan:
        """The same trees from given rows of data that has `n_samples` rows."""
        return replace(self, n_samples=n_samples, subsample_size=rows.shape[1], row_table=rows)

    def rows(self) -> NDArray[np.int64]:
        """The rows of each tree, shape (n_trees, subsample_size)."""
        if self.row_table is not None:
            return self.row_table
        if not self.bootstrap:
            return randomness.sample(self.seed, self.tree_numbers, Stream.ROWS, self.n_samples, self.subsample_size)
        keys = randomness.tree_keys(self.seed, self.tree_numbers, Stream.ROWS)
        positions = np.arange(self.subsample_size, dtype=np.uint32)[None, :]
        word, _ = randomness.threefry2x32(keys[:, :1], keys[:, 1:], positions, np.zeros_like(positions))
        return randomness.bounded(word, self.n_samples)

    def weighted_rows(self, sample_weight: NDArray[np.float64]) -> NDArray[np.int64]:
        """The rows of each tree, drawn with chances in proportion to weights; shape (n_trees, subsample_size).

        Without replacement the rows with the smallest ``-log(u) / weight`` are taken, which is the same as drawing one
        after the other (Efraimidis and Spirakis, 2006). A row of weight zero is never drawn.
        """
        drawable = np.flatnonzero(sample_weight > 0)
        weight = sample_weight[drawable]
        rows = np.empty((self.n_trees, self.subsample_size), np.int64)
        if self.bootstrap:
            positions = np.arange(self.subsample_size, dtype=np.uint32)
            cumulative = np.cumsum(weight) / weight.sum()
        else:
            positions = drawable.astype(np.uint32)
        for i, key in enumerate(randomness.tree_keys(self.seed, self.tree_numbers, Stream.ROWS)):
            high, low = randomness.threefry2x32(key[:1], key[1:], positions, np.zeros_like(positions))
            u = (high.astype(np.float64) + (low.astype(np.float64) + 0.5) * 2.0**-32) * 2.0**-32
            if self.bootstrap:
                rows[i] = drawable[np.minimum(np.searchsorted(cumulative, u, side="right"), len(drawable) - 1)]
            else:
                rows[i] = drawable[np.argsort(-np.log(u) / weight, kind="stable")[: self.subsample_size]]
        return rows

    def features(self) -> NDArray[np.int64]:
        """The features of each tree, shape (n_trees, features_per_tree)."""
        return randomness.sample(self.seed, self.tree_numbers, Stream.FEATURES, self.n_features, self.features_per_tree)

    def split_keys(self) -> NDArray[np.uint32]:
        """The key of each tree's splits, shape (n_trees, 2)."""
        return randomness.tree_keys(self.seed, self.tree_numbers, Stream.SPLITS)
