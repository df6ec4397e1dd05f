"""What a score means: its p-value, severity, confidence and risk, by its place among scores of reference records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from anomaly_detection.data.columns.levels import Kept
from anomaly_detection.errors import DataError

FloatArray = npt.NDArray[np.float64]
RiskLevel = Literal["low", "medium", "high", "critical"]

KEPT_SCORES = 100_000
"""The most calibration scores that are kept; p-values are exact with any random part of them."""

SEVERITY_STEP = 25.0
"""Severity grows by this much where a record is ten times rarer."""

# A thousandth is fine enough for a confidence and keeps a saved model small.
_SHARES = np.linspace(0.0, 1.0, 1001)
_LEAST_ROOM = 2.0**-53  # what a score is above -1, at least
_TAIL_SHARE, _FEWEST_IN_TAIL = 0.1, 10
_LEAST_EXCESS = 0.05
_RISKS: tuple[tuple[float, RiskLevel], ...] = ((75.0, "critical"), (50.0, "high"), (25.0, "medium"))


def severity(p_values: npt.ArrayLike) -> FloatArray:
    """How far out records are, 0 to 100, on a scale that means the same for every model.

    ``min(100, 25 * log10(1 / p))``: 0 is the most typical record, and every 25 points a record is ten times rarer:
    one usual record in 10 gets 25 or more, one in 100 gets 50, one in 1,000 gets 75, one in 10,000 gets 100.

    Parameters
    ----------
    p_values : array-like (rows,)
        In (0, 1]. With n calibration scores the least is 1 / (n + 1), and all records beyond them share it;
        `Calibration.severities` tells these apart.
    """
    # 0 is added so that a p-value of 1 gives 0 and not -0, which would be printed so.
    found = -SEVERITY_STEP * np.log10(np.asarray(p_values, dtype=np.float64))
    return np.asarray(np.minimum(np.maximum(found, 0.0), 100.0) + 0.0)


def risk_level(severity: float) -> RiskLevel:
    """The risk in a word: critical from a severity of 75, high from 50, medium from 25, low below.

    It speaks of how rare the record is and not of the threshold: who asks for many alerts gets some of low risk.
    """
    return next((risk for least, risk in _RISKS if severity >= least), "low")


@dataclass(frozen=True, eq=False)
class Calibration:
    """The scores of reference records, by which scores of other records are read.

    Parameters
    ----------
    scores : ndarray (n,) float32
        The calibration scores (of ``score_samples``), ascending: of normal records alone where labels tell, at most
        `KEPT_SCORES` of them. Rounded down, so that equal scores stay equal or count as more abnormal: a p-value is
        never too small.
    quantiles : ndarray (1001,) float64
        The scores of all reference records, anomalies included, at the shares 0, 0.001, ..., 1, ascending; confidence
        is read from them.
    unseen : bool
        Whether the model was fitted without these records. Where it was not, p-values are too small for new records and
        carry no guarantee.
    labelled : bool
        Whether only records known to be normal count. Where nobody knows, anomalies among them make p-values larger
        than they need be: nothing is promised that is not held, but less is found.
    learned : ndarray (1001,) float64, optional
        Quantiles, at the same shares, of the scores of the records that the model was fitted on, which look more normal
        than new ones of the same kind: records that look like these are no others.
    """

    scores: npt.NDArray[np.float32]
    quantiles: FloatArray
    unseen: bool = True
    labelled: bool = False
    learned: FloatArray | None = None

    def with_learned(self, scores: npt.ArrayLike) -> Calibration:
        """The same with the `scores` (rows,) of the records that the model was fitted on."""
        return replace(self, learned=np.quantile(np.asarray(scores, dtype=np.float64), _SHARES))

    def carried(self, carry: Callable[[FloatArray], FloatArray]) -> Calibration:
        """The same with its scores brought to another scale, by a function that never falls."""
        scores = _rounded_down(carry(self.scores.astype(np.float64)))
        learned = None if self.learned is None else carry(self.learned)
        return replace(self, scores=scores, quantiles=carry(self.quantiles), learned=learned)

    @classmethod
    def of(cls, scores: npt.ArrayLike, labels: npt.ArrayLike | None = None, *, unseen: bool = True) -> Calibration:
        """The calibration by reference `scores` (rows,) of ``score_samples`` and, where known, their `labels` (rows,).

        Raises
        ------
        DataError
            Without scores, with scores that are not finite, or where no label says +1 (normal).
        """
        values = np.asarray(scores, dtype=np.float64)
        if values.ndim != 1 or values.size == 0 or not np.isfinite(values).all():
            raise DataError(
                f"A calibration needs finite scores, one a row, but got {values.size} of shape {values.shape};"
                " check the records."
            )
        normal = values if labels is None else values[np.asarray(labels) == 1]
        if normal.size == 0:
            raise DataError("No calibration record is labelled normal (+1); give some that are.")
        if normal.size > KEPT_SCORES:
            # A random part is as exchangeable with new records as the whole; every k-th of the sorted would not be.
            normal = np.random.default_rng(0).choice(normal, KEPT_SCORES, replace=False)
        return cls(_rounded_down(np.sort(normal)), np.quantile(values, _SHARES), unseen, labels is not None)

    def p_values(self, scores: npt.ArrayLike) -> FloatArray:
        """Conformal p-values (rows,) in (0, 1] of `scores` (rows,).

        ``(1 + number of calibration scores <= score) / (n + 1)``. A record that is exchangeable with the calibration
        records gets a p-value of at most t with a probability of at most t, for every t.
        """
        return np.asarray((1.0 + self.below(scores)) / (self.scores.size + 1.0), dtype=np.float64)

    def severities(self, scores: npt.ArrayLike) -> FloatArray:
        """`severity` (rows,) of `scores` (rows,), told apart between and beyond the calibration scores.

        At a calibration score it is that of the p-value there; between two, in proportion to ``-log(1 + score)``, so
        never more than the p-value says. Beyond all, p-values end and severity goes on as if the tail were exponential
        on that scale, with the mean excess of the outermost tenth of the calibration scores (the maximum likelihood
        estimate, Hill, 1975): a power law. It is an estimate and says so: it comes ever closer to 100 and never there.
        """
        values = np.asarray(scores, dtype=np.float64)
        places, known, excess = _tail(self)
        out = _outness(values)
        found = np.interp(out, places, known)
        beyond = np.flatnonzero(out > places[-1])
        if beyond.size:
            least = float(severity(1.0 / (self.scores.size + 1.0)))
            room = max(100.0 - least, _LEAST_EXCESS)
            more = SEVERITY_STEP / np.log(10.0) * (out[beyond] - places[-1]) / excess
            found[beyond] = np.minimum(least - room * np.expm1(-more / room), 100.0)
        return np.asarray(found, dtype=np.float64)

    def below(self, scores: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """How many calibration scores are at most each of `scores` (rows,)."""
        found = self.scores.searchsorted(np.asarray(scores, dtype=np.float64), side="right")
        return np.asarray(found, dtype=np.int64)

    def cut(self, p_value: float) -> float:
        """The score strictly below which p-values are at most `p_value`, which is below 1; -inf where none can be."""
        # The tiny addition forgives a product such as 0.1 * 30 = 2.9999999999999996.
        below = int(np.floor(p_value * (self.scores.size + 1) + 1e-9)) - 1
        return float(self.scores[below]) if below >= 0 else -np.inf

    def share_below(self, score: float) -> float:
        """The share of the reference records that are more abnormal than `score`, in [0, 1]."""
        first, last = float(self.quantiles[0]), float(self.quantiles[-1])
        if score <= first or score > last:
            return float(score > last)
        # Tied quantiles are a vertical step; its foot is the share strictly below.
        place = int(self.quantiles.searchsorted(score, side="left"))
        low, high = float(self.quantiles[place - 1]), float(self.quantiles[place])
        return float(_SHARES[place - 1] + (score - low) / (high - low) * (_SHARES[place] - _SHARES[place - 1]))

    def confidence(self, decision: float, threshold: float) -> float:
        """How sure the verdict on a record is, in [0, 1].

        Among the reference records on the same side of the threshold, the share that lies between the threshold and
        the record: 0 at the threshold itself, 1 beyond all of them. It never falls as the distance from the threshold
        grows.

        Parameters
        ----------
        decision : float
            The record's decision score; negative is an alert.
        threshold : float
            The score (of ``score_samples``) at which the decision score is 0.
        """
        rank, alerts = self.share_below(decision + threshold), self.share_below(threshold)
        side, between = (alerts, alerts - rank) if decision < 0 else (1.0 - alerts, rank - alerts)
        if side <= 0.0:
            # No reference record lies on this side, so this one is beyond all of them.
            return float(decision != 0)
        return min(1.0, max(0.0, between / side))

    def confidences(self, decisions: npt.ArrayLike, threshold: float) -> FloatArray:
        """What `confidence` gives for each of `decisions` (rows,), all at once."""
        values = np.asarray(decisions, dtype=np.float64)
        scores, alerts = values + threshold, self.share_below(threshold)
        places = np.searchsorted(self.quantiles, scores, side="left")
        inside = (scores > self.quantiles[0]) & (scores <= self.quantiles[-1])
        places = np.clip(places, 1, len(self.quantiles) - 1)
        low, high = self.quantiles[places - 1], self.quantiles[places]
        with np.errstate(divide="ignore", invalid="ignore"):
            shares = _SHARES[places - 1] + (scores - low) / (high - low) * (_SHARES[places] - _SHARES[places - 1])
        ranks = np.where(inside, shares, scores > self.quantiles[-1])
        side = np.where(values < 0, alerts, 1.0 - alerts)
        between = np.where(values < 0, alerts - ranks, ranks - alerts)
        with np.errstate(divide="ignore", invalid="ignore"):
            found = np.minimum(1.0, np.maximum(0.0, between / side))
        return np.where(side <= 0.0, (values != 0).astype(np.float64), found)


def _outness(scores: FloatArray) -> FloatArray:
    """``-log(1 + score)``, higher for the more abnormal: linear in the logarithm of what lowers a score."""
    return np.asarray(-np.log(np.maximum(1.0 + scores, _LEAST_ROOM)))


def _rounded_down(scores: FloatArray) -> npt.NDArray[np.float32]:
    """`scores` as float32, none larger than it was."""
    nearest = scores.astype(np.float32)
    return np.where(nearest > scores, np.nextafter(nearest, np.float32(-np.inf)), nearest).astype(np.float32)


def _tail_of(calibration: Calibration) -> tuple[FloatArray, FloatArray, float]:
    """The calibration scores by `_outness`, ascending, their severities, and the mean excess of the outermost."""
    scores = np.unique(calibration.scores.astype(np.float64))
    every = _outness(calibration.scores.astype(np.float64))
    count = min(max(int(_TAIL_SHARE * every.size), _FEWEST_IN_TAIL), every.size - 1)
    excess = float(np.mean(every[:count] - every[count])) if count else 0.0
    return _outness(scores)[::-1], severity(calibration.p_values(scores))[::-1], max(excess, _LEAST_EXCESS)


_tail: Kept[Calibration, tuple[FloatArray, FloatArray, float]] = Kept(_tail_of)
