"""`AnomalyDetectionAPI`: the whole library in one object, with the signatures that CryptaNet calls."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

import numpy as np
import numpy.typing as npt

from anomaly_detection import api_arguments as checked
from anomaly_detection.alerts.alert import Alert
from anomaly_detection.alerts.renderings import Assessment, as_anomaly, assess
from anomaly_detection.alerts.scoring import predict_parts, score_table
from anomaly_detection.calibration.drift import warn_of_drift
from anomaly_detection.calibration.thresholds import Contamination, ThresholdRule
from anomaly_detection.data.columns.cleaning import warn_of_forms
from anomaly_detection.data.columns.declarations import Declaration
from anomaly_detection.data.columns.records import is_record
from anomaly_detection.data.columns.schema import Role, Schema, infer_schema
from anomaly_detection.data.fingerprint import fingerprint
from anomaly_detection.data.frames import to_frame
from anomaly_detection.detector import Detector
from anomaly_detection.errors import DataError
from anomaly_detection.features.features import SupplyChainFeatures
from anomaly_detection.settings import RECIPE, make_detector, make_forest
from anomaly_detection.training.set_aside import fit_with_some_aside
from mlx_iforest import __version__
from mlx_iforest.base import BaseIsolationForest

__all__ = ["AnomalyDetectionAPI", "Assessment"]

_PathLike = str | os.PathLike[str]


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
        A model file that `save_model` or a training run wrote, ``.safetensors`` or ``.joblib``.
    anomaly_ratio : float
        The share of anomalies that `fit` expects, above 0 and at most 0.5: it sets the threshold.
    seed : int
        The same seed and data give the same model.
    threshold : ThresholdRule, optional
        Sets the threshold in place of `anomaly_ratio`: a rule of `anomaly_detection.calibration.thresholds` that needs
        no labels, such as ``AlertBudget(0.002)`` or ``Conformal(0.1)``.

    Attributes
    ----------
    detector : Detector
        The parts, and all that they offer.
    model : MLXIsolationForest or BlendedIsolationForest
    preprocessor : SupplyChainFeatures
    is_fitted : bool
    load_model : callable
        ``load_model(model_path, preprocessor_path=None)``. Called on the class it returns a new object; called on an
        object it fills that object, which it returns too. Raises `ModelFileError` for a file that is no model.

    Raises
    ------
    DataError
        For an argument of another kind.
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

    def __init__(
        self,
        model_path: _PathLike | None = None,
        *,
        anomaly_ratio: float = 0.05,
        seed: int = 42,
        threshold: ThresholdRule | None = None,
    ) -> None:
        self.anomaly_ratio = checked.share(anomaly_ratio, "anomaly_ratio")
        self.seed = checked.seed(seed)
        self.threshold = checked.rule(threshold)
        self.detector = Detector()
        if model_path is not None:
            self._load(model_path)

    @property
    def model(self) -> BaseIsolationForest:
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
        *,
        declarations: Mapping[str, Declaration] | None = None,
    ) -> AnomalyDetectionAPI:
        """Learn what is normal.

        A fifth of the records, drawn at random by the seed, is set aside, and the threshold, p-values and severity come
        from it under a model that has not seen it, so that they hold for new records. The model is then refit on
        all records, except under `Conformal`, whose guarantee is the first model's. Of 100 to 1,999 records none is set
        aside: a part at a time is left out, and each record judged by what the others teach (but under `Conformal`,
        which sets aside from 500 on). With fewer they come from the training records: p-values are then too small for
        new records (``detector.calibration_.unseen`` is False).

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
        declarations : mapping of str to Declaration, optional
            All that can be said of columns, see `anomaly_detection.data.columns.declarations`; what the other
            arguments say counts more.

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
        numbers = checked.column_names(numerical_features, "numerical_features")
        categories = checked.column_names(categorical_features, "categorical_features")
        measured = checked.column_names(value_cols, "value_cols") or []
        time = checked.column_name(timestamp_col, "timestamp_col")
        roles: dict[str, str | Role | Declaration] = dict(declarations or {})
        roles |= dict.fromkeys([*(numbers or ()), *measured], Role.NUMERIC)
        roles |= dict.fromkeys(categories or (), Role.CATEGORICAL)
        if time is not None:
            roles[time] = Role.TIMESTAMP
        schema = infer_schema(frame, roles)
        listed = [
            role for role, names in ((Role.NUMERIC, numbers), (Role.CATEGORICAL, categories)) if names is not None
        ]
        kept = [column for column in schema.columns if column.role not in listed or column.name in roles]
        forest = make_forest(RECIPE, seed=self.seed, rows=len(frame))
        rule = Contamination(self.anomaly_ratio) if self.threshold is None else copy.deepcopy(self.threshold)
        detector = fit_with_some_aside(make_detector(RECIPE, Schema(tuple(kept)), forest), frame, rule, self.seed)
        detector.training_ = {
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "version": __version__,
            "seed": self.seed,
            "data": {
                "source": "records",
                "rows": len(frame),
                "columns": frame.shape[1],
                "labelled": False,
                "anomaly_ratio": self.anomaly_ratio,
                "fingerprint": fingerprint(frame),
            },
        }
        self.detector = detector
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
            Decision scores: the lower, the more abnormal; negative is abnormal by the trained threshold. With the rule
            `Conformal` the threshold is that of these records together.

        Warns
        -----
        DriftWarning
            If a hundred records or more do not look like those that the model was calibrated on.

        Raises
        ------
        NotFittedError
            Before `fit` or `load_model`.
        DataError
            If a column that the model needs is missing, or a value cannot be used.
        """
        cut = checked.threshold(threshold)
        scores = self.detector.decision_function(data)
        return np.where(scores < cut, -1, 1).astype(np.int64), scores

    def predict_batches(
        self,
        parts: Iterable[Any],
        threshold: float | None = None,
        *,
        progress: Callable[[int], object] | None = None,
    ) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]]:
        """Judge records that come in parts, such as those of a file larger than memory; one part at a time is held.

        Predictions and scores are those of `predict` on all records, bit for bit, but for what looks at records that
        come together: of copies, neighbours, new levels, gaps and late dates it sees those of the part.

        Parameters
        ----------
        parts : iterable of tables
            Taken one by one as results are asked for: ``anomaly_detection.data.chunks.read_chunks(path)``,
            ``pandas.read_csv(path, dtype=str, keep_default_na=False, chunksize=100_000)``, batches of a query. Under
            the rule `Conformal`, whose threshold takes all records, they are gone through twice: give `read_chunks` or
            a list then.
        threshold : float, optional
            As for `predict`.
        progress : callable, optional
            Called with the number of records judged so far, after each part.

        Yields
        ------
        predictions, scores : ndarray (rows,) int64, ndarray (rows,) float64
            Of each part, as `predict` gives them. All are by the model as it was when this was called.

        Warns
        -----
        DriftWarning
            After the last part, as `predict`; of more than a million records, by a random million.

        Raises
        ------
        NotFittedError
            Before `fit` or `load_model`.
        DataError
            For one table instead of several, or what is none; for an iterator, which can be gone through only once,
            under the rule `Conformal`; as `predict` for a part, with its rows named.

        Examples
        --------
        >>> from anomaly_detection.synthetic import generate
        >>> api = AnomalyDetectionAPI().fit(generate("classic", 1000).frame)
        >>> parts = [generate("classic", 100, seed=seed).frame for seed in (7, 8)]
        >>> [len(scores) for predictions, scores in api.predict_batches(parts)]
        [100, 100]
        """
        cut, tell = checked.threshold(threshold), checked.progress(progress)
        return predict_parts(copy.copy(self.detector), parts, cut, tell)

    def predict_p_values(self, data: Any) -> npt.NDArray[np.float64]:
        """How often a usual record scores as low as these do.

        Parameters
        ----------
        data : table
            Records.

        Returns
        -------
        ndarray (rows,) float64
            Conformal p-values in (0, 1]: the share of the calibration records, the record itself counted in, that are
            at least as abnormal; see `Calibration.p_values`. A usual record has one of at most t with a probability of
            at most t. Where the calibration records were not known to be normal, "usual" includes the anomalies
            among them, and p-values are the larger for it.

        Warns
        -----
        DriftWarning
            As `predict`.

        Raises
        ------
        NotFittedError, DataError
            As `predict`; also where the model came without its calibration scores.
        """
        return self.detector.p_values(self._checked_scores(data))

    def severity(self, data: Any) -> npt.NDArray[np.float64]:
        """How far out records are, 0 to 100 (rows,) float64, on a scale that means the same for every model.

        ``25 * log10(1 / p)`` of the p-values, told apart between and beyond the calibration records: 50 is one usual
        record in 100, 75 one in 1,000; see `Calibration.severities`. Warns and raises as `predict_p_values`.
        """
        scores = self._checked_scores(data)
        return self.detector.calibration.severities(scores)

    def _checked_scores(self, data: Any) -> npt.NDArray[np.float64]:
        """Scores, with a warning where the records do not look like those of the calibration."""
        scores = self.detector.score_samples(data)
        warn_of_drift(self.detector.calibration_, scores)
        return scores

    def alerts(self, data: Any, top: int | None = None) -> list[Alert]:
        """Judge records and explain the alerts among them, in one go: `predict` and `explain_anomalies` do it in two.

        Parameters
        ----------
        data : table
            Records.
        top : int, optional
            At most so many, 0 or more; all if not given.

        Returns
        -------
        list of Alert
            Those below the trained threshold with their reasons, the most abnormal first; see
            `anomaly_detection.alerts.alert`.

        Warns
        -----
        DriftWarning
            As `predict`.

        Raises
        ------
        NotFittedError, DataError
            As `predict`; also for a `top` that is no such number.
        """
        most = checked.count(top, "top")
        batch = score_table(self.detector, data)
        warn_of_forms(batch.cleaning)
        warn_of_drift(self.detector.calibration_, batch.scores)
        return batch.alerts(most)

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
            ``explanation`` (str, what stands out in sentences) and ``contributions`` (list of dicts, what stands out
            the most first: ``feature``, ``columns``, ``value``, ``expected``, ``expected_range``, ``direction``,
            ``factor``, ``share``, ``effect`` and ``text``, see `explanations.Contribution`).

        Raises
        ------
        NotFittedError
            Before `fit` or `load_model`.
        DataError
            If the lengths differ, or predictions are other than +1 and -1, as where they and the scores are swapped.
        """
        self.detector.require_fitted()
        frame = to_frame(data)
        verdicts, values = checked.judged(predictions, scores, len(frame))
        rows = np.flatnonzero(verdicts == -1)
        if not rows.size:
            return []
        # The caller may have judged by another threshold than the model's.
        judged = score_table(self.detector, frame).judged_by(verdicts == -1, values)
        return [as_anomaly(alert) for alert in judged.at(rows)]

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
            alerts, n`` and others of `anomaly_detection.evaluation.metrics.Metrics`; plain values.

        Raises
        ------
        DataError
            If the labels are not of one or two classes, or not as many as the records.
        """
        from anomaly_detection.data.labels import check_labels
        from anomaly_detection.evaluation.metrics import evaluate

        truth, frame = check_labels(labels), to_frame(data)
        if len(truth) != len(frame):
            raise DataError(f"There are {len(frame)} records but {len(truth)} labels; give one label a record.")
        predictions, scores = self.predict(frame)
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
            - ``p_value`` (float, above 0 to 1): as `predict_p_values`
            - ``severity`` (float, 0 to 100): as `severity`
            - ``confidence`` (float, 0 to 1): how far the record lies from the threshold, as the share of the
              calibration records on that side that lie nearer to it; see `Calibration.confidence`
            - ``risk_level``: ``critical`` from a severity of 75, ``high`` from 50, ``medium`` from 25, else ``low``

        Raises
        ------
        DataError
            If there is not exactly one record.
        """
        one = is_record(record)
        records = record if one else to_frame(record)
        if not one and len(records) != 1:
            raise DataError(f"detect_anomaly judges one record but got {len(records)}; use predict for several.")
        batch = score_table(self.detector, records)
        warn_of_forms(batch.cleaning)
        return assess(batch, 0)

    def save_model(self, model_path: _PathLike, preprocessor_path: _PathLike | None = None) -> None:
        """Save the model, whose file alone is enough to predict, and on demand the preprocessor by itself too.

        A name that ends in ``.safetensors`` gives a native file, any other a joblib one. Folders are made. Raises
        `NotFittedError` before `fit`, `DataError` where a file cannot be written.
        """
        from anomaly_detection.model_files.persistence import save_detector

        if preprocessor_path is not None:
            checked.file_path(preprocessor_path, "preprocessor_path")
        save_detector(self.detector, checked.file_path(model_path, "model_path"), preprocessor_path)

    load_model = _LoadModel()

    def _load(self, model_path: _PathLike, preprocessor_path: _PathLike | None = None) -> AnomalyDetectionAPI:
        from anomaly_detection.model_files.persistence import load_detector

        if preprocessor_path is not None:
            checked.file_path(preprocessor_path, "preprocessor_path")
        self.detector = load_detector(checked.file_path(model_path, "model_path"), preprocessor_path)
        return self
