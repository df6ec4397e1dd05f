"""Pairs of categories, compiled: which foretell each other, and how many rows have what a row has."""

from __future__ import annotations

from math import log
from typing import Any

import numpy as np

from anomaly_detection.features.compiled.groups import by_group
from mlx_iforest.compiled_code import compiled

__all__ = ["bound", "counted_pairs", "lent_shares"]

_AT_ONCE = 8  # rows whose shares are multiplied: a logarithm costs more than all else


@compiled()
def _foretells(order: Any, starts: Any, of: Any, left_open: float, seen: Any) -> bool:
    """Whether the rows with a level of one column, which occurs again, nearly all have one level of another.

    The one's rows group by group are `order` and `starts`, the other's levels are `of`; `seen` are zeros, and stay so.
    """
    rows, odd = 0, 0
    for group in range(len(starts) - 1):
        if starts[group + 1] - starts[group] > 1:
            rows += starts[group + 1] - starts[group]
    for group in range(len(starts) - 1):
        first, last = starts[group], starts[group + 1]
        if last - first > 1:
            best = 0
            for place in range(first, last):
                level = of[order[place]]
                seen[level] += 1
                best = max(best, seen[level])
            for place in range(first, last):
                seen[of[order[place]]] = 0
            odd += last - first - best
            # Of most pairs that is known after a few groups.
            if odd > left_open * rows:
                return False
    commonest = 0
    for group in range(len(starts) - 1):
        if starts[group + 1] - starts[group] > 1:
            for place in range(starts[group], starts[group + 1]):
                level = of[order[place]]
                seen[level] += 1
                commonest = max(commonest, seen[level])
    seen[:] = 0
    return commonest < rows and odd <= left_open * (rows - commonest)


@compiled()
def bound(columns: Any, sizes: Any, wanted: Any, left_open: float) -> Any:
    """Which columns foretell each other, one way at least, shape (columns, columns); never themselves.

    Parameters
    ----------
    columns : ndarray of int32, shape (columns, n)
        Each row's level, from 0.
    sizes : ndarray of int64, shape (columns,)
        Levels of each column.
    wanted : ndarray of bool, shape (columns,)
        Only pairs with one of these are looked at.
    left_open : float
        The share of the rows without the commonest level that may have another one.
    """
    count, n = columns.shape
    found = np.zeros((count, count), np.bool_)
    seen = np.zeros(sizes.max() if count else 0, np.int64)
    for given in range(count):
        order, starts = by_group(np.arange(n), columns[given], sizes[given])
        for of in range(count):
            if of != given and (wanted[given] or wanted[of]) and not found[given, of]:
                found[given, of] = _foretells(order, starts, columns[of], left_open, seen)
                found[of, given] = found[given, of]
    return found


@compiled()
def counted_pairs(first: Any, first_size: int, second: Any, second_size: int, apart: Any) -> Any:
    """How many other rows have the pair of levels of each row, and how many its first level; both int64, shape (n,).

    Where `apart` has a group for each row, int64 from 0, only rows of other groups count.
    """
    n = len(first)
    both, beside = np.empty(n, np.int64), np.empty(n, np.int64)
    order, starts = by_group(np.arange(n), first, first_size)
    seen = np.zeros(second_size, np.int64)
    # Each pair's own number is the place of its last row.
    pair = np.empty(n, np.int64) if len(apart) else np.empty(0, np.int64)
    last_of = np.empty(second_size, np.int64) if len(apart) else np.empty(0, np.int64)
    for group in range(first_size):
        begin, end = starts[group], starts[group + 1]
        for place in range(begin, end):
            seen[second[order[place]]] += 1
            if len(apart):
                last_of[second[order[place]]] = place
        for place in range(begin, end):
            row = order[place]
            both[row], beside[row] = seen[second[row]] - 1, end - begin - 1
            if len(apart):
                pair[row] = last_of[second[row]]
        for place in range(begin, end):
            seen[second[order[place]]] = 0
    if len(apart):
        groups = apart.max() + 1
        order, starts = by_group(np.arange(n), apart, groups)
        own_pairs, own_firsts = np.zeros(n, np.int64), np.zeros(first_size, np.int64)
        for group in range(groups):
            for place in range(starts[group], starts[group + 1]):
                own_pairs[pair[order[place]]] += 1
                own_firsts[first[order[place]]] += 1
            for place in range(starts[group], starts[group + 1]):
                row = order[place]
                both[row] -= own_pairs[pair[row]] - 1
                beside[row] -= own_firsts[first[row]] - 1
            for place in range(starts[group], starts[group + 1]):
                own_pairs[pair[order[place]]] = 0
                own_firsts[first[order[place]]] = 0
    return both, beside


@compiled()
def lent_shares(both: Any, beside: Any, share: Any, lent: Any) -> Any:
    """The mean logarithm of ``(both + lent * share) / (beside + lent)`` of the rows, nearly, for each that is lent."""
    n, found = len(both), np.zeros(len(lent))
    for i in range(len(lent)):
        for start in range(0, n, _AT_ONCE):
            product = 1.0
            for row in range(start, min(start + _AT_ONCE, n)):
                product *= (both[row] + lent[i] * share[row]) / (beside[row] + lent[i])
            found[i] += log(product)
    return found / n
