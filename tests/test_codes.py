"""Coded forests against the plain reference: the same leaves, the same sums."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlx_iforest import Forest, MLXIsolationForest
from mlx_iforest.backends import get_backend, numba_cpu
from mlx_iforest.backends.reference import ReferenceBackend, leaf
from mlx_iforest.codes import CodedForest, Grid
from mlx_iforest.codes_kernels import BLOCK
from mlx_iforest.growth import GrowthPlan


def forest_of(X: np.ndarray, seed: int = 0, **changes: int) -> Forest:
    plan = {"n_trees": 6, "subsample_size": min(128, len(X)), "features_per_tree": X.shape[1], **changes}
    return get_backend("numba").grow(
        X, GrowthPlan(seed, 0, n_samples=len(X), n_features=X.shape[1], **plan), n_threads=1
    )


def coded_means(forest: Forest, X: np.ndarray) -> np.ndarray:
    """Means of path length and density, through blocks however few the rows are."""
    coded = CodedForest.of(forest)
    values = np.stack([forest.path_length, forest.log_density])[:, coded.leaf_nodes]
    total = np.zeros((len(X), 2))
    numba_cpu._add_coded(coded, np.ascontiguousarray(values), X, total)
    return total / forest.n_trees


def plain_means(forest: Forest, X: np.ndarray) -> np.ndarray:
    values = np.stack([forest.path_length, forest.log_density], axis=1)
    leaves = np.array([[leaf(forest, tree, x) for tree in range(forest.n_trees)] for x in X])
    total = np.zeros((len(X), 2))
    for tree in range(forest.n_trees):
        total += values[leaves[:, tree]]
    return total / forest.n_trees


VALUES = st.one_of(
    st.sampled_from([0.0, -0.0, 1.0, 2.0, float("nan"), 3.4e38, -3.4e38]),
    st.floats(width=32, allow_nan=True, allow_infinity=False),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_any_data_give_the_sums_of_the_reference(data):
    n_features = data.draw(st.integers(1, 4))
    row = st.lists(VALUES, min_size=n_features, max_size=n_features)
    X = np.array(data.draw(st.lists(row, min_size=1, max_size=30)), np.float32)
    forest = forest_of(X, seed=data.draw(st.integers(0, 2**63)))
    rows = np.array(data.draw(st.lists(row, min_size=1, max_size=20)), np.float32)
    on_thresholds = np.resize(forest.threshold[forest.feature >= 0], (1, n_features)).astype(np.float32)
    for Z in (X, rows, on_thresholds if forest.max_depth else X):
        assert np.array_equal(coded_means(forest, Z), plain_means(forest, Z))


@pytest.mark.parametrize("n_samples", [1, 2, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 7])
def test_any_number_of_rows(n_samples):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_samples, 3)).astype(np.float32)
    X[rng.random(X.shape) < 0.05] = np.nan
    forest = forest_of(rng.normal(size=(300, 3)).astype(np.float32))
    assert np.array_equal(coded_means(forest, X), plain_means(forest, X))


KINDS = {
    "several groups of trees": (lambda rng: rng.normal(size=(2000, 4)), {"n_trees": 60, "subsample_size": 256}),
    "a group for each few trees": (lambda rng: rng.normal(size=(2000, 1)), {"n_trees": 20, "subsample_size": 256}),
    "more than 256 leaves": (lambda rng: rng.uniform(size=(1500, 5)), {"n_trees": 3, "subsample_size": 1500}),
    "most thresholds in one cell": (lambda rng: rng.lognormal(0, 4, size=(2000, 3)), {"n_trees": 20}),
    "hardly a float32 between values": (lambda rng: 1e9 + rng.normal(size=(500, 2)), {}),
    "no splits": (lambda rng: np.zeros((10, 3)), {}),
}


@pytest.mark.parametrize(("distribution", "changes"), KINDS.values(), ids=KINDS)
def test_forests_of_every_kind(distribution, changes):
    rng = np.random.default_rng(0)
    X = distribution(rng).astype(np.float32)
    forest = forest_of(X, **changes)
    Z = np.concatenate([X[:150], 2 * X[:50]])
    Z[::7, 0] = np.nan
    assert np.array_equal(coded_means(forest, Z), plain_means(forest, Z))


def test_the_kinds_are_what_they_are_called():
    rng = np.random.default_rng(0)
    coded = {}
    for kind, (distribution, changes) in KINDS.items():
        coded[kind] = CodedForest.of(forest_of(distribution(rng).astype(np.float32), **changes))
    assert coded["several groups of trees"].group_of_tree[-1] > 0
    assert coded["a group for each few trees"].group_of_tree[-1] > 5
    assert coded["more than 256 leaves"].most_leaves > 256
    assert coded["most thresholds in one cell"].grid.steps.max() > 5
    assert len(coded["no splits"].operations) == 0


def test_ranks_count_the_thresholds_below():
    X = np.random.default_rng(0).lognormal(0, 2, size=(500, 2)).astype(np.float32)
    forest = forest_of(X, n_trees=30)
    grid = Grid.of(forest)
    for feature in range(2):
        distinct = np.unique(forest.threshold[forest.feature == feature])
        assert np.array_equal(grid.thresholds[feature, : len(distinct)], distinct)
        assert np.isinf(grid.thresholds[feature, len(distinct) :]).all()


def test_a_tree_with_too_many_thresholds_of_a_feature_is_walked():
    X = np.random.default_rng(0).uniform(size=(4000, 1)).astype(np.float32)
    forest = forest_of(X, n_trees=2, subsample_size=4000)
    assert CodedForest.of(forest) is None
    means = get_backend("numba").leaf_means(forest, forest.path_length[:, None], X[:200], n_threads=1, batch_size=None)
    expected = ReferenceBackend().leaf_means(forest, forest.path_length[:, None], X[:200])
    assert means == pytest.approx(expected, rel=1e-6)


def test_a_row_scores_the_same_alone_and_in_a_crowd():
    X = np.random.default_rng(0).normal(size=(5000, 6))
    X[::9, 2] = np.nan
    model = MLXIsolationForest(n_estimators=50, random_state=0, backend="numba").fit(X)
    crowd = model.score_samples(X)
    alone = np.concatenate([model.score_samples(X[i : i + 1]) for i in range(0, 5000, 50)])
    assert np.array_equal(alone, crowd[::50])
    for n_jobs, batch_size in [(1, "auto"), (3, 100), (2, 1000)]:
        model.set_params(n_jobs=n_jobs, batch_size=batch_size)
        assert np.array_equal(model.score_samples(X), crowd)
