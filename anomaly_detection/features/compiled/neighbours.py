"""How far values lie from the rows around them, compiled: `sequence._middles` of all rows or some."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlx_iforest.compiled_code import compiled

__all__ = ["distances_from_neighbours", "distances_in_windows", "windows"]

_REACH = 2


@compiled()
def windows(order: Any, series: Any, step: int) -> Any:
    """Every `step`-th row of an order, then the two before it and the two after; shape (m, 5), -1 for none.

    Parameters
    ----------
    order : ndarray of int64, shape (n,)
        Rows, series by series.
    series : ndarray of int64, shape (n,)
        The series of each of these.
    step : int
    """
    n = len(order)
    found = np.full(((n + step - 1) // step, 2 * _REACH + 1), -1, np.int64)
    for i in range(len(found)):
        at = i * step
        found[i, 0] = order[at]
        for gap in range(1, _REACH + 1):
            if at - gap >= 0 and series[at - gap] == series[at]:
                found[i, gap] = order[at - gap]
            if at + gap < n and series[at + gap] == series[at]:
                found[i, _REACH + gap] = order[at + gap]
    return found


@compiled()
def distances_in_windows(values: Any, rows: Any) -> Any:
    """How far the first row of each window lies from the median of the others, shape (m,).

    NaN where it has no value, or there is none before it or none after it.

    Parameters
    ----------
    values : ndarray of float64, shape (n,)
        NaN where missing.
    rows : ndarray of int64, shape (m, 5)
        Of `windows`; a row that is not there raises an IndexError.
    """
    found, near = np.full(len(rows), np.nan), np.empty(2 * _REACH)
    for i in range(len(rows)):
        for j in range(2 * _REACH + 1):
            if rows[i, j] >= len(values) or rows[i, 0] < 0:
                raise IndexError("a window has rows that are not there")
        own = values[rows[i, 0]]
        given, before, after = 0, 0, 0
        for j in range(1, 2 * _REACH + 1):
            if rows[i, j] < 0 or np.isnan(values[rows[i, j]]):
                continue
            value = values[rows[i, j]]
            before += j <= _REACH
            after += j > _REACH
            place = given
            while place > 0 and near[place - 1] > value:
                near[place] = near[place - 1]
                place -= 1
            near[place] = value
            given += 1
        if before > 0 and after > 0:
            found[i] = abs(own - (near[(given - 1) // 2] / 2.0 + near[given // 2] / 2.0))
    return found


@compiled()
def distances_from_neighbours(values: Any, order: Any, series: Any) -> Any:
    """`distances_in_windows` of all rows, in their order, shape (n,); parameters as of `windows`."""
    found = np.empty(len(order))
    for start in range(0, len(order), 1024):
        # Those around the first and the last too.
        first, last = max(start - _REACH, 0), min(start + 1024 + _REACH, len(order))
        some = distances_in_windows(values, windows(order[first:last], series[first:last], 1))
        end = min(start + 1024, len(order))
        found[start:end] = some[start - first : end - first]
    return found
