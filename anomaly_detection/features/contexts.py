"""Numbers against the context that foretells them best: a group of any size, or so much for each of another number.

Contexts are compared by how likely they make each value of the others, left out of its own group: the logarithm of a
Student density with three degrees of freedom, which a few wrong values do not sway.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import rankdata
from sklearn.utils.validation import check_is_fitted

from anomaly_detection.data.levels import CombinedLevels
from anomaly_detection.features.clauses import compared_with
from anomaly_detection.features.group import FeatureSource, Range, Row
from anomaly_detection.features.group_deviation import explained_share, robust_scale
from anomaly_detection.features.numeric_group import NumericGroup
from anomaly_detection.features.numeric_values import Scale, bounded, choose_scale
from anomaly_detection.features.pairing import most_related
from anomaly_detection.progress import steps

__all__ = ["Context", "Contexts", "History", "learn_history"]

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

_SAMPLE = 5_000
_MAD_TO_SIGMA = 1.4826
_LENT_CENTRES = (0.02, 0.2, 1.0, 4.0)
_LENT_SPREADS = (1.0, 4.0, 16.0, 64.0)
_LEAST_GAIN = 0.02  # in nats a row: below, a context says nothing
_LEAST_GAIN_OF_RATIO = 0.05
_MOST_LEVELS = 0.7  # of the rows: with more, hardly any row has others of its level
_SCREENED = 4
_PAIRS = 1
_LEAST_ROWS = 10
_USUALLY_LENT = (0.2, 4.0)
_KEPT = 2
_RESOLUTION = 1e-3
_ROWS_OF_A_PAIR = 8  # on average, of two columns' combinations


class _Sorted:
    """Values by group, in order: medians, quantiles, and medians of a row's fellows, by one sort.

    Parameters
    ----------
    codes : ndarray of int64, shape (n,)
        Groups, from 0 to ``groups - 1``.
    values : ndarray of float64, shape (n,)
        Without NaN.
    """

    def __init__(self, codes: Codes, values: Floats, groups: int) -> None:
        self.order = np.lexsort((values, codes))
        self.values = values[self.order]
        self.sizes = np.bincount(codes, minlength=groups)
        self.starts = np.cumsum(self.sizes) - self.sizes

    def quantile(self, share: float) -> Floats:
        """Of each group, shape (groups,), between values as NumPy has it; 0 of an empty one."""
        place = self.starts + share * np.maximum(self.sizes - 1, 0)
        low = np.minimum(place.astype(np.int64), len(self.values) - 1)
        high = np.minimum(low + (place > low), len(self.values) - 1)
        found = self.values[low] + (place - low) * (self.values[high] - self.values[low])
        return np.where(self.sizes > 0, found, 0.0)

    def median_of_others(self) -> tuple[Floats, Codes]:
        """For each row the median of the other values of its group, NaN where it has none, and how many they are."""
        start, rest = np.repeat(self.starts, self.sizes), np.repeat(self.sizes, self.sizes) - 1
        rank = np.arange(len(self.values)) - start
        # Places among the others, of which those behind the row itself have moved up by one.
        low, high = (np.clip(start + at + (at >= rank), 0, len(self.values) - 1) for at in ((rest - 1) // 2, rest // 2))
        median = np.where(rest > 0, 0.5 * self.values[low] + 0.5 * self.values[high], np.nan)
        found, count = np.empty(len(self.values)), np.empty(len(self.values), dtype=np.int64)
        found[self.order], count[self.order] = median, rest
        return found, count


@dataclass
class History:
    """What was usual in each group, on the scale of the number; the last entry is for groups never seen.

    Attributes
    ----------
    count : ndarray of int64, shape (groups + 1,)
        Values of the group.
    median, spread : ndarray of float64, shape (groups + 1,)
        Of the group's own values; the spread is robust. 0 where there are none.
    low, high : ndarray of float64, shape (groups + 1,)
        Quantiles of 5 and 95 % of the group's own values.
    centre, width, within : float
        Median and robust spread of all values, and the spread common within groups.
    lent_centre, lent_spread : float
        Rows that all values lend to a group's centre, and all groups to its spread.
    resolution : float
        Least spread.
    """

    count: Codes
    median: Floats
    spread: Floats
    low: Floats
    high: Floats
    centre: float
    width: float
    within: float
    lent_centre: float
    lent_spread: float
    resolution: float

    def deviation(self, values: Floats, codes: Codes) -> Floats:
        """Give `asinh` of how many spreads each value lies off its group's centre; `codes` are -1 for new groups."""
        return self._deviation(values, self.count[codes], self.median[codes], self.spread[codes])

    def _deviation(self, values: Floats, count: Any, median: Floats, spread: Floats) -> Floats:
        centre = (count * median + self.lent_centre * self.centre) / (count + self.lent_centre)
        return np.arcsinh((values - centre) / self._spread(count, spread))

    def _spread(self, count: Any, spread: Floats) -> Floats:
        own = (count * spread**2 + self.lent_spread * self.within**2) / (count + self.lent_spread)
        # Few values that agree do not prove that all do.
        unproven = (self.width / (count + 1.0)) ** 2
        found = np.sqrt(own + self.resolution**2 + unproven)
        return np.asarray(np.where(count < 1, self.width, found))


def _distance_of_others(values: Floats, codes: Codes, others: Floats, groups: int) -> Floats:
    """For each row the median distance of the other values of its group from their median, which is `others`."""
    low, high = np.full(groups, np.inf), np.full(groups, -np.inf)
    np.minimum.at(low, codes, others)
    np.maximum.at(high, codes, others)
    # The rows of a group lack one below its middle, one above, or the middle itself: three medians at most.
    between = (others != low[codes]) & (others != high[codes])
    third = low.copy()
    third[codes[between]] = others[between]
    found = np.empty(len(values))
    for centre in (low, high, third)[: 3 if between.any() else 2]:
        distances = _Sorted(codes, np.abs(values - centre[codes]), groups).median_of_others()[0]
        same = others == centre[codes]
        found[same] = distances[same]
    return found


def learn_history(
    values: Floats, codes: Codes, groups: int, *, quickly: bool = False
) -> tuple[History, Floats, float] | None:
    """Learn a `History`; give the deviations of the values by the others of their group, and the mean log density.

    Parameters
    ----------
    values : ndarray of float64, shape (n,)
        NaN where missing.
    codes : ndarray of int64, shape (n,)
        Groups from 0 to ``groups - 1``.
    quickly : bool
        Whether to take the usual numbers of rows that are lent, to compare contexts, in place of the likeliest.

    Returns
    -------
    (History, ndarray of float64 (n,), float), or None where there are too few values.
    """
    present = ~np.isnan(values)
    x, own = values[present], codes[present]
    if x.size < _LEAST_ROWS:
        return None
    centre = float(np.median(x))
    resolution = max(_RESOLUTION * robust_scale(x), 1e-9 * (1.0 + abs(centre)))
    width = max(robust_scale(x), resolution)
    by_value = _Sorted(own, x, groups)
    others, rest = by_value.median_of_others()
    others = np.where(rest > 0, others, centre)
    median = by_value.quantile(0.5)
    by_distance = _Sorted(own, np.abs(x - median[own]), groups)
    own_spread = _MAD_TO_SIGMA * np.nan_to_num(_distance_of_others(x, own, others, groups))
    several = rest >= 2
    within = _MAD_TO_SIGMA * float(np.median(np.abs(x - others)[several])) if several.any() else width
    median, spread, low, high = (
        np.append(array, 0.0)
        for array in (
            median,
            _MAD_TO_SIGMA * by_distance.quantile(0.5),
            by_value.quantile(0.05),
            by_value.quantile(0.95),
        )
    )
    count = np.append(by_value.sizes, 0)
    best: tuple[float, History, Floats] | None = None
    for lent_centre, lent_spread in [_USUALLY_LENT] if quickly else product(_LENT_CENTRES, _LENT_SPREADS):
        found = History(count, median, spread, low, high, centre, width, within, lent_centre, lent_spread, resolution)
        scale = found._spread(rest, own_spread)
        z = np.sinh(found._deviation(x, rest, others, own_spread))
        likely = float(np.mean(-np.log(scale) - 2.0 * np.log1p(z * z / 3.0)))
        if best is None or likely > best[0]:
            best = likely, found, np.arcsinh(z)
    assert best is not None
    deviations = np.full(len(values), np.nan)
    deviations[present] = best[2]
    return best[1], deviations, best[0]


@dataclass
class Context:
    """One number in one context.

    Attributes
    ----------
    column : str
    per : str or None
        The number that it is divided by, where its logarithm less that one's is judged.
    group_by : tuple of str
        Columns whose combinations are the groups; none for all records.
    scale : Scale
        Of the number; unused where there is a divisor.
    """

    column: str
    per: str | None
    group_by: tuple[str, ...]
    scale: Scale
    groups: CombinedLevels
    history: History
    learned: Floats | None = field(default=None, repr=False, compare=False)

    @property
    def name(self) -> str:
        """What the feature is called."""
        over = f" for each {self.per}" if self.per else ""
        return f"{self.column}{over} beside its {' and '.join(self.group_by) or 'like'}"

    def values(self, X: pd.DataFrame) -> Floats:
        """The number on the scale on which it is judged, shape (n,)."""
        return _on_scale(X, self.column, self.per, self.scale)


def _likelihood(values: Floats, codes: Codes) -> float:
    learned = learn_history(values, codes, int(codes.max()) + 1, quickly=True)
    return -np.inf if learned is None else learned[2]


def _ranks(values: Floats) -> Floats:
    """Of the values that are there."""
    return np.asarray(rankdata(values[~np.isnan(values)]), dtype=np.float64)


def _on_scale(X: pd.DataFrame, column: str, per: str | None, scale: Scale) -> Floats:
    values = bounded(X[column].to_numpy(dtype=np.float64))
    if per is None:
        return scale.apply(values)
    under = bounded(X[per].to_numpy(dtype=np.float64))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        if not scale.is_log:
            return bounded(np.where(under > 0, values / under, np.nan))
        return np.where((values > 0) & (under > 0), np.log(values) - np.log(under), np.nan)


class Contexts(NumericGroup):
    """`asinh` deviation of each number from what its best contexts foretell; 0 is usual.

    For each number the two groupings are kept that make its values likeliest, of any column whose levels repeat, and of
    the best one with a second; and, for amounts, the quotient by another number, in its best grouping, if that makes
    them likelier still. A training row is judged by the others of its group, as a new one is.

    Parameters
    ----------
    numbers, categories : sequence of str
        Columns to judge and to group by.
    divisors : sequence of str
        Numbers that amounts may be divided by.
    kin : mapping of str to sequence of str, optional
        Columns that a number or a category is made of: none is its own context.
    """

    logarithmic: ClassVar[bool] = True

    def __init__(
        self,
        numbers: Sequence[str] = (),
        categories: Sequence[str] = (),
        divisors: Sequence[str] = (),
        kin: Any = None,
    ) -> None:
        self.numbers = numbers
        self.categories = categories
        self.divisors = divisors
        self.kin = kin

    def fit(self, X: pd.DataFrame, y: object = None) -> Contexts:
        """Choose contexts and learn what is usual in them."""
        self._learn(X)
        for context in self.contexts_:
            context.learned = None
        return self

    def fit_transform(self, X: pd.DataFrame, y: object = None, **params: Any) -> npt.NDArray[np.float32]:
        """Fit, and give each training row's deviations by the others of its groups."""
        self._learn(X)
        out = np.empty((len(X), len(self.contexts_)), dtype=np.float32)
        for i, context in enumerate(self.contexts_):
            assert context.learned is not None
            out[:, i], context.learned = context.learned, None
        return out

    def _learn(self, X: pd.DataFrame) -> None:
        self.feature_names_in_ = np.asarray(X.columns, dtype=object)
        self.n_features_in_ = X.shape[1]
        groups: dict[str, CombinedLevels] = {}
        coded: dict[str, tuple[Codes, int]] = {}
        for name in self.categories:
            groups[name] = CombinedLevels(X, (name,))
            if 1 < len(groups[name]) <= _MOST_LEVELS * len(X):
                coded[name] = groups[name].codes(X), len(groups[name])
        coded = {name: coded[name] for name in most_related(coded)}
        self.contexts_: list[Context] = []
        for name in steps(self.numbers, "comparing numbers within contexts"):
            for per, group_by, scale in self._chosen(X, name, coded):
                found = CombinedLevels(X, group_by)
                learned = learn_history(_on_scale(X, name, per, scale), found.codes(X), len(found))
                if learned is not None:
                    self.contexts_.append(Context(name, per, group_by, scale, found, learned[0], learned[1]))

    def _chosen(
        self, X: pd.DataFrame, name: str, coded: dict[str, tuple[Codes, int]]
    ) -> list[tuple[str | None, tuple[str, ...], Scale]]:
        """The contexts of a number that make it likeliest, by a part of the rows: divisor, groups and scale of each."""
        step = -(-len(X) // _SAMPLE)
        coded = {
            other: (codes[::step], size) for other, (codes, size) in coded.items() if not self._are_kin(name, other)
        }
        some = X.iloc[::step]
        scale = choose_scale(some[name].to_numpy(dtype=np.float64))
        values = scale.apply(some[name].to_numpy(dtype=np.float64))
        if (~np.isnan(values)).sum() < _LEAST_ROWS or np.ptp(values[~np.isnan(values)]) == 0:
            return []
        alone = _likelihood(values, np.zeros(len(some), dtype=np.int64))
        found = sorted(self._groupings(values, coded), key=lambda item: -item[0])
        kept: list[tuple[str | None, tuple[str, ...], Scale]] = []
        kept += [(None, group_by, scale) for likely, group_by in found[:_KEPT] if likely > alone + _LEAST_GAIN]
        least = max([alone, *(likely for likely, _ in found)]) + _LEAST_GAIN_OF_RATIO
        best = self._best_quotient(some, name, scale, coded)
        if best is not None and best[0] > least:
            kept.append((best[1], best[2], scale))
        return kept

    def _best_quotient(
        self, some: pd.DataFrame, name: str, scale: Scale, coded: dict[str, tuple[Codes, int]]
    ) -> tuple[float, str, tuple[str, ...]] | None:
        """The quotient whose best grouping leaves least open: how likely it makes the number, divisor and groups."""
        closest: tuple[float, float, str, Floats, dict[str, tuple[Codes, int]]] | None = None
        for other in self.divisors:
            if other == name or self._are_kin(name, other) or (some[other] > 0).mean() <= 0.95:
                continue
            values = _on_scale(some, name, other, scale)
            present = ~np.isnan(values)
            if present.mean() < 0.5:
                continue
            free = {one: found for one, found in coded.items() if not self._are_kin(other, one)}
            ranks = _ranks(values)
            shares = [explained_share(ranks, codes[present], size) for codes, size in free.values()]
            # The density of the number itself is that of its quotient, by the divisor; logarithms differ by nothing.
            under = (
                0.0 if scale.is_log else float(np.log(bounded(some[other].to_numpy(dtype=np.float64))[present]).mean())
            )
            width = robust_scale(values[present])
            left = np.log(max(width, 1e-100)) + under + 0.5 * np.log(max(1.0 - max([0.0, *shares]), 1e-6))
            if closest is None or left < closest[0]:
                closest = left, under, other, values, free
        if closest is None:
            return None
        _, under, other, values, free = closest
        nothing: tuple[str, ...] = ()
        found = [(_likelihood(values, np.zeros(len(some), dtype=np.int64)), nothing), *self._groupings(values, free)]
        likely, group_by = max(found, key=lambda item: item[0])
        return likely - under, other, group_by

    @staticmethod
    def _groupings(values: Floats, coded: dict[str, tuple[Codes, int]]) -> Iterator[tuple[float, tuple[str, ...]]]:
        """Each promising grouping and how likely it makes the values; of the best one also with a second column."""
        present = ~np.isnan(values)
        ranks = _ranks(values)
        shares = {other: explained_share(ranks, codes[present], size) for other, (codes, size) in coded.items()}
        order = sorted((other for other in shares if shares[other] > 0), key=lambda other: -shares[other])
        best: tuple[float, str] | None = None
        for other in order[:_SCREENED]:
            likely = _likelihood(values, coded[other][0])
            yield likely, (other,)
            best = max(best or (-np.inf, ""), (likely, other))
        if best is None:
            return
        codes, _ = coded[best[1]]
        pairs = []
        for other, (others, size) in coded.items():
            if other != best[1]:
                used, both = np.unique((codes * size + others)[present], return_inverse=True)
                if len(used) <= len(both) / _ROWS_OF_A_PAIR:
                    pairs.append((explained_share(ranks, both, len(used)), other))
        for _, other in sorted(pairs, reverse=True)[:_PAIRS]:
            others, size = coded[other]
            yield _likelihood(values, np.unique(codes * size + others, return_inverse=True)[1]), (best[1], other)

    def _are_kin(self, name: str, other: str) -> bool:
        kin = self.kin or {}
        return bool({name, *kin.get(name, ())} & {other, *kin.get(other, ())})

    def transform(self, X: pd.DataFrame) -> npt.NDArray[np.float32]:
        """Give the deviations, shape (n, contexts); NaN where the number is missing."""
        check_is_fitted(self)
        out = np.empty((len(X), len(self.contexts_)), dtype=np.float32)
        known: dict[tuple[str, ...], Codes] = {}
        for i, context in enumerate(self.contexts_):
            out[:, i] = context.history.deviation(context.values(X), _codes(X, context, known))
        return out

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """Return `Context.name` of each."""
        return np.asarray([context.name for context in self.contexts_], dtype=object)

    @property
    def feature_columns_(self) -> list[tuple[str, ...]]:
        """The number that each feature judges, and the one that it is divided by."""
        return [(one.column,) if one.per is None else (one.column, one.per) for one in self.contexts_]

    @property
    def feature_groups_(self) -> list[tuple[str, ...]]:
        """The columns that each is grouped by."""
        return [context.group_by for context in self.contexts_]

    def in_units(self, X: pd.DataFrame) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Return the values and the medians of their groups, in the numbers' own units; both (n, features)."""
        values, usual = np.empty((len(X), len(self.contexts_))), np.empty((len(X), len(self.contexts_)))
        known: dict[tuple[str, ...], Codes] = {}
        for i, one in enumerate(self.contexts_):
            codes, history = _codes(X, one, known), one.history
            centre = np.where(history.count[codes] > 0, history.median[codes], history.centre)
            values[:, i], usual[:, i] = (_off_scale(part, one) for part in (one.values(X), centre))
        return values, usual

    def ranges_in_units(self, X: pd.DataFrame, bounds: Floats) -> Floats:
        """Between what the middle 90 % of each row's group lie, in the numbers' units, shape (2, n, features)."""
        ends = np.full((2, len(X), len(self.contexts_)), np.nan)
        known: dict[tuple[str, ...], Codes] = {}
        for i, one in enumerate(self.contexts_):
            codes = _codes(X, one, known)
            told = one.history.count[codes] > 0
            for end, edge in zip(ends, (one.history.low, one.history.high), strict=True):
                end[:, i] = np.where(told, _off_scale(edge[codes], one), np.nan)
        return ends

    @classmethod
    def weight(cls, source: FeatureSource) -> float:
        """`FeatureGroup.weight`; there are no words for a ratio, or days, for each of a third number."""
        return super().weight(source) if len(source.columns) < 3 else 0.0

    @classmethod
    def among(cls, source: FeatureSource, row: Row) -> str:
        """`NumericGroup.among`."""
        named, joined = compared_with(source.group_by, row, joined=True)
        return "".join([f" for {', '.join(named)}" if named else "", *(f" {word}" for word in joined)])

    @classmethod
    def phrase(cls, source: FeatureSource, value: Any, usual: Any, row: Row, rows: int, between: Range | None) -> str:
        """`FeatureGroup.phrase`."""
        return super().phrase(source, value, usual, row, rows, between)


def _codes(X: pd.DataFrame, context: Context, known: dict[tuple[str, ...], Codes]) -> Codes:
    if context.group_by not in known:
        known[context.group_by] = context.groups.codes(X)
    return known[context.group_by]


def _off_scale(values: Floats, context: Context) -> Floats:
    with np.errstate(over="ignore"):
        if context.per is not None and context.scale.is_log:
            return np.exp(np.minimum(values, 700.0))
        return values if context.per is not None else context.scale.invert(values)
