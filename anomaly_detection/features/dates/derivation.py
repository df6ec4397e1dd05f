"""Which columns are derived from those of a table."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import combinations, islice
from typing import Any

import numpy as np
import numpy.typing as npt

from anomaly_detection.data.columns.schema import Role, Schema
from anomaly_detection.data.columns.table import Table, as_table, factorized
from anomaly_detection.features.categories.pairing import MOST_PARTNERS, paired_dates
from anomaly_detection.features.dates.derived import (
    CalendarPart,
    Derived,
    Duration,
    MissingPattern,
    MissingState,
    NumberLevel,
    Product,
    Ratio,
)
from anomaly_detection.features.numbers.amounts import amount_kind
from anomaly_detection.features.numbers.bounds import bounded
from anomaly_detection.features.numbers.quantiles import median, quantiles

__all__ = ["find_calendar", "find_derived", "find_durations", "find_levels", "find_ratios"]

Floats = npt.NDArray[np.float64]
_MONTHS = 12
_SAMPLE = 5_000
_MOST_RATIOS = 16
_LARGEST_LOG = 700.0
_MOST_VALUES = 40
_MOST_LEVELLED = 64


def find_derived(clean: Table, schema: Schema, restated: Collection[str], *, levels: bool) -> list[Derived]:
    """Choose the columns to derive from clean records.

    Parameters
    ----------
    clean : Table
    schema : Schema
        Of its columns.
    restated : collection of str
        Columns that only restate a date.
    levels : bool
        Whether numbers that take few values are wanted as levels.
    """
    dates = schema.names(Role.TIMESTAMP)
    numbers = [name for name in schema.names(Role.NUMERIC) if name not in restated]
    texts = {column.name: column.texts for column in schema.columns}
    missing = tuple(MissingState(name, texts[name]) for name in (*numbers, *dates) if clean.isna(name).any())
    return [
        *find_calendar(clean, dates),
        *find_durations(clean, dates),
        *find_ratios(clean, numbers),
        *(find_levels(clean, schema.names(Role.NUMERIC)) if levels else []),
        *missing,
        *([MissingPattern(missing)] if missing else []),
    ]


def find_calendar(records: Any, dates: Sequence[str]) -> list[CalendarPart]:
    """Choose calendar parts of the main date: the one that is missing least, the first of several."""
    if not dates:
        return []
    table = as_table(records)
    main = min(dates, key=lambda name: int(table.isna(name).sum()))
    present = table.dates(main)[~table.isna(main)]
    parts = [CalendarPart(main, "period")]
    # With fewer, the next month is one that no record had, and each of its records an alert.
    if len(np.unique(present.astype("datetime64[M]").astype(np.int64) % _MONTHS)) == _MONTHS:
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
        low, middle, high = quantiles(gap, [0.1, 0.5, 0.9])
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
    low, high = quantiles(present, [0.1, 0.9])
    return float(high - low)


def rounding(values: Floats) -> float:
    """The step that numbers are rounded to, 0 for none and for whole ones."""
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
            middle = median(gap[present])
            near = float((np.abs(gap[present] - middle) < 0.05).mean())
            # Both factors have to matter, or the product is a ratio of two columns and a constant.
            if near < 0.6 or min(_spread(logs[name][present]) for name in (first, second)) < 0.2:
                continue
            steps = tuple(rounding(table.numbers(name)) for name in (first, second, total))
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
