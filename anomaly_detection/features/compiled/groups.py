"""What `features/grouped.py` says, compiled: values are put in order once, whatever they are grouped by."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlx_iforest.compiled_code import compiled

__all__ = [
    "by_group",
    "distances_at",
    "explained_shares",
    "judged_by_others",
    "pair_shares",
    "pairwise_sum",
    "shares_of_variance",
]


@compiled()
def by_group(by_value: Any, codes: Any, groups: int) -> Any:
    """Rows group by group, each group's in the order of `by_value`, and where groups begin, shape (groups + 1,).

    Parameters
    ----------
    by_value : ndarray of int64, shape (n,)
        Rows by their values.
    codes : ndarray of int64, shape (n,)
        Each row's group; from 0 to ``groups - 1``, else an IndexError is raised.
    """
    starts = np.zeros(groups + 1, np.int64)
    for i in range(len(codes)):
        if codes[i] < 0 or codes[i] >= groups:
            raise IndexError("a code is outside its groups")
        starts[codes[i] + 1] += 1
    for group in range(groups):
        starts[group + 1] += starts[group]
    place, order = starts[:-1].copy(), np.empty(len(codes), np.int64)
    for row in by_value:
        order[place[codes[row]]] = row
        place[codes[row]] += 1
    return order, starts


@compiled()
def _nearest(values: Any, first: int, last: int, centre: float, count: int, out: Any) -> None:
    """Put the `count` smallest distances from a centre of ascending values ``[first, last)`` in `out`, ascending."""
    low, high = first, last
    while low < high:
        middle = (low + high) // 2
        if values[middle] < centre:
            low = middle + 1
        else:
            high = middle
    below, above = low - 1, low
    for i in range(min(count, last - first)):
        if above >= last or (below >= first and centre - values[below] < values[above] - centre):
            out[i] = abs(values[below] - centre)
            below -= 1
        else:
            out[i] = abs(values[above] - centre)
            above += 1


@compiled()
def judged_by_others(values: Any, starts: Any) -> Any:
    """For each value the median of its fellows, the median distance of these from it, and how many they are.

    Parameters
    ----------
    values : ndarray of float64, shape (n,)
        Group by group, ascending in each.
    starts : ndarray of int64, shape (groups + 1,)
        Of `by_group`.

    Returns
    -------
    others, away, rest : ndarray of float64, float64 and int64, shape (n,)
        NaN of a value that is alone.
    """
    n = len(values)
    others, away, rest = np.empty(n), np.empty(n), np.empty(n, np.int64)
    near = np.empty(n // 2 + 2)
    for group in range(len(starts) - 1):
        first, last = starts[group], starts[group + 1]
        fellows = last - first - 1
        if fellows == 0:
            others[first] = away[first] = np.nan
            rest[first] = 0
        if fellows <= 0:
            continue
        low, high = (fellows - 1) // 2, fellows // 2
        centre, known = 0.0, False
        for place in range(first, last):
            rank = place - first
            # Those behind the value itself have moved up by one.
            one, other = values[first + low + (low >= rank)], values[first + high + (high >= rank)]
            median = 0.5 * one + 0.5 * other
            if not known or median != centre:
                centre, known = median, True
                _nearest(values, first, last, centre, high + 2, near)
            own = abs(values[place] - centre)
            others[place], rest[place] = median, fellows
            away[place] = 0.5 * near[low + (near[low] >= own)] + 0.5 * near[high + (near[high] >= own)]
    return others, away, rest


@compiled()
def distances_at(values: Any, starts: Any, centres: Any, at: Any) -> Any:
    """Of each group's distances from its centre, in ascending order, the one at a place and the one behind it.

    Parameters
    ----------
    values : ndarray of float64, shape (n,)
        Group by group, ascending in each.
    starts : ndarray of int64, shape (groups + 1,)
    centres : ndarray of float64, shape (groups,)
    at : ndarray of int64, shape (groups,)
        Places, from 0; one outside its group is moved into it.

    Returns
    -------
    ndarray of float64, shape (2, groups)
        The last distance twice where nothing is behind it; 0 of an empty group.
    """
    groups = len(starts) - 1
    found, near = np.zeros((2, groups)), np.empty(len(values))
    for group in range(groups):
        first, last = starts[group], starts[group + 1]
        size = last - first
        if size > 0:
            place = min(max(at[group], 0), size - 1)
            _nearest(values, first, last, centres[group], place + 2, near)
            found[0, group], found[1, group] = near[place], near[min(place + 1, size - 1)]
    return found


@compiled()
def pairwise_sum(values: Any) -> float:
    """The sum as NumPy adds contiguous numbers: eight at a time, and the halves of many by themselves."""
    n = len(values)
    if n > 128:
        half = n // 2
        half -= half % 8
        return pairwise_sum(values[:half]) + pairwise_sum(values[half:])
    if n < 8:
        total = 0.0
        for i in range(n):
            total += values[i]
        return total
    parts = values[:8].copy()
    whole = n - n % 8
    for start in range(8, whole, 8):
        for i in range(8):
            parts[i] += values[start + i]
    total = ((parts[0] + parts[1]) + (parts[2] + parts[3])) + ((parts[4] + parts[5]) + (parts[6] + parts[7]))
    for i in range(whole, n):
        total += values[i]
    return total


@compiled()
def _share(between: Any, used: int, n: int, total: float, floor: float) -> float:
    free = n - used
    if free <= 0 or total <= 0:
        return 0.0
    return 1.0 - ((total - (pairwise_sum(between[:used]) - floor)) / free) / (total / (n - 1))


@compiled()
def explained_shares(ranks: Any, columns: Any, sizes: Any, wanted: Any, total: float, floor: float) -> Any:
    """`explained_share` of several columns of codes, shape (columns,); 0 of those that are not wanted.

    Parameters
    ----------
    ranks : ndarray of float64, shape (n,)
        NaN of rows that do not count.
    columns : ndarray of int32, shape (columns, n)
        Each row's group, from 0.
    sizes : ndarray of int64, shape (columns,)
        Groups of each column; a code beyond them raises an IndexError.
    wanted : ndarray of bool, shape (columns,)
    total, floor : float
        Sum of the squares of what ranks are off their mean, and so many times its square as there are ranks.
    """
    n, out = len(ranks) - np.isnan(ranks).sum(), np.zeros(len(columns))
    for column in range(len(columns)):
        if not wanted[column]:
            continue
        size = sizes[column]
        counts, sums = np.zeros(size, np.int64), np.zeros(size)
        for i in range(len(ranks)):
            code = columns[column, i]
            if code < 0 or code >= size:
                raise IndexError("a code is outside its groups")
            if not np.isnan(ranks[i]):
                counts[code] += 1
                sums[code] += ranks[i]
        used = 0
        for code in range(size):
            if counts[code] > 0:
                sums[used] = sums[code] * sums[code] / counts[code]
                used += 1
        out[column] = _share(sums, used, n, total, floor)
    return out


@compiled()
def pair_shares(
    ranks: Any, first: Any, groups: int, columns: Any, sizes: Any, wanted: Any, most: float, total: float, floor: float
) -> Any:
    """`explained_share` of one column's groups with those of each of several others, shape (columns,).

    -1 of columns that are not wanted and where the pairs that occur are more than `most`. The other parameters are
    those of `explained_shares`; `first` are the one column's codes, below `groups`.
    """
    given = np.flatnonzero(~np.isnan(ranks))
    n = len(given)
    out, between = np.full(len(columns), -1.0), np.empty(n)
    mine, ranks = first[given], ranks[given]
    by_pair, starts = by_group(np.arange(n), mine, groups)
    counts, sums = np.zeros(n, np.int64), np.zeros(n)
    for column in range(len(columns)):
        if not wanted[column]:
            continue
        possible = groups * sizes[column]
        if possible <= n:
            # A table of all pairs, which adds up in the same order.
            for i in range(n):
                code = columns[column, given[i]]
                if code < 0 or code >= sizes[column]:
                    raise IndexError("a code is outside its groups")
                pair = mine[i] * sizes[column] + code
                counts[pair] += 1
                sums[pair] += ranks[i]
            used = 0
            for pair in range(possible):
                if counts[pair] > 0:
                    between[used] = sums[pair] * sums[pair] / counts[pair]
                    used += 1
                counts[pair], sums[pair] = 0, 0.0
            if used <= most:
                out[column] = _share(between, used, n, total, floor)
            continue
        # Pairs in ascending order, the rows of each in theirs.
        others = columns[column][given]
        order, place = by_group(np.arange(n), others, sizes[column])[0], starts[:-1].copy()
        for i in range(n):
            row = order[i]
            by_pair[place[mine[row]]] = row
            place[mine[row]] += 1
        used, begin = 0, 0
        while begin < n and used <= most:
            one, other = mine[by_pair[begin]], others[by_pair[begin]]
            summed, end = 0.0, begin
            while end < n and mine[by_pair[end]] == one and others[by_pair[end]] == other:
                summed += ranks[by_pair[end]]
                end += 1
            between[used] = summed * summed / (end - begin)
            used += 1
            begin = end
        if used <= most:
            out[column] = _share(between, used, n, total, floor)
    return out


@compiled()
def shares_of_variance(values: Any, columns: Any, sizes: Any) -> Any:
    """The share of the values' variance that each column's groups explain, nearly, shape (columns,).

    -1 where there are two rows a group or fewer, or nothing varies.

    Parameters
    ----------
    values : ndarray of float64, shape (n,)
        Those that are not finite do not count.
    columns : ndarray of int32, shape (columns, n)
        Each row's group, -1 for none.
    sizes : ndarray of int64, shape (columns,)
        Groups of each column; a code beyond them raises an IndexError.
    """
    out, middle, known = np.full(len(columns), -1.0), 0.0, 0
    for value in values:
        if np.isfinite(value):
            middle += value
            known += 1
    middle /= max(known, 1)
    for column in range(len(columns)):
        counts, sums = np.zeros(sizes[column], np.int64), np.zeros(sizes[column])
        squares, summed, n = 0.0, 0.0, 0
        for i in range(len(values)):
            code = columns[column, i]
            if code >= sizes[column]:
                raise IndexError("a code is outside its groups")
            if code >= 0 and np.isfinite(values[i]):
                off = values[i] - middle
                counts[code] += 1
                sums[code] += off
                squares += off * off
                summed += off
                n += 1
        left = squares
        for code in range(sizes[column]):
            if counts[code] > 0:
                left -= sums[code] * sums[code] / counts[code]
        total = squares - summed * summed / max(n, 1)
        if n > 2 * sizes[column] and total > 0:
            out[column] = 1.0 - (left / (n - sizes[column])) / (total / (n - 1))
    return out
