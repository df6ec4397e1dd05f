"""Shapley values of the score: by hand, against the definition, and what they must obey."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from test_features import orders

from anomaly_detection.explain.attribution import Player, attribute, players_of
from anomaly_detection.features.compiled.choice import only
from anomaly_detection.features.features import FeatureSource
from anomaly_detection.settings import RECIPE, FeatureSet, Settings, make_detector, make_forest

Floats = npt.NDArray[np.float64]


class Preprocessor(SimpleNamespace):
    """One that can be kept things of, as a real one."""

    __hash__ = object.__hash__


def stand_in(sources: list[FeatureSource], score: Callable[[Any], Any], usual: list[float]) -> Any:
    """A detector whose score is a function of the features as they are."""
    middle = np.array(usual, dtype=np.float32)
    preprocessor = Preprocessor(
        feature_sources_=sources,
        usual_=middle,
        usual_surprises_=np.zeros(len(usual), dtype=np.float32),
        standing_out=lambda farness, surprises: farness,
        surprises=lambda features: np.abs(features - middle),
        blame=lambda features: None,
        summarise=lambda features, surprises, evidence: features,
        of_coalitions=lambda needed, count, *rows: np.empty((count, len(needed), 0), dtype=np.float32),
    )
    return SimpleNamespace(preprocessor=preprocessor, score_features=lambda X, first: score(X), sees=lambda count: True)


def singles(names: str) -> list[FeatureSource]:
    return [FeatureSource(name, "num", (name,)) for name in names]


def test_players_are_columns_and_wide_features_are_players_of_their_own() -> None:
    sources = [
        FeatureSource("a", "num", ("a",)),
        FeatureSource("a by g", "deviations", ("a",), ("g",)),
        FeatureSource("a / b", "ratios", ("a", "b")),
        FeatureSource("repeated record", "repeats", ("a", "b", "c", "d")),
        FeatureSource("repeated readings", "repeats", ("a", "b", "c", "d")),
        FeatureSource("surprise 1", "tails", ()),
    ]
    assert players_of(sources) == [
        Player(("a",), (0, 1, 2)),
        Player(("b",), (2,)),
        Player(("a", "b", "c", "d"), (3, 4)),
    ]


def test_what_two_columns_do_together_is_halved() -> None:
    sources = [*singles("ab"), FeatureSource("a / b", "ratios", ("a", "b"))]
    detector = stand_in(sources, lambda features: -np.abs(features).sum(axis=1), [0.0, 0.5, 1.0])
    found = attribute(detector, np.array([[1.0, -3.0, 5.0], [0.0, 0.5, 1.0]], dtype=np.float32))
    assert found.base == -1.5
    assert found.score.tolist() == [-9.0, -1.5]
    # Alone a costs 1 and b 2.5; the ratio costs 4 more, for which it takes both.
    np.testing.assert_allclose(found.effects, [[-1 - 2, -2.5 - 2], [0, 0]], atol=1e-12)
    np.testing.assert_allclose(found.rest, 0, atol=1e-12)


def test_of_the_largest_surprise_the_second_has_its_part() -> None:
    detector = stand_in(singles("abc"), lambda features: -features.max(axis=1), [0.0, 0.0, 0.0])
    found = attribute(detector, np.array([[6.0, 3.0, 0.0]], dtype=np.float32))
    # Whichever comes first brings its own; of the 3 that both would bring each has half.
    np.testing.assert_allclose(found.effects, [[-4.5, -1.5, 0.0]], atol=1e-12)


def test_a_player_beyond_the_sixth_is_part_of_the_rest() -> None:
    detector = stand_in(singles("abcdefgh"), lambda features: -features.sum(axis=1), [0.0] * 8)
    found = attribute(detector, np.array([[2, 3, 4, 5, 6, 7, 8, 9]], dtype=np.float32))
    np.testing.assert_allclose(found.effects, [[0, 0, -4, -5, -6, -7, -8, -9]], atol=1e-9)
    np.testing.assert_allclose(found.rest, [-5], atol=1e-9)


def test_missing_values_are_made_usual_with_their_columns() -> None:
    def score(features: Any) -> Any:
        return -np.where(np.isnan(features), 3.0, 0.0).sum(axis=1)

    detector = stand_in(singles("ab"), score, [0.0, 0.0])
    found = attribute(detector, np.array([[np.nan, 0.0]], dtype=np.float32))
    assert found.base == 0.0
    assert found.effects.sum() + found.rest[0] == -3.0


@settings(max_examples=15, deadline=None)
@given(
    row=arrays(np.float32, 4, elements=st.floats(-8, 8, width=32)),
    weights=arrays(np.float64, (4, 4), elements=st.floats(-2, 2)),
)
def test_equal_to_the_mean_over_all_orders(row: npt.NDArray[np.float32], weights: Floats) -> None:
    def score(features: Any) -> Floats:
        wide = np.asarray(features, dtype=np.float64)
        return np.asarray(np.tanh(np.einsum("ni,ij,nj->n", wide, weights, wide) / 50) + wide.max(axis=1))

    found = attribute(stand_in(singles("abcd"), score, [0.0] * 4), row[None])
    expected = np.zeros(4)
    for order in permutations(range(4)):
        mixed = np.zeros((1, 4), dtype=np.float32)
        before = score(mixed)[0]
        for column in order:
            mixed[0, column] = row[column]
            expected[column] += (score(mixed)[0] - before) / 24
            before = score(mixed)[0]
    np.testing.assert_allclose(found.effects[0], expected, atol=1e-9)
    np.testing.assert_allclose(found.rest, 0.0, atol=1e-9)


@pytest.mark.parametrize(
    "settings_",
    [Settings(n_estimators=30), RECIPE, Settings(FeatureSet(("num",)), n_estimators=30)],
    ids=["every feature", "surprises", "numbers"],
)
def test_effects_add_up_to_the_scores_of_a_detector(settings_: Settings) -> None:
    frame = orders()
    detector = make_detector(settings_, None, make_forest(settings_, seed=0, backend="numba")).fit(frame)
    features = detector.preprocessor.transform(frame)
    found = attribute(detector, features)
    np.testing.assert_array_equal(found.score, detector.score_samples(frame))
    np.testing.assert_allclose(found.base + found.effects.sum(axis=1) + found.rest, found.score, atol=1e-12)
    if "deviations" in settings_.features.groups:
        # The median of plain numbers of several kinds lies between the kinds, and may be odd itself.
        assert found.base > np.median(found.score)
    # Each row by itself: no row's explanation depends on the rows beside it.
    alone = attribute(detector, features[7:8])
    np.testing.assert_array_equal(alone.effects[0], found.effects[7])
    for compiled in (False, True):
        with only(compiled):
            np.testing.assert_array_equal(attribute(detector, features[:20]).effects, found.effects[:20])
