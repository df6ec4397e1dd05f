"""Columns of any type, numpy's, pandas', Arrow's or Python's own objects, as numbers, dates or texts."""

from __future__ import annotations

import datetime
import decimal
import enum
import fractions
import os
import uuid
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from anomaly_detection.data.cells.well_formed_text import well_formed

__all__ = ["Content", "as_dates", "as_numbers", "as_texts", "content", "nanoseconds", "opaque_kinds"]

Content = Literal["numbers", "dates", "spans", "texts"]

# What nanoseconds since 1970 can count in 64 bits, a day less at either end.
_FIRST, _LAST = np.datetime64("1677-09-22", "s"), np.datetime64("2262-04-10", "s")

# What says all that it is as a text; anything else, a list or a dict, is only said to be there.
_PLAIN = (
    *(str, bytes, bytearray, bool, int, float, np.bool_, np.integer, np.floating, decimal.Decimal, fractions.Fraction),
    *(datetime.date, datetime.time, datetime.timedelta, np.datetime64, np.timedelta64, pd.Period, pd.Interval),
    *(os.PathLike, uuid.UUID, enum.Enum),
)


def content(values: pd.Series[Any]) -> Content:
    """Say as what a column of this type is read; spans of time are numbers, of days."""
    dtype: Any = values.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return "texts"
    if isinstance(dtype, pd.PeriodDtype) or dtype.kind == "M":
        return "dates"
    if dtype.kind == "m":
        return "spans"
    return "numbers" if dtype.kind in "iuf" else "texts"


def as_numbers(values: pd.Series[Any]) -> npt.NDArray[np.float64]:
    """Give a column of "numbers" or "spans" (in days); missing is NaN."""
    if content(values) == "spans":
        # Arrow's missing ones are only known to numpy in their own unit.
        unit = values.dtype.pyarrow_dtype.unit if isinstance(values.dtype, pd.ArrowDtype) else values.dt.unit
        spans = values.to_numpy(dtype=f"timedelta64[{unit}]")
        return np.asarray(spans / np.timedelta64(1, "D"), dtype=np.float64)
    with np.errstate(over="ignore"):  # a number beyond float64 is infinite, and refused as that
        return values.to_numpy(dtype=np.float64, na_value=np.nan)


def as_dates(values: pd.Series[Any]) -> npt.NDArray[np.datetime64]:
    """Give a column of "dates" as datetime64[ns], time zones turned to UTC; what is beyond 1677 to 2262 is NaT."""
    if isinstance(values.dtype, pd.PeriodDtype):
        values = values.dt.to_timestamp()
    elif isinstance(values.dtype, pd.ArrowDtype):
        # Arrow counts days, and pandas gives these as Python's dates.
        unit = values.dtype.pyarrow_dtype.unit if hasattr(values.dtype.pyarrow_dtype, "unit") else "s"
        stamp: Any = f"timestamp[{unit}][pyarrow]"
        values = values.astype(stamp)
    if getattr(values.dt, "tz", None) is not None:
        values = values.dt.tz_convert("UTC").dt.tz_localize(None)
    unit = values.dt.unit if hasattr(values.dt, "unit") else "ns"
    return nanoseconds(values.to_numpy(dtype=f"datetime64[{unit}]"))


def nanoseconds(dates: npt.NDArray[np.datetime64]) -> npt.NDArray[np.datetime64]:
    """Give dates of any unit as datetime64[ns]; those that it cannot count, such as the year 9999, are NaT."""
    seconds = dates.astype("datetime64[s]")
    counted = (seconds >= _FIRST) & (seconds <= _LAST)
    # Of the dates' own unit: in nanoseconds the year 9999 would be another.
    nothing = np.array("NaT", dtype=dates.dtype)
    return np.where(counted, dates, nothing).astype("datetime64[ns]")


def as_texts(values: pd.Series[Any]) -> pd.Series[Any]:
    """Give every present value as str, from index 0 on; missing ones stay missing.

    Bytes are read as UTF-8. Of what has no plain text, such as lists, dicts and complex numbers, the text is its kind
    in brackets: ``(list)``.
    """
    if isinstance(values.dtype, pd.StringDtype):
        return values.reset_index(drop=True)
    cells = values.astype(object).reset_index(drop=True)
    present = cells.notna().to_numpy(dtype=bool)
    return pd.Series([_text(cell) if kept else None for cell, kept in zip(cells, present, strict=True)], dtype=object)


def _text(cell: Any) -> str:
    if isinstance(cell, str):
        return cell
    if isinstance(cell, (bytes, bytearray)):
        return cell.decode("utf-8", "backslashreplace")
    if not isinstance(cell, _PLAIN):
        return f"({_kind(cell)})"
    try:
        return well_formed(str(cell))
    except Exception:  # a class of the caller's own may raise anything
        return f"({_kind(cell)})"


def _kind(cell: Any) -> str:
    """Of a value that has no plain text; lists come out of files as arrays."""
    return "list" if isinstance(cell, np.ndarray) else type(cell).__name__


def opaque_kinds(values: pd.Series[Any]) -> list[str]:
    """Name the kinds of value that a column holds if none has a plain text, or all are bytes, some no text."""
    if isinstance(values.dtype, pd.StringDtype) or content(values) != "texts":
        return []
    cells = values.astype(object).dropna()
    plain = [cell for cell in cells if isinstance(cell, _PLAIN)]
    blobs = [cell for cell in plain if isinstance(cell, (bytes, bytearray))]
    # Of pictures or keys some are text by chance.
    if plain and (len(blobs) < len(plain) or all(map(_is_utf8, blobs))):
        return []
    return sorted({_kind(cell) for cell in cells})


def _is_utf8(cell: bytes | bytearray) -> bool:
    try:
        cell.decode()
    except UnicodeDecodeError:
        return False
    return True
