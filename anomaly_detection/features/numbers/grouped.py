"""Values by their groups, in order: medians, quantiles, and medians of a row's fellows, in plain NumPy.

What training runs are the same functions compiled (`compiled/groups.py`), which `tests/test_grouped.py` holds equal.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from anomaly_detection.features.numbers.quantiles import median

__all__ = ["MAD_TO_SIGMA", "Sorted", "distance_of_others", "explained_share", "robust_scale"]

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

MAD_TO_SIGMA = 1.4826
"""A normal standard deviation, in median distances from the median."""


def robust_scale(values: Floats) -> float:
    """Standard deviation as the median distance from the median tells it; by tails, then plainly, where that is 0."""
    if values.size == 0:
        return 0.0
    distance = np.abs(values - median(values))
    spread = MAD_TO_SIGMA * median(distance)
    if spread == 0.0:
        spread = float(np.quantile(distance, 0.95)) / 1.96
    return spread if spread > 0.0 else float(values.std())


class Sorted:
    """Values by group, in order: medians, quantiles, and medians of a row's fellows, by one sort.

    Parameters
    ----------
    codes : ndarray of int64, shape (n,)
        Groups, from 0 to ``groups - 1``.
    values : ndarray of float64, shape (n,)
        Without NaN.
    groups : int
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


def distance_of_others(values: Floats, codes: Codes, others: Floats, groups: int) -> Floats:
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
        distances = Sorted(codes, np.abs(values - centre[codes]), groups).median_of_others()[0]
        same = others == centre[codes]
        found[same] = distances[same]
    return found


def explained_share(ranks: Floats, codes: Codes, size: int) -> float:
    """Share of the variance that group means explain, adjusted for their number."""
    n = np.bincount(codes, minlength=size)
    sums = np.bincount(codes, weights=ranks, minlength=size)
    used = n > 0
    total = float(((ranks - ranks.mean()) ** 2).sum())
    between = float((sums[used] ** 2 / n[used]).sum() - len(ranks) * ranks.mean() ** 2)
    free = len(ranks) - int(used.sum())
    if free <= 0 or total <= 0:
        return 0.0
    return 1.0 - ((total - between) / free) / (total / (len(ranks) - 1))
