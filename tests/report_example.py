"""A small report to test with: ten labelled test records, three models, numbers that can be checked by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import numpy as np

from anomaly_detection.alerts.alert import Alert
from anomaly_detection.alerts.causes import Cause
from anomaly_detection.alerts.headline import Headline
from anomaly_detection.alerts.overview import Finding, Overview
from anomaly_detection.alerts.spread import Spread
from anomaly_detection.alerts.totals import CategoryTotals, MoneyTotal, PeriodTotals, Total
from anomaly_detection.calibration.thresholds import Contamination
from anomaly_detection.data.columns.cleaning import CleaningReport, ColumnCleaning
from anomaly_detection.data.columns.column import Column, Role
from anomaly_detection.data.columns.schema import Schema
from anomaly_detection.evaluation.metrics import Metrics, agreement, evaluate
from anomaly_detection.evaluation.model_scores import CurveData, ModelScores
from anomaly_detection.explain.explanations import Contribution, Explanation
from anomaly_detection.settings import Settings
from anomaly_detection.training.baseline import BaselineParameters
from anomaly_detection.training.optimize import SearchResult
from anomaly_detection.training.training_report import (
    DataReport,
    DetectorParameters,
    DetectorReport,
    ModelReport,
    OptimizedReport,
    SplitReport,
    TrainingReport,
)
from mlx_iforest.backends import BackendChoice

LABELS = np.array([-1, -1, -1, -1, 1, 1, 1, 1, 1, 1])
TYPES = ["delay", "delay", "cost_spike", "cost_spike", "", "", "", "", "", ""]
SCORES = {
    # Alerts: three anomalies and one normal record; one anomaly missed.
    "base": np.array([-0.9, -0.8, -0.7, -0.3, -0.6, -0.4, -0.3, -0.2, -0.2, -0.1]),
    # Alerts: all four anomalies, nothing else.
    "optimized": np.array([-0.9, -0.8, -0.7, -0.6, -0.4, -0.4, -0.3, -0.2, -0.2, -0.1]),
    # Alerts: two anomalies and two normal records.
    "sklearn": np.array([-0.9, -0.8, -0.3, -0.3, -0.6, -0.7, -0.3, -0.2, -0.2, -0.1]),
}
THRESHOLD = -0.5


def metrics(**values: Any) -> Metrics:
    """Metrics that are all 0 but for some."""
    nothing = dict.fromkeys(("true_positive", "false_positive", "false_negative", "true_negative"), 0)
    counts: dict[str, Any] = {"confusion_matrix": nothing, "recall_by_type": None, "alerts": 0, "n": 0}
    shares = ("accuracy", "precision", "recall", "f1", "false_positive_rate", "roc_auc", "average_precision")
    return Metrics(**{**dict.fromkeys(shares, 0.0), **counts, **values})


def changed(report: Any, *path: str, **values: Any) -> Any:
    """`report`, or any of its dataclasses, with other values in the part that `path` leads to."""
    if not path:
        return replace(report, **values)
    return replace(report, **{path[0]: changed(getattr(report, path[0]), *path[1:], **values)})


def example(*, labelled: bool = True, models: tuple[str, ...] = tuple(SCORES)) -> tuple[TrainingReport, CurveData]:
    """A report, and what pictures of some of its models are drawn from."""
    scores = {key: ModelScores(values, THRESHOLD) for key, values in SCORES.items()}

    def model(key: str) -> dict[str, Any]:
        judged = scores[key]
        return {
            "metrics": evaluate(LABELS, judged.predictions, judged.scores, TYPES) if labelled else None,
            "fit_seconds": 0.0123,
            "forest_fit_seconds": 0.0023,
            "score_rows_per_second": 1_620_000.0,
            "forest_rows_per_second": 2_620_000.0,
            "peak_memory_bytes": 5_300_000,
            "mlx_peak_memory_bytes": None,
            "model_bytes": 431_233,
            "threshold": THRESHOLD,
            "alerts": int(judged.is_alert.sum()),
        }

    def ours(key: str) -> dict[str, Any]:
        return {
            **model(key),
            "parameters": DetectorParameters(Settings(), 256, 0.4, 7, Contamination(0.4)),
            "compression": None,
            "agreement": agreement(scores[key].predictions, scores["sklearn"].predictions),
            "refit": False,
        }

    columns = (
        Column("when", Role.TIMESTAMP, "dates"),
        Column("cost", Role.NUMERIC, "numbers kept as text", missing=0.25),
        Column("supplier", Role.CATEGORICAL, "4 distinct values"),
    )
    cleaned = ColumnCleaning(from_text=1200, blank=3, unread={"see invoice": 20, "tbd": 11})
    report = TrainingReport(
        created=datetime(2026, 11, 23, 10, 58, 12, tzinfo=timezone.utc),
        version="0.1.0",
        seed=42,
        backend=BackendChoice("numba", "MLX has no GPU here"),
        data=DataReport(
            source="orders.csv",
            rows=1234,
            columns=3,
            labelled=labelled,
            anomaly_ratio=0.4,
            fingerprint={"dtypes": {}, "sha256": "0" * 64},
            schema=Schema(columns),
            cleaning=CleaningReport(1234, {"cost": cleaned}),
        ),
        split=SplitReport("time", 984, 240, 10, time_column="when", note="", shift=None),
        base=DetectorReport(**ours("base")),
        optimized=OptimizedReport(
            **ours("optimized"),
            search=SearchResult(Settings(), ("the base is below 99 %",), 0.99, 40, 31.25, "gain"),
            same_as_base=False,
        ),
        sklearn=ModelReport(**model("sklearn"), parameters=BaselineParameters(("cost",), 100, 256, 1.0, 0.4)),
        oracle=None,
    )
    drawn = {key: scores[key] for key in models}
    return report, CurveData(LABELS if labelled else None, drawn, TYPES if labelled else None)


NO_SEARCH = SearchResult(None, ("the base is good enough",), 0.99)
ORACLE = metrics(
    accuracy=0.997,
    precision=0.985,
    recall=0.948,
    f1=0.966,
    roc_auc=0.9981,
    average_precision=0.985,
    false_positive_rate=0.0008,
)


def alert(row: int, decision: float, reasons: Mapping[str, float], record: Mapping[str, Any]) -> Alert:
    """An alert with reasons, each text with its share of the alert."""
    told = tuple(
        Contribution(text, ("cost",), 912.5, 100.0, None, "high", 9.125, share, -0.1, text)
        for text, share in reasons.items()
    )
    why = Explanation(THRESHOLD + decision, -0.4, True, told, 0.0, "")
    return Alert(row, {}, record, THRESHOLD + decision, THRESHOLD, decision, True, 0.01, 50.0, 0.5, why, "")


def overview(alerts: Sequence[Alert], text: str = "Air", identifiers: tuple[str, ...] = ("order",)) -> Overview:
    """What a model found in 40 records: these alerts, of one cause, with `text` wherever a level may stand."""
    spread = Spread(f"cost of {text}", (1, 0, 4), 1.0, text, ("1", text), False)
    cause = Cause(f"cost {text}", f"cost is high for {text}", tuple(alerts), 1825.0, f"cost {text}")
    totals = (Total("2024-04", 0, 3, 0.0), Total("2024-05", len(alerts), 9, 1825.0))
    return Overview(
        records=40,
        alerts=len(alerts),
        headline=Headline(identifiers, identifiers, "when", f"cost {text}", ("cost",)),
        findings=tuple(Finding(one, "2024-05-01", 912.5, spread if one.reasons else None) for one in alerts),
        causes=(cause,) if alerts else (),
        explained=len(alerts),
        by_time=PeriodTotals("when", "month", totals),
        by_category=(CategoryTotals(("supplier",), (Total(text, len(alerts), 5, 1825.0),), 4),),
        by_money=(MoneyTotal(f"cost {text}", 1825.0, 20000.0),),
    )
