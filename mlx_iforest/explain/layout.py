"""The order in which a forest is explained: the steps of every tree, and where each finds what it computes with.

It depends on the trees and on which leaves have equal values, not on what goes left where a feature is unknown; what
follows from that is filled in by `Layout.constants`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_iforest.backends.scored_trees import merge_equal_leaves
from mlx_iforest.compiled_code import compiled
from mlx_iforest.explain import kernels
from mlx_iforest.explain.kernels import (
    ABOVE,
    BLOCK,
    COLUMNS,
    CONSTANT,
    CONSTANTS,
    FAR,
    FEATURE,
    FIRST_PAIR,
    HERE,
    LAST_PAIR,
    NEAR,
    PLACE,
    VECTORS,
)
from mlx_iforest.explain.pair_kernels import HOLDS, PAIR_COLUMNS, SIDE, SUMS
from mlx_iforest.explain.reference import gauss_legendre
from mlx_iforest.forest import LARGEST_INT32, Forest
from mlx_iforest.kernel_input import check_values

__all__ = ["Layout", "Pairs"]

NODE, ASKED, LEAVES, SPLIT_COLUMNS = range(4)
"""Columns of the splits: the node; where the same feature was asked about above, twice the split's number in its tree
and the side, or -1; which children are leaves, 1 for the left and 2 for the right one."""


@dataclass(frozen=True)
class Pairs:
    """The pairs of features that lie on one way.

    Parameters
    ----------
    features : ndarray of int64, shape (n_pairs, 2)
        Of each pair, the smaller first.
    places : ndarray of int32, shape (n, PAIR_COLUMNS)
        As `pair_kernels.add_interactions` takes them.
    """

    features: NDArray[np.int64]
    places: NDArray[np.int32]


@dataclass(frozen=True)
class Layout:
    """The steps of every tree.

    Parameters
    ----------
    n_features : int
    tree_start, threshold, left, missing_left
        Of the forest.
    feature, worth
        Of the forest and the values, where splits between equal leaves are leaves.
    n_levels : int
        Splits on the longest way.
    tree_points, points, weights
        Of the integral.
    tree_splits, tree_steps, tree_constants, tree_pairs : ndarray of int64, shape (n_trees + 1,)
        Where each tree's begin.
    splits : ndarray of int64, shape (n_splits, SPLIT_COLUMNS)
        In the order of the steps.
    steps : ndarray of int32, shape (n_steps, COLUMNS)
    """

    n_features: int
    tree_start: NDArray[np.int64]
    threshold: NDArray[np.float32]
    left: NDArray[np.int32]
    missing_left: NDArray[np.bool_]
    feature: NDArray[np.int32]
    worth: NDArray[np.float32]
    n_levels: int
    tree_points: NDArray[np.int64]
    points: NDArray[np.float64]
    weights: NDArray[np.float32]
    tree_splits: NDArray[np.int64]
    tree_steps: NDArray[np.int64]
    tree_constants: NDArray[np.int64]
    tree_pairs: NDArray[np.int64]
    splits: NDArray[np.int64]
    steps: NDArray[np.int32]

    def __post_init__(self) -> None:
        self._compile(np.empty((0, PAIR_COLUMNS), np.int64))
        # Compiled code trusts that every step stays within its arrays.
        n_steps = np.diff(self.tree_steps)
        n_points = np.repeat(self.tree_points, n_steps)
        n_constants = np.repeat(np.diff(self.tree_constants), n_steps)
        _check_places(self.steps, "features", (FEATURE,), BLOCK, self.n_features * BLOCK)
        _check_places(self.steps, "masks", (ABOVE, HERE), 2 * VECTORS, self.n_masks)
        _check_places(self.steps, "work", (PLACE, NEAR, FAR), n_points * BLOCK, self.n_work)
        _check_places(self.steps, "constants", (CONSTANT,), CONSTANTS + 3 * n_points, n_constants)
        n_pairs = np.repeat(np.diff(self.tree_pairs), n_steps)
        _check_places(self.steps, "pairs", (FIRST_PAIR, LAST_PAIR), 0, n_pairs)

    @property
    def n_masks(self) -> int:
        """Words of the masks of the way from the root to the present node."""
        return 2 * self.n_levels * VECTORS

    @property
    def n_work(self) -> int:
        """Numbers that the nodes on that way need, for a block at all points."""
        return (2 * self.n_levels + 1) * self.weights.shape[1] * BLOCK

    @classmethod
    def of(cls, forest: Forest, values: NDArray[np.float32]) -> Layout:
        """As `ExplainedTrees.of`."""
        forest.ensure_valid()
        check_values(forest, values[:, None])
        feature, worth = merge_equal_leaves(forest, values)
        n_splits, n_distinct, levels, n_pairs = _measure(forest.tree_start, feature, forest.left)
        tree_points = (n_distinct + 1) // 2
        points = np.zeros((forest.n_trees, int(tree_points.max())))
        weights = np.zeros(points.shape, np.float32)
        for n_points in np.unique(tree_points[tree_points > 0]).tolist():
            here = tree_points == n_points
            points[here, :n_points], weights[here, :n_points] = gauss_legendre(n_points)
        tree_splits = np.append(0, np.cumsum(n_splits[:, 0]))
        # Two steps a split, or one where both children are leaves.
        tree_steps = np.append(0, np.cumsum(n_splits[:, 0] * 2 - n_splits[:, 1]))
        tree_constants = np.append(0, np.cumsum(n_splits[:, 0] * (CONSTANTS + 3 * tree_points)))
        n_levels = int(levels.max())
        slots = (2 * n_levels + 1) * points.shape[1] * BLOCK
        largest = max(int(np.diff(tree_constants).max()), int(n_pairs.max()))
        if max(slots, forest.n_features * BLOCK - 1, largest) > LARGEST_INT32:
            raise ValueError(
                f"a tree of {int(n_splits[:, 0].max())} splits and {n_levels} levels is too large to be explained;"
                " prune the model, or fit smaller trees (max_samples)"
            )
        return cls(
            forest.n_features, forest.tree_start, forest.threshold, forest.left, forest.missing_left, feature, worth,
            n_levels, tree_points, points, weights, tree_splits, tree_steps, tree_constants,
            np.append(0, np.cumsum(n_pairs)), np.zeros((int(tree_splits[-1]), SPLIT_COLUMNS), np.int64),
            np.zeros((int(tree_steps[-1]), COLUMNS), np.int32),
        )  # fmt: skip

    @cached_property
    def pairs(self) -> Pairs:
        """Those that interactions are computed of."""
        found = np.zeros((int(self.tree_pairs[-1]), PAIR_COLUMNS), np.int64)
        self._compile(found)
        codes, found[:, SUMS] = np.unique(found[:, SUMS], return_inverse=True)
        found[:, SUMS] *= BLOCK
        if len(codes) * BLOCK > LARGEST_INT32:
            raise ValueError(
                f"{len(codes):,} pairs of features are too many to be explained; fit on fewer features, or smaller"
                " trees (max_samples)"
            )
        _check_places(found, "masks", (HOLDS,), VECTORS, self.n_masks)
        n_sides = np.repeat(2 * np.diff(self.tree_splits), np.diff(self.tree_pairs))
        _check_places(found, "weights", (SIDE,), 1, n_sides)
        return Pairs(np.stack(np.divmod(codes, self.n_features), axis=1), found.astype(np.int32))

    def _compile(self, pairs: NDArray[np.int64]) -> None:
        _compile(
            self.tree_start, self.feature, self.left, self.missing_left, self.n_features, self.tree_points,
            self.points.shape[1] * BLOCK, self.tree_splits, self.tree_steps, self.tree_pairs, self.n_levels,
            self.splits, self.steps, pairs,
        )  # fmt: skip

    def shares_of_sides(self, left_shares: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of each split, the shares of what goes left and right and satisfies what was asked above of its feature.

        Parameters
        ----------
        left_shares : ndarray of float64, shape (n_nodes,)
            As `explain.Explainer.with_shares` takes them.

        Returns
        -------
        ndarray of float64, shape (n_splits, 2)
        """
        sides = np.empty((len(self.splits), 2))
        _fill_sides(self.splits, self.tree_splits, left_shares, sides)
        return sides

    def constants(
        self, zero: NDArray[np.float64], left_shares: NDArray[np.float64], sides: NDArray[np.float64]
    ) -> NDArray[np.float32]:
        """What the steps compute with, from these shares; `zero` of each tree is what leaves count for less."""
        constants = np.zeros(int(self.tree_constants[-1]), np.float32)
        _fill_constants(
            self.tree_start, self.threshold, self.left, self.worth, self.splits, self.tree_splits, self.tree_points,
            self.points, self.tree_constants, zero, left_shares, sides, constants,
        )  # fmt: skip
        return constants


def _check_places(
    table: NDArray[Any], what: str, columns: tuple[int, ...], size: int | NDArray[np.int64],
    room: int | NDArray[np.int64],
) -> None:  # fmt: skip
    begin = table[:, columns].astype(np.int64).T
    assert np.all((begin >= 0) & (begin + size <= room)), f"a step would leave the {what}"


@compiled()
def _measure(tree_start, feature, left):  # type: ignore[no-untyped-def]
    """What the tables must have room for.

    Parameters
    ----------
    feature : ndarray of int32, shape (n_nodes,)
        From `merge_equal_leaves`.

    Returns
    -------
    n_splits : ndarray of int64, shape (n_trees, 2)
        Splits of each tree, and those of them between two leaves.
    n_distinct, levels : ndarray of int64, shape (n_trees,)
        Most features, and most splits, on a way from the root to a leaf.
    n_pairs : ndarray of int64, shape (n_trees,)
        How often another feature than a split's was asked about above it.
    """
    n_trees = len(tree_start) - 1
    n_splits, n_pairs = np.zeros((n_trees, 2), np.int64), np.zeros(n_trees, np.int64)
    n_distinct, levels = np.zeros(n_trees, np.int64), np.zeros(n_trees, np.int64)
    parent = np.full(len(feature), -1, np.int64)
    distinct, level = np.zeros(len(feature), np.int64), np.zeros(len(feature), np.int64)
    for tree in range(n_trees):
        root = tree_start[tree]
        for node in range(root, tree_start[tree + 1]):
            if feature[node] < 0 or (node > root and parent[node] < 0):
                continue
            a = root + left[node]
            parent[a] = parent[a + 1] = node
            n_splits[tree, 0] += 1
            n_splits[tree, 1] += feature[a] < 0 and feature[a + 1] < 0
            seen = parent[node]
            while seen >= 0 and feature[seen] != feature[node]:
                seen = parent[seen]
            n_pairs[tree] += distinct[node] - (seen >= 0)
            distinct[a] = distinct[a + 1] = distinct[node] + (seen < 0)
            level[a] = level[a + 1] = level[node] + 1
            n_distinct[tree] = max(n_distinct[tree], distinct[a])
            levels[tree] = max(levels[tree], level[a])
    return n_splits, n_distinct, levels, n_pairs


@compiled()
def _compile(  # type: ignore[no-untyped-def]
    tree_start, feature, left, missing_left, n_features, tree_points, slot, tree_splits, tree_steps, tree_pairs,
    n_levels, splits, steps, pairs,
):  # fmt: skip
    """Fill in the splits and steps of every tree; the pairs too, if there is room."""
    # Of the way from the root: each level's feature, the side taken, the split's number, its step, and the level above
    # that asked of the same feature. Levels that a later one hides have that one's split's mark.
    path_feature, path_side = np.zeros(n_levels, np.int64), np.zeros(n_levels, np.int64)
    path_split, path_step = np.zeros(n_levels, np.int64), np.zeros(n_levels, np.int64)
    path_asked, hidden = np.zeros(n_levels, np.int64), np.full(n_levels, -1, np.int64)
    nodes, level_of = np.zeros(2 * n_levels + 2, np.int64), np.zeros(2 * n_levels + 2, np.int64)
    place_of, begun = np.zeros(2 * n_levels + 2, np.int64), np.zeros(2 * n_levels + 2, np.int64)
    for tree in range(len(tree_points)):
        n_points = tree_points[tree]
        root, at, pair, split = tree_start[tree], tree_steps[tree], 0, 0
        height = 1 if n_points else 0
        nodes[0], level_of[0], place_of[0], begun[0] = root, 0, 0, 0
        while height:
            node, level, place = nodes[height - 1], level_of[height - 1], place_of[height - 1]
            a = root + left[node]
            left_leaf, right_leaf = feature[a] < 0, feature[a + 1] < 0
            near, far = (2 * level + 1) * slot, (2 * level + 2) * slot
            phase = begun[height - 1]
            begun[height - 1] += 1
            if phase == 0:
                f = feature[node]
                path_feature[level], path_split[level], path_step[level] = f, split, at
                path_asked[level] = -1
                row = tree_splits[tree] + split
                first_pair, asked, above = pair, -1, 0
                for seen in range(level - 1, -1, -1):
                    if path_asked[seen] >= 0:
                        hidden[path_asked[seen]] = row
                    if hidden[seen] == row:
                        continue
                    of, side = path_feature[seen], 2 * path_split[seen] + path_side[seen]
                    holds = (2 * seen + path_side[seen]) * VECTORS
                    if of == f:
                        asked, above, path_asked[level] = side, holds, seen
                        continue
                    if len(pairs):
                        found = tree_pairs[tree] + pair
                        pairs[found, HOLDS], pairs[found, SIDE] = holds, side
                        pairs[found, SUMS] = min(of, f) * n_features + max(of, f)
                    pair += 1
                splits[row, NODE], splits[row, ASKED], splits[row, LEAVES] = node, asked, left_leaf + 2 * right_leaf
                if left_leaf and right_leaf:
                    kind = kernels.LEAVES
                else:
                    kind = kernels.DOWN_ONE if left_leaf or right_leaf else kernels.DOWN_TWO
                steps[at, kernels.KIND] = kind + (asked >= 0)
                steps[at, FEATURE] = f * BLOCK
                steps[at, kernels.MISSING_LEFT] = missing_left[node]
                steps[at, ABOVE] = above
                steps[at, HERE] = 2 * level * VECTORS
                steps[at, PLACE] = place
                steps[at, NEAR] = near
                steps[at, FAR] = far
                steps[at, CONSTANT] = split * (CONSTANTS + 3 * n_points)
                steps[at, FIRST_PAIR] = first_pair
                steps[at, LAST_PAIR] = pair
                at += 1
                split += 1
                if kind == kernels.LEAVES:
                    height -= 1
                    continue
                child = a if not left_leaf else a + 1
                path_side[level] = child - a
                nodes[height], level_of[height], place_of[height], begun[height] = child, level + 1, near, 0
                height += 1
            elif phase == 1 and not (left_leaf or right_leaf):
                path_side[level] = 1
                nodes[height], level_of[height], place_of[height], begun[height] = a + 1, level + 1, far, 0
                height += 1
            else:
                steps[at] = steps[path_step[level]]
                steps[at, kernels.KIND] += kernels.UP_ONE - kernels.DOWN_ONE
                at += 1
                height -= 1


@compiled()
def _fill_sides(splits, tree_splits, left_shares, sides):  # type: ignore[no-untyped-def]
    for tree in range(len(tree_splits) - 1):
        first = tree_splits[tree]
        for split in range(first, tree_splits[tree + 1]):
            asked, r = splits[split, ASKED], left_shares[splits[split, NODE]]
            z = sides[first + asked // 2, asked % 2] if asked >= 0 else 1.0
            sides[split, 0], sides[split, 1] = z * r, z * (1.0 - r)


@compiled()
def _fill_constants(  # type: ignore[no-untyped-def]
    tree_start, threshold, left, worth, splits, tree_splits, tree_points, points, tree_constants, zero, left_shares,
    sides, constants,
):  # fmt: skip
    for tree in range(len(tree_points)):
        n_points, first_split, constant = tree_points[tree], tree_splits[tree], tree_constants[tree]
        for split in range(first_split, tree_splits[tree + 1]):
            node, asked, leaves_here = splits[split, NODE], splits[split, ASKED], splits[split, LEAVES]
            a, r = tree_start[tree] + left[node], left_shares[node]
            z = sides[first_split + asked // 2, asked % 2] if asked >= 0 else 1.0
            near_is_left, both = leaves_here != 1, leaves_here == 3
            sign = 1.0 if near_is_left else -1.0
            r_near = r if near_is_left else 1.0 - r
            far_value = np.float64(worth[a + 1] if near_is_left else worth[a]) - zero[tree]
            apart, scale, first = r_near, 1.0, 0.0
            if both:
                scale, first = np.float64(worth[a]) - zero[tree] - far_value, far_value
                apart = first + r_near * scale
            constants[constant + kernels.THRESHOLD] = threshold[node]
            constants[constant + kernels.FAR_VALUE] = far_value
            factor = sign * scale
            constants[constant + kernels.LEFT_SHARE] = factor * (1.0 - r)
            constants[constant + kernels.RIGHT_SHARE] = -factor * r
            constants[constant + kernels.APART] = apart
            for q in range(n_points):
                t = points[tree, q]
                g = z + t * (1.0 - z)
                stays = (z * r_near + t * (1.0 - z * r_near)) / g
                leaves = z * r_near * (1.0 - t) / g
                k = constant + CONSTANTS + 3 * q
                constants[k] = first + scale * (stays if near_is_left else leaves)
                constants[k + 1] = first + scale * (leaves if near_is_left else stays)
                constants[k + 2] = z / (g * g)
            constant += CONSTANTS + 3 * n_points
