"""Parts of about the same length that together compile most of what Numba compiles for the tests."""

from __future__ import annotations

import numpy as np

from anomaly_detection.anomaly_detection_api import AnomalyDetectionAPI
from anomaly_detection.synthetic import generate
from mlx_iforest import MLXIsolationForest
from mlx_iforest.backends import choose_backend, get_backend
from mlx_iforest.backends.fixed_point import whole_numbers
from mlx_iforest.backends.numba.answers import AnsweredForest
from mlx_iforest.backends.numba.codes import CodedForest
from mlx_iforest.backends.numba.walks import WalkedForest
from mlx_iforest.growth import GrowthPlan

X = np.random.default_rng(0).normal(size=(600, 4)).astype(np.float32)


def plan(extension_level: int = 0) -> GrowthPlan:
    return GrowthPlan(0, 0, 4, *X.shape, subsample_size=256, features_per_tree=4, extension_level=extension_level)


def growing() -> None:
    """Axis-parallel and oblique trees."""
    for extension_level in (0, 1):
        get_backend("numba").grow(X, plan(extension_level), n_threads=1)


def scoring() -> None:
    """Many rows, in blocks of two kinds, and few, which walk."""
    forest = get_backend("sklearn").grow(X, plan(), n_threads=1)
    values = np.stack([forest.path_length, forest.log_density], axis=1)
    for kind in (CodedForest, AnsweredForest, WalkedForest):
        blocks = kind.of(forest, whole_numbers(values)[1])
        assert blocks is not None
        blocks.add_leaf_values(X, np.zeros((len(X), 2)))


def explaining() -> None:
    """Shapley values."""
    model = MLXIsolationForest(4, backend="sklearn", random_state=0).fit(X)
    by_numba = model._model.resources._replace(backend=choose_backend("numba"))
    model._model = model._model._replace(resources=by_numba)
    model.explain(X[:100])


def learning() -> None:
    """What a table is like."""
    AnomalyDetectionAPI(seed=0).fit(generate("classic", 600, seed=0).frame)


PARTS = (growing, scoring, explaining, learning)
