"""`AnomalyDetectionAPI`: the whole library in one object, with the signatures that CryptaNet calls."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt

from mlx_iforest import MLXIsolationForest

from .calibration import RiskLevel
from .detector import Detector
from .errors import DataError
from .features import SupplyChainFeatures
from .frames import to_frame
from .plain import plain
from .schema import Role, Schema, infer_schema
from .settings import SUMMARY_FEATURES, FeatureSet, Settings, make_detector
from .thresholds import Contamination

__all__ = ["AnomalyDetectionAPI", "Assessment"]

_PathLike = str | os.PathLike[str]

# What training without labels starts from: the forest sees how surprising each record is, not every feature.
_SETTINGS = Settings(FeatureSet(surprises=SUMMARY_FEATURES))


class Assessment(TypedDict):
    """What `AnomalyDetectionAPI.detect_anomaly` says of a record."""

    is_anomaly: bool
    anomaly_score: float
    confidence: float
    risk_level: RiskLevel


class _LoadModel:
    """Makes ``load_model`` work on the class, where it makes a new object, and on an object, which it then fills."""

    def __get__(
        self, instance: AnomalyDetectionAPI | None, owner: type[AnomalyDetectionAPI]
    ) -> Callable[..., AnomalyDetectionAPI]:
        return (owner() if instance is None else instance)._load


class AnomalyDetectionAPI:
    """Finds, explains and rates anomalies in supply-chain records.

    Records may be a pandas, polars or pyarrow table, a list of dicts, or one dict. New and reordered columns are fine;
    a column that the model was trained on must be there.

    Parameters
    ----------
    model_path : path, optional
        A model file that `save_model` or a training run wrote; a ``.joblib`` is a pickle, so load only what you trust.
    anomaly_ratio : float
        The share of anomalies that `fit` expects, above 0 and at most 0.5: it sets the threshold.
    seed : int
        The same seed and data give the same model.

    Attributes
    ----------
    detector : Detector
        The parts, and all that they offer.
    model : MLXIsolationForest
    preprocessor : SupplyChainFeatures
    is_fitted : bool
    load_model : callable
        ``load_model(model_path, preprocessor_path=None)``. Called on the class it returns a new object; called on an
        object it fills that object, which it returns too. Raises `ModelFileError` for a file that is no model.

    Raises
    ------
    ModelFileError
        If `model_path` is given but cannot be loaded.

    Examples
    --------
    >>> from anomaly_detection.synthetic import generate
    >>> api = AnomalyDetectionAPI().fit(generate("classic", 1000).frame)
    >>> predictions, scores = api.predict(generate("classic", 100, seed=7).frame)
    >>> bool(((scores < 0) == (predictions == -1)).all())
    True
    """

    def __init__(self, model_path: _PathLike | None = None, *, anomaly_ratio: float = 0.05, seed: int = 42) -> None:
        self.anomaly_ratio = anomaly_ratio
        self.seed = seed
        self.detector = Detector()
        if model_path is not None:
            self._load(model_path)

    @property
    def model(self) -> MLXIsolationForest:
        """The isolation forest."""
        return self.detector.model

    @property
    def preprocessor(self) -> SupplyChainFeatures:
        """What turns records into features."""
        return self.detector.preprocessor

    @property
    def is_fitted(self) -> bool:
        """Whether the object can predict."""
        return self.detector.is_fitted

    def fit(
        self,
        data: Any,
        numerical_features: Sequence[str] | None = None,
        categorical_features: Sequence[str] | None = None,
        timestamp_col: str | None = None,
        value_cols: Sequence[str] | None = None,
    ) -> AnomalyDetectionAPI:
        """Learn what is normal.

        Parameters
        ----------
        data : table
            Records, some of which may be anomalies; at least two rows and one numeric column.
        numerical_features, categorical_features : sequence of str, optional
            The columns to use as numbers and as categories. A list that is given replaces what would be inferred:
            other columns of that kind are left out. A list that is not given is inferred.
        timestamp_col : str, optional
            The column with each record's time.
        value_cols : sequence of str, optional
            Columns of measured values; they are used as numbers.

        Returns
        -------
        AnomalyDetectionAPI
            The object itself.

        Raises
        ------
        DataError
            For a column that is not there, or data that cannot be learned from.
        """
        frame = to_frame(data)
        numbers = None if numerical_features is None else [*numerical_features, *(value_cols or ())]
        roles: dict[str, str | Role] = dict.fromkeys(numbers or value_cols or (), Role.NUMERIC)
        roles |= dict.fromkeys(categorical_features or (), Role.CATEGORICAL)
        if timestamp_col is not None:
            roles[timestamp_col] = Role.TIMESTAMP
        schema = infer_schema(frame, roles)
        listed = [
            role
            for role, names in ((Role.NUMERIC, numbers), (Role.CATEGORICAL, categorical_features))
            if names is not None
        ]
        kept = [column for column in schema.columns if column.role not in listed or column.name in roles]
        forest = MLXIsolationForest(random_state=self.seed)
        self.detector = make_detector(_SETTINGS, Schema(tuple(kept)), forest)
        self.detector.threshold_rule = Contamination(self.anomaly_ratio)
        self.detector.fit(frame)
        return self

    def predict(
        self, data: Any, threshold: float | None = None
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Judge records.

        Parameters
        ----------
        data : table
            Records.
        threshold : float, optional
            Scores below it are anomalies; 0, the trained threshold, if not given.

        Returns
        -------
        predictions : ndarray (rows,) int64
            +1 (normal) or -1 (anomaly).
        scores : ndarray (rows,) float64
            Decision scores: the lower, the more abnormal; negative is abnormal by the trained threshold.

        Raises
        ------
        NotFittedError
            Before `fit` or `load_model`.
        DataError
            If a column that the model needs is missing, or a value cannot be used.
        """
        scores = self.detector.decision_function(data)
        return np.where(scores < (0.0 if threshold is None else threshold), -1, 1).astype(np.int64), scores

    def explain_anomalies(self, data: Any, predictions: npt.ArrayLike, scores: npt.ArrayLike) -> list[dict[str, Any]]:
        """Say for each record predicted to be an anomaly what stands out.

        Parameters
        ----------
        data : table
            Records (rows, columns).
        predictions, scores : array-like (rows,)
            What `predict` gave for them.

        Returns
        -------
        list of dict
            One for each anomaly, in the order of the rows, of plain values that JSON can hold: ``index`` (int, the
            row's position, from 0), ``score`` (float), ``data_point`` (dict: column to value, missing is None),
            ``explanation`` (str, a sentence) and ``contributions`` (list of dicts, what stands out the most first).

        Raises
        ------
        DataError
            If the lengths differ.
        """
        frame = to_frame(data)
        verdicts, values = np.asarray(predictions), np.asarray(scores, dtype=np.float64)
        if not verdicts.shape == values.shape == (len(frame),):
            raise DataError(
                f"There are {len(frame)} records, but predictions of shape {verdicts.shape} and scores of shape"
                f" {values.shape}; give what predict returned for these records."
            )
        rows = np.flatnonzero(verdicts == -1)
        if not rows.size:
            return []
        from .explanations import explain

        points = frame.iloc[rows].to_dict("records")
        return [
            {
                "index": int(row),
                "score": float(values[row]),
                "data_point": plain(point),
                "explanation": explanation.sentence,
                "contributions": plain(explanation.to_dict()["contributions"]),
            }
            for row, point, explanation in zip(rows, points, explain(self.detector, frame, rows.tolist()), strict=True)
        ]

    def evaluate(self, data: Any, labels: Any) -> dict[str, Any]:
        """Compare the predictions for `data` with the truth.

        Parameters
        ----------
        data : table
            Records (rows, columns).
        labels : array-like (rows,)
            +1 / -1, 0 / 1 (1 is an anomaly), booleans or words such as "normal" and "anomaly".

        Returns
        -------
        dict
            ``accuracy, precision, recall, f1, false_positive_rate, roc_auc, average_precision, confusion_matrix,
            alerts, n`` and others of `anomaly_detection.evaluation.Metrics`; plain values.

        Raises
        ------
        DataError
            If the labels are not of one or two classes, or not as many as the records.
        """
        from .evaluation import check_labels, evaluate

        truth = check_labels(labels)
        predictions, scores = self.predict(data)
        return evaluate(truth, predictions, scores).to_dict()

    def detect_anomaly(self, record: Any) -> Assessment:
        """Judge one record.

        Parameters
        ----------
        record : dict, or a table of one row
            Column to value.

        Returns
        -------
        dict
            - ``is_anomaly`` (bool)
            - ``anomaly_score`` (float): the decision score that `predict` gives; negative is abnormal
            - ``confidence`` (float, 0 to 1): how far the record lies from the threshold, as the share of the training
              run's records on that side that lie nearer to it; see `Calibration.confidence`
            - ``risk_level``: ``critical`` or ``high`` (alerts), ``medium`` or ``low``; see `Calibration.risk_level`

        Raises
        ------
        DataError
            If there is not exactly one record.
        """
        frame = to_frame(record)
        if len(frame) != 1:
            raise DataError(f"detect_anomaly judges one record but got {len(frame)}; use predict for several.")
        decision = float(self.detector.decision_function(frame)[0])
        threshold = float(self.detector.model.offset_)
        calibration = self.detector.calibration_
        if calibration is None:
            raise DataError(
                "This model came without the scores that it was calibrated on; fit it, or load one that save_model"
                " wrote."
            )
        return {
            "is_anomaly": decision < 0.0,
            "anomaly_score": decision,
            "confidence": calibration.confidence(decision, threshold),
            "risk_level": calibration.risk_level(decision, threshold),
        }

    def save_model(self, model_path: _PathLike, preprocessor_path: _PathLike | None = None) -> None:
        """Save the model, whose file alone is enough to predict, and on demand the preprocessor by itself too.

        Folders are made. Raises `NotFittedError` before `fit`, `DataError` where a file cannot be written.
        """
        from .persistence import save_detector

        save_detector(self.detector, model_path, preprocessor_path)

    load_model = _LoadModel()

    def _load(self, model_path: _PathLike, preprocessor_path: _PathLike | None = None) -> AnomalyDetectionAPI:
        from .persistence import load_detector

        self.detector = load_detector(model_path, preprocessor_path)
        return self
