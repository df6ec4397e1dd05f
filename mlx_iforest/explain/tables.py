"""A forest and values of its leaves, compiled for explaining block by block.

`reference` goes leaf by leaf. Here all leaves below a node share what they have in common. At a point t of the
integral, let

- p be the product, over the features asked about above a node, of z + t * (o - z): how far it is reached;
- U be the mean of the leaves below, each by the product of what its way below the node adds to these factors.

Take a split on feature i whose left side got the share r of the samples. If nothing above asked of i, the left child's
factor is h = r + t * (o - r), with o = 1 for rows that go left and 0 for others; the right child's is 1 - h, so

    p_left = p * h,    p_right = p - p_left,    U = U_right + h * (U_left - U_right)

and the split adds to phi_i, at this point, p * (o - r) * (U_left - U_right).

If splits above asked of i (*again*), z being the share of the samples that satisfied them, it depends on whether the
row does. If it does not, h = r, and the split adds nothing. If it does, with g = z + t * (1 - z), the factor that the
way had from them,

    h = (z * r + t * (1 - z * r)) / g for rows that go left, z * r * (1 - t) / g for others

and the split adds p * (o - r) * (U_left - U_right) * z / g**2. So every factor is one of three numbers that do not
depend on the row; a walk down computes p, one up U and what the splits add, without any division.

Steps are in the order of one walk down and up, so that only the nodes on the way from the root to the present one need
room: p, which U overwrites. *Near* is the child visited first, *far* the other. A split between leaves of equal values
counts as a leaf.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
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
    HERE,
    NEAR,
    PLACE,
    VECTORS,
)
from mlx_iforest.explain.reference import expectations, gauss_legendre
from mlx_iforest.forest import LARGEST_INT32, Forest
from mlx_iforest.kernel_input import check_rows, check_values

__all__ = ["ExplainedTrees"]

GROUP_STEPS = 256
"""Steps, at least, whose sums are added up in float32 before they go to float64."""

GROUP_SHARE = 16
"""Steps of each feature, at least, before that: moving sums takes as long as a few steps do."""

PIECE_BYTES = 1 << 19
"""Of the room for rows and their Shapley values."""

MOST_BLOCKS = 16
"""Blocks of rows between which a group's tables stay in the cache."""


@dataclass(frozen=True)
class ExplainedTrees:
    """The steps of every tree.

    Parameters
    ----------
    n_features : int
    tree_steps, tree_constants, tree_points, weights, steps, constants
        As `kernels.add_shapley_values` takes them.
    n_levels : int
        Splits on the longest way.
    """

    n_features: int
    tree_steps: NDArray[np.int64]
    tree_constants: NDArray[np.int64]
    tree_points: NDArray[np.int64]
    weights: NDArray[np.float32]
    steps: NDArray[np.int32]
    constants: NDArray[np.float32]
    n_levels: int

    def __post_init__(self) -> None:
        # Compiled code trusts that every step stays within its arrays.
        n_points = np.repeat(self.tree_points, np.diff(self.tree_steps))
        n_constants = np.repeat(np.diff(self.tree_constants), np.diff(self.tree_steps))
        limits: list[tuple[str, tuple[int, ...], Any, Any]] = [
            ("features", (FEATURE,), BLOCK, self.n_features * BLOCK),
            ("masks", (ABOVE, HERE), 2 * VECTORS, self.n_masks),
            ("work", (PLACE, NEAR, FAR), n_points * BLOCK, self.n_work),
            ("constants", (CONSTANT,), CONSTANTS + 3 * n_points, n_constants),
        ]
        for what, columns, size, room in limits:
            begin = self.steps[:, columns].astype(np.int64).T
            assert np.all((begin >= 0) & (begin + size <= room)), f"a step would leave the {what}"

    @property
    def n_masks(self) -> int:
        """Words of the masks of the way from the root to the present node."""
        return 2 * self.n_levels * VECTORS

    @property
    def n_work(self) -> int:
        """Numbers that the nodes on that way need, for a block at all points."""
        return (2 * self.n_levels + 1) * self.weights.shape[1] * BLOCK

    @classmethod
    def of(cls, forest: Forest, values: NDArray[np.float32]) -> ExplainedTrees:
        """Compile a forest of splits on single features.

        Parameters
        ----------
        values : ndarray of float32, shape (n_nodes,)
            Read at leaves.

        Raises
        ------
        ValueError
            The forest or the values would lead compiled code astray, or are too large for its 32 bits.
        """
        forest.ensure_valid()
        check_values(forest, values[:, None])
        feature, worth = merge_equal_leaves(forest, values)
        n_splits, n_distinct, levels = _measure(forest.tree_start, feature, forest.left)
        tree_points = (n_distinct + 1) // 2
        points = np.zeros((forest.n_trees, int(tree_points.max())))
        weights = np.zeros(points.shape, np.float32)
        for n_points in np.unique(tree_points[tree_points > 0]).tolist():
            here = tree_points == n_points
            points[here, :n_points], weights[here, :n_points] = gauss_legendre(n_points)
        # Two steps a split, or one where both children are leaves.
        tree_steps = np.append(0, np.cumsum(n_splits[:, 0] * 2 - n_splits[:, 1]))
        tree_constants = np.append(0, np.cumsum(n_splits[:, 0] * (CONSTANTS + 3 * tree_points)))
        n_levels = int(levels.max())
        slots = (2 * n_levels + 1) * points.shape[1] * BLOCK
        if max(slots, forest.n_features * BLOCK - 1, int(np.diff(tree_constants).max())) > LARGEST_INT32:
            raise ValueError(
                f"a tree of {int(n_splits[:, 0].max())} splits and {n_levels} levels is too large to be explained;"
                " prune the model, or fit smaller trees (max_samples)"
            )
        steps = np.zeros((int(tree_steps[-1]), COLUMNS), np.int32)
        constants = np.zeros(int(tree_constants[-1]), np.float32)
        # Shapley values do not depend on the zero of the values; near it, float32 is finer.
        zero = expectations(forest, values)
        _compile(
            forest.tree_start, feature, forest.threshold, forest.left, forest.missing_left, forest.n_samples, worth,
            zero, tree_points, points, tree_steps, tree_constants, n_levels, steps, constants,
        )  # fmt: skip
        return cls(forest.n_features, tree_steps, tree_constants, tree_points, weights, steps, constants, n_levels)

    def add(
        self,
        X: NDArray[np.float32],
        parts: Sequence[tuple[int, int]],
        factors: NDArray[np.float64],
        out: NDArray[np.float64],
        *,
        fresh: bool,
        expected: NDArray[np.float64] | None,
    ) -> None:
        """As `explain.Explainer.add`."""
        X = check_rows(X, self.n_features)
        most = max(GROUP_STEPS, GROUP_SHARE * self.n_features)
        groups = []
        for number, (first, stop) in enumerate(parts):
            group_of_tree = (self.tree_steps[first:stop] - self.tree_steps[first]) // most
            begins = first + np.flatnonzero(np.diff(group_of_tree, prepend=-1))
            groups += [(a, b, number) for a, b in pairwise([*begins.tolist(), stop])]
        width = self.n_features * BLOCK
        n_blocks = max(1, min(MOST_BLOCKS, PIECE_BYTES // (12 * width), -(-len(X) // BLOCK)))
        kernels.add_shapley_values(
            X, self.tree_steps, self.tree_constants, self.tree_points, self.weights, self.steps, self.constants,
            np.array(groups), np.ascontiguousarray(factors), np.zeros(self.n_masks, np.uint16),
            _aligned(self.n_work), _aligned(width), np.zeros(BLOCK),
            _aligned(n_blocks * width).reshape(n_blocks, width), np.empty((n_blocks, width)),
            np.empty(0) if expected is None else expected, fresh, out,
        )  # fmt: skip


def _aligned(size: int) -> NDArray[np.float32]:
    """Zeros that begin with a cache line."""
    room = np.zeros(size + 16, np.float32)
    begin = -room.ctypes.data % 64 // 4
    return room[begin : begin + size]


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
    """
    n_trees = len(tree_start) - 1
    n_splits = np.zeros((n_trees, 2), np.int64)
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
            distinct[a] = distinct[a + 1] = distinct[node] + (seen < 0)
            level[a] = level[a + 1] = level[node] + 1
            n_distinct[tree] = max(n_distinct[tree], distinct[a])
            levels[tree] = max(levels[tree], level[a])
    return n_splits, n_distinct, levels


@compiled()
def _compile(  # type: ignore[no-untyped-def]
    tree_start, feature, threshold, left, missing_left, n_samples, values, zero, tree_points, points, tree_steps,
    tree_constants, n_levels, steps, constants,
):  # fmt: skip
    """Fill in the steps of every tree, and the constants of their nodes."""
    slot = points.shape[1] * BLOCK
    path_feature, path_side = np.zeros(n_levels, np.int64), np.zeros(n_levels, np.int64)
    path_share = np.zeros((n_levels, 2))
    nodes, level_of = np.zeros(2 * n_levels + 2, np.int64), np.zeros(2 * n_levels + 2, np.int64)
    place_of, begun = np.zeros(2 * n_levels + 2, np.int64), np.zeros(2 * n_levels + 2, np.int64)
    at_level = np.zeros(n_levels, np.int64)
    for tree in range(len(tree_points)):
        n_points = tree_points[tree]
        root, at, constant = tree_start[tree], tree_steps[tree], tree_constants[tree]
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
                above = level - 1
                while above >= 0 and path_feature[above] != f:
                    above -= 1
                again = above >= 0
                z = path_share[above, path_side[above]] if again else 1.0
                n_left, n_right = float(n_samples[a]), float(n_samples[a + 1])
                r = n_left / (n_left + n_right)
                path_feature[level] = f
                path_share[level, 0], path_share[level, 1] = z * r, z * (1.0 - r)
                near_is_left = not left_leaf or right_leaf
                sign = 1.0 if near_is_left else -1.0
                r_near = r if near_is_left else 1.0 - r
                far_value = np.float64(values[a + 1] if near_is_left else values[a]) - zero[tree]
                apart, scale, first = r_near, 1.0, 0.0
                if left_leaf and right_leaf:
                    scale, first = np.float64(values[a]) - zero[tree] - far_value, far_value
                    apart = first + r_near * scale
                constants[constant + kernels.THRESHOLD] = threshold[node]
                constants[constant + kernels.FAR_VALUE] = far_value
                factor = sign * (scale if left_leaf and right_leaf else 1.0)
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
                if left_leaf and right_leaf:
                    kind = kernels.LEAVES
                else:
                    kind = kernels.DOWN_ONE if left_leaf or right_leaf else kernels.DOWN_TWO
                steps[at, kernels.KIND] = kind + again
                steps[at, kernels.FEATURE] = f * BLOCK
                steps[at, kernels.MISSING_LEFT] = missing_left[node]
                steps[at, kernels.ABOVE] = (2 * above + path_side[above]) * VECTORS if again else 0
                steps[at, kernels.HERE] = 2 * level * VECTORS
                steps[at, kernels.PLACE] = place
                steps[at, kernels.NEAR] = near
                steps[at, kernels.FAR] = far
                steps[at, kernels.CONSTANT] = constant - tree_constants[tree]
                at_level[level] = at
                at += 1
                constant += CONSTANTS + 3 * n_points
                if kind == kernels.LEAVES:
                    height -= 1
                    continue
                child = a if near_is_left else a + 1
                path_side[level] = child - a
                nodes[height], level_of[height], place_of[height], begun[height] = child, level + 1, near, 0
                height += 1
            elif phase == 1 and not (left_leaf or right_leaf):
                path_side[level] = 1
                nodes[height], level_of[height], place_of[height], begun[height] = a + 1, level + 1, far, 0
                height += 1
            else:
                steps[at] = steps[at_level[level]]
                steps[at, kernels.KIND] += kernels.UP_ONE - kernels.DOWN_ONE
                at += 1
                height -= 1
