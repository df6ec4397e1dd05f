"""The last resort: scikit-learn grows the trees and walks them; a `Forest` is made of them and turned back.

Its draws are scikit-learn's own, so the same seed gives another forest here than on the other backends.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import sklearn
from joblib import Parallel, delayed
from numpy.typing import NDArray
from sklearn.ensemble import IsolationForest
from sklearn.tree._tree import NODE_DTYPE, Tree

from mlx_iforest.forest import LEAF, Forest
from mlx_iforest.growth import GrowthPlan
from mlx_iforest.randomness import threefry2x32

__all__ = ["SklearnBackend"]


class SklearnBackend:
    """Grows and scores with scikit-learn's compiled trees."""

    name = "sklearn"

    def grow(self, X: NDArray[np.float32], plan: GrowthPlan, *, n_threads: int) -> Forest:
        # scikit-learn draws one stream for the whole forest, so trees that join later need a seed of their own.
        words = threefry2x32(
            *(np.array([w], np.uint32) for w in (plan.seed & 0xFFFFFFFF, plan.seed >> 32, plan.first_tree, 0))
        )
        model = IsolationForest(
            n_estimators=plan.n_trees,
            max_samples=plan.subsample_size,
            max_features=plan.features_per_tree,
            bootstrap=plan.bootstrap,
            n_jobs=n_threads,
            random_state=int(words[0][0]),
        ).fit(X)
        trees = [
            _to_forest(estimator.tree_, features, plan.n_features)
            for estimator, features in zip(model.estimators_, model.estimators_features_, strict=True)
        ]
        return Forest.concatenate(trees)

    def path_lengths(
        self, forest: Forest, X: NDArray[np.float32], *, n_threads: int, batch_size: int | None
    ) -> NDArray[np.float64]:
        trees = [to_sklearn_tree(forest.trees(i, i + 1)) for i in range(forest.n_trees)]
        rows = max(1, batch_size or -(-len(X) // n_threads))

        def task(part: NDArray[np.float32]) -> NDArray[np.float64]:
            part = np.ascontiguousarray(part)
            total = np.zeros(len(part))
            for i, tree in enumerate(trees):
                total += forest.path_length[forest.tree_start[i] + tree.apply(part)]
            return total / forest.n_trees

        parts = [X[start : start + rows] for start in range(0, len(X), rows)]
        results = Parallel(n_jobs=n_threads, require="sharedmem")(delayed(task)(part) for part in parts)
        return np.concatenate(results)

    def peak_memory(self) -> int | None:
        return None

    def describe(self) -> dict[str, Any]:
        return {"scikit-learn": sklearn.__version__}


def _to_forest(tree: Tree, features: NDArray[np.integer], n_features: int) -> Forest:
    """One scikit-learn tree, renumbered breadth-first, as a `Forest`.

    Its thresholds are float64 and its data float32: the largest float32 that is <= the threshold asks every float32
    the same question.
    """
    order = [0]
    for node in order:
        if tree.children_left[node] >= 0:
            order += [tree.children_left[node], tree.children_right[node]]
    nodes = np.array(order)
    is_split = tree.children_left[nodes] >= 0
    wide = tree.threshold[nodes]
    threshold = wide.astype(np.float32)
    threshold = np.where(threshold > wide, np.nextafter(threshold, np.float32(-np.inf)), threshold)
    return Forest.from_growth(
        n_features,
        np.array([0, len(nodes)], np.int64),
        np.where(is_split, np.asarray(features)[np.maximum(tree.feature[nodes], 0)], LEAF).astype(np.int32),
        np.where(is_split, threshold, 0).astype(np.float32),
        tree.missing_go_to_left[nodes].astype(np.bool_) & is_split,
        tree.n_node_samples[nodes].astype(np.int32),
    )


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
