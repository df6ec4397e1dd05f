"""Columns that only say again what a date says: its month, year, weekday, quarter, ..."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from anomaly_detection.data.columns.table import Coded, as_table, factorized
from anomaly_detection.features.categories.pairing import paired_dates

__all__ = ["PARTS", "find_restated", "part_of"]

_SAMPLE = 5_000
_AGREEMENT = 0.99
_LEAST_ROWS = 30
_MOST_LEVELS = 400
_MOST_LEVELS_A_ROW = 0.5
_SCREENED_ROWS = 500
_MOST_OF_ONE_VALUE = 0.9  # of the rows: what hardly varies tells nothing of a date

Codes = npt.NDArray[np.int64]
Dates = npt.NDArray[np.datetime64]


def find_restated(records: Any, columns: Sequence[str], dates: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Name the columns whose values stand one to one for a part of a date, and the part and the date.

    There is nothing odd about the month 6 in June: judged as a number or a category such a column only repeats the
    calendar, and years or months not seen in training would look like anomalies.

    Parameters
    ----------
    records : DataFrame or Table
        Clean ones.
    columns : sequence of str
        Numeric and categorical columns to look at.
    dates : sequence of str
        Columns of dates; of many those that `paired_dates` names are looked at.

    Returns
    -------
    dict of column to (part, date)
    """
    table = as_table(records)
    sample = table.take(slice(None, None, -(-len(table) // _SAMPLE)))
    dates = paired_dates(table, dates)
    coded = {name: _codes(sample[name]) for name in columns}
    parts = [(part, date, codes) for date in dates for part, codes in _parts(sample.dates(date))]
    found: dict[str, tuple[str, str]] = {}
    coded = {name: codes for name, codes in coded.items() if 1 < codes.max() + 1 <= _MOST_LEVELS}
    may_be = _may_be([*coded.values()], [codes for _, _, codes in parts])
    for (name, codes), possible in zip(coded.items(), may_be.T, strict=True):
        for i in np.flatnonzero(possible):
            part, date, other = parts[i]
            if _one_to_one(codes, other):
                found[name] = (part, date)
                break
    return found


def _codes(column: Any) -> Codes:
    numbers = np.where(column.codes < 0, np.nan, column.codes) if isinstance(column, Coded) else column
    return factorized(np.asarray(numbers, dtype=np.float64))[0]


def _may_be(columns: list[Codes], parts: list[Codes]) -> npt.NDArray[np.bool_]:
    """Which pairs could be `_one_to_one`, shape (parts, columns): one look at all columns leaves few to look into.

    In two that stand one to one, rows that agree in one agree in the other. A row of the few that break this is in two
    pairs of neighbours, whatever the rows' order; ordered by the part, most other columns break it nearly everywhere.
    """
    if not columns or not parts:
        return np.zeros((len(parts), len(columns)), dtype=bool)
    step = -(-len(parts[0]) // _SCREENED_ROWS)
    some = np.stack([codes[::step] for codes in columns], axis=1)
    possible = np.empty((len(parts), len(columns)), dtype=bool)
    for i, codes in enumerate(parts):
        order = np.argsort(codes[::step], kind="stable")
        own, other = codes[::step][order], some[order]
        present = ((own[1:] >= 0) & (own[:-1] >= 0))[:, None] & (other[1:] >= 0) & (other[:-1] >= 0)
        differ = ((other[1:] == other[:-1]) != (own[1:] == own[:-1])[:, None]) & present
        possible[i] = differ.sum(axis=0) <= 4.0 * (1.0 - _AGREEMENT) * len(codes) + 1.0
    return possible


def _year(dates: Dates) -> Codes:
    return dates.astype("datetime64[Y]").astype(np.int64) + 1970


def _month(dates: Dates) -> Codes:
    return dates.astype("datetime64[M]").astype(np.int64) % 12 + 1


def _days(dates: Dates) -> Codes:
    """Since 1970."""
    return dates.astype("datetime64[D]").astype(np.int64)


def _weekday(dates: Dates) -> Codes:
    return (_days(dates) + 3) % 7  # 1 January 1970 was a Thursday


def _day_of_year(dates: Dates) -> Codes:
    return (dates.astype("datetime64[D]") - dates.astype("datetime64[Y]")).astype(np.int64) + 1


def _week(dates: Dates) -> Codes:
    """By ISO 8601: a week is one of the year that its Thursday lies in."""
    thursday = dates.astype("datetime64[D]") + (3 - _weekday(dates)).astype("timedelta64[D]")
    return (_day_of_year(thursday) - 1) // 7 + 1


PARTS: Mapping[str, Callable[[Dates], Codes]] = MappingProxyType(
    {
        "month": _month,
        "year": _year,
        "quarter": lambda dates: (_month(dates) + 2) // 3,
        "weekday": _weekday,
        "day": lambda dates: (dates.astype("datetime64[D]") - dates.astype("datetime64[M]")).astype(np.int64) + 1,
        "day of the year": _day_of_year,
        "week": _week,
        "hour": lambda dates: dates.astype("datetime64[h]").astype(np.int64) % 24,
        "year and month": lambda dates: 12 * _year(dates) + _month(dates),
        "year and quarter": lambda dates: 4 * _year(dates) + (_month(dates) + 2) // 3,
    }
)
"""Parts of dates that columns restate, each as a number."""


def part_of(dates: Dates, part: str) -> npt.NDArray[np.float64]:
    """A part of each date, shape (n,); NaN where the date is missing."""
    return np.where(np.isnat(dates), np.nan, PARTS[part](dates))


def _parts(dates: Dates) -> list[tuple[str, Codes]]:
    return [(part, factorized(part_of(dates, part))[0]) for part in PARTS]


def _one_to_one(first: Codes, second: Codes) -> bool:
    """True if either tells the other; of a column with two values the date may be the cause, so three are needed.

    And they have to repeat: where each day has one record, and that one a price of its own, each tells the other too.
    """
    both = (first >= 0) & (second >= 0)
    first, second = first[both], second[both]
    levels = len(np.unique(first))
    if first.size and np.bincount(first).max() > _MOST_OF_ONE_VALUE * first.size:
        return False
    if first.size < max(_LEAST_ROWS, 0.5 * both.size) or levels < 3 or levels > _MOST_LEVELS_A_ROW * first.size:
        return False
    wide = int(second.max()) + 1
    keys, counts = np.unique(first * wide + second, return_counts=True)
    for side in (keys // wide, keys % wide):
        largest = np.zeros(int(side.max()) + 1)
        np.maximum.at(largest, side, counts)
        if largest.sum() < _AGREEMENT * first.size:
            return False
    return True
