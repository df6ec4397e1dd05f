"""The native model file: a whole detector in one safetensors file, arrays as tensors and all else as JSON."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import safetensors
import safetensors.numpy

from mlx_iforest import __version__
from mlx_iforest.declared import Arrays, Kind, Maybe, OneOf, Record, StateError, shown
from mlx_iforest.declared_values import Array, Flag, Number, Strings
from mlx_iforest.persistence import MODEL

from .calibration import _SHARES, Calibration
from .columns_state import Scaler
from .detector import Detector
from .errors import DataError, ModelFileError, first_line
from .feature_state import FEATURES
from .files import reason, replacing
from .free_state import Free
from .schema import Role
from .thresholds import AlertBudget, BestAccuracy, BestF1, Conformal, Contamination, LowestCost

__all__ = ["NATIVE_VERSION", "SUFFIX", "looks_native", "read_native", "write_native"]

NATIVE_VERSION = 1
"""Of the format. A change that this version's reader cannot read gets the next number, and keeps reading this one."""

SUFFIX = ".safetensors"

_FORMAT = "mlx-iforest detector"
_LARGEST_HEADER = 100_000_000
"""Bytes; safetensors reads no larger one."""

_TOLD = ("format", "format_version", "library_version", "checksum")


def _calibration_fault(calibration: Calibration) -> str | None:
    for name, values in (("scores", calibration.scores), ("quantiles", calibration.quantiles)):
        if not values.size or np.any(np.diff(values) < 0):
            return f"expected {name} in ascending order"
    sizes = {len(one) for one in (calibration.quantiles, calibration.learned) if one is not None}
    return None if sizes == {len(_SHARES)} else f"expected {len(_SHARES)} quantiles"


_CALIBRATION = Record(
    Calibration,
    {
        "scores": Array("float32"),
        "quantiles": Array("float64"),
        "unseen": Flag(),
        "labelled": Flag(),
        "learned": Maybe(Array("float64")),
    },
    _calibration_fault,
)


def _rule(of: type, **kinds: Kind) -> Record:
    return Record(of, {**kinds, "offset_": Number(special=True)}, optional=("offset_", "calibration_"))


_RULES = OneOf(
    _rule(Contamination, ratio=Number()),
    _rule(AlertBudget, rate=Number()),
    _rule(BestAccuracy),
    _rule(BestF1),
    _rule(LowestCost, false_alarm=Number(), miss=Number()),
    _rule(Conformal, rate=Number(), calibration_=Maybe(_CALIBRATION)),
)


def _parts(n_features: int | None = None) -> dict[str, Kind]:
    """The parts of a detector, in the order in which they are read."""
    return {
        "preprocessor": FEATURES,
        "scaler": Scaler(n_features),
        "model": MODEL,
        "feature_names": Strings(lambda names: names.tolist()),
        "threshold_rule": Maybe(_RULES),
        "calibration": Maybe(_CALIBRATION),
        "training": Free(),
    }


def write_native(detector: Detector, path: str | os.PathLike[str]) -> None:
    """Write a fitted detector; the same detector gives the same bytes.

    Raises
    ------
    DataError
        For a part that the format does not know, such as a scaler or a threshold rule of one's own, and where the file
        cannot be written; an older file is then intact.
    """
    content = _to_bytes(detector)
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def read_native(path: Path) -> dict[str, Any]:
    """The parts of the detector in a native file, checked, under the names that they have in a ``.joblib``.

    Raises
    ------
    ModelFileError
        If the file cannot be read, is damaged, from a newer library, or holds what no model file holds.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelFileError(f"Cannot read the model file {path}: {reason(error)}.") from error
    return _from_bytes(data, str(path))


def looks_native(head: bytes) -> bool:
    """Whether a file that begins with `head`, 9 bytes at least, is a safetensors file: a length, then JSON."""
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= _LARGEST_HEADER


def _to_bytes(detector: Detector) -> bytes:
    arrays: Arrays = {}
    try:
        texts = {name: _dumped(kind.encode(_of(detector, name), name, arrays)) for name, kind in _parts().items()}
    except RecursionError:
        raise DataError("The detector's training summary is too deep or holds itself; give plain values.") from None
    except StateError as error:
        raise DataError(
            f"This detector cannot be a {SUFFIX} file ({first_line(error)}); save it as a .joblib file."
        ) from error
    texts |= {"format": _FORMAT, "format_version": str(NATIVE_VERSION), "library_version": __version__}
    made = safetensors.numpy.save(arrays, texts)
    size = 8 + int.from_bytes(made[:8], "little")
    # safetensors writes the metadata in an order that changes from process to process.
    header, payload = json.loads(made[8:size]), memoryview(made)[size:]
    header["__metadata__"]["checksum"] = _checksum(header, payload)
    text = _dumped(header, sort_keys=True).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > _LARGEST_HEADER:
        raise DataError(
            f"This detector's texts take {len(text):,} bytes, and a {SUFFIX} file holds {_LARGEST_HEADER:,};"
            " save it as a .joblib file."
        )
    return b"".join([len(text).to_bytes(8, "little"), text, payload])


def _of(detector: Detector, name: str) -> Any:
    return getattr(detector, f"{name}_" if name in ("calibration", "training") else name)


def _from_bytes(data: bytes, path: str) -> dict[str, Any]:
    size = 8 + int.from_bytes(data[:8], "little")
    if size > len(data):
        raise _damaged(path, f"it has {len(data):,} bytes of at least {size:,}")
    try:
        header = _loaded(data[8:size].decode())
        texts = header["__metadata__"]
        told = {name: texts[name] for name in ("format", "format_version")}
    except (KeyError, TypeError):
        raise ModelFileError(
            f"{path} is a safetensors file of something else; give a model file that train or save_model wrote."
        ) from None
    except (ValueError, RecursionError) as error:
        raise _damaged(path, first_line(error)) from error
    if told["format"] != _FORMAT:
        raise ModelFileError(
            f"{path} is a safetensors file of something else; give a model file that train or save_model wrote."
        )
    if told["format_version"] != str(NATIVE_VERSION):
        raise ModelFileError(
            f"{path} has format version {str(told['format_version'])[:20]!r}, written by mlx-iforest"
            f" {str(texts.get('library_version'))[:20]!r}, and this library ({__version__}) reads version"
            f" {NATIVE_VERSION}; update mlx-iforest, or train the model again."
        )
    checksum = texts.pop("checksum", None)
    if checksum != _checksum(header, memoryview(data)[size:]):
        raise _damaged(path, "its checksum does not fit")
    try:
        arrays = safetensors.numpy.load(data)
        del data
        found = {name: _loaded(text) for name, text in texts.items() if name not in _TOLD}
        return _decoded(found, arrays)
    except (StateError, safetensors.SafetensorError, KeyError, ValueError, RecursionError) as error:
        raise ModelFileError(
            f"{path} holds what no model file holds ({first_line(error)}); get the file again, or train the model"
            " again."
        ) from error


def _decoded(found: Mapping[str, Any], arrays: Arrays) -> dict[str, Any]:
    parts: dict[str, Any] = {}
    if found.keys() != _parts().keys():
        raise StateError(f"expected the parts {', '.join(_parts())}")
    for name in _parts():
        made = len(parts["preprocessor"].get_feature_names_out()) if "preprocessor" in parts else None
        parts[name] = _parts(made)[name].decode(found[name], name, arrays)
    if arrays:
        raise StateError(f"nothing refers to the array {shown(next(iter(arrays)))}")
    if not isinstance(parts["training"], dict):
        raise StateError("training: expected an object")
    detector = Detector(parts["preprocessor"], parts["scaler"], parts["model"])
    if parts["feature_names"] != detector.feature_names or len(parts["feature_names"]) != detector.model.n_features_in_:
        raise StateError("feature_names: they are not those that the scaler gives the model")
    _try(detector)
    return {**parts, "is_fitted": True}


def _try(detector: Detector) -> None:
    """Run made-up records through the features: what does not go together fails here, and not in use."""
    features = detector.preprocessor
    values = {Role.NUMERIC: 1.0, Role.TIMESTAMP: pd.Timestamp("2024-01-01")}
    rows = {column.name: [values.get(column.role, "x"), None] for column in features.schema_.columns}
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            extended, _ = features.extend(pd.DataFrame(rows))
            made = features.features_of(extended)
            features.in_units(extended)
            features.ranges_in_units(extended)
            features.farness(made)
            detector.scaler.transform(made)
    except Exception as error:  # parts that do not fit each other can raise anything
        raise StateError(f"preprocessor: its parts do not go together: {type(error).__name__}: {error}") from error


def _checksum(header: Mapping[str, Any], payload: memoryview) -> str:
    """SHA-256 of a header that has no checksum yet and of the tensors' bytes, as hexadecimal digits."""
    digest = hashlib.sha256(_dumped(header, sort_keys=True).encode())
    digest.update(payload)
    return digest.hexdigest()


def _dumped(value: Any, sort_keys: bool = False) -> str:
    return json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"), sort_keys=sort_keys)


def _loaded(text: str) -> Any:
    """What JSON says, and nothing that it leaves open: no constants of JavaScript, no name twice in an object."""
    return json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_unique)


def _refuse_constant(text: str) -> Any:
    raise StateError(f"{text} is no number of JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise StateError("a name occurs twice in an object")
    return made


def _damaged(path: str, why: str) -> ModelFileError:
    return ModelFileError(f"{path} is damaged or was cut off ({why}); copy the file again, or train the model again.")
