"""Columns that follow from others and mean something in a supply chain: durations, ratios, calendar parts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, islice
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from anomaly_detection.data.names import unused_name
from anomaly_detection.data.table import Coded, Table, as_table, factorized
from anomaly_detection.features.amounts import amount_kind
from anomaly_detection.features.bounds import LARGEST, bounded
from anomaly_detection.features.pairing import MOST_PARTNERS, paired_dates

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
    "find_calendar",
    "find_durations",
    "find_levels",
    "find_ratios",
]

Floats = npt.NDArray[np.float64]
_DAY = np.timedelta64(1, "D")
_SAMPLE = 5_000
_MOST_RATIOS = 16
_LARGEST_LOG = 700.0
_MOST_VALUES = 40
_MOST_LEVELLED = 64


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


CalendarKind = Literal["month", "weekday", "hour", "period"]
_WEEKDAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
_MONTHS = [
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
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
            first = int(codes[~missing].min(initial=0))
            names = [str(period) for period in range(first, int(codes[~missing].max(initial=first)) + 1)]
            codes = codes - first
        else:
            hours = dates.astype("datetime64[h]").astype(np.int64) - 24 * days
            codes, names = hours, _HOURS
        return Coded.of(np.where(missing, -1, codes), names)


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
        codes = np.column_stack([state.codes(table) for state in self.states])
        patterns, places = (codes, [0]) if len(table) == 1 else np.unique(codes, axis=0, return_inverse=True)
        return Coded.of(np.ravel(places), [self._name(pattern) for pattern in patterns.tolist()])

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


Derived = Duration | Ratio | Product | CalendarPart | MissingState | MissingPattern | NumberLevel


def find_calendar(records: Any, dates: Sequence[str]) -> list[CalendarPart]:
    """Choose calendar parts of the main date: the one that is missing least, the first of several."""
    if not dates:
        return []
    table = as_table(records)
    main = min(dates, key=lambda name: int(table.isna(name).sum()))
    present = table.dates(main)[~table.isna(main)]
    parts = [CalendarPart(main, "period")]
    if len(present) and present.max() - present.min() >= 60 * _DAY:
        parts.append(CalendarPart(main, "month"))
    if len(np.unique(present.astype("datetime64[D]"))) >= 14:
        parts.append(CalendarPart(main, "weekday"))
    if len(np.unique(present.astype("datetime64[h]").astype(np.int64) % 24)) > 1:
        parts.append(CalendarPart(main, "hour"))
    return parts


def find_durations(records: Any, dates: Sequence[str]) -> list[Duration]:
    """Choose the date pairs that are tied together most closely: a spanning tree over all dates, least spread first.

    Each goes from the date that usually comes first. Of many dates those that `paired_dates` names are looked at.
    """
    edges = []
    table = as_table(records)
    dates = paired_dates(table, dates)
    for position, (first, second) in enumerate(combinations(dates, 2)):
        gap = Duration(first, second).values(table)
        gap = gap[~np.isnan(gap)]
        if len(gap) < max(5, 0.05 * len(table)) or np.all(gap == gap[0]):
            continue
        low, middle, high = np.quantile(gap, [0.1, 0.5, 0.9])
        pair = Duration(second, first) if middle < 0 else Duration(first, second)
        edges.append((high - low, position, pair))
    kept: list[Duration] = []
    tree = {name: name for name in dates}

    def root(name: str) -> str:
        while tree[name] != name:
            name = tree[name]
        return name

    for _, _, pair in sorted(edges, key=lambda edge: edge[:2]):
        if root(pair.start) != root(pair.end):
            tree[root(pair.start)] = root(pair.end)
            kept.append(pair)
    return kept


def find_levels(records: Any, numbers: Sequence[str]) -> list[NumberLevel]:
    """Choose the numbers that take few values: at most 40, each, on average, in 20 rows or more."""
    found = []
    table = as_table(records)
    for name in numbers[:_MOST_LEVELLED]:
        distinct = len(factorized(table.numbers(name))[1])
        if 2 <= distinct <= min(_MOST_VALUES, len(table) / 20):
            found.append(NumberLevel(name))
    return found


_MEANINGFUL = (
    ("freight", "weight"),
    ("freight", "value"),
    ("freight", "quantity"),
    ("freight", "distance"),
    ("insurance", "value"),
    ("value", "quantity"),
    ("value", "weight"),
    ("weight", "quantity"),
    ("quantity", "forecast"),
    ("quantity", "capacity"),
    ("inventory", "forecast"),
    ("inventory", "quantity"),
    ("forecast", "capacity"),
)


def find_ratios(records: Any, numbers: Sequence[str]) -> list[Ratio | Product]:
    """Choose products that hold among the columns, then ratios that mean something, then ratios that hardly vary.

    A ratio is taken where the names say so and both columns are positive, or, where the names say nothing, if the
    logarithms of two positive columns go together so closely that their ratio varies less than half as much as either.
    """
    table = as_table(records)
    logs = {}
    for name in numbers:
        values = table.numbers(name)[:: -(-len(table) // _SAMPLE)]
        present = values[~np.isnan(values)]
        if len(present) >= 5 and (present > 0).mean() > 0.9 and (present < 0).sum() == 0:
            with np.errstate(divide="ignore"):
                log = np.log(values)
            logs[name] = np.where(np.isfinite(log), log, np.nan)
    products = _find_products(table, logs)
    ratios = _find_pairs(logs, products)
    return [*products, *ratios]


def _spread(values: Floats) -> float:
    present = values[~np.isnan(values)]
    if len(present) < 5:
        return float("nan")
    low, high = np.quantile(present, [0.1, 0.9])
    return float(high - low)


def _rounding(values: Floats) -> float:
    present = bounded(values[~np.isnan(values)])
    if np.allclose(present, np.round(present), atol=1e-9):
        return 0.0
    for digits in (1, 2, 3, 4):
        if np.allclose(present, np.round(present, digits), atol=1e-9):
            return float(10.0**-digits)
    return 0.0


def _find_products(table: Table, logs: dict[str, Floats]) -> list[Product]:
    varied = [name for name, log in logs.items() if _spread(log) > 0.2]
    if not 3 <= len(varied) <= 16:
        return []
    found: list[tuple[float, Product]] = []
    for total in varied:
        for first, second in combinations([name for name in varied if name != total], 2):
            gap = logs[total] - logs[first] - logs[second]
            present = ~np.isnan(gap)
            least = max(10, 0.05 * len(gap))
            if present.sum() < least:
                continue
            middle = float(np.median(gap[present]))
            near = float((np.abs(gap[present] - middle) < 0.05).mean())
            # Both factors have to matter, or the product is a ratio of two columns and a constant.
            if near < 0.6 or min(_spread(logs[name][present]) for name in (first, second)) < 0.2:
                continue
            steps = tuple(_rounding(table.numbers(name)) for name in (first, second, total))
            constant = 1.0 if abs(middle) < 0.05 else float(np.exp(np.clip(middle, -_LARGEST_LOG, _LARGEST_LOG)))
            found.append((near, Product(total, (first, second), (steps[0], steps[1], steps[2]), constant)))
    found.sort(key=lambda item: (-item[0], item[1].name))
    kept: list[Product] = []
    for _, product in found:
        # x = y z says the same as y = x / z: one for each set of columns.
        if all(set(product.columns) != set(other.columns) for other in kept):
            kept.append(product)
    return kept[:4]


def _find_pairs(logs: dict[str, Floats], products: Sequence[Product]) -> list[Ratio]:
    kinds = {name: amount_kind(name) for name in logs}
    # A quotient that is printed as a column of its own (value / quantity = price) is judged by its product already.
    explained = [set(product.columns) for product in products]
    kept = list(islice(_meaningful(logs, kinds, explained), _MOST_RATIOS))
    if len(logs) <= 24:
        close = []
        for first, second in combinations(logs, 2):
            named = kinds[first] is not None and kinds[second] is not None
            if named or any({first, second} < columns for columns in explained):
                continue
            spread = _spread(logs[first] - logs[second])
            least = min(_spread(logs[first]), _spread(logs[second]))
            if least > 0.05 and spread < 0.5 * least:
                close.append((spread / least, Ratio(first, second)))
        kept += [pair for _, pair in sorted(close, key=lambda item: (item[0], item[1].name))[:4]]
    return kept[:_MOST_RATIOS]


def _meaningful(
    logs: dict[str, Floats], kinds: dict[str, str | None], explained: Sequence[set[str]]
) -> Iterator[Ratio]:
    """Ratios that the names of columns suggest. Of each kind the first columns are paired, were there thousands."""
    of_kind: dict[str | None, list[str]] = {}
    for name, kind in kinds.items():
        of_kind.setdefault(kind, []).append(name)
    for over, under in _MEANINGFUL:
        for numerator in of_kind.get(over, [])[:MOST_PARTNERS]:
            for denominator in of_kind.get(under, [])[:MOST_PARTNERS]:
                present = (~np.isnan(logs[numerator] - logs[denominator])).sum() >= 5
                if present and not any({numerator, denominator} < columns for columns in explained):
                    yield Ratio(numerator, denominator)


def derived_names(parts: Sequence[Derived], taken: Iterable[str]) -> list[str]:
    """Name the column of each part: by the part, unless a column of the records has that name already."""
    used = set(taken)
    names = []
    for part in parts:
        names.append(unused_name(part.name, used))
        used.add(names[-1])
    return names


def add_derived(table: Table, parts: Sequence[Derived], names: Sequence[str]) -> Table:
    """Return the table with the derived columns after its own, under `names`."""
    return table.with_columns({name: part.values(table) for name, part in zip(names, parts, strict=True)})
