"""Saving and loading trained detectors.

A ``.joblib`` file is a pickle, which is a program; `safe_pickle` reads it without running it.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any, Literal, NamedTuple

import joblib

from mlx_iforest import __version__
from mlx_iforest.files import settle_left

from .detector import Detector
from .errors import DataError, ModelFileError, NotFittedError, first_line
from .files import reason, replacing, require_file
from .native_file import SUFFIX, looks_native, read_native, write_native
from .safe_pickle import read_joblib

__all__ = [
    "FILES",
    "FORMAT_VERSION",
    "SUFFIX",
    "ModelFiles",
    "file_format",
    "load_detector",
    "save_detector",
]

FORMAT_VERSION = 1
"""Of ``.joblib`` files; native ones have their own."""


class ModelFiles(NamedTuple):
    """The names of the files that a training run leaves of a model.

    Attributes
    ----------
    native : str
        All that there is of it, without a pickle.
    joblib : str
        The same for programs that read pickles.
    preprocessor : str
        Its preprocessor by itself, for those that read the two apart.
    """

    native: str
    joblib: str
    preprocessor: str


FILES = {
    "base": ModelFiles(
        f"anomaly_detection_model{SUFFIX}", "anomaly_detection_model.joblib", "data_preprocessor.joblib"
    ),
    "optimized": ModelFiles(
        f"optimized_anomaly_detection_model{SUFFIX}",
        "optimized_anomaly_detection_model.joblib",
        "optimized_data_preprocessor.joblib",
    ),
}
"""Of each model of a training run."""

_WRITERS = "that train or save_model wrote"

_MODEL_KEYS = {"model", "scaler", "preprocessor", "is_fitted", "feature_names", "format_version"}
_PREPROCESSOR_KEYS = {"preprocessor", "numerical_features", "categorical_features", "is_fitted"}


def save_detector(
    detector: Detector,
    model_path: str | os.PathLike[str],
    preprocessor_path: str | os.PathLike[str] | None = None,
) -> None:
    """Save a fitted detector.

    Parameters
    ----------
    detector : Detector
        A fitted one.
    model_path : path
        Where the model goes: a native file where it ends in ``.safetensors``, else a joblib one, by custom
        ``*.joblib``. This file alone is enough to predict on raw records.
    preprocessor_path : path, optional
        Where to write the preprocessor by itself too, as joblib, for programs that load the two apart.

    Raises
    ------
    NotFittedError
        If the detector is not fitted.
    DataError
        If a file cannot be written, or a part of the detector is none that a native file can hold; an older file of
        that name is then intact.
    """
    if not detector.is_fitted:
        raise NotFittedError("There is nothing to save: the detector is not trained yet; call fit first.")
    if preprocessor_path is not None and _is_native_name(preprocessor_path):
        raise DataError(
            f"{preprocessor_path} would be a native file, and those hold whole detectors; end the preprocessor's file"
            " in .joblib, or leave it out."
        )
    if _is_native_name(model_path):
        write_native(detector, model_path)
    else:
        _dump(
            {
                "model": detector.model,
                "scaler": detector.scaler,
                "preprocessor": detector.preprocessor,
                "is_fitted": True,
                "feature_names": detector.feature_names,
                "format_version": FORMAT_VERSION,
                "library_version": __version__,
                "training": detector.training_,
                "threshold_rule": detector.threshold_rule,
                "calibration": detector.calibration_,
            },
            model_path,
        )
    if preprocessor_path is not None:
        _dump(
            {
                "preprocessor": detector.preprocessor,
                "numerical_features": list(detector.preprocessor.numerical_features),
                "categorical_features": list(detector.preprocessor.categorical_features),
                "is_fitted": True,
                "format_version": FORMAT_VERSION,
            },
            preprocessor_path,
        )


def load_detector(
    model_path: str | os.PathLike[str], preprocessor_path: str | os.PathLike[str] | None = None
) -> Detector:
    """Load a detector that `save_detector` saved, in either format, whatever the file's name.

    Parameters
    ----------
    model_path : path
        The model file.
    preprocessor_path : path, optional
        The preprocessor's own file, a joblib one. Not needed, for the model file holds the preprocessor; where given,
        it is used.

    Raises
    ------
    ModelFileError
        If a file is missing, a folder, damaged, of another kind or of another format version.
    """
    # A training may have been killed while it put its files in place.
    settle_left(Path(model_path).parent)
    content = _read(model_path)
    if content.keys() >= _PREPROCESSOR_KEYS and "model" not in content:
        raise ModelFileError(
            f"{model_path} holds a preprocessor, not a model; give the model's file, which {_sibling(model_path)}."
        )
    _check(content, _MODEL_KEYS, model_path)
    preprocessor = content["preprocessor"]
    if preprocessor_path is not None:
        other = _read(preprocessor_path)
        _check(other, _PREPROCESSOR_KEYS, preprocessor_path)
        preprocessor = other["preprocessor"]
    detector = Detector(preprocessor, content["scaler"], content["model"])
    detector.training_ = content.get("training") or {}
    try:
        made = len(preprocessor.get_feature_names_out())
        needed = int(content["scaler"].n_features_in_)
        fits = made == needed and len(detector.feature_names) == content["model"].n_features_in_ and detector.is_fitted
    except Exception as error:  # parts that do not go together can raise anything
        raise ModelFileError(
            f"{model_path} holds parts that do not work ({first_line(error)}); train the model again."
        ) from error
    if not fits:
        raise ModelFileError(
            f"{preprocessor_path or model_path} makes {made} features and the model in {model_path} needs {needed};"
            " give the two files of one training run, or the model's file alone."
        )
    detector.threshold_rule, detector.calibration_ = content.get("threshold_rule"), content.get("calibration")
    return detector


def file_format(path: str | os.PathLike[str]) -> Literal["native", "joblib"]:
    """Which format the model file at `path` has, as its first bytes tell.

    Raises
    ------
    ModelFileError
        If it is missing, a folder, empty or no model file.
    """
    path = Path(path)
    try:
        require_file(path)
        with path.open("rb") as file:
            head = file.read(16)
    except FileNotFoundError:
        raise ModelFileError(f"There is no model file {path}; check the path, or train a model first.") from None
    except IsADirectoryError:
        raise ModelFileError(f"{path} is a folder; give the model's file{_candidates(path)}.") from None
    except OSError as error:
        raise ModelFileError(f"Cannot read the model file {path}: {reason(error)}.") from error
    if not head:
        raise ModelFileError(f"{path} is empty, so it is no model; train the model again.")
    if looks_native(head):
        return "native"
    if head[:1] == b"\x80":  # a pickle's first byte since its protocol 2
        return "joblib"
    raise ModelFileError(f"{path} is not a model file; give a {SUFFIX} or .joblib file {_WRITERS}.")


def _read(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The dict in the file at `path`."""
    if file_format(path) == "joblib":
        return _read_joblib(Path(path))
    # A native file's own version has been looked at.
    return {**read_native(Path(path)), "format_version": FORMAT_VERSION}


def _read_joblib(path: Path) -> dict[str, Any]:
    # A model from another scikit-learn version is checked by use, not refused.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Trying to unpickle estimator")
        content = read_joblib(path)
    if not isinstance(content, dict):
        raise ModelFileError(
            f"{path} holds a {type(content).__name__}, not a model; give a .joblib file that train or save_model wrote."
        )
    return content


def _is_native_name(path: str | os.PathLike[str]) -> bool:
    return Path(path).suffix.lower() == SUFFIX


def _check(content: dict[str, Any], keys: set[str], path: str | os.PathLike[str]) -> None:
    missing = keys - content.keys()
    if missing:
        raise ModelFileError(
            f"{path} was not written by this library (no {', '.join(sorted(missing))}); give a .joblib file that train"
            " or save_model wrote."
        )
    found = content.get("format_version", FORMAT_VERSION)
    if type(found) is not int or found != FORMAT_VERSION:
        raise ModelFileError(
            f"{path} has format version {str(found)[:20]}, and this library reads version {FORMAT_VERSION};"
            " use the library version that wrote it, or train the model again."
        )


def _dump(content: dict[str, Any], path: str | os.PathLike[str]) -> None:
    # To an open file: by a name such as model.gz, joblib would compress it.
    with replacing(path) as temporary, temporary.open("wb") as file:
        joblib.dump(content, file)


def _sibling(path: str | os.PathLike[str]) -> str:
    """Where the model beside a preprocessor file probably is."""
    path = Path(path)
    model = path.with_name(path.name.replace("data_preprocessor", "anomaly_detection_model"))
    return f"may be {model}" if model != path and model.is_file() else "the same training run wrote"


def _candidates(folder: Path) -> str:
    found = sorted(path.name for path in folder.glob("*model*") if path.suffix in (SUFFIX, ".joblib"))
    return f" in it, such as {folder / found[-1]}" if found else ""
