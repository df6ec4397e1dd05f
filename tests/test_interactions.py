"""Interactions of two features, and rows explained against a background: definitions, references, sums and `shap`."""

from __future__ import annotations

import itertools
import math
import sys
from functools import partial

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from mlx_iforest import BlendedIsolationForest, Forest, MLXIsolationForest
from mlx_iforest.explain.explanation import Explanation
from mlx_iforest.explain.mixtures import add_by_mixtures
from mlx_iforest.explain.reference import ReferenceTrees, shares_of_row
from mlx_iforest.explain.shapley import _Attribution, mean_slopes
from mlx_iforest.explain.tables import ExplainedTrees
from tests.test_explain import any_tree, known_mean, table, two_questions

MODELS = {
    "depth": MLXIsolationForest(20, random_state=0),
    "density": MLXIsolationForest(20, scoring="density", random_state=0),
    "blended": BlendedIsolationForest(20, random_state=0),
    "one row a tree": MLXIsolationForest(5, max_samples=1, random_state=0),
}


def mixed(forest: Forest, values: np.ndarray, x: np.ndarray, b: np.ndarray, known: frozenset[int]) -> float:
    """What the trees add up to for a row whose unknown features are those of another."""
    row = np.array([x[i] if i in known else b[i] for i in range(forest.n_features)], np.float32)
    everything = frozenset(range(forest.n_features))
    return sum(known_mean(forest, values, int(root), row, everything) for root in forest.tree_start[:-1])


def sampled(forest: Forest, values: np.ndarray, x: np.ndarray, known: frozenset[int]) -> float:
    return sum(known_mean(forest, values, int(root), x, known) for root in forest.tree_start[:-1])


def by_definition(worth: dict[frozenset[int], float], d: int) -> tuple[np.ndarray, np.ndarray]:
    """Shapley values and interactions of a game: sums over all sets of the other features."""
    phi, pairs = np.zeros(d), np.zeros((d, d))
    for known, value in worth.items():
        size = len(known)
        for i in set(range(d)) - known:
            weight = math.factorial(size) * math.factorial(d - size - 1) / math.factorial(d)
            phi[i] += weight * (worth[known | {i}] - value)
            for j in set(range(d)) - known - {i}:
                weight = math.factorial(size) * math.factorial(d - size - 2) / math.factorial(d - 1)
                pairs[i, j] += weight * (worth[known | {i, j}] - worth[known | {i}] - worth[known | {j}] + value)
    return phi, pairs


def all_sets(d: int) -> list[frozenset[int]]:
    return [frozenset(chosen) for size in range(d + 1) for chosen in itertools.combinations(range(d), size)]


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**16), n_features=st.integers(1, 4), against_row=st.booleans(),
    missing=st.sampled_from([0.0, 0.3]),
)  # fmt: skip
def test_the_definition(seed: int, n_features: int, against_row: bool, missing: float) -> None:
    rng = np.random.default_rng(seed)
    forest = Forest.concatenate([any_tree(rng, n_features) for _ in range(2)])
    X = rng.normal(size=(4, n_features)).astype(np.float32)
    X[rng.random(X.shape) < missing] = np.nan
    values, (x, b) = forest.path_length, (X[0], X[1])
    plain, fast = ReferenceTrees.of(forest, values), ExplainedTrees.of(forest, values)
    if against_row:
        shares = shares_of_row(forest, b)
        plain, fast = plain.with_shares(shares), fast.with_shares(shares)
        worth = {known: mixed(forest, values, x, b, known) for known in all_sets(n_features)}
    else:
        worth = {known: sampled(forest, values, x, known) for known in all_sets(n_features)}
    phi, pairs = by_definition(worth, n_features)
    assert plain.shapley_values(X, 0, 2)[0] == pytest.approx(phi, abs=1e-9)
    assert plain.interactions(X, 0, 2)[0] == pytest.approx(pairs, abs=1e-9)
    out, found = np.empty(X.shape), np.zeros((len(X), len(fast.pairs)))
    fast.add(X, [(0, 2)], np.ones((1, len(X))), out, fresh=True, expected=None)
    fast.add_interactions(X, [(0, 2)], np.ones((1, len(X))), found)
    assert out[0] == pytest.approx(phi, abs=1e-5)
    matrix = np.zeros((n_features, n_features))
    first, second = fast.pairs.T
    matrix[first, second] = matrix[second, first] = found[0]
    assert matrix == pytest.approx(pairs, abs=2e-5)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**16), n_features=st.integers(1, 20), n_rows=st.integers(1, 140))
def test_kernels_equal_the_reference_in_parts_of_any_forest(seed: int, n_features: int, n_rows: int) -> None:
    rng = np.random.default_rng(seed)
    forest = Forest.concatenate([any_tree(rng, n_features) for _ in range(3)])
    X = rng.normal(size=(n_rows, n_features)).astype(np.float32)
    X[rng.random(X.shape) < 0.1] = np.nan
    parts, factors = [(0, 1), (2, 3)], rng.random((2, n_rows))
    for shares in (None, shares_of_row(forest, X[0])):
        plain = ReferenceTrees.of(forest, forest.path_length)
        fast = ExplainedTrees.of(forest, forest.path_length)
        if shares is not None:
            plain, fast = plain.with_shares(shares), fast.with_shares(shares)
        ours, theirs = np.ones((n_rows, len(fast.pairs))), np.ones((n_rows, len(plain.pairs)))
        fast.add_interactions(X, parts, factors, ours)
        plain.add_interactions(X, parts, factors, theirs)
        everything = np.ones((n_rows, n_features, n_features))
        everything[:, fast.pairs[:, 0], fast.pairs[:, 1]] = ours
        assert everything[:, plain.pairs[:, 0], plain.pairs[:, 1]] == pytest.approx(theirs, abs=2e-5)


def test_interactions_by_hand() -> None:
    # Of the row (1, 1): nothing known 2, x0 known 3, x1 known 2.5, both 4. Together they are worth 4 - 3 - 2.5 + 2
    # more; half of it goes to each side of the diagonal, and what is left of 1.25 and 0.75 stays on it.
    explanation = two_questions().explain([[1.0, 1.0]], interactions=True)
    assert explanation.values[0] == pytest.approx(np.array([[1.0, 0.25], [0.25, 0.5]]), abs=1e-6)


def test_a_background_by_hand() -> None:
    # Against (0, 0), which is worth 1: with x0 known (1, 0) is worth 2, with x1 known (0, 1) 1, with both (1, 1) 4.
    # So x0 adds (2 - 1 + 4 - 1) / 2 = 2 and x1 (0 + 4 - 2) / 2 = 1, of which 4 - 2 - 1 + 1 = 2 is their interaction.
    model, row = two_questions(), [[1.0, 1.0]]
    explanation = model.explain(row, background=[[0.0, 0.0]])
    assert explanation.base_values.tolist() == [1.0]
    assert explanation.values[0] == pytest.approx([2.0, 1.0], abs=1e-6)
    together = model.explain(row, background=[[0.0, 0.0]], interactions=True)
    assert together.values[0] == pytest.approx(np.array([[1.0, 1.0], [1.0, 0.0]]), abs=1e-6)
    # Against two rows it is the mean of those against each; against itself a row has nothing to tell.
    both = model.explain(row, background=[[0.0, 0.0], [1.0, 1.0]])
    assert both.base_values.tolist() == [2.5]
    assert both.values[0] == pytest.approx([1.0, 0.5], abs=1e-6)


@pytest.mark.parametrize("against", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_all_adds_up(name: str, against: bool) -> None:
    X = table(400)
    model = MODELS[name].fit(X)
    background = X[50:55] if against else None
    for of in ("path_length", "score"):
        values = model.explain(X, of, background=background)
        told = values.base_values + values.values.sum(axis=1)
        matrices = model.explain(X, of, background=background, interactions=True)
        assert np.abs(matrices.values.sum(axis=2) - values.values).max() < 1e-12
        assert np.array_equal(matrices.values, matrices.values.swapaxes(1, 2))
        assert np.array_equal(matrices.base_values, values.base_values)
        if of == "score":
            assert np.abs(told - model.score_samples(X)).max() < 1e-12
            if against:
                assert values.base_values[0] == pytest.approx(model.score_samples(background).mean(), abs=1e-12)
        # Nothing is made of the constant column.
        assert not matrices.values[:, 0].any()


@pytest.mark.parametrize("name", ["depth", "blended"])
def test_no_row_depends_on_threads_batches_or_neighbours(name: str) -> None:
    X = table(600)
    model = MODELS[name].fit(X)
    how = {"of": "score", "background": X[:3], "interactions": True}
    expected = model.explain(X, **how).values
    for n_jobs, batch_size in ((2, 64), (1, 100)):
        other = model._snapshot()
        other.n_jobs, other.batch_size = n_jobs, batch_size
        assert np.array_equal(other.explain(X, **how).values, expected)
    for row in (0, 599):
        assert np.array_equal(model.explain(X[row : row + 1], **how).values[0], expected[row])


@pytest.mark.parametrize("missing", [False, True])
def test_equal_to_shap(missing: bool) -> None:
    shap = pytest.importorskip("shap")
    X = table(2000, 8, missing=missing)
    model = MLXIsolationForest(20, random_state=0).fit(X)
    rows, background = X[:60], X[100:120]
    trees = model.to_sklearn()
    theirs = shap.TreeExplainer(trees).shap_interaction_values(rows)
    assert np.abs(model.explain(rows, interactions=True).values - theirs).max() < 1e-5
    explainer = shap.TreeExplainer(trees, background, feature_perturbation="interventional")
    explanation = model.explain(rows, background=background)
    assert np.abs(explanation.values - explainer.shap_values(rows)).max() < 1e-5
    assert explanation.base_values[0] == pytest.approx(float(np.squeeze(explainer.expected_value)), abs=1e-5)


def test_oblique_splits_are_explained_by_definition() -> None:
    X = table(200, 4)
    model = MLXIsolationForest(10, extension_level=2, random_state=0).fit(X)
    rows, background = X[:3], X[100:103]
    explanation = model.explain(rows, background=background)
    for x, told in zip(rows, explanation.values, strict=True):
        games = []
        for b in background:
            mixed_rows = {known: np.where([i in known for i in range(4)], x, b) for known in all_sets(4)}
            said = model._model.resources.leaf_means(
                model.forest_, model.forest_.path_length, np.stack(list(mixed_rows.values()))
            )
            games.append(by_definition(dict(zip(mixed_rows, said.tolist(), strict=True)), 4)[0])
        assert told == pytest.approx(np.mean(games, axis=0), abs=1e-9)
    assert np.array_equal(model.explain(rows[1:2], background=background).values, explanation.values[1:2])
    assert explanation.importance() == pytest.approx(np.abs(explanation.values).mean(axis=0))
    wide = table(50, 17)
    model = MLXIsolationForest(3, extension_level=1, random_state=0).fit(wide)
    with pytest.raises(ValueError, match="too many with 17 features"):
        model.explain(wide, background=wide)


def test_kernels_equal_all_mixtures() -> None:
    X = table(200)
    model = MODELS["blended"].fit(X)
    attribution = _Attribution.of_model(model._model, "score", X[100:103])
    out = np.zeros((5, 5))
    add_by_mixtures(X[:5], X[100:103], attribution.columns, partial(mean_slopes, attribution.function), out)
    assert np.abs(model.explain(X[:5], "score", background=X[100:103]).values - out).max() < 1e-6


def test_backgrounds_of_every_kind() -> None:
    X = table(300, missing=False)
    model = MODELS["depth"].fit(X)
    expected = model.explain(X[:20], background=X[:4]).values
    for background in (X[:4].astype(np.float64), X[:4].tolist(), csr_matrix(X[:4]), pd.DataFrame(X[:4])):
        assert np.array_equal(model.explain(X[:20], background=background).values, expected)
    with pytest.raises(ValueError, match="infinity"):
        model.explain(X, background=np.full((2, 5), np.inf))
    with pytest.raises(ValueError, match="features"):
        model.explain(X, background=X[:, :3])
    with pytest.raises(ValueError, match="minimum of 1"):
        model.explain(X, background=X[:0])


def test_without_numba_the_reference_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    X = table(60)
    how = {"background": X[:2], "interactions": True}
    expected = MLXIsolationForest(5, random_state=0).fit(X).explain(X, **how)
    monkeypatch.setitem(sys.modules, "mlx_iforest.explain.tables", None)
    explanation = MLXIsolationForest(5, random_state=0).fit(X).explain(X, **how)
    assert np.abs(explanation.values - expected.values).max() < 1e-5
    assert not np.array_equal(explanation.values, expected.values)


def test_importance_of_pairs() -> None:
    values = np.array([[[1.0, -2.0], [-2.0, 0.0]], [[-3.0, 0.0], [0.0, 0.0]]])
    explanation = Explanation(values, np.zeros(2), np.zeros((2, 2)))
    assert explanation.importance().tolist() == [[2.0, 1.0], [1.0, 0.0]]
    assert explanation[0].importance().tolist() == [[1.0, 2.0], [2.0, 0.0]]
