"""Records of a frame, with values that JSON has."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from anomaly_detection.data.cells.well_formed_text import is_well_formed, well_formed
from anomaly_detection.service.records.incoming import Incoming

__all__ = ["plain", "records_of_frame"]

_LARGEST, _LEAST = 2**64 - 1, -(2**63)


def records_of_frame(frame: pd.DataFrame) -> list[Incoming]:
    """Each row as a record; missing cells are None, dates ISO text, and what JSON has no kind for is text."""
    names = [str(name) for name in frame.columns]
    columns = [_column(frame.iloc[:, place]) for place in range(len(names))]
    return [Incoming.of(dict(zip(names, row, strict=True))) for row in zip(*columns, strict=True)]


def _column(values: pd.Series[Any]) -> list[Any]:
    """`plain` of each cell; of what most columns hold, of all at once."""
    missing = values.isna().to_numpy()
    if isinstance(values.dtype, np.dtype):
        cells = values.to_numpy()
        if cells.dtype.kind in "biu":
            return cells.tolist()
        if cells.dtype.kind == "f" and not np.isinf(cells).any():
            return _with_gaps(cells, missing)
        if cells.dtype.kind == "M" and _in_seconds(cells[~missing]):
            return _with_gaps(np.datetime_as_string(cells, unit="s"), missing)
    elif isinstance(values.dtype, pd.StringDtype):
        cells = values.to_numpy(dtype=object)
        if is_well_formed(cells[~missing]):
            return _with_gaps(cells, missing)
    return [plain(value) for value in values.tolist()]


def _with_gaps(cells: npt.NDArray[Any], missing: npt.NDArray[np.bool_]) -> list[Any]:
    found = cells.astype(object)
    found[missing] = None
    return found.tolist()


def _in_seconds(times: npt.NDArray[np.datetime64]) -> bool:
    """Whether ISO text of whole seconds tells all of some times."""
    seconds = times.astype("datetime64[s]")
    ends = np.array(["0001-01-01", "9999-12-31"], dtype="datetime64[s]")
    return bool((seconds == times).all() and (seconds >= ends[0]).all() and (seconds <= ends[1]).all())


def _number(value: float) -> Any:
    # An infinite one stays what it is, so that it can be refused by name.
    return value if math.isfinite(value) else None if value != value else str(value)


def plain(value: Any) -> Any:
    """A value as JSON has it: dates as ISO text, and what JSON has no kind for as text."""
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    if isinstance(value, str):
        return well_formed(value)
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value) if _LEAST <= value <= _LARGEST else str(value)
    if isinstance(value, (float, np.floating)):
        return _number(float(value))
    if isinstance(value, pd.Timestamp) and not 1 <= value.year <= 9999:
        # Pandas cannot write these years.
        return f"{value.to_datetime64()}"
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, Mapping):
        return {well_formed(str(name)): plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain(each) for each in value]
    return well_formed(str(value))
