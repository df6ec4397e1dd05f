"""`BlendedIsolationForest`: its members, its one forest, its scores."""

from __future__ import annotations

import itertools
import pickle

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from mlx_iforest import BlendedIsolationForest, MLXIsolationForest
from mlx_iforest.backends import get_backend
from mlx_iforest.backends.reference import leaf
from mlx_iforest.blended import TAMING, Columns
from mlx_iforest.growth import GrowthPlan
from mlx_iforest.guards import guarded
from mlx_iforest.members import RECIPES, member_trees
from mlx_iforest.score_function import BLEND
from mlx_iforest.scoring import Spread


def skewed(n: int = 600, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.c_[rng.normal(size=n), rng.lognormal(0, 1.5, n), rng.integers(0, 5, n)].astype(np.float32)


def test_columns_by_hand():
    columns = Columns.of(np.array([[1, 5], [3, 5], [np.nan, 5], [5, 5]], np.float32))
    assert columns.mean == pytest.approx([3, 5])
    assert columns.deviation == pytest.approx([np.sqrt(8 / 3), 1])


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
    plan = GrowthPlan(
        seed=3, first_tree=0, n_trees=20, n_samples=len(X), n_features=3, subsample_size=64, features_per_tree=3
    )  # fmt: skip
    tamed = columns.to_asinh(X)
    grown = get_backend("numba").grow(tamed, plan, n_threads=1)
    forest = columns.from_asinh(grown).validate()
    for tree in range(20):
        rows = X[plan.rows()[tree]]
        ours, theirs = forest.trees(tree, tree + 1), grown.trees(tree, tree + 1)
        assert [leaf(ours, 0, row) for row in rows] == [leaf(theirs, 0, row) for row in columns.to_asinh(rows)]
    for feature in range(3):
        thresholds = forest.threshold[forest.feature == feature]
        assert X[:, feature].min() - 1e-3 <= thresholds.min()
        assert thresholds.max() <= X[:, feature].max()


@pytest.mark.parametrize("history", list(RECIPES))
def test_the_score_is_the_soft_minimum_of_standardised_views(backend, history):
    X = skewed()
    model = BlendedIsolationForest(60, history=history, random_state=1, backend=backend).fit(X)
    total = np.zeros(len(X))
    bounds = member_trees(RECIPES[history], 60)
    for first, stop in bounds:
        trees = model.forest_.trees(first, stop)
        means = model._model.resources.leaf_means(trees, trees.path_length, X)
        total += np.exp(-Spread.of(means).standardise(means))
    assert model.score_samples(X) == pytest.approx(BLEND.score(-np.log(total / len(bounds))), abs=1e-5)


def test_members_share_the_trees():
    recipe = RECIPES["contaminated"]
    bounds = member_trees(recipe, 300)
    assert bounds[0][0] == 0
    assert bounds[-1][1] == 300
    assert all(before[1] == after[0] for before, after in itertools.pairwise(bounds))
    shares = sum(member.trees for member in recipe)
    assert [stop - first for first, stop in bounds] == pytest.approx([300 * m.trees / shares for m in recipe], abs=1)


def test_the_clean_recipe_is_guarded_trees():
    X = skewed()
    model = BlendedIsolationForest(20, history="clean", random_state=4).fit(X)
    plan = GrowthPlan(
        seed=model._model.seed, first_tree=0, n_trees=20, n_samples=len(X), n_features=3, subsample_size=256,
        features_per_tree=3,
    )  # fmt: skip
    plain = get_backend("numba").grow(X, plan, n_threads=1)
    assert model.forest_.equals(guarded(plain, X, plan.rows(), 0.0))


def test_a_trimmed_member_grows_on_no_row_that_the_first_one_finds_abnormal():
    # A far cluster of a tenth of the rows: the trees that may draw it ask between it and the rest.
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(size=(900, 2)), rng.normal(40, 0.1, (100, 2))]).astype(np.float32)
    model = BlendedIsolationForest(60, random_state=0).fit(X)
    first, trimmed, _ = (model.forest_.trees(*bounds) for bounds in member_trees(RECIPES["contaminated"], 60))
    assert (np.abs(first.threshold - 20) < 15).any()
    assert not (np.abs(trimmed.threshold - 20) < 15).any()


def test_rows_of_weight_zero_are_drawn_by_no_member():
    X = np.concatenate([skewed(300), np.full((40, 3), 1e4, np.float32)])
    weight = np.r_[np.ones(300), np.zeros(40)]
    model = BlendedIsolationForest(30, random_state=0).fit(X, sample_weight=weight)
    assert model.forest_.threshold.max() < 5e3


def test_new_rows_are_told_from_a_clean_history():
    # Two columns that agree: a row between the clusters is within the range of each.
    rng = np.random.default_rng(1)
    group = rng.integers(0, 2, 600) * 6.0
    clean = np.c_[group, group] + rng.normal(0, 0.5, (600, 2))
    new = np.r_[clean[:100] + rng.normal(0, 0.05, (100, 2)), np.c_[group[:50], 6.0 - group[:50]]]
    truth = np.r_[np.zeros(100), np.ones(50)]
    clean_auc, classic_auc = (
        roc_auc_score(truth, -model.fit(clean).score_samples(new))
        for model in (BlendedIsolationForest(history="clean", random_state=0), MLXIsolationForest(random_state=0))
    )
    assert clean_auc > max(classic_auc, 0.995)


def test_another_history_is_refused():
    with pytest.raises(ValueError, match="history"):
        BlendedIsolationForest(history="dirty").fit(skewed())


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
