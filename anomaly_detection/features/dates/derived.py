"""Columns that follow from others and mean something in a supply chain: durations, ratios, calendar parts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import prod
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from anomaly_detection.data.columns.names import unused_name
from anomaly_detection.data.columns.table import Coded, Table, as_table, factorized
from anomaly_detection.features.compiled.program import Program, Value
from anomaly_detection.features.numbers.bounds import LARGEST
from anomaly_detection.texts.said import N_

__all__ = [
    "CalendarPart",
    "Derived",
    "Duration",
    "MissingPattern",
    "MissingState",
    "NumberLevel",
    "Product",
    "Ratio",
    "add_derived",
    "derived_names",
]

Floats = npt.NDArray[np.float64]
_DAY = np.timedelta64(1, "D")
_MOST_PATTERNS = 1 << 62


@dataclass(frozen=True)
class Duration:
    """Days from one date to another; negative if the second comes first."""

    start: str
    end: str

    @property
    def name(self) -> str:
        return f"days from {self.start} to {self.end}"

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.end, self.start)

    def values(self, records: Any) -> Floats:
        """Give the days of each row."""
        table = as_table(records)
        gap = table.dates(self.end) - table.dates(self.start)
        return np.asarray(gap / _DAY, dtype=np.float64)

    def number(self, program: Program) -> Value:
        """`values` as a program has them."""
        return program.days_between(self.start, self.end)


@dataclass(frozen=True)
class Ratio:
    """One amount for each unit of another."""

    numerator: str
    denominator: str

    @property
    def name(self) -> str:
        return f"{self.numerator} / {self.denominator}"

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.numerator, self.denominator)

    def values(self, records: Any) -> Floats:
        """Give the ratio of each row; missing where there is nothing to divide by."""
        over, under = (as_table(records).numbers(name) for name in (self.numerator, self.denominator))
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            ratio = over / under
        return np.where(under == 0, np.nan, np.clip(ratio, -LARGEST, LARGEST))

    def number(self, program: Program) -> Value:
        """`values` as a program has them."""
        over, under = program.number(self.numerator), program.number(self.denominator)
        return under.equals(0.0).where(np.nan, (over / under).clip(-LARGEST, LARGEST))


@dataclass(frozen=True)
class Product:
    """A total over the product of its two factors (usually 1), allowing for the factors' rounding.

    A factor printed with two decimals, such as a unit price of 0.01, stands for all that rounds to it; only what no
    such value explains counts. `steps` are the rounding steps of the factors and the total, 0 for none; `constant` is
    the usual quotient.
    """

    total: str
    factors: tuple[str, str]
    steps: tuple[float, float, float] = (0.0, 0.0, 0.0)
    constant: float = 1.0

    @property
    def name(self) -> str:
        return f"{self.total} / ({self.factors[0]} x {self.factors[1]})"

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.total, *self.factors)

    def values(self, records: Any) -> Floats:
        """Give the quotient of each row, 1 where rounding explains the rest; missing where a number is not positive."""
        first, second, total = (as_table(records).numbers(name) for name in (*self.factors, self.total))
        half = [step / 2 for step in self.steps]
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            low = np.maximum(first - half[0], 0.0) * np.maximum(second - half[1], 0.0) * self.constant
            high = (first + half[0]) * (second + half[1]) * self.constant
            # Against the product as printed, except where rounding reaches: then only the excess beyond it.
            quotient = np.where(total + half[2] < low, total / low, np.where(total - half[2] > high, total / high, 1.0))
        usable = (first > 0) & (second > 0) & (total >= 0)
        return np.where(usable, np.minimum(quotient, LARGEST), np.nan)

    def number(self, program: Program) -> Value:
        """`values` as a program has them."""
        first, second, total = (program.number(name) for name in (*self.factors, self.total))
        half = [step / 2 for step in self.steps]
        low = (first - half[0]).at_least(0.0) * (second - half[1]).at_least(0.0) * self.constant
        high = (first + half[0]) * (second + half[1]) * self.constant
        above = (total - half[2] > high).where(total / high, 1.0)
        quotient = (total + half[2] < low).where(total / low, above)
        usable = (first > 0.0) & (second > 0.0) & (total >= 0.0)
        return usable.where(quotient.at_most(LARGEST), np.nan)


CalendarKind = Literal["month", "weekday", "hour", "period"]
_WEEKDAYS = [
    *(N_("Monday"), N_("Tuesday"), N_("Wednesday"), N_("Thursday"), N_("Friday"), N_("Saturday"), N_("Sunday")),
]
_MONTHS = [
    *(N_("January"), N_("February"), N_("March"), N_("April"), N_("May"), N_("June"), N_("July"), N_("August")),
    *(N_("September"), N_("October"), N_("November"), N_("December")),
]
_HOURS = [f"{hour:02d}:00" for hour in range(24)]


@dataclass(frozen=True)
class CalendarPart:
    """The month, weekday or hour of a date as a category, or the period of four weeks that it falls into."""

    date: str
    part: CalendarKind

    @property
    def name(self) -> str:
        return f"{self.part} of {self.date}"

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.date,)

    def values(self, records: Any) -> Coded:
        """Give each row's part by name."""
        dates = as_table(records).dates(self.date)
        missing = np.isnat(dates)
        days = dates.astype("datetime64[D]").astype(np.int64)
        if self.part == "month":
            codes, names = dates.astype("datetime64[M]").astype(np.int64) % 12, _MONTHS
        elif self.part == "weekday":
            codes, names = (days + 3) % 7, _WEEKDAYS  # 1 January 1970 was a Thursday
        elif self.part == "period":
            codes = days // 28
            if len(codes) == 1:
                return Coded.of(np.where(missing, -1, 0), [str(int(codes[0]))])
            first = int(codes[~missing].min(initial=0))
            names = [str(period) for period in range(first, int(codes[~missing].max(initial=first)) + 1)]
            codes = codes - first
        else:
            hours = dates.astype("datetime64[h]").astype(np.int64) - 24 * days
            codes, names = hours, _HOURS
        return Coded.of(np.where(missing, -1, codes), names)

    def level_names(self) -> list[str]:
        """The names of the parts; of periods there are as many as the records span."""
        return {"month": _MONTHS, "weekday": _WEEKDAYS, "hour": _HOURS}[self.part]

    def code(self, program: Program) -> Value:
        """Each row's part by its place among `level_names`, as a program has it."""
        part = program.part(self.date, self.part)
        return part - 1.0 if self.part == "month" else part


@dataclass(frozen=True)
class MissingState:
    """Whether a value is there and, if not, how it is missing: blank, or in words known from training."""

    column: str
    words: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.column} given"

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    @property
    def states(self) -> list[str]:
        """How the value may be: there, blank, or missing in words."""
        return ["given", "blank", "in other words", *self.words]

    def codes(self, table: Table) -> npt.NDArray[np.int64]:
        """Each row's state by its number."""
        codes = table.isna(self.column).astype(np.int64)
        if self.words and codes.any():
            # By its place: a column of the records may have the name that it usually has.
            words, states = table.coded(table.columns[table.columns.index(self.column) + 1]), self.states
            lookup = np.array([*(states.index(word) if word in states else 2 for word in words.names), 1])
            codes = np.where(codes == 1, lookup[words.codes], 0)
        return codes

    def said(self, record: Table) -> tuple[str, Any]:
        """The column, and in which words the value of a single record is missing, None where it is blank."""
        names: Sequence[str] = ()
        if self.words:
            names = record.coded(record.columns[record.columns.index(self.column) + 1]).names
        return self.column, names[0] if len(names) else None

    def level_names(self) -> list[str]:
        """The `states`."""
        return self.states

    def code(self, program: Program) -> Value:
        """`codes` as a program has them."""
        missing = program.missing(self.column)
        if not self.words:
            return missing
        states = self.states

        def said(words: Coded) -> npt.NDArray[np.float64]:
            known = [states.index(word) if word in states else 2 for word in words.names]
            return np.array([*known, 1], dtype=np.float64)[words.codes]

        return missing.where(program.level(program.words[self.column], said), 0.0)

    def values(self, records: Any) -> Coded:
        """Give each row's state."""
        return Coded.of(self.codes(as_table(records)), self.states)


@dataclass(frozen=True)
class MissingPattern:
    """Which values are missing together, and how: the states of several columns as one category."""

    states: tuple[MissingState, ...]
    name: str = "missing values"

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(state.column for state in self.states)

    def values(self, records: Any) -> Coded:
        """Give each row's pattern, ``none`` where every value is there."""
        table = as_table(records)
        if len(table) == 1:
            states = [int(state.codes(table)[0]) if table.isna(state.column)[0] else 0 for state in self.states]
            return Coded.of(np.zeros(1), [self._name(states) if any(states) else "none"])
        codes = np.column_stack([state.codes(table) for state in self.states])
        keys, sizes = np.zeros(len(table), dtype=np.int64), [len(state.states) for state in self.states]
        if prod(sizes) < _MOST_PATTERNS:
            # Their numbers are in the order of the patterns, and found sooner.
            for i, size in enumerate(sizes):
                keys = keys * size + codes[:, i]
            _, first, places = np.unique(keys, return_index=True, return_inverse=True)
            patterns = codes[first]
        else:
            patterns, places = np.unique(codes, axis=0, return_inverse=True)
        return Coded.of(np.ravel(places), [self._name(pattern) for pattern in patterns.tolist()])

    def short_of(self, records: Table) -> str | None:
        """What tells the level of a single record from others, where that is found sooner; None else."""
        states = [state.said(records) for state in self.states if records.isna(state.column)[0]]
        return repr(states) if states else "none"

    def _name(self, pattern: Sequence[int]) -> str:
        parts = [" ".join(_missing(own, code)) for own, code in zip(self.states, pattern, strict=True) if code]
        return ", ".join(parts) or "none"

    def alone(self, pattern: str) -> tuple[str, str] | None:
        """The column that is missing in a pattern of this name, and how; None where it is not a single one."""
        return next(
            (
                (column, how)
                for own in self.states
                for column, how in (_missing(own, code) for code in range(1, len(own.states)))
                if f"{column} {how}" == pattern
            ),
            None,
        )

    def blank(self, pattern: str) -> list[str]:
        """The columns that are missing in a pattern of this name; none where some are in words of their own."""
        columns = [own.column for own in self.states if " ".join(_missing(own, 1)) in pattern]
        return columns if ", ".join(f"{column} missing" for column in columns) == pattern else []


def _missing(state: MissingState, code: int) -> tuple[str, str]:
    """A column, and how a value of it is missing."""
    return state.column, "missing" if code == 1 else repr(state.states[code])


@dataclass(frozen=True)
class NumberLevel:
    """A number that takes few values, each as a level of a category."""

    column: str

    @property
    def name(self) -> str:
        return f"{self.column} as a level"

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    def values(self, records: Any) -> Coded:
        """Give each row's level, by the number as a text."""
        codes, levels = factorized(as_table(records).numbers(self.column))
        return Coded.of(codes, [f"{level:.12g}" for level in levels])

    def short_of(self, records: Table) -> str | None:
        """What tells the level of a single record from others, where that is found sooner; None else."""
        return float(records[self.column][0]).hex()


Derived = Duration | Ratio | Product | CalendarPart | MissingState | MissingPattern | NumberLevel


def derived_names(parts: Sequence[Derived], taken: Iterable[str]) -> list[str]:
    """Name the column of each part: by the part, unless a column of the records has that name already."""
    used = set(taken)
    names = []
    for part in parts:
        names.append(unused_name(part.name, used))
        used.add(names[-1])
    return names


def add_derived(table: Table, parts: Mapping[str, Derived]) -> Table:
    """Return the table with the derived columns after its own, by their names; each is made when it is looked at."""
    return table.followed_by(_Columns(table, parts))


class _Columns(Mapping[str, Any]):
    """A table's columns, and those that follow from them."""

    def __init__(self, table: Table, parts: Mapping[str, Derived]) -> None:
        self._table, self._parts = table, parts
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        part = self._parts.get(name)
        if part is None:
            return self._table[name]
        if name not in self._made:
            self._made[name] = part.values(self._table)
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return chain(self._table, self._parts)

    def __len__(self) -> int:
        return len(self._table.columns) + len(self._parts)

    def __contains__(self, name: object) -> bool:
        return name in self._parts or name in self._table
