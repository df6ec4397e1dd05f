"""Every backend against the plain reference: the same forest bit for bit, the same path lengths."""

from __future__ import annotations

import dataclasses
import threading

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlx_iforest import BackendUnavailableError, Forest, backends, choose_backend, describe_system
from mlx_iforest.backends import get_backend
from mlx_iforest.backends.reference import ReferenceBackend, draw_coefficient, draw_threshold
from mlx_iforest.growth import GrowthPlan
from tests.dirty_data import dirty_data

EXACT = ["numba", "mlx"]
FLOAT32 = st.floats(width=32, allow_nan=False, allow_infinity=False)


def plan_for(X: np.ndarray, **changes: object) -> GrowthPlan:
    n_samples, n_features = X.shape
    plan = {
        "seed": 2**40 + 17,
        "first_tree": 0,
        "n_trees": 4,
        "n_samples": n_samples,
        "n_features": n_features,
        "subsample_size": min(64, n_samples),
        "features_per_tree": n_features,
    }
    return GrowthPlan(**{**plan, **changes})  # type: ignore[arg-type]


def grow(name: str, X: np.ndarray, plan: GrowthPlan, n_threads: int = 1) -> Forest:
    return get_backend(name).grow(X, plan, n_threads=n_threads).validate()


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"bootstrap": True},
        {"features_per_tree": 2},
        {"subsample_size": 200},
        {"first_tree": 1000},
        {"seed": 0, "subsample_size": 1},
        {"subsample_size": 2, "n_trees": 1},
        {"extension_level": 1},
        {"extension_level": 5},
        {"extension_level": 3, "features_per_tree": 2},
        {"row_table": np.arange(4 * 30).reshape(4, 30), "subsample_size": 30},
    ],
    ids=str,
)
def test_same_seed_same_forest(name, changes):
    X = dirty_data(200, 6)
    plan = plan_for(X, **changes)
    assert grow(name, X, plan).equals(ReferenceBackend().grow(X, plan).validate())


@pytest.mark.parametrize("name", EXACT)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_same_seed_same_forest_on_any_data(name, data):
    n_samples = data.draw(st.integers(1, 40))
    n_features = data.draw(st.integers(1, 5))
    values = st.one_of(
        st.sampled_from([0.0, -0.0, 1.0, float("nan"), 3.4e38, -3.4e38]),
        st.floats(-1e6, 1e6, width=32, allow_subnormal=False),
    )
    rows = data.draw(
        st.lists(st.lists(values, min_size=n_features, max_size=n_features), min_size=n_samples, max_size=n_samples)
    )
    X = np.array(rows, np.float32)
    level = data.draw(st.integers(0, n_features - 1))
    plan = plan_for(X, seed=data.draw(st.integers(0, 2**64 - 1)), n_trees=3, extension_level=level)
    expected = ReferenceBackend().grow(X, plan).validate()
    assert grow(name, X, plan).equals(expected)
    values = np.stack([expected.path_length, expected.log_density], axis=1)
    means = get_backend(name).leaf_means(expected, values, X)
    assert means.shape == (n_samples, 2)
    assert means == pytest.approx(ReferenceBackend().leaf_means(expected, values, X), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("name", EXACT)
def test_mostly_constant_columns_need_the_exact_choice(name):
    # 40 columns, one of which varies: four draws rarely find it.
    X = np.zeros((50, 40), np.float32)
    X[:, 23] = np.arange(50)
    plan = plan_for(X)
    forest = grow(name, X, plan)
    assert forest.equals(ReferenceBackend().grow(X, plan))
    assert set(forest.feature[forest.feature >= 0]) == {23}
    assert forest.max_depth > 3


def test_trees_do_not_depend_on_threads(backend):
    X = dirty_data(300, 5)
    plan = plan_for(X, n_trees=13)
    assert grow(backend, X, plan, n_threads=3).equals(grow(backend, X, plan, n_threads=1))


@pytest.mark.parametrize("name", EXACT)
def test_later_trees_are_those_of_a_larger_forest(name):
    X = dirty_data(300, 5)
    whole = grow(name, X, plan_for(X, n_trees=6))
    parts = [grow(name, X, plan_for(X, n_trees=2)), grow(name, X, plan_for(X, first_tree=2, n_trees=4))]
    assert Forest.concatenate(parts).equals(whole)


def test_same_forest_same_path_lengths(backend):
    X = dirty_data(150, 6)
    forest = ReferenceBackend().grow(X, plan_for(X, n_trees=10))
    X[0] = np.nan
    X[1] = forest.threshold[forest.feature == 0][0]  # a value on a threshold
    lengths = get_backend(backend).leaf_means(forest, forest.path_length[:, None], X)
    assert lengths.dtype == np.float64
    assert lengths == pytest.approx(ReferenceBackend().leaf_means(forest, forest.path_length[:, None], X), rel=1e-6)


def test_path_lengths_do_not_depend_on_the_rows_beside(backend):
    X = dirty_data(333, 5)
    forest = grow("numba", X, plan_for(X, n_trees=40))
    scorer = get_backend(backend)
    expected = scorer.leaf_means(forest, forest.path_length[:, None], X)
    for size in (1, 7, 100):
        parts = [scorer.leaf_means(forest, forest.path_length[:, None], X[i : i + size]) for i in range(0, 333, size)]
        assert np.concatenate(parts).tobytes() == expected.tobytes()


def test_deep_trees(backend):
    X = np.random.default_rng(0).normal(size=(5000, 3)).astype(np.float32)
    forest = grow("numba", X, plan_for(X, subsample_size=5000, n_trees=3))
    assert forest.max_depth == 13
    lengths = get_backend(backend).leaf_means(forest, forest.path_length[:, None], X[:50])
    assert lengths == pytest.approx(
        ReferenceBackend().leaf_means(forest, forest.path_length[:, None], X[:50]), rel=1e-6
    )


def test_concurrent_calls_agree():
    X = dirty_data(2000, 5)
    numba = get_backend("numba")
    forest = grow("numba", X, plan_for(X, n_trees=20))
    expected = numba.leaf_means(forest, forest.path_length[:, None], X)
    wrong: list[int] = []

    def work(number: int) -> None:
        for _ in range(5):
            same = grow("numba", X, plan_for(X, n_trees=20), n_threads=2).equals(forest)
            lengths = numba.leaf_means(forest, forest.path_length[:, None], X)
            if not same or not np.array_equal(lengths, expected):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_sklearn_trees_keep_scikit_learns_path_lengths():
    from sklearn.ensemble import IsolationForest

    from mlx_iforest.backends.sklearn_trees import to_forest
    from mlx_iforest.scoring import depth_score

    X = np.random.default_rng(0).normal(size=(400, 4)).astype(np.float32)
    theirs = IsolationForest(n_estimators=20, max_features=0.5, random_state=0).fit(X)
    parts = zip(theirs.estimators_, theirs.estimators_features_, strict=True)
    forest = Forest.concatenate([to_forest(t.tree_, features, 4) for t, features in parts]).validate()
    lengths = get_backend("sklearn").leaf_means(forest, forest.path_length[:, None], X)
    assert depth_score(lengths[:, 0], 256) == pytest.approx(theirs.score_samples(X), abs=1e-6)


def test_sklearn_trees_have_the_densities_of_ours():
    # The same distribution of trees, so the mean log density of each row agrees within its noise.
    X = np.random.default_rng(0).normal(size=(300, 3)).astype(np.float32)
    means = {}
    for name in ("sklearn", "numba"):
        forest = grow(name, X, plan_for(X, n_trees=400))
        means[name] = get_backend("numba").leaf_means(forest, forest.log_density[:, None], X)
    assert means["sklearn"].mean() == pytest.approx(means["numba"].mean(), abs=0.05)
    assert np.corrcoef(means["sklearn"].T, means["numba"].T)[0, 1] > 0.95


def test_sklearn_says_that_it_has_no_oblique_splits():
    X = dirty_data(50, 3)
    plan = plan_for(X, extension_level=1)
    with pytest.raises(ValueError, match="'sklearn' backend cannot grow oblique splits"):
        grow("sklearn", X, plan)
    forest = grow("numba", X, plan)
    with pytest.raises(ValueError, match="'sklearn' backend cannot score oblique splits"):
        get_backend("sklearn").leaf_means(forest, forest.path_length[:, None], X)


def test_weighted_rows_follow_their_weights():
    weights = np.array([0.0, 1.0, 2.0, 3.0, 0.0, 4.0])
    plan = plan_for(np.zeros((6, 1), np.float32), n_trees=4000, subsample_size=1)
    for bootstrap in (False, True):
        drawn = dataclasses.replace(plan, bootstrap=bootstrap).weighted_rows(weights)
        counts = np.bincount(drawn[:, 0], minlength=6)
        assert counts[[0, 4]].tolist() == [0, 0]
        assert np.abs(counts - 400 * weights).max() < 6 * np.sqrt(1600)
    all_of_them = dataclasses.replace(plan, subsample_size=4).weighted_rows(weights)
    assert (np.sort(all_of_them, axis=1) == [1, 2, 3, 5]).all()


@given(FLOAT32, FLOAT32, st.integers(0, 2**32 - 1))
def test_coefficients_are_finite_and_never_zero(a, b, word):
    drawn = draw_coefficient(np.float32(min(a, b)), np.float32(max(a, b)), np.array([word], np.uint32))
    assert np.isfinite(drawn)
    assert drawn != 0


@given(FLOAT32, FLOAT32, st.integers(0, 2**32 - 1))
def test_a_threshold_never_leaves_a_side_empty(a, b, word):
    low, high = np.float32(min(a, b)), np.float32(max(a, b))
    if low == high:
        return
    threshold = draw_threshold(np.array([low]), np.array([high]), np.array([word], np.uint32))[0]
    assert low <= threshold < high


def test_thresholds_are_uniform():
    words = np.random.default_rng(0).integers(0, 2**32, 100_000, dtype=np.uint32)
    drawn = draw_threshold(np.full(len(words), -1, np.float32), np.full(len(words), 3, np.float32), words)
    counts, _ = np.histogram(drawn, bins=20, range=(-1, 3))
    assert np.abs(counts - 5000).max() < 5 * np.sqrt(5000)


def test_split_features_are_uniform_among_those_that_vary():
    X = np.random.default_rng(0).normal(size=(100, 6)).astype(np.float32)
    X[:, [0, 3]] = 1
    forest = grow("numba", X, plan_for(X, n_trees=4000, subsample_size=2))
    counts = np.bincount(forest.feature[forest.feature >= 0], minlength=6)
    assert counts[[0, 3]].tolist() == [0, 0]
    assert np.abs(counts[[1, 2, 4, 5]] - 1000).max() < 5 * np.sqrt(750)


def test_missing_values_follow_the_larger_child_where_none_was_seen():
    X = np.array([[0.0], [0.0], [0.0], [10.0]], np.float32)
    forest = grow("numba", X, plan_for(X, n_trees=20))
    roots = forest.tree_start[:-1]
    assert forest.missing_left[roots].all()
    assert (forest.n_samples[roots + 1] == 3).all()


def test_missing_values_go_both_ways_where_they_were_seen():
    X = np.array([[0.0], [1.0], [np.nan], [np.nan]], np.float32)
    forest = grow("numba", X, plan_for(X, n_trees=200))
    share = forest.missing_left[forest.tree_start[:-1]].mean()
    assert 0.35 < share < 0.65


def test_auto_says_why():
    choice = choose_backend("auto")
    assert choice.name in backends.BACKENDS
    assert len(choice.reason) > 10
    assert describe_system()["auto"] == {"name": choice.name, "reason": choice.reason}


def test_auto_takes_mlx_with_a_gpu_and_falls_back_in_order(monkeypatch):
    monkeypatch.setattr(backends, "_mlx_gpu", lambda: None)
    assert choose_backend("auto").name == "mlx"
    monkeypatch.setattr(backends, "_mlx_gpu", lambda: "no GPU")
    assert choose_backend("auto").name == "numba"
    load = backends._load
    monkeypatch.setattr(backends, "_load", lambda name: "numba is broken" if name == "numba" else load(name))
    choice = choose_backend("auto")
    assert (choice.name, choice.reason) == ("sklearn", "no GPU; numba is broken; scikit-learn is the last resort")
    monkeypatch.setattr(backends, "_load", lambda name: f"no {name}")
    with pytest.raises(BackendUnavailableError, match="no GPU; no numba; no sklearn"):
        choose_backend("auto")


def test_a_backend_asked_for_by_name_is_taken_or_an_error(monkeypatch):
    assert choose_backend("sklearn").reason == "asked for by name"
    with pytest.raises(ValueError, match="unknown backend 'cuda'; expected 'auto' or one of 'mlx', 'numba', 'sklearn'"):
        choose_backend("cuda")
    monkeypatch.setattr(backends, "_load", lambda name: "mlx is not installed; pip install mlx")
    with pytest.raises(BackendUnavailableError, match="'mlx' was asked for, but mlx is not installed; pip install"):
        choose_backend("mlx")


@pytest.mark.parametrize("extension_level", [0, 1])
def test_blocks_are_compiled_once_walks_have_paid_for_it(extension_level: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways give the same bits, so nobody sees which was taken."""
    numba_backend = pytest.importorskip("mlx_iforest.backends.numba.backend")
    X = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    growth = {"subsample_size": 32, "features_per_tree": 3, "extension_level": extension_level}
    backend = get_backend("numba")
    forest = backend.grow(X, GrowthPlan(0, 0, 4, *X.shape, **growth), n_threads=1)
    values = forest.path_length[:, None]
    monkeypatch.setattr(numba_backend, "WORTH_COMPILING", 300)
    monkeypatch.setattr(numba_backend, "OBLIQUE_WALK", 1)
    monkeypatch.setattr(numba_backend, "is_compiled", lambda kernel: False)
    monkeypatch.setattr(numba_backend, "_compiling", numba_backend._Compiling())
    scorer = numba_backend._Scorer(forest, values)
    totals = []
    for _ in range(3):
        totals.append(np.zeros((50, 1)))
        scorer.add(X, totals[-1])
        # 50 rows through 4 trees are 200 walks.
        assert ("_blocks" in vars(scorer)) == (len(totals) == 3)
    np.testing.assert_array_equal(totals[0], totals[2])
    monkeypatch.setattr(numba_backend, "_compiling", numba_backend._Compiling())
    monkeypatch.setattr(numba_backend, "is_compiled", lambda kernel: True)
    assert numba_backend._compiling.pays(numba_backend.add_leaf_values, 1)
