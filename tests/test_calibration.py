"""Confidence and risk against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly_detection.calibration import Calibration

# A thousand scores evenly from -0.7 to -0.3; a threshold of -0.66 lets a tenth of them through as alerts.
EVEN = Calibration.of(np.linspace(-0.7, -0.3, 1000))
THRESHOLD = -0.66


@pytest.mark.parametrize(
    ("score", "share"), [(-0.9, 0.0), (-0.7, 0.0), (-0.6, 0.25), (-0.5, 0.5), (-0.3, 1.0), (0, 1.0)]
)
def test_the_share_below_a_score(score: float, share: float) -> None:
    assert EVEN.share_below(score) == pytest.approx(share, abs=1e-9)


def test_tied_scores_are_below_none_of_themselves() -> None:
    """A hundred scores, the lowest ten equal: nothing lies below them, and all ten lie below the next."""
    tied = Calibration.of(np.r_[np.full(10, -0.6), np.linspace(-0.5, -0.4, 90)])
    assert tied.share_below(-0.6) == 0.0
    assert tied.share_below(-0.55) == pytest.approx(0.1, abs=0.01)
    constant = Calibration.of(np.full(50, -0.5))
    assert (constant.share_below(-0.6), constant.share_below(-0.5), constant.share_below(-0.4)) == (0.0, 0.0, 1.0)


@pytest.mark.parametrize(
    ("decision", "confidence", "risk"),
    [
        (-0.1, 1.0, "critical"),  # beyond every reference record
        (-0.03, 0.75, "critical"),  # three quarters of the alerts lie nearer to the threshold
        (-0.02, 0.5, "high"),
        (-1e-12, 0.0, "high"),
        (0.0, 0.0, "medium"),
        (0.036, 0.1, "medium"),  # a tenth of the 90 % above the threshold; more abnormal than 81 % of all
        (0.18, 0.5, "low"),
        (0.5, 1.0, "low"),
    ],
)
def test_confidence_and_risk(decision: float, confidence: float, risk: str) -> None:
    assert EVEN.confidence(decision, THRESHOLD) == pytest.approx(confidence, abs=1e-6)
    assert EVEN.risk_level(decision, THRESHOLD) == risk


def test_a_side_without_reference_records_is_certain() -> None:
    assert EVEN.confidence(-0.01, -0.8) == 1.0
    assert EVEN.risk_level(-0.01, -0.8) == "critical"
    assert EVEN.confidence(0.0, 0.0) == 0.0


@given(
    st.lists(st.floats(-1.0, -0.01), min_size=1, max_size=40),
    st.floats(-1.0, -0.01),
    st.floats(0.0, 1.0),
    st.floats(0.0, 1.0),
    st.sampled_from([-1.0, 1.0]),
)
def test_confidence_never_falls_with_distance(
    scores: list[float], threshold: float, one: float, other: float, side: float
) -> None:
    calibration = Calibration.of(scores)
    near, far = sorted((one, other))
    if side < 0 and near == 0:  # the threshold itself belongs to the normal side
        return
    nearer, farther = (calibration.confidence(side * distance, threshold) for distance in (near, far))
    assert 0.0 <= nearer <= farther + 1e-12
    assert farther <= 1.0


@given(st.lists(st.floats(-1.0, -0.01), min_size=1, max_size=40), st.floats(-1.0, -0.01), st.floats(-1.0, 1.0))
def test_alerts_alone_are_high_or_critical(scores: list[float], threshold: float, decision: float) -> None:
    risk = Calibration.of(scores).risk_level(decision, threshold)
    assert (risk in ("high", "critical")) == (decision < 0)
