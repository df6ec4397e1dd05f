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
from anomaly_detection.features.numbers.quantiles import median as middle

__all__ = ["LEAST_ROWS", "UNSURE", "History", "learn_history", "likelihood"]

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.int64]

LEAST_ROWS = 10
"""Values that there must be."""

UNSURE = 1e-9
"""Nats: what is so much less likely is less likely, however it is added up."""

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
        scale = self._spread(count, spread)
        z = (values - self._centre(count, median)) / scale
        return float(np.mean(-np.log(scale) - 2.0 * np.log1p(z * z / 3.0)))

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
    off_scale: Callable[[Floats], Floats] = np.asarray,
) -> tuple[History, Floats] | None:
    """Learn a `History`; give the deviations of the values by the others of their group.

    Parameters
    ----------
    values : ndarray of float64, shape (n,), or Ordered
        NaN where missing.
    codes : ndarray of integers, shape (n,)
        Groups from 0 to ``groups - 1``.
    off_scale : callable
        Turns values into the number's own units.

    Returns
    -------
    (History, ndarray of float64 (n,)), or None where there are too few values.
    """
    from anomaly_detection.features.compiled.likelihoods import lent_likelihoods

    ordered = values if isinstance(values, Ordered) else Ordered(values)
    x = ordered.x
    if x.size < LEAST_ROWS:
        return None
    centre, width, resolution = _of_all(ordered)
    grouped = ordered.within(codes, groups)
    x = grouped.values
    others, away, rest = grouped.by_others()
    others = np.where(rest > 0, others, centre)
    own_spread = MAD_TO_SIGMA * np.nan_to_num(away)
    several = rest >= 2
    within = MAD_TO_SIGMA * middle(np.abs(x - others)[several]) if several.any() else width
    count = np.append(grouped.sizes, 0)
    median, spread, low, high = np.zeros((4, groups + 1))
    median[:-1], low[:-1], high[:-1] = (grouped.quantile(share) for share in (0.5, 0.05, 0.95))
    spread[:-1] = grouped.spread(median[:-1])
    some = slice(None, None, -(-len(x) // _SAMPLE))
    part = x[some], rest[some], others[some], own_spread[some]
    usual = np.array(_LENT_CENTRES), np.array(_LENT_SPREADS)
    nearly = lent_likelihoods(*part, centre, width, within, resolution, *usual).ravel()
    likeliest = [
        History(count, median, spread, low, high, centre, width, within, *lent, resolution)
        for lent, likely in zip(product(_LENT_CENTRES, _LENT_SPREADS), nearly.tolist(), strict=True)
        if not likely < nearly.max() - UNSURE
    ]
    found = likeliest[0] if len(likeliest) == 1 else max(likeliest, key=lambda one: one._likelihood(*part))
    tried = [replace(found, unproven=unproven) for unproven in _UNPROVEN]
    found = max(tried, key=lambda one: one._likelihood(*part))
    found.of_new = groups == 1
    own = np.empty(len(x))
    for start in range(0, len(x), _ROWS):
        rows = slice(start, start + _ROWS)
        own[rows] = found._deviation(x[rows], rest[rows], others[rows], own_spread[rows])
    shares = (0.5, 0.05, 0.95)
    of_all = ordered.quantiles(shares, off_scale).tolist()
    found.told = np.array(
        [np.append(grouped.quantile(share, off_scale), one) for share, one in zip(shares, of_all, strict=True)]
    )
    deviations = np.full(len(ordered.present), np.nan)
    deviations[ordered.present] = grouped.by_row(own)
    return found, deviations


def likelihood(values: Ordered, codes: npt.NDArray[Any], groups: int, some: Bools | None = None) -> float:
    """How likely groups make values by the usual numbers of rows that are lent, to compare contexts by.

    Of `some` of the values that are there their part of the mean of all.
    """
    from anomaly_detection.features.compiled.likelihoods import grouped_likelihood

    if len(values) < LEAST_ROWS:
        return -np.inf
    own = values.of(codes)
    wanted = np.ones(len(values), dtype=bool) if some is None else some
    given = (values.x, values.by_value, own, groups, *_of_all(values), MAD_TO_SIGMA)
    return max(float(grouped_likelihood(*given, *usual, wanted)) for usual in _USUAL) / len(values)


def _of_all(values: Ordered) -> tuple[float, float, float]:
    """Median, robust spread and resolution of all values."""
    resolution = max(_RESOLUTION * values.robust_scale, 1e-9 * (1.0 + abs(values.median)))
    return values.median, max(values.robust_scale, resolution), resolution
