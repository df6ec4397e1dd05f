"""What an `Alert` looks like to others: each form in one function, with the names that its readers know."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt
import pandas as pd

from anomaly_detection.alerts.alert import Alert
from anomaly_detection.alerts.batch import Batch
from anomaly_detection.calibration.p_values import RiskLevel, risk_level
from anomaly_detection.data.json_values import plain
from anomaly_detection.errors import DataError
from anomaly_detection.trained_detector import NO_CALIBRATION

__all__ = [
    "FOUND",
    "Assessment",
    "as_anomaly",
    "as_columns",
    "as_json",
    "assess",
    "free_names",
    "shown",
]

FOUND = ("anomaly_score", "severity", "p_value", "is_anomaly", "reason")
"""The columns that `as_columns` adds to records that have none of these names."""


class Assessment(TypedDict):
    """What `AnomalyDetectionAPI.detect_anomaly` says of a record."""

    is_anomaly: bool
    anomaly_score: float
    p_value: float
    severity: float
    confidence: float
    risk_level: RiskLevel


def assess(batch: Batch, place: int) -> Assessment:
    """For `AnomalyDetectionAPI.detect_anomaly`; ``anomaly_score`` is the decision. `DataError` without calibration."""
    calibration, threshold = batch.detector.calibration_, batch.threshold
    if calibration is None or threshold is None:
        raise DataError(NO_CALIBRATION)
    p_value, decision = float(batch.p_values[place]), float(batch.decisions[place])
    far = float(batch.severities[place])
    return {
        "is_anomaly": bool(batch.is_alert[place]),
        "anomaly_score": decision,
        "p_value": p_value,
        "severity": far,
        "confidence": calibration.confidence(decision, threshold),
        "risk_level": risk_level(far),
    }


def as_anomaly(alert: Alert) -> dict[str, Any]:
    """For `AnomalyDetectionAPI.explain_anomalies`; ``index`` counts rows from 0, ``score`` is the decision."""
    return {
        "index": alert.row - 1,
        "score": alert.decision,
        "data_point": plain(alert.record),
        "explanation": alert.sentence,
        "contributions": _contributions(alert),
    }


def as_json(alert: Alert) -> dict[str, Any]:
    """For ``explain --json``; ``row`` counts from 1, ``anomaly_score`` is the decision. `DataError` as above.

    Only for one with reasons, by the model's own threshold.
    """
    if alert.p_value is None:
        raise DataError(NO_CALIBRATION)
    assert alert.explanation is not None
    facts = {
        "row": alert.row,
        "is_anomaly": alert.is_alert,
        "anomaly_score": alert.decision,
        "score": alert.score,
        "threshold": alert.threshold,
        "usual_score": alert.explanation.base,
        "p_value": alert.p_value,
        "severity": alert.severity,
        "reason": alert.sentence,
        "contributions": _contributions(alert),
        "rest": alert.explanation.rest,
        "record": alert.record,
    }
    plain_facts: dict[str, Any] = plain(facts)
    return plain_facts


def as_columns(batch: Batch, places: npt.NDArray[np.int64], sentences: Sequence[str], *, whole: bool) -> pd.DataFrame:
    """For tables that ``score`` writes: records with what was found, as columns; ``anomaly_score`` is the decision.

    The records at some `places`, in their order, or the `whole` batch, with the reasons of those in `sentences`. The
    index is the records' own, and so are all of their columns: those of `FOUND` go by `free_names`. Raises `DataError`
    without calibration.
    """
    reasons = np.full(len(batch), "", dtype=object)
    reasons[places] = sentences
    values = (batch.decisions, batch.severities, batch.p_values, batch.is_alert, reasons)
    names = free_names(FOUND, batch.frame.columns).values()
    found = batch.frame.assign(**dict(zip(names, values, strict=True)))
    return found if whole else found.iloc[places]


def free_names(ours: Iterable[str], taken: Collection[str]) -> dict[str, str]:
    """Give each of our columns a name that the records do not have: its own, or one with ``scored_`` before it.

    Names that differ in capitals alone are the same to databases and to Spark.
    """
    free = {}
    lower = {str(name).lower() for name in taken}
    for name in ours:
        free[name] = name
        while free[name] in lower:
            free[name] = f"scored_{free[name]}"
    return free


def shown(value: Any) -> str:
    """A value of a record for people: a day without midnight, a number with two decimals at most, "-" for none."""
    if isinstance(value, datetime) and value == value:
        return f"{value:%Y-%m-%d %H:%M}".removesuffix(" 00:00")
    value = plain(value)
    if value is None:
        return "-"
    if not isinstance(value, float):
        return str(value)
    return f"{value:.2f}".rstrip("0").rstrip(".") if abs(value) >= 1.0 else f"{value:.3g}"


def _contributions(alert: Alert) -> Any:
    return [] if alert.explanation is None else alert.explanation.to_dict()["contributions"]
