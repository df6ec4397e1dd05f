"""Anomalies put into real records, so that a model can be judged where nobody has labels.

Every change copies one cell from another row of the same table, so that formats and values stay those of the data:

- *value of another group*: a number that is usual for one mode, lane or product, on a row of another;
- *ten times off*: a price (or another number that its group foretells) some ten times what it was;
- *date out of order*: a date before the date that it follows in nearly all rows.

What can be changed is found from the schema and the records, by rules that no model takes part in.
"""

from __future__ import annotations

import difflib
import numbers
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from anomaly_detection.data.frames import to_frame
from anomaly_detection.data.levels import Levels
from anomaly_detection.data.schema import Role, Schema, infer_schema
from anomaly_detection.errors import DataError
from anomaly_detection.features.amounts import amount_kind
from anomaly_detection.features.derived import Duration
from anomaly_detection.features.group_deviation import explained_share, robust_scale
from anomaly_detection.features.numeric_values import choose_scale

__all__ = ["INJECTED_KINDS", "Injected", "inject"]

INJECTED_KINDS = ("value_of_another_group", "ten_times_off", "date_out_of_order")
"""What `inject` can put in."""

Rows = npt.NDArray[np.int64]
_LEAST_GROUP = 20
_GROUPINGS = 3  # of each number, the best ones
_LEAST_EXPLAINED = 0.05
_FACTOR = 3.0
_ATTEMPTS = 40
_IN_ORDER = 0.98
_DAY = np.timedelta64(1, "D")


@dataclass(frozen=True)
class Injected:
    """Records of which some were made anomalies.

    Attributes
    ----------
    frame : pandas.DataFrame
        The records, with the index and dtypes they came with.
    labels : ndarray of int8, shape (n,)
        -1 where a cell was changed, else 1. What was odd before counts as 1: nobody knows it.
    anomaly_types : ndarray of str, shape (n,)
        ``normal`` or one of `INJECTED_KINDS`.
    columns : ndarray of str, shape (n,)
        The column that was changed; empty where none was.
    note : str
        What was done, in a paragraph.
    """

    frame: pd.DataFrame
    labels: npt.NDArray[np.int8]
    anomaly_types: npt.NDArray[np.object_]
    columns: npt.NDArray[np.object_]
    note: str


class _Change(Protocol):
    """A way to make rows odd: the column it changes, and from which row each new cell comes."""

    @property
    def column(self) -> str: ...

    @property
    def says(self) -> str: ...

    def donors(self, rows: Rows, rng: np.random.Generator) -> Rows:
        """Give for each row one whose cell makes it odd; -1 where none was found."""
        ...


def inject(
    frame: Any,
    schema: Schema | None = None,
    *,
    kinds: Sequence[str] = INJECTED_KINDS,
    columns: Sequence[str] | None = None,
    share: float = 0.02,
    seed: int = 0,
) -> Injected:
    """Make some records odd, in ways that happen in supply chains, and say which.

    Parameters
    ----------
    frame : table
        Anything `to_frame` takes; it stays as it is.
    schema : Schema, optional
        What the columns are; inferred if not given.
    kinds : sequence of str, default INJECTED_KINDS
        Each gets the same number of rows, as far as the records allow it.
    columns : sequence of str, optional
        The columns to change; all that can be if not given.
    share : float, default 0.02
        Part of the rows to change, above 0 and at most 0.5.
    seed : int, default 0

    Returns
    -------
    Injected

    Raises
    ------
    DataError
        Unusable arguments, or records in which nothing can be changed in these ways.
    """
    frame = to_frame(frame)
    for kind in kinds:
        if kind not in INJECTED_KINDS:
            near = difflib.get_close_matches(str(kind), INJECTED_KINDS, n=1, cutoff=0.4)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise DataError(f"Unknown kind {kind!r}{hint}; expected some of {', '.join(INJECTED_KINDS)}.")
    if isinstance(share, bool) or not isinstance(share, numbers.Real) or not 0.0 < share <= 0.5:
        raise DataError(f"The share to change is {share!r}; give a number above 0 and at most 0.5.")
    schema = infer_schema(frame) if schema is None else schema
    clean, _ = schema.clean(frame)
    finders = {
        "value_of_another_group": _swaps,
        "ten_times_off": _slips,
        "date_out_of_order": _reversals,
    }
    changes = {kind: finders[kind](clean, schema) for kind in dict.fromkeys(kinds)}
    if columns is not None:
        for name in columns:
            schema[name]  # says what was meant if there is no such column
        changes = {kind: [change for change in found if change.column in columns] for kind, found in changes.items()}
    changes = {kind: found for kind, found in changes.items() if found}
    rng = np.random.default_rng(seed)
    types = np.full(len(frame), "normal", dtype=object)
    where = np.full(len(frame), "", dtype=object)
    source = np.arange(len(frame))
    wanted = max(1, round(share * len(frame)))
    for i, (kind, found) in enumerate(changes.items()):
        each = _shares(wanted // len(changes) + (i < wanted % len(changes)), len(found))
        for change, count in zip(rng.permutation(np.array(found, dtype=object)), each, strict=True):
            free = rng.permutation(np.flatnonzero(types == "normal"))
            donors = change.donors(free, rng)
            usable = np.flatnonzero(donors >= 0)[:count]
            rows = free[usable]
            source[rows], types[rows], where[rows] = donors[usable], kind, change.column
    changed = types != "normal"
    if not changed.any():
        raise DataError(
            "Nothing in these records can be changed in the ways asked for; expected numbers that categories foretell "
            "or dates that follow each other, and at least some hundred records."
        )
    result = frame.copy()
    for column in sorted(set(where[changed])):
        rows = np.flatnonzero(where == column)
        values = frame[column].array.copy()
        values[rows] = frame[column].array.take(source[rows])
        result[column] = pd.Series(values, index=frame.index, name=column)
    return Injected(result, np.where(changed, -1, 1).astype(np.int8), types, where, _note(types, where, changes))


def _shares(count: int, parts: int) -> list[int]:
    return [count // parts + (i < count % parts) for i in range(parts)]


def _note(types: npt.NDArray[np.object_], columns: npt.NDArray[np.object_], changes: dict[str, list[_Change]]) -> str:
    parts = []
    for kind, found in changes.items():
        done = set(columns[types == kind])
        says = "; ".join(dict.fromkeys(change.says for change in found if change.column in done))
        parts.append(f"{int((types == kind).sum())} x {kind} ({says or 'no row allows it'})")
    return f"{int((types != 'normal').sum())} of {len(types)} records had one cell changed: {', '.join(parts)}."


# Numbers of one group on another.


@dataclass(frozen=True)
class _Swap:
    column: str
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


def _swaps(clean: pd.DataFrame, schema: Schema) -> list[_Change]:
    found: list[_Change] = []
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
            found.append(_Swap(name, group_by, scaled, codes, edges[0], edges[1], float(least)))
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
class _Slip:
    column: str
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


def _slips(clean: pd.DataFrame, schema: Schema) -> list[_Change]:
    positive = [name for name in schema.names(Role.NUMERIC) if int((clean[name] > 0).sum()) >= 5 * _LEAST_GROUP]
    prices = [name for name in positive if amount_kind(name) in ("per_unit", "price")]
    foretold = [name for name in positive if any(best[0] >= 0.3 for best in _groupings(clean, schema, name)[:1])]
    return [_Slip(name, clean[name].to_numpy(dtype=np.float64)) for name in prices or foretold or positive]


# A date before the one that it follows.


@dataclass(frozen=True)
class _Reversal:
    start: str
    column: str
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


def _reversals(clean: pd.DataFrame, schema: Schema) -> list[_Change]:
    found: list[_Change] = []
    for first, second in combinations(schema.names(Role.TIMESTAMP), 2):
        gap = Duration(first, second).values(clean)
        gap = gap[~np.isnan(gap)]
        if len(gap) < 5 * _LEAST_GROUP:
            continue
        pair, gap = (Duration(first, second), gap) if np.median(gap) > 0 else (Duration(second, first), -gap)
        if np.median(gap) >= 1.0 and (gap >= 0).mean() >= _IN_ORDER:
            reach = max(float(np.quantile(gap, 0.9)), 7.0) * _DAY
            starts, ends = (clean[name].to_numpy().astype("datetime64[ns]") for name in (pair.start, pair.end))
            found.append(_Reversal(pair.start, pair.end, starts, ends, reach.astype("timedelta64[ns]")))
    return found
