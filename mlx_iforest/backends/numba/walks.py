"""Forests that are walked: for a few rows, and for trees so large that no block should ask all their questions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlx_iforest.backends.fixed_point import LARGEST
from mlx_iforest.backends.numba.codes import check_total
from mlx_iforest.backends.numba.walking_kernels import walk
from mlx_iforest.forest import LEAF, Forest
from mlx_iforest.kernel_input import check_numbers, check_rows

__all__ = ["WalkedForest"]


@dataclass(frozen=True)
class WalkedForest:
    """A forest, and values of its leaves, as nodes of two words: a level of a walk is one look-up without a branch.

    Parameters
    ----------
    n_features : int
    tree_start : ndarray of int64, shape (n_trees + 1,)
    nodes : ndarray of uint32, shape (2 * n_nodes,)
        Of each how much further its left child lies, from bit ``feature_bits + 1`` on, then the feature, and in the
        last bit whether missing values go left; and the threshold's bits. A leaf leads back to itself: it is its own
        left child, to which all values go.
    feature_bits : int
    numbers : ndarray of int32, shape (n_nodes, n_values)
    depths : ndarray of int32, shape (n_trees,)
    """

    n_features: int
    tree_start: NDArray[np.int64]
    nodes: NDArray[np.uint32]
    feature_bits: int
    numbers: NDArray[np.int32]
    depths: NDArray[np.int32]

    def __post_init__(self) -> None:
        words = self.nodes.reshape(-1, 2).astype(np.int64)
        n_nodes = len(words)
        further = words[:, 0] >> (self.feature_bits + 1)
        leaf = further == 0
        assert np.all(words[leaf, 0] & 1), "a missing value would leave a leaf"
        assert np.all(words[leaf, 1] == np.float32(np.inf).view(np.uint32)), "a value would leave a leaf"
        assert np.all(np.arange(n_nodes)[~leaf] + further[~leaf] + 1 < n_nodes), "a walk would leave the nodes"
        feature = words[:, 0] >> 1 & (1 << self.feature_bits) - 1
        assert np.all(feature < self.n_features), "a walk would ask for a feature that is not there"
        assert len(self.numbers) == n_nodes, "a leaf has no value"

    @classmethod
    def of(cls, forest: Forest, values: NDArray[np.int32]) -> WalkedForest | None:
        """Make a forest of splits on single features ready; `values` as for `codes.CodedForest`.

        None where features and children are too many for one word.
        """
        if forest.direction_feature is not None:
            raise ValueError("a forest of oblique splits has no single features to look up")
        forest.ensure_valid()
        check_numbers(forest, values, LARGEST)
        is_leaf = forest.feature == LEAF
        root = np.repeat(forest.tree_start[:-1], np.diff(forest.tree_start))
        further = np.where(is_leaf, 0, root + forest.left - np.arange(forest.n_nodes))
        feature_bits = int(forest.n_features).bit_length()
        if int(further.max()).bit_length() + feature_bits + 1 > 32:
            return None
        nodes = np.empty((forest.n_nodes, 2), np.uint32)
        nodes[:, 0] = further << (feature_bits + 1) | np.maximum(forest.feature, 0) << 1 | forest.missing_left | is_leaf
        nodes[:, 1] = np.where(is_leaf, np.float32(np.inf), forest.threshold).view(np.uint32)
        return cls(forest.n_features, forest.tree_start, nodes.reshape(-1), feature_bits, values, forest.tree_depths)

    def add_leaf_values(self, X: NDArray[np.float32], total: NDArray[np.float64]) -> None:
        """Add the values of every row's leaf in every tree to `total`, float64 of shape (n_samples, n_values)."""
        X = check_rows(X, self.n_features)
        check_total(total, (len(X), self.numbers.shape[1]))
        walk(self.tree_start, self.nodes, self.feature_bits, self.numbers, self.depths, X, total)
