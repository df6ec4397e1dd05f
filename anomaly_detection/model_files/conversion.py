"""A model file from one format into another, checked before it takes its place."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from anomaly_detection.data.columns.schema import Role
from anomaly_detection.data.files import replacing
from anomaly_detection.detector import Detector
from anomaly_detection.errors import AnomalyDetectionError, DataError, first_line
from anomaly_detection.model_files.persistence import load_detector, save_detector
from mlx_iforest.convert.onnx import TOLERANCE
from mlx_iforest.convert.probes import probing_rows

__all__ = ["SUFFIXES", "Converted", "convert"]

SUFFIXES = (".joblib", ".safetensors", ".onnx")
"""What a target may end in. The last one holds the forest alone."""

_RECORDS = 64


@dataclass(frozen=True)
class Converted:
    """What `convert` wrote.

    Attributes
    ----------
    rows : int
        Rows on which the written file was compared with the one that was read.
    difference : float
        The largest difference of a score among them; 0 but for ONNX.
    features : list of str
        What the forest sees, in the order of its columns.
    """

    rows: int
    difference: float
    features: list[str]


def convert(source: str | os.PathLike[str], target: str | os.PathLike[str], *, force: bool = False) -> Converted:
    """Write the model in one file to another, in the format that the other's ending names.

    What was written is read again and must score as before, bit for bit, features and p-values included; ONNX, which
    has the forest alone, within 1e-5. Only then does it take the target's name.

    Parameters
    ----------
    source : path
        A model in either format.
    target : path
        Ending in one of `SUFFIXES`.
    force : bool
        Whether a file of that name may be replaced.

    Raises
    ------
    ModelFileError
        As `load_detector`.
    DataError
        The target has another ending, is there already, is the source, or cannot be written; the format cannot hold
        this model; or what was written does not score as before.
    """
    source, target = Path(source), Path(target)
    if target.suffix not in SUFFIXES:
        raise DataError(f"{target} ends in {target.suffix or 'nothing'!r}; end it in {' or '.join(SUFFIXES)}.")
    if target.exists() and source.exists() and target.samefile(source):
        raise DataError(f"{target} is the file to convert; give another name for the new one.")
    if target.exists() and not force:
        raise DataError(f"{target} is there already; give another name, or --force to replace it.")
    detector = load_detector(source)
    rows = probing_rows(detector.model.forest_)
    with replacing(target) as temporary:
        if target.suffix == ".onnx":
            scores = _onnx_scores(detector, temporary, rows)
            difference = float(np.max(np.abs(scores - detector.model.score_samples(rows))))
            if not difference <= TOLERANCE:
                raise DataError(f"{target} would score rows by {difference:.2g} otherwise; it was not written.")
        else:
            _rewrite(detector, temporary, rows, target)
            difference = 0.0
    return Converted(len(rows), difference, detector.feature_names)


def _onnx_scores(detector: Detector, path: Path, rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Write the forest to `path`, and score by what stands there."""
    try:
        import onnxruntime

        detector.model.to_onnx(path)
    except (ImportError, ValueError) as error:
        raise DataError(f"The forest cannot be written as ONNX: {first_line(error)}.") from error
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["scores"], {"X": rows})[0], dtype=np.float64)


def _rewrite(detector: Detector, path: Path, rows: npt.NDArray[np.float32], target: Path) -> None:
    """Write `detector` to `path`, which becomes `target`, and make sure that it comes back as it was."""
    try:
        save_detector(detector, path)
        same = _alike(detector, load_detector(path), rows)
    except AnomalyDetectionError as error:
        raise DataError(str(error).replace(str(path), str(target))) from error
    except OSError:
        raise
    except Exception as error:  # parts that do not go together can raise anything
        raise DataError(
            f"The model cannot be written to {target}: its parts do not work ({first_line(error)})."
        ) from error
    if not same:
        raise DataError(f"{target} would not score as the file that it is made of; it was not written.")


def _alike(before: Detector, after: Detector, rows: npt.NDArray[np.float32]) -> bool:
    records = _records(before)
    old, new = before.model.score_samples(rows), after.model.score_samples(rows)
    pairs: list[tuple[Any, Any]] = [
        (old, new),
        (before.model.offset_, after.model.offset_),
        (before.transform(records), after.transform(records)),
    ]
    if before.calibration_ is not None:
        pairs.append((before.p_values(old), after.p_values(new)))
    return (
        all(np.array_equal(one, other, equal_nan=True) for one, other in pairs)
        and before.threshold_rule == after.threshold_rule
        and before.feature_names == after.feature_names
    )


def _records(detector: Detector) -> pd.DataFrame:
    """Made-up records with the columns of the training."""
    rng = np.random.default_rng(0)
    makers = {
        Role.NUMERIC: lambda: rng.lognormal(2.0, 2.0, _RECORDS),
        Role.TIMESTAMP: lambda: pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 365, _RECORDS), "D"),
    }
    columns = {
        column.name: makers.get(column.role, lambda: rng.choice(["a", "b", "c"], _RECORDS))()
        for column in detector.preprocessor.schema_.columns
    }
    return pd.DataFrame(columns)
