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
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mlx_iforest.explain import kernels
from mlx_iforest.explain.background_kernels import add_against
from mlx_iforest.explain.kernels import BLOCK
from mlx_iforest.explain.layout import Layout
from mlx_iforest.explain.pair_kernels import add_interactions
from mlx_iforest.explain.reference import expectations, sampled_shares
from mlx_iforest.forest import Forest
from mlx_iforest.kernel_input import check_rows

__all__ = ["ExplainedTrees"]

GROUP_STEPS = 256
"""Steps, at least, whose sums are added up in float32 before they go to float64."""

GROUP_SHARE = 16
"""Steps of each feature, at least, before that: moving sums takes as long as a few steps do."""

PAIR_SHARE = 4
"""Steps of each pair of features, likewise; a step adds to several."""

PIECE_BYTES = 1 << 19
"""Of the room for rows and their Shapley values."""

MOST_BLOCKS = 16
"""Blocks of rows between which a group's tables stay in the cache."""


@dataclass(frozen=True)
class ExplainedTrees:
    """The steps of every tree, and the numbers that they compute with.

    Parameters
    ----------
    layout : Layout
    zero : ndarray of float64, shape (n_trees,)
        What leaves count for less. Shapley values do not depend on it; near a tree's mean, float32 is finer.
    sides : ndarray of float64, shape (n_splits, 2)
        `Layout.shares_of_sides`.
    constants : ndarray of float32
        As `kernels.add_shapley_values` takes them.
    """

    layout: Layout
    zero: NDArray[np.float64]
    sides: NDArray[np.float64]
    constants: NDArray[np.float32]

    @property
    def n_features(self) -> int:
        return self.layout.n_features

    @property
    def pairs(self) -> NDArray[np.int64]:
        """As `explain.Explainer.pairs`."""
        return self.layout.pairs.features

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
        return cls._of_layout(Layout.of(forest, values), expectations(forest, values), sampled_shares(forest))

    def with_shares(self, left_shares: NDArray[np.float64]) -> ExplainedTrees:
        """As `explain.Explainer.with_shares`."""
        return self._of_layout(self.layout, self.zero, left_shares)

    @classmethod
    def _of_layout(cls, layout: Layout, zero: NDArray[np.float64], left_shares: NDArray[np.float64]) -> ExplainedTrees:
        sides = layout.shares_of_sides(left_shares)
        return cls(layout, zero, sides, layout.constants(zero, left_shares, sides))

    @cached_property
    def _pair_weights(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """What `pair_kernels` takes as `weights` and `gone`."""
        # Trees that take fewer points never read those at 0.5.
        t, z = np.where(self.layout.points > 0, self.layout.points, 0.5), self.sides.reshape(-1, 1)
        t_of_side = np.repeat(t, 2 * np.diff(self.layout.tree_splits), axis=0)
        return ((1 - z) / (z + t_of_side * (1 - z))).astype(np.float32), (-1 / (1 - t)).astype(np.float32)

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
        layout, width = self.layout, self.n_features * BLOCK
        n_blocks = max(1, min(MOST_BLOCKS, PIECE_BYTES // (12 * width), -(-len(X) // BLOCK)))
        kernels.add_shapley_values(
            X, layout.tree_steps, layout.tree_constants, layout.tree_points, layout.weights, layout.steps,
            self.constants, self._groups(parts, GROUP_SHARE * self.n_features), np.ascontiguousarray(factors),
            np.zeros(layout.n_masks, np.uint16), _aligned(layout.n_work), _aligned(width), np.zeros(BLOCK),
            _aligned(n_blocks * width).reshape(n_blocks, width), np.empty((n_blocks, width)),
            np.empty(0) if expected is None else expected, fresh, out,
        )  # fmt: skip

    @cached_property
    def _against(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """What `background_kernels` takes as `points` and `constants`."""
        nothing = np.zeros(len(self.layout.feature))
        constants = self.layout.constants(self.zero, nothing, self.layout.shares_of_sides(nothing))
        return self.layout.points.astype(np.float32), constants

    def add_against(
        self,
        X: NDArray[np.float32],
        background: NDArray[np.float32],
        parts: Sequence[tuple[int, int]],
        factors: NDArray[np.float64],
        out: NDArray[np.float64],
    ) -> None:
        """As `explain.Explainer.add_against`."""
        X, background = check_rows(X, self.n_features), check_rows(background, self.n_features)
        layout, width = self.layout, self.n_features * BLOCK
        add_against(
            X.repeat(len(background), axis=0), np.tile(background, (len(X), 1)), len(background), layout.tree_steps,
            layout.tree_constants, layout.tree_points, self._against[0], layout.weights, layout.steps,
            self._against[1], self._groups(parts, GROUP_SHARE * self.n_features), np.ascontiguousarray(factors),
            np.zeros((2, layout.n_masks), np.uint16), _aligned(layout.n_work), _aligned(width), np.zeros(BLOCK),
            _aligned(2 * width).reshape(2, width), np.empty(width), out,
        )  # fmt: skip

    def add_interactions(
        self,
        X: NDArray[np.float32],
        parts: Sequence[tuple[int, int]],
        factors: NDArray[np.float64],
        out: NDArray[np.float64],
    ) -> None:
        """As `explain.Explainer.add_interactions`."""
        X = check_rows(X, self.n_features)
        layout, pairs = self.layout, self.layout.pairs
        n_pairs = len(pairs.features)
        if not n_pairs:
            return
        weights, gone = self._pair_weights
        add_interactions(
            X, layout.tree_steps, layout.tree_constants, layout.tree_points, layout.weights, layout.steps,
            self.constants, layout.tree_pairs, pairs.places, layout.tree_splits, weights,
            gone, self._groups(parts, PAIR_SHARE * n_pairs), np.ascontiguousarray(factors),
            np.zeros(layout.n_masks, np.uint16), _aligned(layout.n_work), _aligned(layout.points.shape[1] * BLOCK),
            _aligned(n_pairs * BLOCK), np.zeros(BLOCK), _aligned(self.n_features * BLOCK), np.empty(n_pairs * BLOCK),
            out,
        )  # fmt: skip

    def _groups(self, parts: Sequence[tuple[int, int]], most: int) -> NDArray[np.int64]:
        """The trees of each part, in groups of about so many steps, and the part's number."""
        tree_steps, most, groups = self.layout.tree_steps, max(GROUP_STEPS, most), []
        for number, (first, stop) in enumerate(parts):
            group_of_tree = (tree_steps[first:stop] - tree_steps[first]) // most
            begins = first + np.flatnonzero(np.diff(group_of_tree, prepend=-1))
            groups += [(a, b, number) for a, b in pairwise([*begins.tolist(), stop])]
        return np.array(groups)


def _aligned(size: int) -> NDArray[np.float32]:
    """Zeros that begin with a cache line."""
    room = np.zeros(size + 16, np.float32)
    begin = -room.ctypes.data % 64 // 4
    return room[begin : begin + size]
