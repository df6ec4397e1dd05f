"""Ways to set the threshold below which a score is an alert.

Each rule learns one number from the scores of rows and keeps it as ``offset_``: a row by itself is an alert when its
``score_samples`` is strictly below it. ``cut`` gives the number for a batch of rows: ``offset_`` again, but for
`Conformal`. Scores are lower for the more abnormal; labels are +1 (normal) and -1 (anomaly).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from anomaly_detection.calibration.p_values import Calibration
from anomaly_detection.errors import DataError, NotFittedError
from mlx_iforest.offsets import offset_below, offset_of_share

_MOST_BEYOND = 0.1

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


class ThresholdRule(Protocol):
    """What every rule offers: to learn a threshold and to give it, and what either takes.

    Attributes
    ----------
    offset_ : float
        The threshold of a row by itself, in [-1, 0]; NaN before `fit`.
    uses_labels : bool
        Whether `fit` needs labels.
    needs_batch : bool
        Whether the threshold of rows follows from the scores of all that come together; else it is ``offset_``.
    """

    needs_batch: ClassVar[bool]
    offset_: float
    uses_labels: bool

    def fit(self, scores: npt.ArrayLike, labels: npt.ArrayLike | None = None) -> ThresholdRule:
        """Learn ``offset_`` from `scores` (rows,), lower for the more abnormal, and `labels` (rows,), +1 or -1."""
        ...

    def cut(self, scores: npt.ArrayLike) -> float:
        """The score strictly below which the rows of a batch with these `scores` (rows,) are alerts."""
        ...

    def cut_of_parts(self, parts: Iterable[npt.ArrayLike]) -> float:
        """`cut` for a batch whose scores come in parts; they are not gone through unless the rule `needs_batch`."""
        ...


class _FixedCut:
    """A rule whose threshold is the same for every batch."""

    needs_batch: ClassVar[bool] = False
    offset_: float

    def cut(self, scores: npt.ArrayLike) -> float:
        """``offset_``, whatever the batch."""
        return self.offset_

    def cut_of_parts(self, parts: Iterable[npt.ArrayLike]) -> float:
        """``offset_``, without a look at the parts."""
        return self.offset_


class ShareRule(_FixedCut, ABC):
    """A rule that asks for a share of the rows, whatever they are: the lowest of their scores settle it.

    The attributes are those of `ThresholdRule`.
    """

    uses_labels: bool

    def fit(self, scores: npt.ArrayLike, labels: npt.ArrayLike | None = None) -> ShareRule:
        """Learn ``offset_``; `labels` are not looked at. Raises `DataError` for no or non-finite scores."""
        ordered = np.sort(_checked_scores(scores))
        return self.fit_lowest(ordered, ordered.size)

    @abstractmethod
    def needed(self, rows: int) -> int:
        """How many of the lowest scores of so many rows settle the threshold; of few rows more than there are."""

    @abstractmethod
    def fit_lowest(self, ordered: FloatArray, rows: int) -> ShareRule:
        """`fit` on so many rows, of which these are the lowest scores, ascending.

        They are all, or as many as are `needed` with all that tie with the last, and not all the same.
        """


@dataclass
class Contamination(ShareRule):
    """Call the stated share of rows anomalies, as many as scikit-learn does: those below the percentile of the scores.

    Where equal rows share the score at the percentile, it leaves out all of them. They are let in if that comes nearer
    to the share and at most a tenth beyond it.

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

    def needed(self, rows: int) -> int:
        """`ShareRule.needed`."""
        return int((1.0 + _MOST_BEYOND) * self.ratio * rows) + 2

    def fit_lowest(self, ordered: FloatArray, rows: int) -> Contamination:
        """`ShareRule.fit_lowest`."""
        self.offset_ = offset_of_share(ordered, self.ratio, rows)
        wanted = self.ratio * rows
        below = int(ordered.searchsorted(self.offset_, side="left"))
        if wanted - below >= 1.0:
            more = int(ordered.searchsorted(ordered[below], side="right"))
            if more - wanted < min(wanted - below, _MOST_BEYOND * wanted):
                self.offset_ = offset_below(ordered, more)
        return self


@dataclass
class AlertBudget(ShareRule):
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

    def needed(self, rows: int) -> int:
        """`ShareRule.needed`."""
        return self._budget(rows) + 2

    def fit_lowest(self, ordered: FloatArray, rows: int) -> AlertBudget:
        """`ShareRule.fit_lowest`."""
        cuts = _possible_cuts(ordered)
        self.offset_ = offset_below(ordered, int(cuts[cuts <= self._budget(rows)].max()))
        return self

    def _budget(self, rows: int) -> int:
        # The tiny addition forgives a product such as 0.1 * 30 = 2.9999999999999996.
        return math.floor(self.rate * rows + 1e-9)


@dataclass
class _BestCut(_FixedCut, ABC):
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
        self.offset_ = offset_below(ordered, int(best[(best.size - 1) // 2]))
        return self

    @abstractmethod
    def _value(self, caught: IntArray, false_alerts: IntArray, anomalies: int, rows: int) -> FloatArray:
        """What each possible cut is worth; the largest is taken."""


class BestAccuracy(_BestCut):
    """The threshold with the most correct predictions on labelled rows."""

    def _value(self, caught: IntArray, false_alerts: IntArray, anomalies: int, rows: int) -> FloatArray:
        return (caught + (rows - anomalies - false_alerts)) / rows


class BestF1(_BestCut):
    """The threshold with the greatest F1 of the anomaly class on labelled rows."""

    def _value(self, caught: IntArray, false_alerts: IntArray, anomalies: int, rows: int) -> FloatArray:
        return 2.0 * caught / (caught + false_alerts + anomalies)


@dataclass
class LowestCost(_BestCut):
    """The threshold with the lowest total cost on labelled rows.

    Only the ratio of the two costs matters. The labelled rows must hold as large a share of anomalies as the rows to
    come.

    Parameters
    ----------
    false_alarm : float
        What an alert on a normal row costs, above 0 and finite.
    miss : float
        What an anomaly without an alert costs, in the same unit, above 0 and finite.
    """

    false_alarm: float
    miss: float

    def __post_init__(self) -> None:
        for name, cost in (("a false alarm", self.false_alarm), ("a miss", self.miss)):
            if not 0.0 < cost < math.inf:
                raise DataError(f"The cost of {name} is {cost}; give a number above 0, in the unit of the other cost.")

    def _value(self, caught: IntArray, false_alerts: IntArray, anomalies: int, rows: int) -> FloatArray:
        # Each cost as a share of the larger: nothing overflows, and equal costs stay equal.
        larger = max(self.false_alarm, self.miss)
        alarms, misses = self.false_alarm / larger * false_alerts, self.miss / larger * (anomalies - caught)
        return -(alarms + misses) / rows


@dataclass
class Conformal:
    """Control the false discovery rate: the expected share of normal rows among a batch's alerts.

    Rows get conformal p-values by the scores that `fit` saw (`Calibration.p_values`), and Benjamini and Hochberg's
    procedure picks the alerts of a batch from them. The rate is held if the normal rows of the batch are exchangeable
    with the calibration rows: rows that the model has not seen, of the same kind and time. Conformal p-values share
    their calibration rows and so depend on each other, but in the way that the procedure bears (Bates et al., 2023).

    A batch of one row alerts when its p-value is at most `rate`, which is what ``offset_`` says. Row by row that bounds
    the share of normal rows that alert, not the share of alerts that are normal: judge rows together where they are.

    Without labels the calibration rows hold anomalies, and p-values are too large. The rate is held all the more, but
    anomalies of a kind and number that the calibration rows hold as well are then not found; give labels, use
    calibration rows known to be normal, or use `Contamination` or `AlertBudget`.

    Parameters
    ----------
    rate : float
        The false discovery rate, above 0 and below 1; 0.1 lets one alert in ten be false.

    Attributes
    ----------
    calibration_ : Calibration
        The scores that p-values come from.
    """

    needs_batch: ClassVar[bool] = True
    rate: float
    offset_: float = field(default=math.nan, init=False, repr=False)
    uses_labels: bool = field(default=False, init=False, repr=False)
    calibration_: Calibration | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 0.0 < self.rate < 1.0:
            raise DataError(f"The false discovery rate is {self.rate}; give a share above 0 and below 1, such as 0.1.")

    def fit(self, scores: npt.ArrayLike, labels: npt.ArrayLike | None = None) -> Conformal:
        """Calibrate on `scores` (rows,) of rows that the model has not seen; with `labels`, on the normal ones alone.

        Raises
        ------
        DataError
            With fewer rows than ``1 / rate - 1``, whose p-values could never be as small as the rate.
        """
        calibration = Calibration.of(_checked_scores(scores), labels)
        self.offset_ = calibration.cut(self.rate)
        if self.offset_ == -math.inf:
            raise DataError(
                f"A false discovery rate of {self.rate} needs at least {math.ceil(1.0 / self.rate - 1e-9) - 1} normal"
                f" calibration rows, but there are {calibration.scores.size}; give more rows or a larger rate."
            )
        self.calibration_ = calibration
        return self

    def cut(self, scores: npt.ArrayLike) -> float:
        """The score strictly below which Benjamini and Hochberg's procedure rejects, for a batch of `scores` (rows,).

        Raises
        ------
        NotFittedError
            Before `fit`.
        """
        return self.cut_of_parts([scores])

    def cut_of_parts(self, parts: Iterable[npt.ArrayLike]) -> float:
        """`cut` for a batch whose scores come in parts, of which only how often each p-value occurs is kept."""
        return self.cut_of_counts(*self.counts(parts))

    def counts(self, parts: Iterable[npt.ArrayLike]) -> tuple[IntArray, float]:
        """How many of the scores each possible p-value has, the least first, and the lowest score.

        For other parts of the batch counts are added, and the lower of the lowest is taken.
        """
        if self.calibration_ is None:
            raise NotFittedError("This threshold rule has seen no calibration scores yet; call fit first.")
        counts = np.zeros(self.calibration_.scores.size + 1, dtype=np.int64)
        lowest = math.inf
        for part in parts:
            scores = _checked_scores(part)
            counts += np.bincount(self.calibration_.below(scores), minlength=counts.size)
            lowest = min(lowest, float(scores.min()))
        return counts, lowest

    def cut_of_counts(self, counts: IntArray, lowest: float) -> float:
        """`cut` for a batch of which `counts` told this."""
        if self.calibration_ is None:
            raise NotFittedError("This threshold rule has seen no calibration scores yet; call fit first.")
        occurring = np.flatnonzero(counts)
        # Benjamini and Hochberg: the largest p-value of m that is at most rate * k / m, where k are as small.
        p_values = (1.0 + occurring) / counts.size
        adjusted = p_values * counts.sum() / np.cumsum(counts[occurring])
        # The tiny addition forgives the rounding of p * m / k where it should equal the rate.
        rejected = p_values[adjusted <= self.rate + 1e-12]
        if rejected.size:
            return self.calibration_.cut(float(rejected.max()))
        # Nothing alerts, and no row lies strictly below the lowest of them.
        return min(lowest, self.offset_)


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
