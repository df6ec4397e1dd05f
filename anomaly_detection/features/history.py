"""What was usual of a number in each group: `History`, learned by how likely it makes each value by the others.

The likelihood is the logarithm of a Student density with three degrees of freedom, which few wrong values do not sway.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from anomaly_detection.features.group_deviation import robust_scale

__all__ = ["LEAST_ROWS", "History", "learn_history"]

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

LEAST_ROWS = 10
"""Values that there must be."""

_MAD_TO_SIGMA = 1.4826
_LENT_CENTRES = (0.02, 0.2, 1.0, 4.0)
_LENT_SPREADS = (1.0, 4.0, 16.0, 64.0)
_USUALLY_LENT = (0.2, 4.0)
_RESOLUTION = 1e-3


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
        by_value = np.argsort(values)
        # Short codes are sorted digit by digit. Equal values may stand in any order.
        short = codes.astype(np.int16) if groups <= np.iinfo(np.int16).max else codes
        self.order = by_value[np.argsort(short[by_value], kind="stable")]
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

    def expected(self) -> tuple[Floats, Floats]:
        """The centre and the spread that values of each group are held against, both (groups + 1,)."""
        return self._centre(self.count, self.median), self._spread(self.count, self.spread)

    def _deviation(self, values: Floats, count: Any, median: Floats, spread: Floats) -> Floats:
        return np.arcsinh((values - self._centre(count, median)) / self._spread(count, spread))

    def _centre(self, count: Any, median: Floats) -> Floats:
        return np.asarray((count * median + self.lent_centre * self.centre) / (count + self.lent_centre))

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
    if x.size < LEAST_ROWS:
        return None
    centre = float(np.median(x))
    resolution = max(_RESOLUTION * robust_scale(x), 1e-9 * (1.0 + abs(centre)))
    width = max(robust_scale(x), resolution)
    by_value = _Sorted(own, x, groups)
    others, rest = by_value.median_of_others()
    others = np.where(rest > 0, others, centre)
    own_spread = _MAD_TO_SIGMA * np.nan_to_num(_distance_of_others(x, own, others, groups))
    several = rest >= 2
    within = _MAD_TO_SIGMA * float(np.median(np.abs(x - others)[several])) if several.any() else width
    # To compare contexts, what is usual for new rows need not be known.
    median, spread, low, high = np.zeros((4, groups + 1))
    if not quickly:
        median[:-1], low[:-1], high[:-1] = (by_value.quantile(share) for share in (0.5, 0.05, 0.95))
        spread[:-1] = _MAD_TO_SIGMA * _Sorted(own, np.abs(x - median[own]), groups).quantile(0.5)
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
