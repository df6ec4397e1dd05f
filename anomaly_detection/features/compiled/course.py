"""`follow`: the readings of one series one after the other, each judged by those before it alone; compiled or not."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np

__all__ = ["CELLS", "COUNTS", "LEAST_TAIL", "LOOKS", "SCALED", "TAILS", "follow", "following"]

SCALED = 4
"""Looks whose scale is learned: step, course, slope, level."""

LOOKS = 6
"""Those, and stuck, gap."""

CELLS = 3
"""Of each cell: its number, its mean, and how far that lies from its course."""

TAILS = 4
"""Of each scaled look: how many were seen, their sum while they are few, and the distances of which a tenth and a
hundredth are larger."""

COUNTS = 9
"""Readings, repeats, gaps, run of equal ones, last moment, last value, readings in the last cell, their sum, and the
value before the last."""

LEAST_TAIL = 1e-12
"""No distance is counted as smaller."""

_DAYS = 7
_FEWEST_DAYS = 3
_BACK = 6
_FIRST = 100
_LEAST_SLOPE = 0.15
_SOON, _LATE, _SILENT = 0.5, 1.5, 3.0
_LEAST_CHANCE = 0.01
_GAINS = (3.0, 30.0)
_SHARES = (0.1, 0.01)
_MOST_GAIN = 0.5
_SLOWLY = 0.1
_ROUNDING = 1e-6


def follow(times: Any, values: Any, sizes: Any, cells: Any, tails: Any, counts: Any, nats: Any, told: Any) -> None:
    """Judge the readings of one series, and leave behind what the next ones are judged by.

    In one call or in many, the same comes out, bit for bit.

    Parameters
    ----------
    times : ndarray of float64, shape (n,)
        Days, ascending.
    values : ndarray of float64, shape (n,)
        NaN where missing: such a row is as if it were not there.
    sizes : tuple of floats
        Days between two readings, days of a cell, cells of a day, readings that are remembered, nats of an alert, and
        readings before anything is said.
    cells : ndarray of float64, shape (m, CELLS)
        A ring over nine days or so.
    tails : ndarray of float64, shape (SCALED, TAILS)
    counts : ndarray of float64, shape (COUNTS,)
    nats : ndarray of float64, shape (n, LOOKS)
        Evidence, written; at least 0.
    told : ndarray of float64, shape (n, LOOKS, 2)
        What is odd and what is usual, written; NaN where there is nothing.
    """
    between, cell, a_day, remembered, alert, quiet = sizes
    per_day, size = np.int64(a_day), len(cells)
    # One more would be no day ago any longer.
    if (
        size < (_DAYS + 1) * per_day + 1
        or cells.shape[1] != CELLS
        or tails.shape != (SCALED, TAILS)
        or len(counts) != COUNTS
        or len(values) != len(times)
        or nats.shape != (len(times), LOOKS)
        or told.shape != (len(times), LOOKS, 2)
    ):
        raise IndexError("what is followed has another size")
    look, before = np.empty(SCALED), np.empty(_DAYS)
    # What is looked at by cells has one chance a cell to be odd, and not one a reading.
    of_a_cell = np.log(max(cell / between, 1.0))
    for i in range(len(times)):
        nats[i], told[i] = 0.0, np.nan
        time, value = times[i], values[i]
        if np.isnan(value) or np.isnan(time) or not abs(time / cell) < 1e15:
            continue
        look[:] = np.nan
        # What is measured at the full hour is of that hour, however it is rounded.
        here = np.int64(np.floor(time / cell + _ROUNDING))
        at = here % size
        if counts[0] == 0.0 or cells[at, 0] != here:
            cells[at, 0], counts[6], counts[7] = here, 0.0, 0.0
        counts[6] += 1.0
        counts[7] += value
        mean = counts[7] / counts[6]
        cells[at, 1], cells[at, 2] = mean, np.nan
        if counts[0] > 0.0:
            apart = time - counts[4]
            # What is learned of steps and repeats is of readings so far apart: nearer ones move less, and stand still.
            soon = apart < _SOON * between
            if not soon and apart <= _SILENT * between:
                # What comes back from one odd reading is where it was before that.
                near = counts[5]
                if counts[0] > 1.0 and abs(value - counts[8]) < abs(value - near):
                    near = counts[8]
                look[0] = value - near
                told[i, 0, 0], told[i, 0, 1] = value, near
            if apart > _LATE * between:
                share = (counts[2] + 1.0) / (counts[0] + 1.0)
                nats[i, 5] = np.log(apart / (_LATE * between)) - np.log(share)
                told[i, 5, 0], told[i, 5, 1] = apart, between
                counts[2] += 1.0
            if value != counts[5]:
                counts[3] = 1.0
            elif not soon:
                counts[3] += 1.0
                chance = max((counts[1] + 1.0) / (counts[0] + 1.0), _LEAST_CHANCE)
                nats[i, 4] = max(counts[3] - 2.0, 0.0) * -np.log(chance)
                told[i, 4, 0], told[i, 4, 1] = counts[3], 1.0
                counts[1] += 1.0
        else:
            counts[3] = 1.0
        counts[0] += 1.0
        counts[4], counts[5], counts[8] = time, value, counts[5]
        days = 0
        for day in range(1, _DAYS + 1):
            then = (here - day * per_day) % size
            if cells[then, 0] == here - day * per_day:
                before[days] = cells[then, 1]
                days += 1
        if days >= _FEWEST_DAYS:
            usual = np.median(before[:days])
            look[1] = cells[at, 2] = mean - usual
            told[i, 1, 0], told[i, 1, 1] = mean, usual
            several = 0
            for back in range(_BACK - 1, _BACK + 2):
                number = here - back
                then = number % size
                # Of days too few it is NaN.
                if per_day > _BACK + 1 and cells[then, 0] == number and not np.isnan(cells[then, 2]):
                    before[several] = cells[then, 2]
                    several += 1
            if several:
                # Of several, so that one odd cell is not odd again when it is over.
                usual = np.median(before[:several])
                look[2] = look[1] - usual
                told[i, 2, 0], told[i, 2, 1] = look[1], usual
        if per_day > 1:
            days, today = 0, np.nan
            for day in range(_DAYS + 1):
                total, count = 0.0, 0
                for j in range(per_day):
                    number = here - day * per_day - j
                    then = number % size
                    if cells[then, 0] == number:
                        total += cells[then, 1]
                        count += 1
                if 2 * count >= per_day:
                    if day == 0:
                        today = total / count
                    else:
                        before[days] = total / count
                        days += 1
            if days >= _FEWEST_DAYS and not np.isnan(today):
                usual = np.median(before[:days])
                look[3] = today - usual
                told[i, 3, 0], told[i, 3, 1] = today, usual
        for j in range(SCALED):
            away = abs(look[j])
            if np.isnan(away):
                continue
            tail = tails[j]
            if tail[0] < _FIRST:
                tail[0] += 1.0
                tail[1] += away
                tail[2] = max(2.0 * tail[1] / tail[0], LEAST_TAIL)
                tail[3] = 2.0 * tail[2]
                continue
            if tail[0] >= quiet and away > tail[2]:
                slope = max(np.log(tail[3] / tail[2]) / np.log(10.0), _LEAST_SLOPE)
                nats[i, j] = np.log(10.0) + np.log(away / tail[2]) / slope + (of_a_cell if j > 0 else 0.0)
            # What is odd says little of what is usual.
            slowly = _SLOWLY if nats[i, j] >= alert else 1.0
            for side in range(2):
                gain = min(_GAINS[side] / min(tail[0], remembered) * slowly, _MOST_GAIN)
                beyond = 1.0 if away > tail[2 + side] else 0.0
                tail[2 + side] = max(tail[2 + side] * np.exp(gain * (beyond - _SHARES[side])), LEAST_TAIL)
            tail[3] = max(tail[3], tail[2])
            tail[0] += 1.0


@cache
def following() -> Any:
    """`follow` by machine code where Numba is there, else as it stands."""
    if find_spec("numba") is None:
        return follow
    from mlx_iforest.compiled_code import compiled

    return compiled()(follow)
