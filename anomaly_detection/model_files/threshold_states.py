"""Threshold rules and calibrations, declared for model files."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from anomaly_detection.calibration.p_values import _SHARES, KEPT_SCORES, Calibration
from anomaly_detection.calibration.thresholds import (
    AlertBudget,
    BestAccuracy,
    BestF1,
    Conformal,
    Contamination,
    LowestCost,
)
from mlx_iforest.convert.declared import Kind, OneOf, Optional, Record
from mlx_iforest.convert.declared_values import Array, Flag, Number
from mlx_iforest.offsets import AUTO, HIGHEST, LOWEST, STEP

__all__ = ["CALIBRATION", "RULES", "threshold_fault"]

_BEYOND = 1.001 * STEP
"""So far, and no further, a threshold lies beyond all scores that it is from; rounding included."""


def _calibration_fault(calibration: Calibration) -> str | None:
    if not 1 <= len(calibration.scores) <= KEPT_SCORES:
        return f"expected 1 to {KEPT_SCORES:,} scores"
    for name in ("scores", "quantiles", "learned"):
        values = getattr(calibration, name)
        if values is not None and np.any(values[1:] < values[:-1]):
            return f"expected {name} in ascending order"
    sizes = {len(one) for one in (calibration.quantiles, calibration.learned) if one is not None}
    return None if sizes == {len(_SHARES)} else f"expected {len(_SHARES)} quantiles"


_SCORES = Array("float64", least=-1.0, most=0.0)
CALIBRATION = Record(
    Calibration,
    {
        "scores": Array("float32", least=-1.0, most=0.0),
        "quantiles": _SCORES,
        "unseen": Flag(),
        "labelled": Flag(),
        "learned": Optional(_SCORES),
    },
    _calibration_fault,
)


def _conformal_fault(rule: Conformal) -> str | None:
    calibration = rule.calibration_
    if (calibration is None) != math.isnan(rule.offset_):
        return "expected a threshold and the scores that it is from, or neither"
    if calibration is not None and rule.offset_ != calibration.cut(rule.rate):
        return "'offset_' is not the threshold that its scores give"
    return None


def _rule(of: type, fault: Callable[[Any], str | None] = lambda rule: None, **kinds: Kind) -> Record:
    # Without `fit` the threshold is NaN.
    threshold = Number(LOWEST, HIGHEST, nan=True)
    return Record(of, {**kinds, "offset_": threshold}, fault, optional=("offset_", "calibration_"))


RULES = OneOf(
    _rule(Contamination, ratio=Number()),
    _rule(AlertBudget, rate=Number()),
    _rule(BestAccuracy),
    _rule(BestF1),
    _rule(LowestCost, false_alarm=Number(), miss=Number()),
    _rule(Conformal, _conformal_fault, rate=Number(), calibration_=Optional(CALIBRATION)),
)


def threshold_fault(model: Any, rule: Any, calibration: Calibration | None) -> str | None:
    """Why a detector's threshold cannot be what its rule and its calibration made it; None where it can.

    A threshold beyond all scores would switch alerts off, or let every record alert, and say otherwise.
    """
    offset, fitted = model.offset_, rule is not None and not math.isnan(rule.offset_)
    if fitted and offset != rule.offset_:
        return f"the model's threshold is {offset:.6g}, but its rule's is {rule.offset_:.6g}"
    if calibration is None or (not fitted and abs(offset - AUTO) <= _BEYOND):
        return None
    # Records set aside may all be on one side of a share of the training's.
    if rule is None and calibration.unseen and model.contamination != "auto":
        return None
    # That of a refit model is by the records that it learned from.
    known = [calibration.quantiles, *([] if calibration.learned is None else [calibration.learned])]
    low, high = min(float(scores[0]) for scores in known), max(float(scores[-1]) for scores in known)
    if low - _BEYOND <= offset <= high + _BEYOND:
        return None
    return f"the threshold is {offset:.6g}, but the scores that it is from lie between {low:.6g} and {high:.6g}"
