"""P-values, severity, confidence and risk against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomaly_detection.calibration.p_values import KEPT_SCORES, Calibration, risk_level, severity
from anomaly_detection.errors import DataError
from mlx_iforest import MLXIsolationForest

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
    ("decision", "confidence"),
    [
        (-0.1, 1.0),  # beyond every reference record
        (-0.03, 0.75),  # three quarters of the alerts lie nearer to the threshold
        (-0.02, 0.5),
        (-1e-12, 0.0),
        (0.0, 0.0),
        (0.036, 0.1),  # a tenth of the 90 % above the threshold
        (0.18, 0.5),
        (0.5, 1.0),
    ],
)
def test_confidence(decision: float, confidence: float) -> None:
    assert EVEN.confidence(decision, THRESHOLD) == pytest.approx(confidence, abs=1e-6)


def test_a_side_without_reference_records_is_certain() -> None:
    assert EVEN.confidence(-0.01, -0.8) == 1.0
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


def test_p_values_by_hand() -> None:
    """Four calibration scores, so fifths; equal scores count as at least as abnormal."""
    calibration = Calibration.of([-0.5, -0.75, -0.25, -0.5])
    assert calibration.p_values([-0.9, -0.75, -0.6, -0.5, -0.3, -0.25, 0.0]).tolist() == [
        *(0.2, 0.4, 0.4, 0.8, 0.8, 1.0, 1.0)
    ]
    assert calibration.p_values([-0.9]).dtype == np.float64


def test_only_normal_records_count_where_labels_are_known() -> None:
    labelled = Calibration.of([-0.9, -0.5, -0.25, -0.75], [-1, 1, 1, 1])
    assert labelled.labelled
    assert not Calibration.of([-0.9]).labelled
    assert labelled.p_values([-0.8, -0.6]).tolist() == [0.25, 0.5]
    # Confidence is about all records: an alert's distance is measured in alerts.
    assert labelled.quantiles[0] == -0.9
    with pytest.raises(DataError, match="labelled normal"):
        Calibration.of([-0.9, -0.5], [-1, -1])


@pytest.mark.parametrize("scores", [[], [np.nan, -0.5], [-np.inf], [[-0.5]]])
def test_what_cannot_calibrate(scores: list[float]) -> None:
    with pytest.raises(DataError, match="finite scores"):
        Calibration.of(scores)


@given(st.lists(st.floats(-1.0, -0.01), min_size=1, max_size=40), st.floats(0.0, 0.999))
def test_the_cut_separates_p_values(scores: list[float], level: float) -> None:
    """Kept as float32, and still no score that ties with a calibration score counts as rarer than it is."""
    values = np.array(scores)
    calibration = Calibration.of(values)
    p_values = calibration.p_values(values)
    assert (p_values >= (1 + (values[:, None] >= values).sum(axis=1)) / (len(values) + 1)).all()
    assert ((values < calibration.cut(level)) == (p_values <= level + 1e-9)).all()


def test_many_scores_are_thinned_at_random() -> None:
    scores = np.random.default_rng(1).normal(size=3 * KEPT_SCORES)
    calibration = Calibration.of(scores)
    assert calibration.scores.shape == (KEPT_SCORES,)
    assert calibration.scores.nbytes == 4 * KEPT_SCORES
    np.testing.assert_array_equal(calibration.scores, Calibration.of(scores).scores)
    assert calibration.p_values(np.quantile(scores, [0.01, 0.5])) == pytest.approx([0.01, 0.5], abs=0.005)


@pytest.mark.parametrize(
    ("p_value", "expected", "risk"),
    [
        (1.0, 0.0, "low"),
        (0.2, 17.474, "low"),
        (0.1, 25.0, "medium"),
        (0.05, 32.526, "medium"),
        (0.01, 50.0, "high"),
        (0.001, 75.0, "critical"),
        (0.0001, 100.0, "critical"),
        (1e-9, 100.0, "critical"),
    ],
)
def test_severity_and_risk(p_value: float, expected: float, risk: str) -> None:
    found = float(severity(p_value))
    assert found == pytest.approx(expected, abs=1e-3)
    assert risk_level(found) == risk


def test_severities_follow_p_values_and_go_on_beyond_them() -> None:
    rng = np.random.default_rng(0)
    # 1 + score is a power law: exponential on the scale of -log(1 + score), with a mean of one half.
    reference, new = (
        np.exp(0.5 * np.log1p(-shares)) - 1.0 for shares in (np.arange(0.5, 400) / 400, rng.random(20_000))
    )
    calibration = Calibration.of(reference)
    p_values, found = calibration.p_values(new), calibration.severities(new)
    inside = new >= calibration.scores[0]
    assert (found[inside] <= severity(p_values[inside]) + 1e-9).all()
    np.testing.assert_allclose(found[inside], severity(p_values[inside]), atol=8)
    worst = np.sort(new[~inside])
    assert len(worst) > 20
    beyond = calibration.severities(worst)
    assert severity(1 / 401) < beyond.min()
    assert beyond.max() < 100
    assert (np.diff(beyond) < 0).all()
    # As rare as it says, or rarer.
    for least in (70, 75, 80, 85):
        assert (found >= least).mean() <= 1.5 * 10 ** (-least / 25)


def test_severities_at_the_ends() -> None:
    alike = Calibration.of([-0.5, -0.5, -0.5])
    np.testing.assert_allclose(alike.severities([-0.4, -0.5, -1.0]), [0.0, 0.0, 100.0], atol=0.1)
    gross = Calibration.of([-1.0, -0.9, *np.linspace(-0.5, -0.4, 98)])
    # Half way to one that no score can lie beyond, records are still told apart.
    found = gross.severities(-1.0 + np.array([1e-12, 1e-9, 1e-6]))
    assert (np.diff(found) < 0).all()
    assert found.max() <= severity(1 / 101)


def test_the_least_severity_has_no_sign() -> None:
    assert [f"{found:.0f}" for found in severity([1.0, 0.999])] == ["0", "0"]


def test_severity_means_the_same_for_every_model() -> None:
    """Two forests, whose raw scores differ: as many new rows reach each severity, as many as it says, and in order."""
    rng = np.random.default_rng(0)
    train, aside, new = rng.normal(size=(500, 3)), rng.normal(size=(4000, 3)), rng.normal(size=(8000, 3))
    found = []
    for forest in (
        MLXIsolationForest(20, max_samples=32, random_state=0, backend="numba"),
        MLXIsolationForest(60, random_state=1, backend="numba", scoring="density"),
    ):
        forest.fit(train)
        scores = forest.score_samples(new)
        severities = severity(Calibration.of(forest.score_samples(aside)).p_values(scores))
        assert (np.diff(severities[np.argsort(scores)]) <= 0).all()
        assert severities.min() >= 0.0
        assert severities.max() <= 100.0
        found.append((np.quantile(scores, 0.01), (severities >= 25).mean(), (severities >= 50).mean()))
    assert abs(found[0][0] - found[1][0]) > 0.02
    for _, one_in_ten, one_in_hundred in found:
        assert one_in_ten == pytest.approx(0.1, abs=0.02)
        assert one_in_hundred == pytest.approx(0.01, abs=0.006)
