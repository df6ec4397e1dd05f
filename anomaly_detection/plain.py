"""Values as JSON can hold them."""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["plain"]


def plain(value: Any) -> Any:
    """Turn a value, however nested, into what JSON knows.

    Numpy's and pandas' values become Python's, dates ISO text, paths text, enumerations their values; what is missing,
    NaN or infinite becomes None; anything else, a `Decimal` in a record for example, becomes its text. A half of a
    character in a text (a lone surrogate), which no encoding has, becomes the replacement character.
    """
    if isinstance(value, enum.Enum):
        return plain(value.value)
    if isinstance(value, (np.datetime64, np.timedelta64)):
        return None if np.isnat(value) else str(value)
    if isinstance(value, (np.generic, np.ndarray)):
        # tolist would turn dates into nanoseconds since 1970.
        return plain(list(np.asarray(value)) if value.dtype.kind in "mM" else value.tolist())
    if isinstance(value, Mapping):
        return {str(plain(key)): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if value is None or value is pd.NaT or value is pd.NA:
        return None
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if isinstance(value, (bool, int)):
        return value
    text = str(value)
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
