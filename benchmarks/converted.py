"""Predictors of boosted trees that score a forest which they did not grow: the fastest others there are.

oneDAL (`scikit-learn-intelex`) takes trees through treelite, XGBoost as a model in JSON. Both add up path lengths; the
score is made of the sums as scikit-learn does.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import IsolationForest

from mlx_iforest import MLXIsolationForest
from mlx_iforest.scoring import average_path_length

__all__ = ["Converted", "booster", "onedal", "xgboost"]

Data = NDArray[np.float32]


@dataclass(frozen=True)
class Converted:
    """A forest in another library's hands.

    Parameters
    ----------
    predict : callable
        From rows, float32 in C order, to their mean path lengths.
    max_samples : int
        Of a tree.
    """

    predict: Callable[[Data], NDArray[Any]]
    max_samples: int

    def score_samples(self, X: Data) -> NDArray[np.float64]:
        """As scikit-learn's."""
        scores: NDArray[np.float64] = -np.exp2(self.predict(X) / -float(average_path_length(self.max_samples)))
        return scores


def onedal(forest: IsolationForest, jobs: int) -> Converted:
    """The forest as oneDAL's, with so many threads for all of oneDAL's models."""
    import daal4py
    import treelite

    daal4py.daalinit(jobs)
    model = daal4py.mb.convert_model(treelite.sklearn.import_model(forest))
    return Converted(model.predict, int(forest._max_samples))


def xgboost(forest: IsolationForest, jobs: int) -> Converted:
    """The forest in XGBoost's hands."""
    return Converted(booster(forest, jobs).inplace_predict, int(forest._max_samples))


def booster(forest: IsolationForest, jobs: int) -> Any:
    """The forest as XGBoost's regression trees."""
    from xgboost import Booster

    trees = MLXIsolationForest.from_sklearn(forest).forest_
    described = []
    for number, (start, stop) in enumerate(pairwise(trees.tree_start.tolist())):
        nodes = slice(start, stop)
        left = trees.left[nodes]
        is_leaf = left < 0
        parents = np.full(len(left), np.iinfo(np.int32).max, np.int64)
        splits = np.flatnonzero(~is_leaf)
        parents[left[splits]] = parents[left[splits] + 1] = splits
        # XGBoost sends what is less to the left, not what is equal.
        above = np.nextafter(trees.threshold[nodes], np.float32(np.inf))
        value = np.where(is_leaf, trees.path_length[nodes] / np.float32(trees.n_trees), above)
        described.append(
            {
                "id": number,
                "left_children": left.tolist(),
                "right_children": np.where(is_leaf, -1, left + 1).tolist(),
                "parents": parents.tolist(),
                "split_indices": np.maximum(trees.feature[nodes], 0).tolist(),
                "split_conditions": value.astype(float).tolist(),
                "base_weights": value.astype(float).tolist(),
                "default_left": trees.missing_left[nodes].astype(int).tolist(),
                "split_type": [0] * len(left),
                "loss_changes": np.zeros(len(left)).tolist(),
                "sum_hessian": trees.n_samples[nodes].astype(float).tolist(),
                "categories": [],
                "categories_nodes": [],
                "categories_segments": [],
                "categories_sizes": [],
                "tree_param": {
                    "num_deleted": "0",
                    "num_feature": str(trees.n_features),
                    "num_nodes": str(len(left)),
                    "size_leaf_vector": "1",
                },
            }
        )
    model = {
        "gbtree_model_param": {"num_parallel_tree": "1", "num_trees": str(trees.n_trees)},
        "iteration_indptr": list(range(trees.n_trees + 1)),
        "tree_info": [0] * trees.n_trees,
        "trees": described,
    }
    loaded = Booster({"nthread": jobs})
    parameters = {"base_score": "0", "num_class": "0", "num_feature": str(trees.n_features), "num_target": "1"}
    learner = {
        "attributes": {},
        "feature_names": [],
        "feature_types": [],
        "gradient_booster": {"model": model, "name": "gbtree"},
        "learner_model_param": {**parameters, "boost_from_average": "0"},
        "objective": {"name": "reg:squarederror", "reg_loss_param": {"scale_pos_weight": "1"}},
    }
    loaded.load_model(bytearray(json.dumps({"version": [2, 0, 0], "learner": learner}).encode()))
    loaded.set_param({"nthread": jobs})
    return loaded
