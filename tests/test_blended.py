"""`BlendedIsolationForest`: its members, its one forest, its scores."""

from __future__ import annotations

import itertools
import pickle

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from mlx_iforest import BlendedIsolationForest
from mlx_iforest.blended import TAMING, Columns
from mlx_iforest.members import MEMBERS, member_trees
from mlx_iforest.score_function import BLEND
from mlx_iforest.scoring import Spread


def skewed(n: int = 600, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.c_[rng.normal(size=n), rng.lognormal(0, 1.5, n), rng.integers(0, 5, n)].astype(np.float32)


def test_columns_by_hand():
    columns = Columns.of(np.array([[1, 5], [3, 5], [np.nan, 5], [5, 5]], np.float32))
    assert columns.mean == pytest.approx([3, 5])
    assert columns.deviation == pytest.approx([np.sqrt(8 / 3), 1])
    assert columns.kurtosis == pytest.approx([1.5, 1])


def test_a_wholly_missing_column_is_harmless():
    X = skewed()
    X[:, 1] = np.nan
    assert np.isfinite(BlendedIsolationForest(n_estimators=12, random_state=0).fit(X).score_samples(X)).all()


def test_taming_is_increasing_and_undone_on_thresholds():
    X = skewed()
    columns = Columns.of(X)
    assert (np.diff(columns.to_asinh(np.sort(X, axis=0)), axis=0) >= 0).all()
    assert columns.to_asinh(X)[:, 0] == pytest.approx(
        np.arcsinh(TAMING * (X[:, 0] - columns.mean[0]) / columns.deviation[0])
    )
    model = BlendedIsolationForest(n_estimators=60, random_state=0).fit(X)
    first, stop = member_trees(60)[0]
    forest = model.forest_.trees(first, stop).validate()
    for feature in range(3):
        thresholds = forest.threshold[forest.feature == feature]
        assert X[:, feature].min() - 1e-3 <= thresholds.min()
        assert thresholds.max() <= X[:, feature].max()


def test_tail_weights_favour_heavy_tails():
    weights = Columns.of(skewed()).tail_weights()
    assert weights[1] > 2 * weights[0] > weights[2]
    assert weights.sum() == pytest.approx(2**30, rel=1e-6)


def test_the_score_is_the_soft_minimum_of_standardised_views(backend):
    X = skewed()
    model = BlendedIsolationForest(n_estimators=60, random_state=1, backend=backend).fit(X)
    total, weights = np.zeros(len(X)), 0.0
    for member, (first, stop) in zip(MEMBERS, member_trees(60), strict=True):
        trees = model.forest_.trees(first, stop)
        for values, weight in ((trees.path_length, member.depth), (trees.log_density, member.density)):
            if weight:
                means = model._model.resources.leaf_means(trees, values, X)
                total += weight * np.exp(-Spread.of(means).standardise(means))
                weights += weight
    assert model.score_samples(X) == pytest.approx(BLEND.score(-np.log(total / weights)), abs=1e-5)


def test_members_share_the_trees():
    bounds = member_trees(300)
    assert bounds[0][0] == 0
    assert bounds[-1][1] == 300
    assert all(before[1] == after[0] for before, after in itertools.pairwise(bounds))
    shares = sum(member.trees for member in MEMBERS)
    assert [stop - first for first, stop in bounds] == pytest.approx([300 * m.trees / shares for m in MEMBERS], abs=1)


def test_few_trees_and_few_rows_work():
    for n_estimators in (1, 2, 5):
        for n_samples in (1, 2, 3):
            model = BlendedIsolationForest(n_estimators=n_estimators, random_state=0).fit(skewed()[:n_samples])
            assert np.isfinite(model.score_samples(skewed())).all()


def test_same_seed_same_scores_on_numba_and_mlx():
    X = skewed()
    models = [BlendedIsolationForest(n_estimators=30, random_state=5, backend=name).fit(X) for name in ("numba", "mlx")]
    assert models[0].forest_.equals(models[1].forest_)
    assert models[0].score_samples(X) == pytest.approx(models[1].score_samples(X), abs=1e-6)


def test_units_do_not_matter():
    X = skewed()
    scaled = X * np.array([1024.0, 0.25, 8.0], np.float32)
    ours, theirs = (
        BlendedIsolationForest(n_estimators=60, random_state=0).fit(Z).score_samples(Z) for Z in (X, scaled)
    )
    assert np.corrcoef(ours, theirs)[0, 1] > 0.999


def test_auto_leaves_few_normal_rows_as_alerts():
    X = np.random.default_rng(0).normal(size=(2000, 4))
    model = BlendedIsolationForest(random_state=0).fit(X)
    assert (model.predict(X) == -1).mean() < 0.02
    assert model.predict([[9.0, 9.0, 9.0, 9.0]])[0] == -1


def test_it_finds_outliers_and_what_lies_between_clusters():
    rng = np.random.default_rng(0)
    clusters = [rng.normal(0, 0.5, (150, 2)) + centre for centre in [(0, 0), (10, 0), (0, 10), (10, 10)]]
    X = np.concatenate([*clusters, [[5.0, 5.0], [20.0, 20.0], [5.0, -12.0]]])
    scores = BlendedIsolationForest(random_state=0).fit(X).score_samples(X)
    assert roc_auc_score(np.r_[np.zeros(600), np.ones(3)], -scores) > 0.98


def test_pickles_without_holding_the_forest_twice():
    X = skewed()
    model = BlendedIsolationForest(n_estimators=60, random_state=0).fit(X)
    packed = pickle.dumps(model)
    assert np.array_equal(pickle.loads(packed).score_samples(X), model.score_samples(X))
    model.set_params(n_estimators=7)  # of the next fit, not of the forest that is saved
    assert np.array_equal(pickle.loads(pickle.dumps(model)).score_samples(X), model.score_samples(X))
    assert len(packed) < 1.2 * model.forest_.nbytes + 10_000
