"""`Frequency`: how probable each value of a number is, and how often values repeat others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd

from anomaly_detection.features.forms import NEVER, decimals
from anomaly_detection.features.numbers.bounds import LARGEST
from anomaly_detection.features.repeats.coincidences import mixed, others_of, repeats_of

__all__ = ["Frequency", "follows_category", "learn_frequency", "learn_spread"]

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

_SAMPLE = 20_000
_MOST_REPEATED = 20_000
_OFTEN_AGAIN, _MOSTLY, _BEYOND_CHANCE = 0.1, 0.5, 3.0
_LEAST_VALUES = 20
_COMMON = 0.01  # of the values: one that is oftener is no surprise to see again
_STEP_SHARE = 0.9
_KNOTS, _VALUES_A_KNOT = 65, 20
_LEAST_BLOCKS, _BLOCKS = 4, 10
_RATES = 2.0 ** np.arange(11)
_SHAPES = np.array([1000.0, 100.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003])
_SHARES = (0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001, 0.0005, 0.0002, 0.0001)
_TINY = 1e-300
_NEAR = 10  # steps
_FEWEST_NEAR = 5
_APART = 1 << 42  # spans of time, in keys of their numbers


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
    once : float
        Nats of what chance does once among so many values; 0 in files of before.
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
    once: float = 0.0

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

        No more than are expected are no evidence, nor is what chance does once among as many values as were learned.
        """
        out = np.zeros(len(others))
        found = np.flatnonzero((others > 0) & (others > expected))
        if not found.size:
            return out
        from scipy.special import betainc, gammainc

        count, mean = others[found].astype(np.float64), np.maximum(expected[found], _TINY)
        usual = gammainc(count, mean)
        spread = mean * self.rate
        usual = np.maximum(usual, betainc(count, self.shape, spread / (spread + self.shape)))
        # What was never seen is bounded, and by so much more the oftener it occurs (Zipf).
        ratio = np.maximum(compared[found] / max(self.compared, 1.0), 1.0)
        bound = np.log(self.values + 1.0) + NEVER + np.log(count) - np.log(ratio)
        beyond = -np.log(np.maximum(usual, _TINY)) - self.once
        out[found] = np.maximum(np.minimum(beyond, bound), 0.0)
        return self._as_seen(out)

    def _as_seen(self, evidence: Floats) -> Floats:
        """Evidence of which usual records have no more than its nats say, neither within what was seen nor beyond."""
        if not len(self.levels):
            return evidence
        within = np.interp(evidence, np.append(0.0, self.levels), np.append(0.0, self.nats))
        beyond = evidence * (self.nats[-1] / self.levels[-1])
        return np.minimum(evidence, np.where(evidence > self.levels[-1], beyond, within))

    def usual(self, share: float) -> float:
        """The evidence that such a share of the training rows had, or more; 0 of more rows than had any."""
        nats = -float(np.log(share))
        if not len(self.levels) or nats < self.nats[0]:
            return 0.0
        return float(self._as_seen(np.interp([nats], self.nats, self.levels))[0])

    def fit_levels(self, evidence: Floats) -> None:
        """Learn which shares of usual records reach which evidence."""
        levels = np.unique(np.quantile(evidence, [1.0 - share for share in _SHARES if share * len(evidence) >= 3.0]))
        self.levels = levels[levels > 0]
        at_least = len(evidence) - np.searchsorted(np.sort(evidence), self.levels)
        self.nats = -np.log(at_least / len(evidence))

    def fit_spread(self, others: Codes, expected: Floats) -> None:
        """Learn the rate and the shape that make training values' repeats likeliest."""
        from scipy.special import gammaln

        every = -(-len(others) // _SAMPLE)
        # Densities are the same for many values: what so many of them have is added up once.
        places, different = pd.factorize(np.maximum(expected[::every], _TINY))
        keys, times = np.unique(others[::every] * len(different) + places, return_counts=True)
        count, mean = (keys // len(different)).astype(np.float64), different[keys % len(different)]
        best, total = -np.inf, float(np.sum(times * count))
        spread = _RATES[:, None] * mean
        often = count * np.log(spread)
        for shape in _SHAPES:
            constant = gammaln(count + shape) - gammaln(shape)
            each = constant + often - (count + shape) * np.log1p(spread / shape)
            likely = np.sum(times * each, axis=1) - total * float(np.log(shape))
            at = int(np.argmax(likely))
            if likely[at] > best:
                best, self.rate, self.shape = float(likely[at]), float(_RATES[at]), float(shape)


def follows_category(values: Floats, categories: Sequence[Codes]) -> bool:
    """Whether values come again because a category does: a lane's distance, a product's weight.

    Of the values that occur several times, a tenth of all rows at least, half stay within one level of a category, and
    three times as many as would by chance.

    Parameters
    ----------
    values : ndarray of float64, shape (n,)
        NaN where missing.
    categories : sequence of ndarray of int64, shape (n,)
        Each row's level.
    """
    present = np.flatnonzero(~np.isnan(values))
    _, place, counts = np.unique(values[present], return_inverse=True, return_counts=True)
    again = counts[place] > 1
    if again.sum() < _OFTEN_AGAIN * max(present.size, 1):
        return False
    for codes in categories:
        level = codes[present][again]
        low, high = np.full(len(counts), np.iinfo(np.int64).max), np.full(len(counts), np.iinfo(np.int64).min)
        np.minimum.at(low, place[again], level)
        np.maximum.at(high, place[again], level)
        within = float((low == high)[counts > 1].mean())
        shares = np.unique(codes, return_counts=True)[1] / len(codes)
        if within >= _MOSTLY and within >= _BEYOND_CHANCE * float((shares**2).sum()):
            return True
    return False


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
    repeated, once = distinct[several] + 0.0, float(np.log(x.size + 1.0))
    return Frequency(step, knots, heights, repeated, counts[several].astype(np.int64), x.size, once=once)


def near_values(x: Floats, spans: Codes, values: Floats, their_spans: Codes, step: float) -> Floats:
    """How many others have each number, were it as common as those beside it in its span of time, shape (n,).

    Others than the very number count that lie within ten steps, five at least. Readings of a day lie closer together
    than those of a year.
    """
    known = ~np.isnan(values)
    place, theirs = _steps(x, step), _steps(values[known], step)
    first_span = their_spans.min(initial=0)
    place, theirs = place + (spans - first_span) * _APART, theirs + (their_spans[known] - first_span) * _APART
    ordered = np.sort(theirs)
    every = ordered.searchsorted(place + _NEAR, "right") - ordered.searchsorted(place - _NEAR, "left")
    near = every - (ordered.searchsorted(place, "right") - ordered.searchsorted(place, "left"))
    return np.where(near >= _FEWEST_NEAR, near / (2.0 * _NEAR), 0.0)


def _steps(values: Floats, step: float) -> Codes:
    """The numbers in steps, within what a key has room for."""
    return np.clip(np.rint(values / step), -_APART / 4, _APART / 4).astype(np.int64)


def learn_spread(frequency: Frequency, values: Floats, spans: Codes) -> Floats:
    """Learn how far repeats scatter, and give the evidence of each training value by those of other spans; (n,)."""
    present = np.flatnonzero(~np.isnan(values))
    x, own = values[present], spans[present]
    if len(np.unique(own)) < _LEAST_BLOCKS:
        own = np.arange(len(x)) * _BLOCKS // len(x)
    inside = repeats_of(mixed(x.view(np.uint64)) + own.astype(np.uint64))
    compared = others_of(own)
    outside = repeats_of((x + 0.0).view(np.uint64)) - inside
    outside = np.where(outside >= frequency.counts.min(initial=2), outside, 0)
    often = frequency.by_density(x) + outside / (frequency.values - compared)
    expected = np.minimum(often, 1.0) * compared
    expected = np.maximum(expected, near_values(x, own, x, own, frequency.step))
    frequency.compared = float(compared.mean())
    frequency.fit_spread(inside, expected)
    frequency.fit_levels(frequency.evidence(inside, expected, compared))
    found = np.zeros(len(values))
    found[present] = frequency.evidence(inside, expected, compared)
    return found
