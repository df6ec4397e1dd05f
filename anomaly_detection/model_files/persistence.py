"""Saving and loading trained detectors, as native files or as joblib ones that carry the native bytes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from anomaly_detection.data.files import replacing
from anomaly_detection.errors import DataError, ModelFileError, NotFittedError
from anomaly_detection.features.evidence.lessons import Lessons
from anomaly_detection.model_files.header import SUFFIX
from anomaly_detection.model_files.joblib_file import JOBLIB_VERSION, write_joblib
from anomaly_detection.model_files.model_file import file_format, holds_preprocessor, read_model_file
from anomaly_detection.model_files.native_file import Native, from_bytes, to_bytes
from anomaly_detection.trained_detector import TrainedDetector
from mlx_iforest import __version__

if TYPE_CHECKING:
    from anomaly_detection.detector import Detector

__all__ = [
    "FILES",
    "SUFFIX",
    "ModelFiles",
    "file_format",
    "load_detector",
    "load_trained",
    "save_detector",
]


class ModelFiles(NamedTuple):
    """The names of the files that a training run leaves of a model.

    Attributes
    ----------
    native : str
        All that there is of it, without a pickle.
    joblib : str
        The same, behind a pickle for programs that read those.
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


def save_detector(
    detector: Detector,
    model_path: str | os.PathLike[str],
    preprocessor_path: str | os.PathLike[str] | None = None,
) -> None:
    """Save a fitted detector.

    A joblib file is a pickle for programs that call `joblib.load`, followed by the bytes of the native file, which are
    all that this library reads of it. Both are made of the same detector in one go.

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
    native = to_bytes(detector)
    if _is_native_name(model_path):
        with replacing(model_path) as temporary:
            temporary.write_bytes(native)
    else:
        content = {
            "model": detector.model,
            "scaler": detector.scaler,
            "preprocessor": detector.preprocessor,
            "is_fitted": True,
            "feature_names": detector.feature_names,
            "format_version": JOBLIB_VERSION,
            "library_version": __version__,
            "training": detector.training_,
            "threshold_rule": detector.threshold_rule,
            "calibration": detector.calibration_,
        }
        write_joblib(content, native, model_path)
    if preprocessor_path is not None:
        features = detector.preprocessor
        content = {
            "preprocessor": features,
            "numerical_features": list(features.numerical_features),
            "categorical_features": list(features.categorical_features),
            "is_fitted": True,
            "format_version": JOBLIB_VERSION,
        }
        write_joblib(content, to_bytes(features), preprocessor_path)


def load_detector(
    model_path: str | os.PathLike[str], preprocessor_path: str | os.PathLike[str] | None = None
) -> Detector:
    """Load a detector that `save_detector` saved, in either format, whatever the file's name.

    Nothing that the file holds is run, and no pickle is read: of a joblib file only the native bytes behind it are.

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
    from anomaly_detection.detector import Detector

    trained, lessons = _trained(model_path, preprocessor_path)
    detector = Detector.of(trained)
    return detector if lessons is None else detector.learn(lessons)


def load_trained(model_path: str | os.PathLike[str]) -> TrainedDetector:
    """Load what a detector has learned: it judges alike, and takes a third of the time, without scikit-learn.

    Parameters
    ----------
    model_path : path
        As for `load_detector`, which raises the same.
    """
    trained, lessons = _trained(model_path, None)
    return trained if lessons is None else trained.learn(lessons)


def _trained(
    model_path: str | os.PathLike[str], preprocessor_path: str | os.PathLike[str] | None
) -> tuple[TrainedDetector, Lessons | None]:
    """What the files hold, before the verdicts that they hold too have taught it."""
    native = _read(model_path)
    if native.kind == "preprocessor":
        raise holds_preprocessor(model_path)
    parts = native.parts
    if preprocessor_path is not None:
        other = _read(preprocessor_path)
        if other.kind != "preprocessor":
            raise ModelFileError(
                f"{preprocessor_path} holds a model, not a preprocessor by itself; leave it out, for a model's file has"
                " its own."
            )
        made, needed = (
            other.parts["preprocessor"].get_feature_names_out(),
            parts["preprocessor"].get_feature_names_out(),
        )
        if list(made) != list(needed):
            raise ModelFileError(
                f"{preprocessor_path} makes {len(made)} features that are not the {len(needed)} that the model in"
                f" {model_path} needs; give the two files of one training run, or the model's file alone."
            )
        parts = {**parts, **other.parts}
    trained = TrainedDetector(
        parts["preprocessor"], parts["scaler"], parts["model"], threshold_rule=parts["threshold_rule"]
    )
    trained.training_, trained.calibration_ = parts["training"], parts["calibration"]
    return trained, parts.get("lessons")


def _read(path: str | os.PathLike[str]) -> Native:
    return from_bytes(read_model_file(path).native, str(path))


def _is_native_name(path: str | os.PathLike[str]) -> bool:
    return Path(path).suffix.lower() == SUFFIX
