"""Shapley values: the definition on small forests, the reference, and what rows and models may be."""

from __future__ import annotations

import itertools
import math
import sys
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from mlx_iforest import BlendedIsolationForest, Forest, MLXIsolationForest
from mlx_iforest.explain.explanation import Explanation
from mlx_iforest.explain.reference import ReferenceTrees, expectations
from mlx_iforest.explain.shapley import mean_slopes
from mlx_iforest.explain.tables import ExplainedTrees
from mlx_iforest.forest import LEAF_VALUES

MODELS = {
    "depth": MLXIsolationForest(30, random_state=0),
    "density": MLXIsolationForest(30, scoring="density", random_state=0),
    "blended": BlendedIsolationForest(30, random_state=0),
    "few features a tree": MLXIsolationForest(30, max_features=0.5, random_state=0),
    "one row a tree": MLXIsolationForest(5, max_samples=1, random_state=0),
}


def table(n_rows: int = 700, n_features: int = 5, seed: int = 0, missing: bool = True) -> np.ndarray:
    """Some rows far out, one column of few values, one constant, and missing values."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, n_features)).astype(np.float32)
    X[::40] *= 5
    X[:, -1] = np.round(X[:, -1])
    X[:, 0] = 2.0
    if missing:
        X[rng.random(X.shape) < 0.05] = np.nan
    return X


def known_mean(forest: Forest, values: np.ndarray, root: int, x: np.ndarray, known: frozenset[int]) -> float:
    """What a tree says of a row of which some features are known: the definition, by recursion."""

    def worth(node: int) -> float:
        feature = forest.feature[node]
        if feature < 0:
            return float(values[node])
        left = root + int(forest.left[node])
        if feature in known:
            goes_left = forest.missing_left[node] if np.isnan(x[feature]) else x[feature] <= forest.threshold[node]
            return worth(left if goes_left else left + 1)
        a, b = float(forest.n_samples[left]), float(forest.n_samples[left + 1])
        return (a * worth(left) + b * worth(left + 1)) / (a + b)

    return worth(root)


def by_definition(forest: Forest, values: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Shapley values of the mean over the trees: a sum over all sets of features."""
    d = forest.n_features
    phi = np.zeros(d)
    for root in forest.tree_start[:-1]:
        worth = {
            known: known_mean(forest, values, int(root), x, known)
            for size in range(d + 1)
            for known in map(frozenset, itertools.combinations(range(d), size))
        }
        for i in range(d):
            for known, value in worth.items():
                if i not in known:
                    weight = math.factorial(len(known)) * math.factorial(d - len(known) - 1) / math.factorial(d)
                    phi[i] += weight * (worth[known | {i}] - value)
    return phi / forest.n_trees


def means(model: MLXIsolationForest, values: np.ndarray, X: np.ndarray) -> np.ndarray:
    return model._model.resources.leaf_means(model.forest_, values, np.ascontiguousarray(X, dtype=np.float32))


def reference(model: MLXIsolationForest, values: np.ndarray, X: np.ndarray) -> np.ndarray:
    rows = np.ascontiguousarray(X, dtype=np.float32)
    forest = model.forest_
    return ReferenceTrees.of(forest, values).shapley_values(rows, 0, forest.n_trees) / forest.n_trees


def two_questions(missing_left: bool = False) -> MLXIsolationForest:
    """x0 <= 0 is worth 1; else x1 <= 0 is worth 2, and the rest 4. Half of the samples go each way."""
    model = MLXIsolationForest(1, random_state=0).fit([[0.0, 0.0], [1.0, 1.0], [1.0, 2.0], [0.0, 1.0]])
    forest = Forest(
        2,
        np.array([0, 5]),
        np.array([0, -1, 1, -1, -1], np.int32),
        np.zeros(5, np.float32),
        np.array([1, -1, 3, -1, -1], np.int32),
        np.array([missing_left, False, missing_left, False, False]),
        np.array([0, 1, 0, 2, 4], np.float32),
        np.array([4, 2, 2, 1, 1], np.int32),
    )
    return model._snapshot(_model=model._model.with_forest(forest, model._model.function))


def test_by_hand() -> None:
    # Of the row (1, 1): nothing known 0.5 * 1 + 0.5 * 3 = 2, x0 known 3, x1 known 0.5 * 1 + 0.5 * 4 = 2.5, both 4.
    # So x0 adds (3 - 2) / 2 + (4 - 2.5) / 2 = 1.25, and x1 (2.5 - 2) / 2 + (4 - 3) / 2 = 0.75.
    explanation = two_questions().explain([[1.0, 1.0], [0.0, 1.0], [1.0, -1.0]])
    assert explanation.base_values.tolist() == [2.0] * 3
    assert explanation.values == pytest.approx(np.array([[1.25, 0.75], [-1.25, 0.25], [0.75, -0.75]]), abs=1e-6)
    assert explanation.feature_names is None
    assert explanation.data.tolist() == [[1.0, 1.0], [0.0, 1.0], [1.0, -1.0]]


def test_missing_values_by_hand() -> None:
    known = two_questions().explain([[1.0, 1.0], [0.0, 1.0]]).values
    nothing = [[np.nan, np.nan], [np.nan, 1.0]]
    assert two_questions(missing_left=False).explain(nothing).values[0] == pytest.approx(known[0])
    assert two_questions(missing_left=True).explain(nothing).values[1] == pytest.approx(known[1])


def test_the_score_by_hand() -> None:
    # The score is -2 ** (-m / c) with c(4) of the four samples: all features share its one slope from 2 to 4.
    model = two_questions()
    c = float(np.float32(2 * (np.log(3) + np.euler_gamma) - 2 * 3 / 4))
    rise = -(2 ** (-4 / c)) + 2 ** (-2 / c)
    explanation = model.explain([[1.0, 1.0]], of="score")
    assert explanation.base_values[0] == pytest.approx(-(2 ** (-2 / c)))
    assert explanation.values[0] == pytest.approx([rise * 1.25 / 2, rise * 0.75 / 2], abs=1e-6)


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    n_features=st.integers(1, 5),
    n_samples=st.integers(1, 40),
    levels=st.sampled_from([2, 5, 1000]),
    missing=st.sampled_from([0.0, 0.2, 0.9]),
    share=st.sampled_from([0.3, 1.0]),
)
def test_the_definition(seed: int, n_features: int, n_samples: int, levels: int, missing: float, share: float) -> None:
    rng = np.random.default_rng(seed)
    X = np.round(rng.normal(size=(n_samples, n_features)) * levels).astype(np.float32)
    X[rng.random(X.shape) < missing] = np.nan
    model = MLXIsolationForest(3, max_features=share, random_state=seed).fit(X)
    rows = np.concatenate([X[:3], np.round(rng.normal(size=(2, n_features)) * levels).astype(np.float32)])
    forest = model.forest_
    for name in ("path_length", "log_density"):
        values = forest.arrays()[name]
        expected = np.array([by_definition(forest, values, x) for x in rows])
        assert reference(model, values, rows) == pytest.approx(expected, abs=1e-10)
        explanation = model.explain(rows, of=name)
        assert explanation.values == pytest.approx(expected, abs=2e-6)
        assert explanation.base_values[0] == pytest.approx(expectations(forest, values).mean())
        assert explanation.base_values + explanation.values.sum(axis=1) == pytest.approx(means(model, values, rows))


@pytest.mark.parametrize(
    ("n_features", "parameters"),
    [
        (1, {"n_estimators": 10}),
        (3, {"n_estimators": 100}),
        (8, {"n_estimators": 50}),
        (70, {"n_estimators": 20}),
        (500, {"n_estimators": 3}),
        (8, {"n_estimators": 5, "max_samples": 4096}),
        (40, {"n_estimators": 2, "max_samples": 4096}),
        (8, {"n_estimators": 20, "max_features": 0.4}),
        (5, {"n_estimators": 20, "bootstrap": True}),
    ],
)
def test_the_kernel_equals_the_reference(n_features: int, parameters: dict[str, float]) -> None:
    X = table(5000, n_features)
    model = MLXIsolationForest(random_state=0, **parameters).fit(X)
    forest, rows = model.forest_, X[:70]
    n_trees = forest.n_trees
    for values in (forest.path_length, forest.log_density):
        exact = reference(model, values, rows)
        out = np.empty(rows.shape)
        # Rows are made to add up to what they add up to in float64, so errors of single values are all that is left.
        factors = np.full((1, len(rows)), 1 / n_trees)
        ExplainedTrees.of(forest, values).add(
            rows, [(0, n_trees)], factors, out, fresh=True, expected=exact.sum(axis=1)
        )
        assert np.abs(out - exact).max() < 2e-6
        assert not out[:, np.all(exact == 0, axis=0)].any()


def any_tree(rng: np.random.Generator, n_features: int) -> Forest:
    """Of any shape, from a chain to a heap, with counts that fit together nowhere."""
    feature, left, leaves = [-1], [-1], [0]
    late = rng.random()
    for _ in range(rng.integers(0, 50)):
        node = leaves.pop(-1 if rng.random() < late else int(rng.integers(len(leaves))))
        feature[node], left[node] = int(rng.integers(n_features)), len(feature)
        leaves += [len(feature), len(feature) + 1]
        feature += [-1, -1]
        left += [-1, -1]
    n_nodes, is_split = len(feature), np.array(feature) >= 0
    value = rng.integers(0, 4, n_nodes) if rng.random() < 0.5 else 20 * rng.random(n_nodes)
    return Forest(
        n_features,
        np.array([0, n_nodes]),
        np.array(feature, np.int32),
        np.where(is_split, rng.normal(size=n_nodes), 0).astype(np.float32),
        np.array(left, np.int32),
        rng.random(n_nodes) < 0.5,
        np.where(is_split, 0, value).astype(np.float32),
        rng.integers(1, 300, n_nodes).astype(np.int32),
    ).validate()


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**16), n_features=st.integers(1, 25), n_rows=st.integers(1, 150))
def test_parts_of_any_forest(seed: int, n_features: int, n_rows: int) -> None:
    rng = np.random.default_rng(seed)
    forest = Forest.concatenate([any_tree(rng, n_features) for _ in range(3)])
    X = rng.normal(size=(n_rows, n_features)).astype(np.float32)
    X[rng.random(X.shape) < 0.1] = np.nan
    parts, factors = [(0, 1), (2, 3)], rng.random((2, n_rows))
    of_rows = ReferenceTrees.of(forest, forest.path_length)
    kernel, plain = np.ones(X.shape), np.ones(X.shape)
    # Nothing is put right here: this is what float32 leaves.
    ExplainedTrees.of(forest, forest.path_length).add(X, parts, factors, kernel, fresh=False, expected=None)
    of_rows.add(X, parts, factors, plain, fresh=False, expected=None)
    assert np.abs(kernel - plain).max() < 1e-5
    assert np.abs(kernel.sum(axis=1) - plain.sum(axis=1)).max() < 2e-5


@pytest.mark.parametrize("name", MODELS)
def test_values_add_up(name: str) -> None:
    X = table()
    model = MODELS[name].fit(X)
    for of in sorted(LEAF_VALUES.keys() & model.forest_.arrays().keys()):
        explanation = model.explain(X, of=of)
        expected = means(model, model.forest_.arrays()[of], X)
        assert np.abs(explanation.base_values + explanation.values.sum(axis=1) - expected).max() < 1e-12
    explanation = model.explain(X, of="score")
    assert np.abs(explanation.base_values + explanation.values.sum(axis=1) - model.score_samples(X)).max() < 1e-12
    # Nothing is made of the constant column.
    assert not explanation.values[:, 0].any()


@pytest.mark.parametrize("name", ["depth", "density"])
def test_a_score_of_one_mean_has_one_slope_a_row(name: str) -> None:
    X = table()
    model = MODELS[name].fit(X)
    of = {"depth": "path_length", "density": "log_density"}[name]
    parts, whole = model.explain(X, of="score"), model.explain(X, of=of)
    slope = parts.values.sum(axis=1) / whole.values.sum(axis=1)
    assert np.all(slope > 0)
    assert parts.values == pytest.approx(slope[:, None] * whole.values, abs=1e-9)


def test_a_row_at_the_base_has_the_slope_there() -> None:
    model = MODELS["depth"].fit(table())
    how = model._model.function
    base = np.array([[9.0]])
    near = mean_slopes(how, base, np.array([[9.0], [9.0 + 1e-9], [9.0 + 1e-5]]))[:, 0]
    difference = (how.scores(base + 1e-3) - how.scores(base - 1e-3)) / 2e-3
    assert near == pytest.approx(np.repeat(difference, 3), rel=1e-5)


def test_the_slopes_of_a_blend_of_means() -> None:
    # Along the line the score's derivative is the sum of the slopes times how far the columns go.
    model = MODELS["blended"].fit(table())
    how = model._model.function
    rng = np.random.default_rng(0)
    n_columns = sum(len(part.views) for part in how.parts)
    base, columns = rng.normal(size=(1, n_columns)), rng.normal(size=(50, n_columns)) * 5
    numeric = np.empty_like(columns)
    for k, step in enumerate(np.eye(n_columns) * 1e-5):
        numeric[:, k] = (how.scores(columns + step) - how.scores(columns - step)) / 2e-5
    assert how.gradient(columns) == pytest.approx(numeric, abs=1e-8)
    slopes = mean_slopes(how, base, columns)
    assert slopes == pytest.approx(mean_slopes(how, base, columns, 300), abs=1e-5)
    assert (slopes * (columns - base)).sum(axis=1) == pytest.approx(how.scores(columns) - how.scores(base), abs=1e-5)


@pytest.mark.parametrize("of", ["path_length", "score"])
@pytest.mark.parametrize("name", ["depth", "density", "blended"])
def test_no_row_depends_on_threads_batches_or_neighbours(name: str, of: str) -> None:
    X = table(1500)
    model = MODELS[name].fit(X)
    expected = model.explain(X, of=of).values
    for n_jobs, batch_size in ((1, "auto"), (2, 64), (2, 100), (1, 1000)):
        other = model._snapshot()
        other.n_jobs, other.batch_size = n_jobs, batch_size
        assert np.array_equal(other.explain(X, of=of).values, expected)
    for row in (0, 7, 1499):
        assert np.array_equal(model.explain(X[row : row + 1], of=of).values[0], expected[row])


@pytest.mark.parametrize("n_features", [1, 8, 20])
def test_equal_rows_have_equal_values_wherever_they_are(n_features: int) -> None:
    # Compilers choose anew for each of several vectors what to round, unless they are told.
    X = table(2000, n_features + 1)
    model = MLXIsolationForest(20, random_state=0).fit(X)
    for row in X[:5]:
        values = model.explain(np.tile(row, (150, 1))).values
        assert (values == values[0]).all()


@pytest.mark.parametrize("of", ["path_length", "score"])
def test_memory_is_that_of_the_result(of: str) -> None:
    X = np.random.default_rng(0).normal(size=(20_000, 60)).astype(np.float32)
    model = BlendedIsolationForest(10, n_jobs=2, random_state=0).fit(X[:500])
    model.explain(X[:1], of=of)
    tracemalloc.start()
    try:
        values = model.explain(X, of=of).values
        assert tracemalloc.get_traced_memory()[1] < values.nbytes + (12 << 20)
    finally:
        tracemalloc.stop()


def test_rows_of_every_kind() -> None:
    X = table(missing=False)
    model = MODELS["depth"].fit(X)
    expected = model.explain(X)
    for rows in (X.astype(np.float64), np.asfortranarray(X), X.tolist(), csr_matrix(X), pd.DataFrame(X)):
        explanation = model.explain(rows)
        assert np.array_equal(explanation.values, expected.values)
        assert np.array_equal(explanation.data, X)
    frozen = X.copy()
    frozen.setflags(write=False)
    assert np.array_equal(model.explain(frozen).values, expected.values)


def test_column_names_come_from_the_training_data() -> None:
    frame = pd.DataFrame(table(), columns=["a", "b", "c", "d", "e"])
    explanation = MODELS["depth"].fit(frame).explain(frame)
    assert explanation.feature_names == ["a", "b", "c", "d", "e"]
    assert explanation[3].feature_names == explanation[2:4].feature_names == ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize("name", ["depth", "density", "blended"])
def test_smaller_models(name: str) -> None:
    X = table()
    model = MODELS[name].fit(X)
    for smaller in (model.quantize(), model.prune(0.01), model.prune(0.01, X).quantize()):
        of = "path_length"
        values = smaller.forest_.path_length
        assert np.abs(smaller.explain(X[:50], of=of).values - reference(smaller, values, X[:50])).max() < 2e-6
        explanation = smaller.explain(X, of="score")
        total = explanation.base_values + explanation.values.sum(axis=1)
        assert np.abs(total - smaller.score_samples(X)).max() < 1e-9


def test_importance_is_the_mean_size_of_the_values() -> None:
    values = np.array([[1.0, -2.0, 0.0], [-3.0, 0.0, 0.0]])
    explanation = Explanation(values, np.zeros(2), np.zeros((2, 3)))
    assert explanation.importance().tolist() == [2.0, 1.0, 0.0]
    assert explanation[0].importance().tolist() == [1.0, 2.0, 0.0]


def test_trees_without_a_split() -> None:
    model = MLXIsolationForest(3, random_state=0).fit([[5.0, 1.0]] * 20)
    for of in ("path_length", "log_density", "score"):
        explanation = model.explain([[1.0, 2.0], [np.nan, 3.0]], of=of)
        assert not explanation.values.any()
    assert explanation.base_values == pytest.approx([-0.5, -0.5])


def test_without_numba_the_reference_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    X = table(100)
    expected = MLXIsolationForest(5, random_state=0).fit(X).explain(X)
    monkeypatch.setitem(sys.modules, "mlx_iforest.explain.tables", None)
    explanation = MLXIsolationForest(5, random_state=0).fit(X).explain(X)
    assert np.abs(explanation.values - expected.values).max() < 2e-6
    assert not np.array_equal(explanation.values, expected.values)


def test_models_of_the_scikit_learn_backend() -> None:
    X = table(300)
    model = MLXIsolationForest(10, backend="sklearn", random_state=0).fit(X)
    explanation = model.explain(X, of="score")
    assert np.abs(explanation.base_values + explanation.values.sum(axis=1) - model.score_samples(X)).max() < 1e-12


def test_what_cannot_be_explained() -> None:
    X = table(missing=False)
    model = MODELS["depth"].fit(X)
    with pytest.raises(ValueError, match="of='depth' cannot be explained; expected one of 'path_length'"):
        model.explain(X, of="depth")
    with pytest.raises(ValueError, match=r"oblique splits .* fit with extension_level=0"):
        MLXIsolationForest(3, extension_level=1, random_state=0).fit(X).explain(X)
    with pytest.raises(ValueError, match="of='log_density' needs densities"):
        MLXIsolationForest.from_sklearn(model.to_sklearn()).explain(X, of="log_density")
    with pytest.raises(ValueError, match="infinity"):
        model.explain(np.full((3, 5), np.inf))
    with pytest.raises(ValueError, match="features"):
        model.explain(X[:, :3])
    with pytest.raises(ValueError, match="not fitted"):
        MLXIsolationForest().explain(X)
