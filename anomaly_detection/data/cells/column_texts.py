"""`ColumnTexts`: the texts of a column, read at once where programs wrote all of them, else sorted out."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from anomaly_detection.data.cells.distinct_texts import DistinctTexts
from anomaly_detection.data.cells.text_patterns import arrow_texts, fits

__all__ = ["ColumnTexts"]

_EXACT = 15
"""Characters of a number up to which whoever reads it gets the same bits: its figures are a whole number below 2^53."""
_LENGTHS_OF_DATES = (0, 10, 16, 19)  # 2024-01-31, with minutes, with seconds
_FIRST, _LAST = np.datetime64("1678-01-01", "ns"), np.datetime64("2262-01-01", "ns")
_IN_THOUSANDS = r"^-?[1-9]\d?\d?\.\d\d\d$"


class ColumnTexts:
    """The texts of a column, of any type.

    Parameters
    ----------
    values : Series
    """

    def __init__(self, values: pd.Series[Any]) -> None:
        self._values = values

    @cached_property
    def distinct(self) -> DistinctTexts:
        """Each text once."""
        return DistinctTexts.of(self._values)

    @cached_property
    def are_numbers(self) -> bool:
        """Whether each is a number of figures, a point and a minus alone, or empty."""
        return self._as_numbers is not None

    @cached_property
    def numbers(self) -> npt.NDArray[np.float64] | None:
        """If they `are_numbers` these, as `DistinctTexts.numbers` has them, NaN for what is empty; else None."""
        found = self._as_numbers
        if found is None or self._lengths.max(initial=0) <= _EXACT:
            return found
        # With a last one that is missing, as `DistinctTexts` has it: else whole numbers would be read another way.
        cells = np.append(self._texts.to_numpy(zero_copy_only=False), np.array([None]))
        return np.asarray(pd.to_numeric(cells, errors="coerce"), dtype=np.float64)[:-1]

    @cached_property
    def dates(self) -> npt.NDArray[np.datetime64] | None:
        """The dates, NaT for what is empty, where each is written as 2024-01-31 or 2024-01-31 06:17:00; else None."""
        if self._texts is None or not np.isin(self._lengths, _LENGTHS_OF_DATES).all():
            return None
        try:
            found = np.array(self._filled.cast(pa.timestamp("ns")), dtype="datetime64[ns]")
        except pa.ArrowInvalid:
            return None
        return None if ((found < _FIRST) | (found >= _LAST)).any() else found

    def points(self) -> tuple[int, int]:
        """How many of the `numbers` have a point, and how many of these are such as 1.234."""
        ends = self._ends[1:]
        third = np.maximum(ends - self._ends[0] - 4, 0)
        may_be = (self._lengths > 4) & (self._bytes[third] == ord(".")) if len(self._bytes) else np.zeros(0, dtype=bool)
        dotted = int(fits(self._texts.filter(pa.array(may_be)), _IN_THOUSANDS).sum()) if may_be.any() else 0
        return int(np.count_nonzero(self._bytes == ord("."))), dotted

    @cached_property
    def _as_numbers(self) -> npt.NDArray[np.float64] | None:
        if self._texts is None or not len(self._bytes):
            return None
        if self._bytes.min() < ord("-") or self._bytes.max() > ord("9"):
            return None
        try:
            return np.array(self._filled.cast(pa.float64()), dtype=np.float64)
        except pa.ArrowInvalid:
            return None

    @cached_property
    def _texts(self) -> Any:
        """As Arrow has them; None where that would have to be made."""
        return arrow_texts(self._values) if isinstance(self._values.dtype, pd.StringDtype) else None

    @cached_property
    def _filled(self) -> Any:
        """Those that are not empty; null where one is."""
        return pc.if_else(pa.array(self._lengths > 0), self._texts, None) if (self._lengths == 0).any() else self._texts

    @cached_property
    def _ends(self) -> npt.NDArray[np.int64]:
        """Where each text begins among all bytes, and the last one ends."""
        offsets = np.frombuffer(self._texts.buffers()[1], dtype=np.int64)
        return offsets[self._texts.offset : self._texts.offset + len(self._texts) + 1]

    @cached_property
    def _lengths(self) -> npt.NDArray[np.int64]:
        return np.diff(self._ends)

    @cached_property
    def _bytes(self) -> npt.NDArray[np.uint8]:
        buffer = self._texts.buffers()[2]
        return np.frombuffer(b"" if buffer is None else buffer, dtype=np.uint8)[self._ends[0] : self._ends[-1]]
