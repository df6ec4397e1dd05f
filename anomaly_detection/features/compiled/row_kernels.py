"""The kernel that runs a `Program`'s steps over a block of rows."""

from __future__ import annotations

from math import isnan
from typing import Any

import numpy as np

from anomaly_detection.features.compiled.program import Op
from mlx_iforest.compiled_code import compiled

__all__ = ["run"]

_NAT = np.int64(np.iinfo(np.int64).min)
_DAY = np.int64(86_400_000_000_000)
_HOUR = np.int64(3_600_000_000_000)
_NAN = float("nan")
_LARGEST = 1e100
_SMALLEST = 1.0 / _LARGEST
_MOST_DECIMALS = 12
_POWERS = tuple(10.0**digits for digits in range(_MOST_DECIMALS))

NUMBER, LEVEL, GAP, SINCE, PART = (int(op) for op in (Op.NUMBER, Op.LEVEL, Op.GAP, Op.SINCE, Op.PART))
OF_BATCH, COPY, ADD, SUBTRACT = (int(op) for op in (Op.OF_BATCH, Op.COPY, Op.ADD, Op.SUBTRACT))
MULTIPLY, DIVIDE, MAXIMUM, MINIMUM = (int(op) for op in (Op.MULTIPLY, Op.DIVIDE, Op.MAXIMUM, Op.MINIMUM))
LESS, AT_MOST, EQUAL, SELECT = (int(op) for op in (Op.LESS, Op.AT_MOST, Op.EQUAL, Op.SELECT))
NEGATIVE, ABSOLUTE, CEILING, COPY_SIGN = (int(op) for op in (Op.NEGATIVE, Op.ABSOLUTE, Op.CEILING, Op.COPY_SIGN))
IS_MISSING, BOUNDED, DECIMALS = (int(op) for op in (Op.IS_MISSING, Op.BOUNDED, Op.DECIMALS))
LOOK_UP, LOOK_UP_PAIR, FIND = (int(op) for op in (Op.LOOK_UP, Op.LOOK_UP_PAIR, Op.FIND))


@compiled(error_model="numpy")
def _first_of_year(year: Any) -> Any:
    """The day on which a year begins, since 1970."""
    before = year - 1
    return 365 * before + before // 4 - before // 100 + before // 400 - 719162


@compiled(error_model="numpy")
def _year_of(day: Any) -> Any:
    """The year that a day since 1970 lies in."""
    shifted = day + 719468
    era = shifted // 146097
    of_era = shifted - era * 146097
    year = (of_era - of_era // 1460 + of_era // 36524 - of_era // 146096) // 365
    # These begin in March.
    of_year = of_era - (365 * year + year // 4 - year // 100)
    return year + era * 400 + (1 if (5 * of_year + 2) // 153 >= 10 else 0)


@compiled(error_model="numpy")
def _part(moment: Any, part: Any) -> Any:
    """A part of a date in nanoseconds since 1970, by its place in `PARTS`."""
    day = moment // _DAY
    if part == 3:
        return (day + 3) % 7
    if part == 7:
        return (moment // _HOUR) % 24
    if part == 10:
        return day // 28
    if part == 6:
        # A week is one of the year that its Thursday lies in.
        thursday = day + 3 - (day + 3) % 7
        return (thursday - _first_of_year(_year_of(thursday))) // 7 + 1
    year = _year_of(day)
    if part == 1:
        return year
    of_year = day - _first_of_year(year)
    if part == 5:
        return of_year + 1
    shifted = day + 719468
    of_era = shifted - shifted // 146097 * 146097
    of_cycle = (of_era - of_era // 1460 + of_era // 36524 - of_era // 146096) // 365
    from_march = of_era - (365 * of_cycle + of_cycle // 4 - of_cycle // 100)
    number = (5 * from_march + 2) // 153
    month = number + 3 if number < 10 else number - 9
    if part == 0:
        return month
    if part == 4:
        return from_march - (153 * number + 2) // 5 + 1
    quarter = (month + 2) // 3
    if part == 2:
        return quarter
    return 12 * year + month if part == 8 else 4 * year + quarter


@compiled(error_model="numpy")
def _decimals(value: float) -> float:
    """How many decimals a number has, see `forms.decimals`."""
    size = abs(value)
    if isnan(size):
        return -1.0
    if size >= 1e9:
        return 0.0
    for digits in range(_MOST_DECIMALS):
        rounded = np.rint(size) if digits == 0 else np.rint(size * _POWERS[digits]) / _POWERS[digits]
        if abs(rounded - size) <= 1e-9 * max(size, 1e-3):
            return float(digits)
    return float(_MOST_DECIMALS)


@compiled(error_model="numpy")
def _find(value: float, tables: Any, start: int, size: int) -> float:
    """The place of a value among ascending ones, -1 where it is not there."""
    low, high = 0, size
    while low < high:
        middle = (low + high) // 2
        if tables[start + middle] < value:
            low = middle + 1
        else:
            high = middle
    return float(low) if low < size and tables[start + low] == value else -1.0


@compiled(error_model="numpy")
def run(
    steps: Any,
    registers: Any,
    numbers: Any,
    dates: Any,
    codes: Any,
    levels: Any,
    level_shapes: Any,
    of_batch: Any,
    tables: Any,
    table_shapes: Any,
    start: int,
    stored: Any,
    out: Any,
) -> None:
    """Run steps over a block of rows, and store some of what came of them.

    Parameters
    ----------
    steps : ndarray of int64, shape (steps, 5)
        The `Op`, the register that is written, and what it takes: registers, numbers of columns, slots, tables.
    registers : ndarray of float64, shape (registers, rows)
    numbers : ndarray of float64, shape (columns, n)
    dates : ndarray of int64, shape (columns, n)
        Nanoseconds since 1970; the least number where missing.
    codes : ndarray of int64, shape (columns, n)
        Each row's level; any that is none is taken for the last.
    levels : ndarray of float64
        What is said of each level, one after the other.
    level_shapes : ndarray of int64, shape (columns, 3)
        Where a column's levels begin, how many they are, and how much is said of each.
    of_batch : ndarray of float64, shape (values,)
    tables : ndarray of float64
    table_shapes : ndarray of int64, shape (tables, 3)
        Where each begins, its rows, and its columns.
    start : int
        The first row of the block.
    stored : ndarray of int64, shape (k, 2)
        Registers that become columns of `out`, and which.
    out : ndarray of float32, shape (n, features), written
    """
    rows = registers.shape[1]
    for step in range(steps.shape[0]):
        op, to, a, b, c = steps[step, 0], steps[step, 1], steps[step, 2], steps[step, 3], steps[step, 4]
        if op == LEVEL:
            first, size, width = level_shapes[a, 0], level_shapes[a, 1], level_shapes[a, 2]
            for row in range(rows):
                code = codes[a, start + row]
                at = code if 0 <= code < size else size - 1
                registers[to, row] = levels[first + at * width + b]
        elif op == ADD:
            for row in range(rows):
                registers[to, row] = registers[a, row] + registers[b, row]
        elif op == MULTIPLY:
            for row in range(rows):
                registers[to, row] = registers[a, row] * registers[b, row]
        elif op == SUBTRACT:
            for row in range(rows):
                registers[to, row] = registers[a, row] - registers[b, row]
        elif op == DIVIDE:
            for row in range(rows):
                registers[to, row] = registers[a, row] / registers[b, row]
        elif op == SELECT:
            for row in range(rows):
                registers[to, row] = registers[b, row] if registers[a, row] != 0.0 else registers[c, row]
        elif op == LESS:
            for row in range(rows):
                registers[to, row] = 1.0 if registers[a, row] < registers[b, row] else 0.0
        elif op == AT_MOST:
            for row in range(rows):
                registers[to, row] = 1.0 if registers[a, row] <= registers[b, row] else 0.0
        elif op == EQUAL:
            for row in range(rows):
                registers[to, row] = 1.0 if registers[a, row] == registers[b, row] else 0.0
        elif op == MAXIMUM:
            for row in range(rows):
                one, other = registers[a, row], registers[b, row]
                registers[to, row] = one if one >= other or isnan(one) else other
        elif op == MINIMUM:
            for row in range(rows):
                one, other = registers[a, row], registers[b, row]
                registers[to, row] = one if one <= other or isnan(one) else other
        elif op == LOOK_UP:
            first, size = table_shapes[b, 0], table_shapes[b, 1]
            for row in range(rows):
                place = registers[a, row]
                at = np.int64(place) if 0.0 <= place < size else size - 1
                registers[to, row] = tables[first + at]
        elif op == LOOK_UP_PAIR:
            first, height, width = table_shapes[c, 0], table_shapes[c, 1], table_shapes[c, 2]
            for row in range(rows):
                one, other = registers[a, row], registers[b, row]
                inside = 0.0 <= one < height and 0.0 <= other < width
                at = np.int64(one) * width + np.int64(other) if inside else 0
                registers[to, row] = tables[first + at] if inside else -1.0
        elif op == FIND:
            first, size = table_shapes[b, 0], table_shapes[b, 1]
            for row in range(rows):
                registers[to, row] = _find(registers[a, row], tables, first, size)
        elif op == NEGATIVE:
            for row in range(rows):
                registers[to, row] = -registers[a, row]
        elif op == ABSOLUTE:
            for row in range(rows):
                registers[to, row] = abs(registers[a, row])
        elif op == CEILING:
            for row in range(rows):
                registers[to, row] = np.ceil(registers[a, row])
        elif op == COPY_SIGN:
            for row in range(rows):
                registers[to, row] = np.copysign(registers[a, row], registers[b, row])
        elif op == IS_MISSING:
            for row in range(rows):
                registers[to, row] = 1.0 if isnan(registers[a, row]) else 0.0
        elif op == BOUNDED:
            for row in range(rows):
                value = registers[a, row]
                inside = min(max(value, -_LARGEST), _LARGEST)
                registers[to, row] = value if isnan(value) else 0.0 if abs(value) < _SMALLEST else inside
        elif op == DECIMALS:
            for row in range(rows):
                registers[to, row] = _decimals(registers[a, row])
        elif op == COPY:
            for row in range(rows):
                registers[to, row] = registers[a, row]
        elif op == NUMBER:
            for row in range(rows):
                registers[to, row] = numbers[a, start + row]
        elif op == GAP:
            for row in range(rows):
                end, begin = dates[a, start + row], dates[b, start + row]
                gap = end - begin
                missing = end == _NAT or begin == _NAT or gap == _NAT
                registers[to, row] = _NAN if missing else np.float64(gap) / np.float64(_DAY)
        elif op == SINCE:
            for row in range(rows):
                moment = dates[a, start + row]
                registers[to, row] = _NAN if moment == _NAT else np.float64(moment) / np.float64(_DAY)
        elif op == PART:
            for row in range(rows):
                moment = dates[a, start + row]
                registers[to, row] = _NAN if moment == _NAT else np.float64(_part(moment, b))
        elif op == OF_BATCH:
            for row in range(rows):
                registers[to, row] = of_batch[a]
    for i in range(stored.shape[0]):
        register, column = stored[i, 0], stored[i, 1]
        for row in range(rows):
            out[start + row, column] = registers[register, row]
