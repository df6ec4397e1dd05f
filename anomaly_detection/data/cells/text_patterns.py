"""Which texts of a column fit a pattern, found out by Arrow: many times as fast as asking each."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from anomaly_detection.data.cells.well_formed_text import well_formed

__all__ = ["arrow_texts", "fits"]


def arrow_texts(texts: pd.Series[Any] | npt.NDArray[np.object_]) -> Any:
    """Texts as Arrow has them, null where one is missing; lone surrogates as escapes."""
    try:
        made = pa.array(texts, type=pa.large_string(), from_pandas=True)
    except UnicodeEncodeError:
        made = pa.array([well_formed(text) if isinstance(text, str) else None for text in texts], pa.large_string())
    return made.combine_chunks() if isinstance(made, pa.ChunkedArray) else made


def fits(texts: Any, pattern: str) -> npt.NDArray[np.bool_]:
    """Which of `arrow_texts` a pattern fits somewhere, shape (n,); digits and blanks are those of ASCII."""
    found = pc.match_substring_regex(texts, pattern).fill_null(False)
    return np.asarray(found.to_numpy(zero_copy_only=False), dtype=bool)
