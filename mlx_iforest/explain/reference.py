"""Shapley values of a forest and their interactions, leaf by leaf: slow, obvious, and what fast kernels must equal.

One leaf counts for something only where a row satisfies every question on the way to it. Those on one feature i hold
or not, o_i = 1 or 0; where feature i is unknown, they hold for the share z_i of the samples: the product, over the
questions on i, of the share that went this way. So with the features S known, the leaf is worth

    v(S) = value * prod_{i in S} o_i * prod_{i not in S} z_i

and that is how path-dependent TreeSHAP defines it ([1]_). The Shapley value of a feature is its mean marginal
contribution when each other feature is known with probability t, averaged over t in [0, 1] ([2]_):

    phi_i = value * (o_i - z_i) * integral_0^1 prod_{j != i} (z_j + t * (o_j - z_j)) dt

and the interaction of two features is what both are worth together beyond what each is worth without the other, in the
same average ([3]_):

    phi_ij = value * (o_i - z_i) * (o_j - z_j) * integral_0^1 prod_{k != i, j} (z_k + t * (o_k - z_k)) dt

For a leaf with n features on its way the first integrand is a polynomial of degree n - 1, and ceil(n / 2)
Gauss-Legendre points integrate both exactly. Shapley values and interactions add up over leaves and trees.

Where unknown features are those of another row (interventional TreeSHAP), all of the samples go the way of that row:
z_i is 1 where it satisfies the questions on i, else 0, and the same formulas hold.

References
----------
.. [1] Lundberg et al. From local explanations to global understanding with explainable AI for trees. Nature Machine
   Intelligence 2, 2020; algorithm 1.
.. [2] Owen. Multilinear extensions of games. Management Science 18(5), 1972.
.. [3] Grabisch and Roubens. An axiomatic approach to the concept of interaction among players in cooperative games.
   International Journal of Game Theory 28, 1999.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from mlx_iforest.forest import Forest, split_levels

__all__ = ["ReferenceTrees", "expectations", "gauss_legendre", "sampled_shares", "settle", "shares_of_row"]

Way = dict[int, tuple[NDArray[np.bool_], float]]
"""For each feature asked about: which rows satisfy all questions on it, and the share of the samples that did."""


def gauss_legendre(n_points: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points and weights on [0, 1] that integrate polynomials of degree ``2 * n_points - 1`` exactly."""
    points, weights = np.polynomial.legendre.leggauss(n_points)
    return (points + 1) / 2, weights / 2


def expectations(forest: Forest, values: NDArray[np.float32]) -> NDArray[np.float64]:
    """Of each tree, what it is worth where no feature is known.

    Parameters
    ----------
    values : ndarray of float32, shape (n_nodes,)
        Read at leaves.

    Returns
    -------
    ndarray of float64, shape (n_trees,)
        The mean of the leaves' values by the samples that reached them.
    """
    expected = values.astype(np.float64)
    samples = forest.n_samples.astype(np.float64)
    for splits, left in reversed(list(split_levels(forest.tree_start, forest.left))):
        below = samples[left] * expected[left] + samples[left + 1] * expected[left + 1]
        expected[splits] = below / (samples[left] + samples[left + 1])
    return expected[forest.tree_start[:-1]]


def settle(values: NDArray[np.float64], total: NDArray[np.float64]) -> None:
    """Let rows add up to `total`: what is left over goes to features in proportion to the size of what they have."""
    size = np.abs(values)
    sums = size.sum(axis=1)
    rest = (total - values.sum(axis=1)) / np.where(sums > 0, sums, 1.0)
    size *= rest[:, None]
    values += size


def sampled_shares(forest: Forest) -> NDArray[np.float64]:
    """Of each split, the share of its training samples that went left, shape (n_nodes,); 0 at leaves."""
    shares = np.zeros(forest.n_nodes)
    samples = forest.n_samples.astype(np.float64)
    for splits, left in split_levels(forest.tree_start, forest.left):
        shares[splits] = samples[left] / (samples[left] + samples[left + 1])
    return shares


def shares_of_row(forest: Forest, x: NDArray[np.float32]) -> NDArray[np.float64]:
    """Of each split, 1 if a row goes left there, else 0, shape (n_nodes,)."""
    values = x[np.maximum(forest.feature, 0)]
    return np.where(np.isnan(values), forest.missing_left, values <= forest.threshold).astype(np.float64)


@dataclass(frozen=True)
class ReferenceTrees:
    """Trees of splits on single features, values of their leaves, and what goes left where a feature is unknown.

    Parameters
    ----------
    forest : Forest
    values : ndarray of float32, shape (n_nodes,)
        Read at leaves.
    left_shares : ndarray of float64, shape (n_nodes,)
        Read at splits: `sampled_shares` or `shares_of_row`.
    """

    forest: Forest
    values: NDArray[np.float32]
    left_shares: NDArray[np.float64]

    @classmethod
    def of(cls, forest: Forest, values: NDArray[np.float32]) -> ReferenceTrees:
        """As `tables.ExplainedTrees.of`."""
        return cls(forest, values, sampled_shares(forest))

    def with_shares(self, left_shares: NDArray[np.float64]) -> ReferenceTrees:
        """As `explain.Explainer.with_shares`."""
        return replace(self, left_shares=left_shares)

    @property
    def pairs(self) -> NDArray[np.int64]:
        """As `explain.Explainer.pairs`."""
        return np.stack(np.triu_indices(self.forest.n_features, 1), axis=1)

    def shapley_values(self, X: NDArray[np.float32], first: int, stop: int) -> NDArray[np.float64]:
        """The Shapley values of the sum over the trees [first, stop).

        Parameters
        ----------
        X : ndarray of float32, shape (n_rows, n_features)
            Finite or NaN.

        Returns
        -------
        ndarray of float64, shape (n_rows, n_features)
        """
        phi = np.zeros(X.shape)
        for (i,), worth in self._terms(X, first, stop, 1):
            phi[:, i] += worth
        return phi

    def interactions(self, X: NDArray[np.float32], first: int, stop: int) -> NDArray[np.float64]:
        """Those of the sum over the trees [first, stop), shape (n_rows, n_features, n_features); 0 on the diagonal."""
        phi = np.zeros((*X.shape, X.shape[1]))
        for (i, j), worth in self._terms(X, first, stop, 2):
            phi[:, i, j] += worth
            phi[:, j, i] += worth
        return phi

    def _terms(
        self, X: NDArray[np.float32], first: int, stop: int, size: int
    ) -> Iterator[tuple[tuple[int, ...], NDArray[np.float64]]]:
        """What each leaf adds to each set of so many features on its way."""
        for tree in range(first, stop):
            for value, way in self._leaves(X, int(self.forest.tree_start[tree])):
                for t, weight in zip(*gauss_legendre((len(way) + 1) // 2), strict=True) if way else ():
                    for chosen in combinations(way, size):
                        worth = np.full(len(X), value * weight)
                        for i, (holds, share) in way.items():
                            gain = holds - share
                            worth *= gain if i in chosen else share + t * gain
                        yield chosen, worth

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
        if fresh:
            out[:] = 0
        for part, factor in zip(parts, factors, strict=True):
            out += factor[:, None] * self.shapley_values(X, *part)
        if expected is not None:
            settle(out, expected)

    def add_against(
        self,
        X: NDArray[np.float32],
        background: NDArray[np.float32],
        parts: Sequence[tuple[int, int]],
        factors: NDArray[np.float64],
        out: NDArray[np.float64],
    ) -> None:
        """As `explain.Explainer.add_against`."""
        for k, row in enumerate(background):
            against = self.with_shares(shares_of_row(self.forest, row))
            against.add(X, parts, factors[:, k :: len(background)], out, fresh=False, expected=None)

    def add_interactions(
        self,
        X: NDArray[np.float32],
        parts: Sequence[tuple[int, int]],
        factors: NDArray[np.float64],
        out: NDArray[np.float64],
    ) -> None:
        """As `explain.Explainer.add_interactions`."""
        i, j = self.pairs.T
        for part, factor in zip(parts, factors, strict=True):
            out += factor[:, None] * self.interactions(X, *part)[:, i, j]

    def _leaves(self, X: NDArray[np.float32], root: int) -> Iterator[tuple[float, Way]]:
        """The value of each leaf of a tree, and the way to it."""
        forest = self.forest
        ways: list[tuple[int, Way]] = [(root, {})]
        while ways:
            node, way = ways.pop()
            i = int(forest.feature[node])
            if i < 0:
                yield float(self.values[node]), way
                continue
            column = X[:, i]
            goes_left = np.where(np.isnan(column), forest.missing_left[node], column <= forest.threshold[node])
            left, share_left = root + int(forest.left[node]), float(self.left_shares[node])
            for child, goes, part in ((left, goes_left, share_left), (left + 1, ~goes_left, 1 - share_left)):
                holds, share = way.get(i, (np.ones(len(X), np.bool_), 1.0))
                ways.append((child, {**way, i: (holds & goes, share * part)}))
