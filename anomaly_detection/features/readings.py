"""Values that repeat others although values hardly ever do: a sensor that is stuck, a copy that was amended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from math import comb
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import betainc, gammainc, gammaln

from anomaly_detection.data.levels import Kept
from anomaly_detection.data.table import Table, as_table
from anomaly_detection.features.bounds import LARGEST, bounded
from anomaly_detection.features.clauses import listed, number, with_unit
from anomaly_detection.features.coincidences import (
    Chance,
    agreement,
    cell_keys,
    combined,
    first_other,
    keys_by_column,
    labels_at,
    mixed,
    repeats_of,
)
from anomaly_detection.features.forms import NEVER, decimals
from anomaly_detection.features.group import FeatureGroup, FeatureSource, Range, Row
from anomaly_detection.features.remembered import Remembered
from anomaly_detection.progress import steps

__all__ = ["Readings"]

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]

_REMEMBERED = 10_000
_SAMPLE = 20_000
_MOST_REPEATED = 20_000
_LEAST_VALUES = 20
_COMMON = 0.01  # of the values: one that is oftener is no surprise to see again
_MOST_TOGETHER = 6  # columns: they are looked at in all combinations
_STEP_SHARE = 0.9
_KNOTS, _VALUES_A_KNOT = 65, 20
_LEAST_BLOCKS, _BLOCKS = 4, 10
_RATES = 2.0 ** np.arange(11)
_SHAPES = np.array([1000.0, 100.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003])
_SHARES = (0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001, 0.0005, 0.0002, 0.0001)
_TINY = 1e-300
_FEW = 16  # rows: so many look up what is remembered, each by itself


@dataclass
class Frequency:
    """How probable each value of a number is, and how much oftener than by chance values repeat others.

    A value has the probability that numbers as dense as those around it, written with as many decimals, have it; and
    the share of the training values besides, where it occurred more than once. Around the number of repeats that this
    leads to expect, those of usual records scatter as a gamma mixture of Poisson numbers (a negative binomial one):
    two customers may well buy the same paper at the same price.

    Attributes
    ----------
    step : float
        What numbers are rounded to.
    knots, heights : ndarray of float64, shapes (k,) and (k - 1,)
        Ascending numbers, and the density between each two.
    repeated, counts : ndarray of float64 and int64, shape (r,)
        The numbers that occurred more than once, ascending, and how often.
    values : int
        Training values that there were.
    compared : float
        With how many others each was compared.
    rate, shape : float
        How many times as many repeats there are as expected, and the shape of the mixture.
    levels, nats : ndarray of float64, shape (s,)
        Ascending evidence by the mixture, and ``-log`` of the share of training values that had as much.
    apart : float
        The probability that two records agree.
    """

    step: float
    knots: Floats
    heights: Floats
    repeated: Floats
    counts: Codes
    values: int
    compared: float = 1.0
    rate: float = 1.0
    shape: float = 1000.0
    levels: Floats = field(default_factory=lambda: np.zeros(0))
    nats: Floats = field(default_factory=lambda: np.zeros(0))
    apart: float = 1.0

    def by_density(self, x: Floats) -> Floats:
        """The probability of each value by the density around it, shape (n,)."""
        if not len(self.heights):
            return np.ones(len(x))
        place = np.clip(np.searchsorted(self.knots, x, side="right") - 1, 0, len(self.heights) - 1)
        return np.clip(self.heights[place] * self.step, 1e-15, 1.0)

    def seen(self, x: Floats) -> Codes:
        """How often each value occurred among the training values if more than once, else 0; shape (n,)."""
        if not len(self.repeated):
            return np.zeros(len(x), dtype=np.int64)
        place = np.minimum(np.searchsorted(self.repeated, x), len(self.repeated) - 1)
        return np.where(self.repeated[place] == x, self.counts[place], 0)

    def evidence(self, others: Codes, expected: Floats, compared: Floats) -> Floats:
        """``-log`` of the probability of so many others alike, of those `compared`, or more; nats, shape (n,).

        No more than are expected are no evidence.
        """
        out = np.zeros(len(others))
        found = np.flatnonzero((others > 0) & (others > expected))
        count, mean = others[found].astype(np.float64), np.maximum(expected[found], _TINY)
        usual = gammainc(count, mean)
        spread = mean * self.rate
        usual = np.maximum(usual, betainc(count, self.shape, spread / (spread + self.shape)))
        # What was never seen is bounded, and by so much more the oftener it occurs (Zipf).
        ratio = np.maximum(compared[found] / max(self.compared, 1.0), 1.0)
        bound = np.log(self.values + 1.0) + NEVER + np.log(count) - np.log(ratio)
        out[found] = np.maximum(np.minimum(-np.log(np.maximum(usual, _TINY)), bound), 0.0)
        return self._as_seen(out)

    def _as_seen(self, evidence: Floats) -> Floats:
        """Evidence of which usual records have no more than its nats say, neither within what was seen nor beyond."""
        if not len(self.levels):
            return evidence
        within = np.interp(evidence, np.append(0.0, self.levels), np.append(0.0, self.nats))
        beyond = evidence * (self.nats[-1] / self.levels[-1])
        return np.minimum(evidence, np.where(evidence > self.levels[-1], beyond, within))

    def fit_levels(self, evidence: Floats) -> None:
        """Learn which shares of usual records reach which evidence."""
        levels = np.unique(np.quantile(evidence, [1.0 - share for share in _SHARES if share * len(evidence) >= 3.0]))
        self.levels = levels[levels > 0]
        at_least = len(evidence) - np.searchsorted(np.sort(evidence), self.levels)
        self.nats = -np.log(at_least / len(evidence))

    def fit_spread(self, others: Codes, expected: Floats) -> None:
        """Learn the rate and the shape that make training values' repeats likeliest."""
        every = -(-len(others) // _SAMPLE)
        count, mean = others[::every].astype(np.float64), np.maximum(expected[::every], _TINY)
        best = -np.inf
        for shape in _SHAPES:
            constant = gammaln(count + shape) - gammaln(shape)
            for rate in _RATES:
                spread = rate * mean
                likely = float(np.sum(constant + count * np.log(spread) - (count + shape) * np.log1p(spread / shape)))
                likely -= float(np.sum(count)) * float(np.log(shape))
                if likely > best:
                    best, self.rate, self.shape = likely, float(rate), float(shape)


def learn_frequency(values: Floats) -> Frequency | None:
    """Learn how probable each value is; None where values are few or most of them are common."""
    x = np.sort(values[~np.isnan(values)])
    if x.size < _LEAST_VALUES:
        return None
    distinct, counts = np.unique(x, return_counts=True)
    if counts[(counts == 1) | (counts < _COMMON * x.size)].sum() < 0.5 * x.size:
        return None
    places = decimals(x[:: -(-x.size // _SAMPLE)])
    step = 10.0 ** -float(np.quantile(places, _STEP_SHARE, method="higher"))
    knots = np.unique(np.quantile(x, np.linspace(0.0, 1.0, min(_KNOTS, 2 + x.size // _VALUES_A_KNOT))))
    below = np.searchsorted(x, knots, side="right") / x.size
    below[0] = 0.0
    heights = np.minimum(np.diff(below) / np.diff(knots), LARGEST)
    if len(heights):
        # Where there were hardly any, more may come than there were: as dense as half of the values lie.
        order = np.argsort(heights)
        middle = heights[order[np.searchsorted(np.diff(below)[order].cumsum(), 0.5)]]
        heights[[0, -1]] = np.maximum(heights[[0, -1]], middle)
    several = counts > 1
    while several.sum() > _MOST_REPEATED:
        several = counts > 2 * counts[several].min()
    return Frequency(step, knots, heights, distinct[several] + 0.0, counts[several].astype(np.int64), x.size)


def _learn_spread(frequency: Frequency, values: Floats, spans: Codes) -> Floats:
    """Learn how far repeats scatter, and give the evidence of each training value by those of other spans; (n,)."""
    present = np.flatnonzero(~np.isnan(values))
    x, own = values[present], spans[present]
    if len(np.unique(own)) < _LEAST_BLOCKS:
        own = np.arange(len(x)) * _BLOCKS // len(x)
    inside = repeats_of(mixed(x.view(np.uint64)) + own.astype(np.uint64))
    compared = _others_of(own)
    outside = repeats_of((x + 0.0).view(np.uint64)) - inside
    outside = np.where(outside >= frequency.counts.min(initial=2), outside, 0)
    often = frequency.by_density(x) + outside / (frequency.values - compared)
    expected = np.minimum(often, 1.0) * compared
    frequency.compared = float(compared.mean())
    frequency.fit_spread(inside, expected)
    frequency.fit_levels(frequency.evidence(inside, expected, compared))
    found = np.zeros(len(values))
    found[present] = frequency.evidence(inside, expected, compared)
    return found


def _values(X: Table, names: Sequence[str]) -> Floats:
    return bounded(X.matrix(names))


def _others_of(spans: Codes) -> Floats:
    """How many others there are in each one's span."""
    return repeats_of(spans.astype(np.uint64)).astype(np.float64)


def _agreeing(cells: Sequence[Keys], n: int) -> tuple[Codes, Codes]:
    """In how many columns, from two up, each row agrees with one and the same other; and in which; both (n,).

    The columns are the bits of a number. Rows that agree in some columns agree in all but one of them, so few are left
    to be looked at as more columns are (Agrawal and Srikant, 1994).
    """
    agreed, which = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
    spread = _apart(cells)
    alike: dict[tuple[int, ...], npt.NDArray[np.bool_]] = {
        (i,): (keys > 0) & pd.Series(keys).duplicated(keep=False).to_numpy() for i, keys in enumerate(cells)
    }
    for size in range(2, len(cells) + 1):
        for columns in combinations(range(len(cells)), size):
            parts = [alike.get(part) for part in combinations(columns, size - 1)]
            if any(part is None for part in parts):
                continue
            at = np.flatnonzero(np.logical_and.reduce([part for part in parts if part is not None]))
            keys = np.sum([spread[column][at] for column in columns], axis=0, dtype=np.uint64)
            at = at[pd.Series(keys).duplicated(keep=False).to_numpy()]
            if len(at):
                alike[columns] = np.zeros(n, dtype=bool)
                alike[columns][at] = True
                which[at] = np.where(agreed[at] < size, sum(1 << column for column in columns), which[at])
                agreed[at] = size
    return agreed, which


def _apart(cells: Sequence[Keys]) -> list[Keys]:
    """Keys of which a sum tells from which column each comes."""
    return [mixed(keys + np.uint64(i)) for i, keys in enumerate(cells)]


def _partners(cells: Sequence[Keys], which: Codes, places: Codes) -> Codes:
    """The first other row that agrees with those at `places` in the columns of `which`, -1 for none; of its shape."""
    spread, found = _apart(cells), np.full(len(places), -1, dtype=np.int64)
    for columns in np.unique(which[places][which[places] > 0]):
        keys: Keys = np.sum([keys for i, keys in enumerate(spread) if columns >> i & 1], axis=0, dtype=np.uint64)
        asked = np.flatnonzero(which[places] == columns)
        near = np.flatnonzero(np.isin(keys, keys[places[asked]]))
        other = first_other(keys[near])[np.searchsorted(near, places[asked])]
        found[asked] = np.where(other >= 0, near[other], -1)
    return found


class Readings(FeatureGroup):
    """Evidence in nats that a value repeats others, a feature a column whose values hardly do; and that several do.

    For each column: how many rows of the same span of time (`within`; of all, if there is none) hold that very value,
    against what `Frequency` leads to expect of so many rows. *values repeated together*, where two or more columns are
    looked at: in how many of them, from two up, a row agrees with one and the same other row of its span, as a copy
    that was amended here and there does, against chance (`Chance`). A column's own evidence is left out where that of
    several together says as much, so nothing counts twice.

    Rows are compared with those that come together and the last 10,000 training records; one of these that comes again,
    alike in every column, is itself (or a copy, which is another group's business).

    Parameters
    ----------
    numbers : sequence of str
        Columns in which a repeated value is looked for.
    within : sequence of str
        The categorical column, if any, of the span of time that a value is compared within.
    """

    units: ClassVar[tuple[float, float]] = (0.0, 1.0)
    nats: ClassVar[bool] = True
    counted: ClassVar[bool] = True
    repeats: ClassVar[bool] = True

    def __init__(self, numbers: Sequence[str] = (), within: Sequence[str] = ()) -> None:
        self.numbers = numbers
        self.within = within

    def fit(self, X: Any, y: object = None) -> Readings:
        """Learn how often values repeat."""
        self.fit_transform(X)
        return self

    def fit_transform(self, X: Any, y: object = None, **params: Any) -> npt.NDArray[np.float32]:
        """Fit, and give the evidence of the training records, each judged by those of other spans of time."""
        X = self._seen(X)
        spans = self._spans(X)
        self.frequencies_: dict[str, Frequency] = {}
        found = []
        for name in steps(self.numbers, "looking for repeated values"):
            values = bounded(X.numbers(name))
            frequency = learn_frequency(values)
            if frequency is not None:
                self.frequencies_[name] = frequency
                found.append(_learn_spread(frequency, values, spans))
        self.together_ = self._learn_together(X, spans)
        last = X.take(slice(-_REMEMBERED, None) if self._columns else slice(0))
        self.last_ = _values(last, self._columns)
        self.last_spans_, self.last_whole_ = spans[len(X) - len(last) :], self._whole(last)
        single = np.column_stack([np.empty((len(X), 0)), *found])
        agreed = _agreeing(self._cells(_values(X, self._joined), spans), len(X))[0]
        return self._out(single, agreed, _others_of(spans))

    @property
    def _columns(self) -> list[str]:
        return list(self.frequencies_)

    @property
    def _joined(self) -> list[str]:
        """The columns looked at together: those whose values agree least."""
        order = sorted(self.frequencies_, key=lambda name: self.frequencies_[name].apart)
        return order[:_MOST_TOGETHER] if len(order) > 1 else []

    def _spans(self, X: Table) -> Codes:
        """The number of each row's span of time, -1 where it is not known; 0 where there are none; shape (n,)."""
        if not self.within:
            return np.zeros(len(X), dtype=np.int64)
        column = X.coded(self.within[0])
        numbered = np.array([*map(int, column.names), -1], dtype=np.int64)
        return np.asarray(numbered[column.codes], dtype=np.int64)

    def _whole(self, X: Table) -> Keys:
        said = [name for name in self.feature_names_in_ if name not in self.within]
        return combined(keys_by_column(X, said), len(X))

    @staticmethod
    def _cells(values: Floats, spans: Codes) -> list[Keys]:
        """A key for each value and its span, a list of (n,); 0 where it is missing."""
        within = mixed(spans.view(np.uint64) + np.uint64(1))
        keys = [np.maximum(mixed((column + 0.0).view(np.uint64) ^ within), np.uint64(1)) for column in values.T.copy()]
        return [np.where(np.isnan(column), np.uint64(0), key) for column, key in zip(values.T, keys, strict=True)]

    def _learn_together(self, X: Table, spans: Codes) -> list[Chance]:
        for name in self._columns:
            self.frequencies_[name].apart = agreement(cell_keys(X.numbers(name)[~X.isna(name)]))
        names = self._joined
        agreed, _ = _agreeing(self._cells(_values(X, names), spans), len(X))
        compared = float(_others_of(spans).mean())
        apart = sorted((self.frequencies_[name].apart for name in names), reverse=True)
        return [
            Chance(
                int((agreed >= count).sum()),
                len(X),
                compared,
                min(comb(len(names), count) * float(np.prod(apart[:count])), 1.0),
            )
            for count in range(2, len(names) + 1)
        ]

    def features_of(self, X: Table) -> npt.NDArray[np.float32]:
        """The evidence in nats, shape (n, features); 0 for what repeats nothing."""
        values, spans = _values(X, self._columns), self._spans(X)
        others, compared, agreed, together = (self._among_few if len(X) <= _FEW else self._among_all)(X, values, spans)
        single = np.zeros(values.shape)
        for i, frequency in enumerate(self.frequencies_.values()):
            if others[:, i].any():
                x = np.nan_to_num(values[:, i])
                often = np.minimum(frequency.by_density(x) + frequency.seen(x) / (frequency.values + 1.0), 1.0)
                single[:, i] = frequency.evidence(others[:, i], often * compared[:, i], compared[:, i])
        return self._out(single, agreed, together)

    def _among_all(self, X: Table, values: Floats, spans: Codes) -> tuple[Codes, Floats, Codes, Floats]:
        """How many others of a row's span have each value, and how many have any; both (n, columns).

        In how many columns it agrees with one and the same other, and how many others its span has; both (n,).
        """
        n = len(X)
        values, spans = self._beside(X)
        others, compared = self._counts(values, spans)
        agreed, _ = _agreeing(self._cells(self._of_joined(values), spans), len(values))
        return others[:n], compared[:n], agreed[:n], _others_of(spans)[:n]

    def _among_few(self, X: Table, values: Floats, spans: Codes) -> tuple[Codes, Floats, Codes, Floats]:
        """`_among_all`, by looking up what is remembered, of which it would go through all."""
        remembered, cells = _remembered(self), np.array(self._cells(values, spans), dtype=np.uint64)
        cells = cells.reshape(len(self._columns), len(X))
        again = remembered.again(self._whole(X), spans)
        others, compared = remembered.alike(cells, again), remembered.given(spans, again)
        together = _others_of(spans) + remembered.together(spans, again)
        for i, keys in enumerate(cells if len(X) > 1 else ()):
            given = np.flatnonzero(keys > 0)
            others[i, given] += repeats_of(keys[given])
            compared[i, given] += _others_of(spans[given]).astype(np.int64)
        agreed = remembered.agreeing([self._columns.index(name) for name in self._joined], cells, again)
        return others.T, np.where(cells > 0, compared, 0).T.astype(np.float64), agreed, together

    def _beside(self, X: Table) -> tuple[Floats, Codes]:
        """The values and spans of the rows and, after them, of the remembered ones that they are compared with."""
        values, spans = _values(X, self._columns), self._spans(X)
        near = np.isin(self.last_spans_, spans)
        if near.any():
            near[near] = ~pd.Series(self.last_whole_[near]).isin(self._whole(X)).to_numpy()
        return np.vstack([values, self.last_[near]]), np.concatenate([spans, self.last_spans_[near]])

    def _of_joined(self, values: Floats) -> Floats:
        return values[:, [self._columns.index(name) for name in self._joined]]

    def _counts(self, values: Floats, spans: Codes) -> tuple[Codes, Floats]:
        """How many others of its span have each value, and how many have any; both (n, columns)."""
        others, compared = np.zeros(values.shape, dtype=np.int64), np.zeros(values.shape)
        for i, keys in enumerate(self._cells(values, spans)):
            given = keys > 0
            others[given, i] = repeats_of(keys[given])
            compared[given, i] = _others_of(spans[given])
        return others, compared

    def _out(self, single: Floats, agreed: Codes, compared: Floats) -> npt.NDArray[np.float32]:
        if not self.together_:
            return single.astype(np.float32)
        together = np.zeros(len(single))
        for i, chance in enumerate(self.together_):
            at = np.flatnonzero(agreed >= i + 2)
            if not len(at):
                break
            # That many or more: no less than fewer.
            together[at] = np.maximum(together[at], chance.evidence(compared[at]))
        single = np.where(single <= together[:, None], 0.0, single)
        return np.column_stack([single, together]).astype(np.float32)

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """Return ``repeated <column>`` for each, and ``values repeated together``."""
        names = [f"repeated {name}" for name in self._columns]
        return np.asarray([*names, "values repeated together"] if self.together_ else names, dtype=object)

    @property
    def feature_columns_(self) -> list[tuple[str, ...]]:
        """Source columns of each feature."""
        return [(name,) for name in self._columns] + ([tuple(self._joined)] if self.together_ else [])

    @property
    def feature_groups_(self) -> list[tuple[str, ...]]:
        """The span of time that each is compared within."""
        return [tuple(self.within)] * len(self.get_feature_names_out())

    def in_units(self, X: Any, rows: Codes | None = None) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Return how many rows hold each value, and the columns that agree with one other row; both (n, features).

        What is usual is 1 and, of the columns that agree, the first such row by the index of `X`; None where that is a
        training record. `rows` are the positions of those to tell of, among all of `X`; all if not given.
        """
        X = as_table(X)
        places = np.arange(len(X)) if rows is None else np.asarray(rows, dtype=np.int64)
        values, spans = self._beside(X)
        others, _ = self._counts(values, spans)
        out = np.empty((len(places), len(self.get_feature_names_out())), dtype=object)
        usual = np.full(out.shape, 1, dtype=object)
        out[:, : len(self._columns)] = others[places] + 1
        if self.together_:
            cells = self._cells(self._of_joined(values), spans)
            _, which = _agreeing(cells, len(values))
            named = {
                columns: tuple(name for i, name in enumerate(self._joined) if columns >> i & 1)
                for columns in np.unique(which[places]).tolist()
            }
            out[:, -1] = pd.Series(which[places]).map(named)
            other = _partners(cells, which, places)
            usual[:, -1] = labels_at(X.labels, other)
        return out, usual

    @classmethod
    def direction(cls, value: Any, usual: Any) -> str:
        """``repeated``."""
        return "repeated"

    @classmethod
    def says(cls, value: Any) -> bool:
        """Nothing of a value that occurs once."""
        return len(value) > 1 if isinstance(value, tuple) else bool(value > 1)

    @classmethod
    def phrase(cls, source: FeatureSource, value: Any, usual: Any, row: Row, rows: int, between: Range | None) -> str:
        """`FeatureGroup.phrase`: which value how many rows hold, or which values are those of what row."""
        within = " within four weeks" if source.group_by else ""
        if isinstance(value, tuple):
            which = f"one of the {rows:,} training records" if usual is None else f"row {usual}"
            return f"{listed(list(value))} are those of {which}{within and ', within four weeks of it'}"
        name, shown = with_unit(source.columns[0], row[source.columns[0]])
        return f"{number(value)} rows{within} have this very {name}, {shown}"


_remembered: Kept[Readings, Remembered] = Kept(
    lambda readings: Remembered(
        np.array(readings._cells(readings.last_, readings.last_spans_), dtype=np.uint64).reshape(
            len(readings._columns), len(readings.last_)
        ),
        readings.last_spans_,
        readings.last_whole_,
    )
)
