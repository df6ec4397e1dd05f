"""Values as JSON can hold them."""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

import numpy as np
import pandas as pd

from anomaly_detection.data.cells.well_formed_text import well_formed

__all__ = ["plain"]


def plain(value: Any) -> Any:
    """Turn a value, however nested, into what JSON knows.

    Numpy's and pandas' values become Python's, dates ISO text, paths text, enumerations their values; what is missing,
    NaN or infinite becomes None; anything else, a `Decimal` in a record for example, becomes its text. A half of a
    character in a text (a lone surrogate), which no encoding has, becomes the replacement character.
    """
    # What most values are, before all that they might be.
    if type(value) is float:
        return value if math.isfinite(value) else None
    if type(value) is str:
        return well_formed(value)
    if isinstance(value, enum.Enum):
        return plain(value.value)
    if isinstance(value, (np.datetime64, np.timedelta64)):
        return None if np.isnat(value) else str(value)
    if isinstance(value, (np.generic, np.ndarray)):
        # tolist would turn dates into nanoseconds since 1970.
        # Neither tolist knows: longdouble, and arrays of it.
        if value.dtype == np.longdouble:
            value = value.astype(np.float64)
        return plain(list(np.asarray(value)) if value.dtype.kind in "mM" else value.tolist())
    if isinstance(value, Mapping):
        return {str(plain(key)): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (set, frozenset)):
        # Their own order differs from process to process.
        return [plain(item) for item in sorted(value, key=repr)]
    if value is None or value is pd.NaT or value is pd.NA:
        return None
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    return value if isinstance(value, (bool, int)) else well_formed(str(value))
