"""How far a number lies from what is usual in the group that its row belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd
from joblib import Parallel, delayed

from anomaly_detection.data.levels import Combinations, CombinedLevels, Kept, Levels
from anomaly_detection.data.parsing import name_tokens
from anomaly_detection.data.table import Table, as_table
from anomaly_detection.features.clauses import compared_with
from anomaly_detection.features.compiled.combinations import combination
from anomaly_detection.features.compiled.program import Program, Value
from anomaly_detection.features.group import FeatureSource, Row
from anomaly_detection.features.numeric_group import ComparingGroup
from anomaly_detection.features.numeric_values import Scale, apply_scales, choose_scale
from anomaly_detection.features.pairing import most_related
from anomaly_detection.progress import steps

__all__ = ["GroupDeviation", "explained_share", "robust_scale"]

Floats = npt.NDArray[np.float64]
_SAMPLE = 30_000
_ROWS_A_GROUP = 15  # on average; smaller groups foretell too well and judge too badly
_MAD_TO_SIGMA = 1.4826
_DETERMINED_SHARE = 0.98
_SPREAD_STRENGTH = 6.0  # a robust scale needs that many more rows than a median to be known as well


def robust_scale(values: Floats) -> float:
    """Standard deviation as the median distance from the median tells it; by tails, then plainly, where that is 0."""
    if values.size == 0:
        return 0.0
    distance = np.abs(values - np.median(values))
    spread = _MAD_TO_SIGMA * float(np.median(distance))
    if spread == 0.0:
        spread = float(np.quantile(distance, 0.95)) / 1.96
    return spread if spread > 0.0 else float(values.std())


@dataclass
class _Usual:
    """Centre and spread of a column in each combination of categories; the last entry is for new ones."""

    groups: CombinedLevels
    centre: Floats
    spread: Floats


@dataclass
class _Deviation:
    column: str
    scale: Scale
    group_by: tuple[str, ...]
    usual: _Usual
    parents: list[_Usual]

    @property
    def name(self) -> str:
        return f"{self.column} by {' and '.join(self.group_by)}"


class GroupDeviation(ComparingGroup):
    """Robust deviation of each number from its group, as ``asinh(z)``; 0 is usual.

    For each number that one or two categorical columns foretell (they explain at least `min_explained` of the variance
    of its ranks) the groups are those columns' combinations. The centre is the group's median, the spread the group's
    robust one, on the log scale where the number is lopsided. The centre shrinks towards that of the parent group
    (without the second column, then of all rows), the more so the less the groups differ; the spread towards what is
    common within groups, as if that lent `strength` rows. So a group of one does not explode, and an unseen group gets
    its parent's. Of more than `MOST_PARTNERS` categories only those that have most to do with the others are tried.

    Parameters
    ----------
    numbers, categories : sequence of str
        Columns to judge and to group by.
    min_explained : float, default 0.1
        Least share of variance, 0 to 1, adjusted for the number of groups.
    min_gain : float, default 0.15
        Least share, 0 to 1, of the variance left over that a second column has to explain.
    strength : float, default 5.0
        Rows that are lent, at most.
    n_jobs : int, optional
        Threads over columns.
    """

    logarithmic: ClassVar[bool] = True
    weighed: ClassVar[bool] = False
    units: ClassVar[tuple[float, float]] = (0.5, 0.5)
    learned: ClassVar[str] = "deviations_"

    def __init__(
        self,
        numbers: Sequence[str] = (),
        categories: Sequence[str] = (),
        min_explained: float = 0.1,
        min_gain: float = 0.15,
        strength: float = 5.0,
        n_jobs: int | None = None,
    ) -> None:
        self.numbers = numbers
        self.categories = categories
        self.min_explained = min_explained
        self.min_gain = min_gain
        self.strength = strength
        self.n_jobs = n_jobs

    def fit(self, X: Any, y: object = None) -> GroupDeviation:
        """Choose each number's groups and learn what is usual in them."""
        X = self._seen(X)
        sample = X.take(slice(None, None, -(-len(X) // _SAMPLE)))
        coded = {}
        for name in self.categories:
            levels = Levels(sample[name])
            if 1 < len(levels) <= len(sample) / _ROWS_A_GROUP and levels.counts.max() < 0.98 * len(sample):
                coded[name] = (levels.codes(sample[name]), len(levels))
        coded = {name: coded[name] for name in most_related(coded)}
        found = Parallel(n_jobs=self.n_jobs, prefer="threads")(
            delayed(self._fit_column)(X, sample, name, coded)
            for name in steps(self.numbers, "comparing numbers within groups")
        )
        self.deviations_: list[_Deviation] = [deviation for deviation in found if deviation is not None]
        return self

    def _fit_column(
        self, X: Table, sample: Table, name: str, coded: dict[str, tuple[npt.NDArray[np.int64], int]]
    ) -> _Deviation | None:
        group_by = self._best_groups(sample.numbers(name), coded)
        if not group_by:
            return None
        values = X.numbers(name)
        scale = choose_scale(values)
        scaled = scale.apply(values)
        present = ~np.isnan(scaled)
        chain: list[_Usual] = []
        for depth in range(len(group_by) + 1):
            groups = CombinedLevels(X, group_by[:depth])
            above = chain[-1].groups.codes(X)[present] if chain else None
            chain.append(self._usual(groups, groups.codes(X)[present], scaled[present], chain, above))
        return _Deviation(name, scale, group_by, chain[-1], chain[:-1])

    def _best_groups(self, values: Floats, coded: dict[str, tuple[npt.NDArray[np.int64], int]]) -> tuple[str, ...]:
        ranks: Floats = np.asarray(pd.Series(values).rank(), dtype=np.float64)
        present = ~np.isnan(ranks)
        if present.sum() < 10 or np.ptp(ranks[present]) == 0:
            return ()
        ranks = ranks[present]
        single = {name: explained_share(ranks, codes[present], size) for name, (codes, size) in coded.items()}
        if not single:
            return ()
        first = max(single, key=lambda name: single[name])
        if single[first] < self.min_explained:
            return ()
        codes, _ = coded[first]
        double = {}
        for name, (others, other_size) in coded.items():
            if name != first:
                both = (codes * other_size + others)[present]
                used, both = np.unique(both, return_inverse=True)
                if len(used) <= len(ranks) / _ROWS_A_GROUP:
                    double[name] = explained_share(ranks, both, len(used))
        if double:
            second = max(double, key=lambda name: double[name])
            gain = double[second] - single[first]
            if gain >= 0.005 and gain >= self.min_gain * (1.0 - single[first]):
                return (first, second)
        return (first,)

    def _usual(
        self,
        groups: CombinedLevels,
        codes: npt.NDArray[np.int64],
        values: Floats,
        chain: list[_Usual],
        above: npt.NDArray[np.int64] | None,
    ) -> _Usual:
        size = len(groups)
        if above is None:
            middle = float(np.median(values))
            width = max(robust_scale(values), 1e-9 * (1.0 + abs(middle)))
            return _Usual(groups, np.full(2, middle), np.full(2, width))
        parent = chain[-1]
        n = np.bincount(codes, minlength=size).astype(np.float64)
        own: Any = pd.Series(values).groupby(codes).median()
        centre = np.zeros(size)
        centre[own.index] = own.to_numpy()
        distance: Any = pd.Series(np.abs(values - centre[codes])).groupby(codes)
        spread = np.zeros(size)
        # Half of a small or rounded group may agree exactly: its 90 % quantile then still tells how far values stray.
        own_spread: Any = np.maximum(_MAD_TO_SIGMA * distance.median(), distance.quantile(0.9) / 3.0)
        spread[own_spread.index] = own_spread.to_numpy()
        parent_codes = np.zeros(size, dtype=np.int64)
        parent_codes[codes] = above
        parent_centre = parent.centre[parent_codes]
        within = robust_scale(values - centre[codes])
        between = float(np.sqrt(np.mean((centre - parent_centre)[codes] ** 2)))
        if np.mean(values == centre[codes]) >= _DETERMINED_SHARE:
            # The groups determine the number, so that a small one is not drawn towards values it cannot have.
            between = np.inf
        # The best linear shrinkage lends as many rows as the variance within is of that between groups.
        # Within bounds of which there are squares.
        lent = min(min(within / between, 1e9) ** 2, self.strength) if between > 0 else self.strength
        shrunk_centre = (n * centre + lent * parent_centre) / (n + lent)
        lent = _SPREAD_STRENGTH * self.strength
        shrunk_spread = np.sqrt((n * spread**2 + lent * within**2) / (n + lent))
        floor = 0.1 * chain[0].spread[0]
        return _Usual(groups, np.append(shrunk_centre, 0.0), np.append(np.maximum(shrunk_spread, floor), 1.0))

    def features_of(self, X: Table) -> npt.NDArray[np.float32]:
        """The deviations, shape (n, features); NaN where the number is missing."""
        learned = _learned(self)
        centre, spread = learned.expected(X)
        scaled = apply_scales(learned.scales, X.matrix(learned.columns))
        return np.arcsinh((scaled - centre) / spread).astype(np.float32)

    def emit(self, program: Program, columns: Sequence[str]) -> list[Value] | None:
        """`FeatureGroup.emit`."""
        found = []
        for one in self.deviations_:
            centre, spread = _expected(program, [*one.parents, one.usual])
            found.append(((one.scale.of(program.number(one.column)) - centre) / spread).arcsinh())
        return found

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """Return ``<number> by <categories>`` for each feature."""
        return np.asarray([deviation.name for deviation in self.deviations_], dtype=object)

    def in_units(self, X: Any) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Return the numbers and what their group usually has, in the numbers' own units; both (n, features)."""
        X, learned = as_table(X), _learned(self)
        values, (usual, _) = X.matrix(learned.columns), learned.expected(X)
        for i, scale in enumerate(learned.scales):
            usual[:, i] = scale.invert(usual[:, i])
        return values, usual

    def ranges_in_units(self, X: Any, bounds: Floats) -> Floats:
        """Turn `bounds` of the features, shape (2, features), into each row's own units, shape (2, n, features)."""
        learned = _learned(self)
        centre, spread = learned.expected(as_table(X))
        ends = np.empty((2, *centre.shape))
        for i, scale in enumerate(learned.scales):
            ends[..., i] = scale.invert(centre[:, i] + np.sinh(bounds[:, i, None]) * spread[:, i])
        return ends

    @classmethod
    def what_is_usual(cls, source: FeatureSource, row: Row) -> str:
        """`NumericGroup.what_is_usual`, but "what SupplierB by Air takes" of a lead time."""
        named, joined = compared_with(source, row, joined=True)
        tokens = name_tokens(source.columns[0])
        takes_time = {"lead", "time"} <= tokens or tokens & {"duration", "transit"}
        if takes_time and named:
            return f"what {' '.join([', '.join(named), *joined])} takes"
        return super().what_is_usual(source, row)


def _expected(program: Program, chain: Sequence[_Usual]) -> tuple[Value, Value]:
    """Centre and spread of the smallest group that is known, as a program has them."""
    found = (program.as_value(float(chain[0].centre[0])), program.as_value(float(chain[0].spread[0])))
    for one in chain[1:]:
        place = combination(program, one.groups)
        known = place >= 0.0
        centre, spread = (
            known.where(place.look_up(own), above) for own, above in zip((one.centre, one.spread), found, strict=True)
        )
        found = centre, spread
    return found


class _Learned:
    """What was learned of all deviations, in arrays; where a group is new, what is usual is that of the one above."""

    def __init__(self, deviations: GroupDeviation) -> None:
        found = deviations.deviations_
        self.columns, self.scales = [one.column for one in found], [one.scale for one in found]
        chains = [[*one.parents, one.usual] for one in found]
        # Of a shorter chain the group of all rows comes several times.
        depth = max(map(len, chains), default=0)
        self._levels = [
            _Usuals([(chain[:1] * (depth - len(chain)) + chain)[i] for chain in chains]) for i in range(depth)
        ]

    def expected(self, X: Table) -> tuple[Floats, Floats]:
        """Centre and spread for each row, both (n, features)."""
        centre, spread = np.zeros((len(X), len(self.columns))), np.ones((len(X), len(self.columns)))
        for level in self._levels:
            level.add(X, centre, spread)
        return centre, spread


class _Usuals:
    """What is usual at one depth of several chains of groups."""

    def __init__(self, usuals: Sequence[_Usual]) -> None:
        different = list({one.groups.columns: one.groups for one in usuals}.values())
        self._place = [[one.columns for one in different].index(one.groups.columns) for one in usuals]
        self._combinations = Combinations(different)
        self._start = np.cumsum([0, *(len(one.centre) for one in usuals)])[:-1]
        self._centre = np.concatenate([one.centre for one in usuals])
        self._spread = np.concatenate([one.spread for one in usuals])

    def add(self, X: Table, centre: Floats, spread: Floats) -> None:
        """Put in what is usual where a row's group is known."""
        codes = self._combinations.codes(X)[:, self._place]
        known = codes >= 0
        place = (codes + self._start)[known]
        centre[known], spread[known] = self._centre[place], self._spread[place]


_learned: Kept[GroupDeviation, _Learned] = Kept(_Learned)


def explained_share(ranks: Floats, codes: npt.NDArray[np.int64], size: int) -> float:
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
