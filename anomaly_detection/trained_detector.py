"""`TrainedDetector`: features, scaler, model and threshold as one thing that judges raw records."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from anomaly_detection.calibration.drift import warn_of_drift
from anomaly_detection.calibration.p_values import Calibration
from anomaly_detection.calibration.thresholds import ThresholdRule
from anomaly_detection.data.columns.cleaning import warn_of_forms
from anomaly_detection.data.columns.levels import Kept
from anomaly_detection.data.columns.schema import CleaningReport
from anomaly_detection.data.columns.table import Table
from anomaly_detection.errors import DataError, NotFittedError
from anomaly_detection.features.evidence.lessons import Lessons
from anomaly_detection.feedback import Teachable, Untaught
from anomaly_detection.standardising import Standardising

__all__ = ["NO_CALIBRATION", "UNTRAINED", "TrainedDetector"]

NO_CALIBRATION = (
    "This model came without the scores that it was calibrated on; fit it, or load one that save_model wrote."
)

UNTRAINED = "This detector is not trained yet; call fit, or load a trained one."

_standardising: Kept[Any, Standardising | None] = Kept(Standardising.of)


class TrainedDetector(Teachable):
    """Judges raw records by what a `Detector` has learned: the part of it that needs no scikit-learn.

    A model's file is read as one, in a fifth of the time, and `Detector.of` makes an estimator of it. The attributes
    are those of `Detector`.

    Parameters
    ----------
    preprocessor : TrainedFeatures
    scaler : LoadedScaler
    model : LoadedForest
    threshold_rule : ThresholdRule, optional
    """

    def __init__(
        self, preprocessor: Any, scaler: Any, model: Any, *, threshold_rule: ThresholdRule | None = None
    ) -> None:
        self.preprocessor: Any = preprocessor
        self.scaler: Any = scaler
        self.model: Any = model
        self.threshold_rule = threshold_rule
        self.training_: dict[str, Any] = {}
        self.calibration_: Calibration | None = None
        self.lessons_ = Lessons()
        self._untaught: Untaught | None = None

    @property
    def is_fitted(self) -> bool:
        """Whether records can be scored."""
        return hasattr(self.model, "offset_")

    @property
    def feature_names(self) -> list[str]:
        """The names of the features that the model sees, in their order."""
        return [str(name) for name in self.scaler.get_feature_names_out(self.preprocessor.get_feature_names_out())]

    def scaled(self, features: npt.NDArray[np.float32], first: int = 0) -> npt.NDArray[np.float32]:
        """What the model sees (rows, features) of the preprocessor's features, float32.

        Where it `sees` none before the `first`, those may be left out.
        """
        standardising = _standardising(self.scaler)
        width = features.shape[1] + first
        if standardising is not None and features.dtype == np.float32 and width == standardising.width:
            return standardising.apply(features, first)
        return np.asarray(self.scaler.transform(features), dtype=np.float32)

    def transform(self, frame: Any) -> npt.NDArray[np.float32]:
        """The scaled features (rows, features), float32, that the model sees; NaN where a value is missing."""
        return self.scaled(self._features(frame))

    def score_samples(self, frame: Any) -> npt.NDArray[np.float64]:
        """Scores (rows,) in [-1, 0), lower for the more abnormal."""
        return self.score_features(self._features(frame))

    def _features(self, frame: Any) -> npt.NDArray[np.float32]:
        """The first that `extract` gives, with a warning of forms that training did not have."""
        features, _, report = self.extract(frame)
        warn_of_forms(report)
        return features

    def sees(self, count: int) -> bool:
        """Whether any of the preprocessor's `count` first features may reach the model; scaling drops the others."""
        standardising = _standardising(self.scaler)
        return standardising is None or bool((standardising.columns < count).any())

    def score_features(self, features: npt.NDArray[np.float32], first: int = 0) -> npt.NDArray[np.float64]:
        """`score_samples` of records by the preprocessor's features, before scaling, as `scaled` takes them."""
        return np.asarray(self.model.score_samples(self.scaled(features, first)), dtype=np.float64)

    def extract(self, frame: Any, first: int | None = None) -> tuple[npt.NDArray[np.float32], Table, CleaningReport]:
        """The preprocessor's features (rows, features), the clean records that they are of, and what cleaning did.

        Every score begins here and ends with `score_features`. `first` is for a part of a larger table, see
        `Schema.clean`.
        """
        self.require_fitted()
        extended, report = self.preprocessor.prepare(frame, first)
        return self.preprocessor.features_of(extended), extended, report

    def require_fitted(self) -> None:
        """Raise `NotFittedError` where records cannot be scored yet."""
        if not self.is_fitted:
            raise NotFittedError(UNTRAINED)

    def cut(self, scores: npt.ArrayLike) -> float:
        """The threshold for a batch with these `scores` (of `score_samples`): ``model.offset_``, but for `Conformal`.

        `Conformal` looks at all rows of a batch to set its threshold; every other rule has one for all batches.
        """
        if self.threshold_rule is not None and self.threshold_rule.needs_batch:
            return self.threshold_rule.cut(scores)
        return float(self.model.offset_)

    def decision_function(self, frame: Any) -> npt.NDArray[np.float64]:
        """``score_samples`` minus the threshold of these rows (rows,): negative is an alert.

        Warns with `DriftWarning` where a hundred rows or more do not look like the calibration records.
        """
        scores = self.score_samples(frame)
        warn_of_drift(self.calibration_, scores)
        return scores - self.cut(scores)

    def update(self, frame: Any) -> None:
        """Take in records that were judged: those that come after are compared with them as well.

        A copy of one of them is a copy from now on, a series goes on, a level or a pair of levels that no training
        record had is known once it came often enough (`Newcomers`), and what is usual of numbers goes along (`Moves`).
        One record at a time is all at once. Files keep the last of these alone.
        """
        self.require_fitted()
        self.preprocessor.follow(self.preprocessor.prepare(frame)[0])

    def p_values(self, scores: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Conformal p-values (rows,) in (0, 1] of `scores` (of `score_samples`); see `Calibration.p_values`.

        Raises
        ------
        DataError
            Where the detector has no calibration scores.
        """
        return self.calibration.p_values(scores)

    @property
    def calibration(self) -> Calibration:
        """``calibration_``, or a `DataError` that says that there is none."""
        if self.calibration_ is None:
            raise DataError(NO_CALIBRATION)
        return self.calibration_

    def predict(self, frame: Any, threshold: float | None = None) -> npt.NDArray[np.int64]:
        """+1 (normal) or -1 (anomaly) for each row.

        Parameters
        ----------
        frame : table
            Records, as for `fit`.
        threshold : float, optional
            Decision scores below it are anomalies; 0, the trained threshold, if not given.
        """
        decision = self.decision_function(frame)
        return np.where(decision < (0.0 if threshold is None else threshold), -1, 1).astype(np.int64)
