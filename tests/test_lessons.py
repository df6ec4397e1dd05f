"""Verdicts teach a detector: what they weigh, that they are undone one by one, kept in files, and p-values hold."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from anomaly_detection.alerts.scoring import score_table
from anomaly_detection.anomaly_detection_api import AnomalyDetectionAPI
from anomaly_detection.calibration.carrying import Carrying
from anomaly_detection.calibration.thresholds import Conformal
from anomaly_detection.detector import Detector
from anomaly_detection.errors import DataError
from anomaly_detection.features.compiled import choice
from anomaly_detection.features.evidence.lessons import Lessons
from anomaly_detection.model_files.evidence_states import LESSONS
from anomaly_detection.model_files.native_file import to_bytes
from anomaly_detection.model_files.persistence import load_detector, load_trained, save_detector
from anomaly_detection.synthetic import generate
from mlx_iforest.convert.declared import StateError


@pytest.fixture(scope="module")
def halves() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Usual records, exchangeable: to learn from, and others."""
    frame = generate("classic", 4000, seed=3, anomaly_ratio=0.0).frame
    order = np.random.default_rng(0).permutation(len(frame))
    train, other = (frame.iloc[np.sort(some)].reset_index(drop=True) for some in (order[:1500], order[1500:]))
    return train, other


@pytest.fixture(scope="module")
def trained(halves: tuple[pd.DataFrame, pd.DataFrame]) -> Detector:
    return AnomalyDetectionAPI(seed=1).fit(halves[0]).detector


@pytest.fixture
def detector(trained: Detector) -> Detector:
    return copy.copy(trained)


def worst(detector: Detector, frame: pd.DataFrame, count: int) -> pd.DataFrame:
    return frame.iloc[np.argsort(detector.score_samples(frame), kind="stable")[:count]].reset_index(drop=True)


def test_weights_are_rates_of_real_alerts() -> None:
    lessons = Lessons(("a", "a", "a", "b", "c", "c"), (1, 1, 1, -1, 1, -1))
    weights = lessons.weights(["a", "b", "c", "d"])
    assert weights is not None
    np.testing.assert_array_equal(weights, np.array([0.4, 1, 0.75, 1], dtype=np.float32))
    assert Lessons(("c", "c"), (-1, -1)).weights(["c"]) is None
    assert lessons.without([0, -1]) == Lessons(("a", "a", "b", "c"), (1, 1, -1, 1))


@pytest.mark.parametrize(("features", "verdicts"), [(("a",), (1, 1)), (("a",), (0,))])
def test_lessons_are_checked(features: tuple[str, ...], verdicts: tuple[int, ...]) -> None:
    with pytest.raises(DataError):
        Lessons(features, verdicts)
    with pytest.raises(DataError, match="to forget"):
        Lessons(("a",), (1,)).without([1])


def test_a_false_alarm_quiets_what_led_to_it(detector: Detector, halves: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    told = worst(detector, halves[1], 1)
    (leading,) = detector.preprocessor.leading(detector.extract(told)[0])
    before = detector.score_samples(told)
    assert detector.feedback(told, [1]).score_samples(told) > before
    assert detector.lessons_ == Lessons((leading,), (1,))
    # What is real needs no more evidence than it has.
    assert detector.forget().feedback(told, [-1]).score_samples(told) == before


def test_verdicts_are_undone_one_by_one(
    detector: Detector, trained: Detector, halves: tuple[pd.DataFrame, pd.DataFrame]
) -> None:
    other = halves[1]
    before = trained.score_samples(other)
    told = worst(detector, other, 6)
    once = copy.copy(detector).feedback(told, [1, -1, 1, 1, -1, 1])
    twice = detector.feedback(told.iloc[:2], [1, -1]).feedback(told.iloc[2:], [1, 1, -1, 1])
    assert np.array_equal(once.score_samples(other), twice.score_samples(other))
    assert not np.array_equal(once.score_samples(other), before)
    assert np.array_equal(once.feedback_, [1, -1, 1, 1, -1, 1])
    less = copy.copy(trained).feedback(told.drop(index=2), [1, -1, 1, -1, 1])
    assert np.array_equal(twice.forget(2).score_samples(other), less.score_samples(other))
    assert twice.model.offset_ == less.model.offset_
    forgot = twice.forget()
    assert np.array_equal(forgot.score_samples(other), before)
    assert forgot.model.offset_ == trained.model.offset_
    assert forgot.calibration_ is trained.calibration_
    # What it was a copy of has not moved.
    assert np.array_equal(trained.score_samples(other), before)


def test_the_plain_way_scores_as_compiled_code_does(
    detector: Detector, halves: tuple[pd.DataFrame, pd.DataFrame]
) -> None:
    # Training records too, which are remembered.
    frame = pd.concat([halves[0].iloc[:150], halves[1].iloc[:150]], ignore_index=True)
    detector.feedback(worst(detector, halves[1], 8), [1, 1, 1, -1, -1, -1, -1, 1])
    with choice.only(True):
        found = detector.score_samples(frame)
    with choice.only(False):
        assert np.array_equal(detector.score_samples(frame), found)


@pytest.mark.parametrize("verdict", [1, -1])
def test_p_values_hold_after_sixty_verdicts(
    detector: Detector, halves: tuple[pd.DataFrame, pd.DataFrame], verdict: int
) -> None:
    asked, new = halves[1].iloc[:1000], halves[1].iloc[1000:]
    detector.feedback(worst(detector, asked, 60), np.full(60, verdict))
    found: npt.NDArray[np.float64] = detector.p_values(detector.score_samples(new))
    # Three standard errors of 1,500 records and of the 300 that calibrated.
    assert np.mean(found <= 0.05) < 0.05 + 3 * np.sqrt(0.05 * 0.95 * (1 / 1500 + 1 / 300))
    alerts = np.mean(detector.decision_function(new) < 0)
    assert 0.02 < alerts < 0.09


def test_a_file_keeps_the_verdicts(
    detector: Detector, halves: tuple[pd.DataFrame, pd.DataFrame], tmp_path: Path
) -> None:
    untaught = to_bytes(detector)
    detector.feedback(worst(detector, halves[1], 5), [1, 1, -1, 1, 1])
    for name in ("model.safetensors", "model.joblib"):
        save_detector(detector, tmp_path / name)
        loaded = load_detector(tmp_path / name)
        assert loaded.lessons_ == detector.lessons_
        batch, again = score_table(detector, halves[1]), score_table(loaded, halves[1])
        assert np.array_equal(again.decisions, batch.decisions)
        assert np.array_equal(again.p_values, batch.p_values)
        assert again.model_id == batch.model_id
        # What commands read judges and says the same.
        quick = score_table(load_trained(tmp_path / name), halves[1])
        assert np.array_equal(quick.decisions, batch.decisions)
        assert np.array_equal(quick.p_values, batch.p_values)
        assert (quick.model_id, quick.alerts(9)) == (batch.model_id, batch.alerts(9))
    # Without verdicts there is nothing of them in it.
    assert to_bytes(detector.forget()) == untaught
    assert b"lessons" not in untaught


def test_reasons_add_up_to_the_taught_score(detector: Detector, halves: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    detector.feedback(worst(detector, halves[1], 6), [1, 1, 1, -1, 1, 1])
    (alert, *_) = score_table(detector, halves[1]).alerts(1)
    told = alert.explanation
    assert told is not None
    total = told.base + told.rest + sum(each.effect for each in told.contributions)
    assert total == pytest.approx(alert.score, abs=1e-9)


def test_a_taught_detector_is_not_calibrated(detector: Detector, halves: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    detector.feedback(worst(detector, halves[1], 1), [1])
    with pytest.raises(DataError, match="forget them"):
        detector.calibrate(detector.score_samples(halves[0]))
    with pytest.raises(DataError, match="A verdict is"):
        detector.feedback(worst(detector, halves[1], 1), [0])
    assert len(detector.feedback_) == 1


def test_conformal_keeps_its_threshold_where_its_calibration_says(halves: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    detector = AnomalyDetectionAPI(seed=1, threshold=Conformal(0.1)).fit(halves[0]).detector
    detector.feedback(worst(detector, halves[1], 20), np.full(20, -1))
    rule = detector.threshold_rule
    assert isinstance(rule, Conformal)
    assert rule.calibration_ is not None
    assert rule.offset_ == detector.model.offset_ == rule.calibration_.cut(0.1)
    assert len(detector.predict(halves[1])) == len(halves[1])


def test_a_file_with_odd_verdicts_is_none() -> None:
    for odd in ({"features": ["a"], "verdicts": [0]}, {"features": [], "verdicts": [1]}):
        with pytest.raises(StateError):
            LESSONS.decode(odd, "lessons", {})


@pytest.mark.parametrize("rows", [1, 2, 3, 1_000, 20_001])
def test_scores_are_carried_over_by_quantiles(rows: int) -> None:
    random = np.random.default_rng(rows)
    before, after, scores = -random.random(rows), -(random.random(rows) ** 2), -random.random(500)
    old, new = (np.quantile(one, np.linspace(0.0, 1.0, 10_001)) for one in (before, after))
    below = -1.0 + (1.0 + scores) * ((1.0 + new[0]) / (1.0 + old[0]))
    expected = np.where(scores < old[0], np.minimum(below, new[0]), np.interp(scores, old, new))
    assert np.array_equal(Carrying(before, after)(scores), expected)
