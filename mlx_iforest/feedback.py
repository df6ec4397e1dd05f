"""Verdicts on rows move the values of the leaves that they fall into: the forest learns from its user.

What a verdict says of a row it says of rows that share leaves with it. With K(x, x'), the share of trees in which two
rows fall into one leaf (the kernel of a forest, [1]_), the verdicts y are spread by kernel ridge regression: the row x
moves by ``sum_j a_j K(x, x_j)``, where ``(K + RIDGE I) a = y``. K is a sum over leaves, so this is exactly one number
added to each leaf. As in [2]_ and [3]_ leaves are weighted anew; here one small system is solved, so that the order of
the verdicts does not matter and the last counts as much as the first.

References
----------
.. [1] Davies and Ghahramani. The Random Forest Kernel. arXiv:1402.4293, 2014.
.. [2] Das, Wong, Fern, Dietterich and Siddiqui. Incorporating Feedback into Tree-based Anomaly Detection.
   arXiv:1708.09441, 2017.
.. [3] Siddiqui, Fern, Dietterich, Wright, Theriault and Archer. Feedback-Guided Anomaly Discovery via Online
   Optimization. KDD 2018.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlx_iforest.forest import LEAF, LEAF_VALUES, Forest
from mlx_iforest.score_function import ScoreFunction

__all__ = ["MOST_VERDICTS", "Feedback", "as_verdicts", "leaves_of"]

RIDGE = 0.3
"""What is added to K's diagonal, of ones: how little one verdict is believed against others on the same leaves."""

MOST_VERDICTS = 1000
"""Time goes by their cube: of so many, one and a half seconds for each part of the score function."""

STRENGTH = 4.0
"""Of a verdict that is believed: by so many standard deviations, of leaf values over training rows, a row moves."""


@dataclass(frozen=True, eq=False)
class Feedback:
    """The log of verdicts, and the leaf values as they were without any.

    Parameters
    ----------
    leaves : ndarray of int32, shape (n_verdicts, n_trees)
        The node of the forest that each judged row falls into, in each tree.
    verdicts : ndarray of int64, shape (n_verdicts,)
        -1 for an anomaly, +1 for a normal row, in the order in which they were given.
    untaught : dict of str to ndarray of float32, shape (n_nodes,)
        Those of `LEAF_VALUES` that verdicts move.
    """

    leaves: NDArray[np.int32]
    verdicts: NDArray[np.int64]
    untaught: dict[str, NDArray[np.float32]]

    @classmethod
    def none(cls, forest: Forest, function: ScoreFunction) -> Feedback:
        """No verdicts, on a forest as it is."""
        untaught = {name: values for name, values in forest.arrays().items() if name in function.used}
        return cls(np.empty((0, forest.n_trees), np.int32), np.empty(0, np.int64), untaught)

    def with_more(self, leaves: NDArray[np.int32], verdicts: NDArray[np.int64]) -> Feedback:
        """The log with more verdicts behind.

        Raises
        ------
        ValueError
            More than `MOST_VERDICTS` in all.
        """
        if len(self.verdicts) + len(verdicts) > MOST_VERDICTS:
            raise ValueError(
                f"{len(self.verdicts)} verdicts and {len(verdicts)} more are beyond {MOST_VERDICTS}, the most that are"
                " learned from; forget the oldest"
            )
        return replace(
            self, leaves=np.concatenate([self.leaves, leaves]), verdicts=np.concatenate([self.verdicts, verdicts])
        )

    def without(self, places: ArrayLike) -> Feedback:
        """The log without the verdicts at these places of it.

        Raises
        ------
        IndexError
            There is no such verdict.
        TypeError
            Something else than whole numbers.
        """
        places = np.atleast_1d(np.asarray(places))
        if places.size and places.dtype.kind not in "iu":
            raise TypeError(f"verdicts are named by their places in feedback_, whole numbers; got {places.dtype}")
        there = len(self.verdicts)
        if places.size and not (-there <= places.min() and places.max() < there):
            raise IndexError(f"there are {there} verdicts to forget; their places are {-there} to {there - 1}")
        keep = np.ones(there, np.bool_)
        keep[places.astype(np.int64)] = False
        return replace(self, leaves=self.leaves[keep], verdicts=self.verdicts[keep])

    def forget_all(self, forest: Forest) -> Forest:
        """The forest as it was before any verdict."""
        return _with_values(forest, self.untaught)

    def teach(self, forest: Forest, function: ScoreFunction) -> Forest:
        """The forest with its leaf values as the verdicts move them; every part of the function learns for itself."""
        taught = {name: values.copy() for name, values in self.untaught.items()}
        for part in function.parts:
            nodes = slice(int(forest.tree_start[part.first]), int(forest.tree_start[part.stop]))
            moved = _moved(
                self.leaves[:, part.first : part.stop] - nodes.start, self.verdicts, nodes.stop - nodes.start
            )
            rows = np.where(forest.feature[nodes] == LEAF, forest.n_samples[nodes], 0)
            for name in {view.leaf_value for view in part.views}:
                values = taught[name][nodes]
                unit = STRENGTH * _deviation(self.untaught[name][nodes], rows)
                values[:] = np.clip(values + unit * moved, *LEAF_VALUES[name])
        return _with_values(forest, taught)


def _with_values(forest: Forest, values: dict[str, NDArray[np.float32]]) -> Forest:
    return Forest(forest.n_features, **{**forest.arrays(), **values})


def _moved(leaves: NDArray[np.int32], verdicts: NDArray[np.int64], n_nodes: int) -> NDArray[np.float64]:
    """What the verdicts add to each node, 1 where one is believed fully, shape (n_nodes,)."""
    n_trees = leaves.shape[1]
    kernel = np.array([(leaves == row).sum(axis=1) for row in leaves]) / n_trees
    weights = _solve(kernel + RIDGE * np.eye(len(leaves)), verdicts.astype(np.float64))
    return np.bincount(leaves.ravel(), np.repeat(weights, n_trees), n_nodes).astype(np.float64)


def _solve(matrix: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gaussian elimination of a positive definite system, number by number: BLAS rounds otherwise on each machine."""
    for k in range(len(right)):
        factor = matrix[k + 1 :, k] / matrix[k, k]
        matrix[k + 1 :, k + 1 :] -= factor[:, None] * matrix[k, k + 1 :]
        right[k + 1 :] -= factor * right[k]
    for k in reversed(range(len(right))):
        right[k] /= matrix[k, k]
        right[:k] -= matrix[:k, k] * right[k]
    return right


def _deviation(values: NDArray[np.float32], rows: NDArray[np.int32]) -> float:
    """The standard deviation of the nodes' values, each as often as it has rows; `fsum` rounds alike everywhere."""
    wide, total = values.astype(np.float64), int(rows.sum(dtype=np.int64))
    mean = math.fsum(wide * rows) / total
    return math.sqrt(math.fsum((wide - mean) ** 2 * rows) / total)


def leaves_of(forest: Forest, X: NDArray[np.float32]) -> NDArray[np.int32]:
    """The leaf of each row in each tree, by its place among all nodes.

    Parameters
    ----------
    forest : Forest
        Valid.
    X : ndarray of float32, shape (n_samples, n_features)
        NaN is a missing value.

    Returns
    -------
    ndarray of int32, shape (n_samples, n_trees)
    """
    start = forest.tree_start[:-1]
    node, rows = np.broadcast_to(start, (len(X), len(start))), np.arange(len(X))[:, None]
    while (is_split := forest.feature[node] != LEAF).any():
        if forest.direction_feature is None or forest.direction_weight is None:
            value = X[rows, np.maximum(forest.feature[node], 0)]
        else:
            # Term after term in float32: the order and the roundings are part of an oblique split.
            value = np.zeros(node.shape, np.float32)
            for term in range(forest.direction_feature.shape[1]):
                value = value + X[rows, forest.direction_feature[node, term]] * forest.direction_weight[node, term]
        goes_left = np.where(np.isnan(value), forest.missing_left[node], value <= forest.threshold[node])
        node = np.where(is_split, start + forest.left[node] + np.where(goes_left, 0, 1), node)
    return node.astype(np.int32)


def as_verdicts(y: Any, n_rows: int) -> NDArray[np.int64]:
    """Verdicts, checked.

    Raises
    ------
    ValueError
        Not one -1 or +1 a row.
    """
    given = np.asarray(y)
    if given.shape != (n_rows,):
        raise ValueError(f"y has shape {given.shape}; give one verdict for each of the {n_rows} rows of X")
    if given.dtype.kind not in "if" or not np.isin(given, (-1, 1)).all():
        raise ValueError("y must hold verdicts: -1 for an anomaly, +1 for a normal row, and nothing else")
    return given.astype(np.int64)
