"""How far a number lies from what is usual in the group that its row belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from anomaly_detection.data.columns.levels import Combinations, CombinedLevels, Kept, Levels, grouped_by
from anomaly_detection.data.columns.parsing import name_tokens
from anomaly_detection.data.columns.table import Table, as_table
from anomaly_detection.features.categories.pairing import most_related
from anomaly_detection.features.clauses import compared_with, series
from anomaly_detection.features.compiled.combinations import combination
from anomaly_detection.features.compiled.program import Program, Value
from anomaly_detection.features.group import FEW, Facts, FeatureSource, Row, side_by_side
from anomaly_detection.features.numbers.grouped import MAD_TO_SIGMA, robust_scale
from anomaly_detection.features.numbers.numeric_group import ComparingGroup
from anomaly_detection.features.numbers.numeric_values import Scale, apply_scales, choose_scale
from anomaly_detection.features.numbers.ordered import CodedColumns, Grouped, Ordered
from anomaly_detection.progress import steps
from anomaly_detection.texts.said import say

__all__ = ["GroupDeviation"]

Floats = npt.NDArray[np.float64]
_SAMPLE = 30_000
_ROUNDING = 1e-9
_FEW = 20_000  # rows: below, threads cost more than they save
_ROWS_A_GROUP = 15  # on average; smaller groups foretell too well and judge too badly
_DETERMINED_SHARE = 0.98
_SPREAD_STRENGTH = 6.0  # a robust scale needs that many more rows than a median to be known as well


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
    told: Floats | None = None
    """How many values each group has, their median and quantiles of 5 and 95 %, in the number's own units; shape (4,
    groups). None in files that lack them."""

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
        self._learn(X)
        return self

    def fit_transform(self, X: Any, y: object = None, **params: Any) -> npt.NDArray[np.float32]:
        """Fit, and give the deviations of the training rows, whose groups are all known."""
        return side_by_side(self._learn(X), len(as_table(X)))

    def _learn(self, X: Any) -> list[npt.NDArray[np.float32]]:
        """Fit, and give the training rows' deviations, shape (n,)."""
        X = self._seen(X)
        sample = X.take(slice(None, None, -(-len(X) // _SAMPLE)))
        coded = {}
        for name in self.categories:
            levels = Levels(sample[name])
            if 1 < len(levels) <= len(sample) / _ROWS_A_GROUP and levels.counts.max() < 0.98 * len(sample):
                coded[name] = (levels.codes(sample[name]), len(levels))
        columns = CodedColumns({name: coded[name] for name in most_related(coded)})
        from joblib import Parallel, delayed

        found = Parallel(n_jobs=self.n_jobs if len(X) >= _FEW else 1, prefer="threads")(
            delayed(self._fit_column)(X, sample, name, columns)
            for name in steps(self.numbers, "comparing numbers within groups")
        )
        known = [one for one in found if one is not None]
        self.deviations_: list[_Deviation] = [deviation for deviation, _ in known]
        return [values for _, values in known]

    def _fit_column(
        self, X: Table, sample: Table, name: str, columns: CodedColumns
    ) -> tuple[_Deviation, npt.NDArray[np.float32]] | None:
        group_by = self._best_groups(Ordered(sample.numbers(name)), columns)
        if not group_by:
            return None
        scale = choose_scale(X.numbers(name))
        scaled = scale.apply(X.numbers(name))
        values = Ordered(scaled)
        chain = [self._of_all(grouped_by(X, ()).levels, values)]
        above = np.zeros(len(values), dtype=np.int64)
        for depth in range(1, len(group_by) + 1):
            groups = grouped_by(X, group_by[:depth])
            codes = values.of(groups.codes)
            chain.append(self._usual(groups.levels, codes, values, chain, above))
            above = codes
        usual = chain[-1]
        own = np.arcsinh((scaled - usual.centre[groups.codes]) / usual.spread[groups.codes])
        grouped = Grouped(values, codes, len(groups.levels))
        told = np.stack([grouped.sizes, *(grouped.quantile(share, scale.invert) for share in (0.5, 0.05, 0.95))])
        return _Deviation(name, scale, group_by, usual, chain[:-1], told), own.astype(np.float32)

    def _best_groups(self, values: Ordered, columns: CodedColumns) -> tuple[str, ...]:
        if len(values) < 10 or not values.varies or not columns.names:
            return ()
        every = np.ones(len(columns.names), dtype=bool)
        single = values.explained_shares(columns, every)
        first = int(np.argmax(single))
        if single[first] < self.min_explained:
            return ()
        every[first] = False
        double = values.pair_shares(columns, first, every, len(values) / _ROWS_A_GROUP)
        second = int(np.argmax(double))
        gain = double[second] - single[first]
        if gain >= 0.005 and gain >= self.min_gain * (1.0 - single[first]):
            return (columns.names[first], columns.names[second])
        return (columns.names[first],)

    @staticmethod
    def _of_all(groups: CombinedLevels, values: Ordered) -> _Usual:
        width = max(values.robust_scale, 1e-9 * (1.0 + abs(values.median)))
        return _Usual(groups, np.full(2, values.median), np.full(2, width))

    def _usual(
        self,
        groups: CombinedLevels,
        codes: npt.NDArray[np.int64],
        ordered: Ordered,
        chain: list[_Usual],
        above: npt.NDArray[np.int64],
    ) -> _Usual:
        size, parent, values = len(groups), chain[-1], ordered.x
        grouped = Grouped(ordered, codes, size)
        n = grouped.sizes.astype(np.float64)
        centre = grouped.median()
        # Half of a small or rounded group may agree exactly: its 90 % quantile then still tells how far values stray.
        spread = np.maximum(
            MAD_TO_SIGMA * grouped.median_distance(centre), grouped.quantile_of_distances(centre, 0.9) / 3.0
        )
        parent_codes = np.zeros(size, dtype=np.int64)
        parent_codes[codes] = above
        parent_centre = parent.centre[parent_codes]
        away = values - centre[codes]
        within = robust_scale(away)
        between = float(np.sqrt(np.mean((centre - parent_centre)[codes] ** 2)))
        if np.mean(away == 0.0) >= _DETERMINED_SHARE:
            # The groups determine the number, so that a small one is not drawn towards values it cannot have.
            between = np.inf
        # The best linear shrinkage lends as many rows as the variance within is of that between groups.
        # Within bounds of which there are squares.
        lent = min(min(within / between, 1e9) ** 2, self.strength) if between > 0 else self.strength
        # A group that has no values, where others determine theirs, is as its parent.
        loan = np.where(n > 0, lent, 1.0)
        shrunk_centre = (n * centre + loan * parent_centre) / (n + loan)
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

    def facts(self, X: Table, feature: int, row: int = 0) -> Facts | None:
        """`FeatureGroup.facts`: of the row's group."""
        one = self.deviations_[feature]
        code = int(X.made((self, "groups", feature), lambda: one.usual.groups.codes(X))[row])
        return None if one.told is None or code < 0 else Facts(int(one.told[0, code]), *one.told[1:, code].tolist())

    def is_fact(self, X: Table, feature: int, row: int = 0) -> bool:
        """`FeatureGroup.is_fact`: of its group's own history hardly any is as large or small."""
        facts, value = self.facts(X, feature, row), float(X.numbers(self.deviations_[feature].column)[row])
        if facts is None or facts.values < FEW:
            return False
        # What a logarithm has left of a value at the end of the range does not lie beyond it.
        return not facts.low - _ROUNDING * abs(facts.low) <= value <= facts.high + _ROUNDING * abs(facts.high)

    @classmethod
    def what_is_usual(cls, source: FeatureSource, row: Row) -> str:
        """`NumericGroup.what_is_usual`, but "what SupplierB by Air takes" of a lead time."""
        named, joined = compared_with(source, row, joined=True)
        tokens = name_tokens(source.columns[0])
        takes_time = {"lead", "time"} <= tokens or tokens & {"duration", "transit"}
        if takes_time and named:
            who = series(named)
            for word in joined:
                who = say("%(among)s %(word)s", among=who, word=word)
            return say("what %(who)s takes", who=who)
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
