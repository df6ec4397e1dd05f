"""How sure an alert is and how high its risk: a score's place among the scores of reference records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

RiskLevel = Literal["low", "medium", "high", "critical"]

# A thousandth is fine enough for any risk level and keeps a saved model small.
_SHARES = np.linspace(0.0, 1.0, 1001)


@dataclass(frozen=True)
class Calibration:
    """Reads a score by its place among reference scores, those of the records that set the threshold.

    Parameters
    ----------
    quantiles : ndarray (1001,) float64
        The reference scores (of ``score_samples``) at the shares 0, 0.001, ..., 1, ascending.
    """

    quantiles: npt.NDArray[np.float64]

    @classmethod
    def of(cls, scores: npt.ArrayLike) -> Calibration:
        """The calibration by the reference `scores` (rows,) of ``score_samples``."""
        return cls(np.quantile(np.asarray(scores, dtype=np.float64), _SHARES))

    def share_below(self, score: float) -> float:
        """The share of the reference records that are more abnormal than `score`, in [0, 1]."""
        first, last = float(self.quantiles[0]), float(self.quantiles[-1])
        if score <= first or score > last:
            return float(score > last)
        # Tied quantiles are a vertical step; its foot is the share strictly below.
        place = int(np.searchsorted(self.quantiles, score, side="left"))
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

    def risk_level(self, decision: float, threshold: float) -> RiskLevel:
        """The risk of a record, whose parameters are those of `confidence`.

        - ``critical``: an alert more abnormal than three quarters of the alerts among the reference records
        - ``high``: any other alert
        - ``medium``: no alert, but among the most abnormal reference records: twice the share of alerts, or one in a
          hundred where that is more
        - ``low``: all else
        """
        rank, alerts = self.share_below(decision + threshold), self.share_below(threshold)
        if decision < 0:
            return "critical" if rank <= alerts / 4.0 else "high"
        return "medium" if rank <= max(2.0 * alerts, 0.01) else "low"
