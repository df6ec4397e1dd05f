"""Columns that change are named with what, since when and by how much; streams that stay are left alone for good."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from anomaly_detection.alerts.observing import TableDrift, can_watch
from anomaly_detection.alerts.scoring import score_parts, score_table
from anomaly_detection.anomaly_detection_api import AnomalyDetectionAPI
from anomaly_detection.calibration.column_drift import Change, Drift, in_words, starting_test
from anomaly_detection.calibration.drift_test import BLOCK, DriftTest, Observed
from anomaly_detection.detector import Detector
from anomaly_detection.features.column_reference import BINS
from anomaly_detection.model_files.persistence import load_detector

LEVELS = 9


def records(rows: int, seed: int) -> pd.DataFrame:
    """Prices by product, a supplier, a weight that is missing now and then, and days in their order."""
    random = np.random.default_rng(seed)
    product = random.integers(0, 8, rows)
    weight = random.normal(5.0, 1.0, rows)
    weight[random.random(rows) < 0.03] = np.nan
    return pd.DataFrame(
        {
            "product": [f"P{number}" for number in product],
            "supplier": random.choice(["Acme", "Borg", "Cyan"], rows, p=[0.5, 0.3, 0.2]),
            "unit_price": np.exp(product * 0.7 + random.normal(0.0, 0.05, rows)).round(2),
            "weight_kg": weight.round(2),
            "ordered": pd.Timestamp("2024-01-01") + pd.to_timedelta(np.sort(random.integers(0, 300 * 24, rows)), "h"),
        }
    )


@pytest.fixture(scope="module")
def detector() -> Detector:
    return AnomalyDetectionAPI().fit(records(900, 0)).detector


def changes(detector: Detector, frame: pd.DataFrame) -> dict[str, Drift]:
    found = TableDrift(detector)
    found.add(score_table(detector, frame))
    return {drift.column: drift for drift in found.drifts() if drift.column}


@pytest.fixture(scope="module")
def later() -> pd.DataFrame:
    return records(800, 1)


def test_records_like_those_of_training_are_no_drift(detector: Detector, later: pd.DataFrame) -> None:
    assert changes(detector, later) == {}
    assert changes(detector, later.sort_values("product")) == {}
    assert changes(detector, records(900, 0)) == {}


def test_lanes_whose_rows_take_turns_are_no_drift() -> None:
    frame = records(900, 0)
    frame["lane"] = np.tile(["north", "south"], 450)
    frame.loc[frame["lane"] == "north", "weight_kg"] = np.nan
    assert changes(AnomalyDetectionAPI().fit(frame).detector, frame) == {}


def test_a_price_that_rose_is_told_within_its_product(detector: Detector, later: pd.DataFrame) -> None:
    frame = later.copy()
    frame.loc[400:, "unit_price"] *= 1.9
    (drift,) = changes(detector, frame).values()
    assert (drift.change, drift.context) == (Change.NUMBERS, "product")
    assert drift.factor == pytest.approx(1.9, rel=0.06)
    assert drift.since is not None
    assert abs(pd.Timestamp(drift.since).tz_localize(None) - frame["ordered"][400]) < pd.Timedelta(days=20)
    assert 360 <= drift.records <= 440
    assert str(drift).startswith("unit_price is 1.")
    assert "times what it was for its product since" in in_words([drift])


def test_a_rise_of_eight_percent_is_found(detector: Detector, later: pd.DataFrame) -> None:
    found = changes(detector, later.assign(unit_price=later["unit_price"] * 1.08))
    assert found["unit_price"].factor == pytest.approx(1.08, abs=0.015)
    assert " since " not in str(found["unit_price"])


def test_kinds_of_change_are_told_apart(detector: Detector, later: pd.DataFrame) -> None:
    frame = later.copy()
    frame.loc[300:, "weight_kg"] = np.nan
    frame.loc[500:, "supplier"] = "Delta"
    found = changes(detector, frame)
    assert found["weight_kg"].change is Change.MISSING
    assert found["supplier"].change is Change.LEVELS
    assert found["supplier"].examples == ("Delta",)
    found = changes(detector, later.assign(supplier=later["supplier"].str.upper()))
    assert found["supplier"].change is Change.FORMAT
    texts = [f"see {price}" if row > 300 else str(price) for row, price in enumerate(later["unit_price"])]
    found = changes(detector, later.assign(unit_price=texts))
    assert found["unit_price"].change is Change.FORMAT
    assert found["unit_price"].examples[0].startswith("see ")
    found = changes(detector, later.assign(supplier=["Cyan", "Borg"] * 400))
    assert found["supplier"].change is Change.MIX


def test_a_share_of_alerts_that_grew_is_told(detector: Detector, later: pd.DataFrame) -> None:
    frame = later.copy()
    frame.loc[::3, "unit_price"] *= 40.0
    found = TableDrift(detector)
    found.add(score_table(detector, frame))
    (alerts,) = (drift for drift in found.drifts() if drift.change is Change.ALERTS)
    assert alerts.after > 0.2 > alerts.before
    assert "of the records are alerts" in str(alerts)


def test_a_table_in_parts_is_the_table(detector: Detector, later: pd.DataFrame) -> None:
    frame = later.assign(unit_price=later["unit_price"] * 1.5)
    whole, parted = TableDrift(detector), TableDrift(detector)
    for part in score_parts(detector, [frame], threshold=-0.5):
        whole.add(part)
    for part in score_parts(detector, [frame[:17], frame[17:350], frame[350:]], threshold=-0.5):
        parted.add(part)
    assert whole.drifts() == parted.drifts() != []


def test_references_are_kept_in_files_and_older_files_have_none(
    detector: Detector, later: pd.DataFrame, tmp_path: Path
) -> None:
    api = AnomalyDetectionAPI()
    api.detector = detector
    api.save_model(tmp_path / "model.safetensors")
    frame = later.assign(unit_price=later["unit_price"] * 1.5)
    assert changes(load_detector(tmp_path / "model.safetensors"), frame) == changes(detector, frame)
    detector.preprocessor.references_, kept = [], detector.preprocessor.references_
    try:
        api.save_model(tmp_path / "older.safetensors")
    finally:
        detector.preprocessor.references_ = kept
    assert can_watch(detector)
    assert not can_watch(load_detector(tmp_path / "older.safetensors"))


def stream(random: np.random.Generator, shares: Any, rows: int) -> Observed:
    codes = np.stack([random.choice(LEVELS, rows, p=own) for own in shares], axis=1).astype(np.int8)
    return Observed(codes, np.full(codes.shape, np.nan), np.arange(rows, dtype=np.float64))


def reference(random: np.random.Generator, shares: Any, rows: int) -> DriftTest:
    counts = np.zeros((len(shares), BINS), dtype=np.int64)
    counts[:, :LEVELS] = [random.multinomial(rows, own) for own in shares]
    return DriftTest(counts, np.zeros((len(shares), 2)))


def test_streams_that_stay_are_left_alone_over_a_year_of_looking() -> None:
    """Of 100 streams of four columns, looked at after every block for a year of ten records a day, 10 may alarm."""
    random = np.random.default_rng(4)
    shares = random.dirichlet(np.full(LEVELS, 0.7), size=400)
    test = reference(random, shares, 150)
    test.update(stream(random, shares, 3650))
    alarms = (test.peaks >= np.log(4 / 0.1)).reshape(100, 4).any(axis=1)
    assert 1 <= alarms.sum() <= 10


def test_the_state_does_not_depend_on_batches() -> None:
    random = np.random.default_rng(5)
    shares = random.dirichlet(np.ones(LEVELS), size=3)
    whole = reference(random, shares, 200)
    parted = DriftTest(whole.reference.copy(), whole.usual.copy())
    found = stream(random, shares, BLOCK * 300 + 7)
    whole.update(found)
    for start in range(0, len(found), 1001):
        parted.update(found.take(slice(start, start + 1001)))
    for name in ("capital", "peaks", "counts", "periods", "sums", "starts"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(parted, name))
    assert len(whole.rest) == len(parted.rest) == 7
    assert whole.per_period == 2
    assert whole.periods.sum() == BLOCK * 300 * 3


def test_p_values_are_those_of_a_plain_count() -> None:
    random = np.random.default_rng(6)
    test = reference(random, [np.full(LEVELS, 1 / LEVELS)], 50)
    before = np.repeat(np.arange(BINS), test.reference[0]).tolist()
    codes = random.integers(0, LEVELS, (BLOCK, 1))
    found, _ = test._p_values(codes, 3)
    lots = np.random.Generator(np.random.Philox(key=3)).random((BLOCK, 1))
    for code, p, lot in zip(codes[:, 0].tolist(), found[:, 0].tolist(), lots[:, 0].tolist(), strict=True):
        before.append(code)
        less, equal = sum(one < code for one in before), before.count(code)
        assert p == pytest.approx((less + lot * equal) / len(before))


def test_what_is_settled_is_the_new_normal() -> None:
    random = np.random.default_rng(7)
    old, new = np.eye(LEVELS)[2] * 0.5 + 0.5 / LEVELS, np.eye(LEVELS)[6] * 0.5 + 0.5 / LEVELS
    test = reference(random, [old, old], 300)
    test.update(stream(random, [new, old], 640))
    assert test.alarms().tolist() == [True, False]
    test.settle(0, 0)
    test.update(stream(random, [new, old], 3200))
    assert not test.alarms().any()
    assert starting_test([], (5, 95)).reference.sum() == 100
