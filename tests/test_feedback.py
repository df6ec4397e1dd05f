"""Verdicts: what they do to leaf values, in any order, on every backend, in files, and back again."""

from __future__ import annotations

import json
import pickle
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone

from anomaly_detection.detector import Detector
from anomaly_detection.model_files.persistence import load_detector, save_detector
from anomaly_detection.synthetic import generate
from benchmarks import feedback as benchmark
from mlx_iforest import BlendedIsolationForest, MLXIsolationForest
from mlx_iforest.backends.reference import leaf
from mlx_iforest.feedback import MOST_VERDICTS, RIDGE, STRENGTH, leaves_of
from mlx_iforest.forest import LEAF_VALUES
from mlx_iforest.state import StateError, from_state, to_state

RNG = np.random.default_rng(0)
X = RNG.normal(size=(600, 4)).astype(np.float32)
X[RNG.random(X.shape) < 0.02] = np.nan
KINDS: dict[str, Any] = {
    "depth": lambda: MLXIsolationForest(20, random_state=0),
    "density": lambda: MLXIsolationForest(20, scoring="density", random_state=0),
    "oblique": lambda: MLXIsolationForest(20, extension_level=2, random_state=0),
    "evidence": lambda: MLXIsolationForest(20, evidence=1, random_state=0),
    "blended": lambda: BlendedIsolationForest(24, random_state=0),
}


@pytest.fixture(scope="module", params=KINDS)
def judged(request: pytest.FixtureRequest) -> tuple[Any, Any, Any, Any]:
    """A model without verdicts, one with, the rows, and the verdicts."""
    plain = KINDS[request.param]().fit(X)
    rows = X[np.argsort(plain.score_samples(X), kind="stable")[:12]]
    y = np.where(np.arange(12) % 3 == 1, -1, 1)
    return plain, KINDS[request.param]().fit(X).feedback(rows, y), rows, y


def _taught(model: Any, rows: Any, y: Any) -> dict[str, Any]:
    """Leaf values after verdicts, a number at a time; the system is solved in fractions, and so without rounding."""
    forest, function = model.forest_, model._model.function
    values = {name: array.copy() for name, array in forest.arrays().items() if name in function.used}
    for part in function.parts:
        trees = range(part.first, part.stop)
        leaves = [[leaf(forest, tree, row) for tree in trees] for row in rows]
        kernel = [
            [Fraction(sum(a == b for a, b in zip(i, j, strict=True)), len(trees)) for j in leaves] for i in leaves
        ]
        for i, line in enumerate(kernel):
            line[i] += Fraction(RIDGE)
            line.append(Fraction(int(y[i])))
        for k, pivot in enumerate(kernel):
            for line in kernel:
                if line is not pivot and line[k]:
                    line[:] = [a - b * line[k] / pivot[k] for a, b in zip(line, pivot, strict=True)]
        first, stop = forest.tree_start[part.first], forest.tree_start[part.stop]
        nodes = [node for node in range(first, stop) if forest.feature[node] < 0]
        moved = dict.fromkeys(nodes, Fraction(0))
        for i, line in enumerate(kernel):
            for node in leaves[i]:
                moved[node] += line[-1] / line[i]
        for name in {view.leaf_value for view in part.views}:
            deviation = np.std(np.repeat(values[name][nodes].astype(np.float64), forest.n_samples[nodes]))
            for node in nodes:
                value = float(values[name][node]) + STRENGTH * deviation * float(moved[node])
                values[name][node] = np.clip(value, *LEAF_VALUES[name])
    return values


def test_leaf_values_are_those_of_the_plain_reference(judged: tuple[Any, Any, Any, Any]) -> None:
    plain, taught, rows, y = judged
    for name, values in _taught(plain, rows, y).items():
        # Another order of summing, so the last bit of a float32 may differ.
        np.testing.assert_allclose(taught.forest_.arrays()[name], values, rtol=2e-6, atol=2e-6)


def test_judged_rows_move_with_their_verdicts(judged: tuple[Any, Any, Any, Any]) -> None:
    plain, taught, rows, y = judged
    moved = taught.score_samples(rows) - plain.score_samples(rows)
    assert np.array_equal(np.sign(moved), y)
    assert np.array_equal(taught.feedback_, y)
    assert not len(plain.feedback_)
    assert taught.offset_ == plain.offset_


def test_two_calls_are_one_and_a_copy_keeps_its_own(judged: tuple[Any, Any, Any, Any]) -> None:
    plain, taught, rows, y = judged
    model = pickle.loads(pickle.dumps(plain)).feedback(rows[:5], y[:5])
    before = pickle.loads(pickle.dumps(model))
    model.feedback(rows[5:], y[5:])
    assert model.forest_.equals(taught.forest_)
    assert not before.forest_.equals(model.forest_)
    assert np.array_equal(before.feedback_, y[:5])


def test_forgetting(judged: tuple[Any, Any, Any, Any]) -> None:
    plain, taught, rows, y = judged
    model = pickle.loads(pickle.dumps(taught))
    some = pickle.loads(pickle.dumps(plain)).feedback(np.delete(rows, [3, 11], axis=0), np.delete(y, [3, 11]))
    assert model.forget([-1, 3]).forest_.equals(some.forest_)
    assert model.forget().forest_.equals(plain.forest_)
    assert not len(model.feedback_)
    assert model.forget().forest_.equals(plain.forest_)
    with pytest.raises(IndexError, match="there are 0 verdicts"):
        model.forget(0)
    with pytest.raises(TypeError, match="whole numbers"):
        model.forget([0.5])


def test_files_keep_verdicts(judged: tuple[Any, Any, Any, Any]) -> None:
    plain, taught, _, _ = judged
    again = from_state(*to_state(taught))
    assert again.forest_.equals(taught.forest_)
    assert np.array_equal(again.score_samples(X), taught.score_samples(X))
    assert again.forget().forest_.equals(plain.forest_)
    assert "feedback_" not in to_state(plain)[1]


def test_a_fit_and_a_clone_begin_without_verdicts(judged: tuple[Any, Any, Any, Any]) -> None:
    plain, taught, _, _ = judged
    again = pickle.loads(pickle.dumps(taught)).fit(X)
    assert again.forest_.equals(plain.forest_)
    assert not len(again.feedback_)
    assert not hasattr(clone(taught), "feedback_")


def test_what_is_made_of_it_scores_alike_and_forgets_nothing(judged: tuple[Any, Any, Any, Any]) -> None:
    _, taught, rows, y = judged
    pruned = taught.prune(0.001)
    assert np.abs(pruned.score_samples(X) - taught.score_samples(X)).max() <= 0.001
    assert not len(pruned.feedback_)
    if taught.forest_.direction_weight is None:
        small = taught.quantize(16)
        assert not len(small.feedback_)
        before = small.score_samples(X)
        small.feedback(rows[:3], y[:3])
        assert pickle.loads(pickle.dumps(small)).forest_.equals(small.forest_)
        assert from_state(*to_state(small)).forest_.equals(small.forest_)
        assert np.array_equal(small.forget().score_samples(X), before)


def test_explanations_add_up_to_the_taught_scores(judged: tuple[Any, Any, Any, Any]) -> None:
    _, taught, rows, _ = judged
    if taught.forest_.direction_weight is None and getattr(taught, "evidence", None) is None:
        told = taught.explain(rows, of="score")
        np.testing.assert_allclose(told.base_values + told.values.sum(axis=1), taught.score_samples(rows), atol=1e-6)


@pytest.mark.parametrize("kind", ["depth", "density", "blended"])
@pytest.mark.parametrize("backend", ["mlx", "sklearn"])
def test_every_backend_scores_alike(kind: str, backend: str) -> None:
    if backend == "mlx":
        pytest.importorskip("mlx.core")
    ours = KINDS[kind]().set_params(backend="numba").fit(X).feedback(X[:9], [1, -1, 1] * 3)
    theirs = pickle.loads(pickle.dumps(ours)).set_params(backend=backend)
    if backend == "mlx":
        assert np.array_equal(theirs.score_samples(X), ours.score_samples(X))
        assert theirs.fit(X).feedback(X[:9], [1, -1, 1] * 3).forest_.equals(ours.forest_)
    else:
        np.testing.assert_allclose(theirs.score_samples(X), ours.score_samples(X), atol=1e-5)


def test_leaves_are_those_of_the_plain_walk() -> None:
    for extension_level in (0, 2):
        forest = MLXIsolationForest(5, extension_level=extension_level, random_state=1).fit(X).forest_
        walked = [[leaf(forest, tree, row) for tree in range(forest.n_trees)] for row in X[:80]]
        assert np.array_equal(leaves_of(forest, X[:80]), walked)


def test_a_sparse_matrix_teaches_as_a_dense_one() -> None:
    sparse = pytest.importorskip("scipy.sparse")
    rows = np.nan_to_num(X[:6])
    dense = KINDS["depth"]().fit(X).feedback(rows, [1, -1] * 3)
    assert KINDS["depth"]().fit(X).feedback(sparse.csr_matrix(rows), [1, -1] * 3).forest_.equals(dense.forest_)


def test_a_detector_in_either_file_keeps_verdicts(tmp_path: Any) -> None:
    frame = generate("classic", 300, seed=3).frame
    detector = Detector(model=MLXIsolationForest(10, random_state=0)).fit(frame)
    before = detector.decision_function(frame)
    detector.model.feedback(np.zeros((1, detector.model.n_features_in_)), [-1])
    after = detector.decision_function(frame)
    assert not np.array_equal(before, after)
    for name in ("a.safetensors", "a.joblib"):
        save_detector(detector, tmp_path / name)
        loaded = load_detector(tmp_path / name)
        assert np.array_equal(loaded.decision_function(frame), after)
        loaded.model.forget()
        assert np.array_equal(loaded.decision_function(frame), before)


def test_errors_change_nothing() -> None:
    model = KINDS["depth"]().fit(X)
    scores = model.score_samples(X)
    with pytest.raises(ValueError, match="-1 for an anomaly, \\+1 for a normal row"):
        model.feedback(X[:2], [0, 1])
    with pytest.raises(ValueError, match="-1 for an anomaly"):
        model.feedback(X[:2], [np.nan, 1])
    with pytest.raises(ValueError, match="one verdict for each of the 2 rows"):
        model.feedback(X[:2], [1])
    with pytest.raises(ValueError, match="features"):
        model.feedback(X[:2, :3], [1, 1])
    with pytest.raises(ValueError, match="inf"):
        model.feedback(np.full((1, 4), np.inf), [1])
    with pytest.raises(ValueError, match="forget the oldest"):
        model.feedback(np.zeros((MOST_VERDICTS + 1, 4)), np.ones(MOST_VERDICTS + 1))
    with pytest.raises(AttributeError, match="not fitted"):
        KINDS["depth"]().feedback(X[:1], [1])
    assert np.array_equal(model.score_samples(X), scores)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("feedback_", lambda y: y * 0, "-1 and 1"),
        ("feedback_", lambda y: y[1:], "name a leaf in 20 trees"),
        ("_feedback_leaves", lambda leaves: leaves * 0, "other trees"),
        ("_feedback_leaves", lambda leaves: leaves * 0 + KINDS["depth"]().fit(X).forest_.tree_start[:-1], "splits"),
    ],
)
def test_a_file_with_a_wrong_log_is_refused(name: str, change: Any, message: str) -> None:
    arrays, values = to_state(KINDS["depth"]().fit(X).feedback(X[:3], [1, -1, 1]))
    (place,) = (one for one in arrays if one.endswith(name))
    arrays[place] = change(arrays[place]).astype(arrays[place].dtype)
    with pytest.raises(StateError, match=message):
        from_state(arrays, values)


def test_a_file_without_one_half_of_the_log_is_refused() -> None:
    arrays, values = to_state(KINDS["depth"]().fit(X).feedback(X[:3], [1, -1, 1]))
    del values["feedback_"], arrays[next(one for one in arrays if one.endswith("feedback_"))]
    with pytest.raises(StateError, match="go together"):
        from_state(arrays, values)


def test_the_benchmark_asks_and_learns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Far out on one side is an anomaly, on the other not.
    rng = np.random.default_rng(3)
    rows = np.concatenate([rng.normal(size=(250, 3)), rng.normal(9, 0.4, (20, 3)), rng.normal(-4, 0.4, (10, 3))])
    np.savez(tmp_path / "1_made.npz", X=rows, y=np.repeat([0, 0, 1], [250, 20, 10]))
    ours = {name: benchmark.LEARNERS[name] for name in (benchmark.WITHOUT, benchmark.DEPTH)}
    monkeypatch.setattr(benchmark, "LEARNERS", ours)
    benchmark.main([str(tmp_path), "--seeds", "1", "--questions", "16", "--output", str(tmp_path)])
    made = json.loads((tmp_path / "results" / "feedback.json").read_text("utf-8"))["measurements"]["made"]
    assert made["anomalies"] == 10
    assert made[benchmark.DEPTH]["found"][0][-1] > made[benchmark.WITHOUT]["found"][0][-1]
    assert (tmp_path / "results" / "feedback.png").stat().st_size > 1000
