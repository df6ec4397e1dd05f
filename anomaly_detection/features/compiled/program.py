"""`Program`: what is computed of each row, as expressions over its columns, which `machine` runs over blocks of rows.

An expression is written as the plain code beside it is; two that are the same are one. Nothing is computed here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from anomaly_detection.data.columns.table import Coded, Table, Vocabulary

__all__ = ["FUNCTIONS", "Op", "Program", "Value"]

Floats = npt.NDArray[np.float64]


class Op(IntEnum):
    """What one step does, see `kernels.run`."""

    CONSTANT = 0
    NUMBER = 1
    LEVEL = 2
    GAP = 3
    SINCE = 4
    PART = 5
    OF_BATCH = 6
    COPY = 7
    ADD = 8
    SUBTRACT = 9
    MULTIPLY = 10
    DIVIDE = 11
    MAXIMUM = 12
    MINIMUM = 13
    LESS = 14
    AT_MOST = 15
    EQUAL = 16
    SELECT = 17
    NEGATIVE = 18
    ABSOLUTE = 19
    CEILING = 20
    COPY_SIGN = 21
    IS_MISSING = 22
    BOUNDED = 23
    DECIMALS = 24
    LOOK_UP = 25
    LOOK_UP_PAIR = 26
    FIND = 27
    LOG = 28
    LOG1P = 29
    ARCSINH = 30


FUNCTIONS: Mapping[Op, Callable[..., Any]] = {Op.LOG: np.log, Op.LOG1P: np.log1p, Op.ARCSINH: np.arcsinh}
"""What NumPy computes between the kernel's calls: its last bit differs from a compiler's."""

PARTS = (
    *("month", "year", "quarter", "weekday", "day", "day of the year", "week", "hour", "year and month"),
    *("year and quarter", "period"),
)
"""Parts of dates, as `restated_columns.PARTS` counts them, and periods of four weeks."""


@dataclass(frozen=True, eq=False)
class Value:
    """A number for each row.

    Attributes
    ----------
    op : Op
    of : tuple of Value
        What it is computed from.
    which : int or float
        The constant, the number of a column, or that of a table.
    second : int
        The number of another column, of a level's slot or of a date's part.
    """

    program: Program
    op: Op
    of: tuple[Value, ...] = ()
    which: float = 0
    second: int = 0

    def _with(self, op: Op, other: Value | float) -> Value:
        return self.program.value(op, (self, self.program.as_value(other)))

    def _after(self, op: Op, other: float) -> Value:
        return self.program.value(op, (self.program.as_value(other), self))

    def __add__(self, other: Value | float) -> Value:
        return self._with(Op.ADD, other)

    def __sub__(self, other: Value | float) -> Value:
        return self._with(Op.SUBTRACT, other)

    def __mul__(self, other: Value | float) -> Value:
        return self._with(Op.MULTIPLY, other)

    def __truediv__(self, other: Value | float) -> Value:
        return self._with(Op.DIVIDE, other)

    def __rsub__(self, other: float) -> Value:
        return self._after(Op.SUBTRACT, other)

    def __neg__(self) -> Value:
        return self.program.value(Op.NEGATIVE, (self,))

    def __abs__(self) -> Value:
        return self.program.value(Op.ABSOLUTE, (self,))

    def __lt__(self, other: Value | float) -> Value:
        return self._with(Op.LESS, other)

    def __le__(self, other: Value | float) -> Value:
        return self._with(Op.AT_MOST, other)

    def __gt__(self, other: Value | float) -> Value:
        return self.program.value(Op.LESS, (self.program.as_value(other), self))

    def __ge__(self, other: Value | float) -> Value:
        return self.program.value(Op.AT_MOST, (self.program.as_value(other), self))

    def __and__(self, other: Value) -> Value:
        return self._with(Op.MULTIPLY, other)

    def equals(self, other: Value | float) -> Value:
        """1 where they are the same, else 0."""
        return self._with(Op.EQUAL, other)

    def at_least(self, other: Value | float) -> Value:
        """`numpy.maximum`."""
        return self._with(Op.MAXIMUM, other)

    def at_most(self, other: Value | float) -> Value:
        """`numpy.minimum`."""
        return self._with(Op.MINIMUM, other)

    def clip(self, low: float, high: float) -> Value:
        """`numpy.clip`."""
        return self.at_least(low).at_most(high)

    def where(self, then: Value | float, otherwise: Value | float) -> Value:
        """`numpy.where` this is not 0."""
        both = (self.program.as_value(then), self.program.as_value(otherwise))
        return self.program.value(Op.SELECT, (self, *both))

    def is_missing(self) -> Value:
        """1 where it is NaN, else 0."""
        return self.program.value(Op.IS_MISSING, (self,))

    def bounded(self) -> Value:
        """`bounds.bounded`."""
        return self.program.value(Op.BOUNDED, (self,))

    def decimals(self) -> Value:
        """`forms.decimals`."""
        return self.program.value(Op.DECIMALS, (self,))

    def ceiling(self) -> Value:
        """`numpy.ceil`."""
        return self.program.value(Op.CEILING, (self,))

    def with_sign_of(self, other: Value) -> Value:
        """`numpy.copysign`."""
        return self._with(Op.COPY_SIGN, other)

    def log(self) -> Value:
        """`numpy.log`."""
        return self.program.value(Op.LOG, (self,))

    def log1p(self) -> Value:
        """`numpy.log1p`."""
        return self.program.value(Op.LOG1P, (self,))

    def arcsinh(self) -> Value:
        """`numpy.arcsinh`."""
        return self.program.value(Op.ARCSINH, (self,))

    def look_up(self, table: npt.ArrayLike) -> Value:
        """The entry of a table at this place, from 0; the last for any other place, such as -1."""
        if not np.size(table):
            raise ValueError("there is nothing to look up")
        return self.program.value(Op.LOOK_UP, (self,), self.program.table(table))

    def look_up_with(self, other: Value, table: npt.ArrayLike) -> Value:
        """The entry of a table, shape (k, m), at this place and another, from 0; -1 for any others."""
        return self.program.value(Op.LOOK_UP_PAIR, (self, other), self.program.table(table))

    def place_in(self, table: npt.ArrayLike) -> Value:
        """Its place in a table that ascends, -1 where it is not in there."""
        return self.program.value(Op.FIND, (self,), self.program.table(table))


class Program:
    """Expressions over the columns of records.

    Parameters
    ----------
    numbers, dates, categories : sequence of str
        The columns of each kind that records bring with them.
    derived : mapping of str to Derived
        The others, which say themselves how they follow from these.
    words : mapping of str to str
        Columns of the words in which numbers and dates are missing, by these.

    Attributes
    ----------
    numbers, dates, categories : dict of str to int
        The columns that are looked at, and the number of each.
    levels : list of list of callable
        For each category what is asked of its levels.
    tables : list of ndarray of float64, shape (k,) or (k, m)
    of_batch : list of (float, callable)
        What is learned of rows that come together, and what it is of few.
    """

    def __init__(
        self,
        numbers: Sequence[str],
        dates: Sequence[str],
        categories: Sequence[str],
        derived: Mapping[str, Any],
        words: Mapping[str, str],
    ) -> None:
        self._kinds = {
            **dict.fromkeys(numbers, "numbers"),
            **dict.fromkeys(dates, "dates"),
            **dict.fromkeys(categories, "categories"),
        }
        self._derived, self.words = derived, words
        self.numbers: dict[str, int] = {}
        self.dates: dict[str, int] = {}
        self.categories: dict[str, int] = {}
        self.levels: list[list[Callable[[Coded], npt.NDArray[Any]]]] = []
        self.tables: list[Floats] = []
        self.of_batch: list[tuple[float, Callable[[Table], float]]] = []
        self._values: dict[Any, Value] = {}
        self._tables: dict[Any, int] = {}
        self._places: dict[Any, Callable[[Coded], npt.NDArray[Any]]] = {}

    def value(self, op: Op, of: tuple[Value, ...] = (), which: float = 0, second: int = 0) -> Value:
        """The one value of this kind."""
        # Of zeros and numbers that are none there are several.
        key = (op, *map(id, of), np.float64(which).tobytes() if op is Op.CONSTANT else which, second)
        if key not in self._values:
            self._values[key] = Value(self, op, of, which, second)
        return self._values[key]

    def as_value(self, value: Value | float) -> Value:
        """The value, or a constant."""
        return value if isinstance(value, Value) else self.value(Op.CONSTANT, which=float(value))

    def table(self, values: npt.ArrayLike) -> int:
        """The number of a table."""
        made = np.array(values, dtype=np.float64, order="C")
        key = (made.shape, made.tobytes())
        if key not in self._tables:
            self._tables[key] = len(self.tables)
            self.tables.append(made)
        return self._tables[key]

    def part_of(self, name: str) -> Any:
        """How a column follows from others, if it does."""
        return self._derived.get(name)

    def is_date(self, name: str) -> bool:
        """Whether a column holds dates."""
        return self._kinds.get(name) == "dates"

    def is_number(self, name: str) -> bool:
        """Whether a column holds numbers, its own or such as follow from others."""
        return self._kinds.get(name) == "numbers" or hasattr(self._derived.get(name), "number")

    def number(self, name: str) -> Value:
        """A column of numbers."""
        part = self._derived.get(name)
        if part is not None:
            return part.number(self)  # type: ignore[no-any-return]
        if self._kinds.get(name) != "numbers":
            raise ValueError(f"{name!r} is no column of numbers")
        return self.value(Op.NUMBER, which=self.numbers.setdefault(name, len(self.numbers)))

    def _date(self, name: str) -> int:
        if self._kinds.get(name) != "dates":
            raise ValueError(f"{name!r} is no column of dates")
        return self.dates.setdefault(name, len(self.dates))

    def days(self, date: str) -> Value:
        """Days since 1970, NaN where the date is missing."""
        return self.value(Op.SINCE, which=self._date(date))

    def days_between(self, start: str, end: str) -> Value:
        """Days from one date to another."""
        return self.value(Op.GAP, which=self._date(end), second=self._date(start))

    def part(self, date: str, part: str) -> Value:
        """A part of a date, see `PARTS`; NaN where the date is missing."""
        return self.value(Op.PART, which=self._date(date), second=PARTS.index(part))

    def missing(self, name: str) -> Value:
        """1 where a column has no value, else 0."""
        if self.is_date(name):
            return self.days(name).is_missing()
        return self.number(name).is_missing() if self.is_number(name) else self.level(name, Coded.isna)

    def level(self, name: str, of: Callable[[Coded], npt.NDArray[Any]]) -> Value:
        """What a function makes of each level of a category, whatever other rows there are."""
        part = self._derived.get(name)
        if part is not None and hasattr(part, "code"):
            names = part.level_names()
            return part.code(self).look_up(of(Coded(np.append(np.arange(len(names)), -1), names)))  # type: ignore[no-any-return]
        column = self.categories.setdefault(name, len(self.categories))
        if column == len(self.levels):
            self.levels.append([])
        asked = self.levels[column]
        if of not in asked:
            asked.append(of)
        return self.value(Op.LEVEL, which=column, second=asked.index(of))

    def of_rows(self, few: float, many: Callable[[Table], float]) -> Value:
        """What is learned of rows that come together: `few` where these are fewer than twenty."""
        self.of_batch.append((few, many))
        return self.value(Op.OF_BATCH, which=len(self.of_batch) - 1)

    def place(self, name: str, vocabulary: Vocabulary) -> Value:
        """Each level's place in a vocabulary, -1 where it is new."""
        key = (name, vocabulary)
        if key not in self._places:
            self._places[key] = lambda column: column.within(vocabulary)
        return self.level(name, self._places[key])

    def of_level(self, name: str, vocabulary: Vocabulary, values: npt.NDArray[Any]) -> Value:
        """A value for each level of a vocabulary; the last for any other."""
        key = (name, vocabulary, values.tobytes())
        if key not in self._places:
            self._places[key] = lambda column: values[column.within(vocabulary)]
        return self.level(name, self._places[key])
