"""`RecordTable`: a table that errors are put into: what its columns are, and cells written as it writes its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from anomaly_detection.data.cells.cells import as_texts, content
from anomaly_detection.data.columns.schema import Role, Schema
from anomaly_detection.evaluation.cell_styles import DateStyles, number_like, thousands_mark

__all__ = ["RecordTable", "with_cells"]

_REPEATED = 5
_NAMES = 0.99
_FEWEST_LEVELS_OF_A_READING = 20
_LOOKED_AT = 200
_LAST_YEAR = 2261  # that nanoseconds since 1970 count to its end
_EPOCHS = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9, "excel": 1.0 / 86_400.0}


class RecordTable:
    """A table, what its columns are, and how they write their cells; rules settle it, no model.

    Parameters
    ----------
    frame : pandas.DataFrame
        Raw records; they stay as they are.
    schema : Schema
        What the columns are.

    Attributes
    ----------
    frame, schema
        As given.
    clean : pandas.DataFrame
        The records as the schema reads them.
    numbers, dates : list of str
        Columns of numbers and of dates that differ.
    categories : list of str
        Other columns in which most rows have a value that five rows or more have.
    names : list of str
        Other columns that name a record: 99 % of their values differ.
    readings : list of str
        Columns of numbers, twenty different ones or more, that follow the row above (rank correlation above one
        half), in a table with dates.
    """

    def __init__(self, frame: pd.DataFrame, schema: Schema) -> None:
        self.frame = frame
        self.schema = schema
        self.clean, _ = schema.clean(frame)
        self.numbers = [name for name in self._present(Role.NUMERIC) if self._varies(name)]
        self.dates = [name for name in self._present(Role.TIMESTAMP) if self._varies(name)]
        texts = {name: as_texts(frame[name]) for name in self._present(Role.CATEGORICAL, Role.IDENTIFIER, Role.TEXT)}
        counts = {name: column.value_counts() for name, column in texts.items()}
        self.categories = [
            name
            for name, count in counts.items()
            if len(count) > 1 and int(count[count >= _REPEATED].sum()) >= 0.5 * len(frame)
        ]
        self.names = [name for name, count in counts.items() if len(count) >= max(2, _NAMES * len(frame))]
        self.readings = [name for name in self.numbers if self._follows(name)]
        self._cells: dict[str, npt.NDArray[np.object_]] = {}
        self._styles: dict[str, DateStyles] = {}
        self._thousands: dict[str, str] = {}

    def _present(self, *roles: Role) -> list[str]:
        return [name for name in self.schema.names(*roles) if name in self.frame.columns]

    def _varies(self, name: str) -> bool:
        return int(self.clean[name].nunique()) > 1

    def _follows(self, name: str) -> bool:
        ranks = self.clean[name].rank()
        if not self.dates or ranks.nunique() < _FEWEST_LEVELS_OF_A_READING:
            return False
        return float(ranks.corr(ranks.shift())) > 0.5

    def cell(self, name: str, row: int) -> Any:
        """The raw cell."""
        if name not in self._cells:
            self._cells[name] = self.frame[name].astype(object).to_numpy()
        return self._cells[name][row]

    def number(self, name: str, row: int) -> float:
        """The number in a cell; NaN where there is none."""
        value: Any = self.clean[name].iat[row]
        return float(value)

    def as_number(self, name: str, row: int, value: float) -> Any:
        """A number as the cell writes its own; None where it cannot be."""
        cell = self.cell(name, row)
        if not np.isfinite(value) or isinstance(cell, (bool, np.bool_)):
            return None
        if isinstance(cell, str):
            comma = bool(self.schema[name].decimal_comma)
            if name not in self._thousands:
                self._thousands[name] = thousands_mark(self.frame[name], comma)
            return number_like(cell, value, comma, self._thousands[name])
        if isinstance(cell, (int, np.integer)) and value == round(value):
            return int(value)
        return value if isinstance(cell, (int, float, np.integer, np.floating)) else None

    def as_held(self, name: str, cell: Any) -> Any:
        """A cell of any column as this one can hold it: text as it is, None where its type cannot."""
        held = content(self.frame[name])
        if not pd.api.types.is_scalar(cell) or pd.isna(cell):
            return None
        if held == "texts":
            return cell if isinstance(cell, str) else str(cell)
        fits: Any = {"dates": date, "numbers": (int, float, np.integer, np.floating), "spans": timedelta}[held]
        return cell if isinstance(cell, fits) and not isinstance(cell, bool) else None

    def date(self, name: str, row: int) -> datetime | None:
        """The date in a cell, without a time zone; None where there is none."""
        value: Any = self.clean[name].iat[row]
        return None if pd.isna(value) else pd.Timestamp(value).to_pydatetime(warn=False)

    def as_date(self, name: str, row: int, value: datetime) -> Any:
        """A date as the cell writes its own; None where its form is not known or cannot tell this date."""
        cell, own = self.cell(name, row), self.date(name, row)
        if own is None or value.year > _LAST_YEAR:
            return None
        if isinstance(cell, str):
            if name not in self._styles:
                self._styles[name] = DateStyles(
                    self._some_dates(name), any(form[0] == "d" for form in self.schema[name].dates)
                )
            return self._styles[name].write(cell, own, value)
        if isinstance(cell, date):
            # The distance, so that time zones and what a cell has below a microsecond stay.
            return cell + (value - own)
        epoch = self.schema[name].epoch
        if not epoch or not isinstance(cell, (int, float, np.integer, np.floating)):
            return None
        if epoch == "yyyymmdd":
            return int(f"{value:%Y%m%d}")
        if epoch == "yymmdd":
            # Of two figures, 69 and more are of the last century, and what begins with 0 has five.
            return int(f"{value:%y%m%d}") if 2010 <= value.year <= 2068 or 1969 <= value.year <= 1999 else None
        if epoch not in _EPOCHS:
            return None
        new = float(cell) + (value - own) / timedelta(seconds=1) * _EPOCHS[epoch]
        return int(new) if isinstance(cell, (int, np.integer)) else new

    def _some_dates(self, name: str) -> Iterator[tuple[str, datetime]]:
        for row in range(0, len(self.frame), max(1, len(self.frame) // _LOOKED_AT)):
            cell, own = self.cell(name, row), self.date(name, row)
            if own is not None and isinstance(cell, str):
                yield cell, own


def with_cells(column: pd.Series[Any], cells: Mapping[int, Any]) -> pd.Series[Any]:
    """A column with other cells in some rows (positions), of the narrowest type that holds both."""
    lost = [row for row, cell in cells.items() if pd.api.types.is_scalar(cell) and pd.isna(cell)]
    given = {row: cell for row, cell in cells.items() if row not in set(lost)}
    for wider in _types(column, list(given.values())):
        array: Any = (column if wider is None else column.astype(wider)).array.copy()
        try:
            with np.errstate(invalid="ignore"):
                if given:
                    array[list(given)] = list(given.values())
                if lost:
                    array[lost] = pd.NaT if array.dtype.kind in "mM" else getattr(array.dtype, "na_value", np.nan)
        except (TypeError, ValueError, OverflowError):
            continue
        if all(_same(array[row], cell) for row, cell in cells.items()):
            return pd.Series(array, index=column.index, name=column.name)
    values = column.astype(object).to_numpy(copy=True)
    for row, cell in cells.items():
        values[row] = cell
    return pd.Series(values, index=column.index, name=column.name, dtype=object)


def _types(column: pd.Series[Any], new: list[Any]) -> Iterator[Any]:
    """What may hold the column and new cells, narrowest first; None is the type that it has."""
    yield None
    if isinstance(column.dtype, pd.CategoricalDtype) and all(isinstance(cell, str) for cell in new):
        known = column.cat.categories.astype(object)
        yield pd.CategoricalDtype([*known, *sorted(set(new) - set(known))], ordered=column.dtype.ordered)
    if content(column) == "numbers":
        yield "float64" if isinstance(column.dtype, np.dtype) else "Float64"


def _same(held: Any, cell: Any) -> bool:
    if not (pd.api.types.is_scalar(held) and pd.api.types.is_scalar(cell)):
        return held is cell
    if pd.isna(cell) or pd.isna(held):
        return bool(pd.isna(cell) and pd.isna(held))
    # NumPy would compare with the precision of the narrower one.
    held = float(held) if isinstance(held, np.floating) else held
    return bool(isinstance(held, str) == isinstance(cell, str) and held == cell)
