"""`nearest`: the records that are most like one, and in which columns each of them differs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

__all__ = ["DIFFERS", "DISTANCE", "Neighbour", "nearest"]

Floats = npt.NDArray[np.float64]

DISTANCE = (
    "Gower's distance: the mean over columns of 0 or 1 for categories, and of numbers their difference over the range"
    " of the middle nine tenths, 1 at most"
)
DIFFERS = 0.1
"""From so much of a column's distance on it is said to differ."""

_ENDS = (0.05, 0.95)


@dataclass(frozen=True)
class Neighbour:
    """A record near another.

    Attributes
    ----------
    place : int
        Its row, from 0.
    distance : float
        From 0 to 1.
    differs : tuple of str
        The columns in which it differs, of those that were asked about.
    """

    place: int
    distance: float
    differs: tuple[str, ...]


def nearest(
    record: Mapping[str, Any] | pd.Series[Any],
    records: pd.DataFrame,
    columns: Sequence[str],
    count: int,
    also: Sequence[str] = (),
) -> list[Neighbour]:
    """Find the records that are nearest by Gower's distance (1971), of equally near ones the last.

    All are looked at: what is found is exact. The distance in a number is divided by the range from its 5 % to its 95 %
    quantile, where Gower has the whole range, which one error would stretch.

    Parameters
    ----------
    record : mapping or Series
        By column; a missing value is 1 away from any other, and 0 from another missing one.
    records : pandas.DataFrame
        Clean ones, numbers and categories.
    columns : sequence of str
        That are compared.
    count : int
        Of neighbours, at most.
    also : sequence of str
        Further columns of which it is told whether they differ.
    """
    if not len(records) or not columns:
        return []
    apart = {name: _apart(record[name], records[name]) for name in dict.fromkeys((*columns, *also))}
    total = np.zeros(len(records))
    # One after the other: the sum of a row depends on no other row.
    for name in columns:
        total += apart[name]
    order = np.lexsort((-np.arange(len(records)), total))[:count]
    return [
        Neighbour(
            place,
            float(total[place] / len(columns)),
            tuple(name for name, each in apart.items() if each[place] >= DIFFERS),
        )
        for place in order.tolist()
    ]


def _apart(own: Any, column: pd.Series[Any]) -> Floats:
    """How far each value of a column is from one, from 0 to 1."""
    absent = column.isna().to_numpy()
    if pd.isna(own):
        return np.where(absent, 0.0, 1.0)
    if not pd.api.types.is_numeric_dtype(column):
        return np.where((column == own).to_numpy(dtype=bool), 0.0, 1.0)
    values = column.to_numpy(dtype=np.float64)
    there = values[~absent]
    if not there.size:
        return np.ones(len(values))
    low, high = np.quantile(there, _ENDS)
    width = float(high - low) or float(np.ptp(there))
    if not width:
        return np.where(values == own, 0.0, 1.0)
    with np.errstate(over="ignore"):
        found = np.minimum(np.abs(values - own) / width, 1.0)
    return np.where(absent, 1.0, found)
