"""Errors that people and systems make in records, each put into the raw cells of a table.

A kind of error is a function that takes the table, a row and a random generator, and gives the row's new cells. Cells are
written as their column writes them: text stays text, with its decimals, its sign for the decimal and its form of
date. Which columns can hold an error is read from the records themselves, by rules that no model takes part in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from anomaly_detection.data.schema import Role, Schema

__all__ = ["RECORD_ERRORS", "Cells", "ErrorKind", "ErrorTable"]

Cells = Mapping[str, Any]
"""New raw cells of a row, by column."""

_NUMBER = re.compile(r"[-+]?\d[\d.,' ]*\d|[-+]?\d")
_LEADING_ZERO = re.compile(r"(?<!\d)0(?=\d)")
_FORMS = tuple(
    f"{date}{time}"
    for date in (
        *("%Y-%m-%d", "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%Y/%m/%d", "%d-%b-%Y", "%d-%b-%y", "%d %b %Y"),
        *("%m/%d/%y", "%d/%m/%y", "%d.%m.%y", "%b %d, %Y", "%B %d, %Y", "%Y%m%d"),
    )
    for time in ("", " %H:%M", " %H:%M:%S", "T%H:%M:%S", "T%H:%M:%SZ", " %H:%M:%S.%f", " %I:%M:%S %p")
)
_SENTINELS = (-999.0, -9999.0, 9999.0, 99999.0)
_COMMON = 5
_STUCK = 6
_SWITCHES = 40


class ErrorTable:
    """A table, what its columns are, and what errors may be made of it.

    Parameters
    ----------
    frame : pandas.DataFrame
        Raw records.
    schema : Schema
        What the columns are.

    Attributes
    ----------
    numbers, dates, categories, names, readings : list of str
        Columns of numbers; of dates; of texts that repeat; that name a record and hardly repeat; of numbers that
        follow the row above (rank correlation above one half).
    """

    def __init__(self, frame: pd.DataFrame, schema: Schema) -> None:
        self.frame = frame
        self.schema = schema
        self.clean, _ = schema.clean(frame)
        self.numbers = [name for name in schema.names(Role.NUMERIC) if self._varies(name)]
        self.dates = [name for name in schema.names(Role.TIMESTAMP) if self._varies(name)]
        other = [name for name in schema.names() if name not in {*self.numbers, *self.dates}]
        self.categories = [name for name in other if self._repeats(name)]
        self.names = [
            name for name in other if frame[name].notna().any() and frame[name].nunique() >= 0.99 * len(frame)
        ]
        self._forms: dict[str, tuple[str | None, bool]] = {}
        self.readings = [name for name in self.numbers if self._follows(name)]

    def _varies(self, name: str) -> bool:
        return int(self.clean[name].nunique()) > 1

    def _repeats(self, name: str) -> bool:
        counts = self.frame[name].value_counts()
        return len(counts) > 1 and int(counts[counts >= _COMMON].sum()) >= 0.5 * len(self.frame)

    def _follows(self, name: str) -> bool:
        ranks = self.clean[name].rank()
        if ranks.nunique() < 20 or not self.dates:
            return False
        return float(ranks.corr(ranks.shift())) > 0.5

    def number(self, name: str, row: int) -> float:
        """The number in a cell; NaN where there is none."""
        return float(self.clean[name].iat[row])

    def as_number(self, name: str, row: int, value: float) -> Any:
        """A number as the cell writes its own."""
        cell = self.frame[name].iat[row]
        if not isinstance(cell, str):
            return value
        comma = self.schema[name].decimal_comma
        found = _NUMBER.search(cell)
        own = found.group() if found else cell
        digits = len(own.rpartition("," if comma else ".")[2]) if ("," if comma else ".") in own else 0
        text = f"{value:.{digits}f}" if digits or value == round(value) else f"{value:.6g}"
        text = text.replace(".", ",") if comma else text
        return cell.replace(own, text, 1)

    def date(self, name: str, row: int) -> datetime | None:
        """The date in a cell; None where there is none."""
        value = self.clean[name].iat[row]
        return None if pd.isna(value) else pd.Timestamp(value).to_pydatetime()

    def as_date(self, name: str, row: int, value: datetime) -> Any:
        """A date as the cell writes its own; None where its form is not known."""
        cell = self.frame[name].iat[row]
        if not isinstance(cell, str):
            return pd.Timestamp(value) if isinstance(cell, (datetime, np.datetime64)) else None
        if name not in self._forms:
            self._forms[name] = self._form(name)
        form, padded = self._forms[name]
        if form is None:
            return None
        text = value.strftime(form)
        return text if padded else _LEADING_ZERO.sub("", text)

    def _form(self, name: str) -> tuple[str | None, bool]:
        """How a column of texts writes its dates, and whether with leading zeros: as all of some rows do."""
        some = [(str(self.frame[name].iat[row]), self.date(name, row)) for row in range(0, len(self.frame), 50)]
        known = [(cell, own) for cell, own in some if own is not None]
        for form in _FORMS:
            if known and all(_reads(cell, form) == own for cell, own in known):
                return form, all(own.strftime(form) == cell for cell, own in known)
        return None, False


def _reads(cell: str, form: str) -> datetime | None:
    try:
        return datetime.strptime(cell, form)
    except ValueError:
        return None


ErrorKind = Callable[[ErrorTable, int, np.random.Generator], Cells | None]
"""Gives a row's new cells, or None where the row cannot have the error (another draw may)."""


def _pick(names: list[str], rng: np.random.Generator) -> str | None:
    return names[rng.integers(len(names))] if names else None


def _of_number(change: Callable[[float], float]) -> ErrorKind:
    def make(table: ErrorTable, row: int, rng: np.random.Generator) -> Cells | None:
        name = _pick(table.numbers, rng)
        if name is None:
            return None
        value = table.number(name, row)
        new = change(value)
        return {name: table.as_number(name, row, new)} if np.isfinite(value) and new != value else None

    return make


def _sentinel(table: ErrorTable, row: int, rng: np.random.Generator) -> Cells | None:
    name = _pick(table.numbers, rng)
    if name is None or np.isnan(table.number(name, row)):
        return None
    values = table.clean[name]
    codes = [code for code in _SENTINELS if not values.min() <= code <= values.max()]
    return {name: table.as_number(name, row, float(rng.choice(codes)))} if codes else None


def _other_number(table: ErrorTable, row: int, rng: np.random.Generator) -> Cells | None:
    name = _pick(table.numbers, rng)
    return None if name is None else _of_another_row(table, name, row, rng)


def _other_category(table: ErrorTable, row: int, rng: np.random.Generator) -> Cells | None:
    name = _pick(table.categories, rng)
    return None if name is None else _of_another_row(table, name, row, rng)


def _of_another_row(table: ErrorTable, name: str, row: int, rng: np.random.Generator) -> Cells | None:
    own, values = table.clean[name].iat[row], table.clean[name]
    donor = int(rng.integers(len(values)))
    if pd.isna(own) or pd.isna(values.iat[donor]) or values.iat[donor] == own:
        return None
    return {name: table.frame[name].iat[donor]}


def _of_date(change: Callable[[datetime], datetime | None]) -> ErrorKind:
    def make(table: ErrorTable, row: int, rng: np.random.Generator) -> Cells | None:
        name = _pick(table.dates, rng)
        own = None if name is None else table.date(name, row)
        new = None if own is None else change(own)
        if name is None or new is None or new == own:
            return None
        cell = table.as_date(name, row, new)
        return None if cell is None else {name: cell}

    return make


def _in_year(year: Callable[[int], int]) -> Callable[[datetime], datetime | None]:
    def change(date: datetime) -> datetime | None:
        return date.replace(year=year(date.year), day=min(date.day, 28))

    return change


def _day_and_month(date: datetime) -> datetime | None:
    return date.replace(day=date.month, month=date.day) if date.day <= 12 else None


def _dates_swapped(table: ErrorTable, row: int, rng: np.random.Generator) -> Cells | None:
    if len(table.dates) < 2:
        return None
    first, second = (table.dates[i] for i in rng.choice(len(table.dates), 2, replace=False))
    one, other = table.date(first, row), table.date(second, row)
    if one is None or other is None or one == other:
        return None
    cells = {first: table.as_date(first, row, other), second: table.as_date(second, row, one)}
    return None if any(cell is None for cell in cells.values()) else cells


def _typo(table: ErrorTable, row: int, rng: np.random.Generator) -> Cells | None:
    name = _pick(table.categories, rng)
    cell = None if name is None else table.frame[name].iat[row]
    if not isinstance(cell, str) or len(cell) < 4 or name is None:
        return None
    at = int(rng.integers(len(cell) - 1))
    wrong = (
        cell[:at] + cell[at + 1] + cell[at] + cell[at + 2 :],
        cell[:at] + cell[at + 1 :],
        cell[:at] + cell[at] + cell[at:],
    )[rng.integers(3)]
    return None if wrong.strip() in set(table.frame[name].dropna().astype(str).str.strip()) else {name: wrong}


def _copied(table: ErrorTable, row: int, rng: np.random.Generator) -> Cells | None:
    donor = int(rng.integers(len(table.frame)))
    if donor == row:
        return None
    return {name: table.frame[name].iat[donor] for name in table.frame.columns if name not in table.names}


def _shifted(table: ErrorTable, row: int, rng: np.random.Generator) -> Cells | None:
    names = list(table.frame.columns)
    if len(names) < 3:
        return None
    first = int(rng.integers(len(names) - 1))
    blank = "" if any(isinstance(cell, str) for cell in table.frame.iloc[row]) else None
    cells = {names[i]: table.frame[names[i + 1]].iat[row] for i in range(first, len(names) - 1)}
    return {**cells, names[-1]: blank}


def _stuck(table: ErrorTable, row: int, rng: np.random.Generator) -> Cells | None:
    # The value of the row that lies so many above, which the rows between get as well.
    name = _pick(table.readings, rng)
    if name is None or row < 1 or np.isnan(table.number(name, row)):
        return None
    return {name: table.frame[name].iat[row - 1]} if table.number(name, row - 1) != table.number(name, row) else None


def _jump(table: ErrorTable, row: int, rng: np.random.Generator) -> Cells | None:
    name = _pick(table.readings, rng)
    if name is None:
        return None
    value = table.number(name, row)
    low, high = np.nanquantile(table.clean[name].to_numpy(dtype=np.float64), [0.02, 0.98])
    step = 0.5 * (high - low)
    new = value + step if value + step <= high else value - step
    return {name: table.as_number(name, row, new)} if np.isfinite(value) and step > 0 else None


RECORD_ERRORS: dict[str, ErrorKind] = {
    "number_times_10": _of_number(lambda value: value * 10.0),
    "number_times_1000": _of_number(lambda value: value * 1000.0),
    "number_a_tenth": _of_number(lambda value: value / 10.0),
    "sign_flipped": _of_number(lambda value: -value),
    "sentinel_code": _sentinel,
    "number_of_another_row": _other_number,
    "date_a_year_later": _of_date(_in_year(lambda year: year + 1)),
    "date_far_in_the_future": _of_date(_in_year(lambda year: 2091)),
    "dates_swapped": _dates_swapped,
    "day_and_month_swapped": _of_date(_day_and_month),
    "typo_in_a_category": _typo,
    "category_of_another_row": _other_category,
    "record_copied": _copied,
    "record_shifted_by_a_column": _shifted,
    "reading_stuck": _stuck,
    "reading_jumps": _jump,
}
"""Every kind of error by its name."""


def put_errors(
    table: ErrorTable, kinds: tuple[str, ...], count: int, rng: np.random.Generator
) -> tuple[pd.DataFrame, npt.NDArray[np.object_], npt.NDArray[np.object_]]:
    """Put one error into each of `count` rows, kinds by turns: the records, each row's kind and its first column."""
    frame = table.frame.copy()
    changed: dict[str, dict[int, Any]] = {}
    kind_of = np.full(len(frame), "normal", dtype=object)
    column_of = np.full(len(frame), "", dtype=object)
    free = list(rng.permutation(len(frame)))
    usable = list(kinds)
    done = 0
    while done < count and usable and free:
        kind = usable[done % len(usable)]
        for _ in range(_SWITCHES):
            row = int(free[rng.integers(len(free))])
            cells = RECORD_ERRORS[kind](table, row, rng)
            if cells is None:
                continue
            free.remove(row)
            for name, cell in cells.items():
                changed.setdefault(name, {})[row] = cell
            kind_of[row], column_of[row] = kind, next(iter(cells))
            done += 1
            break
        else:
            usable.remove(kind)
    for name, cells in changed.items():
        frame[name] = _with_cells(frame[name], cells)
    return frame, kind_of, column_of


def _with_cells(column: pd.Series[Any], cells: Mapping[int, Any]) -> pd.Series[Any]:
    values = column.astype(object).to_numpy(copy=True)
    for row, cell in cells.items():
        values[row] = cell
    made = pd.Series(values, index=column.index, name=column.name, dtype=object)
    kept = pd.api.types.is_numeric_dtype(column.dtype) and all(
        cell is None or isinstance(cell, (int, float, np.number)) for cell in cells.values()
    )
    return made.astype(np.float64) if kept else made
