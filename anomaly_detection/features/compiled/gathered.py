"""`Gathered`: the columns of records side by side, as compiled code takes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from anomaly_detection.data.columns.table import Coded, Table, coded
from anomaly_detection.features.compiled.program import Program

__all__ = ["Gathered", "Gathering"]

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

_REMEMBERED = 10_000
_NUMBER, _DATE, _CODE = np.dtype(np.float64), np.dtype("datetime64[ns]"), np.dtype(np.int64)


class Gathered:
    """The columns of n records.

    Attributes
    ----------
    numbers : ndarray of float64, shape (columns, n)
    dates : ndarray of int64, shape (columns, n)
        Nanoseconds since 1970; the least number where missing.
    codes : ndarray of int64, shape (columns, n)
        Each row's level, -1 where it is missing.
    levels : ndarray of float64
        What is said of each level, one after the other; the last of each column of what is missing.
    shapes : ndarray of int64, shape (columns, 3)
        Where a column's levels begin, how many they are, and how much is said of each.
    """

    __slots__ = ("codes", "dates", "levels", "numbers", "shapes")

    def __init__(self, numbers: Floats, dates: Codes, codes: Codes, levels: Floats, shapes: Codes) -> None:
        self.numbers, self.dates, self.codes, self.levels, self.shapes = numbers, dates, codes, levels, shapes


class Gathering:
    """Gathers the columns that a program looks at.

    Parameters
    ----------
    program : Program
        With all that is asked of it.
    """

    def __init__(self, program: Program) -> None:
        self._numbers, self._dates = [*program.numbers], [*program.dates]
        self._categories = [
            (name, program.part_of(name), _Levels(asked))
            for name, asked in zip(program.categories, program.levels, strict=True)
        ]
        widths = [len(asked) for asked in program.levels]
        starts = np.cumsum([0, *widths])[:-1]
        # Of one record: it has one level of each column, and of these there is nothing else to be said.
        self._shapes = np.array(
            [(start, 1, width) for start, width in zip(starts, widths, strict=True)], dtype=np.int64
        )
        self._shapes = self._shapes.reshape(-1, 3)
        self._codes = np.zeros((len(widths), 1), dtype=np.int64)
        self._known: dict[Any, Floats] = {}

    def of_each(self, tables: Sequence[Table]) -> Gathered:
        """The columns of records of one row each, whose levels are looked up one by one: most are known already."""
        n, bases = len(tables), [X.base for X in tables]
        numbers = _side_by_side([base[name] for name in self._numbers for base in bases], n, _NUMBER)
        dates = _side_by_side([base[name] for name in self._dates for base in bases], n, _DATE).view(np.int64)
        rows = list(zip(tables, bases, strict=True))
        said = [self._said(X, base, *column) for column in self._categories for X, base in rows]
        levels = np.concatenate(said) if said else np.zeros(0)
        return Gathered(numbers, dates, self._codes + np.arange(n), levels, self._shapes * (n, n, 1))

    def of(self, X: Table) -> Gathered:
        """The columns of records that come together."""
        n, base = len(X), X.base
        numbers = _side_by_side([base[name] for name in self._numbers], n, _NUMBER)
        dates = _side_by_side([base[name] for name in self._dates], n, _DATE).view(np.int64)
        columns = [coded((X if part else base)[name]) for name, part, _ in self._categories]
        codes = _side_by_side([column.codes for column in columns], n, _CODE)
        tables = [column.made(levels) for column, (_, _, levels) in zip(columns, self._categories, strict=True)]
        shapes = np.empty((len(tables), 3), dtype=np.int64)
        place = 0
        for i, table in enumerate(tables):
            shapes[i] = place, *table.shape
            place += table.size
        flat = np.concatenate([table.ravel() for table in tables]) if tables else np.zeros(0)
        return Gathered(numbers, dates, codes, flat, shapes)

    def _said(self, X: Table, base: Table, name: str, part: Any, levels: _Levels) -> Floats:
        """What is said of the level of one record."""
        if part is None:
            return coded(base[name]).made(levels.of_first)
        key = part.short_of(base)
        known = None if key is None else self._known.get((name, key))
        if known is None:
            known = coded(X[name]).made(levels.of_first)
            if key is not None:
                if len(self._known) >= _REMEMBERED:
                    self._known.clear()
                self._known[name, key] = known
        return known


class _Levels:
    """What several functions say of each level of a column, shape (levels + 1, functions); last of what is missing."""

    def __init__(self, asked: Sequence[Callable[[Coded], npt.NDArray[Any]]]) -> None:
        self._asked = asked
        self.of_first = self._of_first  # the one by which a column remembers it

    def _of_first(self, column: Coded) -> Floats:
        """What they say of the first row's level, shape (functions,)."""
        return np.array(self(column)[column.codes[0]])

    def __call__(self, column: Coded) -> Floats:
        each = Coded(np.append(np.arange(len(column.names)), -1), column.names)
        return np.stack([np.asarray(of(each), dtype=np.float64) for of in self._asked], axis=1)


def _side_by_side(columns: Sequence[npt.NDArray[Any]], n: int, kind: np.dtype[Any]) -> npt.NDArray[Any]:
    """Columns as rows, shape (columns, n)."""
    if not columns:
        return np.empty((0, n), dtype=kind)
    return np.ascontiguousarray(np.concatenate(columns).reshape(-1, n), dtype=kind)
