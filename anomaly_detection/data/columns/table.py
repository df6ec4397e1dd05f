"""`Table`: the columns of clean records as plain arrays, many records or one, and categories as codes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt
import pandas as pd

__all__ = [
    "MISSING_LEVEL",
    "Coded",
    "Table",
    "Vocabulary",
    "as_table",
    "coded",
    "column_values",
    "factorized",
    "missing_in",
    "objects_of",
]

MISSING_LEVEL = "(missing)"
_FEW_TIMES = 10
_MOST_MADE = 1_000
"""Of a column for several models and columns of the same name."""

Bools = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.int64]
Dates = npt.NDArray[np.datetime64]
Floats = npt.NDArray[np.float64]
Rows = slice | npt.NDArray[Any]
Labels = Any  # an index of pandas, or what gives one


class Vocabulary:
    """Names of levels and the place of each; there is one for all that have the same names in the same order."""

    _all: ClassVar[WeakValueDictionary[tuple[Any, ...], Vocabulary]] = WeakValueDictionary()

    def __init__(self, names: tuple[Any, ...]) -> None:
        self.names = names
        self.place = {name: i for i, name in enumerate(names)}
        self.missing = self.place.get(MISSING_LEVEL, -1)

    @classmethod
    def of(cls, names: Iterable[Any]) -> Vocabulary:
        """The one of these names."""
        key = tuple(names)
        found = cls._all.get(key)
        if found is None:
            found = cls._all[key] = cls(key)
        return found


class Coded:
    """A column of categories: each row's position among names, -1 where it is missing.

    Attributes
    ----------
    codes : ndarray of int64, shape (n,)
    names : sequence
        Distinct; texts, of columns that a `Schema` read.
    """

    __slots__ = ("_made", "codes", "names")

    @staticmethod
    def of(codes: npt.NDArray[Any], names: Sequence[str]) -> Coded:
        """A column of these; of a single row one that is remembered, with all that was looked up for it."""
        if len(codes) != 1:
            return Coded(codes, names)
        code = int(codes[0])
        return _one(names[code] if code >= 0 else None)

    def __init__(self, codes: npt.NDArray[Any], names: Sequence[Any]) -> None:
        self.codes: Codes = np.asarray(codes, dtype=np.int64)
        self.names = names
        self._made: dict[Any, npt.NDArray[Any]] = {}

    def __len__(self) -> int:
        return len(self.codes)

    def within(self, vocabulary: Vocabulary) -> Codes:
        """Each row's place in a vocabulary, -1 where its name is not in it; what is missing is a name of its own.

        It is found once, however many ask.
        """
        found = self._made.get(vocabulary)
        if found is None:
            place = vocabulary.place
            # The last is that of code -1. Where a text says that it is missing, that is the same level.
            lookup = np.array([*(place.get(name, -1) for name in self.names), vocabulary.missing], dtype=np.int64)
            several = len(self.codes) > 1
            same = several and np.array_equal(lookup[:-1], np.arange(len(self.names))) and not (self.codes < 0).any()
            found = self._made[vocabulary] = self.codes if same else lookup[self.codes]
        return found

    def made(self, make: Callable[[Coded], npt.NDArray[Any]]) -> npt.NDArray[Any]:
        """What a function makes of this column, made once."""
        found = self._made.get(make)
        if found is None:
            if len(self._made) >= _MOST_MADE:
                # Columns of single records outlive the models that asked.
                self._made.clear()
            found = self._made[make] = make(self)
        return found

    def counts(self) -> Codes:
        """How many rows have each name, shape (names,)."""
        return np.bincount(self.codes[self.codes >= 0], minlength=len(self.names)).astype(np.int64)

    def isna(self) -> Bools:
        """Where a value is missing."""
        return np.asarray(self.codes < 0, dtype=bool)

    def take(self, rows: Rows) -> Coded:
        """Some of the rows."""
        return Coded(self.codes[rows], self.names)

    def part(self, rows: Rows) -> Coded:
        """Some of the rows, with the names that these have."""
        codes = self.codes[rows]
        used = np.bincount(codes + 1, minlength=len(self.names) + 1)[1:] > 0
        place = np.append(np.cumsum(used) - 1, -1)
        return Coded(place[codes], [name for name, is_used in zip(self.names, used.tolist(), strict=True) if is_used])

    def objects(self) -> npt.NDArray[np.object_]:
        """Each row's name; NaN where it is missing."""
        names = np.empty(len(self.names) + 1, dtype=object)
        names[:-1] = self.names
        names[-1] = np.nan
        return np.asarray(names[self.codes], dtype=object)

    def categorical(self) -> pd.Categorical:
        """The same for pandas."""
        make: Any = pd.Categorical.from_codes  # the stubs know only literal kinds of codes
        return make(self.codes, categories=pd.Index(list(self.names), dtype=object))


@lru_cache(10_000)
def _one(name: str | None) -> Coded:
    """A column of one row."""
    return Coded(np.array([-1]), []) if name is None else Coded(np.array([0]), [name])


def coded(column: Any) -> Coded:
    """A column of any kind as categories; those of pandas keep their order, others come in ascending order."""
    if isinstance(column, Coded):
        return column
    column = pd.Series(column)
    if not isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype("category")
    return Coded(column.cat.codes.to_numpy(), column.cat.categories.astype(object).tolist())


class Table:
    """Columns of one length by their names, in an order.

    A number is float64, a date datetime64[ns], a category `Coded`; anything else is an array as it came.

    Parameters
    ----------
    columns : mapping of str to ndarray or Coded
    rows : int
        Their length.
    labels : Index or callable, optional
        What the rows are called, in place of their positions; or what gives that when somebody asks.

    Attributes
    ----------
    whole : (Table, rows) or None
        Of a `part` the table that it is of, where what is made of each row by itself may have been made already.
    """

    __slots__ = ("_base", "_columns", "_labels", "_made", "_rows", "whole")

    def __init__(self, columns: Mapping[str, Any], rows: int, labels: Labels | None = None) -> None:
        self._columns = columns
        self._rows = rows
        self._labels = labels
        self._made: dict[Any, Any] = {}
        self._base: Table | None = None
        self.whole: tuple[Table, Rows] | None = None

    @classmethod
    def of(cls, frame: pd.DataFrame) -> Table:
        """The columns of a frame."""
        return cls({str(name): column_values(column) for name, column in frame.items()}, len(frame), frame.index)

    def __len__(self) -> int:
        return self._rows

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __contains__(self, name: object) -> bool:
        return name in self._columns

    def __getitem__(self, name: str) -> Any:
        return self._columns[name]

    @property
    def columns(self) -> list[str]:
        """The names."""
        return list(self._columns)

    @property
    def labels(self) -> pd.Index[Any]:
        """What the rows are called."""
        if callable(self._labels):
            self._labels = pd.Index(self._labels(), dtype=object)
        return pd.RangeIndex(self._rows) if self._labels is None else self._labels

    def numbers(self, name: str) -> Floats:
        """A column of numbers."""
        return np.asarray(self._columns[name], dtype=np.float64)

    def matrix(self, names: Sequence[str]) -> Floats:
        """Columns of numbers side by side, shape (n, columns)."""
        out = np.empty((self._rows, len(names)))
        for i, name in enumerate(names):
            out[:, i] = self._columns[name]
        return out

    def dates(self, name: str) -> Dates:
        """A column of dates."""
        return np.asarray(self._columns[name], dtype="datetime64[ns]")

    def coded(self, name: str) -> Coded:
        """A column of categories."""
        return coded(self._columns[name])

    def levels(self, wanted: Sequence[tuple[str, Vocabulary]]) -> Codes:
        """Columns of categories as places in vocabularies, `Coded.within`, shape (n, wanted)."""
        out = np.empty((self._rows, len(wanted)), dtype=np.int64)
        for i, (name, vocabulary) in enumerate(wanted):
            column = self._columns[name]
            out[:, i] = (column if type(column) is Coded else coded(column)).within(vocabulary)
        return out

    def isna(self, name: str) -> Bools:
        """Where a column has no value."""
        return missing_in(self._columns[name])

    def objects(self, name: str) -> npt.NDArray[np.object_]:
        """The cells of a column as Python's values."""
        return objects_of(self._columns[name])

    def records(self) -> list[Mapping[str, Any]]:
        """Each row by the columns' names, in Python's values and pandas' times: made when they are looked at."""
        cells = _Cells(self._columns)
        return [_Record(cells, row) for row in range(self._rows)]

    def only(self, names: Sequence[str]) -> Table:
        """Some of the columns, in the order of `names`."""
        return self._beside({name: self._columns[name] for name in names})

    def take(self, rows: Rows) -> Table:
        """Some of the rows."""
        made = {
            name: column.take(rows) if isinstance(column, Coded) else column[rows]
            for name, column in self._columns.items()
        }
        count = len(range(self._rows)[rows]) if isinstance(rows, slice) else len(rows)
        return Table(made, count, None if self._labels is None else lambda: self.labels[rows])

    def part(self, rows: npt.NDArray[np.int64]) -> Table:
        """Some of the rows as a table of their own: of categories it has the names that occur in it."""
        made = {
            name: column.part(rows) if isinstance(column, Coded) else column[rows]
            for name, column in self._columns.items()
        }
        table = Table(made, len(rows))
        table.whole = self, rows
        return table

    def with_columns(self, more: Mapping[str, Any]) -> Table:
        """These columns and others after them."""
        return self._beside({**self._columns, **more})

    def followed_by(self, columns: Mapping[str, Any]) -> Table:
        """The same rows with `columns`, these among them, which are its `base`."""
        table = self._beside(columns)
        table._base = self
        return table

    @property
    def base(self) -> Table:
        """The columns that others follow from: they are found sooner there."""
        return self if self._base is None else self._base

    def _beside(self, columns: Mapping[str, Any]) -> Table:
        table = Table(columns, self._rows, self._labels)
        table._made, table.whole = self._made, self.whole
        return table

    def made(self, key: Any, make: Callable[[], Any]) -> Any:
        """What somebody makes of these rows under a key, made once for this table and all of the same rows."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def forget(self, maker: Any) -> None:
        """Make anew what was made under this key, and under those that begin with it."""
        for key in [key for key in self._made if (key[0] if isinstance(key, tuple) else key) is maker]:
            del self._made[key]

    def forget_lookups(self) -> None:
        """Make anew what was made of categories, such as their places in vocabularies: they take as much as columns."""
        for column in self._columns.values():
            if isinstance(column, Coded):
                column._made.clear()

    def labelled(self, labels: Any) -> Table:
        """The same, with its rows called otherwise."""
        table = self._beside(self._columns)
        if not callable(labels):
            # Texts stay what they are, with all that they were made of.
            labels = pd.Index(labels, dtype=object if isinstance(labels, list) else None)
        table._labels = labels
        return table

    def frame(self) -> pd.DataFrame:
        """The same for pandas."""
        columns = {
            name: column.categorical() if isinstance(column, Coded) else column
            for name, column in self._columns.items()
        }
        return pd.DataFrame(columns, index=self.labels)


class _Cells(dict[str, list[Any]]):
    """Columns as Python's values."""

    def __init__(self, columns: Mapping[str, Any]) -> None:
        super().__init__()
        self.columns = columns

    def __missing__(self, name: str) -> list[Any]:
        found = self[name] = _python_values(self.columns[name])
        return found


class _Record(Mapping[str, Any]):
    """A row of them."""

    def __init__(self, cells: _Cells, row: int) -> None:
        self._cells, self._row = cells, row

    def __getitem__(self, name: str) -> Any:
        return self._cells[name][self._row]

    def __iter__(self) -> Iterator[str]:
        return iter(self._cells.columns)

    def __len__(self) -> int:
        return len(self._cells.columns)


def as_table(data: Any) -> Table:
    """A table of a frame, or the table that it is already."""
    return data if isinstance(data, Table) else Table.of(data)


def factorized(values: Floats) -> tuple[Codes, Floats]:
    """Each number's place among the distinct ones, -1 where it is missing, and these, in the order of their rows."""
    if len(values) == 1:
        gap = bool(np.isnan(values[0]))
        return np.array([-1 if gap else 0]), values[:0] if gap else values
    codes, levels = pd.factorize(values)
    return codes.astype(np.int64), levels


def _python_values(column: Any) -> list[Any]:
    if isinstance(column, Coded):
        return column.objects().tolist()
    if column.dtype.kind == "M":
        # An index costs as much as some ten times do by themselves.
        few = len(column) < _FEW_TIMES
        return [pd.Timestamp(moment) for moment in column] if few else pd.DatetimeIndex(column).tolist()
    return list(column.tolist())


def objects_of(column: Any) -> npt.NDArray[np.object_]:
    """The cells of a column of a table as Python's values, shape (n,)."""
    if isinstance(column, Coded):
        return column.objects()
    if column.dtype.kind in "fiub":
        return np.asarray(column.astype(object))
    return np.asarray(column if column.dtype == object else pd.Series(column).astype(object), dtype=object)


def column_values(column: Any) -> Any:
    """A column of pandas as a `Table` has it; one of a table as it is."""
    if isinstance(column, (Coded, np.ndarray)):
        return column
    if isinstance(column.dtype, pd.CategoricalDtype):
        return coded(column)
    values = column.to_numpy()
    return values.astype("datetime64[ns]") if values.dtype.kind == "M" else values


def missing_in(column: Any) -> Bools:
    """Where a column of a table has no value, shape (n,)."""
    if isinstance(column, Coded):
        return column.isna()
    if column.dtype.kind == "f":
        return np.isnan(column)
    if column.dtype.kind == "M":
        return np.isnat(column)
    return np.asarray(pd.isna(column), dtype=bool)
