"""Quantisation: a forest that asks few different questions, and its arrays in a fraction of the bytes."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_iforest.forest import LEAF, LEAF_VALUES, Forest, split_levels

__all__ = ["BITS", "PackedForest", "most_thresholds", "quantize_forest", "stored_bytes"]

BITS = (8, 16)
"""What can be asked for."""

ROUNDS = 30
"""Of moving levels to the middle of what they stand for; more gain nothing."""


def most_thresholds(bits: int) -> int:
    """Distinct thresholds of one feature that a quantised forest may have.

    Their ranks, that of values above them all, and two more codes that scoring keeps for itself are `bits`-bit numbers.
    """
    return int(2**bits - 3)


def quantize_forest(forest: Forest, bits: int, used: Collection[str] = tuple(LEAF_VALUES)) -> Forest:
    """A forest of the same trees with fewer different thresholds and leaf values.

    Thresholds of a feature, and leaf values, that are more than `bits`-bit codes can number are drawn together: each
    becomes the mean of its like, so chosen that the squares of the changes add up to little. Where they are few enough,
    they stay as they are, so that quantising again changes nothing. The change of a threshold counts times the samples
    at its node: that is in proportion to the rows that it may send astray.

    Parameters
    ----------
    forest : Forest
        Of splits on single features.
    bits : {8, 16}
    used : collection of str
        Those of `LEAF_VALUES` that matter. Of the others, densities are left out, and path lengths become what depth
        and samples tell, which takes no bytes.

    Returns
    -------
    Forest
        Valid, with at most 2**bits - 3 distinct thresholds a feature and at most 2**bits distinct path lengths and
        densities. A split whose threshold moved may now send every row one way.

    Raises
    ------
    ValueError
        Other bits, or oblique splits.
    """
    if not isinstance(bits, Integral) or bits not in BITS:
        raise ValueError(f"bits={bits!r} cannot be quantised to; give 8 or 16")
    forest.ensure_valid()
    if forest.direction_weight is not None:
        raise ValueError(
            "a forest of oblique splits (extension_level > 0) cannot be quantised: each split measures rows along a"
            " direction of its own, so thresholds have no values in common; fit with extension_level=0"
        )
    splits = np.flatnonzero(forest.feature >= 0)
    leaves = np.flatnonzero(forest.feature < 0)
    threshold, samples = forest.threshold.copy(), forest.n_samples.astype(np.float64)
    splits = splits[np.argsort(forest.feature[splits], kind="stable")]
    first = np.unique(forest.feature[splits], return_index=True)[1]
    plain = Forest.from_growth(
        forest.n_features, forest.tree_start, forest.feature, forest.threshold, forest.missing_left, forest.n_samples
    )
    below, above = _guards(forest, plain)
    for nodes in np.split(splits, first[1:]):
        # Adding 0 makes -0.0 the 0.0 that it compares equal to.
        exact = threshold[nodes] + np.float32(0)
        threshold[nodes] = _snap_outwards(exact, samples[nodes] ** 2, most_thresholds(bits), below[nodes], above[nodes])
    arrays: dict[str, Any] = {**forest.arrays(), "threshold": threshold}
    for name in arrays.keys() & LEAF_VALUES.keys():
        if name in used:
            values = arrays[name].copy()
            values[leaves] = _snap(values[leaves] + np.float32(0), np.ones(len(leaves)), 2**bits)
            arrays[name] = values
        else:
            arrays[name] = plain.arrays().get(name)
    return Forest(forest.n_features, **arrays)


def _guards(forest: Forest, plain: Forest) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which nodes let rows leave to the left, and which to the right: a path that ends there is shorter than deep."""
    lengths = forest.path_length
    exits = (forest.feature < 0) & (forest.n_samples == 1) & (lengths <= plain.path_length - 2)
    below, above = np.zeros(forest.n_nodes, np.bool_), np.zeros(forest.n_nodes, np.bool_)
    for splits, left in split_levels(forest.tree_start, forest.left):
        below[splits], above[splits] = exits[left] & ~exits[left + 1], exits[left + 1] & ~exits[left]
    return below, above


def _snap_outwards(
    thresholds: NDArray[np.float32],
    weight: NDArray[Any],
    most: int,
    below: NDArray[np.bool_],
    above: NDArray[np.bool_],
) -> NDArray[np.float32]:
    """At most `most` distinct thresholds: the nearest, but for guards the next outwards, lest their own rows leave."""
    if not below.any() and not above.any():
        return _snap(thresholds, weight, most)
    if len(np.unique(thresholds)) <= most:
        return thresholds
    snapped = _snap(thresholds, weight, most - 2)
    levels = np.unique(np.append(snapped, [thresholds.min(), thresholds.max()]))
    snapped[below] = levels[np.searchsorted(levels, thresholds[below], side="right") - 1]
    snapped[above] = levels[np.searchsorted(levels, thresholds[above], side="left")]
    return snapped


def _snap(values: NDArray[np.float32], weight: NDArray[Any], most: int) -> NDArray[np.float32]:
    """`values` with at most `most` distinct ones left: one-dimensional k-means, without any chance in it."""
    distinct, place = np.unique(values, return_inverse=True)
    if len(distinct) <= most:
        return values
    mass = np.bincount(place, weights=weight)
    wide = distinct.astype(np.float64)
    starts = np.arange(most) * len(distinct) // most
    for _ in range(ROUNDS):
        levels = np.add.reduceat(mass * wide, starts) / np.add.reduceat(mass, starts)
        middles = (levels[1:] + levels[:-1]) / 2
        moved = np.unique(np.append(0, np.searchsorted(wide, middles, side="right")))
        if np.array_equal(moved, starts):
            break
        starts = moved
    means = np.add.reduceat(mass * wide, starts) / np.add.reduceat(mass, starts)
    # Rounding must not carry a mean out of the values that it stands for.
    means = np.clip(means, wide[starts], wide[np.append(starts[1:], len(wide)) - 1])
    return means.astype(np.float32)[np.searchsorted(starts, place, side="right") - 1]


@dataclass(frozen=True)
class Levels:
    """Floats of which many are alike: each distinct one of a group once, and a code for each value.

    Parameters
    ----------
    values : ndarray of float32
        The groups' distinct values one group after the other, increasing in each; all values themselves where that
        takes fewer bytes.
    counts : ndarray of an unsigned type, shape (n_groups,)
        Distinct values of each group.
    codes : ndarray of an unsigned type, or None
        Place of each value in its group. None where `values` holds them all.
    """

    values: NDArray[np.float32]
    counts: NDArray[np.unsignedinteger[Any]]
    codes: NDArray[np.unsignedinteger[Any]] | None

    @classmethod
    def of(cls, values: NDArray[np.float32], group: NDArray[np.integer[Any]], n_groups: int) -> Levels:
        order = np.lexsort((values, group))
        new = np.ones(len(values), np.bool_)
        new[1:] = (np.diff(group[order]) != 0) | (np.diff(values[order].view(np.int32)) != 0)
        rank = np.empty(len(values), np.int64)
        rank[order] = np.cumsum(new) - 1
        counts = np.bincount(group[order][new], minlength=n_groups)
        codes = _small(rank - (np.cumsum(counts) - counts)[group])
        table = cls(values[order][new], _small(counts), codes)
        alone = cls(values, np.empty(0, np.uint8), None)
        return min(table, alone, key=lambda levels: levels.nbytes)

    @property
    def nbytes(self) -> int:
        return self.values.nbytes + self.counts.nbytes + (0 if self.codes is None else self.codes.nbytes)

    def decode(self, group: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
        if self.codes is None:
            return self.values
        counts = self.counts.astype(np.int64)
        return self.values[(np.cumsum(counts) - counts)[group] + self.codes]


@dataclass(frozen=True)
class PackedForest:
    """A forest in few bytes: what follows from the rest is left out, and floats are codes.

    Breadth-first order tells the children, the leaves' samples those of all nodes, depth and samples the path lengths.
    What a forest has otherwise is kept as it is in `others`, so that every forest comes back bit for bit; those that
    `quantize_forest` made come back from the fewest bytes.

    Parameters
    ----------
    n_features : int
    tree_nodes : ndarray of an unsigned type, shape (n_trees,)
        Nodes of each tree.
    is_split, missing_left : ndarray of uint8
        A bit for each node, and one for each split.
    feature : ndarray of an unsigned type, shape (n_splits,)
    threshold : Levels
        Of the splits, grouped by feature.
    leaf_samples : ndarray of an unsigned type, shape (n_leaves,)
    leaf_values : dict of str to Levels
        Those of `LEAF_VALUES` that the forest has and that do not follow.
    others : dict of str to ndarray
        Arrays of `Forest` that are not what the above makes of them.
    """

    n_features: int
    tree_nodes: NDArray[np.unsignedinteger[Any]]
    is_split: NDArray[np.uint8]
    missing_left: NDArray[np.uint8]
    feature: NDArray[np.unsignedinteger[Any]]
    threshold: Levels
    leaf_samples: NDArray[np.unsignedinteger[Any]]
    leaf_values: dict[str, Levels] = field(default_factory=dict)
    others: dict[str, NDArray[Any]] = field(default_factory=dict)

    @classmethod
    def of(cls, forest: Forest) -> PackedForest:
        """Pack a valid forest."""
        forest.ensure_valid()
        is_split = forest.feature >= 0
        feature = forest.feature[is_split]
        packed = cls(
            n_features=forest.n_features,
            tree_nodes=_small(np.diff(forest.tree_start)),
            is_split=np.packbits(is_split),
            missing_left=np.packbits(forest.missing_left[is_split]),
            feature=_small(feature),
            threshold=Levels.of(forest.threshold[is_split], feature, forest.n_features),
            leaf_samples=_small(forest.n_samples[~is_split]),
        )
        given, one_group = forest.arrays(), np.zeros(int((~is_split).sum()), np.int64)
        missing = [name for name in LEAF_VALUES if name in given and name in packed._unlike(given)]
        values = {name: Levels.of(given[name][~is_split], one_group, 1) for name in missing}
        packed = replace(packed, leaf_values=values)
        return replace(packed, others={name: given[name] for name in packed._unlike(given)})

    def _unlike(self, given: dict[str, NDArray[Any]]) -> set[str]:
        """Names of the arrays that unpacking would not give back."""
        made = self.unpack().arrays()
        return {name for name, array in given.items() if name not in made or made[name].tobytes() != array.tobytes()}

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        arrays = [self.tree_nodes, self.is_split, self.missing_left, self.feature, self.leaf_samples]
        tables = [self.threshold, *self.leaf_values.values()]
        return sum(array.nbytes for array in [*arrays, *self.others.values()]) + sum(table.nbytes for table in tables)

    def unpack(self) -> Forest:
        """The forest that was packed."""
        tree_start = np.concatenate([[0], np.cumsum(self.tree_nodes, dtype=np.int64)])
        n_nodes = int(tree_start[-1])
        is_split = np.unpackbits(self.is_split, count=n_nodes).astype(np.bool_)
        feature = _at(is_split, self.feature.astype(np.int32), LEAF)
        threshold = _at(is_split, self.threshold.decode(self.feature), np.float32(0))
        missing_left = np.unpackbits(self.missing_left, count=len(self.feature)).astype(np.bool_)
        n_samples = _at(~is_split, self.leaf_samples.astype(np.int32), 1)
        forest = Forest.from_growth(
            self.n_features, tree_start, feature, threshold, _at(is_split, missing_left, False), n_samples
        )
        arrays = {**forest.arrays(), "n_samples": _sums(tree_start, forest.left, n_samples)}
        group = np.zeros(len(self.leaf_samples), np.int64)
        for name, levels in self.leaf_values.items():
            arrays[name] = _at(~is_split, levels.decode(group), np.float32(0))
        return Forest(self.n_features, **{**arrays, **self.others})


def _small(numbers: NDArray[Any]) -> NDArray[np.unsignedinteger[Any]]:
    """Numbers >= 0 in the smallest unsigned type that holds them all."""
    small: NDArray[np.unsignedinteger[Any]] = numbers.astype(np.min_scalar_type(int(numbers.max(initial=0))))
    return small


def _at(where: NDArray[np.bool_], values: NDArray[Any], elsewhere: Any) -> NDArray[Any]:
    full = np.full(len(where), elsewhere, values.dtype)
    full[where] = values
    return full


def _sums(tree_start: NDArray[np.int64], left: NDArray[np.int32], n_samples: NDArray[np.int32]) -> NDArray[np.int32]:
    """Samples at every node from those at the leaves, one level of all trees at a time from the deepest."""
    child = left + np.repeat(tree_start[:-1], np.diff(tree_start))
    levels, nodes = [], tree_start[:-1]
    while len(nodes):
        nodes = nodes[left[nodes] >= 0]
        levels.append(nodes)
        nodes = np.concatenate([child[nodes], child[nodes] + 1])
    sums = n_samples.copy()
    for nodes in reversed(levels):
        sums[nodes] = sums[child[nodes]] + sums[child[nodes] + 1]
    return sums


def stored_bytes(forest: Forest, quantized_bits: int | None) -> int:
    """Bytes of a forest's arrays as they are stored: packed where it is quantised."""
    return forest.nbytes if quantized_bits is None else PackedForest.of(forest).nbytes
