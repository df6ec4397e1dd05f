"""The compiled loops: each does for a block of rows what the plain code beside it does by NumPy.

Only additions, divisions and the like happen here, which round alike everywhere. Logarithms and `arcsinh` stay with
NumPy, whose last bit differs from a compiler's. All arrays are checked by those who hand them in.
"""

from __future__ import annotations

from math import inf, isnan
from typing import Any

import numpy as np

from anomaly_detection.features.compiled.coalitions import summaries
from anomaly_detection.features.compiled.evidence import KNOTS
from anomaly_detection.features.compiled.key_kernels import agree, keys
from anomaly_detection.features.compiled.moves import go_along
from anomaly_detection.features.compiled.row_kernels import run
from mlx_iforest.compiled_code import compiled, is_compiled

__all__ = ["are_compiled", "deviations", "heaviest", "largest", "place", "weigh"]

_LOG_2 = float(np.log(2.0))
_NO_WIDTH = np.float32(1e6)


def of_a_batch() -> tuple[Any, ...]:
    """What every batch runs, and so compiles. Anything else here would never be there, and the plain way be taken."""
    return place, weigh, heaviest, deviations, largest, run, keys


def are_compiled() -> bool:
    """Whether all that a batch needs is compiled, in this process or an earlier one."""
    return all(map(is_compiled, of_a_batch()))


def is_one_compiled() -> bool:
    """Whether what only a record by itself needs is compiled too."""
    return is_compiled(agree)


def are_reasons_compiled() -> bool:
    """Whether what only reasons need is."""
    return is_compiled(summaries)


def are_moves_compiled() -> bool:
    """Whether what only records need that are judged one after the other is."""
    return is_compiled(go_along)


@compiled(error_model="numpy")
def place(X: Any, start: int, features: Any, median: Any, width: Any, placed: Any) -> None:
    """Distances of features from their medians, the first of them in widths; see `CompiledEvidence`.

    Parameters
    ----------
    X : ndarray of float32, shape (n, all features)
        Finite, or NaN.
    start : int
        The first row.
    features : ndarray of int64, shape (k,)
    median : ndarray of float64, shape (k,)
    width : ndarray of float64, shape (2, widths)
    placed : ndarray of float64, shape (k, rows), written
    """
    rows = placed.shape[1]
    for i in range(features.size):
        feature, middle, wide = features[i], median[i], i < width.shape[1]
        for row in range(rows):
            value = np.float64(X[start + row, feature])
            away = (0.0 if isnan(value) else value) - middle
            if wide:
                away = away / (width[0, i] if away > 0 else width[1, i])
            placed[i, row] = away


@compiled(error_model="numpy")
def _beyond(i: int, side: int, placed: Any, knots: Any, ends: Any, found: Any) -> None:
    """Evidence of a feature's rows on one side, see `evidence._Side`: all knots are looked at, as vectors."""
    sign = -1.0 if side else 1.0
    for row in range(placed.shape[1]):
        value = sign * placed[i, row]
        x = -value
        at, worth, rise = knots[i, side, 0, 0], knots[i, side, 1, 0], knots[i, side, 2, 0]
        for k in range(1, KNOTS):
            passed = knots[i, side, 0, k] <= x
            at = knots[i, side, 0, k] if passed else at
            worth = knots[i, side, 1, k] if passed else worth
            rise = knots[i, side, 2, k] if passed else rise
        within = rise * (x - at) + worth if x > at else worth
        beyond = ends[i, side, 1] + (value - ends[i, side, 0]) / ends[i, side, 2]
        found[side, row] = beyond if value > ends[i, side, 0] else within


@compiled(error_model="numpy")
def weigh(
    X: Any,
    start: int,
    features: Any,
    placed: Any,
    two_sided: Any,
    knots: Any,
    ends: Any,
    nats: Any,
    most: float,
    out: Any,
) -> None:
    """Evidence of placed features, and of those that are evidence already; see `CompiledEvidence`.

    Parameters
    ----------
    X : ndarray of float32, shape (n, all features)
    start : int
    features : ndarray of int64, shape (k,)
    placed : ndarray of float64, shape (k, rows)
    two_sided : ndarray of bool, shape (k,)
    knots : ndarray of float64, shape (k, 2, 3, KNOTS)
        On either side places, ascending, what each is worth, and the rise behind it.
    ends : ndarray of float64, shape (k, 2, 3)
        On either side the last place, what it is worth, and units a nat beyond it.
    nats : ndarray of int64
        Features that are evidence.
    most : float
        No evidence is larger.
    out : ndarray of float32, shape (n, all features), written
    """
    rows = placed.shape[1]
    found = np.empty((2, rows))
    for row in range(rows):
        for i in range(nats.size):
            value = X[start + row, nats[i]]
            out[start + row, nats[i]] = np.float32(0.0) if isnan(value) else min(value, np.float32(most))
    for i in range(features.size):
        _beyond(i, 0, placed, knots, ends, found)
        if two_sided[i]:
            _beyond(i, 1, placed, knots, ends, found)
            for row in range(rows):
                found[0, row] = max(max(found[0, row], found[1, row]) - _LOG_2, 0.0)
        for row in range(rows):
            missing = isnan(X[start + row, features[i]])
            out[start + row, features[i]] = 0.0 if missing else min(found[0, row], most)


@compiled(error_model="numpy")
def heaviest(
    evidence: Any, by_column: Any, starts: Any, agreeing: float, second: float, out: Any, written: int
) -> None:
    """Weigh rows up by their columns, and these by their features; see `Evidence.total`.

    Parameters
    ----------
    evidence : ndarray of float32, shape (n, features)
        At least 0.
    by_column, starts : ndarray of int64
        Features in the order of their columns, and where each column's begin.
    agreeing, second : float
        What the second feature of a column and the second column of a row count.
    out : ndarray of float32, shape (n, columns)
    written : int
        The column of `out` that is written.
    """
    none = np.float32(0.0)
    for row in range(evidence.shape[0]):
        first, behind = -inf, -inf
        for column in range(starts.size):
            stop = starts[column + 1] if column + 1 < starts.size else by_column.size
            most, next_most = none, none
            for i in range(starts[column], stop):
                value = evidence[row, by_column[i]]
                next_most = max(next_most, min(most, value))
                most = max(most, value)
            found = np.float64(most)
            if agreeing != 0.0:
                found += np.float64(np.float32(agreeing) * next_most)
            behind = max(behind, min(first, found))
            first = max(first, found)
        out[row, written] = first if starts.size == 1 else first + second * behind


@compiled(error_model="numpy")
def deviations(X: Any, features: Any, median: Any, width: Any, out: Any) -> None:
    """How far values lie from medians, in widths of their side; see `DeviationSummary.deviations`.

    Parameters
    ----------
    X : ndarray of float32, shape (n, all features)
    features : ndarray of int64, shape (k,)
    median : ndarray of float32, shape (k,)
    width : ndarray of float32, shape (2, k)
    out : ndarray of float32, shape (n, k), written
    """
    for row in range(X.shape[0]):
        for i in range(features.size):
            away = X[row, features[i]] - median[i]
            found = away / width[0, i] if away > 0 else -away / width[1, i]
            out[row, i] = np.float32(0.0) if isnan(found) else _NO_WIDTH if found == inf else found


@compiled(error_model="numpy")
def largest(z: Any, out: Any, first: int, count: int) -> None:
    """The largest values of each row, descending.

    Parameters
    ----------
    z : ndarray of float32, shape (n, features)
        At least 0; at least `count` features.
    out : ndarray of float32, shape (n, columns)
        Written in `count` columns from the `first` on.
    first, count : int
    """
    last = first + count - 1
    for row in range(z.shape[0]):
        for i in range(count):
            out[row, first + i] = np.float32(-1.0)
        for i in range(z.shape[1]):
            value = z[row, i]
            if value > out[row, last]:
                at = last
                while at > first and value > out[row, at - 1]:
                    out[row, at] = out[row, at - 1]
                    at -= 1
                out[row, at] = value
