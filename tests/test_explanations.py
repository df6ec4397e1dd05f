"""Why a row is abnormal: attribution, facts and wording."""

from __future__ import annotations

import json
from dataclasses import asdict
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.preprocessing import StandardScaler
from test_features import orders

from anomaly_detection.attribution import blocks_of, occlusion
from anomaly_detection.explanations import explain
from anomaly_detection.features import FeatureSource, SupplyChainFeatures
from anomaly_detection.wording import number, phrase
from mlx_iforest import MLXIsolationForest


@pytest.fixture(scope="module")
def detector() -> Any:
    preprocessor = SupplyChainFeatures()
    scaler = StandardScaler()
    features = scaler.fit_transform(preprocessor.fit_transform(orders()))
    model = MLXIsolationForest(n_estimators=100, random_state=0, backend="numba").fit(features)
    return SimpleNamespace(preprocessor=preprocessor, scaler=scaler, model=model)


def changed(**values: Any) -> pd.DataFrame:
    row = orders().iloc[[5]].copy()
    for name, value in values.items():
        row[name] = [value]
    return row


@pytest.mark.parametrize(
    ("values", "column", "direction", "words"),
    [
        ({"order_value": 5e6}, "order_value", "high", "order_value"),
        ({"reliability": 0.2}, "reliability", "low", "Reliability 0.2 is"),
        ({"delivery_date": pd.Timestamp("2023-06-01")}, "delivery_date", "low", "days before order_date"),
    ],
)
def test_the_changed_column_is_the_first_reason(
    detector: Any, values: dict[str, Any], column: str, direction: str, words: str
) -> None:
    row = changed(**values)
    (explanation,) = explain(detector, row)
    first = explanation.contributions[0]
    assert column in first.columns
    assert first.direction == direction
    assert words in explanation.sentence
    assert explanation.sentence.endswith(".")
    assert 0 < first.share <= 1


def test_a_usual_value_in_the_wrong_group_is_named_with_its_group(detector: Any) -> None:
    (explanation,) = explain(detector, changed(product="bolt", unit_price=900.0), top=10)
    texts = " ".join(reason.text for reason in explanation.contributions)
    assert "times what is usual for bolt (2)" in texts


def test_rows_are_chosen_by_position_and_keep_their_label(detector: Any) -> None:
    frame = orders().set_index(np.arange(400) + 1000)
    every = explain(detector, frame.head(20))
    some = explain(detector, frame.head(20), rows=[3, 11])
    assert [explanation.index for explanation in some] == [1003, 1011]
    assert some == [every[3], every[11]]
    assert explain(detector, frame, rows=[]) == []


def test_scores_are_the_models_and_shares_add_up(detector: Any) -> None:
    frame = orders().head(30)
    expected = detector.model.score_samples(detector.scaler.transform(detector.preprocessor.transform(frame)))
    found = explain(detector, frame, top=1000)
    np.testing.assert_allclose([explanation.score for explanation in found], expected, rtol=1e-6)
    for explanation in found:
        shares = [reason.share for reason in explanation.contributions]
        assert shares == sorted(shares, reverse=True)
        assert sum(shares) <= 1.0 + 1e-9


def test_explanations_are_plain_json(detector: Any) -> None:
    frame = orders()
    frame.loc[0, "reliability"] = np.nan
    for explanation in explain(detector, frame.head(5), top=20):
        json.dumps(explanation.to_dict(), allow_nan=False)
        json.dumps([asdict(reason) for reason in explanation.contributions], allow_nan=False)


def test_features_of_the_same_columns_are_one_block() -> None:
    sources = [
        FeatureSource("a", "num", ("a",)),
        FeatureSource("a by g", "deviations", ("a",), ("g",)),
        FeatureSource("a / b", "ratios", ("a", "b")),
        FeatureSource("b / a", "ratios", ("b", "a")),
        FeatureSource("surprise 1", "tails", ()),
    ]
    assert [block.tolist() for block in blocks_of(sources)] == [[0, 1], [2, 3]]


def test_occlusion_is_the_gain_of_the_score() -> None:
    sources = [FeatureSource(name, "num", (name,)) for name in "ab"]
    stand_in = SimpleNamespace(
        preprocessor=SimpleNamespace(feature_sources_=sources, summarise=lambda features: features),
        scaler=SimpleNamespace(transform=lambda features: 2 * features),
        model=SimpleNamespace(score_samples=lambda features: -np.abs(features).sum(axis=1)),
    )
    features = np.array([[1.0, -3.0], [0.0, 2.0]], dtype=np.float32)
    score, gains, _ = occlusion(stand_in, features, np.array([0.0, 0.5], dtype=np.float32))
    assert score.tolist() == [-8, -4]
    assert gains.tolist() == [[2, 5], [0, 3]]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *[(0, "0"), (3.0, "3"), (1234.5678, "1,235"), (0.0123456, "0.0123"), (123.45, "123.5"), (-7.25, "-7.25")],
        *[(1e15, "1e+15"), (0.00001, "1.0e-05"), (float("nan"), "missing"), (100.0, "100"), (12, "12")],
    ],
)
def test_numbers_in_words(value: float, text: str) -> None:
    assert number(value) == text


ROW = pd.Series(
    {"lead_time": 41.0, "supplier": "SupplierB", "mode": "Air", "Freight (USD)": 900.0, "kg": 3.0, "n": 10.0, "p": 5.0}
    | {"value": 5000.0}
)


@pytest.mark.parametrize(
    ("source", "value", "usual", "text"),
    [
        (
            FeatureSource("lead_time by supplier and mode", "deviations", ("lead_time",), ("supplier", "mode")),
            41.0,
            13.0,
            "lead_time 41 is 3.15 times what is usual for SupplierB, Air (13)",
        ),
        (FeatureSource("kg", "num", ("kg",)), 0.0, 7.0, "kg 0 is below what is usual (7)"),
        (FeatureSource("kg", "num", ("kg",)), 0.01, 7.0, "kg 0.01 is less than a hundredth of what is usual (7)"),
        (FeatureSource("kg", "num", ("kg",)), 3.5, 7.0, "kg 3.5 is 50 % of what is usual (7)"),
        (FeatureSource("kg", "num", ("kg",)), float("nan"), 7.0, "kg is missing"),
        (
            FeatureSource("Freight (USD) / kg", "ratios", ("Freight (USD)", "kg")),
            300.0,
            6.0,
            "Freight 900 USD for kg 3 (300 each) is 50 times what is usual (6)",
        ),
        (
            FeatureSource("value / (n x p)", "ratios", ("value", "n", "p")),
            100.0,
            1.0,
            "value 5,000 is 100 times n 10 x p 5 (50)",
        ),
        (
            FeatureSource("days from sent to got", "durations", ("got", "sent")),
            -3.0,
            0.0,
            "got is 3 days before sent; usual is the same day",
        ),
        (FeatureSource("mode rarity", "cat", ("mode",)), "Air", 2.0, "mode Air is rare: 2 of 1,000 records"),
        (
            FeatureSource("weekday of got rarity", "calendar", ("got",)),
            "Sunday",
            4.0,
            "got falls on a Sunday, which is rare: 4 of 1,000 records",
        ),
        (
            FeatureSource("mode for supplier", "pairs", ("mode", "supplier")),
            ("Air", "SupplierB"),
            (0, 40),
            "mode Air is unusual with supplier SupplierB (0 of its 40 records)",
        ),
        (
            FeatureSource("missing values rarity", "missing", ("kg",)),
            "kg missing",
            3.0,
            "missing: kg missing, as in 3 of 1,000 records",
        ),
        (FeatureSource("repeated record", "repeats", ("kg",)), 2.0, 1.0, "the same record occurs 2 times"),
    ],
)
def test_phrases(source: FeatureSource, value: Any, usual: Any, text: str) -> None:
    assert phrase(source, value, usual, ROW, 1000) == text
