"""To and from scikit-learn's `IsolationForest`: equal scores, on thresholds and with gaps too."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sklearn
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csc_matrix, csr_matrix
from sklearn.ensemble import ExtraTreesRegressor, IsolationForest
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mlx_iforest import BlendedIsolationForest, MLXIsolationForest
from mlx_iforest.backends.sklearn_trees import breadth_first, to_forest
from mlx_iforest.convert.probes import probing_rows
from mlx_iforest.convert.scikit_learn import TOLERANCE

from_sklearn = MLXIsolationForest.from_sklearn


def data(n_samples: int = 400, n_features: int = 4, seed: int = 0) -> np.ndarray:
    """A cluster, ties, missing values and a few far rows."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_samples, n_features))
    X[:, 1] = np.round(X[:, 1])
    X[:5] *= 20
    X[rng.random(X.shape) < 0.05] = np.nan
    return X.astype(np.float32)


WHOLE = data()[~np.isnan(data()).any(axis=1)]

FORESTS: dict[str, tuple[IsolationForest, np.ndarray]] = {
    "as it comes": (IsolationForest(random_state=0), WHOLE),
    "missing values": (IsolationForest(n_estimators=30, random_state=0), data()),
    "some features": (IsolationForest(n_estimators=30, max_features=0.5, random_state=0), data()),
    "one feature": (IsolationForest(n_estimators=30, max_features=1, random_state=0), data()),
    "bootstrap": (IsolationForest(n_estimators=30, bootstrap=True, max_samples=0.7, random_state=0), data()),
    "contamination": (IsolationForest(n_estimators=30, contamination=0.1, random_state=0), data()),
    "deep trees": (IsolationForest(n_estimators=5, max_samples=1.0, random_state=0), data(3000)),
    "one row a tree": (IsolationForest(n_estimators=5, max_samples=1, random_state=0), WHOLE),
    "two rows a tree": (IsolationForest(n_estimators=5, max_samples=2, random_state=0), WHOLE),
    "one row": (IsolationForest(n_estimators=5, random_state=0), WHOLE[:1]),
    "constant": (IsolationForest(n_estimators=5, random_state=0), np.ones((60, 3), np.float32)),
    "many alike": (IsolationForest(n_estimators=20, random_state=0), np.repeat(WHOLE[:6], 80, axis=0)),
    "huge values": (IsolationForest(n_estimators=20, random_state=0), WHOLE * np.float32(1e36)),
    "tiny values": (IsolationForest(n_estimators=20, random_state=0), WHOLE * np.float32(1e-38)),
    "present or missing": (IsolationForest(n_estimators=5, random_state=1), np.array([[np.nan]] * 3 + [[3.4e38]])),
    "one tree": (IsolationForest(n_estimators=1, random_state=0), WHOLE),
}


@pytest.mark.parametrize("name", FORESTS)
def test_there_and_back(name: str) -> None:
    theirs, X = FORESTS[name]
    theirs.fit(X)
    ours = from_sklearn(theirs)
    back = ours.to_sklearn()
    for rows in (X, probing_rows(ours.forest_, 2000, seed=1)):
        expected = theirs.score_samples(rows)
        assert_allclose(ours.score_samples(rows), expected, rtol=0, atol=TOLERANCE)
        assert_allclose(back.score_samples(rows), expected, rtol=0, atol=TOLERANCE)
        apart = np.abs(expected - theirs.offset_) > TOLERANCE
        assert_array_equal(ours.predict(rows)[apart], theirs.predict(rows)[apart])
        assert_array_equal(back.predict(rows)[apart], theirs.predict(rows)[apart])
    assert [ours.offset_, back.offset_] == pytest.approx([theirs.offset_] * 2, abs=4 * TOLERANCE)
    assert from_sklearn(back).forest_.equals(ours.forest_)
    kept = set(theirs.get_params())
    assert {name: value for name, value in ours.get_params().items() if name in kept} == theirs.get_params()
    assert back.get_params() == theirs.get_params()


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    values=st.lists(
        st.one_of(st.just(np.nan), st.floats(width=32, allow_nan=False, allow_infinity=False)), min_size=4, max_size=40
    ),
    n_features=st.integers(1, 4),
    max_samples=st.one_of(st.just("auto"), st.integers(1, 12), st.floats(0.3, 1.0)),
    max_features=st.floats(0.1, 1.0),
    bootstrap=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_any_forest_goes_there_and_back(
    values: list[float], n_features: int, max_samples: str | float, max_features: float, bootstrap: bool, seed: int
) -> None:
    X = np.array(values[: len(values) // n_features * n_features], np.float32).reshape(-1, n_features)
    if max_samples != "auto":
        max_samples = min(max_samples, len(X)) if isinstance(max_samples, int) else max(max_samples, 1 / len(X))
    theirs = IsolationForest(
        n_estimators=3, max_samples=max_samples, max_features=max_features, bootstrap=bootstrap, random_state=seed
    ).fit(X)
    ours = from_sklearn(theirs)
    back = ours.to_sklearn()
    rows = np.vstack([X, probing_rows(ours.forest_, 64, seed)])
    assert_allclose(ours.score_samples(rows), theirs.score_samples(rows), rtol=0, atol=TOLERANCE)
    assert_allclose(back.score_samples(rows), theirs.score_samples(rows), rtol=0, atol=TOLERANCE)
    assert from_sklearn(back).forest_.equals(ours.forest_)


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    shape=st.tuples(st.integers(2, 60), st.integers(1, 5)),
    max_samples=st.integers(1, 60),
    seed=st.integers(0, 2**31),
    made_smaller=st.sampled_from(["no", "quantised", "pruned", "both"]),
)
def test_ours_to_theirs_and_back(shape: tuple[int, int], max_samples: int, seed: int, made_smaller: str) -> None:
    X = np.random.default_rng(seed).normal(size=shape)
    model = MLXIsolationForest(4, max_samples=min(max_samples, len(X)), random_state=seed).fit(X)
    if made_smaller in ("pruned", "both"):
        model = model.prune(0.02)
    if made_smaller in ("quantised", "both"):
        model = model.quantize(8)
    theirs = model.to_sklearn()
    rows = np.vstack([X.astype(np.float32), probing_rows(model.forest_, 64, seed)])
    assert_allclose(theirs.score_samples(rows), model.score_samples(rows), rtol=0, atol=TOLERANCE)
    again = from_sklearn(theirs).forest_
    for name in ("tree_start", "feature", "threshold", "left", "missing_left", "path_length", "n_samples"):
        assert_array_equal(getattr(again, name), getattr(model.forest_, name))


@pytest.mark.parametrize("share", [0.25, 0.75])
def test_scikit_learns_thresholds_are_asked_exactly(share: float) -> None:
    """Of two neighbouring float32 with a float64 threshold between them, one goes left and the other right."""
    lower = np.float32(0.1)
    upper = np.nextafter(lower, np.float32(1))
    theirs = IsolationForest(n_estimators=1, random_state=0).fit([[0.0], [0.0], [1.0]])
    theirs.estimators_[0].tree_.threshold[0] = (1 - share) * float(lower) + share * float(upper)
    ours = from_sklearn(theirs)
    assert ours.forest_.threshold[0] == lower
    scores = ours.score_samples([[lower], [upper]])
    assert scores[0] > scores[1] + 0.1
    assert_allclose(scores, theirs.score_samples([[lower], [upper]]), rtol=0, atol=TOLERANCE)


def test_a_tree_by_hand() -> None:
    """[0, 0, 0, 8] with one split: the three alike lie at depth 1 and have c(3) to go, the fourth at depth 1."""
    theirs = IsolationForest(n_estimators=1, random_state=0).fit([[0.0], [0.0], [0.0], [8.0]])
    ours = from_sklearn(theirs)
    c3 = 2 * (np.log(2) + np.euler_gamma) - 4 / 3
    c4 = 2 * (np.log(3) + np.euler_gamma) - 6 / 4
    assert sorted(ours.forest_.path_length.tolist()) == pytest.approx([0, 1, 1 + c3])
    assert ours.score_samples([[0.0], [8.0]]) == pytest.approx([-(2 ** -((1 + c3) / c4)), -(2 ** -(1 / c4))])


def test_depth_first_numbers_become_breadth_first() -> None:
    tree = IsolationForest(n_estimators=1, random_state=3).fit(WHOLE).estimators_[0].tree_
    nodes = breadth_first(tree)
    assert sorted(nodes) == list(range(tree.node_count))
    assert (np.diff(tree.compute_node_depths()[nodes]) >= 0).all()
    to_forest(tree, np.arange(4), 4).validate()


def test_a_sparse_fit_converts() -> None:
    X = np.where(np.abs(WHOLE) > 0.7, WHOLE, 0)
    theirs = IsolationForest(n_estimators=20, random_state=0).fit(csc_matrix(X))
    ours = from_sklearn(theirs)
    assert_allclose(ours.score_samples(csr_matrix(X)), theirs.score_samples(csr_matrix(X)), rtol=0, atol=TOLERANCE)


def test_a_weighted_fit_converts() -> None:
    weight = np.random.default_rng(0).integers(0, 3, len(WHOLE)).astype(float)
    theirs = IsolationForest(n_estimators=20, max_samples=30, random_state=0).fit(WHOLE, sample_weight=weight)
    rows = probing_rows(from_sklearn(theirs).forest_)
    assert_allclose(from_sklearn(theirs).score_samples(rows), theirs.score_samples(rows), rtol=0, atol=TOLERANCE)


def test_column_names_go_both_ways() -> None:
    frame = pd.DataFrame(WHOLE, columns=["cost", "weight", "days", "pieces"])
    ours = from_sklearn(IsolationForest(n_estimators=5, random_state=0).fit(frame))
    assert ours.feature_names_in_.tolist() == list(frame)
    assert ours.to_sklearn().feature_names_in_.tolist() == list(frame)
    with pytest.raises(ValueError, match="feature names"):
        ours.score_samples(frame[["weight", "cost", "days", "pieces"]])


def test_the_other_model_is_left_alone() -> None:
    state = np.random.RandomState(0)
    theirs = IsolationForest(n_estimators=5, random_state=state).fit(WHOLE)
    before = pickle.dumps(theirs)
    ours = from_sklearn(theirs)
    assert pickle.dumps(theirs) == before
    kept = pickle.dumps(ours)
    ours.to_sklearn().fit(WHOLE)
    assert pickle.dumps(ours) == kept


def test_what_works_on_ours_works_on_a_converted_one(backend: str) -> None:
    ours = from_sklearn(IsolationForest(n_estimators=20, random_state=0).fit(data()), backend=backend)
    assert ours.backend_.name == backend
    scores = ours.score_samples(data())
    assert_array_equal(pickle.loads(pickle.dumps(ours)).score_samples(data()), scores)
    assert_array_equal(ours.scorer()(data()), scores)
    smaller = ours.prune(0.01)
    report = smaller.pruning_
    assert np.abs(smaller.score_samples(data()) - scores).max() <= report.bound + 1e-6
    assert np.abs(ours.quantize(16).score_samples(data()) - scores).max() < 0.01
    assert ours.quantize(8).model_bytes() < ours.model_bytes()
    assert sklearn.clone(ours).fit(data()).forest_.log_density is not None


def test_more_trees_are_ours() -> None:
    theirs = IsolationForest(n_estimators=10, warm_start=True, random_state=0).fit(data())
    grown = [from_sklearn(theirs).set_params(n_estimators=15).fit(data()) for _ in range(2)]
    assert grown[0].forest_.equals(grown[1].forest_)
    assert grown[0].forest_.trees(0, 10).equals(from_sklearn(theirs).forest_)
    assert grown[0].forest_.n_trees == grown[0].to_sklearn().n_estimators == 15
    with pytest.raises(ValueError, match=r"needs densities.*warm_start=False"):
        from_sklearn(theirs).set_params(n_estimators=15, scoring="density").fit(data())
    assert from_sklearn(theirs).set_params(scoring="density", warm_start=False).fit(data()).forest_.n_trees == 10


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (ExtraTreesRegressor(), "takes a sklearn.ensemble.IsolationForest, got ExtraTreesRegressor"),
        (make_pipeline(StandardScaler(), IsolationForest()), "got Pipeline; give its last step"),
        (MLXIsolationForest(), "got MLXIsolationForest"),
        (IsolationForest, "got ABCMeta"),
        (None, "got NoneType"),
    ],
)
def test_what_is_no_isolation_forest_is_refused(wrong: object, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        from_sklearn(wrong)


def test_what_cannot_come_from_scikit_learn_is_refused() -> None:
    with pytest.raises(NotFittedError, match="not fitted yet; call its fit"):
        from_sklearn(IsolationForest())
    with pytest.raises(ValueError, match="unknown backend 'cuda'"):
        from_sklearn(IsolationForest(n_estimators=2).fit(WHOLE), backend="cuda")
    old = IsolationForest(n_estimators=2, random_state=0).fit(WHOLE)
    del old._decision_path_lengths
    with pytest.raises(ValueError, match=r"has no _decision_path_lengths, so an older scikit-learn .* fit it again"):
        from_sklearn(old)
    broken = IsolationForest(n_estimators=2, random_state=0).fit(WHOLE)
    broken.estimators_[1].tree_.threshold[0] = np.nan
    with pytest.raises(ValueError, match=r"cannot be converted.*threshold is not finite"):
        from_sklearn(broken)


def test_an_isolation_forest_that_scores_otherwise_is_refused() -> None:
    class Halved(IsolationForest):
        def _score_samples(self, X: np.ndarray) -> np.ndarray:
            return super()._score_samples(X) / 2

    with pytest.raises(ValueError, match="the conversion is not exact: scores differ by up to"):
        from_sklearn(Halved(n_estimators=3, random_state=0).fit(WHOLE))


@pytest.mark.parametrize(
    ("model", "what"),
    [
        (MLXIsolationForest(3, scoring="density"), "fitted with scoring='density'"),
        (MLXIsolationForest(3, extension_level=1), "oblique splits"),
        (BlendedIsolationForest(6), "a BlendedIsolationForest"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_scikit_learn_cannot_do_is_refused(model: MLXIsolationForest, what: str) -> None:
    with pytest.raises(ValueError, match=rf"cannot stand for .*{what}.*use to_onnx"):
        model.set_params(random_state=0).fit(WHOLE).to_sklearn()
    with pytest.raises(NotFittedError):
        sklearn.clone(model).to_sklearn()


def test_a_subclass_gives_its_own_kind() -> None:
    class Ours(MLXIsolationForest):
        pass

    assert type(Ours.from_sklearn(IsolationForest(n_estimators=3, random_state=0).fit(WHOLE))) is Ours


def test_the_scoring_of_the_fit_decides() -> None:
    model = MLXIsolationForest(3, random_state=0).fit(WHOLE).set_params(scoring="density")
    assert_allclose(model.to_sklearn().score_samples(WHOLE), model.score_samples(WHOLE), rtol=0, atol=TOLERANCE)


ALONE = """
import pickle, sys
import numpy as np

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("mlx_iforest", "anomaly_detection", "numba", "mlx"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None

sys.meta_path.insert(0, Absent())
with open(sys.argv[1], "rb") as file:
    forest, rows, scores, predictions = pickle.load(file)
assert np.abs(forest.score_samples(rows) - scores).max() <= 1e-6
assert (forest.predict(rows) == predictions).all()
assert forest.fit(rows).score_samples(rows).shape == (len(rows),)
"""


def test_the_other_end_needs_only_scikit_learn(tmp_path: Path) -> None:
    model = MLXIsolationForest(20, contamination=0.05, random_state=0).fit(data()).quantize()
    rows = probing_rows(model.forest_, 300, seed=2)
    file = tmp_path / "forest.pickle"
    file.write_bytes(pickle.dumps((model.to_sklearn(), rows, model.score_samples(rows), model.predict(rows))))
    command = [sys.executable, "-c", ALONE, str(file)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_probing_rows_lie_on_thresholds() -> None:
    forest = MLXIsolationForest(5, random_state=0).fit(data()).forest_
    rows = probing_rows(forest, 200)
    assert rows.dtype == np.float32
    assert_array_equal(rows, probing_rows(forest, 200))
    assert not np.isnan(rows[::2]).any()
    assert np.isnan(rows[1::2]).any()
    for feature in range(forest.n_features):
        cuts = forest.threshold[(forest.feature == feature)]
        at = np.append(cuts, np.nextafter(cuts, np.float32(np.inf)))
        present = rows[:, feature][~np.isnan(rows[:, feature])]
        assert np.isin(present, at).all()
        assert np.isin(present, cuts).any()
        assert not np.isin(present, cuts).all()
