"""`Detector`: preprocessor, scaler, model and threshold as one thing that eats raw records."""

from __future__ import annotations

import copy
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import sklearn.exceptions
from sklearn.base import BaseEstimator, OutlierMixin, clone
from sklearn.preprocessing import StandardScaler

from anomaly_detection.calibration.all_scores import AllScores
from anomaly_detection.calibration.carrying import carried_over
from anomaly_detection.calibration.p_values import Calibration
from anomaly_detection.calibration.thresholds import ShareRule, ThresholdRule
from anomaly_detection.compression import NONE, Compressed, Compression
from anomaly_detection.data.columns.levels import Kept
from anomaly_detection.data.columns.schema import CleanRecords
from anomaly_detection.data.columns.table import Table
from anomaly_detection.data.frames import to_frame
from anomaly_detection.data.labels import check_labels
from anomaly_detection.errors import DataError, NotFittedError
from anomaly_detection.features.evidence.lessons import Lessons
from anomaly_detection.features.features import SupplyChainFeatures
from anomaly_detection.features.fitted_branches import FittedBranches
from anomaly_detection.trained_detector import UNTRAINED, TrainedDetector
from mlx_iforest import MLXIsolationForest

__all__ = ["Detector", "Prepared", "UnfittedDetectorError"]

_MOST_SEEN, _RUNS, _RUN = 200_000, 10, 10_000


class UnfittedDetectorError(NotFittedError, sklearn.exceptions.NotFittedError):
    """Something was asked of a detector before its `fit`; scikit-learn's tools know it too."""


class Prepared:
    """A fitted preprocessor and the features of its training records, for several detectors to be made of.

    Attributes
    ----------
    preprocessor : SupplyChainFeatures
    learned, seen : ndarray of float32, shape (n, n_features)
        The records' features as `fit_transform` and as `transform` give them; these are made when they are asked for.
    """

    def __init__(self, preprocessor: Any, learned: npt.NDArray[np.float32], extended: Table) -> None:
        self.preprocessor = preprocessor
        self.learned = learned
        self._extended = extended

    @classmethod
    def of(cls, preprocessor: Any, frame: Any, fitted: FittedBranches | None = None) -> Prepared:
        """Fit a clone of `preprocessor` on records; of few records, each is judged by the others.

        What others have `fitted` on these records is taken from there.
        """
        fresh = clone(preprocessor)
        records = frame if isinstance(frame, CleanRecords) else to_frame(frame)
        return cls(fresh, *fresh.learn(records, by_others=True, fitted=fitted))

    @cached_property
    def seen(self) -> npt.NDArray[np.float32]:
        return np.asarray(self.preprocessor.features_of(self._extended))

    def seen_in_parts(self) -> npt.NDArray[np.float32]:
        """`seen`; of more than 200,000 records that of ten runs of 10,000, as parts of a large file are seen."""
        n = len(self._extended)
        if n <= _MOST_SEEN or "seen" in self.__dict__:
            return self.seen
        starts = np.linspace(0, n - _RUN, _RUNS).astype(np.int64)
        parts = (self._extended.take(slice(start, start + _RUN)) for start in starts.tolist())
        return np.vstack([self.preprocessor.features_of(part) for part in parts])


class Detector(TrainedDetector, OutlierMixin, BaseEstimator):
    """Finds anomalies in raw records.

    It is a scikit-learn estimator: `clone`, ``set_params(model__n_estimators=300)``, `cross_val_score` and
    `GridSearchCV` work, on raw records and with labels of +1 (normal) and -1 (anomaly). `fit` fits the parts given
    here, as a `Pipeline` does its steps.

    ``model.decision_function(scaler.transform(preprocessor.transform(frame)))`` is the score, and the threshold lives
    in ``model.offset_``, so each part can be used alone. (With the rule `Conformal` that is the threshold of a record
    by itself; a batch has its own, see `cut`.) Parts given here may be fitted already: then `fit` need not be called.

    Parameters
    ----------
    preprocessor : SupplyChainFeatures, optional
        Records to features; a default one if not given.
    scaler : scikit-learn scaler, optional
        Must pass missing values (NaN) through and keep float32; `StandardScaler` if not given.
    model : MLXIsolationForest, optional
        The detector proper; a default one, on all cores, if not given.
    threshold_rule : ThresholdRule, optional
        Sets ``model.offset_`` at the end of `fit`; without one the model's own ``contamination`` does.

    Attributes
    ----------
    training_ : dict
        A summary of how this detector was trained, of plain JSON values; saved with it.
    calibration_ : Calibration or None
        The scores that p-values, severity, confidence and risk are read from. None before `fit`.
    lessons_ : Lessons
        The verdicts that it has learned from, see `feedback`.
    learned_scores_, reference_scores_ : ndarray of float64, or None
        The scores of the records that the model was fitted on, as they were when they were learned, and those that it
        was calibrated by, for `refit`; not kept in files.
    """

    def __init__(
        self,
        preprocessor: SupplyChainFeatures | None = None,
        scaler: Any = None,
        model: MLXIsolationForest | None = None,
        *,
        threshold_rule: ThresholdRule | None = None,
    ) -> None:
        super().__init__(
            SupplyChainFeatures() if preprocessor is None else preprocessor,
            StandardScaler() if scaler is None else scaler,
            MLXIsolationForest(n_jobs=-1) if model is None else model,
            threshold_rule=threshold_rule,
        )
        self.learned_scores_: npt.NDArray[np.float64] | None = None
        self.reference_scores_: npt.NDArray[np.float64] | None = None

    @classmethod
    def of(cls, trained: TrainedDetector) -> Detector:
        """An estimator of what was read from a file, before verdicts have taught it."""
        features = SupplyChainFeatures.of(trained.preprocessor)
        made = cls(
            features, trained.scaler.estimator(), trained.model.estimator(), threshold_rule=trained.threshold_rule
        )
        made.training_, made.calibration_ = trained.training_, trained.calibration_
        return made

    def __sklearn_is_fitted__(self) -> bool:
        return self.is_fitted

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.categorical = tags.input_tags.string = True
        return tags

    def fit(self, X: Any, y: npt.ArrayLike | None = None, *, watched: bool = True) -> Detector:
        """Fit all parts on records, then the threshold rule on their scores.

        The calibration is by these records too, which the model has seen: follow with `set_threshold` or `calibrate` on
        records set aside, for p-values that hold.

        Parameters
        ----------
        X : table or CleanRecords
            Records: a pandas, polars or pyarrow table, a list of dicts, or one dict; or what the preprocessor read.
        y : array-like (rows,), optional
            Labels, +1 (normal) and -1 (anomaly), or of another kind that `check_labels` reads. Only the calibration and
            a threshold rule that uses labels look at them; the model never does.
        watched : bool
            Whether to keep what tells how columns change, see `SupplyChainFeatures.learn`.

        Raises
        ------
        DataError
            For records that cannot be used; the message says why.
        """
        self.lessons_, self._untaught = Lessons(), None
        frame = X if isinstance(X, CleanRecords) else to_frame(X)
        labels = None if y is None else check_labels(np.asarray(y))
        # Arrays, whatever scikit-learn is set to hand out.
        features = np.asarray(self.preprocessor.learn(frame, watched=watched)[0])
        self.model.fit(self.fit_scaler(features))
        scores = self.learned_scores_ = self.score_features(features)
        if self.threshold_rule is not None:
            self.set_threshold(self.threshold_rule, scores, labels)
        return self.calibrate(scores, labels, unseen=False)

    def set_threshold(
        self, rule: ThresholdRule, scores: npt.ArrayLike, labels: npt.ArrayLike | None = None
    ) -> Detector:
        """Fit `rule` on `scores` (of `score_samples`), keep it, store its threshold in ``model.offset_``, calibrate."""
        self._refuse_taught()
        self.threshold_rule = rule.fit(scores, labels)
        self.model.offset_ = rule.offset_
        return self.calibrate(scores, labels)

    def calibrate(self, scores: npt.ArrayLike, labels: npt.ArrayLike | None = None, *, unseen: bool = True) -> Detector:
        """Read p-values, severity and confidence from `scores` (of `score_samples`) from now on; see `Calibration`.

        `unseen` says whether the parts were fitted without these records; `labels`, where given, pick the normal ones.
        """
        self._refuse_taught()
        self.reference_scores_ = np.asarray(scores, dtype=np.float64)
        self.calibration_ = Calibration.of(scores, labels, unseen=unseen)
        return self

    def settle(self, found: AllScores) -> Detector:
        """Set the threshold by the scores of all records that the training records are a sample of, and calibrate.

        `Calibration` is by those that were not learned from, where they are as many as it has. The rule is a
        `ShareRule`.
        """
        self._refuse_taught()
        assert isinstance(self.threshold_rule, ShareRule)
        self.threshold_rule = self.threshold_rule.fit_lowest(found.lowest, found.rows)
        self.model.offset_ = self.threshold_rule.offset_
        before = self.calibration
        if found.unseen.size >= before.scores.size:
            self.calibrate(found.unseen)
            self.calibration_ = replace(self.calibration, learned=before.learned)
        return self

    def _refuse_taught(self) -> None:
        """Scores that verdicts have moved are none to set a threshold or a calibration by."""
        if self.lessons_:
            raise DataError("Verdicts were learned from; forget them, calibrate, and give them again.")

    def refit(self, frame: Any, compression: Compression = NONE) -> Detector:
        """A new detector of the same settings, fitted on `frame`, under the same threshold rule.

        `frame` are records, `CleanRecords` or `Prepared` ones. A model that was made smaller is grown whole: give what
        made it smaller, to be done again.

        For records that this one has been fitted on and calibrated by, all together: else a value that only the
        calibration records hold would be reported as never seen. The threshold is set anew by all of them, each judged
        by the others as a new record would be, so that as many alert as were asked for, now and when they come again.
        The calibration stays that by records that the parts had not seen. Their scores are carried over to the new
        model's scale: each keeps its place among the scores of the records that were learned from (`carried_over`).
        Of few records, each judged by what is learned without it, the calibration is by all, and this detector need not
        be fitted (`SupplyChainFeatures.is_cross_fitted`).
        """
        made = frame if isinstance(frame, Prepared) else Prepared.of(self.preprocessor, frame)
        if not made.preprocessor.is_cross_fitted:
            self.require_fitted()
        again = Detector(made.preprocessor, clone(self.scaler), clone(self.model))
        again.training_ = self.training_
        again.model.fit(again.fit_scaler(made.learned))
        if compression:
            again.compress(compression, made.seen)
        again.learned_scores_ = again.score_features(made.learned)
        if made is not frame:
            # Of many records one table of features is enough at a time.
            made.learned = made.learned[:0]
        before, reference = self.learned_scores_, self.reference_scores_
        if self.threshold_rule is None or (self.is_fitted and (before is None or reference is None)):
            untaught = self.untaught
            again.threshold_rule, again.model.offset_ = untaught.rule, untaught.offset
            again.calibration_ = untaught.calibration
        else:
            again.set_threshold(copy.deepcopy(self.threshold_rule), again.learned_scores_)
            if reference is not None and before is not None and not made.preprocessor.is_cross_fitted:
                again.calibrate(carried_over(reference, before, again.learned_scores_))
        again.calibration_ = again.calibration.with_learned(again.score_features(made.seen_in_parts()))
        return again

    def compress(self, compression: Compression, features: npt.NDArray[np.float32]) -> Compressed | None:
        """Make the model smaller, as `compression` says; gives what that did, None where nothing was asked for.

        `features` are the preprocessor's (rows, features), of records that the model has not seen if there are any.
        """
        if not compression:
            return None
        self.model, done = compression.apply(self.model, self.scaled(features))
        return done

    def fit_scaler(self, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Fit the scaler on the preprocessor's features (rows, features); gives them as the model sees them."""
        Kept.forget(self.scaler)
        return np.asarray(self.scaler.fit_transform(features), dtype=np.float32)

    def require_fitted(self) -> None:
        """Raise `UnfittedDetectorError` where records cannot be scored yet."""
        if not self.is_fitted:
            raise UnfittedDetectorError(UNTRAINED)
