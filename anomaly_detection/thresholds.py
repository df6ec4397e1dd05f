"""Ways to set the threshold below which a score is an alert.

Each rule learns one number from the scores of rows and keeps it as ``offset_``: a row is an alert when its
``score_samples`` is strictly below it. Scores are lower for the more abnormal; labels are +1 (normal) and -1 (anomaly).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from .errors import DataError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


class ThresholdRule(Protocol):
    """What every rule offers: ``fit`` learns ``offset_``; ``uses_labels`` says whether ``fit`` needs labels."""

    offset_: float
    uses_labels: bool

    def fit(self, scores: npt.ArrayLike, labels: npt.ArrayLike | None = None) -> ThresholdRule:
        """Learn ``offset_`` from `scores` (rows,), lower for the more abnormal, and `labels` (rows,), +1 or -1."""
        ...


@dataclass
class Contamination:
    """Call the stated share of rows anomalies, as scikit-learn does: the percentile of the scores.

    Parameters
    ----------
    ratio : float
        Share of anomalies, above 0 and at most 0.5.
    """

    ratio: float
    offset_: float = field(default=math.nan, init=False, repr=False)
    uses_labels: bool = field(default=False, init=False, repr=False)

    def __post_init__(self) -> None:
        if not 0.0 < self.ratio <= 0.5:
            raise DataError(f"The anomaly ratio is {self.ratio}; give a share above 0 and at most 0.5, such as 0.05.")

    def fit(self, scores: npt.ArrayLike, labels: npt.ArrayLike | None = None) -> Contamination:
        """Learn ``offset_``; `labels` are not looked at. Raises `DataError` for no or non-finite scores."""
        self.offset_ = float(np.percentile(_checked_scores(scores), 100.0 * self.ratio))
        return self


@dataclass
class AlertBudget:
    """Raise at most so many alerts: as many as people can look at.

    Unlike `Contamination` it never gives more: where scores tie at the edge of the budget, none of those rows
    alerts.

    Parameters
    ----------
    rate : float
        Alerts a row, above 0 and at most 1. `per_day` and `count` compute it.
    """

    rate: float
    offset_: float = field(default=math.nan, init=False, repr=False)
    uses_labels: bool = field(default=False, init=False, repr=False)

    def __post_init__(self) -> None:
        if not 0.0 < self.rate <= 1.0:
            raise DataError(
                f"The alert budget comes to {self.rate:.4g} alerts a row; it must be above 0 and at most 1."
            )

    @classmethod
    def count(cls, alerts: float, rows: int) -> AlertBudget:
        """A budget of `alerts` in every `rows` rows."""
        if not alerts > 0:
            raise DataError(f"The alert budget is {alerts}; give a number of alerts above 0.")
        return cls(min(1.0, alerts / max(1, rows)))

    @classmethod
    def per_day(cls, alerts: float, times: npt.ArrayLike) -> AlertBudget:
        """A budget of `alerts` a day, for rows at `times` (rows,) datetime64; rows without a time count as rows.

        The rows' time span, at least one day, tells how many rows arrive in a day.
        """
        times = np.asarray(times, dtype="datetime64[ns]")
        known = times[~np.isnat(times)]
        if known.size == 0:
            raise DataError("An alert budget a day needs times, but no row has one; give an anomaly ratio instead.")
        days = max(1.0, float((known.max() - known.min()) / np.timedelta64(1, "D")))
        return cls.count(alerts * days, times.size)

    def fit(self, scores: npt.ArrayLike, labels: npt.ArrayLike | None = None) -> AlertBudget:
        """Learn ``offset_``; `labels` are not looked at. Raises `DataError` for no or non-finite scores."""
        ordered = np.sort(_checked_scores(scores))
        # The tiny addition forgives a product such as 0.1 * 30 = 2.9999999999999996.
        budget = math.floor(self.rate * ordered.size + 1e-9)
        cuts = _possible_cuts(ordered)
        self.offset_ = _offset(ordered, int(cuts[cuts <= budget].max()))
        return self


@dataclass
class _BestCut:
    """The cut of the labelled scores at which a measure is greatest; the middle one where several are."""

    offset_: float = field(default=math.nan, init=False, repr=False)
    uses_labels: bool = field(default=True, init=False, repr=False)

    def fit(self, scores: npt.ArrayLike, labels: npt.ArrayLike | None = None) -> _BestCut:
        """Learn ``offset_`` from labelled scores.

        Raises
        ------
        DataError
            Without labels, or where the labels hold only one of +1 and -1, or scores are missing or not finite.
        """
        scores = _checked_scores(scores)
        if labels is None:
            raise DataError(f"{type(self).__name__} needs labels; without them use Contamination or AlertBudget.")
        anomaly = np.asarray(labels) == -1
        if anomaly.shape != scores.shape:
            raise DataError(f"There are {scores.size} scores but {anomaly.size} labels; give one label a score.")
        if anomaly.all() or not anomaly.any():
            raise DataError(
                f"{type(self).__name__} needs both normal rows and anomalies among the labels, found only one kind;"
                " use Contamination or AlertBudget, or give more labelled rows."
            )
        order = np.argsort(scores, kind="stable")
        ordered = scores[order]
        cuts = _possible_cuts(ordered)
        caught = np.concatenate(([0], np.cumsum(anomaly[order])))[cuts]
        value = self._value(caught, cuts - caught, int(anomaly.sum()), scores.size)
        best = cuts[value >= value.max() - 1e-12]
        self.offset_ = _offset(ordered, int(best[(best.size - 1) // 2]))
        return self

    @staticmethod
    def _value(caught: IntArray, false_alerts: IntArray, anomalies: int, rows: int) -> FloatArray:
        raise NotImplementedError


class BestAccuracy(_BestCut):
    """The threshold with the most correct predictions on labelled rows."""

    @staticmethod
    def _value(caught: IntArray, false_alerts: IntArray, anomalies: int, rows: int) -> FloatArray:
        return (caught + (rows - anomalies - false_alerts)) / rows


class BestF1(_BestCut):
    """The threshold with the greatest F1 of the anomaly class on labelled rows."""

    @staticmethod
    def _value(caught: IntArray, false_alerts: IntArray, anomalies: int, rows: int) -> FloatArray:
        return 2.0 * caught / (caught + false_alerts + anomalies)


def _checked_scores(scores: npt.ArrayLike) -> FloatArray:
    scores = np.asarray(scores, dtype=np.float64)
    if scores.ndim != 1 or scores.size == 0:
        raise DataError(f"A threshold needs scores, one a row, but got an array of shape {scores.shape}.")
    if not np.isfinite(scores).all():
        raise DataError("A threshold needs finite scores, but some are missing or infinite; check the model's input.")
    return scores


def _possible_cuts(ordered: FloatArray) -> IntArray:
    """How many of the lowest scores a threshold can separate: 0, all, and each count that splits no tie."""
    steps = np.flatnonzero(ordered[1:] > ordered[:-1]) + 1
    return np.concatenate(([0], steps, [ordered.size])).astype(np.int64)


def _offset(ordered: FloatArray, cut: int) -> float:
    """The offset with exactly `cut` scores strictly below it, half way to the next score."""
    if cut == 0:
        return float(ordered[0])
    if cut == ordered.size:
        return float(np.nextafter(ordered[-1], np.inf))
    below, above = float(ordered[cut - 1]), float(ordered[cut])
    middle = below + (above - below) / 2.0
    # Neighbouring floats have no middle: rounding down would lose the row at `below`.
    return middle if middle > below else above
