"""The last resort: scikit-learn grows the trees and walks them; a `Forest` is made of them and turned back.

Its draws are scikit-learn's own, so the same seed gives another forest here than on the other backends.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import sklearn
from numpy.typing import NDArray
from scipy.sparse import csc_matrix
from sklearn.tree import ExtraTreeRegressor
from sklearn.tree._tree import NODE_DTYPE, Tree

from mlx_iforest.backends.base import fair_share
from mlx_iforest.backends.memoize import MadeOnce
from mlx_iforest.forest import LEAF, Forest
from mlx_iforest.growth import GrowthPlan
from mlx_iforest.kernel_input import check_rows, check_values
from mlx_iforest.threads import run

__all__ = ["SklearnBackend", "breadth_first", "to_forest", "to_sklearn_tree"]


class SklearnBackend:
    """Grows and scores with scikit-learn's compiled trees."""

    name = "sklearn"

    def piece_rows(self, n_rows: int, n_features: int, n_threads: int) -> int:
        return fair_share(16_384, n_rows, n_threads)

    def grow(self, X: NDArray[np.float32], plan: GrowthPlan, *, n_threads: int) -> Forest:
        if plan.extension_level:
            raise ValueError(
                "the 'sklearn' backend cannot grow oblique splits (extension_level > 0): scikit-learn's trees have no "
                "such thing; use backend='numba' or 'mlx'"
            )
        X = plan.check_rows(X)

        def task(tree: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint32]]) -> Forest:
            rows, features, key = tree
            sample = X[rows]
            # A random split is good for any target; scikit-learn only stops early where the target is constant.
            target = np.arange(len(rows)) % 7 if len(rows) > 1 else np.zeros(1)
            grown = ExtraTreeRegressor(max_features=1, max_depth=plan.max_depth, random_state=int(key[0]))
            grown.fit(np.ascontiguousarray(sample[:, features]), target)
            return to_forest(grown.tree_, features, X.shape[1], sample)

        trees = list(zip(plan.rows(), plan.features(), plan.split_keys(), strict=True))
        return Forest.concatenate(run(task, trees, n_threads))

    def leaf_means(self, forest: Forest, values: NDArray[np.float32], X: NDArray[np.float32]) -> NDArray[np.float64]:
        if forest.direction_feature is not None:
            raise ValueError(
                "the 'sklearn' backend cannot score oblique splits: scikit-learn's trees have no such thing; "
                "use backend='numba' or 'mlx'"
            )
        check_values(forest, values)
        rows = check_rows(X, forest.n_features)
        total = np.zeros((len(X), values.shape[1]))
        for start, tree in zip(forest.tree_start, _trees(forest), strict=False):
            total += values[start + tree.apply(rows)]
        return total / forest.n_trees

    def peak_memory(self) -> int | None:
        return None

    def describe(self) -> dict[str, Any]:
        return {"scikit-learn": sklearn.__version__}


def _make_trees(forest: Forest) -> list[Tree]:
    forest.ensure_valid()
    return [to_sklearn_tree(forest.trees(i, i + 1)) for i in range(forest.n_trees)]


_trees = MadeOnce(_make_trees)


def breadth_first(tree: Tree) -> NDArray[np.int64]:
    """A scikit-learn tree's nodes in the order of a `Forest`'s: level by level, children side by side."""
    levels = [np.zeros(1, np.int64)]
    while levels[-1].size:
        splits = levels[-1][tree.children_left[levels[-1]] >= 0]
        levels.append(np.stack([tree.children_left[splits], tree.children_right[splits]], axis=1).ravel())
    return np.concatenate(levels)


def to_forest(
    tree: Tree, features: NDArray[np.integer], n_features: int, sample: NDArray[np.float32] | None = None
) -> Forest:
    """One scikit-learn tree, renumbered breadth-first, as a `Forest`.

    Its thresholds are float64 and its data float32: the largest float32 that is <= the threshold asks every float32
    the same question.

    Parameters
    ----------
    tree : sklearn.tree._tree.Tree
    features : ndarray of int, shape (n_tree_features,)
        The data's column for each of the tree's features.
    n_features : int
        Columns of the data.
    sample : ndarray of float32, shape (n_samples, n_features), optional
        What the tree was grown on; without it there are no densities, which need the range of the nodes.
    """
    nodes = breadth_first(tree)
    is_split = tree.children_left[nodes] >= 0
    # An infinite threshold divides what is present from what is missing.
    wide = np.minimum(tree.threshold[nodes], np.finfo(np.float32).max)
    threshold = wide.astype(np.float32)
    above = threshold > wide
    threshold[above] = np.nextafter(threshold[above], np.float32(-np.inf))
    threshold = np.where(is_split, threshold, 0).astype(np.float32)
    feature = np.where(is_split, np.asarray(features)[np.maximum(tree.feature[nodes], 0)], LEAF).astype(np.int32)
    left_share = None
    if sample is not None:
        visits = tree.decision_path(np.ascontiguousarray(sample[:, features])).tocsc()[:, nodes]
        left_share = _left_shares(sample, visits, feature, threshold)
    return Forest.from_growth(
        n_features,
        np.array([0, len(nodes)], np.int64),
        feature,
        threshold,
        tree.missing_go_to_left[nodes].astype(np.bool_) & is_split,
        # A node that weights left empty counts as one sample: both have no path left.
        np.maximum(tree.n_node_samples[nodes], 1).astype(np.int32),
        left_share,
    )


def _left_shares(
    sample: NDArray[np.float32], visits: csc_matrix, feature: NDArray[np.int32], threshold: NDArray[np.float32]
) -> NDArray[np.float32]:
    """At each split the part of its node's range that lies on the left; `visits` says which rows reach which node."""
    shares = np.zeros(len(feature), np.float32)
    for node in np.flatnonzero(feature >= 0):
        rows = visits.indices[visits.indptr[node] : visits.indptr[node + 1]]
        values = sample[rows, feature[node]].astype(np.float64)
        present = values[~np.isnan(values)]
        # scikit-learn also splits present values, all alike or none, from missing ones: then no range is divided.
        shares[node] = 0.5
        if present.size and present.min() < present.max():
            shares[node] = (threshold[node] - present.min()) / (present.max() - present.min())
    return shares


def to_sklearn_tree(forest: Forest) -> Tree:
    """A `Forest` of one tree as scikit-learn's compiled tree; node numbers stay."""
    nodes = np.zeros(forest.n_nodes, dtype=NODE_DTYPE)
    is_split = forest.feature >= 0
    nodes["left_child"] = forest.left
    nodes["right_child"] = np.where(is_split, forest.left + 1, LEAF)
    nodes["feature"] = np.where(is_split, forest.feature, -2)
    nodes["threshold"] = np.where(is_split, forest.threshold, -2.0)
    nodes["n_node_samples"] = forest.n_samples
    nodes["weighted_n_node_samples"] = forest.n_samples
    nodes["missing_go_to_left"] = forest.missing_left
    tree = Tree(forest.n_features, np.array([1], dtype=np.intp), 1)
    tree.__setstate__(
        {
            "max_depth": forest.max_depth,
            "node_count": forest.n_nodes,
            "nodes": nodes,
            "values": np.zeros((forest.n_nodes, 1, 1)),
        }
    )
    return tree
