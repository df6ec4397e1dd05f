"""Errors in single records: numbers, dates, categories and whole records as people and systems get them wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import combinations
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from anomaly_detection.evaluation.error_kind import CellError, Cells, Change, Error, ErrorKind, Rows
from anomaly_detection.evaluation.record_table import RecordTable

__all__ = ["RECORD_ERRORS"]

_SENTINELS = (-999.0, -9999.0, 9999.0, 99999.0)
_FAR = 40  # years: a year of two digits still reads as one to come
_FEWEST_LETTERS = 4
_RUN = 6
_SHORTEST_RUN = 3

Find = Callable[[RecordTable], Sequence[Error]]


# Numbers.


def _of_numbers(change: Callable[[float], float]) -> Find:
    def error(table: RecordTable, name: str) -> CellError:
        def make(row: int, rng: np.random.Generator) -> Cells | None:
            old = table.number(name, row)
            new = change(old)
            cell = table.as_number(name, row, new) if new != old else None
            return None if cell is None else {name: cell}

        return CellError((name,), make)

    return lambda table: [error(table, name) for name in table.numbers]


def _sentinels(table: RecordTable) -> list[CellError]:
    def error(name: str, codes: Sequence[float]) -> CellError:
        def make(row: int, rng: np.random.Generator) -> Cells | None:
            code = codes[int(rng.integers(len(codes)))]
            cell = None if np.isnan(table.number(name, row)) else table.as_number(name, row, code)
            return None if cell is None else {name: cell}

        return CellError((name,), make)

    found = []
    for name in table.numbers:
        low, high = table.clean[name].min(), table.clean[name].max()
        codes = [code for code in _SENTINELS if not low <= code <= high]
        found += [error(name, codes)] if codes else []
    return found


def _of_another_row(table: RecordTable, names: Sequence[str]) -> list[CellError]:
    def error(name: str) -> CellError:
        values = table.clean[name].to_numpy(dtype=object)
        given = np.flatnonzero(pd.notna(values))

        def make(row: int, rng: np.random.Generator) -> Cells | None:
            donor = int(given[rng.integers(len(given))])
            if pd.isna(values[row]) or values[donor] == values[row]:
                return None
            return {name: table.cell(name, donor)}

        return CellError((name,), make)

    return [error(name) for name in names]


# Dates.


def _of_dates(change: Callable[[datetime], datetime | None]) -> Find:
    def error(table: RecordTable, name: str) -> CellError:
        def make(row: int, rng: np.random.Generator) -> Cells | None:
            old = table.date(name, row)
            new = None if old is None else change(old)
            cell = None if new is None or new == old else table.as_date(name, row, new)
            return None if cell is None else {name: cell}

        return CellError((name,), make)

    return lambda table: [error(table, name) for name in table.dates]


def _years_later(years: int) -> Callable[[datetime], datetime]:
    def change(date: datetime) -> datetime:
        leap_day = (date.month, date.day) == (2, 29)
        return date.replace(year=date.year + years, day=28 if leap_day else date.day)

    return change


def _day_and_month(date: datetime) -> datetime | None:
    return date.replace(day=date.month, month=date.day) if date.day <= 12 else None


def _swapped_dates(table: RecordTable) -> list[CellError]:
    def error(first: str, second: str) -> CellError:
        def make(row: int, rng: np.random.Generator) -> Cells | None:
            one, other = table.date(first, row), table.date(second, row)
            if one is None or other is None or one == other:
                return None
            cells = {first: table.as_date(first, row, other), second: table.as_date(second, row, one)}
            return None if any(cell is None for cell in cells.values()) else cells

        return CellError((first, second), make)

    return [error(first, second) for first, second in combinations(table.dates, 2)]


# Categories.


def _typos(table: RecordTable) -> list[CellError]:
    def error(name: str) -> CellError:
        known = {cell.strip() for cell in table.frame[name].unique() if isinstance(cell, str)}

        def make(row: int, rng: np.random.Generator) -> Cells | None:
            cell = table.cell(name, row)
            if not isinstance(cell, str) or len(cell) < _FEWEST_LETTERS:
                return None
            at = int(rng.integers(len(cell) - 1))
            swapped = cell[:at] + cell[at + 1] + cell[at] + cell[at + 2 :]
            wrong = (swapped, cell[:at] + cell[at + 1 :], cell[:at] + cell[at] + cell[at:])[rng.integers(3)]
            return None if wrong.strip() in known else {name: wrong}

        return CellError((name,), make)

    return [error(name) for name in table.categories]


# Records.


@dataclass(frozen=True)
class _Copy:
    """Another record under this one's number."""

    table: RecordTable
    columns: tuple[str, ...]

    @property
    def says(self) -> str:
        return "all but " + " and ".join(self.table.names) if self.table.names else "all columns"

    def put(self, rows: Rows, count: int, rng: np.random.Generator) -> list[Change]:
        made: list[Change] = []
        free = rows.tolist()
        while len(made) < count and len(free) > 1:
            row, donor = free.pop(), free.pop(0)
            cells = {name: self.table.cell(name, donor) for name in self.columns}
            differs = [name for name in self.columns if not _alike(cells[name], self.table.cell(name, row))]
            if differs:
                made.append(Change(row, {name: cells[name] for name in differs}, keeps=(donor,)))
        return made


def _alike(cell: Any, other: Any) -> bool:
    """Whether two raw cells show the same; missing ones do."""
    if pd.api.types.is_scalar(cell) and pd.api.types.is_scalar(other) and pd.isna(cell):
        return bool(pd.isna(other))
    return str(cell) == str(other)


def _copies(table: RecordTable) -> list[_Copy]:
    columns = tuple(name for name in table.frame.columns if name not in table.names)
    return [_Copy(table, columns)] if columns else []


def _shifts(table: RecordTable) -> list[CellError]:
    columns = tuple(table.frame.columns)

    def make(row: int, rng: np.random.Generator) -> Cells | None:
        old = [table.cell(name, row) for name in columns]
        blank = "" if isinstance(old[-1], str) else None
        first = int(rng.integers(len(columns) - 1))
        moved = [table.as_held(columns[i], old[i + 1]) for i in range(first, len(columns) - 1)]
        new = [*old[:first], *moved, blank]
        cells = {name: now for name, now, was in zip(columns, new, old, strict=True) if not _alike(now, was)}
        return cells if len(cells) > 1 else None

    return [CellError(columns, make)] if len(columns) > 2 else []


# Readings.


@dataclass(frozen=True)
class _Stuck:
    """One value held over a run of rows: that of the row before them."""

    table: RecordTable
    name: str
    values: npt.NDArray[np.float64]

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.name,)

    @property
    def says(self) -> str:
        return self.name

    def put(self, rows: Rows, count: int, rng: np.random.Generator) -> list[Change]:
        made: list[Change] = []
        free = np.zeros(len(self.values), dtype=bool)
        free[rows] = True
        starts = iter(rows.tolist())
        while count - len(made) >= _SHORTEST_RUN:
            left = count - len(made)
            length = left if left < _RUN + _SHORTEST_RUN else _RUN
            start = next((row for row in starts if self._can_hold(row, length, free)), None)
            if start is None:
                break
            held = self.table.cell(self.name, start)
            run = range(start + 1, start + 1 + length)
            made += [Change(row, {self.name: held}, keeps=(start,)) for row in run]
            free[start : start + 1 + length] = False
        return made

    def _can_hold(self, start: int, length: int, free: npt.NDArray[np.bool_]) -> bool:
        run = slice(start + 1, start + 1 + length)
        others = self.values[run]
        differs = np.isfinite(others) & (others != self.values[start])
        return bool(len(others) == length and free[start] and free[run].all() and differs.all())


def _stuck(table: RecordTable) -> list[_Stuck]:
    return [_Stuck(table, name, table.clean[name].to_numpy(dtype=np.float64)) for name in table.readings]


def _jumps(table: RecordTable) -> list[CellError]:
    def error(name: str) -> CellError:
        values = table.clean[name].to_numpy(dtype=np.float64)
        low, high = np.nanquantile(values, [0.02, 0.98])
        step = 0.5 * (high - low)
        step = np.ceil(step) if np.all(np.isnan(values) | (values == np.round(values))) else step

        def make(row: int, rng: np.random.Generator) -> Cells | None:
            new = values[row] + (step if values[row] + step <= high else -step)
            cell = table.as_number(name, row, float(new)) if step > 0 else None
            return None if cell is None else {name: cell}

        return CellError((name,), make)

    return [error(name) for name in table.readings]


_NUMBERS = "a column of numbers"
_DATES = "a column of dates in a form that is known"
_CATEGORIES = "a column of texts that repeat"
_READINGS = "a column of numbers that follow the row above, and dates"

RECORD_ERRORS: Mapping[str, ErrorKind] = MappingProxyType(
    {
        "number_times_10": ErrorKind("a number ten times what it was", _NUMBERS, _of_numbers(lambda x: x * 10.0)),
        "number_times_1000": ErrorKind(
            "a number a thousand times what it was", _NUMBERS, _of_numbers(lambda x: x * 1e3)
        ),
        "number_a_tenth": ErrorKind("a number a tenth of what it was", _NUMBERS, _of_numbers(lambda x: x / 10.0)),
        "sign_flipped": ErrorKind("a number with the other sign", _NUMBERS, _of_numbers(lambda x: -x)),
        "sentinel_code": ErrorKind("-999, 9999 or the like in the place of a number", _NUMBERS, _sentinels),
        "number_of_another_row": ErrorKind(
            "a number of any other record", _NUMBERS, lambda table: _of_another_row(table, table.numbers)
        ),
        "date_a_year_later": ErrorKind("a date in the next year", _DATES, _of_dates(_years_later(1))),
        "date_far_in_the_future": ErrorKind(f"a date {_FAR} years later", _DATES, _of_dates(_years_later(_FAR))),
        "dates_swapped": ErrorKind("two dates in each other's place", "two columns of dates", _swapped_dates),
        "day_and_month_swapped": ErrorKind("3 April for 4 March", _DATES, _of_dates(_day_and_month)),
        "typo_in_a_category": ErrorKind("a letter lost, doubled or swapped with the next", _CATEGORIES, _typos),
        "category_of_another_row": ErrorKind(
            "a category of any other record", _CATEGORIES, lambda table: _of_another_row(table, table.categories)
        ),
        "record_copied": ErrorKind("a copy of another record under a number of its own", "two records", _copies),
        "record_shifted_by_a_column": ErrorKind(
            "each cell a column too far left, from some column on", "three columns", _shifts
        ),
        "reading_stuck": ErrorKind("one value held over some rows", _READINGS, _stuck),
        "reading_jumps": ErrorKind("a reading half the column's range off", _READINGS, _jumps),
    }
)
"""Kinds of error by their names."""
