"""The bytes of a model file, in either format; nothing in them is more than looked at."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from anomaly_detection.data.files import reason, refuse_impossible, require_file
from anomaly_detection.errors import ModelFileError
from anomaly_detection.model_files.header import NATIVE_VERSION, SUFFIX, looks_native
from anomaly_detection.model_files.joblib_file import JOBLIB_VERSION, looks_pickled, native_part
from mlx_iforest.files import settle_left

__all__ = ["FileFormat", "ModelFile", "file_format", "holds_preprocessor", "read_model_file"]

FileFormat = Literal["safetensors", "joblib"]

_VERSIONS: dict[FileFormat, int] = {"safetensors": NATIVE_VERSION, "joblib": JOBLIB_VERSION}


@dataclass(frozen=True)
class ModelFile:
    """A model file as it was read.

    Attributes
    ----------
    format : {"safetensors", "joblib"}
    size : int
        Bytes of the whole file.
    native : bytes
        Its native part, or all of a native file.
    """

    format: FileFormat
    size: int
    native: bytes

    @property
    def format_version(self) -> int:
        """Of its format."""
        return _VERSIONS[self.format]


def read_model_file(path: str | os.PathLike[str]) -> ModelFile:
    """Read a model file, in either format, whatever its name.

    Raises
    ------
    ModelFileError
        If it is missing, a folder, empty or no model file.
    """
    _require_possible(path)
    # A training may have been killed while it put its files in place.
    settle_left(Path(path).parent)
    written = file_format(path)
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ModelFileError(f"Cannot read the model file {path}: {reason(error)}.") from error
    return ModelFile(written, len(data), data if written == "safetensors" else native_part(data, str(path)))


def file_format(path: str | os.PathLike[str]) -> FileFormat:
    """Which format the model file at `path` has, as its first bytes tell.

    Raises
    ------
    ModelFileError
        If it is missing, a folder, empty or no model file.
    """
    _require_possible(path)
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
        return "safetensors"
    if looks_pickled(head):
        return "joblib"
    raise ModelFileError(f"{path} is not a model file; give a {SUFFIX} or .joblib file that train or save_model wrote.")


def holds_preprocessor(path: str | os.PathLike[str]) -> ModelFileError:
    """The error where a preprocessor's file was given for a model's."""
    return ModelFileError(f"{path} holds a preprocessor, not a model; give the model's file, which {_sibling(path)}.")


def _require_possible(path: str | os.PathLike[str]) -> None:
    try:
        refuse_impossible(path)
    except OSError as error:
        raise ModelFileError(f"Cannot read the model file {os.fspath(path)!a}: {reason(error)}.") from error


def _sibling(path: str | os.PathLike[str]) -> str:
    """Where the model beside a preprocessor file probably is."""
    path = Path(path)
    model = path.with_name(path.name.replace("data_preprocessor", "anomaly_detection_model"))
    return f"may be {model}" if model != path and model.is_file() else "the same training run wrote"


def _candidates(folder: Path) -> str:
    found = sorted(path.name for path in folder.glob("*model*") if path.suffix in (SUFFIX, ".joblib"))
    return f" in it, such as {folder / found[-1]}" if found else ""
