"""`Evidence`: how improbable each feature of a row is, in nats, with tails that go on beyond all that was seen."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from anomaly_detection.data.columns.levels import Kept
from anomaly_detection.features.compiled.choice import by_compiled_code
from anomaly_detection.features.compiled.evidence import KNOTS, CompiledEvidence
from anomaly_detection.features.numbers.quantiles import Places, columns_in_order

__all__ = ["NAME", "Evidence", "FeatureScale", "Tails", "learn_tails"]

NAME = "evidence"
"""What the column is called that weighs a row up."""

Floats = npt.NDArray[np.float64]
Floats32 = npt.NDArray[np.float32]

_SHARES = np.array([0.5, 0.25, 0.1, 0.05, 0.025, 0.01])
_RARER = np.array([0.005, 0.002, 0.001, 5e-4, 2e-4, 1e-4, 5e-5])
_ALL_SHARES = np.append(_SHARES, _RARER)
_FEWEST_BEYOND = 3.0
_TAIL_FROM = (0.1, 0.05, 0.025, 0.01)
_STRETCHES = (0.05, 0.025, 0.01, 0.005, 0.002)
_FEWEST_IN_A_STRETCH = 2.0
_LEAST_SLOPE = 0.2  # a tail thinner than the fifth power was never more than too few values
_LEAST_SLOPE_OF_A_SURPRISAL = 0.7  # it is in nats already, of counts that may be few
_LEAST_VALUES = 20
_FAR = 0.002  # one of the shares
_AGREEING = 0.2
_SECOND = 0.05
_CELLS = 8192  # at once: what they take stays in the cache, and in memory that is not given back in between
_MOST = 1e6


@dataclass(frozen=True)
class FeatureScale:
    """How one feature is brought onto a scale of deviations, and which column it judges.

    Attributes
    ----------
    weighed : bool
        It is evidence; else it has none.
    nats : bool
        It is evidence already.
    logarithmic : bool
        It grows as the logarithm of a deviation, so that its distance from the median is judged as it is; else as
        `asinh` of so many widths.
    one_sided : bool
        Only large values are odd.
    discrete : bool
        Values repeat, so that a rare one is a fact that comes again: nothing is rarer than it was.
    judged : int
        The number of the column that it judges; features of one column are no evidence beside each other.
    """

    weighed: bool
    nats: bool
    logarithmic: bool
    one_sided: bool
    discrete: bool
    judged: int

    @property
    def least_slope(self) -> float:
        """Units of the scale that make a nat beyond all that was seen, at least."""
        return _LEAST_SLOPE_OF_A_SURPRISAL if self.logarithmic and self.one_sided else _LEAST_SLOPE


@dataclass(frozen=True)
class Tails:
    """The tails of n features on their scales, upper ones first.

    Attributes
    ----------
    median : ndarray of float64, shape (n,)
    width : ndarray of float64, shape (2, n)
        What one deviation is on either side, where the scale is `asinh`; 1 elsewhere.
    knots, worth : ndarray of float64, shape (2, n, shares)
        Places on the scale, ascending, and the evidence there in nats. NaN where too little was seen.
    slope : ndarray of float64, shape (2, n)
        Units of the scale that make a nat beyond the last knot.
    """

    median: Floats
    width: Floats
    knots: Floats
    worth: Floats
    slope: Floats


def learn_tails(
    X: Floats32, scales: Sequence[FeatureScale], least: Sequence[float], far: Sequence[bool] | None = None
) -> Tails:
    """Learn the tails of the training records' features.

    Parameters
    ----------
    X : ndarray of float32, shape (n_rows, n)
        NaN where missing.
    scales : sequence of FeatureScale
    least : sequence of float
        So much of each feature is one deviation at least, in its own units.
    far : sequence of bool, optional
        Of which only values beyond the outermost 0.2 % are worth anything: others judge the rest better.
    """
    n = X.shape[1]
    median, width, slope = np.zeros(n), np.ones((2, n)), np.ones((2, n))
    knots, worth = np.full((2, n, len(_ALL_SHARES)), np.nan), np.zeros((2, n, len(_ALL_SHARES)))
    taken = np.flatnonzero([scale.weighed and not scale.nats for scale in scales])
    for i, values in zip(taken.tolist(), columns_in_order(X, taken), strict=True):
        if values.size < _LEAST_VALUES:
            continue
        scale = scales[i]
        median[i] = _median(values)
        if not scale.logarithmic:
            width[:, i] = _widths(values, median[i], least[i])
        for side in (0, 1):
            own = _tail(values, side, scale, median[i], width[:, i], far is not None and far[i])
            knots[side, i], worth[side, i], slope[side, i] = own
    return Tails(median, width, knots, worth, slope)


class Evidence:
    """``-log`` of the probability that a usual record's feature lies as far out, on its side.

    Up to the outermost 1 % (of values that repeat, up to the outermost three) it is that of the training records.
    Beyond, the tail is exponential on a scale that is the logarithm of a deviation, which makes it a power law (Hill,
    1975), as heavy as the heaviest stretch between the outermost 10 and 0.2 %. So it is neither capped, and one
    enormous deviation outweighs many moderate ones, nor lighter than what was seen.

    Parameters
    ----------
    scales : sequence of FeatureScale
    tails : Tails

    Attributes
    ----------
    agreeing, second : float
        What the second feature of a column, and the second column of a row, count beside the first, see `total`. What
        stands in the class is for models that were saved before these were attributes.
    weights : ndarray of float32, shape (n,), or None
        What verdicts have taught, see `Lessons`: evidence is multiplied by them where a row is weighed up.
    """

    agreeing: float = 0.0
    second: float = 0.15
    weights: Floats32 | None = None

    def __init__(self, scales: Sequence[FeatureScale], tails: Tails) -> None:
        self.scales = tuple(scales)
        self.tails = tails
        self.agreeing, self.second = _AGREEING, _SECOND

    def of(self, X: Floats32) -> Floats32:
        """Evidence in nats, shape (n_rows, n), at least 0; 0 where a value is missing."""
        # Of files that others made tails may have any number of places.
        if self.tails.knots.shape[2] == KNOTS and by_compiled_code(len(X)):
            return _compiled(self).of(X)
        return _learned(self).of(X)

    def taught(self, weights: Floats32 | None) -> Evidence:
        """The same with other `weights`."""
        made = copy.copy(self)
        made.weights = weights
        return made

    def total(self, evidence: Floats32) -> npt.NDArray[np.float32]:
        """Weigh rows up, shape (n_rows,), by evidence (n_rows, n).

        A column has its feature with most evidence, and a part (`agreeing`) of the next: a value that is odd in one
        way among many is less than one that is odd in two. A row has its column with most, and a part (`second`) of the
        next.
        """
        learned = _learned(self)
        if self.weights is not None:
            evidence = evidence * self.weights
        if by_compiled_code(0):
            return learned.total(evidence, self.agreeing, self.second)
        ordered = evidence[:, learned.by_column]
        most = np.maximum.reduceat(ordered, learned.starts, axis=1)
        columns = most.astype(np.float64)
        if self.agreeing:
            is_most = ordered == np.repeat(most, learned.sizes, axis=1)
            others = np.maximum.reduceat(np.where(is_most, np.float32(0.0), ordered), learned.starts, axis=1)
            twice = np.add.reduceat(is_most, learned.starts, axis=1, dtype=np.int64) > 1
            columns += self.agreeing * np.where(twice, most, others)
        if columns.shape[1] == 1:
            return np.asarray(columns[:, 0], dtype=np.float32)
        largest = np.partition(columns, columns.shape[1] - 2, axis=1)[:, -2:]
        return np.asarray(largest[:, 1] + self.second * largest[:, 0], dtype=np.float32)

    def as_weighed(self, evidence: Floats32) -> tuple[Floats32, Any, Any, float, float]:
        """Evidence and what compiled code makes its `total` of."""
        learned = _learned(self)
        if evidence.shape[1] < len(learned.by_column):
            raise ValueError(f"there are {evidence.shape[1]} features of {len(learned.by_column)}")
        own = evidence if self.weights is None else evidence * self.weights
        return np.ascontiguousarray(own), learned.by_column, learned.starts, self.agreeing, self.second

    def append(self, out: Floats32) -> None:
        """Write `total` of the first features of `out` into its last column."""
        if self.tails.knots.shape[2] == KNOTS and by_compiled_code(0):
            found = _compiled(self).of(out)
            if self.weights is not None:
                found[:, : len(self.weights)] *= self.weights
            _learned(self).write_total(found, self.agreeing, self.second, out, out.shape[1] - 1)
        else:
            out[:, -1] = self.total(self.of(out[:, : len(self.scales)]))


class _Learned:
    """What was learned of all features, in arrays.

    Attributes
    ----------
    by_column, starts, sizes : ndarray of int64
        The features by the column that they judge, where each column's begin, and how many it has.
    """

    def __init__(self, evidence: Evidence) -> None:
        scales, tails = evidence.scales, evidence.tails
        judged = np.array([scale.judged for scale in scales], dtype=np.int64)
        self.by_column = np.argsort(judged, kind="stable")
        self.starts = np.flatnonzero(np.diff(judged[self.by_column], prepend=-1))
        self.sizes = np.diff(self.starts, append=len(judged))
        self.nats = np.flatnonzero([scale.weighed and scale.nats for scale in scales])
        self.placed = np.flatnonzero([scale.weighed and not scale.nats for scale in scales])
        own = self.placed
        self.widths = np.flatnonzero([not scales[i].logarithmic for i in own])
        self.two_sided = np.flatnonzero([not scales[i].one_sided for i in own])
        self.median, self.width = tails.median[own], tails.width[:, own[self.widths]]
        self.up = _Side(tails.knots[0, own], tails.worth[0, own], tails.slope[0, own])
        both = own[self.two_sided]
        self.down = _Side(tails.knots[1, both], tails.worth[1, both], tails.slope[1, both])

    def compiled(self) -> CompiledEvidence:
        """The same for compiled code."""
        parts = (self.nats, self.placed, self.widths, self.two_sided, self.median, self.width)
        return CompiledEvidence(*parts, self.up.tables(), self.down.tables(), _MOST)

    def total(self, evidence: Floats32, agreeing: float, second: float) -> Floats32:
        """`Evidence.total` by compiled code."""
        out = np.empty((len(evidence), 1), dtype=np.float32)
        self.write_total(np.ascontiguousarray(evidence), agreeing, second, out, 0)
        return out[:, 0]

    def write_total(self, evidence: Floats32, agreeing: float, second: float, out: Floats32, column: int) -> None:
        """Write the total of the first features of `evidence` into a column of `out`."""
        from anomaly_detection.features.compiled.kernels import heaviest

        if evidence.shape[1] < len(self.by_column):
            raise ValueError(f"there are {evidence.shape[1]} features of {len(self.by_column)}")
        heaviest(evidence, self.by_column, self.starts, agreeing, second, out, column)

    def of(self, X: Floats32) -> Floats32:
        out = np.zeros(X.shape, dtype=np.float32)
        out[:, self.nats] = np.minimum(np.nan_to_num(X[:, self.nats].astype(np.float64)), _MOST)
        rows = _CELLS // max(len(self.placed), 1) + 1
        for start in range(0, len(X), rows):
            some = slice(start, start + rows)
            out[some, self.placed] = self._of_placed(X[some, self.placed].astype(np.float64))
        return out

    def _of_placed(self, values: Floats) -> Floats:
        """The evidence of features that are on a scale."""
        missing = np.isnan(values)
        placed = np.nan_to_num(values) - self.median
        away = placed[:, self.widths]
        placed[:, self.widths] = np.arcsinh(away / np.where(away > 0, self.width[0], self.width[1]))
        found = self.up.evidence(placed)
        both = self.two_sided
        below = self.down.evidence(-placed[:, both])
        found[:, both] = np.maximum(np.maximum(found[:, both], below) - np.log(2.0), 0.0)
        return np.where(missing, 0.0, np.minimum(found, _MOST))


class _Side:
    """The tails of n features on one side: knots and what each is worth, shape (n, shares), and slopes, shape (n,)."""

    def __init__(self, knots: Floats, worth: Floats, slope: Floats) -> None:
        # Where too little was seen, nothing lies beyond and nothing is worth anything.
        known = ~np.isnan(knots[:, -1:])
        self._last, self._most = np.where(known, knots, np.inf)[:, -1], np.where(known, worth, 0.0)[:, -1]
        # From above, so that of equal knots the first counts, which is what lies as far out.
        self._places = np.where(known, -knots, 0.0)[:, ::-1].copy()
        self._worth = np.where(known, worth, 0.0)[:, ::-1].copy()
        with np.errstate(divide="ignore", invalid="ignore"):
            # Between equal ones nothing lies.
            rise = np.diff(self._worth, axis=1, append=0.0) / np.diff(self._places, axis=1, append=np.inf)
        self._rise = np.where(np.isfinite(rise), rise, 0.0)
        self._slope = slope
        self._first = np.arange(len(knots)) * knots.shape[1]

    def tables(self) -> tuple[Floats, Floats]:
        """Places, worth and rise of each, shape (n, 3, shares); and last place, its worth and slope, shape (n, 3)."""
        return (
            np.stack([self._places, self._worth, self._rise], axis=1),
            np.stack([self._last, self._most, self._slope], axis=1),
        )

    def evidence(self, values: Floats) -> Floats:
        """As NumPy interpolates between the knots, and along the slope beyond; shape (n_rows, n)."""
        x = -values
        at = np.full(x.shape, -1, dtype=np.int8)
        for place in self._places.T:
            at += (place <= x).view(np.int8)
        place = self._first + np.maximum(at, 0)
        places, worth = self._places.ravel()[place], self._worth.ravel()[place]
        within = np.where(x > places, self._rise.ravel()[place] * (x - places) + worth, worth)
        return np.where(values > self._last, self._most + (values - self._last) / self._slope, within)


_learned: Kept[Evidence, _Learned] = Kept(_Learned)
_compiled: Kept[Evidence, CompiledEvidence] = Kept(lambda evidence: _learned(evidence).compiled())


def _median(ordered: Floats32) -> float:
    low, high = (float(ordered[at]) for at in ((ordered.size - 1) // 2, ordered.size // 2))
    return (low + high) / 2.0 if low != high else low


def _widths(ordered: Floats32, median: float, least: float) -> Floats:
    """One deviation on either side: the 95 % quantile there, as a normal value would have it."""
    below, above = (ordered.astype(np.float64).searchsorted(median, side) for side in ("left", "right"))
    found = []
    for away in (ordered[above:], ordered[:below][::-1]):
        width = 0.0
        if away.size:
            places = Places(away.size, [0.9])
            low, high = (np.abs(away[at].astype(np.float64) - median) for at in (places.low, places.high))
            width = float(places.between(low, high)[0]) / 1.645
        found.append(max(width, least, 1e-9 * (1.0 + abs(median))))
    return np.array(found)


def _placed(values: Floats, scale: FeatureScale, median: float, width: Floats) -> Floats:
    away = values - median
    if scale.logarithmic:
        return away
    return np.asarray(np.arcsinh(away / np.where(away > 0, width[0], width[1])))


def _tail(
    ordered: Floats32, side: int, scale: FeatureScale, median: float, width: Floats, far: bool
) -> tuple[Floats, Floats, float]:
    """Where the outermost shares of the values begin, the evidence there, and how many units make a nat beyond.

    With `far` there is no evidence up to the outermost `_FAR`. Only the values that quantiles lie between are brought
    onto the scale, which keeps their order.
    """
    n = ordered.size
    places = Places(n, 1.0 - _ALL_SHARES)
    outwards = ordered if side == 0 else ordered[::-1]
    values = [outwards[at].astype(np.float64) for at in (places.low, places.high)]
    low, high = ((1.0, -1.0)[side] * _placed(part, scale, median, width) for part in values)
    knots = places.between(low, high)
    at = dict(zip(_ALL_SHARES.tolist(), knots.tolist(), strict=True))
    # Where nearly all are usual to the digit, the tail begins with those that are not.
    begins = next((share for share in _TAIL_FROM if at[share] > 0.0), _TAIL_FROM[0])
    edge = at[begins]
    stretches = [share for share in _STRETCHES if share < begins and share * n >= _FEWEST_IN_A_STRETCH]
    slopes = [(at[share] - edge) / np.log(begins / share) for share in stretches]
    # By ranks: how many lie as far out, those with the same value included.
    nearest = np.where(knots > low, *values[::-1])
    if side == 0:
        beyond = n - ordered.searchsorted(nearest.astype(np.float32), side="left")
    else:
        beyond = ordered.searchsorted(nearest.astype(np.float32), side="right")
    worth = np.maximum.accumulate(-np.log((beyond + 0.5) / (n + 1.0)))
    known = (_ALL_SHARES * n >= _FEWEST_BEYOND) & (scale.discrete | (_SHARES[-1] <= _ALL_SHARES))
    last = int(np.flatnonzero(_ALL_SHARES == _FAR if far else known)[-1])
    knots[last + 1 :], worth[last + 1 :] = knots[last], worth[last]
    below, above = (int(ordered.searchsorted(np.float32(median), end)) for end in ("left", "right"))
    few = n - above if side == 0 else below
    if few < _FEWEST_BEYOND and not (far or scale.discrete):
        # All but these are usual to the digit: one deviation from a rule that the others keep is as rare as they are.
        knots[last + 1 :], worth[last + 1 :] = 1.0, -np.log((few + 0.5) / (n + 1.0))
    if far:
        knots[:last], worth[:-1] = knots[last], 0.0
    return knots, worth, max([scale.least_slope, *slopes])
