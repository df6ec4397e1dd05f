"""Drift is found where records are others, and neither by chance nor where anomalies are merely more."""

from __future__ import annotations

import warnings

import numpy as np
import numpy.typing as npt
import pytest

from anomaly_detection.calibration.drift import MIN_ROWS, DriftWarning, find_drift, warn_of_drift
from anomaly_detection.calibration.p_values import Calibration


def scores_of(rows: int, anomalies: float, seed: int) -> npt.NDArray[np.float64]:
    """Scores of which a share lies far below all others."""
    rng = np.random.default_rng(seed)
    abnormal = rng.random(rows) < anomalies
    return np.where(abnormal, rng.normal(-0.7, 0.02, rows), rng.normal(-0.45, 0.03, rows))


def matters(calibration: Calibration, scores: npt.NDArray[np.float64]) -> bool:
    drift = find_drift(calibration, scores)
    assert drift is not None
    return drift.matters


def test_exchangeable_batches_are_no_drift() -> None:
    """At most one in a thousand; here 400 pairs of calibration and batch, of the sizes where chance is largest."""
    rng = np.random.default_rng(0)
    fired = 0
    for _ in range(400):
        calibration = Calibration.of(rng.normal(-0.45, 0.03, rng.integers(100, 400)))
        fired += matters(calibration, rng.normal(-0.45, 0.03, rng.integers(100, 400)))
    assert fired <= 1


def test_shifted_batches_are() -> None:
    calibration = Calibration.of(scores_of(1000, 0.05, 1))
    assert matters(calibration, scores_of(300, 0.05, 2) - 0.03)
    assert matters(calibration, scores_of(300, 0.05, 2) + 0.03)
    assert matters(calibration, scores_of(300, 0.5, 2))
    with pytest.warns(DriftWarning, match=r"no longer look like .* train again"):
        warn_of_drift(calibration, scores_of(300, 0.05, 2) - 0.03)


def test_twice_the_anomalies_are_no_drift() -> None:
    for rows in (200, 2000, 200_000):
        assert not matters(Calibration.of(scores_of(2000, 0.05, 3)), scores_of(rows, 0.10, 4))
        # Calibrated on normal records alone, too.
        assert not matters(Calibration.of(scores_of(2000, 0.0, 3)), scores_of(rows, 0.10, 4))


def test_a_trivial_difference_in_very_many_records_is_no_drift() -> None:
    drift = find_drift(Calibration.of(scores_of(50_000, 0.0, 5)), scores_of(500_000, 0.0, 6) - 0.003)
    assert drift is not None
    assert drift.p_value < 1e-6
    assert 0.02 < drift.distance < 0.08
    assert not drift.matters


def test_the_distance_by_hand() -> None:
    """All below the median of the calibration: half of the scores are elsewhere."""
    drift = find_drift(Calibration.of(np.linspace(-1.0, 0.0, 200)), np.linspace(-1.0, -0.5, 100))
    assert drift is not None
    assert drift.distance == pytest.approx(0.5, abs=0.01)


def test_to_score_the_training_records_again_is_no_drift() -> None:
    """They look more normal than new records; what looks even more normal than they do is drift again."""
    flattered = scores_of(500, 0.0, 8) + 0.03
    calibration = Calibration.of(scores_of(500, 0.0, 7))
    assert matters(calibration, flattered)
    assert not matters(calibration.with_learned(flattered), flattered)
    assert not matters(calibration.with_learned(flattered), scores_of(500, 0.0, 9))
    assert matters(calibration.with_learned(flattered), flattered + 0.03)


def test_nothing_is_said_of_few_records_or_of_flattered_scores() -> None:
    shifted = np.full(MIN_ROWS, -0.9)
    calibration = Calibration.of(scores_of(500, 0.0, 7))
    assert matters(calibration, shifted)
    assert find_drift(calibration, shifted[:-1]) is None
    assert find_drift(Calibration.of(scores_of(MIN_ROWS - 1, 0.0, 7)), shifted) is None
    assert find_drift(Calibration.of(scores_of(500, 0.0, 7), unseen=False), shifted) is None
    assert find_drift(None, shifted) is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_drift(None, shifted)
