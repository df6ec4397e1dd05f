"""Row-level features of what coalitions of columns keep of rows, compiled: all coalitions of a row in one vector."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlx_iforest.compiled_code import compiled

__all__ = ["summaries"]


@compiled()
def _add(values: Any, parts: Any, total: Any) -> None:
    """The sum of each column as NumPy adds up to 128 contiguous numbers: eight at a time."""
    n = len(values)
    whole = n - n % 8
    # Loops, for what assigns all at once takes longer to compile.
    for c in range(total.size):
        total[c] = 0.0
    if whole:
        for i in range(8):
            for c in range(total.size):
                parts[i, c] = values[i, c]
        for i in range(8, whole):
            for c in range(total.size):
                parts[i % 8, c] += values[i, c]
        for c in range(total.size):
            low = (parts[0, c] + parts[1, c]) + (parts[2, c] + parts[3, c])
            total[c] = low + ((parts[4, c] + parts[5, c]) + (parts[6, c] + parts[7, c]))
    for i in range(whole, n):
        for c in range(total.size):
            total[c] += values[i, c]


@compiled(error_model="numpy")
def summaries(
    needed: Any,
    evidence: Any,
    by_column: Any,
    starts: Any,
    agreeing: float,
    second: float,
    plain: Any,
    surprises: Any,
    expected: Any,
    count: int,
    most_told: float,
    out: Any,
) -> None:
    """The largest surprises, their mean and the evidence of each row for each coalition, which is a set of bits.

    Parameters
    ----------
    needed : ndarray of uint8, shape (n, features)
        The coalition that keeps a feature, at least; none needs more than all that there are and the last one.
    evidence : ndarray of float32, shape (n, features)
        At least 0; as `kernels.heaviest` weighs it, with the next four.
    by_column, starts : ndarray of int64
    agreeing, second : float
    plain : ndarray of int64, shape (k,)
        The features that surprise, up to 128.
    surprises, expected : ndarray of float32, shape (n, k)
        At least 0, of what is kept and of what is not.
    count : int
        How many of the largest are written, at most `k`.
    most_told : float
        No surprise counts more in the mean.
    out : ndarray of float32, shape (coalitions, n, more than count + 1), written
        Of coalition 1 and so on: the largest first, the mean in the last column but one, the evidence in the last.
    """
    none, limit = np.float32(0.0), np.float32(most_told)
    coalitions, n, width = out.shape
    # 1 where a coalition keeps what needs so many bits.
    keeps = np.empty((coalitions + 2, coalitions), np.float32)
    for need in range(coalitions + 2):
        for c in range(coalitions):
            keeps[need, c] = np.float32(1.0) if need & (c + 1) == need else none
    most, next_most = np.empty(coalitions, np.float32), np.empty(coalitions, np.float32)
    carried, largest = np.empty(coalitions, np.float32), np.empty((count, coalitions), np.float32)
    first, behind = np.empty(coalitions, np.float64), np.empty(coalitions, np.float64)
    told = np.empty((plain.size, coalitions), np.float64)
    parts, total = np.empty((8, coalitions), np.float64), np.empty(coalitions, np.float64)
    for row in range(n):
        for c in range(coalitions):
            first[c] = behind[c] = 0.0
            for k in range(count):
                largest[k, c] = np.float32(-1.0)
        for column in range(starts.size):
            stop = starts[column + 1] if column + 1 < starts.size else by_column.size
            is_odd = False
            for i in range(starts[column], stop):
                feature = by_column[i]
                value = evidence[row, feature]
                if not value > none:
                    continue
                if not is_odd:
                    is_odd = True
                    for c in range(coalitions):
                        most[c] = next_most[c] = none
                is_kept = keeps[needed[row, feature]]
                for c in range(coalitions):
                    own = value * is_kept[c]
                    above, below = most[c], next_most[c]
                    lower = own if own < above else above
                    next_most[c] = lower if lower > below else below
                    most[c] = own if own > above else above
            if is_odd:
                for c in range(coalitions):
                    found = np.float64(most[c])
                    if agreeing != 0.0:
                        found += np.float64(np.float32(agreeing) * next_most[c])
                    leading, second_best = first[c], behind[c]
                    less = found if found < leading else leading
                    behind[c] = less if less > second_best else second_best
                    first[c] = found if found > leading else leading
        for i in range(plain.size):
            is_kept = keeps[needed[row, plain[i]]]
            kept, usual = surprises[row, i], expected[row, i]
            for c in range(coalitions):
                surprise = kept * is_kept[c] + usual * (np.float32(1.0) - is_kept[c])
                carried[c] = surprise
                told[i, c] = surprise if surprise < limit else limit
            for k in range(count):
                for c in range(coalitions):
                    old, new = largest[k, c], carried[c]
                    largest[k, c] = new if new > old else old
                    carried[c] = old if new > old else new
        _add(told, parts, total)
        for c in range(coalitions):
            for k in range(width - 2):
                out[c, row, k] = largest[k, c] if k < count else none
            out[c, row, width - 2] = total[c] / plain.size
            out[c, row, width - 1] = first[c] if starts.size == 1 else first[c] + second * behind[c]
