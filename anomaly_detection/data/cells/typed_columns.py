"""Columns of Python's own values in the type that says all of them: whole numbers stay whole beside missing ones."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["typed_column", "typed_frame"]

_SMALLEST, _LARGEST = -(2**63), 2**63 - 1


def typed_frame(columns: Mapping[str, Sequence[Any]]) -> pd.DataFrame:
    """A frame of `typed_column`s of one length."""
    return pd.DataFrame({name: typed_column(cells) for name, cells in columns.items()})


def typed_column(cells: Sequence[Any]) -> pd.Series[Any]:
    """Give cells as a column; None is missing.

    Parameters
    ----------
    cells : sequence
        Python's values. Of mixed kinds, and whole numbers beyond 64 bits, they stay what they are.

    Returns
    -------
    pandas.Series
        int64, or Int64 where some are missing, float64, bool, datetime64, str, or object.
    """
    kinds = {type(cell) for cell in cells if cell is not None}
    if kinds == {int} and all(cell is None or _SMALLEST <= cell <= _LARGEST for cell in cells):
        return pd.Series(cells, dtype="Int64" if any(cell is None for cell in cells) else "int64")
    if kinds == {float} or (kinds == {int, float} and all(_is_exact(cell) for cell in cells)):
        return pd.Series(cells, dtype=np.float64)
    if kinds == {bool} and None not in cells:
        return pd.Series(cells, dtype=bool)
    if kinds == {datetime.datetime} and all(cell is None or _is_counted(cell) for cell in cells):
        return pd.Series(cells, dtype="datetime64[us]")
    if kinds == {str}:
        return pd.Series(cells, dtype=str if None not in cells else None)
    return pd.Series(cells, dtype=object)


def _is_exact(cell: Any) -> bool:
    """Whether a float says the same."""
    return not isinstance(cell, int) or abs(cell) <= 2**53


def _is_counted(cell: datetime.datetime) -> bool:
    return cell.tzinfo is None and cell.year > 0
