"""What a training run finds out of its models: their figures, and why a test part differs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from anomaly_detection.data.columns.schema import Schema
from anomaly_detection.evaluation.metrics import Metrics, agreement, evaluate
from anomaly_detection.evaluation.model_scores import ModelScores
from anomaly_detection.synthetic import SyntheticData
from anomaly_detection.training.fitting import FittedDetector, FittedModel
from anomaly_detection.training.parts import Part
from anomaly_detection.training.performance import model_bytes, rows_per_second
from anomaly_detection.training.shift import column_shifts, rate_changed
from anomaly_detection.training.training_report import DetectorReport, ModelReport, Shift

__all__ = ["classic_test_oracle", "explain_shift", "judge_detector", "judge_model"]

_SHIFTED_COLUMNS = 3


def judge_model(
    model: FittedModel,
    scores: ModelScores,
    test: Part,
    types: Sequence[Any] | None,
    score_forest: Callable[[], object],
) -> ModelReport:
    """One model's figures of the test part; `score_forest` scores it as the forest sees it, to be timed."""
    rows = len(test.frame)
    return ModelReport(
        metrics=None if test.labels is None else evaluate(test.labels, scores.predictions, scores.scores, types),
        fit_seconds=model.cost.seconds,
        score_rows_per_second=rows_per_second(lambda: model.scorer.score_samples(test.frame), rows),
        forest_rows_per_second=rows_per_second(score_forest, rows),
        peak_memory_bytes=model.cost.peak_memory_bytes,
        mlx_peak_memory_bytes=model.cost.mlx_peak_memory_bytes,
        model_bytes=model_bytes(model.scorer),
        threshold=scores.threshold,
        alerts=int(scores.is_alert.sum()),
        parameters=model.parameters,
        forest_fit_seconds=model.forest_seconds,
    )


def judge_detector(
    model: FittedDetector,
    features: npt.NDArray[np.float32],
    scores: ModelScores,
    test: Part,
    types: Sequence[Any] | None,
    baseline: ModelScores,
    *,
    refit: bool,
) -> DetectorReport:
    """One of our models' figures of the test part, by its `features`; `refit` says what is to be saved."""
    seen = model.scorer.scaled(features)
    judged = judge_model(model, scores, test, types, lambda: model.scorer.model.score_samples(seen))
    return DetectorReport(
        **vars(judged),
        compression=model.compressed,
        agreement=agreement(scores.predictions, baseline.predictions),
        refit=refit,
    )


def classic_test_oracle(test: Part, anomaly_ratio: float) -> Metrics | None:
    """The oracle on the test part of `classic` data; None without labels."""
    from anomaly_detection.evaluation.oracle import classic_oracle

    if test.labels is None:
        return None
    unknown = np.full(len(test.labels), "")
    return classic_oracle(SyntheticData(test.frame, test.labels, unknown, unknown), anomaly_ratio=anomaly_ratio)


def explain_shift(
    model: FittedDetector, scores: ModelScores, schema: Schema, training: Part, validation: Part, test: Part
) -> Shift | None:
    """Why the test part has far more or far fewer alerts than the validation part; None where it has not."""
    before, after = model.validation.is_alert, scores.is_alert
    if not rate_changed(int(before.sum()), len(before), int(after.sum()), len(after)):
        return None
    shifts = column_shifts(schema, pd.concat([training.frame, validation.frame]), test.frame)
    return Shift(float(before.mean()), float(after.mean()), dict(list(shifts.items())[:_SHIFTED_COLUMNS]))
