"""`MLXIsolationForest` as scikit-learn's users know it."""

from __future__ import annotations

import pickle
from functools import cache

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csc_matrix, csr_array, csr_matrix
from sklearn.base import clone
from sklearn.ensemble import IsolationForest
from sklearn.exceptions import NotFittedError
from sklearn.metrics import roc_auc_score
from sklearn.utils.estimator_checks import parametrize_with_checks

from mlx_iforest import BlendedIsolationForest, MLXIsolationForest
from mlx_iforest.backends import BackendChoice

ESTIMATORS = [MLXIsolationForest(n_estimators=10, backend="numba"), BlendedIsolationForest(n_estimators=20)]
WEIGHTS = "weights are chances to be drawn, not repetitions: as for scikit-learn's own forest, equal in the mean only"


@parametrize_with_checks(
    ESTIMATORS,
    expected_failed_checks=lambda estimator: {
        "check_sample_weight_equivalence_on_dense_data": WEIGHTS,
        "check_sample_weight_equivalence_on_sparse_data": WEIGHTS,
    },
)
def test_scikit_learn_accepts_it(estimator, check):
    check(estimator)


def two_clusters(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.normal(0, 1, (450, 3)), rng.normal(4, 0.5, (45, 3)), rng.uniform(-8, 8, (5, 3))])


@cache
def scores_of_scikit_learns(n_seeds: int) -> np.ndarray:
    X = two_clusters()
    return np.array([IsolationForest(random_state=seed).fit(X).score_samples(X) for seed in range(n_seeds)])


@pytest.mark.parametrize("backend", ["numba", "sklearn"])  # MLX grows the trees that Numba does
def test_scores_differ_from_scikit_learns_no_more_than_its_own_seeds_do(backend):
    # Scores of many forests: the distance of our mean from theirs, in units of the deviation between single forests.
    X = two_clusters()
    seeds = range(12)
    theirs = scores_of_scikit_learns(len(seeds))
    ours = np.array([MLXIsolationForest(random_state=s, backend=backend).fit(X).score_samples(X) for s in seeds])
    deviation = theirs.std(axis=0, ddof=1)
    distance = (ours.mean(axis=0) - theirs.mean(axis=0)) / (deviation * np.sqrt(2 / len(seeds)))
    assert np.abs(distance).max() < 5
    assert np.sqrt((distance**2).mean()) < 1.5
    assert ours.std(axis=0, ddof=1).mean() == pytest.approx(deviation.mean(), rel=0.25)


def test_by_hand(backend):
    # Two different rows: every tree splits once, each leaf has depth 1 + c(1) = 1, and c(2) = 1.
    model = MLXIsolationForest(random_state=0, backend=backend).fit([[0.0], [1.0]])
    assert model.score_samples([[0.0], [1.0], [9.0]]) == pytest.approx([-0.5] * 3)
    assert model.predict([[0.0]]).tolist() == [1]


@pytest.mark.parametrize("X", [[[1.0, 2.0]], [[5.0]] * 20], ids=["one row", "constant"])
def test_degenerate_data(backend, X):
    model = MLXIsolationForest(random_state=0, backend=backend).fit(X)
    assert model.score_samples(X) == pytest.approx([-0.5] * len(X))
    assert model.predict(X).tolist() == [1] * len(X)


def test_outliers_are_found(backend):
    X = [[-2, -1], [-1, -1], [-1, -2], [1, 1], [1, 2], [2, 1], [6, 3], [-4, 7]]
    model = MLXIsolationForest(contamination=2 / 8, random_state=0, backend=backend).fit(X)
    assert model.predict(X).tolist() == [1] * 6 + [-1] * 2
    assert model.fit_predict(X).tolist() == [1] * 6 + [-1] * 2
    assert model.decision_function(X) == pytest.approx(model.score_samples(X) - model.offset_)


def test_contamination_sets_the_share_of_anomalies(backend):
    X = two_clusters()
    model = MLXIsolationForest(contamination=0.1, random_state=0, backend=backend).fit(X)
    assert (model.predict(X) == -1).mean() == pytest.approx(0.1, abs=0.005)
    assert MLXIsolationForest(random_state=0, backend=backend).fit(X).offset_ == -0.5


def test_backends_agree():
    X = two_clusters()
    scores = [MLXIsolationForest(random_state=3, backend=b).fit(X).score_samples(X) for b in ("numba", "mlx")]
    assert scores[0].tobytes() == scores[1].tobytes()


@pytest.mark.parametrize("dtype", [np.float64, np.int32, "F"])
def test_layouts_and_types_do_not_matter(dtype):
    X = np.round(two_clusters())
    model = MLXIsolationForest(n_estimators=10, random_state=0).fit(X.astype(np.float32))
    same = np.asfortranarray(X) if dtype == "F" else X.astype(dtype)
    assert np.array_equal(
        MLXIsolationForest(n_estimators=10, random_state=0).fit(same).score_samples(same), model.score_samples(X)
    )


def test_warm_start_gives_the_forest_of_one_fit():
    X = two_clusters()
    warm = MLXIsolationForest(n_estimators=5, warm_start=True, random_state=1).fit(X)
    warm.set_params(n_estimators=20).fit(X)
    assert warm.forest_.equals(MLXIsolationForest(n_estimators=20, random_state=1).fit(X).forest_)
    with pytest.warns(UserWarning, match="does not fit new trees"):
        warm.fit(X)
    with pytest.raises(ValueError, match="n_estimators=3 must be larger or equal to the 20 trees"):
        warm.set_params(n_estimators=3).fit(X)
    assert warm.forest_.n_trees == 20


def test_without_warm_start_a_fit_starts_anew():
    X = two_clusters()
    model = MLXIsolationForest(n_estimators=5, random_state=1).fit(X)
    first = model.forest_
    assert model.fit(X).forest_.equals(first)


@pytest.mark.parametrize(
    ("max_samples", "expected"), [("auto", 256), (100, 100), (0.5, 250), (1.0, 500), (1, 1), (0.001, 1)]
)
def test_max_samples(max_samples, expected):
    model = MLXIsolationForest(n_estimators=3, max_samples=max_samples).fit(two_clusters())
    assert model.max_samples_ == expected
    assert model.forest_.subsample_size == expected


def test_max_samples_beyond_the_data_warns():
    with pytest.warns(
        UserWarning, match="max_samples \\(1000\\) is greater than the total number of samples \\(500\\)"
    ):
        model = MLXIsolationForest(max_samples=1000, n_estimators=3).fit(two_clusters())
    assert model.max_samples_ == 500


@pytest.mark.parametrize(("max_features", "expected"), [(1.0, 3), (2, 2), (0.5, 1), (0.01, 1)])
def test_max_features(backend, max_features, expected):
    X = two_clusters()
    model = MLXIsolationForest(n_estimators=30, max_features=max_features, backend=backend, random_state=0).fit(X)
    forest = model.forest_
    asked = [set(forest.trees(i, i + 1).feature.tolist()) - {-1} for i in range(forest.n_trees)]
    assert max(len(features) for features in asked) == expected
    assert set.union(*asked) == {0, 1, 2}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_estimators": 0}, "'n_estimators' parameter"),
        ({"max_samples": -1}, "'max_samples' parameter"),
        ({"max_samples": 1.5}, "'max_samples' parameter"),
        ({"max_samples": "all"}, "'max_samples' parameter"),
        ({"contamination": 0.6}, "'contamination' parameter"),
        ({"max_features": 4}, r"max_features \(4\) must be in \[1, 3\]"),
        ({"backend": "cuda"}, "'backend' parameter"),
        ({"scoring": "blend"}, "'scoring' parameter"),
        ({"batch_size": 0}, "'batch_size' parameter"),
        ({"n_jobs": 1.5}, "'n_jobs' parameter"),
        ({"n_jobs": 0}, "n_jobs == 0"),
    ],
    ids=str,
)
def test_bad_parameters_are_named(parameters, message):
    with pytest.raises(ValueError, match=message):
        MLXIsolationForest(**parameters).fit(two_clusters())


def test_infinities_are_refused_and_missing_values_welcome(backend):
    X = two_clusters()
    model = MLXIsolationForest(n_estimators=10, random_state=0, backend=backend).fit(X)
    X[3, 1] = np.inf
    with pytest.raises(ValueError, match="infinity"):
        model.score_samples(X)
    with pytest.raises(ValueError, match="infinity"):
        MLXIsolationForest().fit(X)
    X[3, 1] = np.nan
    assert np.isfinite(model.fit(X).score_samples(X)).all()


def test_column_names_are_kept_and_checked():
    frame = pd.DataFrame(two_clusters(), columns=["a", "b", "c"])
    model = MLXIsolationForest(contamination=0.1, n_estimators=5).fit(frame)
    assert model.feature_names_in_.tolist() == ["a", "b", "c"]
    model.predict(frame)
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame.rename(columns={"a": "z"}))


def test_performance_is_measured():
    X = two_clusters()
    model = MLXIsolationForest(n_estimators=20, backend="mlx").fit(X)
    assert model.performance_.grow_seconds > 0
    assert model.performance_.to_dict()["peak_process_memory"] > 1e6
    figures = model.measure_scoring(X).to_dict()
    assert figures["scored_rows"] == len(X)
    assert figures["score_rows_per_second"] == pytest.approx(len(X) / figures["score_seconds"])
    assert figures["peak_process_memory"] > 1e6
    assert figures["peak_mlx_memory"] > 0


@pytest.mark.parametrize("make", [lambda: MLXIsolationForest(5), lambda: BlendedIsolationForest(6)])
def test_scoring_changes_no_attribute(make):
    X = two_clusters()
    fitted = make().fit(X)
    for model in (fitted, pickle.loads(pickle.dumps(fitted)), fitted.prune(0.01)):
        before = dict(vars(model))
        figures = vars(model.performance_).copy()
        for call in (model.predict, model.explain, model.measure_scoring, model.scorer().score):
            call(X.astype(np.float32))
        assert vars(model).keys() == before.keys()
        assert all(vars(model)[name] is value for name, value in before.items())
        assert vars(model.performance_) == figures


@pytest.mark.parametrize("make", [lambda: MLXIsolationForest(5), lambda: BlendedIsolationForest(6)])
def test_a_fit_leaves_one_attribute_of_which_all_others_are_read(make):
    learned = ("forest_", "max_samples_", "quantized_bits_", "pruned_", "pruning_", "backend_", "performance_")
    model, before = make(), vars(make()).keys()
    for name in (*learned, "n_features_in_", "feature_names_in_", "offset_"):
        assert not hasattr(model, name)
    with pytest.raises(NotFittedError):
        model.offset_ = -0.4
    X = two_clusters()
    model.fit(X)
    assert vars(model).keys() - before == {"_model"}
    assert not hasattr(model, "feature_names_in_")
    for name in (*learned, "n_features_in_"):
        assert hasattr(model, name)
        with pytest.raises(AttributeError, match=f"{name} is what a fit found out, and cannot be set"):
            setattr(model, name, None)
    model.offset_ = -0.4
    assert (model.offset_, model.scorer().offset) == (-0.4, -0.4)
    assert np.array_equal(model.predict(X) == -1, model.score_samples(X) < -0.4)
    # What was made of the model before shares all but the threshold.
    smaller = model.prune(0.0)
    smaller.offset_ = -0.3
    assert (model.offset_, pickle.loads(pickle.dumps(smaller)).offset_) == (-0.4, -0.3)


def test_verbose_says_what_growing_took(capsys):
    MLXIsolationForest(n_estimators=3, verbose=1, backend="numba").fit(two_clusters())
    assert capsys.readouterr().out.startswith("a forest of 3 trees of 256 samples after ")


def test_pickles_and_clones():
    X = two_clusters()
    model = MLXIsolationForest(n_estimators=10, contamination=0.1, random_state=0).fit(X)
    again = pickle.loads(pickle.dumps(model))
    assert np.array_equal(again.decision_function(X), model.decision_function(X))
    assert not hasattr(clone(model), "forest_")


def test_a_model_from_a_machine_with_another_backend_scores_here(monkeypatch):
    from mlx_iforest import BackendUnavailableError, backends

    def missing(name):
        return "no mlx here" if name == "mlx" else load(name)

    load = backends._load
    X = two_clusters()
    model = MLXIsolationForest(n_estimators=10, random_state=0).fit(X)
    expected = model.score_samples(X)
    elsewhere = model._model.resources._replace(backend=BackendChoice("mlx", "it had a GPU"))
    model._model = model._model._replace(resources=elsewhere)
    monkeypatch.setattr(backends, "_load", missing)
    assert np.array_equal(model.score_samples(X), expected)
    model.backend = "mlx"
    with pytest.raises(BackendUnavailableError, match="no mlx here"):
        model.score_samples(X)


@pytest.mark.parametrize("container", [csr_matrix, csc_matrix, csr_array])
@pytest.mark.parametrize("model", [MLXIsolationForest, BlendedIsolationForest])
def test_sparse_data_give_the_scores_of_dense_data(model, container):
    X = two_clusters()
    X[np.abs(X) < 0.7] = 0
    dense = model(n_estimators=20, contamination=0.1, random_state=0).fit(X)
    sparse = model(n_estimators=20, contamination=0.1, random_state=0).fit(container(X))
    assert sparse.forest_.equals(dense.forest_)
    assert sparse.score_samples(container(X)) == pytest.approx(dense.score_samples(X), abs=1e-9)
    sparse.batch_size = 7
    assert sparse.score_samples(container(X)) == pytest.approx(dense.score_samples(X), abs=1e-9)


def test_rows_of_weight_zero_are_as_if_they_were_not_there(backend):
    X = two_clusters()
    weight = np.ones(len(X))
    weight[-50:] = 0
    model = MLXIsolationForest(n_estimators=20, random_state=0, backend=backend).fit(X, sample_weight=weight)
    forest = model.forest_
    # No threshold lies beyond what the drawn rows span, though the others reach further.
    for feature in range(3):
        thresholds = forest.threshold[forest.feature == feature]
        assert thresholds.min() >= np.float32(X[:-50, feature].min())
        assert thresholds.max() <= np.float32(X[:-50, feature].max())
    assert MLXIsolationForest().fit(X[:100], sample_weight=[0] * 90 + [1] * 10).max_samples_ == 10


def test_bad_weights_are_named():
    X = two_clusters()
    with pytest.raises(ValueError, match=r"zero for every row|at least one non-zero"):
        MLXIsolationForest().fit(X, sample_weight=np.zeros(len(X)))
    with pytest.raises(ValueError, match=r"[Nn]egative"):
        MLXIsolationForest().fit(X, sample_weight=-np.ones(len(X)))


def test_heavy_rows_become_normal():
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(size=(200, 2)), rng.normal(8, 0.1, size=(3, 2))])
    weight = np.ones(len(X))
    plain = MLXIsolationForest(random_state=0).fit(X).score_samples(X[-1:])
    weight[-3:] = 60
    heavy = MLXIsolationForest(random_state=0, bootstrap=True).fit(X, sample_weight=weight).score_samples(X[-1:])
    assert heavy > plain + 0.1


def test_density_finds_outliers_too(backend):
    X = two_clusters()
    model = MLXIsolationForest(scoring="density", contamination=0.01, random_state=0, backend=backend).fit(X)
    scores = model.score_samples(X)
    assert scores.min() >= -1
    assert scores.max() < 0
    labels = np.r_[np.zeros(495), np.ones(5)]
    assert roc_auc_score(labels, -scores) > 0.97
    assert (model.predict(X) == -1).sum() == 5


def test_density_finds_the_middle_of_a_ring():
    # On both axes the middle is where most rows are, so that few splits separate it; but nothing is near.
    rng = np.random.default_rng(0)
    angle = rng.uniform(0, 2 * np.pi, 500)
    X = 5 * np.c_[np.cos(angle), np.sin(angle)] + rng.normal(0, 0.2, (500, 2))
    rank = {}
    for scoring in ("depth", "density"):
        model = MLXIsolationForest(scoring=scoring, random_state=0).fit(X)
        rank[scoring] = (model.score_samples(X) < model.score_samples([[0.0, 0.0]])).mean()
    assert rank["density"] == 0 < rank["depth"]


def test_oblique_splits_see_no_axes():
    # The ghost regions of Hariri et al.: rows beside two clusters on a diagonal, where the axes' shadows cross.
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(0, 1, (300, 2)) + centre for centre in [(0, 10), (10, 0)]])
    ghosts = np.array([[0.0, 0.0], [10.0, 10.0]])
    plain = MLXIsolationForest(random_state=0).fit(X)
    oblique = MLXIsolationForest(extension_level=1, random_state=0).fit(X)
    assert oblique.forest_.direction_weight.shape[1] == 2
    assert oblique.score_samples(ghosts).mean() < plain.score_samples(ghosts).mean() - 0.02


def test_extension_level_is_bounded_by_the_features():
    model = MLXIsolationForest(extension_level=99, n_estimators=3).fit(two_clusters())
    assert model.forest_.direction_weight.shape[1] == 3
    one = MLXIsolationForest(extension_level=99, n_estimators=3).fit(two_clusters()[:, :1])
    assert one.forest_.direction_weight is None


def test_density_needs_densities():
    X = two_clusters()
    theirs = IsolationForest(n_estimators=3, random_state=0, warm_start=True).fit(X)
    model = MLXIsolationForest.from_sklearn(theirs)
    with pytest.raises(ValueError, match="needs densities"):
        model.set_params(scoring="density", n_estimators=5).fit(X)
    assert model.forest_.n_trees == 3


@pytest.mark.parametrize("columns", [2, 4])
def test_a_warm_start_is_on_the_same_columns(backend, columns):
    X = two_clusters()
    model = MLXIsolationForest(n_estimators=5, warm_start=True, backend=backend, random_state=0).fit(X)
    before = model.score_samples(X)
    message = f"X has {columns} features, but MLXIsolationForest is expecting 3 features as input"
    with pytest.raises(ValueError, match=message):
        model.set_params(n_estimators=9).fit(np.c_[X, X][:, :columns])
    assert model.n_features_in_ == 3
    assert model.forest_.n_trees == 5
    assert np.array_equal(model.score_samples(X), before)
    assert model.set_params(warm_start=False).fit(X[:, :2]).n_features_in_ == 2


def test_a_warm_start_is_on_the_same_names():
    frame = pd.DataFrame(two_clusters(), columns=["a", "b", "c"])
    model = MLXIsolationForest(n_estimators=5, warm_start=True, random_state=0).fit(frame)
    with pytest.raises(ValueError, match="feature names should match those that were passed during fit"):
        model.set_params(n_estimators=9).fit(frame[["b", "a", "c"]])
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        model.fit(frame.to_numpy())
    assert model.feature_names_in_.tolist() == ["a", "b", "c"]
    assert model.set_params(n_estimators=12).fit(frame).forest_.n_trees == 12


ways = pytest.mark.parametrize(
    "way",
    [
        lambda model, X: model.fit(X),
        lambda model, X: model.score_samples(X),
        lambda model, X: model.predict(X),
        lambda model, X: model.explain(X),
        lambda model, X: model.prune(0.1, X),
        lambda model, X: list(model.score_batches([X])),
    ],
    ids=["fit", "score_samples", "predict", "explain", "prune", "score_batches"],
)


@ways
def test_matrices_are_refused_as_scikit_learn_does(way):
    X = two_clusters()
    model = MLXIsolationForest(n_estimators=5, random_state=0).fit(X)
    with pytest.raises((TypeError, ValueError), match=r"np\.matrix is not supported"):
        way(model, X.view(np.matrix))
    with pytest.raises(TypeError, match="got matrix"):
        model.scorer()(X.astype(np.float32).view(np.matrix))


@ways
def test_a_mask_hides_nothing(way):
    # scikit-learn takes the data of a masked array and leaves the mask; so do we, and look at all of them.
    X = two_clusters()
    model = MLXIsolationForest(n_estimators=5, random_state=0).fit(X)
    masked = np.ma.array(X, mask=X > 3)
    assert np.array_equal(model.score_samples(masked), model.score_samples(X))
    way(model, masked)
    hidden = np.ma.array(np.where(X > 3, np.inf, X), mask=X > 3)
    with pytest.raises(ValueError, match="infinity"):
        way(model, hidden)
    with pytest.raises(TypeError, match="got MaskedArray"):
        model.scorer()(hidden.astype(np.float32))


@pytest.mark.parametrize("wrong", [-1, 0, 1.5, "all", None])
@pytest.mark.parametrize("model", [MLXIsolationForest, BlendedIsolationForest])
def test_a_batch_size_set_after_the_fit_is_checked(model, wrong):
    X = two_clusters()
    fitted = model(n_estimators=6, random_state=0).fit(X).set_params(batch_size=wrong)
    for call in (fitted.score_samples, fitted.predict, fitted.explain, lambda X: fitted.scorer()(X.astype(np.float32))):
        with pytest.raises(ValueError, match=r"The 'batch_size' parameter of .* must be 'auto' or an int in"):
            call(X)
    for n_jobs in (1.5, "all"):
        fitted.set_params(batch_size="auto", n_jobs=n_jobs)
        for call in (fitted.score_samples, fitted.predict, fitted.explain):
            with pytest.raises(ValueError, match=r"The 'n_jobs' parameter of .* must be an int or None"):
                call(X[:3])


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, 10**400, "low", None])
def test_a_threshold_that_no_score_can_pass_is_an_error(wrong):
    X = two_clusters()
    model = MLXIsolationForest(n_estimators=5, random_state=0).fit(X)
    model.offset_ = wrong
    for call in (model.predict, model.decision_function, lambda X: model.scorer(), lambda X: model.to_sklearn()):
        with pytest.raises(ValueError, match=r"offset_ is .*; set it to a finite number, or fit again"):
            call(X)
    assert np.isfinite(model.score_samples(X)).all()


def test_an_extension_beyond_all_features_is_by_all_of_them():
    X = two_clusters()
    all_features, beyond = (
        MLXIsolationForest(n_estimators=5, random_state=0, extension_level=level).fit(X) for level in (2, 99)
    )
    assert X.shape[1] == 3
    assert beyond.forest_.equals(all_features.forest_)
