"""`AllScores`: what the scores of very many records say of a threshold, exactly, out of parts that are added."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from anomaly_detection.calibration.thresholds import ShareRule

__all__ = ["AllScores"]

FloatArray = npt.NDArray[np.float64]

_STEPS = 1000
"""In which scores beyond the horizon are counted: only to find a farther one."""


@dataclass(frozen=True, eq=False)
class AllScores:
    """Scores of records: each of the lowest, how many others there are, and those of records to calibrate by.

    Attributes
    ----------
    horizon : float
        Scores below it are kept.
    lowest : ndarray of float64
        These, ascending.
    others : Counter of int
        How many have each score from the horizon on, in thousandths, rounded down.
    unseen : ndarray of float64
        The scores, in order, of those that nothing was learned from and that were chosen to calibrate by.
    """

    horizon: float
    lowest: FloatArray
    others: Counter[int]
    unseen: FloatArray

    @property
    def rows(self) -> int:
        """How many records there are."""
        return self.lowest.size + self.others.total()

    @classmethod
    def of(cls, scores: FloatArray, horizon: float, chosen: npt.NDArray[np.int64]) -> AllScores:
        """Of scores (rows,), of which those at the `chosen` places are to calibrate by."""
        low = scores < horizon
        steps, counts = np.unique(np.floor(scores[~low] * _STEPS).astype(np.int64), return_counts=True)
        others = Counter(dict(zip(steps.tolist(), counts.tolist(), strict=True)))
        return cls(horizon, np.sort(scores[low]), others, scores[chosen])

    @classmethod
    def together(cls, parts: Sequence[AllScores]) -> AllScores:
        """Those of all parts, one at least, of one horizon."""
        others: Counter[int] = Counter()
        for part in parts:
            others.update(part.others)
        lowest = np.sort(np.concatenate([part.lowest for part in parts]))
        return cls(parts[0].horizon, lowest, others, np.concatenate([part.unseen for part in parts]))

    @staticmethod
    def expected_horizon(rule: ShareRule, sample: FloatArray) -> float:
        """A horizon below which twice as many of a sample of scores lie as the rule needs."""
        ordered = np.sort(sample)
        place = 2 * rule.needed(ordered.size)
        return float(ordered[place]) if place < ordered.size else 0.0

    def farther(self, rule: ShareRule) -> float | None:
        """The horizon that the rule's threshold takes, where this one is too near for it; None where it is not."""
        needed = min(rule.needed(self.rows), self.rows)
        if not self.others or (self.lowest.size >= needed and self.lowest[0] < self.lowest[-1]):
            return None
        steps = sorted(self.others)
        enough = self.lowest.size + np.cumsum([self.others[step] for step in steps]) >= needed
        if self.lowest.size >= needed or not enough.any():
            return 0.0
        return (steps[int(np.argmax(enough))] + 1) / _STEPS
