"""Native model files: a detector, or its preprocessor, as one safetensors file; arrays as tensors, all else as JSON."""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import safetensors
import safetensors.numpy

from anomaly_detection.data.columns.schema import Role
from anomaly_detection.errors import DataError, ModelFileError, first_line
from anomaly_detection.features.evidence.lessons import Lessons
from anomaly_detection.features.trained_features import TrainedFeatures
from anomaly_detection.model_files.evidence_states import LESSONS
from anomaly_detection.model_files.feature_states import FEATURES
from anomaly_detection.model_files.header import (
    FORMATS,
    LARGEST_HEADER,
    NATIVE_VERSION,
    HeaderError,
    NativeKind,
    checksum,
    dumped,
    loaded,
    read_header,
    refuse_halves,
)
from anomaly_detection.model_files.scaler_states import Scaler
from anomaly_detection.model_files.threshold_states import CALIBRATION, RULES, threshold_fault
from anomaly_detection.model_files.undeclared_values import Free
from anomaly_detection.trained_detector import TrainedDetector
from mlx_iforest import __version__
from mlx_iforest.convert.declared import Arrays, Kind, Optional, StateError, shown
from mlx_iforest.convert.declared_values import Strings
from mlx_iforest.state import MODEL

__all__ = ["Native", "from_bytes", "to_bytes"]

_TRIED: dict[Role, list[Any]] = {
    Role.NUMERIC: [1.0, None, 0.0, -1.0, 1e6],
    Role.TIMESTAMP: [
        pd.Timestamp(day) for day in ("2024-01-01", "NaT", "1999-12-31", "2024-02-29 12:30", "2100-06-01")
    ],
}


@dataclass(frozen=True)
class Native:
    """What a native file holds, without the estimators that it was made of: see `TrainedDetector`.

    Attributes
    ----------
    kind : {"detector", "preprocessor"}
    library_version : str
        Of what wrote it.
    parts : dict
        ``preprocessor`` and, of a detector, ``scaler``, ``model``, ``feature_names``, ``threshold_rule``,
        ``calibration``, ``training`` and, where verdicts have taught it, ``lessons``.
    """

    kind: NativeKind
    library_version: str
    parts: dict[str, Any]


def _parts(kind: NativeKind, n_features: int | None = None) -> dict[str, Kind]:
    """The parts, in the order in which they are read."""
    if kind == "preprocessor":
        return {"preprocessor": FEATURES}
    return {
        "preprocessor": FEATURES,
        "scaler": Scaler(n_features),
        "model": MODEL,
        "feature_names": Strings(lambda names: names.tolist()),
        "threshold_rule": Optional(RULES),
        "calibration": Optional(CALIBRATION),
        "training": Free(),
        "lessons": LESSONS,
    }


_OPTIONAL = {"lessons"}
"""What a file holds only where there is something to hold; earlier ones never do."""


def to_bytes(whole: TrainedDetector | TrainedFeatures) -> bytes:
    """A fitted detector, or a preprocessor alone, as a native file's bytes; the same one gives the same bytes.

    Raises
    ------
    DataError
        For a part that the format does not know, such as a scaler or a threshold rule of one's own.
    """
    kind: NativeKind = "detector" if isinstance(whole, TrainedDetector) else "preprocessor"
    arrays: Arrays = {}
    lessons = Lessons()
    if isinstance(whole, TrainedDetector) and whole.lessons_:
        # What they have moved follows from them.
        lessons, whole = whole.lessons_, copy.copy(whole).learn(lessons)
    try:
        texts = {
            name: dumped(one.encode(lessons if name in _OPTIONAL else _of(whole, name), name, arrays))
            for name, one in _parts(kind).items()
            if lessons or name not in _OPTIONAL
        }
        for text in texts.values():
            refuse_halves(text)
    except (StateError, HeaderError) as error:
        raise DataError(
            f"This {kind} cannot be a model file ({first_line(error)}); use what the library brings instead, or keep it"
            " with joblib.dump, whose files run what is in them."
        ) from error
    if isinstance(whole, TrainedDetector) and (
        fault := threshold_fault(whole.model, whole.threshold_rule, whole.calibration_)
    ):
        raise DataError(f"This detector cannot be a model file: {fault}; call set_threshold with a rule and scores.")
    if isinstance(whole, TrainedDetector):
        from anomaly_detection.model_files.facts import facts

        texts["about"] = dumped(facts(whole, _size(texts, arrays)))
    texts |= {"format": FORMATS[kind], "format_version": str(NATIVE_VERSION), "library_version": __version__}
    made = safetensors.numpy.save(arrays, texts)
    size = 8 + int.from_bytes(made[:8], "little")
    # safetensors writes the metadata in an order that changes from process to process.
    header, payload = json.loads(made[8:size]), memoryview(made)[size:]
    header["__metadata__"]["checksum"] = checksum(header, payload)
    text = dumped(header, sort_keys=True)
    text += " " * (-len(text) % 8)
    if len(text) > LARGEST_HEADER:
        raise DataError(
            f"This {kind}'s texts take {len(text):,} bytes, and a model file holds {LARGEST_HEADER:,}; give columns"
            " of fewer categories, or a shorter training summary."
        )
    return b"".join([len(text).to_bytes(8, "little"), text.encode(), payload])


def _size(texts: Mapping[str, str], arrays: Arrays) -> int:
    """Bytes of what comes before the model: its preprocessor and its scaler."""
    before = ("preprocessor", "scaler")
    kept = sum(array.nbytes for name, array in arrays.items() if name.partition("/")[0] in before)
    return kept + sum(len(texts[name]) for name in before)


def _of(whole: TrainedDetector | TrainedFeatures, name: str) -> Any:
    if not isinstance(whole, TrainedDetector):
        return whole
    return getattr(whole, f"{name}_" if name in ("calibration", "training") else name)


def from_bytes(data: bytes, path: str) -> Native:
    """What a native file's bytes hold, checked; `path` is what messages call the file.

    Raises
    ------
    ModelFileError
        They are damaged, from a newer library, or hold what no model file holds.
    """
    header = read_header(data, path)
    try:
        arrays = safetensors.numpy.load(data)
        del data
        found = {name: loaded(text) for name, text in header.texts.items()}
        return Native(header.kind, header.library_version, _decoded(header.kind, found, arrays))
    except (StateError, safetensors.SafetensorError, LookupError, ValueError, RecursionError) as error:
        raise ModelFileError(
            f"{path} holds what no model file holds ({first_line(error)}); get the file again, or train the model"
            " again."
        ) from error


def _decoded(kind: NativeKind, found: Mapping[str, Any], arrays: Arrays) -> dict[str, Any]:
    parts: dict[str, Any] = {}
    if found.keys() | _OPTIONAL != _parts(kind).keys() | _OPTIONAL:
        raise StateError(f"expected the parts {', '.join(_parts(kind))}")
    for name in [each for each in _parts(kind) if each in found]:
        made = len(parts["preprocessor"].get_feature_names_out()) if "preprocessor" in parts else None
        parts[name] = _parts(kind, made)[name].decode(found[name], name, arrays)
    if arrays:
        raise StateError(f"nothing refers to the array {shown(next(iter(arrays)))}")
    _try(parts)
    if kind == "preprocessor":
        return parts
    if not isinstance(parts["training"], dict):
        raise StateError("training: expected an object")
    if fault := threshold_fault(parts["model"], parts["threshold_rule"], parts["calibration"]):
        raise StateError(f"model/offset_: {fault}")
    detector = TrainedDetector(parts["preprocessor"], parts["scaler"], parts["model"])
    if parts["feature_names"] != detector.feature_names or len(parts["feature_names"]) != detector.model.n_features_in_:
        raise StateError("feature_names: they are not those that the scaler gives the model")
    # No file says how many threads it may take.
    detector.model.n_jobs = -1
    return parts


def _try(parts: Mapping[str, Any]) -> None:
    """Run made-up records through the features: what does not go together fails here, and not in use."""
    features = parts["preprocessor"]
    n_rows = len(_TRIED[Role.NUMERIC])
    words = ["x", None, *["y"] * (n_rows - 2)]
    rows = pd.DataFrame({one.name: _TRIED.get(one.role, words) for one in features.schema_.columns})
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            extended, _ = features.extend(rows)
            made = features.features_of(extended)
            features.in_units(extended)
            features.ranges_in_units(extended)
            scaled = parts["scaler"].transform(made) if "scaler" in parts else made
    except Exception as error:  # parts that do not fit each other can raise anything
        raise StateError(f"preprocessor: its parts do not go together: {type(error).__name__}: {error}") from error
    if np.isinf(made).any() or np.isinf(np.asarray(scaled, dtype=np.float32)).any():
        raise StateError("preprocessor: it makes infinite features of usual records")
