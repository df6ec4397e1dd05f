"""What a model file says of itself, for `inspect`: noted when it is written, so that reading it needs no model."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from anomaly_detection.data.json_values import plain
from anomaly_detection.settings import FORESTS
from anomaly_detection.trained_detector import TrainedDetector
from mlx_iforest import BlendedIsolationForest

__all__ = ["facts"]


def facts(detector: TrainedDetector, size: int) -> dict[str, Any]:
    """What is to be said of a fitted detector, of plain JSON values; see `inspect_model`.

    Parameters
    ----------
    detector : Detector
    size : int
        Bytes that its preprocessor and its scaler take.

    Returns
    -------
    dict
        What `inspect_model` gives, but for ``file`` and ``backend``; ``asked_for`` is the backend that was asked for.
    """
    model, preprocessor = detector.model, detector.preprocessor
    rule: Any = detector.threshold_rule
    forest, calibration = model.forest_, detector.calibration_
    found: dict[str, Any] = {
        "training": detector.training_,
        "columns": [{"name": column.name, "role": column.role} for column in preprocessor.schema_.columns],
        "features": {"made": len(preprocessor.get_feature_names_out()), "seen": detector.feature_names},
        "forest": {
            "kind": _kind(model),
            "trees": forest.n_trees,
            "samples": model.max_samples_,
            "nodes": forest.n_nodes,
            "depth": forest.max_depth,
            "bytes": forest.nbytes,
            "stored_bytes": model.model_bytes(),
            "quantized_bits": model.quantized_bits_,
            "pruned": model.pruned_,
            "oblique": forest.direction_weight is not None,
        },
        "threshold": {
            "score": model.offset_,
            "rule": None if rule is None else type(rule).__name__,
            "parameters": {}
            if rule is None
            else {one.name: getattr(rule, one.name) for one in fields(rule) if one.init},
            "by_batch": rule is not None and rule.needs_batch,
        },
        "calibration": None
        if calibration is None
        else {
            "scores": len(calibration.scores),
            "unseen": calibration.unseen,
            "labelled": calibration.labelled,
        },
        "memory_bytes": forest.nbytes + size,
        "asked_for": model.backend,
    }
    told: dict[str, Any] = plain(found)
    return told


def _kind(model: Any) -> str:
    if isinstance(model, BlendedIsolationForest):
        return FORESTS["blended"]
    return FORESTS["density" if model.scoring == "density" else "classic"]
