"""What a training run finds out: each model's entry of the report, its worst alerts, and why a test part differs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from anomaly_detection.alerts.alert import Alert
from anomaly_detection.alerts.scoring import score_table
from anomaly_detection.data.schema import Schema
from anomaly_detection.detector import Detector
from anomaly_detection.evaluation.metrics import METRICS, evaluate
from anomaly_detection.synthetic import SyntheticData
from anomaly_detection.training.fitting import FittedModel, Part
from anomaly_detection.training.performance import model_bytes, rows_per_second
from anomaly_detection.training.shift import column_shifts, rate_changed

__all__ = ["classic_test_oracle", "explain_shift", "judge_model", "predictions", "summarise", "top_alerts"]

_TOP_ALERTS = 10
_SHIFTED_COLUMNS = 3


def predictions(scores: npt.NDArray[np.float64], threshold: float) -> npt.NDArray[np.int64]:
    """-1 (anomaly) where a score is below the threshold, else +1."""
    return np.where(scores < threshold, -1, 1).astype(np.int64)


def judge_model(
    model: FittedModel,
    scores: npt.NDArray[np.float64],
    test: Part,
    types: Sequence[Any] | None,
    prepared: npt.NDArray[Any],
) -> dict[str, Any]:
    """One model's entry of the report; `prepared` is the test part as its forest sees it."""
    predicted = predictions(scores, model.threshold)
    metrics: dict[str, Any] = dict.fromkeys(METRICS)
    if test.labels is not None:
        measured = evaluate(test.labels, predicted, scores, types).to_dict()
        metrics = {name: measured[name] for name in METRICS}
    rows = len(test.frame)
    rate = rows_per_second(lambda: model.scorer.score_samples(test.frame), rows)
    return {
        **metrics,
        "fit_seconds": model.fitting.seconds,
        "score_rows_per_second": rate,
        "forest_rows_per_second": rows_per_second(lambda: model.forest.score_samples(prepared), rows),
        "peak_memory_bytes": model.fitting.peak_memory_bytes,
        "mlx_peak_memory_bytes": model.fitting.mlx_peak_memory_bytes,
        "model_bytes": model_bytes(model.scorer),
        "threshold": model.threshold,
        "alerts": int((predicted == -1).sum()),
        "parameters": model.parameters,
        **model.more,
    }


def classic_test_oracle(test: Part, types: Sequence[Any] | None, anomaly_ratio: float) -> dict[str, float | None]:
    """The oracle on the test part of `classic` data."""
    from anomaly_detection.evaluation.oracle import classic_oracle

    assert test.labels is not None
    unknown = np.full(len(test.labels), "")
    data = SyntheticData(test.frame, test.labels, unknown if types is None else np.asarray(types), unknown)
    found = classic_oracle(data, anomaly_ratio=anomaly_ratio)
    return {name: value if value is not None and math.isfinite(value) else None for name, value in found.items()}


def explain_shift(
    model: FittedModel,
    scores: npt.NDArray[np.float64],
    schema: Schema,
    training: Part,
    validation: Part,
    test: Part,
) -> dict[str, Any] | None:
    """Why the test part has far more or far fewer alerts than the validation part; None where it has not."""
    alerts, before, rows = int((scores < model.threshold).sum()), len(validation.frame), len(test.frame)
    if not rate_changed(model.validation_alerts, before, alerts, rows):
        return None
    shifts = column_shifts(schema, pd.concat([training.frame, validation.frame]), test.frame)
    return {
        "validation_alert_rate": model.validation_alerts / before,
        "test_alert_rate": alerts / rows,
        "columns": dict(list(shifts.items())[:_SHIFTED_COLUMNS]),
    }


def summarise(report: dict[str, Any], base: Detector, optimized: Detector, *, refitted: bool) -> None:
    """Leave in each detector how it was trained, and in the report what is in the saved files."""
    saved = (
        "refit on all records after the figures were measured; threshold and calibration are by scores of the"
        " validation part under the measured model, which had not seen it"
        if refitted
        else "the measured model"
    )
    shared = {key: report[key] for key in ("created", "version", "seed", "backend", "split")}
    facts = ("source", "rows", "columns", "labelled", "anomaly_ratio", "fingerprint")
    shared["data"] = {key: report["data"][key] for key in facts}
    for key, detector in (("base", base), ("optimized", optimized)):
        report[key]["parameters"]["saved_model"] = saved
        report[key]["refit"] = refitted
        detector.training_ = {**shared, "model": key, **report[key]}


def top_alerts(model: FittedModel, frame: pd.DataFrame, positions: npt.NDArray[np.int64]) -> list[Alert]:
    """The worst alerts with their reasons; `positions` are the rows' places in the input, from 0."""
    return replace(score_table(model.detector, frame), rows=positions.astype(np.int64) + 1).alerts(_TOP_ALERTS)
