"""The kernels of keys: by what each record is known again, and which of those that are remembered agree with it."""

from __future__ import annotations

from math import isnan
from typing import Any

import numpy as np

from mlx_iforest.compiled_code import compiled

__all__ = ["agree", "keys"]

_NAT = np.int64(np.iinfo(np.int64).min)
_MISSING = np.uint64(0x6D697373)
_LEAST_POWER, _MOST_POWER = -300.0, 308.0
_30, _27, _31 = np.uint64(30), np.uint64(27), np.uint64(31)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_ONE = np.uint64(1)

NUMBERS, DATES, LEVELS = 0, 1, 2


@compiled(error_model="numpy")
def _mixed(key: Any) -> Any:
    """`coincidences.mixed`."""
    key = (key ^ (key >> _30)) * _FIRST
    key = (key ^ (key >> _27)) * _SECOND
    return key ^ (key >> _31)


@compiled(error_model="numpy")
def _number_key(value: float, log: float, powers: Any) -> Any:
    """`coincidences.cell_keys` of a number."""
    if isnan(value):
        return _MISSING
    power = 0.0 if value == 0.0 else min(max(np.floor(log), _LEAST_POWER), _MOST_POWER)
    digits = np.rint(value / powers[np.int64(power - _LEAST_POWER)] * 1e11)
    if abs(digits) >= 1e12:
        # A number that rounds up to the next power of ten is that power.
        digits, power = digits / 10.0, power + 1.0
    return _mixed(_mixed(np.uint64(np.int64(digits))) + np.uint64(np.int64(power)))


@compiled(error_model="numpy")
def keys(
    numbers: Any,
    logs: Any,
    powers: Any,
    dates: Any,
    codes: Any,
    levels: Any,
    level_shapes: Any,
    columns: Any,
    column_keys: Any,
    out: Any,
) -> None:
    """Keys of records by the cells of some columns, see `coincidences.combined`.

    Parameters
    ----------
    numbers, logs : ndarray of float64, shape (columns, n)
        With the decimal logarithms of their sizes.
    powers : ndarray of float64, shape (609,)
        Ten to the power of -300, ..., 308.
    dates, codes, levels, level_shapes
        As of `row_kernels.run`; the levels' bits are those of keys, uint64.
    columns : ndarray of int64, shape (k, 4)
        The kind of each column, its number, the slot of its levels, and for which keys it is, as bits.
    column_keys : ndarray of uint64, shape (k,)
    out : ndarray of uint64, shape (keys, n), added to
    """
    for i in range(columns.shape[0]):
        kind, column, slot, wanted = columns[i, 0], columns[i, 1], columns[i, 2], columns[i, 3]
        for row in range(out.shape[1]):
            if kind == NUMBERS:
                key = _number_key(numbers[column, row], logs[column, row], powers)
            elif kind == DATES:
                moment = dates[column, row]
                key = _MISSING if moment == _NAT else _mixed(np.uint64(moment))
            else:
                first, size, width = level_shapes[column, 0], level_shapes[column, 1], level_shapes[column, 2]
                code = codes[column, row]
                at = code if 0 <= code < size else size - 1
                key = levels[first + at * width + slot]
            key = _mixed(key ^ column_keys[i])
            for which in range(out.shape[0]):
                if wanted >> which & 1:
                    out[which, row] += key


@compiled(error_model="numpy")
def _ends(ordered: Any, key: Any) -> Any:
    """Where a key begins among ascending ones, and where what is larger does."""
    low, high = 0, ordered.size
    while low < high:
        middle = (low + high) // 2
        if ordered[middle] < key:
            low = middle + 1
        else:
            high = middle
    first, high = low, ordered.size
    while low < high:
        middle = (low + high) // 2
        if ordered[middle] <= key:
            low = middle + 1
        else:
            high = middle
    return first, low


@compiled(error_model="numpy")
def agree(
    values: Any,
    span: int,
    whole: Any,
    joined: Any,
    value_keys: Any,
    value_places: Any,
    given_keys: Any,
    whole_keys: Any,
    whole_places: Any,
    span_keys: Any,
    spans: Any,
    cells: Any,
    others: Any,
    compared: Any,
) -> Any:
    """How many remembered records agree with one, see `Readings._among_few`.

    Parameters
    ----------
    values : ndarray of float64, shape (columns,)
    span : int
    whole : uint64
        The key of all that it says.
    joined : ndarray of int64
        The columns that are looked at together.
    value_keys, given_keys, whole_keys, span_keys : ndarrays of uint64 or int64
        Ascending, as `Remembered` has them.
    value_places, whole_places : ndarrays of int64
        Where each was.
    spans : ndarray of int64, shape (n,)
    cells : ndarray of uint64, shape (columns, n)
    others, compared : ndarrays of int64, shape (columns,), written
        Others with each value, and with any.

    Returns
    -------
    together, agreed : int
        Others of the span, and in how many columns one and the same other agrees.
    """
    n = spans.size
    within = _mixed(np.uint64(span) + _ONE)
    of_span = _mixed(np.uint64(span))
    # What says the same in every column is the record itself.
    first, last = _ends(whole_keys, whole)
    again = np.empty(last - first, np.int64)
    itself = 0
    for i in range(first, last):
        if spans[whole_places[i]] == span:
            again[itself] = whole_places[i]
            itself += 1
    own = np.zeros(values.size, np.uint64)
    for column in range(values.size):
        others[column] = compared[column] = 0
        if isnan(values[column]):
            continue
        bits = np.float64(values[column] + 0.0).view(np.uint64)
        own[column] = max(_mixed(bits ^ within), _ONE)
        first, last = _ends(value_keys, _mixed(own[column] + np.uint64(column)))
        others[column] = last - first
        first, last = _ends(given_keys, _mixed(of_span + np.uint64(column)))
        compared[column] = last - first
        for i in range(itself):
            others[column] -= cells[column, again[i]] == own[column]
            compared[column] -= cells[column, again[i]] > 0
    first, last = _ends(span_keys, span)
    together = last - first - itself
    agreed = np.zeros(n, np.uint8)
    most = 0
    for look in range(2):
        for j in range(joined.size):
            column = joined[j]
            if own[column] == 0:
                continue
            first, last = _ends(value_keys, _mixed(own[column] + np.uint64(column)))
            for i in range(first, last):
                row = value_places[i] % n
                if look == 0:
                    agreed[row] += 1
                elif agreed[row] > most:
                    most = agreed[row]
        if look == 0:
            for i in range(itself):
                agreed[again[i]] = 0
    return together, most if most >= 2 else 0
