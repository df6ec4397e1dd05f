"""`RecordReader`: one record at a time into a `Table` of one row, as `Schema.read` reads it, without a frame."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from anomaly_detection.data.cells.known_dates import KnownForms
from anomaly_detection.data.cells.missing import says_missing
from anomaly_detection.data.cells.number_texts import parse_numbers
from anomaly_detection.data.cells.well_formed_text import well_formed
from anomaly_detection.data.columns.cleaning import CleaningReport, ColumnCleaning
from anomaly_detection.data.columns.column import Column, Role
from anomaly_detection.data.columns.reading import category_name
from anomaly_detection.data.columns.schema import Schema
from anomaly_detection.data.columns.table import Coded, Table

__all__ = ["RecordReader", "is_record"]

_REMEMBERED = 10_000
"""Cells of a column whose reading is remembered."""

_LONGEST = 200
_PLAIN = (str, int, float, bool, type(None))
_DATES = (datetime.datetime, pd.Timestamp)
_KEPT_AS_THEY_CAME = (Role.IDENTIFIER, Role.TEXT, Role.CONSTANT, Role.IGNORED)
_LARGEST_WHOLE = 2**63

# Up to 15 digits a text is the nearest number, whoever reads it.
_NUMBER = re.compile(r"-?(?=[\d.]{1,16}$)(?:\d{1,15}|\d+\.\d+)", re.ASCII)
_WHOLE = re.compile(r"-?\d{1,15}", re.ASCII)
_FIRST_YEAR, _LAST_YEAR = 1678, 2261

Read = tuple[tuple[tuple[str, Any], ...], ColumnCleaning | None]
"""Columns of one row by their names, and what cleaning did if it did anything."""


def is_record(data: Any) -> bool:
    """Whether something is a dict of texts to cells, and for certain none of columns."""
    return type(data) is dict and any(type(cell) in _PLAIN for cell in data.values()) and {*map(type, data)} == {str}


class RecordReader:
    """Reads records by a schema; what a cell is read as is remembered, since most cells come again.

    The plain way is `Schema.read` of a table of one record. It is gone for every cell that is neither remembered nor
    a number or a date as programs write it.

    Parameters
    ----------
    schema : Schema
    """

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        words = schema.word_columns()
        self._cells = [(column.name, _reader(column, words.get(column.name))) for column in schema.columns]
        self._optional = {column.name for column in schema.columns if column.role in _KEPT_AS_THEY_CAME}

    def read(self, record: Mapping[str, Any]) -> tuple[Table, CleaningReport] | None:
        """What `Schema.read` gives for this one record; None where a column is missing, which it tells of."""
        columns: dict[str, Any] = {}
        report = CleaningReport(rows=1)
        for name, read in self._cells:
            if name in record:
                found, done = read(record[name])
                for own, values in found:
                    columns[own] = values
                if done is not None:
                    report.columns[name] = done
            elif name not in self._optional:
                return None
        return Table(columns, 1), report


def _reader(column: Column, words: str | None) -> Callable[[Any], Read]:
    if column.role in _KEPT_AS_THEY_CAME:
        return lambda cell: (((column.name, _object(cell)),), None)
    if column.role is Role.CATEGORICAL and not column.note:
        return _Categories(column)
    quick: _Quick | None = None
    # A note is told beside every cell.
    if not column.note and column.role is Role.NUMERIC:
        quick = _Numbers(column, words)
    elif not column.note and column.role is Role.TIMESTAMP and column.epoch is None and not column.codes:
        quick = _Dates(column, words)
    return _Remembered(column, words, quick)


def _object(cell: Any) -> Any:
    made = np.empty(1, dtype=object)
    made[0] = well_formed(cell) if type(cell) is str else cell
    return made


class _Remembered:
    """Reads the cells of a column: quickly where that can be, else as a table of one cell, once each."""

    def __init__(self, column: Column, words: str | None, quick: _Quick | None) -> None:
        self._schema, self._name, self._words, self._quick = Schema((column,)), column.name, words, quick
        self._known: dict[Any, Read] = {}

    def __call__(self, cell: Any) -> Read:
        quick, is_text = self._quick, type(cell) is str
        remembers = quick is None or (quick.again and is_text)
        if quick is not None and not remembers and (found := quick(cell)) is not None:
            return found
        key = cell if is_text else _key(cell)
        known = None if key is None else self._known.get(key)
        if known is not None:
            return known
        read = (quick(cell) if quick is not None and remembers else None) or self._read(cell)
        if key is not None and not (is_text and len(cell) > _LONGEST):
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[key] = read
        return read

    def _read(self, cell: Any) -> Read:
        table, report = self._schema.read([{self._name: cell}])
        names = (self._name,) if self._words is None else (self._name, self._words)
        return tuple(zip(names, (table[name] for name in table), strict=True)), report.columns.get(self._name)


def _key(cell: Any) -> Any:
    """What tells a cell from all others that may be read otherwise; None where it is not to be remembered."""
    kind = type(cell)
    if kind in (int, bool, type(None)):
        return (kind, cell)
    return (kind, repr(cell)) if kind in (float, *_DATES, datetime.date) else None


class _Categories(_Remembered):
    """Reads texts as `read_categories` does."""

    def __init__(self, column: Column) -> None:
        super().__init__(column, None, None)
        self._column, self._codes = column, {code.strip().lower() for code in column.codes}

    def _read(self, cell: Any) -> Read:
        if type(cell) is not str or well_formed(cell) != cell:
            return super()._read(cell)
        name, done = category_name(cell, self._column.truth, self._column.unit), None
        if says_missing(name, self._column.kept):
            done = ColumnCleaning(blank=1)
        elif says_missing(name, self._column.kept, self._codes):
            done = ColumnCleaning(coded={name: 1})
        return ((self._name, Coded(np.array([0]), [name]) if done is None else Coded(np.array([-1]), [])),), done


class _Quick:
    """Reads the commonest kinds of cells of a column; None for all others.

    Attributes
    ----------
    again : bool
        Whether texts come again so often that it is quicker to remember them.
    """

    again: ClassVar[bool] = False

    def __init__(self, column: Column, words: str | None) -> None:
        self._name = column.name
        self._words = () if words is None else ((words, Coded(np.array([-1]), [])),)
        self._told = ColumnCleaning(from_text=1)

    def __call__(self, cell: Any) -> Read | None:
        raise NotImplementedError

    def _read(self, value: Any, kind: str, done: ColumnCleaning | None) -> Read:
        return ((self._name, np.array([value], dtype=kind)), *self._words), done


class _Numbers(_Quick):
    """Numbers that are numbers, and texts of digits."""

    def __init__(self, column: Column, words: str | None) -> None:
        super().__init__(column, words)
        self._plain = _WHOLE if column.decimal_comma else _NUMBER
        self._codes = parse_numbers(pd.Series(list(column.codes), dtype=object)).tolist() if column.codes else []

    def __call__(self, cell: Any) -> Read | None:
        kind, done = type(cell), None
        if kind is str and self._plain.fullmatch(cell):
            done = self._told
        elif not (kind is float or kind is np.float64 or (kind is int and abs(cell) < _LARGEST_WHOLE)):
            return None
        number = float(cell)
        if not isfinite(number):
            return None
        if self._codes and any(abs(number - code) <= 1e-6 * abs(code) for code in self._codes):
            return None
        return self._read(number, "float64", done)


class _Dates(_Quick):
    """Dates that are dates, and texts such as 2024-01-31 06:17, 31-Jan-24, or 31.01.2024 if training had that form."""

    again = True

    def __init__(self, column: Column, words: str | None) -> None:
        super().__init__(column, words)
        self._known = KnownForms(column.dates)

    def __call__(self, cell: Any) -> Read | None:
        kind, done = type(cell), None
        if kind is str:
            cell, done = self._known(cell), self._told
            if cell is None:
                return None
        elif not (kind in _DATES and cell.tzinfo is None and _FIRST_YEAR <= cell.year <= _LAST_YEAR):
            return None
        try:
            return self._read(cell.to_datetime64() if kind is pd.Timestamp else cell, "datetime64[ns]", done)
        except ValueError:
            # No such day.
            return None
