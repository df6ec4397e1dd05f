"""Numbers and dates beside those of the rows around them: what falls out of its series, what no longer moves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from anomaly_detection.data.columns.levels import Levels, levels_of
from anomaly_detection.data.columns.table import Table, as_table
from anomaly_detection.features.clauses import (
    as_years,
    exactly,
    is_year,
    measured,
    named_value,
    number,
    tells_time,
    with_unit,
    without_unit,
)
from anomaly_detection.features.dates.spans import day_text, days_of, moments_of
from anomaly_detection.features.group import FeatureGroup, FeatureSource, Range, Row
from anomaly_detection.features.numbers.bounds import bounded
from anomaly_detection.features.numbers.quantiles import quantiles
from anomaly_detection.texts.said import N_, Figure, Said, say

__all__ = ["Neighbours", "Runs", "Series"]

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

_REACH = 2
_LEAST_ROWS = 100
_FORETOLD = 0.5
"""Rows around foretell a number if they leave half of what any rows would leave at most."""

_SCREENED, _FEWEST_SCREENED = 1_000, 500
_MAY_BE_FORETOLD = 0.8
"""The same, as some thousand rows show it."""

_SEVERAL, _MAY_BE_AT_ALL = 4, 0.95
"""Every so many of these rows, and the same as they show it: most ways need no further look."""

_FOLLOWING = 0.5
"""The least rank correlation with the row above of numbers that follow it."""

_BETTER = 0.8
_MOST_LEVELS = 200
_FEWEST_A_LEVEL = 20
_FEWEST_TOGETHER = 20
_LEAST_SCALE = 1e-3
_ALLOWANCE = 4.0
_MOST_REPEATED = 0.2
_LEAST_CHANCE = 0.01
_AS_OFTEN, _MOST_LONG = 3.0, 0.1
_CLOSER = 0.5


@dataclass(frozen=True)
class Series:
    """A column whose values follow those of the rows around, and how closely.

    Attributes
    ----------
    column : str
    by : str or None
        The category whose rows make a series each, such as a device; None where all rows are one.
    levels : Levels or None
        Those of `by`.
    scale : float
        How far nine tenths of the training values lie from the middle of their neighbours at most.
    apart : float
        How far half of them would, had the rows been in any order.
    at_least : tuple of float
        The share of training rows in runs of equal values that are 2, 3, ... long or longer, the last above 0.
    repeated : float
        The share of runs that are longer than one row.
    foretold : bool
        Whether the rows around foretell the column.
    """

    column: str
    by: str | None
    levels: Levels | None
    scale: float
    apart: float
    at_least: tuple[float, ...] = field(default=())
    repeated: float = 0.0
    foretold: bool = True

    @property
    def usual(self) -> float:
        """`scale`, or so much of `apart` where the values hardly ever leave the middle."""
        return max(self.scale, _LEAST_SCALE * self.apart)

    def arranged(self, X: Table) -> tuple[Codes, Codes]:
        """The rows series by series in their order, and the series of each of these; both (n,)."""
        if self.by is None or self.levels is None:
            return np.arange(len(X)), np.zeros(len(X), dtype=np.int64)
        codes = self.levels.codes(X[self.by])
        order = np.argsort(codes, kind="stable")
        return order, np.asarray(codes[order], dtype=np.int64)


def _values(column: npt.NDArray[Any]) -> Floats:
    """Numbers, and dates as days, shape (n,)."""
    return days_of(column) if column.dtype.kind == "M" else bounded(column)


def _middles(values: Floats, series: Codes) -> Floats:
    """The median of up to two values before and two after, of the same series; NaN without one on each side; (n,)."""
    n = len(values)
    around = np.full((n, 2 * _REACH), np.nan)
    for i in range(1, _REACH + 1):
        if i >= n:
            break
        same = series[i:] == series[:-i]
        around[i:, i - 1] = np.where(same, values[:-i], np.nan)
        around[:-i, _REACH + i - 1] = np.where(same, values[i:], np.nan)
    given = ~np.isnan(around)
    low, high = _two_in_the_middle(around)
    # At an end of what rises or falls all neighbours lie on one side.
    both = given[:, :_REACH].any(axis=1) & given[:, _REACH:].any(axis=1)
    return np.where(both, low / 2.0 + high / 2.0, np.nan)


def _nearest_middles(values: Floats, series: Codes) -> Floats:
    """`_middles`; of the second and the last but one of a series, that of the next on each side if it is nearer; (n,).

    Three rows, two of them on one side, have their middle a step away from what rises or falls evenly.
    """
    middles = _middles(values, series)
    n = len(values)
    rows = np.arange(1, n - 1)
    rows = rows[(series[rows - 1] == series[rows]) & (series[rows + 1] == series[rows])]
    before, after = np.maximum(rows - _REACH, 0), np.minimum(rows + _REACH, n - 1)
    is_end = (rows < _REACH) | (series[before] != series[rows]) | (rows + _REACH >= n) | (series[after] != series[rows])
    rows = rows[is_end]
    beside = values[rows - 1] / 2.0 + values[rows + 1] / 2.0
    nearer = np.abs(values[rows] - beside) < np.abs(values[rows] - middles[rows])
    middles[rows[nearer]] = beside[nearer]
    return middles


def _in_turn(values: Floats, series: Codes) -> npt.NDArray[np.bool_]:
    """Whether each value lies between one of the two before and one of the two after it, of the same series; (n,).

    Of two on a side, for beside a wrong one the others are in their place.
    """
    n = len(values)
    around = np.full((2, 2, n), np.nan)
    for i in range(1, min(_REACH, n - 1) + 1):
        same = series[i:] == series[:-i]
        around[0, i - 1, i:] = np.where(same, values[:-i], np.nan)
        around[1, i - 1, :-i] = np.where(same, values[i:], np.nan)
    (least_before, least_after), (most_before, most_after) = (
        of(around[:, 0], around[:, 1]) for of in (np.fmin, np.fmax)
    )
    rises = (least_before <= values) & (values <= most_after)
    return np.asarray(rises | ((most_before >= values) & (values >= least_after)))


def _two_in_the_middle(around: Floats) -> tuple[Floats, Floats]:
    """Of each row's four values those in the middle, the same one twice of an odd number of them; both (n,)."""
    a, b, c, d = around.T
    one, other = np.maximum(np.minimum(a, b), np.minimum(c, d)), np.minimum(np.maximum(a, b), np.maximum(c, d))
    low, high = np.minimum(one, other), np.maximum(one, other)
    # Where some are missing so is this.
    left = np.flatnonzero(np.isnan(low))
    some = np.sort(around[left], axis=1)  # what is missing last
    given = (~np.isnan(some)).sum(axis=1)
    rows = np.arange(len(left))
    low[left] = some[rows, np.maximum(given - 1, 0) // 2]
    high[left] = some[rows, np.minimum(given // 2, 2 * _REACH - 1)]
    return low, high


def _distances(values: Floats, middles: Floats) -> tuple[float, float]:
    """How far half and nine tenths of the values lie from the middles at most; NaN of too few."""
    away = np.abs(values - middles)
    return _half_and_most(away[~np.isnan(away)])


def _half_and_most(away: Floats) -> tuple[float, float]:
    half, most = quantiles(away, [0.5, 0.9]) if away.size >= _FEWEST_TOGETHER else (np.nan, np.nan)
    return float(half), float(most)


class _Way:
    """One way to make series of rows: of all, or of those with the same level of a category.

    Attributes
    ----------
    order, series : ndarray of int64, shape (n,)
        The rows series by series, and the series of each.
    mixed : ndarray of int64, shape (n,)
        Any order, but within each series, so that it is the order that foretells and not the category.
    """

    def __init__(self, X: Table, by: str | None, levels: Levels | None) -> None:
        self.by, self.levels = by, levels
        self._arranged = partial(Series("", by, levels, 0.0, 0.0).arranged, X)

    @cached_property
    def _both(self) -> tuple[Codes, Codes]:
        return self._arranged()

    @property
    def order(self) -> Codes:
        return self._both[0]

    @property
    def series(self) -> Codes:
        return self._both[1]

    @cached_property
    def mixed(self) -> Codes:
        codes = np.empty(len(self.order), dtype=np.int64)
        codes[self.order] = self.series
        shuffled = np.random.default_rng(0).permutation(len(codes))
        return shuffled[np.argsort(codes[shuffled].astype(np.int16), kind="stable")]

    def windows(self, step: int) -> tuple[Codes, Codes]:
        """Every `step`-th row and those around it, in the order and in the mixed one, both (m, 5)."""
        from anomaly_detection.features.compiled.neighbours import windows

        own, any_ = (windows(order, self.series, step) for order in (self.order, self.mixed))
        if step > 1:
            # Of many rows each order takes as much as a column; few are asked for again.
            del self._both, self.mixed
        return own, any_


def find_series(X: Table, columns: Sequence[str], categories: Sequence[str]) -> list[Series]:
    """Find the columns that the rows around foretell, of all rows or of those with the same category."""
    if len(X) < _LEAST_ROWS:
        return []
    # Several groups of features look for the same.
    ways = X.made((_Ways, *categories), lambda: _Ways(X, categories))
    found = [X.made((_best, name, *categories), partial(_best, X, name, ways)) for name in columns]
    return [one for one in found if one is not None]


class _Ways:
    """The ways to make series of a table's rows, and windows of some of these, one way's behind the other's."""

    def __init__(self, X: Table, categories: Sequence[str]) -> None:
        n = len(X)
        known = [(None, None), *((name, levels_of(X, name)) for name in categories)]
        most = min(_MOST_LEVELS, n // _FEWEST_A_LEVEL)
        self.ways = [_Way(X, by, levels) for by, levels in known if levels is None or 1 < len(levels) <= most]
        self._step = n // _SCREENED
        if self._step > 1:
            # Those in the order and those in the mixed one, shape (2, ways, m, 5).
            self._windows = np.array([way.windows(self._step) for way in self.ways]).swapaxes(0, 1)

    def promising(self, values: Floats) -> list[_Way]:
        """The ways in which some of the rows look as if those around foretold them; nearly all are far from it."""
        if self._step <= 1:
            return self.ways
        places = np.arange(len(self.ways))
        for every, least in ((_SEVERAL, _MAY_BE_AT_ALL), (1, _MAY_BE_FORETOLD)):
            places = places[self._are_near(values, places, every, least)]
        return [self.ways[place] for place in places.tolist()]

    def _are_near(self, values: Floats, places: Codes, every: int, least: float) -> npt.NDArray[np.bool_]:
        from anomaly_detection.features.compiled.neighbours import distances_in_windows

        some = self._windows[:, places, ::every]
        shape = some.shape[1:3]
        (half, most, few), (apart, widest, fewer) = (
            _middle_and_far(distances_in_windows(values, rows.reshape(-1, 2 * _REACH + 1)).reshape(shape))
            for rows in some
        )
        near = (half <= least * apart) & (most <= least * widest)
        return np.asarray(near | (np.minimum(few, fewer) < _FEWEST_SCREENED // every), dtype=bool)


def _middle_and_far(away: Floats) -> tuple[Floats, Floats, Codes]:
    """How far half and nine tenths of each way's rows lie from those around at most, and how many rows these are."""
    ordered, count = np.sort(away, axis=1), (~np.isnan(away)).sum(axis=1)
    ways = np.arange(len(away))
    return ordered[ways, np.maximum(count // 2 - 1, 0)], ordered[ways, np.maximum(9 * count // 10 - 1, 0)], count


def _best(X: Table, name: str, ways: _Ways) -> Series | None:
    values = np.ascontiguousarray(_values(X[name]))
    best: Series | None = None
    for way in ways.promising(values):
        half, scale = _half_and_most(_away(values, way.order, way.series))
        if best is not None and not scale < _BETTER * best.scale:
            continue
        apart, widest = _half_and_most(_away(values, way.mixed, way.series))
        # Both: lines of one order follow each other, and the next order is of any day.
        if apart > 0.0 and half <= _FORETOLD * apart and scale <= _FORETOLD * widest:
            lengths = _runs(values[way.order], way.series)
            best = Series(name, way.by, way.levels, scale, apart, _shares_of_runs(lengths), _share_of_long(lengths))
    return best


def _loose_series(X: Table, name: str) -> Series | None:
    """A column whose values follow the row above (their ranks correlate), if not closely; None where they do not."""
    values = np.ascontiguousarray(_values(X[name]))
    order, series = np.arange(len(X)), np.zeros(len(X), dtype=np.int64)
    ranks = pd.Series(values).rank()
    half, scale = _half_and_most(_away(values, order, series))
    if not half > 0.0 or not float(ranks.std()) > 0.0 or not float(ranks.corr(ranks.shift())) > _FOLLOWING:
        return None
    lengths = _runs(values, series)
    return Series(name, None, None, scale, half, _shares_of_runs(lengths), _share_of_long(lengths), foretold=False)


def _away(values: Floats, order: Codes, series: Codes) -> Floats:
    """How far each row of an order lies from its `_middles`, without what is missing."""
    from anomaly_detection.features.compiled.neighbours import distances_from_neighbours

    away = np.asarray(distances_from_neighbours(values, order, series))
    return away[~np.isnan(away)]


def _runs(values: Floats, series: Codes) -> Codes:
    """How long the run of equal values is that each row is part of; 0 where the value is missing; shape (n,)."""
    if not len(values):
        return np.zeros(0, dtype=np.int64)
    starts = np.append(True, (values[1:] != values[:-1]) | (series[1:] != series[:-1]))
    run = np.cumsum(starts) - 1
    return np.where(np.isnan(values), 0, np.bincount(run)[run])


def _share_of_long(lengths: Codes) -> float:
    """The share of runs that are longer than one row."""
    runs = np.bincount(lengths)[1:] / np.arange(1, int(lengths.max(initial=0)) + 1)
    return float(runs[1:].sum() / runs.sum()) if runs.sum() > 0 else 0.0


def _by_the_batch(lengths: Codes) -> Floats:
    """``-log`` of the share of a batch's runs that are as long as a row's, or of what the first steps come to; (n,)."""
    runs = np.bincount(lengths, minlength=3)[1:] / np.arange(1, max(int(lengths.max()), 2) + 1)
    as_long = runs[::-1].cumsum()[::-1]
    known = -np.log(np.maximum(as_long, 1.0) / as_long[0])
    return np.asarray(np.minimum(known[np.maximum(lengths - 1, 0)], np.maximum(lengths - 2, 0) * known[1]))


def _shares_of_runs(lengths: Codes) -> tuple[float, ...]:
    n = max(int((lengths > 0).sum()), 1)
    counts = np.bincount(lengths, minlength=3)[::-1].cumsum()[::-1][2:]
    return tuple(float(count) / n for count in counts if count > 0)


class _OfSeries(FeatureGroup):
    """A feature a column that the rows around foretell."""

    counted: ClassVar[bool] = True
    word: ClassVar[str]
    fewest: ClassVar[int]

    def __init__(self, numbers: Sequence[str] = (), categories: Sequence[str] = ()) -> None:
        self.numbers = numbers
        self.categories = categories

    def fit(self, X: Any, y: object = None) -> _OfSeries:
        """Find the columns, and learn how closely they follow."""
        X = self._seen(X)
        self.series_ = [one for one in find_series(X, self._follow(X), self.categories) if self._takes(one)]
        return self

    def _follow(self, X: Table) -> list[str]:
        """The columns without parts of dates: after the 31st comes the first."""
        return [name for name in self.numbers if X[name].dtype.kind == "M" or not tells_time(name)]

    def _takes(self, series: Series) -> bool:
        return True

    def features_of(self, X: Table) -> npt.NDArray[np.float32]:
        """The features, shape (n, series)."""
        out = np.zeros((len(X), len(self.series_)), dtype=np.float32)
        if len(X) < self.fewest:
            return out
        for i, one in enumerate(self.series_):
            order, series = one.arranged(X)
            out[order, i] = self._judged(_values(X[one.column])[order], series, one)
            if self.ordered and X[one.column].dtype.kind == "M":
                out[order[_in_turn(_values(X[one.column])[order], series)], i] = 0.0
        return out

    def _judged(self, values: Floats, series: Codes, one: Series) -> Floats:
        raise NotImplementedError

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """Return ``<column> <word>`` for each."""
        return np.asarray([f"{one.column} {self.word}" for one in self.series_], dtype=object)

    @property
    def feature_columns_(self) -> list[tuple[str, ...]]:
        """The column of each feature."""
        return [(one.column,) for one in self.series_]

    @property
    def feature_groups_(self) -> list[tuple[str, ...]]:
        """The category whose rows make a series, if any."""
        return [() if one.by is None else (one.by,) for one in self.series_]


class Neighbours(_OfSeries):
    """How far a number or date lies from the middle of the two rows before and the two after it (Hampel, 1974).

    Only for columns that these rows foretell. Where rows that come together are farther apart than the training's, so
    much less is made of it; if they are in no order, nothing. A date between those of the rows beside it is in its
    place, however long nothing came.
    """

    ordered: ClassVar[bool] = True
    # In a file that is in the order of its dates no date falls out, and the first that does tells something.
    units: ClassVar[tuple[float, float]] = (0.0, 1.0)
    titled: ClassVar[Mapping[str, str]] = {
        "high": N_("above the rows around it"),
        "low": N_("below the rows around it"),
    }
    word = "beside the rows around"
    fewest = _FEWEST_TOGETHER

    def least_deviations(self) -> Floats:
        """`FeatureGroup.least_deviations`: nine tenths of the training values lie 1.645 of them off at most."""
        return np.array([one.usual / 1.645 for one in self.series_])

    def _judged(self, values: Floats, series: Codes, one: Series) -> Floats:
        middles = _nearest_middles(values, series)
        half, here = _distances(values, middles)
        if not half <= _FORETOLD * one.apart:
            return np.zeros(len(values))
        usual = one.usual
        away = np.nan_to_num(values - middles)
        if here <= one.scale:
            return away
        # Rows farther apart than those of the training scatter otherwise too: only what is far beyond that is odd.
        beyond = np.maximum(np.abs(away) - _ALLOWANCE * (here - one.scale), 0.0)
        return np.asarray(np.copysign(beyond, away) * min(usual / here, 1.0), dtype=np.float64)

    def in_units(self, X: Any, rows: Codes | None = None) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Return the values, and the middle of the rows around; both (n, series)."""
        X = as_table(X)
        places = np.arange(len(X)) if rows is None else np.asarray(rows, dtype=np.int64)
        told = np.empty((2, len(places), len(self.series_)), dtype=object)
        for i, one in enumerate(self.series_):
            order, series = one.arranged(X)
            values = _values(X[one.column])
            middles = np.empty(len(X))
            middles[order] = _nearest_middles(values[order], series)
            dated = X[one.column].dtype.kind == "M"
            for side, found in enumerate((values[places], middles[places])):
                told[side, :, i] = moments_of(found) if dated else found
                told[side, np.isnan(found), i] = None
        return told[0], told[1]

    @classmethod
    def direction(cls, value: Any, usual: Any) -> str:
        """``high``, ``low`` or ``usual``."""
        return "high" if value > usual else "low" if value < usual else "usual"

    @classmethod
    def says(cls, value: Any) -> bool:
        """Nothing of a missing value."""
        return not pd.isna(value)

    @classmethod
    def tells(cls, usual: Any) -> bool:
        """Nothing without neighbours."""
        return not pd.isna(usual)

    @classmethod
    def phrase(cls, source: FeatureSource, value: Any, usual: Any, row: Row, rows: int, between: Range | None) -> Said:
        """`FeatureGroup.phrase`: the value, and the middle of the rows around."""
        around = say("the rows around it")
        if source.group_by:
            around = say("the rows around it of the same %(column)s", column=source.group_by[0])
        template = N_("%(what)s does not follow %(around)s (about %(middle)s)")
        if isinstance(value, np.datetime64):
            shown, middle = day_text(value), day_text(usual)
            if shown == middle:
                # The middle of two rows may lie between two days.
                shown, middle = (str(one.astype("datetime64[s]")).replace("T", " ") for one in (value, usual))
            return say(template, what=named_value(source.columns[0], shown), around=around, middle=middle)
        (name, shown), (_, middle) = (with_unit(source.columns[0], one) for one in (value, usual))
        if shown == middle:
            shown, middle = (Figure(f"{float(one):.12g}") for one in (value, usual))
        clause = say(template, what=named_value(name, shown), around=around, middle=middle)
        return as_years(clause) if is_year(name, value, usual) else clause


class Runs(_OfSeries):
    """Evidence in nats that a value no longer moves: it equals that of more rows in a row than values do by chance.

    For each number that follows the row above and hardly ever repeats it. Rows closer together than those of the
    training repeat each other oftener: where the rows around lie half as far off, or do not foretell the number, it is
    no more than the batch itself says.
    """

    nats: ClassVar[bool] = True
    units: ClassVar[tuple[float, float]] = (0.0, 1.0)
    word = "unchanged"
    fewest = 3

    def fit(self, X: Any, y: object = None) -> Runs:
        """Find the columns, and learn how long their runs of equal values are."""
        super().fit(X)
        X, found = as_table(X), {one.column for one in self.series_}
        others = [_loose_series(X, name) for name in self._follow(X) if name not in found and len(X) >= _LEAST_ROWS]
        self.series_ += [one for one in others if one is not None and self._takes(one)]
        return self

    def _takes(self, series: Series) -> bool:
        return not series.at_least or series.at_least[0] <= _MOST_REPEATED

    def _judged(self, values: Floats, series: Codes, one: Series) -> Floats:
        again = (values[1:] == values[:-1]) & (series[1:] == series[:-1])
        if not (again[1:] & again[:-1]).any():
            return np.zeros(len(values))
        lengths = _runs(values, series)
        if _share_of_long(lengths) > _AS_OFTEN * one.repeated + _MOST_LONG:
            return np.zeros(len(values))  # sorted by value, or another clock
        # Each row from the third on is as improbable as a second one is, within what was seen and beyond.
        step = -np.log(max(one.at_least[0] if one.at_least else 0.0, _LEAST_CHANCE))
        known = -np.log(np.array([1.0, 1.0, *one.at_least]))
        last = len(known) - 1
        seen = known[np.minimum(lengths, last)] + np.maximum(lengths - last, 0) * step
        found = np.asarray(np.minimum(seen, np.maximum(lengths - 2, 0) * step), dtype=np.float64)
        closer = _distances(values, _middles(values, series))[1] < _CLOSER * one.scale
        if one.foretold and not closer:
            return found
        by_the_batch = _by_the_batch(lengths)
        if closer:
            # Any column may say so of a row, and hardly a training row stood in any such run.
            by_the_batch = np.maximum(by_the_batch - np.log(len(self.series_)), 0.0)
        return np.minimum(found, by_the_batch)

    def in_units(self, X: Any, rows: Codes | None = None) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Return in how many rows in a row each value stands, and 1; both (n, series)."""
        X = as_table(X)
        places = np.arange(len(X)) if rows is None else np.asarray(rows, dtype=np.int64)
        told = np.empty((len(places), len(self.series_)), dtype=object)
        for i, one in enumerate(self.series_):
            order, series = one.arranged(X)
            lengths = np.empty(len(X), dtype=np.int64)
            lengths[order] = _runs(_values(X[one.column])[order], series)
            told[:, i] = lengths[places]
        return told, np.full(told.shape, 1, dtype=object)

    @classmethod
    def direction(cls, value: Any, usual: Any) -> str:
        """``repeated``."""
        return "repeated"

    @classmethod
    def says(cls, value: Any) -> bool:
        """Nothing of a value that stands alone."""
        return bool(value > 1)

    @classmethod
    def phrase(cls, source: FeatureSource, value: Any, usual: Any, row: Row, rows: int, between: Range | None) -> Said:
        """`FeatureGroup.phrase`: how many rows in a row have the value."""
        name, unit = without_unit(source.columns[0])
        shown = measured(row[source.columns[0]], unit, exactly)
        of = say(" of the same %(column)s", column=source.group_by[0]) if source.group_by else ""
        return say(
            "%(name)s is %(value)s in %(count)s rows%(of)s in a row", name=name, value=shown, count=number(value), of=of
        )
