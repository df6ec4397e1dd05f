"""`Alert`: one judged record, with all that is known of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from anomaly_detection.calibration.p_values import RiskLevel, risk_level
from anomaly_detection.explain.explanations import Contribution, Explanation
from anomaly_detection.explain.wording import sentence

__all__ = ["IN_WORDS", "Alert"]

IN_WORDS = 3
"""The most reasons that an alert's sentence tells."""


@dataclass(frozen=True)
class Alert:
    """One judged record; `is_alert` says whether it is an alert. `renderings` has its forms for others.

    Attributes
    ----------
    row : int
        The record's number in the whole input, counted from 1, parts before its own included.
    identifiers : mapping of str to object
        The record's columns that only name it, in their order; empty where the model knows none.
    record : mapping of str to object
        All its columns and values, as they came.
    score : float
        Of ``Detector.score_samples``, in [-1, 0), without a unit; the lower, the more abnormal.
    threshold : float or None
        The score below which a record is an alert, in units of `score`; -inf where none can be. None where a caller
        judged the records.
    decision : float
        ``score - threshold``, in units of `score`: negative is an alert, the lower, the more abnormal. Where a caller
        judged the records, the decision score that it gave.
    is_alert : bool
        Whether `decision` is negative or, where a caller judged the records, what that one said.
    p_value : float or None
        How often a usual record scores as low, in (0, 1]; the lower, the more abnormal. None where the model came
        without the scores that it was calibrated on.
    severity : float or None
        How far out the record is, in [0, 100], higher for the more abnormal; see `Calibration.severities`. None where
        `p_value` is.
    confidence : float or None
        How sure the verdict is, in [0, 1]; see `Calibration.confidence`. None where `p_value` or `threshold` is.
    explanation : Explanation or None
        Why it has its score. None where no reasons were asked for.
    model_id : str
        16 hexadecimal digits that name the model and its threshold, see `Batch.model_id`; empty where `p_value` is
        None.
    """

    row: int
    identifiers: Mapping[str, Any]
    record: Mapping[str, Any]
    score: float
    threshold: float | None
    decision: float
    is_alert: bool
    p_value: float | None
    severity: float | None
    confidence: float | None
    explanation: Explanation | None
    model_id: str

    @property
    def risk_level(self) -> RiskLevel | None:
        """`severity` in a word: critical from 75, high from 50, medium from 25, low below."""
        return None if self.severity is None else risk_level(self.severity)

    @property
    def reasons(self) -> tuple[Contribution, ...]:
        """What stands out as values, the strongest first; empty if nothing does or nobody asked."""
        return () if self.explanation is None else self.explanation.contributions

    @property
    def sentence(self) -> str:
        """The `IN_WORDS` strongest reasons in words; empty if nobody asked for reasons."""
        if self.explanation is None:
            return ""
        same = len(self.reasons) <= IN_WORDS and self.explanation.is_alert == self.is_alert
        if self.explanation.sentence and (same or not self.reasons):
            return self.explanation.sentence
        return sentence([(reason.text, reason.share) for reason in self.reasons[:IN_WORDS]], alert=self.is_alert)
