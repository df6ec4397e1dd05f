"""Labels stay the same where scores tie: the offset lies between two scores, here and wherever a model goes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from sklearn.ensemble import IsolationForest

from mlx_iforest import BlendedIsolationForest, MLXIsolationForest
from mlx_iforest.base import BaseIsolationForest
from mlx_iforest.offsets import carried_over, offset_below, offset_of_share, wrong_labels

SHARES = (0.05, 0.1, 0.3)
SEEDS = range(4)


def whole_numbers(seed: int) -> np.ndarray[Any, Any]:
    """Rows of few whole numbers, many of them alike."""
    return np.random.default_rng(seed).binomial(5, 0.4, (300, 3)).astype(np.float32)


def by_onnx(model: BaseIsolationForest, X: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    exported = model.to_onnx().SerializeToString()
    session = onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])
    labels: np.ndarray[Any, Any] = session.run(["labels"], {"X": X})[0]
    return labels


def scikit_learns_number(model: BaseIsolationForest, X: np.ndarray[Any, Any], share: float) -> int:
    scores = model.score_samples(X)
    return int((scores < np.percentile(scores, 100 * share)).sum())


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("seed", SEEDS)
def test_from_scikit_learn_and_back(seed: int, share: float) -> None:
    X = whole_numbers(seed)
    theirs = IsolationForest(n_estimators=20, contamination=share, random_state=seed).fit(X)
    ours = MLXIsolationForest.from_sklearn(theirs)
    expected = theirs.predict(X)
    assert_array_equal(ours.predict(X), expected)
    assert_array_equal(ours.scorer().predict(X), expected)
    assert_array_equal(ours.to_sklearn().predict(X), expected)
    assert_array_equal(MLXIsolationForest.from_sklearn(ours.to_sklearn()).predict(X), expected)
    assert_array_equal(by_onnx(ours, X), expected)


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", ["depth", "density", "blended"])
def test_ours_elsewhere_and_back(kind: str, seed: int, share: float) -> None:
    X = whole_numbers(seed)
    model: BaseIsolationForest = (
        BlendedIsolationForest(24, contamination=share, random_state=seed)
        if kind == "blended"
        else MLXIsolationForest(20, contamination=share, random_state=seed, scoring=kind)
    )
    expected = model.fit(X).predict(X)
    assert (expected == -1).sum() == scikit_learns_number(model, X, share)
    assert np.abs(model.decision_function(X)).min() > 0
    assert_array_equal(by_onnx(model, X), expected)
    if kind == "depth":
        theirs = model.to_sklearn()
        assert_array_equal(theirs.predict(X), expected)
        assert_array_equal(MLXIsolationForest.from_sklearn(theirs).predict(X), expected)


def test_an_offset_that_was_a_score_travels_too() -> None:
    # As models of before have it, or as anyone may set it.
    X = whole_numbers(0)
    model = MLXIsolationForest(20, random_state=0).fit(X)
    values, counts = np.unique(model.score_samples(X), return_counts=True)
    model.offset_ = float(values[:-5][counts[:-5].argmax()])
    expected = model.predict(X)
    assert_array_equal(model.to_sklearn().predict(X), expected)
    assert_array_equal(by_onnx(model, X), expected)


def test_a_forest_that_cannot_tell_rows_apart_keeps_its_labels() -> None:
    # scikit-learn's sums of equal numbers may lie to either side of -0.5.
    for n_rows in range(3, 60, 7):
        X = np.ones((n_rows, 2), np.float32)
        theirs = IsolationForest(n_estimators=33, random_state=0).fit(X)
        ours = MLXIsolationForest(33, random_state=0).fit(X)
        assert_array_equal(MLXIsolationForest.from_sklearn(theirs).predict(X), theirs.predict(X))
        assert_array_equal(ours.to_sklearn().predict(X), ours.predict(X))
        assert_array_equal(by_onnx(ours, X), ours.predict(X))


@given(
    scores=st.lists(st.sampled_from(np.linspace(-0.9, -0.1, 9).tolist()), min_size=1, max_size=40),
    share=st.floats(0.01, 0.5),
)
@settings(max_examples=100, deadline=None)
def test_as_many_lie_below_as_below_the_percentile(scores: list[float], share: float) -> None:
    values = np.array(scores)
    offset = offset_of_share(values, share)
    assert (values < offset).sum() == (values < np.percentile(values, 100 * share)).sum()
    assert np.abs(values - offset).min() > 1e-5


def test_offsets_beyond_the_ends_by_hand() -> None:
    ordered = np.array([-0.5, -0.5, -0.4])
    assert offset_below(ordered, 2) == pytest.approx(-0.45)
    assert offset_below(ordered, 0) == pytest.approx(-0.5001)
    assert offset_below(ordered, 3) == pytest.approx(-0.3999)
    assert offset_below(np.array([-0.5, -0.49999]), 0) == pytest.approx(-0.500005)
    assert offset_below(np.array([-0.5]), 0) == pytest.approx(-0.5001)
    neighbours = np.array([-0.5, np.nextafter(-0.5, 0)])
    assert [(neighbours < offset_below(neighbours, cut)).sum() for cut in range(3)] == [0, 1, 2]


def test_carrying_over_by_hand() -> None:
    scores = np.array([-0.7, -0.6, -0.6, -0.3])
    rounded = scores + np.array([1e-8, -2e-8, 0, 1e-8])
    offset = carried_over(-0.6, scores, rounded)
    assert offset == pytest.approx(-0.6 - 6e-8, abs=1e-9)
    assert (rounded < offset).tolist() == (scores < -0.6).tolist() == [True, False, False, False]
    # The default stays where it is no score.
    assert carried_over(-0.5, scores, rounded) == -0.5
    assert carried_over(-0.5, np.array([-0.5, -0.4]), np.array([-0.5 - 1e-9, -0.4])) < -0.5 - 1e-9
    # What rounding has mixed up, no number parts; rows further off are still told apart.
    mixed = carried_over(-0.6, np.array([-0.7, -0.6 - 1e-9, -0.6]), np.array([-0.7, -0.6, -0.6 - 1e-9]))
    assert -0.7 < mixed < -0.6
    assert wrong_labels(scores, -0.65, scores < -0.5, 1e-6) == 2
    assert wrong_labels(scores, -0.6, scores <= -0.6, 1e-6) == 0
