"""`TrainingReport`: what a training run found out, as values; `to_dict` gives what ``report.json`` holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from anomaly_detection.calibration.rule_words import rule_words
from anomaly_detection.calibration.thresholds import ThresholdRule
from anomaly_detection.compression import Compressed
from anomaly_detection.data.columns.schema import CleaningReport, Schema
from anomaly_detection.evaluation.metrics import METRICS, Metrics
from anomaly_detection.settings import FORESTS, Settings
from anomaly_detection.training.optimize import SearchResult
from mlx_iforest.backends import BackendChoice

if TYPE_CHECKING:
    # scikit-learn's ensembles are slow to import, and commands that train nothing print reports' units too.
    from anomaly_detection.training.baseline import BaselineParameters

__all__ = [
    "DataReport",
    "DetectorParameters",
    "DetectorReport",
    "ModelReport",
    "OptimizedReport",
    "Shift",
    "SplitReport",
    "TrainingReport",
]

_REFITTED = (
    "refit on all records after the figures were measured; threshold and calibration are by scores of the validation"
    " part under the measured model, which had not seen it"
)
_SETTLED = (
    "refit on the whole sample after the figures were measured; threshold by the scores of all {rows:,} records, and"
    " p-values by those that are not in the sample, where they are enough"
)
_ORACLE = ("accuracy", "precision", "recall", "f1", "roc_auc", "average_precision", "false_positive_rate")


@dataclass(frozen=True)
class DataReport:
    """The records that a run was given.

    `source` is a file's name, or that of a synthetic profile; `anomaly_ratio` the share of anomalies, counted where
    there are labels, else expected. `schema` is of the training part, `cleaning` of all records. `timestamp` and
    `identifiers` are the columns that were named as such.
    """

    source: str
    rows: int
    columns: int
    labelled: bool
    anomaly_ratio: float
    fingerprint: Mapping[str, Any]
    schema: Schema
    cleaning: CleaningReport
    timestamp: str | None = None
    identifiers: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for the report."""
        own = {**vars(self), "identifiers": list(self.identifiers)}
        return {**own, "schema": self.schema.to_dict()["columns"], "cleaning": self.cleaning.to_dict()}


@dataclass(frozen=True)
class Shift:
    """The test part differs from the records before it: two alert rates, and by `column_shifts` what differs most."""

    validation_alert_rate: float
    test_alert_rate: float
    columns: Mapping[str, float]


@dataclass(frozen=True)
class SplitReport:
    """The parts' numbers of rows, and how they were parted; `time_column` where by time, `shift` where they differ."""

    method: str
    train: int
    validation: int
    test: int
    time_column: str | None
    note: str
    shift: Shift | None


@dataclass(frozen=True)
class DetectorParameters:
    """What a detector was made with; `threshold_rule` learned from the validation part, the rest from the training."""

    settings: Settings
    max_samples: int
    contamination: str | float
    features: int
    threshold_rule: ThresholdRule

    @property
    def forest(self) -> str:
        """What kind of forest it is, in words."""
        return FORESTS[self.settings.forest]

    @property
    def rule_alone(self) -> str:
        """How the threshold was set."""
        rule = self.threshold_rule
        given: dict[str, Any] = {}
        if is_dataclass(rule):
            given = {one.name: getattr(rule, one.name) for one in fields(rule) if one.init}
        return rule_words(type(rule).__name__, given)

    @property
    def rule_in_words(self) -> str:
        """How the threshold was set, and on what."""
        return f"{self.rule_alone}, by the validation part"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for the report."""
        own = {name: value for name, value in vars(self).items() if name != "settings"}
        words = {"forest": self.forest, "threshold_rule": self.rule_in_words, "trained_on": "training part"}
        return {**self.settings.to_dict(), **own, **words}


@dataclass(frozen=True)
class ModelReport:
    """One model's figures of the test part, and what it cost; docs/report.md says what each is.

    `metrics` is None without labels, `mlx_peak_memory_bytes` where MLX was not loaded.
    """

    metrics: Metrics | None
    fit_seconds: float
    score_rows_per_second: float
    forest_rows_per_second: float
    peak_memory_bytes: int
    mlx_peak_memory_bytes: int | None
    model_bytes: int
    threshold: float
    alerts: int
    parameters: DetectorParameters | BaselineParameters
    forest_fit_seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for the report."""
        measured = {} if self.metrics is None else self.metrics.to_dict()
        figures = {name: value for name, value in vars(self).items() if name != "metrics"}
        return {**{name: measured.get(name) for name in METRICS}, **figures, "parameters": self.parameters.to_dict()}


@dataclass(frozen=True)
class DetectorReport(ModelReport):
    """The figures of one of our models.

    `compression` is None where none was asked for, `agreement` that with the baseline's alerts, `refit` whether the
    saved model was refit on all records; else it is the measured one. `settled` says by how many records its threshold
    is, where it learned from a sample of them.
    """

    parameters: DetectorParameters
    compression: Compressed | None
    agreement: float
    refit: bool
    settled: int | None = field(default=None, kw_only=True)

    @property
    def rule_in_words(self) -> str:
        """How the threshold of the saved model was set, and on what."""
        if self.settled is None:
            return self.parameters.rule_in_words
        return f"{self.parameters.rule_alone}, by all {self.settled:,} records"

    @property
    def saved_model(self) -> str:
        """What is saved, in words."""
        if not self.refit:
            return "the measured model"
        return _REFITTED if self.settled is None else _SETTLED.format(rows=self.settled)

    def to_dict(self) -> dict[str, Any]:
        """`ModelReport.to_dict`, ``compression`` only where there is any."""
        found = super().to_dict()
        found["parameters"]["saved_model"] = self.saved_model
        found["parameters"]["threshold_rule"] = self.rule_in_words
        del found["compression"], found["settled"]
        return found if self.compression is None else {**found, "compression": asdict(self.compression)}


@dataclass(frozen=True)
class OptimizedReport(DetectorReport):
    """The optimised model's figures, the search for its settings, and whether it is the base model."""

    search: SearchResult
    same_as_base: bool

    def to_dict(self) -> dict[str, Any]:
        """`DetectorReport.to_dict`."""
        return {**super().to_dict(), "search": self.search.to_dict()}


@dataclass(frozen=True)
class TrainingReport:
    """What a training run found out.

    `sklearn` is the baseline, `oracle` the best possible detector where the records' origin is known. `files` has the
    names of each model's files, None where none were written.
    """

    created: datetime
    version: str
    seed: int
    backend: BackendChoice
    data: DataReport
    split: SplitReport
    base: DetectorReport
    optimized: OptimizedReport
    sklearn: ModelReport
    oracle: Metrics | None
    files: Mapping[str, Mapping[str, str]] | None = None

    def settled(self, rows: int) -> TrainingReport:
        """The same of models whose thresholds are by so many records, of which they learned from a sample."""
        return replace(self, base=replace(self.base, settled=rows), optimized=replace(self.optimized, settled=rows))

    @property
    def models(self) -> dict[str, ModelReport]:
        """The figures by model, in the order in which people see them."""
        return {"base": self.base, "optimized": self.optimized, "sklearn": self.sklearn}

    @property
    def metrics(self) -> dict[str, Metrics]:
        """Each model's metrics; empty without labels."""
        return {key: model.metrics for key, model in self.models.items() if model.metrics is not None}

    def to_dict(self) -> dict[str, Any]:
        """Plain values: what ``report.json`` holds."""
        found = {
            "created": self.created.isoformat(timespec="seconds"),
            "version": self.version,
            "seed": self.seed,
            "backend": asdict(self.backend),
            "data": self.data.to_dict(),
            "split": asdict(self.split),
            **{key: model.to_dict() for key, model in self.models.items()},
            "oracle": None if self.oracle is None else {name: getattr(self.oracle, name) for name in _ORACLE},
        }
        return found if self.files is None else {**found, "files": self.files}

    def of_model(self, key: str) -> dict[str, Any]:
        """What the model `key` remembers of how it was trained, of plain values: the run and its own figures."""
        found = self.to_dict()
        run = {name: found[name] for name in ("created", "version", "seed", "backend", "split")}
        data = {name: value for name, value in found["data"].items() if name not in ("schema", "cleaning")}
        return {**run, "data": data, "model": key, **found[key]}
