"""`Forest`: the one contract. Every grower returns it, every scorer reads it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_iforest.scoring import average_path_length

__all__ = ["LEAF_VALUES", "MOST_FEATURES", "MOST_LEVELS", "Families", "Forest", "InvalidForestError", "split_levels"]

LEAF = -1
"""What `feature` and `left` are at a leaf, and nowhere else."""

LARGEST_INT32 = 2**31 - 1

MOST_FEATURES = 1 << 25
"""Of a forest. Kernels reckon places of 64 values of a feature in 32 bits."""

MOST_LEVELS = 4096
"""Of a tree. Those that are grown have 32 at most; a chain of a million nodes would take minutes to check."""

LEAF_VALUES = {"path_length": (0.0, MOST_LEVELS + 64.0), "log_density": (-710.0, 710.0)}
"""The arrays of a `Forest` that say what a leaf counts for, and the range in which they lie.

A path is no longer than the levels and c(2**31) = 42; the logarithm of a float64 lies within 710. Sums of leaf values
are as fine as their largest, so one value beyond all others would drown them.
"""


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
        A value <= threshold goes left. Finite; 0 at a leaf.
    left : ndarray of int32, shape (n_nodes,)
        Index, in the tree, of the left child; the right child is ``left + 1``. -1 at a leaf.
    missing_left : ndarray of bool, shape (n_nodes,)
        Whether a missing value (NaN) goes left. Not looked at in a leaf.
    path_length : ndarray of float32, shape (n_nodes,)
        At a leaf: its depth + c(training samples there) (see `scoring.average_path_length`); what stands for several
        such leaves where a forest was pruned. 0 at inner nodes.
    n_samples : ndarray of int32, shape (n_nodes,)
        Training samples that reached the node.
    log_density : ndarray of float32, shape (n_nodes,), or None
        At a leaf: the logarithm of its share of the samples over its share of the space, where each split divides the
        range that its node's samples fill. 0 at inner nodes. None where those ranges are not known (a forest
        converted from a library that does not keep them).
    direction_feature : ndarray of int32, shape (n_nodes, k), or None
        Features of an oblique split; None where all splits are on one feature. `feature` is the first of them. In
        [0, n_features) at leaves too.
    direction_weight : ndarray of float32, shape (n_nodes, k), or None
        Their weights: the weighted sum is compared with `threshold`. Unused places repeat the first feature with
        weight 0.
    """

    n_features: int
    tree_start: NDArray[np.int64]
    feature: NDArray[np.int32]
    threshold: NDArray[np.float32]
    left: NDArray[np.int32]
    missing_left: NDArray[np.bool_]
    path_length: NDArray[np.float32]
    n_samples: NDArray[np.int32]
    log_density: NDArray[np.float32] | None = None
    direction_feature: NDArray[np.int32] | None = None
    direction_weight: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        for name, array in self.arrays().items():
            if not isinstance(array, np.ndarray):
                raise InvalidForestError(f"'{name}' must be a numpy array, found a {type(array).__name__}")
            array.setflags(write=False)

    @classmethod
    def from_growth(
        cls,
        n_features: int,
        tree_start: NDArray[np.int64],
        feature: NDArray[np.int32],
        threshold: NDArray[np.float32],
        missing_left: NDArray[np.bool_],
        n_samples: NDArray[np.int32],
        left_share: NDArray[np.float32] | None = None,
        direction_feature: NDArray[np.int32] | None = None,
        direction_weight: NDArray[np.float32] | None = None,
        *,
        families: Families | None = None,
    ) -> Forest:
        """Complete what growers find out: children, path lengths and densities follow from the splits.

        In breadth-first order the left child of a node stands behind the root and two children for every split
        before it in the tree.

        Parameters
        ----------
        left_share : ndarray of float32, shape (n_nodes,), or None
            At a split: the part of its node's range that lies on the left.
        families : Families or None
            From a grower that has found them out on its way.
        """
        grown = families is not None
        families = families or Families.of(tree_start, feature, n_samples, left_share)
        leaves = np.flatnonzero(feature < 0)
        path_length = np.zeros(len(feature), np.float32)
        path_length[leaves] = families.depth[leaves] + _average_path_lengths(n_samples[leaves])
        log_density = None
        if left_share is not None:
            log_density = np.zeros(len(feature), np.float32)
            log_density[leaves] = np.log(np.minimum(families.density[leaves], np.finfo(np.float64).max))
        left = families.left
        forest = cls(
            n_features, tree_start, feature, threshold, left, missing_left, path_length, n_samples, log_density,
            direction_feature, direction_weight,
        )  # fmt: skip
        return forest._known_to_be_valid() if grown else forest

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays that this forest has, by name."""
        return {name: array for name in ARRAYS if (array := getattr(self, name)) is not None}

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
        return sum(array.nbytes for array in self.arrays().values())

    @cached_property
    def tree_depths(self) -> NDArray[np.int32]:
        """Edges from the root to the deepest leaf of each tree, shape (n_trees,)."""
        self.ensure_valid()
        return np.maximum.reduceat(
            _depths(split_levels(self.tree_start, self.left), self.n_nodes), self.tree_start[:-1]
        )

    @property
    def max_depth(self) -> int:
        """Edges from a root to the deepest leaf of all trees."""
        return int(self.tree_depths.max())

    def trees(self, start: int, stop: int) -> Forest:
        """The trees [start, stop) as a forest of their own; arrays are views.

        Raises
        ------
        IndexError
            There are no such trees, or none in between.
        """
        if not 0 <= start < stop <= self.n_trees:
            raise IndexError(f"trees [{start}, {stop}) are none of the {self.n_trees} trees; give 0 <= start < stop")
        first, last = self.tree_start[start], self.tree_start[stop]
        arrays = {name: array[first:last] for name, array in self.arrays().items()}
        arrays["tree_start"] = self.tree_start[start : stop + 1] - first
        part = Forest(self.n_features, **arrays)
        return part._known_to_be_valid() if self._is_known_to_be_valid else part

    @staticmethod
    def concatenate(forests: Sequence[Forest]) -> Forest:
        """One forest of all the trees of several, in order; an optional array is kept where all have it.

        Raises
        ------
        ValueError
            No forests, or forests of different numbers of features, or of splits on different numbers of features.
        """
        if not forests:
            raise ValueError("there are no forests to be one; give at least one")
        widths = {forest.n_features for forest in forests}
        if len(widths) > 1:
            raise ValueError(
                f"forests of {' and '.join(map(str, sorted(widths)))} features cannot be one forest; grow them on the"
                " same columns"
            )
        if len({forest.direction_weight is None for forest in forests}) > 1:
            raise ValueError("forests with oblique splits and forests without cannot be one forest")
        if len({forest.direction_weight.shape[1] for forest in forests if forest.direction_weight is not None}) > 1:
            raise ValueError("forests whose splits are on different numbers of features cannot be one forest")
        offsets = np.cumsum([0] + [forest.n_nodes for forest in forests])
        starts = [forest.tree_start[:-1] + offset for forest, offset in zip(forests, offsets, strict=False)]
        names = set.intersection(*(set(forest.arrays()) for forest in forests))
        arrays = {name: np.concatenate([getattr(forest, name) for forest in forests]) for name in names}
        arrays["tree_start"] = np.concatenate([*starts, offsets[-1:]]).astype(np.int64)
        whole = Forest(forests[0].n_features, **arrays)
        return whole._known_to_be_valid() if all(forest._is_known_to_be_valid for forest in forests) else whole

    def equals(self, other: Forest) -> bool:
        """Whether two forests are the same bit for bit."""
        ours, theirs = self.arrays(), other.arrays()
        return (
            self.n_features == other.n_features
            and ours.keys() == theirs.keys()
            and all(
                ours[name].dtype == theirs[name].dtype
                and ours[name].shape == theirs[name].shape
                and ours[name].tobytes() == theirs[name].tobytes()
                for name in ours
            )
        )

    def ensure_valid(self) -> None:
        """`validate`, once: what compiles or walks a forest calls it first, wherever the forest is from.

        Compiled code does not look whether an index lies within its array.
        """
        if not self._is_known_to_be_valid:
            self.validate()

    def validate(self) -> Forest:
        """Check every invariant; for forests that come from outside.

        All that a backend or a kernel will ever look up by, or compute with, is decided here.

        Returns
        -------
        Forest
            Itself.

        Raises
        ------
        InvalidForestError
            Names the first fault found: a wrong dtype or shape, a child that is no later node of the same tree (so
            that no walk can cycle or leave the tree), a leaf that has a child, a feature out of range, a number that is
            not finite or lies beyond what leaf values can be, a tree of more than `MOST_LEVELS` levels.
        """
        self._validate_shapes()
        if np.any(self.feature < LEAF) or np.any(self.feature >= self.n_features):
            raise InvalidForestError(f"'feature' must lie in [-1, {self.n_features})")
        is_split = self.feature != LEAF
        self._validate_children(is_split)
        self._refuse(~np.isfinite(self.threshold), "its threshold is not finite")
        self._refuse(~is_split & (self.threshold != 0), "it is a leaf, so its threshold must be 0")
        if np.any(self.n_samples < 1):
            raise InvalidForestError("'n_samples' must be at least 1 at every node")
        if np.any(self.missing_left.view(np.uint8) > 1):
            raise InvalidForestError("'missing_left' must hold bytes 0 and 1 for false and true")
        for name, (low, high) in LEAF_VALUES.items():
            values = self.arrays().get(name)
            if values is not None:
                # A NaN lies in no range.
                if not np.all((values >= low) & (values <= high)):
                    raise InvalidForestError(f"'{name}' must be finite and lie in [{low:g}, {high:g}]")
                self._refuse(is_split & (values != 0), f"it is a split, so its '{name}' must be 0")
        self._validate_directions(is_split)
        for level, _ in enumerate(split_levels(self.tree_start, self.left)):
            if level > MOST_LEVELS:
                raise InvalidForestError(f"a tree has more than {MOST_LEVELS} levels")
        return self._known_to_be_valid()

    @property
    def _is_known_to_be_valid(self) -> bool:
        return "_valid" in self.__dict__

    def _known_to_be_valid(self) -> Forest:
        self.__dict__["_valid"] = True
        return self

    def __getstate__(self) -> dict[str, Any]:
        # What has been found out of the arrays is no part of them.
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @staticmethod
    def _refuse(bad: NDArray[np.bool_], why: str) -> None:
        if np.any(bad):
            raise InvalidForestError(f"node {int(np.argmax(bad))}: {why}")

    def _validate_shapes(self) -> None:
        if not isinstance(self.n_features, Integral) or not 1 <= self.n_features <= MOST_FEATURES:
            raise InvalidForestError(f"'n_features' must be a whole number in [1, {MOST_FEATURES}]")
        arrays = self.arrays()
        for name, (dtype, dimensions) in ARRAYS.items():
            if name not in arrays:
                if name not in OPTIONAL:
                    raise InvalidForestError(f"'{name}' is missing")
                continue
            array = arrays[name]
            # Other classes mean other things by the same names.
            is_plain = type(array) in (np.ndarray, np.memmap)
            if not is_plain or array.dtype != dtype or array.ndim != dimensions:
                kind = "" if is_plain else f"a {type(array).__name__} of "
                found = f"{kind}{array.dtype} of shape {array.shape}"
                raise InvalidForestError(
                    f"'{name}' is {found}; expected {np.dtype(dtype)} in {dimensions} dimension(s)"
                )
        if len(self.tree_start) < 2 or self.tree_start[0] != 0 or np.any(np.diff(self.tree_start) < 1):
            raise InvalidForestError("'tree_start' must begin at 0 and grow by at least one node a tree")
        if self.n_nodes > LARGEST_INT32:
            raise InvalidForestError(f"'tree_start' names {self.n_nodes} nodes; {LARGEST_INT32} is the most")
        for name, array in arrays.items():
            if name != "tree_start" and len(array) != self.n_nodes:
                raise InvalidForestError(f"'{name}' has {len(array)} entries for {self.n_nodes} nodes")

    def _validate_children(self, is_split: NDArray[np.bool_]) -> None:
        sizes = np.diff(self.tree_start)
        first = np.repeat(self.tree_start[:-1], sizes)
        position = np.arange(self.n_nodes) - first
        self._refuse(~is_split & (self.left != LEAF), "it is a leaf, so its 'left' must be -1")
        outside = (self.left <= position) | (self.left > np.repeat(sizes, sizes) - 2)
        self._refuse(is_split & outside, "its children must be later nodes of its tree")
        children = (self.left + first)[is_split]
        parents = np.bincount(np.concatenate([children, children + 1]), minlength=self.n_nodes)
        parents[self.tree_start[:-1]] += 1
        self._refuse(parents != 1, "it must have exactly one parent")

    def _validate_directions(self, is_split: NDArray[np.bool_]) -> None:
        if (self.direction_feature is None) != (self.direction_weight is None):
            raise InvalidForestError("'direction_feature' and 'direction_weight' go together; one is missing")
        if self.direction_feature is None or self.direction_weight is None:
            return
        if self.direction_feature.shape != self.direction_weight.shape or self.direction_feature.shape[1] < 2:
            raise InvalidForestError(
                "'direction_feature' and 'direction_weight' must have one shape, (n_nodes, 2 or more)"
            )
        # At leaves too, where kernels read them and make nothing of it.
        if np.any(self.direction_feature < 0) or np.any(self.direction_feature >= self.n_features):
            raise InvalidForestError(f"'direction_feature' must lie in [0, {self.n_features})")
        self._refuse(
            is_split & (self.direction_feature[:, 0] != self.feature), "its 'feature' must be that of its direction"
        )
        if np.any(~np.isfinite(self.direction_weight)):
            raise InvalidForestError("'direction_weight' must be finite")


ARRAYS: dict[str, tuple[Any, int]] = {
    "tree_start": (np.int64, 1),
    "feature": (np.int32, 1),
    "threshold": (np.float32, 1),
    "left": (np.int32, 1),
    "missing_left": (np.bool_, 1),
    "path_length": (np.float32, 1),
    "n_samples": (np.int32, 1),
    "log_density": (np.float32, 1),
    "direction_feature": (np.int32, 2),
    "direction_weight": (np.float32, 2),
}
"""The arrays of a `Forest`: dtype and dimensions. All but `tree_start` have one entry a node."""

OPTIONAL = {"log_density", "direction_feature", "direction_weight"}

SMALLEST_SHARE = 2.0**-24
"""Of a range, to either side of a threshold: what float32 can tell from none."""

if set(ARRAYS) != {field.name for field in fields(Forest)} - {"n_features"} or not LEAF_VALUES.keys() <= set(ARRAYS):
    raise TypeError("ARRAYS, LEAF_VALUES and the fields of Forest must name the same arrays")


@dataclass(frozen=True)
class Families:
    """What follows for each node from those above it.

    Parameters
    ----------
    left : ndarray of int32, shape (n_nodes,)
        As `Forest.left`.
    depth : ndarray of int32, shape (n_nodes,)
    density : ndarray of float64, shape (n_nodes,)
        The node's share of the samples over its share of the space: the product, from the root down, of its share of
        its parent's samples over its share of its parent's range.
    """

    left: NDArray[np.int32]
    depth: NDArray[np.int32]
    density: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        tree_start: NDArray[np.int64],
        feature: NDArray[np.int32],
        n_samples: NDArray[np.int32],
        left_share: NDArray[np.float32] | None = None,
    ) -> Families:
        """Find them out, one level of all trees at a time; densities only where shares are given."""
        is_split = feature >= 0
        splits_before: NDArray[np.int64] = np.cumsum(is_split) - is_split
        splits_before -= np.repeat(splits_before[tree_start[:-1]], np.diff(tree_start))
        left = np.where(is_split, 1 + 2 * splits_before, LEAF).astype(np.int32)
        levels = list(split_levels(tree_start, left))
        density = np.ones(len(feature))
        if left_share is not None:
            share = np.clip(left_share.astype(np.float64), SMALLEST_SHARE, 1 - SMALLEST_SHARE)
            for splits, children in levels:
                of_samples = n_samples[children] / n_samples[splits]
                density[children] = density[splits] * (of_samples / share[splits])
                density[children + 1] = density[splits] * ((1 - of_samples) / (1 - share[splits]))
        return cls(left, _depths(levels, len(feature)), density)


def _average_path_lengths(n_samples: NDArray[np.int32]) -> NDArray[np.float64]:
    """`average_path_length`, of each number once: leaves are many, and of few sizes."""
    largest = int(n_samples.max())
    if largest >= len(n_samples):
        return average_path_length(n_samples)
    return _first_average_path_lengths(largest)[n_samples]


@lru_cache(maxsize=4)
def _first_average_path_lengths(largest: int) -> NDArray[np.float64]:
    return average_path_length(np.arange(largest + 1))


def split_levels(
    tree_start: NDArray[np.int64], left: NDArray[np.int32]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """The splits of all trees and their left children, level by level; right children stand behind the left ones."""
    root_of_node = np.repeat(tree_start[:-1], np.diff(tree_start))
    level = tree_start[:-1]
    while len(level):
        splits = level[left[level] >= 0]
        children = left[splits] + root_of_node[splits]
        yield splits, children
        level = np.concatenate([children, children + 1])


def _depths(levels: Iterable[tuple[NDArray[np.int64], NDArray[np.int64]]], n_nodes: int) -> NDArray[np.int32]:
    """Depth of every node, from `split_levels`."""
    depth = np.zeros(n_nodes, np.int32)
    for number, (_, children) in enumerate(levels):
        depth[children] = depth[children + 1] = number + 1
    return depth
