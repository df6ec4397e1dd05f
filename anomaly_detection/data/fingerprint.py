"""What tells whether a model was trained on these records: their columns' types and a hash over all values."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

__all__ = ["fingerprint"]

_ROWS = 100_000


def fingerprint(frame: pd.DataFrame) -> dict[str, Any]:
    """Give the types and a hash of records, in their order.

    Parameters
    ----------
    frame : DataFrame
        The records as they came, before any cleaning: the same numbers read as text hash otherwise.

    Returns
    -------
    dict
        ``dtypes`` (column to the name of its type) and ``sha256`` (hexadecimal digits, over the columns' names and
        every row's values): plain values.
    """
    digest = hashlib.sha256(json.dumps([str(name) for name in frame.columns]).encode())
    for first in range(0, len(frame), _ROWS):
        digest.update(_row_hashes(frame.iloc[first : first + _ROWS]).astype("<u8").tobytes())
    return {
        "dtypes": {str(name): str(dtype) for name, dtype in frame.dtypes.items()},
        "sha256": digest.hexdigest(),
    }


def _row_hashes(frame: pd.DataFrame) -> npt.NDArray[np.uint64]:
    try:
        hashes = pd.util.hash_pandas_object(frame, index=False)
    except (TypeError, ValueError):
        # Lists in cells cannot be hashed, nor text that is no Unicode.
        hashes = pd.util.hash_pandas_object(frame.astype(object).map(ascii), index=False)
    return np.asarray(hashes, dtype=np.uint64)
