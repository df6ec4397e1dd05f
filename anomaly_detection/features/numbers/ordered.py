"""`Ordered`: a number's values in order, sorted once for all that they are grouped by."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from anomaly_detection.features.numbers.grouped import MAD_TO_SIGMA, robust_scale
from anomaly_detection.features.numbers.quantiles import Places

__all__ = ["CodedColumns", "Grouped", "Ordered"]

Bools = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class CodedColumns:
    """Columns of categories as codes, side by side.

    Parameters
    ----------
    coded : mapping of str to (ndarray of int64, shape (n,), int)
        Each column's levels, from 0, and their number.

    Attributes
    ----------
    names : list of str
    codes : ndarray of int32, shape (columns, n)
    sizes : ndarray of int64, shape (columns,)
    """

    def __init__(self, coded: Mapping[str, tuple[Codes, int]]) -> None:
        self.names = list(coded)
        self.sizes = np.array([size for _, size in coded.values()], dtype=np.int64)
        rows = len(next(iter(coded.values()))[0]) if coded else 0
        self.codes = np.empty((len(coded), rows), dtype=np.int32)
        for i, (codes, _) in enumerate(coded.values()):
            self.codes[i] = codes


class Ordered:
    """A number's values that are there, in order.

    Parameters
    ----------
    values : ndarray of float64, shape (n,)
        NaN where missing.

    Attributes
    ----------
    present : ndarray of bool, shape (n,)
    x : ndarray of float64, shape (m,)
        The values that are there.
    by_value : ndarray of int64, shape (m,)
        Their places in ascending order; equal ones in any.
    """

    def __init__(self, values: Floats) -> None:
        self.present = ~np.isnan(values)
        self.is_whole = bool(self.present.all())
        self.x = values if self.is_whole else values[self.present]
        self.by_value = np.argsort(self.x)
        self._sorted = self.x[self.by_value]

    def __len__(self) -> int:
        return len(self.x)

    def of(self, codes: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """What is known of all rows, the last axis, of those with a value."""
        return codes if self.is_whole else np.ascontiguousarray(codes[..., self.present])

    @property
    def varies(self) -> bool:
        """Whether two values differ."""
        return len(self) > 0 and bool(self._sorted[0] != self._sorted[-1])

    @cached_property
    def median(self) -> float:
        """Of the values."""
        n = len(self)
        return float((self._sorted[(n - 1) // 2] + self._sorted[n // 2]) / 2.0 if n % 2 == 0 else self._sorted[n // 2])

    def quantiles(self, shares: Sequence[float], turned: Callable[[Floats], Floats]) -> Floats:
        """`numpy.quantile` of the values `turned`, which keeps their order, shape (shares,)."""
        places = Places(len(self), shares)
        return places.between(turned(self._sorted[places.low]), turned(self._sorted[places.high]))

    @cached_property
    def robust_scale(self) -> float:
        """`grouped.robust_scale` of the values."""
        from anomaly_detection.features.compiled.groups import distances_at

        n = len(self)
        if n == 0:
            return 0.0
        centre, place = np.array([self.median]), np.array([(n - 1) // 2])
        low, high = distances_at(self._sorted, np.array([0, n]), centre, place)
        spread = MAD_TO_SIGMA * float(_middle(low, high, np.array([n]))[0])
        return spread if spread > 0.0 else robust_scale(self.x)

    @cached_property
    def ranks(self) -> Floats:
        """The mean rank of each value among its equals, from 1, as `scipy.stats.rankdata` has it."""
        new = np.append(True, self._sorted[1:] != self._sorted[:-1])
        place, first = np.cumsum(new), np.append(np.flatnonzero(new), len(self))
        found = np.empty(len(self))
        found[self.by_value] = 0.5 * (first[place] + first[place - 1] + 1)
        return found

    @cached_property
    def _spread(self) -> tuple[float, float]:
        """Sum of the squares of what ranks are off their mean, and so many times its square as there are ranks."""
        ranks = self.ranks
        return float(((ranks - ranks.mean()) ** 2).sum()), float(len(ranks) * ranks.mean() ** 2)

    @cached_property
    def _ranks(self) -> Floats:
        """The `ranks` by row, NaN where there is no value."""
        if self.is_whole:
            return self.ranks
        found = np.full(len(self.present), np.nan)
        found[self.present] = self.ranks
        return found

    def explained_shares(self, columns: CodedColumns, wanted: Bools) -> Floats:
        """`grouped.explained_share` of the ranks by each column, shape (columns,); 0 of those that are not wanted."""
        from anomaly_detection.features.compiled.groups import explained_shares

        return np.asarray(explained_shares(self._ranks, columns.codes, columns.sizes, wanted, *self._spread))

    def pair_shares(self, columns: CodedColumns, first: int, wanted: Bools, most: float) -> Floats:
        """The same by each column with the `first` one, -1 where more than `most` pairs of levels occur."""
        from anomaly_detection.features.compiled.groups import pair_shares

        codes, sizes = columns.codes, columns.sizes
        return np.asarray(
            pair_shares(self._ranks, codes[first], sizes[first], codes, sizes, wanted, float(most), *self._spread)
        )

    def within(self, codes: npt.NDArray[Any], groups: int) -> Grouped:
        """The values by groups, which are those of all rows."""
        return Grouped(self, self.of(codes), groups)


class Grouped:
    """A number's values by group, see `grouped.Sorted`.

    Attributes
    ----------
    values : ndarray of float64, shape (m,)
        Group by group, ascending in each.
    starts : ndarray of int64, shape (groups + 1,)
    """

    def __init__(self, ordered: Ordered, codes: npt.NDArray[Any], groups: int) -> None:
        from anomaly_detection.features.compiled.groups import by_group

        self._order, self.starts = by_group(ordered.by_value, np.asarray(codes, dtype=np.int64), groups)
        self.values = ordered.x[self._order]
        self.sizes = np.diff(self.starts)

    def by_others(self) -> tuple[Floats, Floats, Codes]:
        """For each of `values` the median of its fellows, their median distance from it, and their number.

        NaN where there are none.
        """
        from anomaly_detection.features.compiled.groups import judged_by_others

        others, away, rest = judged_by_others(self.values, self.starts)
        return others, away, rest

    def by_row(self, found: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """What was found of each of `values`, in the order of the rows that have one."""
        out = np.empty_like(found)
        out[self._order] = found
        return out

    def quantile(self, share: float, turned: Callable[[Floats], Floats] = np.asarray) -> Floats:
        """Of each group, shape (groups,), as `grouped.Sorted` has it, of the values `turned`; 0 of an empty one."""
        starts = self.starts[:-1]
        place = starts + share * np.maximum(self.sizes - 1, 0)
        low = np.minimum(place.astype(np.int64), len(self.values) - 1)
        high = np.minimum(low + (place > low), len(self.values) - 1)
        below, above = turned(self.values[low]), turned(self.values[high])
        return np.where(self.sizes > 0, below + (place - low) * (above - below), 0.0)

    def median(self) -> Floats:
        """Of each group, shape (groups,): the one in the middle, or half the sum of the two; 0 of an empty one."""
        most = max(len(self.values) - 1, 0)
        low, high = (np.minimum(self.starts[:-1] + at, most) for at in ((self.sizes - 1) // 2, self.sizes // 2))
        return np.where(self.sizes > 0, _middle(self.values[np.maximum(low, 0)], self.values[high], self.sizes), 0.0)

    def distances(self, centres: Floats, at: Codes) -> Floats:
        """`compiled.groups.distances_at` of the values."""
        from anomaly_detection.features.compiled.groups import distances_at

        return np.asarray(distances_at(self.values, self.starts, np.ascontiguousarray(centres), at))

    def spread(self, centres: Floats) -> Floats:
        """The robust spread of each group around its centre, shape (groups,), by a quantile as `quantile` has it."""
        place = self.starts[:-1] + 0.5 * np.maximum(self.sizes - 1, 0)
        whole = place.astype(np.int64)
        low, high = self.distances(centres, whole - self.starts[:-1])
        share = place - whole
        return MAD_TO_SIGMA * (low + share * (np.where(share > 0.0, high, low) - low))

    def median_distance(self, centres: Floats) -> Floats:
        """The median distance of each group from its centre, shape (groups,)."""
        low, high = self.distances(centres, (self.sizes - 1) // 2)
        return _middle(low, high, self.sizes)

    def quantile_of_distances(self, centres: Floats, share: float) -> Floats:
        """The quantile of each group's distances from its centre, shape (groups,), as pandas has it."""
        place = share * np.maximum(self.sizes - 1, 0)
        whole = place.astype(np.int64)
        low, high = self.distances(centres, whole)
        return low + (high - low) * (place - whole)


def _middle(low: Floats, high: Floats, sizes: Codes) -> Floats:
    return np.where(sizes % 2 == 0, (low + high) / 2.0, low)
