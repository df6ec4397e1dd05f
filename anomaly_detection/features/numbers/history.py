"""What was usual of a number in each group: `History`, learned by how likely it makes each value by the others.

The likelihood is the logarithm of a Student density with three degrees of freedom, which few wrong values do not sway.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from anomaly_detection.features.numbers.grouped import MAD_TO_SIGMA
from anomaly_detection.features.numbers.ordered import Ordered

__all__ = ["LEAST_ROWS", "History", "learn_history"]

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

LEAST_ROWS = 10
"""Values that there must be."""

_LENT_CENTRES = (0.02, 0.2, 1.0, 4.0)
_LENT_SPREADS = (1.0, 4.0, 16.0, 64.0)
_UNPROVEN = (1.0, 0.3, 0.1, 0.03)
_USUAL = ((0.2, 4.0, 1.0), (0.02, 4.0, 0.1))
"""Rows that are lent to centres and to spreads, and `History.unproven`: of groups that scatter, of those that agree."""
_RESOLUTION = 1e-3
_SAMPLE = 20_000
"""Rows that decide how many are lent, at most."""

_ROWS = 8_192  # at once: what they take stays in the cache


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
    unproven : float
        So many widths are added to the spread of a group, over the number of its values and one: few values that agree
        do not prove that all do, as far as those of other groups did not. 1 in files of before.
    told : ndarray of float64, shape (3, groups + 1), optional
        The median and the quantiles of 5 and 95 % in the number's own units, as a pivot of the records shows them: of
        two values in the middle, half the sum. The last entries are of all values. None in files that lack them.
    of_new : bool
        Whether values of groups never seen are held against all values, as in files of before. They lie farther off
        than those of known groups, by whose deviations they would be judged; how large they are is told elsewhere.
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
    told: Floats | None = None
    of_new: bool = True
    unproven: float = 1.0

    def deviation(self, values: Floats, codes: Codes) -> Floats:
        """Give `asinh` of how many spreads each value lies off its group's centre; `codes` are -1 for new groups."""
        return self._deviation(values, self.count[codes], self.median[codes], self.spread[codes])

    def expected(self) -> tuple[Floats, Floats]:
        """The centre and the spread that values of each group are held against, both (groups + 1,)."""
        return self._centre(self.count, self.median), self._judging(self.count, self.spread)

    def _deviation(self, values: Floats, count: Any, median: Floats, spread: Floats) -> Floats:
        return np.arcsinh((values - self._centre(count, median)) / self._judging(count, spread))

    def _judging(self, count: Any, spread: Floats) -> Floats:
        """The `_spread` that values are judged by: without end where the group is new and that tells nothing."""
        found = self._spread(count, spread)
        return found if self.of_new else np.where(count < 1, np.inf, found)

    def _likelihood(self, values: Floats, count: Any, median: Floats, spread: Floats) -> float:
        """The mean logarithm of the values' density."""
        return float(np.mean(self._densities(values, count, median, spread)))

    def _densities(self, values: Floats, count: Any, median: Floats, spread: Floats) -> Floats:
        """The logarithm of each value's density."""
        scale = self._spread(count, spread)
        z = (values - self._centre(count, median)) / scale
        return np.asarray(-np.log(scale) - 2.0 * np.log1p(z * z / 3.0))

    def _centre(self, count: Any, median: Floats) -> Floats:
        return np.asarray((count * median + self.lent_centre * self.centre) / (count + self.lent_centre))

    def _spread(self, count: Any, spread: Floats) -> Floats:
        own = (count * spread**2 + self.lent_spread * self.within**2) / (count + self.lent_spread)
        unproven = (self.unproven * self.width / (count + 1.0)) ** 2
        found = np.sqrt(own + self.resolution**2 + unproven)
        return np.asarray(np.where(count < 1, self.width, found))


def learn_history(
    values: Floats | Ordered,
    codes: npt.NDArray[Any],
    groups: int,
    *,
    quickly: bool = False,
    off_scale: Callable[[Floats], Floats] = np.asarray,
) -> tuple[History, Floats, float] | None:
    """Learn a `History`; give the deviations of the values by the others of their group, and the mean log density.

    Parameters
    ----------
    values : ndarray of float64, shape (n,), or Ordered
        NaN where missing.
    codes : ndarray of integers, shape (n,)
        Groups from 0 to ``groups - 1``.
    quickly : bool
        Whether to take the usual numbers of rows that are lent, to compare contexts, in place of the likeliest; there
        are the logarithms of the values' densities then, in place of deviations.
    off_scale : callable
        Turns values into the number's own units.

    Returns
    -------
    (History, ndarray of float64 (n,), float), or None where there are too few values.
    """
    ordered = values if isinstance(values, Ordered) else Ordered(values)
    x = ordered.x
    if x.size < LEAST_ROWS:
        return None
    centre = ordered.median
    resolution = max(_RESOLUTION * ordered.robust_scale, 1e-9 * (1.0 + abs(centre)))
    width = max(ordered.robust_scale, resolution)
    grouped = ordered.within(codes, groups)
    x = grouped.values
    others, away, rest = grouped.by_others()
    others = np.where(rest > 0, others, centre)
    own_spread = MAD_TO_SIGMA * np.nan_to_num(away)
    several = rest >= 2
    within = MAD_TO_SIGMA * float(np.median(np.abs(x - others)[several])) if several.any() else width
    count = np.append(grouped.sizes, 0)
    if quickly:
        # To compare contexts, what is usual for new rows need not be known. All are summed up in the same order.
        nothing = np.zeros(0)
        judged = [*map(grouped.by_row, (x, rest, others, own_spread))]
        tried = []
        usual = (count, nothing, nothing, nothing, nothing, centre, width, within)
        for lent_centre, lent_spread, unproven in _USUAL:
            found = History(*usual, lent_centre, lent_spread, resolution, unproven=unproven)
            densities = found._densities(*judged)
            tried.append((found, densities, float(np.mean(densities))))
        return max(tried, key=lambda one: one[2])
    median, spread, low, high = np.zeros((4, groups + 1))
    median[:-1], low[:-1], high[:-1] = (grouped.quantile(share) for share in (0.5, 0.05, 0.95))
    spread[:-1] = grouped.spread(median[:-1])
    some = slice(None, None, -(-len(x) // _SAMPLE))
    part = x[some], rest[some], others[some], own_spread[some]
    best: tuple[float, History] | None = None
    for lent_centre, lent_spread in product(_LENT_CENTRES, _LENT_SPREADS):
        found = History(count, median, spread, low, high, centre, width, within, lent_centre, lent_spread, resolution)
        likely = found._likelihood(*part)
        if best is None or likely > best[0]:
            best = likely, found
    assert best is not None
    for unproven in _UNPROVEN[1:]:
        found = replace(best[1], unproven=unproven)
        likely = found._likelihood(*part)
        if likely > best[0]:
            best = likely, found
    best[1].of_new = groups == 1
    own = np.empty(len(x))
    for start in range(0, len(x), _ROWS):
        rows = slice(start, start + _ROWS)
        own[rows] = best[1]._deviation(x[rows], rest[rows], others[rows], own_spread[rows])
    best[1].told = np.array(
        [np.append(grouped.quantile(share, off_scale), np.quantile(off_scale(x), share)) for share in (0.5, 0.05, 0.95)]
    )
    deviations = np.full(len(ordered.present), np.nan)
    deviations[ordered.present] = grouped.by_row(own)
    return best[1], deviations, best[0]
