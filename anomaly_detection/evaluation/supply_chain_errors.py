"""Errors that go against what the records of a supply chain have in common: groups, prices, the order of dates.

Each copies one cell from another row of the same table, so that formats and values stay those of the data. What can be
changed is found from the schema and the records, by rules that no model takes part in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from anomaly_detection.data.columns.levels import Levels
from anomaly_detection.data.columns.schema import Role, Schema
from anomaly_detection.evaluation.error_kind import Change, ErrorKind, Rows
from anomaly_detection.evaluation.record_table import RecordTable
from anomaly_detection.features.dates.derived import Duration
from anomaly_detection.features.numbers.amounts import amount_kind
from anomaly_detection.features.numbers.grouped import explained_share, robust_scale
from anomaly_detection.features.numbers.numeric_values import choose_scale

__all__ = ["SUPPLY_CHAIN_ERRORS"]

_LEAST_GROUP = 20
_GROUPINGS = 3  # of each number, the best ones
_LEAST_EXPLAINED = 0.05
_FACTOR = 3.0
_ATTEMPTS = 40
_IN_ORDER = 0.98
_DAY = np.timedelta64(1, "D")


@dataclass(frozen=True)
class _FromAnotherRow:
    """A column's cell taken from another row, which a subclass picks for all rows at once."""

    table: RecordTable
    column: str

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    def put(self, rows: Rows, count: int, rng: np.random.Generator) -> list[Change]:
        donors = self.donors(rows, rng)
        return [
            Change(int(rows[i]), {self.column: self.table.cell(self.column, donors[i])})
            for i in np.flatnonzero(donors >= 0)[:count]
        ]

    def donors(self, rows: Rows, rng: np.random.Generator) -> Rows:
        """Give for each row one whose cell makes it odd; -1 where none was found."""
        raise NotImplementedError


# Numbers of one group on another.


@dataclass(frozen=True)
class _Swap(_FromAnotherRow):
    group_by: str
    scaled: npt.NDArray[np.float64]
    codes: Rows
    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]
    least: float

    @property
    def says(self) -> str:
        return f"{self.column} of another {self.group_by}"

    def donors(self, rows: Rows, rng: np.random.Generator) -> Rows:
        # The value is in the middle four fifths of its own group, outside those of its new one, and far from the old.
        usual = (self.scaled >= self.low[self.codes]) & (self.scaled <= self.high[self.codes])
        pool = np.flatnonzero(usual)
        found = np.full(len(rows), -1)
        if not pool.size:
            return found
        codes, old = self.codes[rows], self.scaled[rows]
        can = ~np.isnan(old) & ~np.isnan(self.low[codes])
        for _ in range(_ATTEMPTS):
            donor = rng.choice(pool, len(rows))
            new = self.scaled[donor]
            outside = (new < self.low[codes]) | (new > self.high[codes])
            fits = can & (found < 0) & (self.codes[donor] != codes) & outside & (np.abs(new - old) >= self.least)
            found[fits] = donor[fits]
        return found


def _swaps(table: RecordTable) -> list[_Swap]:
    clean, schema = table.clean, table.schema
    found: list[_Swap] = []
    for name in schema.names(Role.NUMERIC):
        for explained, group_by, codes in _groupings(clean, schema, name)[:_GROUPINGS]:
            if explained < _LEAST_EXPLAINED:
                continue
            values = clean[name].to_numpy(dtype=np.float64)
            scale = choose_scale(values)
            scaled = scale.apply(values)
            grouped: Any = pd.Series(scaled).groupby(codes)
            size = grouped.count()
            edges = np.full((2, int(codes.max()) + 1), np.nan)
            enough = size[size >= _LEAST_GROUP].index.to_numpy()
            for edge, quantile in zip(edges, (0.1, 0.9), strict=True):
                edge[enough] = grouped.quantile(quantile)[enough]
            least = np.log(_FACTOR) if scale.is_log else 2.0 * robust_scale(scaled[~np.isnan(scaled)])
            found.append(_Swap(table, name, group_by, scaled, codes, edges[0], edges[1], float(least)))
    return found


def _groupings(clean: pd.DataFrame, schema: Schema, name: str) -> list[tuple[float, str, Rows]]:
    """Rank the categories by the share of the number's variance (of ranks) that they explain."""
    ranks = np.asarray(clean[name].rank(), dtype=np.float64)
    present = ~np.isnan(ranks)
    if present.sum() < 5 * _LEAST_GROUP or np.ptp(ranks[present]) == 0:
        return []
    found = []
    for category in schema.names(Role.CATEGORICAL):
        levels = Levels(clean[category])
        if int((levels.counts >= _LEAST_GROUP).sum()) >= 2:
            codes = levels.codes(clean[category])
            found.append((explained_share(ranks[present], codes[present], len(levels)), category, codes))
    return sorted(found, key=lambda item: (-item[0], item[1]))


# A slip of the decimal point.


@dataclass(frozen=True)
class _Slip(_FromAnotherRow):
    values: npt.NDArray[np.float64]

    @property
    def says(self) -> str:
        return f"{self.column} some ten times or a tenth of what it was"

    def donors(self, rows: Rows, rng: np.random.Generator) -> Rows:
        positive = np.flatnonzero(self.values > 0)
        order = positive[np.argsort(self.values[positive], kind="stable")]
        logs = np.log(self.values[order])
        old = self.values[rows]
        with np.errstate(invalid="ignore", divide="ignore"):
            goal = np.log(old) + np.where(rng.random(len(rows)) < 0.5, 1.0, -1.0) * np.log(10.0)
        goal = np.where(old > 0, goal, 0.0)
        place = np.clip(np.searchsorted(logs, goal), 1, len(logs) - 1)
        place -= goal - logs[place - 1] < logs[place] - goal
        return np.where((old > 0) & (np.abs(logs[place] - goal) < np.log(1.25)), order[place], -1)


def _slips(table: RecordTable) -> list[_Slip]:
    clean, schema = table.clean, table.schema
    positive = [name for name in schema.names(Role.NUMERIC) if int((clean[name] > 0).sum()) >= 5 * _LEAST_GROUP]
    prices = [name for name in positive if amount_kind(name) in ("per_unit", "price")]
    foretold = [name for name in positive if any(best[0] >= 0.3 for best in _groupings(clean, schema, name)[:1])]
    return [_Slip(table, name, clean[name].to_numpy(dtype=np.float64)) for name in prices or foretold or positive]


# A date before the one that it follows.


@dataclass(frozen=True)
class _Reversal(_FromAnotherRow):
    start: str
    starts: npt.NDArray[np.datetime64]
    ends: npt.NDArray[np.datetime64]
    reach: np.timedelta64

    @property
    def says(self) -> str:
        return f"{self.column} before {self.start}"

    def donors(self, rows: Rows, rng: np.random.Generator) -> Rows:
        known = np.flatnonzero(~np.isnat(self.ends))
        order = known[np.argsort(self.ends[known], kind="stable")]
        starts = self.starts[rows].astype("datetime64[D]").astype("datetime64[ns]")
        can = ~np.isnat(starts) & ~np.isnat(self.ends[rows]) & (self.ends[rows] >= self.starts[rows])
        starts = np.where(can, starts, self.ends[order[0]])
        first = np.searchsorted(self.ends[order], starts - self.reach, side="left")
        stop = np.searchsorted(self.ends[order], starts, side="left")
        place = first + np.floor(rng.random(len(rows)) * (stop - first)).astype(np.int64)
        return np.where(can & (stop > first), order[np.minimum(place, len(order) - 1)], -1)


def _reversals(table: RecordTable) -> list[_Reversal]:
    clean, schema = table.clean, table.schema
    found: list[_Reversal] = []
    for first, second in combinations(schema.names(Role.TIMESTAMP), 2):
        gap = Duration(first, second).values(clean)
        gap = gap[~np.isnan(gap)]
        if len(gap) < 5 * _LEAST_GROUP:
            continue
        pair, gap = (Duration(first, second), gap) if np.median(gap) > 0 else (Duration(second, first), -gap)
        if np.median(gap) >= 1.0 and (gap >= 0).mean() >= _IN_ORDER:
            reach = max(float(np.quantile(gap, 0.9)), 7.0) * _DAY
            starts, ends = (clean[name].to_numpy().astype("datetime64[ns]") for name in (pair.start, pair.end))
            found.append(_Reversal(table, pair.end, pair.start, starts, ends, reach.astype("timedelta64[ns]")))
    return found


SUPPLY_CHAIN_ERRORS: Mapping[str, ErrorKind] = MappingProxyType(
    {
        "value_of_another_group": ErrorKind(
            "a number usual for another mode, lane or product", "numbers that categories foretell", _swaps
        ),
        "ten_times_off": ErrorKind(
            "a price some ten times or a tenth of what it was", "a hundred prices or other positive numbers", _slips
        ),
        "date_out_of_order": ErrorKind(
            "a date before the one that it follows", "two dates that follow each other in nearly all rows", _reversals
        ),
    }
)
"""Kinds of error by their names."""
