"""`Gathered`: the columns of records side by side, as compiled code takes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from anomaly_detection.data.table import Coded, Table
from anomaly_detection.features.compiled.program import Program

__all__ = ["Gathered", "Gathering"]

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]


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
        self._numbers, self._dates, self._categories = [*program.numbers], [*program.dates], [*program.categories]
        self._levels = [_Levels(asked) for asked in program.levels]

    def of(self, X: Table) -> Gathered:
        """The columns of some records."""
        n = len(X)
        numbers = _side_by_side([X[name] for name in self._numbers], n, np.dtype(np.float64))
        dates = _side_by_side([X[name] for name in self._dates], n, np.dtype("datetime64[ns]")).view(np.int64)
        columns = [X.coded(name) for name in self._categories]
        codes = _side_by_side([column.codes for column in columns], n, np.dtype(np.int64))
        said = [column.made(levels) for column, levels in zip(columns, self._levels, strict=True)]
        shapes = np.empty((len(said), 3), dtype=np.int64)
        place = 0
        for i, levels in enumerate(said):
            shapes[i] = place, *levels.shape
            place += levels.size
        flat = np.concatenate([levels.ravel() for levels in said]) if said else np.zeros(0)
        return Gathered(numbers, dates, codes, flat, shapes)


class _Levels:
    """What several functions say of each level of a column, shape (levels + 1, functions); last of what is missing."""

    def __init__(self, asked: Sequence[Callable[[Coded], npt.NDArray[Any]]]) -> None:
        self._asked = asked

    def __call__(self, column: Coded) -> Floats:
        each = Coded(np.append(np.arange(len(column.names)), -1), column.names)
        return np.stack([np.asarray(of(each), dtype=np.float64) for of in self._asked], axis=1)


def _side_by_side(columns: Sequence[npt.NDArray[Any]], n: int, kind: np.dtype[Any]) -> npt.NDArray[Any]:
    """Columns as rows, shape (columns, n)."""
    if not columns:
        return np.empty((0, n), dtype=kind)
    return np.ascontiguousarray(np.concatenate(columns).reshape(len(columns), n), dtype=kind)
