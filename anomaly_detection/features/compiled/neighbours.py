"""How far values lie from the rows around them, compiled: `sequence._middles` of some of the rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlx_iforest.compiled_code import compiled

__all__ = ["distances_from_neighbours"]

_REACH = 2


@compiled()
def distances_from_neighbours(values: Any, order: Any, series: Any, step: int) -> Any:
    """How far every `step`-th row lies from the median of up to two rows before and two after it, in their order.

    Parameters
    ----------
    values : ndarray of float64, shape (n,)
        NaN where missing.
    order : ndarray of int64, shape (n,)
        Rows, series by series.
    series : ndarray of int64, shape (n,)
        The series of each of these.
    step : int

    Returns
    -------
    ndarray of float64, shape (m,)
        Of the rows that have a value, and neighbours on both sides.
    """
    n = len(order)
    found, near = np.empty((n + step - 1) // step), np.empty(2 * _REACH)
    count = 0
    for at in range(0, n, step):
        own = values[order[at]]
        if np.isnan(own):
            continue
        given, before, after = 0, 0, 0
        for gap in range(-_REACH, _REACH + 1):
            if gap == 0 or at + gap < 0 or at + gap >= n or series[at + gap] != series[at]:
                continue
            value = values[order[at + gap]]
            if np.isnan(value):
                continue
            before += gap < 0
            after += gap > 0
            place = given
            while place > 0 and near[place - 1] > value:
                near[place] = near[place - 1]
                place -= 1
            near[place] = value
            given += 1
        if before > 0 and after > 0:
            found[count] = abs(own - (near[(given - 1) // 2] / 2.0 + near[given // 2] / 2.0))
            count += 1
    return found[:count]
