"""`Forest`: the one contract. Every grower returns it, every scorer reads it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_iforest.scoring import average_path_length

__all__ = ["Forest", "InvalidForestError"]

LEAF = -1


class InvalidForestError(ValueError):
    """The arrays given are no forest; the message names the first fault."""


@dataclass(frozen=True, eq=False)
class Forest:
    """Isolation trees as flat arrays over all nodes of all trees.

    The nodes of a tree lie together, breadth-first; the two children of a node lie side by side. Everything below is
    read-only.

    Parameters
    ----------
    n_features : int
        Columns of the data that the trees ask about.
    tree_start : ndarray of int64, shape (n_trees + 1,)
        Where each tree's nodes begin; the last entry is the number of nodes.
    feature : ndarray of int32, shape (n_nodes,)
        Split feature; -1 at a leaf.
    threshold : ndarray of float32, shape (n_nodes,)
        A value <= threshold goes left. 0 at a leaf.
    left : ndarray of int32, shape (n_nodes,)
        Index, in the tree, of the left child; the right child is ``left + 1``. -1 at a leaf.
    missing_left : ndarray of bool, shape (n_nodes,)
        Whether a missing value (NaN) goes left.
    path_length : ndarray of float32, shape (n_nodes,)
        At a leaf: its depth + c(training samples there) (see `scoring.average_path_length`). 0 at inner nodes.
    n_samples : ndarray of int32, shape (n_nodes,)
        Training samples that reached the node.
    """

    n_features: int
    tree_start: NDArray[np.int64]
    feature: NDArray[np.int32]
    threshold: NDArray[np.float32]
    left: NDArray[np.int32]
    missing_left: NDArray[np.bool_]
    path_length: NDArray[np.float32]
    n_samples: NDArray[np.int32]

    def __post_init__(self) -> None:
        for name in ARRAYS:
            getattr(self, name).setflags(write=False)

    @classmethod
    def from_growth(
        cls,
        n_features: int,
        tree_start: NDArray[np.int64],
        feature: NDArray[np.int32],
        threshold: NDArray[np.float32],
        missing_left: NDArray[np.bool_],
        n_samples: NDArray[np.int32],
    ) -> Forest:
        """Complete what growers find out: children, depths and path lengths follow from which nodes split.

        In breadth-first order the left child of a node stands behind the root and two children for every
        split before it in the tree.
        """
        is_split = feature >= 0
        splits_before: NDArray[np.int64] = np.cumsum(is_split) - is_split
        node_tree = np.repeat(np.arange(len(tree_start) - 1), np.diff(tree_start))
        splits_before -= splits_before[tree_start[node_tree]]
        left = np.where(is_split, 1 + 2 * splits_before, LEAF).astype(np.int32)
        depth = _depths(tree_start, left, node_tree)
        path_length = np.where(is_split, 0.0, depth + average_path_length(n_samples)).astype(np.float32)
        return cls(n_features, tree_start, feature, threshold, left, missing_left, path_length, n_samples)

    @property
    def n_trees(self) -> int:
        return len(self.tree_start) - 1

    @property
    def n_nodes(self) -> int:
        return int(self.tree_start[-1])

    @property
    def subsample_size(self) -> int:
        """Samples that each tree was grown on."""
        return int(self.n_samples[0])

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(getattr(self, name).nbytes for name in ARRAYS)

    @cached_property
    def tree_depths(self) -> NDArray[np.int32]:
        """Edges from the root to the deepest leaf of each tree, shape (n_trees,)."""
        node_tree = np.repeat(np.arange(self.n_trees), np.diff(self.tree_start))
        depths = _depths(self.tree_start, self.left, node_tree)
        return np.maximum.reduceat(depths, self.tree_start[:-1])

    @property
    def max_depth(self) -> int:
        """Edges from a root to the deepest leaf of all trees."""
        return int(self.tree_depths.max())

    def trees(self, start: int, stop: int) -> Forest:
        """The trees [start, stop) as a forest of their own; arrays are views."""
        first, last = self.tree_start[start], self.tree_start[stop]
        arrays = {name: getattr(self, name)[first:last] for name in ARRAYS if name != "tree_start"}
        return Forest(self.n_features, self.tree_start[start : stop + 1] - first, **arrays)

    @staticmethod
    def concatenate(forests: Sequence[Forest]) -> Forest:
        """One forest of all the trees of several, in order."""
        offsets = np.cumsum([0] + [forest.n_nodes for forest in forests])
        starts = [forest.tree_start[:-1] + offset for forest, offset in zip(forests, offsets, strict=False)]
        tree_start = np.concatenate([*starts, offsets[-1:]]).astype(np.int64)
        arrays = {
            name: np.concatenate([getattr(forest, name) for forest in forests])
            for name in ARRAYS
            if name != "tree_start"
        }
        return Forest(forests[0].n_features, tree_start, **arrays)

    def equals(self, other: Forest) -> bool:
        """Whether two forests are the same bit for bit."""
        return self.n_features == other.n_features and all(
            getattr(self, name).dtype == getattr(other, name).dtype
            and getattr(self, name).shape == getattr(other, name).shape
            and getattr(self, name).tobytes() == getattr(other, name).tobytes()
            for name in ARRAYS
        )

    def validate(self) -> Forest:
        """Check every invariant; for forests that come from outside.

        Returns
        -------
        Forest
            Itself.

        Raises
        ------
        InvalidForestError
            Names the first fault found: a wrong dtype or shape, a child that is no later node of the same tree (so
            that no walk can cycle or leave the tree), a feature out of range, a threshold or path length that is not
            finite.
        """
        for name, (dtype, _) in ARRAYS.items():
            array = getattr(self, name)
            if array.dtype != dtype or array.ndim != 1:
                raise InvalidForestError(
                    f"'{name}' is {array.dtype} of shape {array.shape}; expected one-dimensional {np.dtype(dtype)}"
                )
        if len(self.tree_start) < 2 or self.tree_start[0] != 0 or np.any(np.diff(self.tree_start) < 1):
            raise InvalidForestError("'tree_start' must begin at 0 and grow by at least one node a tree")
        for name, (_, per_node) in ARRAYS.items():
            if per_node and len(getattr(self, name)) != self.n_nodes:
                raise InvalidForestError(f"'{name}' has {len(getattr(self, name))} entries for {self.n_nodes} nodes")
        if np.any(self.feature < LEAF) or np.any(self.feature >= self.n_features):
            raise InvalidForestError(f"'feature' must lie in [-1, {self.n_features})")
        is_split = self.feature >= 0
        sizes = np.diff(self.tree_start)
        position = np.arange(self.n_nodes) - np.repeat(self.tree_start[:-1], sizes)
        bad = is_split & ((self.left <= position) | (self.left > np.repeat(sizes, sizes) - 2))
        if np.any(bad):
            raise InvalidForestError(f"node {int(np.argmax(bad))}: its children must be later nodes of its tree")
        if np.any(~np.isfinite(self.threshold)):
            raise InvalidForestError(f"node {int(np.argmin(np.isfinite(self.threshold)))}: its threshold is not finite")
        if np.any(~np.isfinite(self.path_length)) or np.any(self.path_length < 0):
            raise InvalidForestError("'path_length' must be finite and not negative")
        if np.any(self.n_samples < 1):
            raise InvalidForestError("'n_samples' must be at least 1 at every node")
        children = (self.left.astype(np.int64) + np.repeat(self.tree_start[:-1], sizes))[is_split]
        parents = np.bincount(np.concatenate([children, children + 1]), minlength=self.n_nodes)
        parents[self.tree_start[:-1]] += 1
        if np.any(parents != 1):
            raise InvalidForestError(f"node {int(np.argmax(parents != 1))}: it must have exactly one parent")
        return self


ARRAYS: dict[str, tuple[Any, bool]] = {
    "tree_start": (np.int64, False),
    "feature": (np.int32, True),
    "threshold": (np.float32, True),
    "left": (np.int32, True),
    "missing_left": (np.bool_, True),
    "path_length": (np.float32, True),
    "n_samples": (np.int32, True),
}
"""The arrays of a `Forest`: dtype, and whether there is one entry a node."""

if set(ARRAYS) != {field.name for field in fields(Forest)} - {"n_features"}:
    raise TypeError("ARRAYS and the fields of Forest must name the same arrays")


def _depths(tree_start: NDArray[np.int64], left: NDArray[np.int32], node_tree: NDArray[np.int64]) -> NDArray[np.int32]:
    """Depth of every node, one level of all trees at a time."""
    depth = np.zeros(len(left), dtype=np.int32)
    level = tree_start[:-1]
    while len(level):
        level = level[left[level] >= 0]
        children = left[level] + tree_start[node_tree[level]]
        depth[children] = depth[children + 1] = depth[level] + 1
        level = np.concatenate([children, children + 1])
    return depth
