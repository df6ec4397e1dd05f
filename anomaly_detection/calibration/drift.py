"""Whether records still look like those that the model was calibrated on: a two-sample test on their scores."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from anomaly_detection.calibration.p_values import Calibration

__all__ = ["Drift", "DriftWarning", "find_drift", "warn_of_drift"]

MIN_ROWS = 100
"""The fewest records, on either side, that are compared."""

KEPT = 1_000_000
"""The most scores that are kept for the comparison where records come in parts."""

# Half of one in a thousand, for the test's asymptotic p-values are a little too small with few scores.
_P_VALUE = 0.0005
_DISTANCE = 0.15

_FAR, _BEYOND_FLOATS = 4.0, 370.0
"""Of size times squared distance: above the first SciPy's p-value is the sum below too, from the other on it is 0."""


class DriftWarning(UserWarning):
    """The records to score do not look like the calibration records, so p-values and alert rates do not hold."""


@dataclass(frozen=True)
class Drift:
    """How two samples of scores differ.

    Attributes
    ----------
    distance : float
        The Kolmogorov-Smirnov distance, in [0, 1]: at least this share of the records would have to be others.
    size : int
        Of one sample that says as much as the two: ``n m / (n + m)``.
    """

    distance: float
    size: int

    @classmethod
    def between(cls, one: npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> Drift:
        """That of two samples."""
        one, other = np.sort(one), np.sort(other)
        both, n, m = np.concatenate([one, other]), float(len(one)), float(len(other))
        apart = one.searchsorted(both, side="right") / n - other.searchsorted(both, side="right") / m
        return cls(float(np.abs(apart).max()), round(n * m / (n + m)))

    @cached_property
    def p_value(self) -> float:
        """The probability of such a distance between samples of the same records."""
        if self.size * self.distance**2 > _FAR and self.distance < 1.0:
            return _of_far_distance(self.distance, self.size)
        from scipy.stats import kstwo

        return float(np.clip(kstwo.sf(self.distance, self.size), 0.0, 1.0))

    @property
    def matters(self) -> bool:
        """Whether the difference is both no chance (p at most 0.0005) and large (at least 15 records in 100).

        With a million records every difference is significant, so significance alone says little. The distance between
        an anomaly-free calibration and records of which one in ten is an anomaly is at most 0.1: more anomalies than
        usual are what a detector is for, and no drift.
        """
        return self.distance >= _DISTANCE and self.p_value <= _P_VALUE

    def __str__(self) -> str:
        return (
            "These records no longer look like those that the model was calibrated on: at least"
            f" {self.distance:.0%} of their scores do not fit (Kolmogorov-Smirnov test, p = {self.p_value:.1g})."
            " P-values, severity and the rate of alerts may be off; train again on records like these."
        )


def _of_far_distance(distance: float, size: int) -> float:
    """Twice the probability that a sample's distribution is somewhere so far above its own (Birnbaum and Tingey, 1951).

    What SciPy computes, whose statistics take longer to load than a thousand records to judge.
    """
    if size * distance**2 >= _BEYOND_FLOATS:
        return 0.0
    j = np.arange(int(size * (1.0 - distance)) + 1, dtype=np.float64)
    ways = np.concatenate([[0.0], np.cumsum(np.log((size - j[1:] + 1.0) / j[1:]))])
    up, down = distance + j / size, 1.0 - distance - j / size
    inside = down > 0.0
    logs = ways[inside] + (j[inside] - 1.0) * np.log(up[inside]) + (size - j[inside]) * np.log(down[inside])
    return min(2.0 * distance * float(np.exp(logs).sum()), 1.0)


def find_drift(calibration: Calibration | None, scores: npt.ArrayLike) -> Drift | None:
    """Compare `scores` (rows,) of ``score_samples`` with the calibration scores.

    The Kolmogorov-Smirnov test, since it needs no assumption on the scores and its statistic is a size that can be
    read; that of Cramer-von Mises cannot.

    Returns
    -------
    Drift or None
        The smaller one, where the records that the model was fitted on are known too: to score these again is no drift.
        None where nothing can be said: fewer than `MIN_ROWS` scores on either side, or a calibration by records that
        the model has seen, whose scores are flattered.
    """
    values = np.asarray(scores, dtype=np.float64)
    if calibration is None or not calibration.unseen or min(values.size, calibration.scores.size) < MIN_ROWS:
        return None
    # In the calibration's own precision, else its rounding would part equal scores.
    rounded = values.astype(np.float32)
    drift = Drift.between(calibration.scores, rounded)
    if calibration.learned is None or not drift.matters:
        return drift
    # Records that the model was fitted on look more normal than new ones.
    learned = Drift.between(calibration.learned.astype(np.float32), rounded)
    return min(drift, learned, key=lambda found: found.distance)


class ScoreSample:
    """All scores that are added or, of more than `KEPT` of them, that many: each as likely to be kept as another."""

    def __init__(self) -> None:
        self._random = np.random.default_rng(0)
        self._lots = np.empty(0)
        self.scores = np.empty(0)

    def add(self, scores: npt.NDArray[np.float64]) -> None:
        """Add `scores` (rows,). What is kept does not depend on how they are parted."""
        lots = np.concatenate([self._lots, self._random.random(scores.size)])
        scores = np.concatenate([self.scores, scores])
        # Those with the smallest lots stay.
        kept = np.arange(lots.size) if lots.size <= KEPT else np.argpartition(lots, KEPT)[:KEPT]
        self._lots, self.scores = lots[kept], scores[kept]


def warn_of_drift(calibration: Calibration | None, scores: npt.ArrayLike) -> None:
    """Raise a `DriftWarning` where the drift of `scores` (rows,) matters."""
    drift = find_drift(calibration, scores)
    if drift is not None and drift.matters:
        warnings.warn(str(drift), DriftWarning, stacklevel=3)
