"""A small report to test with: ten labelled test records, three models, numbers that can be checked by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from anomaly_detection.alerts.alert import Alert
from anomaly_detection.evaluation.metrics import METRICS, agreement, evaluate
from anomaly_detection.evaluation.model_scores import CurveData, ModelScores
from anomaly_detection.explain.explanations import Contribution, Explanation

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


def example(*, labelled: bool = True, models: tuple[str, ...] = tuple(SCORES)) -> tuple[dict[str, Any], CurveData]:
    """A report as docs/design.md has it, and what its pictures are drawn from."""
    report: dict[str, Any] = {
        "created": "2026-11-23T10:58:12+00:00",
        "version": "0.1.0",
        "seed": 42,
        "backend": {"name": "numba", "reason": "MLX has no GPU here"},
        "data": {
            "source": "orders.csv",
            "rows": 1234,
            "columns": 3,
            "labelled": labelled,
            "anomaly_ratio": 0.4,
            "schema": [
                {"name": "when", "role": "timestamp", "reason": "dates", "missing": 0.0},
                {"name": "cost", "role": "numeric", "reason": "numbers kept as text", "missing": 0.25},
                {"name": "supplier", "role": "categorical", "reason": "4 distinct values", "missing": 0.0},
            ],
            "cleaning": {
                "rows": 1234,
                "columns": {"cost": {"from_text": 1200, "blank": 3, "unread": {"see invoice": 20, "tbd": 11}}},
            },
        },
        "split": {"method": "time", "train": 984, "validation": 240, "test": 10, "time_column": "when"},
        "oracle": None,
    }
    alerts = {key: np.where(scores < THRESHOLD, -1, 1) for key, scores in SCORES.items()}
    for key in models:
        metrics = evaluate(LABELS, alerts[key], SCORES[key], TYPES).to_dict()
        report[key] = {
            **metrics,
            **({} if labelled else dict.fromkeys(METRICS)),
            "fit_seconds": 0.0123,
            "score_rows_per_second": 1_620_000.0,
            "peak_memory_bytes": 5_300_000,
            "model_bytes": 431_233,
            "threshold": THRESHOLD,
            "forest_fit_seconds": 0.0023,
            "forest_rows_per_second": 2_620_000.0,
            "parameters": {"n_estimators": 100, "max_samples": 256},
            "agreement": agreement(alerts[key], alerts["sklearn"]) if key != "sklearn" else None,
        }
    search = {"ran": False, "reason": "the base is good enough", "trials": 0, "seconds": 0.0}
    if "optimized" in models:
        search = {"ran": True, "reason": "the base is below 99 %", "trials": 40, "seconds": 31.25}
    report.setdefault("optimized", {})["same_as_base"] = "optimized" not in models
    report["optimized"]["search"] = {
        **search,
        "best_validation_accuracy": 0.99 if search["ran"] else None,
    }
    curves = CurveData(
        LABELS if labelled else None,
        {key: ModelScores(SCORES[key], THRESHOLD) for key in models},
        TYPES if labelled else None,
    )
    return report, curves


ORACLE = {
    "accuracy": 0.997,
    "precision": 0.985,
    "recall": 0.948,
    "f1": 0.966,
    "roc_auc": 0.9981,
    "average_precision": 0.985,
    "false_positive_rate": 0.0008,
}


def alert(row: int, decision: float, reasons: Mapping[str, float], record: Mapping[str, Any]) -> Alert:
    """An alert with reasons, each text with its share of the alert."""
    told = tuple(
        Contribution(text, ("cost",), 912.5, 100.0, None, "high", 9.125, share, -0.1, text)
        for text, share in reasons.items()
    )
    why = Explanation(row - 1, THRESHOLD + decision, -0.4, True, told, 0.0, "")
    return Alert(row, {}, record, THRESHOLD + decision, THRESHOLD, decision, True, 0.01, 0.5, why, "")
