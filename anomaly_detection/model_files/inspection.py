"""What a model file holds: how its model was trained, how it scores, how large it is and what would run it here."""

from __future__ import annotations

import os
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from anomaly_detection.data.json_values import plain
from anomaly_detection.detector import Detector
from anomaly_detection.model_files.persistence import load_with_facts
from anomaly_detection.settings import FORESTS
from anomaly_detection.training.performance import model_bytes
from mlx_iforest import BlendedIsolationForest
from mlx_iforest.backends import BackendUnavailableError, choose_backend

__all__ = ["inspect_model"]


def inspect_model(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Tell what a model file holds.

    Parameters
    ----------
    path : path
        A model in either format.

    Returns
    -------
    dict
        Plain values, fit for JSON: ``file`` (``path``, ``bytes``, ``format``, ``format_version``,
        ``library_version``), ``training`` (what the training run left, {} where nothing is known), ``columns`` (a list
        of ``name`` and ``role``), ``features`` (``made``, and ``seen``, those that the forest sees), ``forest``
        (``kind``, ``trees``, ``samples``, ``nodes``, ``depth``, ``bytes`` in memory, ``stored_bytes``,
        ``quantized_bits``, ``pruned``, ``oblique``), ``threshold`` (``score``, below which a record is an alert,
        ``rule`` and its ``parameters``, ``by_batch``), ``calibration`` (``scores``, ``unseen``, ``labelled``) or
        None, ``memory_bytes``, and ``backend`` (``name``, or None where none can, ``reason``, ``asked_for``, and
        ``best``, what 'auto' would take here).

    Raises
    ------
    ModelFileError
        As `load_detector`.
    """
    path = Path(path)
    detector, facts = load_with_facts(path)
    found: dict[str, Any] = plain(
        {"file": {"path": path, "bytes": path.stat().st_size, **asdict(facts)}, **_parts(detector)}
    )
    return found


def _parts(detector: Detector) -> dict[str, Any]:
    model, preprocessor = detector.model, detector.preprocessor
    rule: Any = detector.threshold_rule
    forest, calibration = model.forest_, detector.calibration_
    return {
        "training": dict(detector.training_),
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
        "memory_bytes": forest.nbytes + model_bytes((preprocessor, detector.scaler)),
        "backend": _backend(model.backend),
    }


def _kind(model: Any) -> str:
    if isinstance(model, BlendedIsolationForest):
        return FORESTS["blended"]
    return FORESTS["density" if model.scoring == "density" else "classic"]


def _backend(asked: str) -> dict[str, Any]:
    best = choose_backend("auto")
    found: dict[str, Any] = {"asked_for": asked, "best": asdict(best)}
    try:
        choice = best if asked == "auto" else choose_backend(asked)
    except BackendUnavailableError as error:
        return {**found, "name": None, "reason": str(error)}
    return {**found, "name": choice.name, "reason": choice.reason}
