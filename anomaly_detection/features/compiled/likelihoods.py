"""How likely groups make a number's values, compiled: what searches compare contexts by, see `numbers.history`."""

from __future__ import annotations

from math import log, log1p
from typing import Any

import numpy as np

from anomaly_detection.features.compiled.groups import by_group, judged_by_others
from mlx_iforest.compiled_code import compiled

__all__ = ["grouped_likelihood", "lent_likelihoods"]

_AT_ONCE = 8  # rows whose densities are multiplied: a logarithm costs more than all else
_LEAST, _MOST = 1e-30, 1e30


@compiled()
def _summed(densities: Any, start: float, spread: float, off: float) -> Any:
    """Take in a row: the product of some densities, to the power of -2, and the sum of the logarithms of the others."""
    share = 1.0 + off * off / (3.0 * spread)
    share *= share
    own = spread * share * share
    if _LEAST < own < _MOST:
        return densities * own, start
    return densities, start + log(spread) + 4.0 * log1p(off * off / (3.0 * spread))


@compiled()
def grouped_likelihood(
    x: Any,
    by_value: Any,
    codes: Any,
    groups: int,
    centre: float,
    width: float,
    resolution: float,
    to_sigma: float,
    lent_centre: float,
    lent_spread: float,
    unproven: float,
    wanted: Any,
) -> float:
    """The sum of the log densities of some values within groups, each judged by the others of its group.

    Parameters
    ----------
    x : ndarray of float64, shape (n,)
    by_value : ndarray of int64, shape (n,)
        Their places in ascending order.
    codes : ndarray of integers, shape (n,)
        Each value's group, see `by_group`.
    to_sigma : float
        What a median distance is multiplied by.
    wanted : ndarray of bool, shape (n,)
        Which values count.
    """
    order, starts = by_group(by_value, codes, groups)
    n = len(x)
    values = x[order]
    others, away, rest = judged_by_others(values, starts)
    far, several = np.empty(n), 0
    for i in range(n):
        if rest[i] == 0:
            others[i], away[i] = centre, 0.0
        if rest[i] >= 2:
            far[several] = abs(values[i] - others[i])
            several += 1
    within = to_sigma * np.median(far[:several]) if several else width
    spreads, off = np.empty(n), np.empty(n)
    for i in range(n):
        row, count, own = order[i], rest[i], to_sigma * away[i]
        spreads[row] = width * width
        if count > 0:
            spreads[row] = (count * own * own + lent_spread * within * within) / (count + lent_spread)
            spreads[row] += resolution * resolution + (unproven * width / (count + 1.0)) ** 2
        off[row] = values[i] - (count * others[i] + lent_centre * centre) / (count + lent_centre)
    # In the order of the rows: the same groups by other names come to the same.
    total, product = 0.0, 1.0
    for i in range(n):
        if wanted[i]:
            product, total = _summed(product, total, spreads[i], off[i])
        if i % _AT_ONCE == _AT_ONCE - 1:
            total += log(product)
            product = 1.0
    return -0.5 * (total + log(product))


@compiled()
def lent_likelihoods(
    x: Any,
    count: Any,
    median: Any,
    spread: Any,
    centre: float,
    width: float,
    within: float,
    resolution: float,
    lent_centres: Any,
    lent_spreads: Any,
) -> Any:
    """`History._likelihood` by so many rows that are lent, nearly: shape (centres, spreads).

    The values, and the counts, medians and spreads that each is judged by, have shape (n,).
    """
    n, centres, spreads = len(x), len(lent_centres), len(lent_spreads)
    totals, products = np.zeros((centres, spreads)), np.ones((centres, spreads))
    for i in range(n):
        for k in range(spreads):
            lent = lent_spreads[k]
            square = width * width
            if count[i] >= 1:
                square = (count[i] * spread[i] * spread[i] + lent * within * within) / (count[i] + lent)
                square += resolution * resolution + (width / (count[i] + 1.0)) ** 2
            for j in range(centres):
                lent = lent_centres[j]
                off = x[i] - (count[i] * median[i] + lent * centre) / (count[i] + lent)
                products[j, k], totals[j, k] = _summed(products[j, k], totals[j, k], square, off)
        if i % _AT_ONCE == _AT_ONCE - 1 or i == n - 1:
            for j in range(centres):
                for k in range(spreads):
                    totals[j, k] += log(products[j, k])
                    products[j, k] = 1.0
    return -0.5 * totals / n
