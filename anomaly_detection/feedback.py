"""`Teachable`: what a detector learns from verdicts, and how it forgets them."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from anomaly_detection.calibration.carrying import Carrying
from anomaly_detection.calibration.p_values import Calibration
from anomaly_detection.calibration.thresholds import Conformal, ThresholdRule
from anomaly_detection.features.evidence.lessons import Lessons
from anomaly_detection.features.trained_features import TrainedFeatures

__all__ = ["Teachable", "Untaught"]

Taught = TypeVar("Taught", bound="Teachable")

_MOST_REMEMBERED = 20_000
"""Training records by which scores before and after are compared: of 20,000 a thousand are in the outermost 5 %."""


@dataclass(frozen=True)
class Untaught:
    """What verdicts change of a detector, as it was before any."""

    preprocessor: TrainedFeatures
    offset: float
    rule: ThresholdRule | None
    calibration: Calibration | None


class Teachable:
    """Learns from verdicts, in a `Detector`."""

    preprocessor: Any
    model: Any
    threshold_rule: ThresholdRule | None
    calibration_: Calibration | None
    lessons_: Lessons
    _untaught: Untaught | None

    @property
    def feedback_(self) -> npt.NDArray[np.int64]:
        """The verdicts learned from, -1 for an anomaly and +1 for a normal record, in their order."""
        return np.array(self.lessons_.verdicts, dtype=np.int64)

    @property
    def untaught(self) -> Untaught:
        """What it would be without verdicts."""
        if self._untaught is not None:
            return self._untaught
        offset = float(self.model.offset_)
        return Untaught(self.preprocessor, offset, self.threshold_rule, self.calibration_)

    def feedback(self: Taught, X: Any, y: npt.ArrayLike) -> Taught:
        """Learn from verdicts on records: the evidence that leads to false alarms counts less from now on.

        Each verdict is on the feature that has most evidence against its record; see `Lessons`. Calibration and
        threshold keep their places among the training records, as these are scored now: p-values hold, and as many
        usual records alert as before.

        Parameters
        ----------
        X : table
            Records, as for `score_samples`.
        y : array-like (rows,)
            -1 for an anomaly, +1 for a normal record. Further calls add to the log, `feedback_`.

        Raises
        ------
        DataError
            For other verdicts, or where the model weighs no evidence; the detector is then as it was.
        """
        leading = self.preprocessor.leading(self._features(X))
        return self.learn(self.lessons_.with_more(leading, np.asarray(y).ravel().tolist()))

    def forget(self: Taught, places: npt.ArrayLike | None = None) -> Taught:
        """Take out verdicts, as if they had never been given.

        Parameters
        ----------
        places : int or array-like of int, optional
            Their places in `feedback_`; -1 is the last. All if not given.

        Raises
        ------
        DataError
            There is no such verdict.
        """
        if places is None:
            return self.learn(Lessons())
        return self.learn(self.lessons_.without(np.atleast_1d(np.asarray(places)).tolist()))

    def learn(self: Taught, lessons: Lessons) -> Taught:
        """Learn from these verdicts in place of all before. What copies of this detector share stays as it is."""
        self.require_fitted()
        before = self.untaught
        self.model = copy.copy(self.model)
        self.preprocessor, self.threshold_rule, self.calibration_ = (
            before.preprocessor,
            before.rule,
            before.calibration,
        )
        self.model.offset_ = before.offset
        self.lessons_, self._untaught = lessons, before if lessons else None
        if lessons:
            self.preprocessor = before.preprocessor.taught(lessons)
            self._carry(before)
        return self

    def _carry(self, before: Untaught) -> None:
        """Bring threshold and calibration to the scale that verdicts have made of scores.

        Training records, each judged by the others, are exchangeable with new ones and nobody chose them: where their
        scores have moved, those of the calibration records have.
        """
        usual, taught = before.preprocessor.evidence_, self.preprocessor.evidence_
        if usual is None or taught.weights is None:
            return
        remembered = before.preprocessor.remembered_rows(_MOST_REMEMBERED)
        if remembered is None:
            return
        rows, found = remembered
        scores = []
        for evidence in (usual, taught):
            rows[:, -1] = evidence.total(found)
            scores.append(self.score_features(rows))
        carry = Carrying(*scores)
        self.model.offset_ = float(carry(np.array([before.offset]))[0])
        if before.calibration is not None:
            self.calibration_ = before.calibration.carried(carry)
        if before.rule is not None and not math.isnan(before.rule.offset_):
            rule = self.threshold_rule = copy.copy(before.rule)
            if isinstance(rule, Conformal) and rule.calibration_ is not None:
                rule.calibration_ = rule.calibration_.carried(carry)
                self.model.offset_ = rule.calibration_.cut(rule.rate)
            rule.offset_ = self.model.offset_

    def require_fitted(self) -> None:
        raise NotImplementedError

    def score_features(self, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        raise NotImplementedError

    def _features(self, frame: Any) -> npt.NDArray[np.float32]:
        raise NotImplementedError
