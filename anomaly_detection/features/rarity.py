"""How rare a category is, and how odd two categories are together."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, log
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from anomaly_detection.data.levels import CombinedLevels, Kept, Levels, LevelValues, vocabulary
from anomaly_detection.data.table import Table, as_table
from anomaly_detection.features.clauses import number, short
from anomaly_detection.features.compiled.combinations import pair_counts
from anomaly_detection.features.compiled.program import Program, Value
from anomaly_detection.features.derived import CalendarPart, MissingPattern, MissingState
from anomaly_detection.features.group import FeatureGroup, FeatureSource, Range, Row
from anomaly_detection.features.level_pairs import LevelPairs, PairCounter, PairCounts, shown
from anomaly_detection.features.pairing import most_related
from anomaly_detection.progress import steps

__all__ = [
    "CalendarRarity",
    "CategoryRarity",
    "LevelRarity",
    "MissingLevels",
    "MissingRarity",
    "PairRarity",
    "ValueRarity",
    "determined",
]

_RARE_SHARE = 0.02
_COMMON_SHARE = 0.05
_SAMPLE = 50_000
_RARE, _SELDOM = 0.01, 0.05
_FAR_BELOW_ITS_SHARE = log(20.0)  # in nats
_MOST_OF_A_LEVEL = 4.0  # nats
_OPEN = 0.125  # of the levels occurred once: with more, new ones are to be expected


class CategoryRarity(FeatureGroup):
    """Surprisal of each category: ``-log`` of the share of training rows whose category is as rare or rarer.

    Where a column has many rare levels, that of one of them is small. An unseen level counts as half a row. Where
    all levels of a column are common, or a finer column all but determines them (a product its product group), so that
    the two would say the same, each known level has surprisal 0 and only an unseen one has more.

    Parameters
    ----------
    keep_all : bool, default False
        Give a feature for every column, and every level its surprisal.
    """

    weighed: ClassVar[bool] = False
    # Shares in nats need a floor: a surprisal of 3.4, one in thirty, is some two deviations, however equal others are.
    units: ClassVar[tuple[float, float]] = (1.25, 1.0)

    def __init__(self, keep_all: bool = False) -> None:
        self.keep_all = keep_all

    def fit(self, X: Any, y: object = None) -> CategoryRarity:
        """Count the levels."""
        X = self._seen(X)
        self.n_rows_ = len(X)
        levels = {name: Levels(X[name]) for name in X}
        self.levels_ = {name: found for name, found in levels.items() if self.keep_all or len(found) > 1}
        told = [] if self.keep_all else determined(X, self.levels_)
        self.surprise_ = {name: self._surprisal(found.counts, name in told) for name, found in self.levels_.items()}
        return self

    def _surprisal(self, counts: npt.NDArray[np.int64], told: bool) -> npt.NDArray[np.float64]:
        if told or (not self.keep_all and counts.min() > _RARE_SHARE * self.n_rows_):
            return np.append(np.zeros(len(counts)), -np.log(0.5 / (self.n_rows_ + 0.5)))
        _, place = np.unique(counts, return_inverse=True)
        as_rare = np.cumsum(np.bincount(place, weights=counts))[place]
        return -np.log(np.append(as_rare, 0.5) / (self.n_rows_ + 0.5))

    def fit_transform(self, X: Any, y: object = None, **params: Any) -> npt.NDArray[np.float32]:
        """Fit, and give each training row's surprisals as if it had not been one: what occurs once is new then."""
        X = as_table(X)
        out = self.fit(X).features_of(X)
        for i, (name, levels) in enumerate(self.levels_.items()):
            once = levels.counts[levels.codes(X[name])] == 1
            if once.any():
                out[once, i] = self._alone(name)
        return out

    def _alone(self, name: str) -> float:
        """The surprisal of a training row whose level no other has, by the others."""
        return float(self.surprise_[name][-1])

    def features_of(self, X: Table) -> npt.NDArray[np.float32]:
        """The surprisals in nats, shape (n, features)."""
        return _surprisals(self).of(X).astype(np.float32)

    def emit(self, program: Program, columns: Sequence[str]) -> list[Value] | None:
        """`FeatureGroup.emit`, of levels; `with_others` does what depends on the rows that come together."""
        return [
            program.of_level(name, vocabulary(levels), self.surprise_[name]) for name, levels in self.levels_.items()
        ]

    def with_others(self, X: Table, found: npt.NDArray[np.float32]) -> None:
        """Change the surprisals of levels, shape (n, features), by what other rows have."""

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """Return ``<column> rarity`` for each feature."""
        return np.asarray([f"{name} rarity" for name in self.levels_], dtype=object)

    @property
    def feature_columns_(self) -> list[tuple[str, ...]]:
        """Source columns of each feature."""
        return [(name,) for name in self.levels_]

    def in_units(self, X: Any) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Return the levels, and in how many of the training rows each occurred; both (n, features)."""
        X = as_table(X)
        values = np.empty((len(X), len(self.levels_)), dtype=object)
        counts = np.empty(values.shape)
        for i, name in enumerate(self.levels_):
            values[:, i] = X.objects(name)
            counts[:, i] = np.append(self.levels_[name].counts, 0)[self.levels_[name].codes(X[name])]
        return values, counts

    @classmethod
    def is_ordinary(cls, feature: float, value: Any, usual: Any) -> bool:
        """`FeatureGroup.is_ordinary`: a known level, where those as rare are in one record of twenty or more."""
        return bool(usual > 0 and feature < _FAR_BELOW_ITS_SHARE)

    @classmethod
    def phrase(cls, source: FeatureSource, value: Any, usual: Any, row: Row, rows: int, between: Range | None) -> str:
        """`FeatureGroup.phrase`: how many records have the category."""
        return f"{source.columns[0]} {shown(value)} {_seen(usual, rows)}"


_surprisals: Kept[CategoryRarity, LevelValues] = Kept(
    lambda rarity: LevelValues([*rarity.levels_.items()], [*rarity.surprise_.values()])
)


class LevelRarity(CategoryRarity):
    """`CategoryRarity` as evidence: a new level is as rare as new ones were in training (Good, 1953).

    Rarity alone is worth 4 nats at most, and so is a new level where new ones are no surprise: a first order of a new
    customer is news, and no error. Of a closed set of levels, of which hardly any occurred once, a new one is worth all
    that it is, or less by the fourth root of the rows that bring it together: a new supplier comes with many orders, a
    slip alone.

    Parameters
    ----------
    keep_all : bool, default False
        As of `CategoryRarity`.
    unclosed : sequence of str
        Columns that are never closed: parts of a date, whose names nobody misspells.
    """

    nats: ClassVar[bool] = True
    weighed: ClassVar[bool] = True
    counted: ClassVar[bool] = True
    closes: ClassVar[bool] = True

    def __init__(self, keep_all: bool = False, unclosed: Sequence[str] = ()) -> None:
        super().__init__(keep_all)
        self.unclosed = unclosed

    def _surprisal(self, counts: npt.NDArray[np.int64], told: bool) -> npt.NDArray[np.float64]:
        known = super()._surprisal(counts, told)[:-1]
        return np.minimum(np.append(known, self._new(int(np.count_nonzero(counts == 1)))), _MOST_OF_A_LEVEL)

    def fit(self, X: Any, y: object = None) -> LevelRarity:
        """Count the levels, and find out which columns are closed."""
        super().fit(X)
        for name in self.levels_:
            self.surprise_[name][-1] = self._of_new(name)
        return self

    def _new(self, once: int) -> float:
        return float(-np.log((once + 0.5) / (self.n_rows_ + 1.0)))

    def _of_new(self, name: str, own: int = 0) -> float:
        """The evidence of a level that is new to all rows, or to all but the `own` one that has it alone."""
        counts = self.levels_[name].counts
        once, size = int(np.count_nonzero(counts == 1)) - own, len(counts) - own
        closed = self.closes and once + 0.5 <= _OPEN * (size + 2.0) and name not in self.unclosed
        return self._new(once) if closed else min(self._new(once), _MOST_OF_A_LEVEL)

    def _alone(self, name: str) -> float:
        return self._of_new(name, 1)

    def features_of(self, X: Table) -> npt.NDArray[np.float32]:
        """The surprisals in nats, shape (n, features)."""
        out = super().features_of(X)
        self.with_others(X, out)
        return out

    def with_others(self, X: Table, found: npt.NDArray[np.float32]) -> None:
        """`CategoryRarity.with_others`: a level that several rows bring is worth less."""
        if len(X) == 1:
            return
        for i, (name, levels) in enumerate(self.levels_.items()):
            new = np.flatnonzero(levels.codes(X[name]) < 0)
            _, place, together = np.unique(X[name].codes[new], return_inverse=True, return_counts=True)
            found[new, i] /= together[place] ** 0.25

    def in_units(self, X: Any, rows: npt.NDArray[np.int64] | None = None) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """`CategoryRarity.in_units`, of the `rows` at these positions."""
        return super().in_units(as_table(X) if rows is None else as_table(X).take(rows))

    @classmethod
    def phrase(cls, source: FeatureSource, value: Any, usual: Any, row: Row, rows: int, between: Range | None) -> str:
        """`CategoryRarity.phrase`, or that of the part of a date."""
        kind = CalendarRarity if source.parts(CalendarPart) else CategoryRarity
        return kind.phrase(source, value, usual, row, rows, between)


class ValueRarity(LevelRarity):
    """`LevelRarity` of numbers that take few values: a new one of a closed set, a month 20 or a flag of 1,000."""

    def _surprisal(self, counts: npt.NDArray[np.int64], told: bool) -> npt.NDArray[np.float64]:
        # How rare a known value is, groups that judge numbers tell better.
        return np.append(np.zeros(len(counts)), super()._surprisal(counts, told)[-1])

    def features_of(self, X: Table) -> npt.NDArray[np.float32]:
        """The surprisals in nats, shape (n, features); 0 where the number is missing."""
        out = super().features_of(X)
        for i, name in enumerate(self.levels_):
            out[X[name].codes < 0, i] = 0.0
        return out

    def emit(self, program: Program, columns: Sequence[str]) -> list[Value] | None:
        """`FeatureGroup.emit`."""
        return [
            program.level(name, lambda column: column.isna().astype(np.float64)).where(
                0.0, program.of_level(name, vocabulary(levels), self.surprise_[name])
            )
            for name, levels in self.levels_.items()
        ]


class CalendarRarity(CategoryRarity):
    """`CategoryRarity` of parts of a date."""

    units: ClassVar[tuple[float, float]] = (1.25, inf)

    @classmethod
    def phrase(cls, source: FeatureSource, value: Any, usual: Any, row: Row, rows: int, between: Range | None) -> str:
        """`FeatureGroup.phrase`: on what day or at what hour the date falls."""
        part = shown(value)
        on = "on a" if part.endswith("day") else "at"
        return f"{source.columns[0]} falls {on} {part}, which {_seen(usual, rows)}"


class MissingRarity(CategoryRarity):
    """`CategoryRarity` of which values are missing together, as `derived.MissingPattern` names it."""

    @classmethod
    def is_ordinary(cls, feature: float, value: Any, usual: Any) -> bool:
        """`FeatureGroup.is_ordinary`: how many records have as much missing is said as it is."""
        return False

    @classmethod
    def direction(cls, value: Any, usual: Any) -> str:
        """``missing``, or ``rare`` where every value is there."""
        return "missing" if value != "none" else "rare"

    @classmethod
    def phrase(cls, source: FeatureSource, value: Any, usual: Any, row: Row, rows: int, between: Range | None) -> str:
        """`FeatureGroup.phrase`: what is missing."""
        seen = "never seen before" if usual == 0 else f"as in {number(usual)} of {rows:,} records"
        if value == "none":
            return f"no value is missing, {seen}"
        for pattern in source.parts(MissingPattern):
            alone = pattern.alone(value)
            if alone is not None:
                return f"{alone[0]} is {short(alone[1], 160)}, {seen}"
        return f"these values are missing together ({short(value, 160)}), {seen}"


class MissingLevels(LevelRarity):
    """`LevelRarity` of which values are missing together, told as `MissingRarity` tells it."""

    closes: ClassVar[bool] = False

    @classmethod
    def is_ordinary(cls, feature: float, value: Any, usual: Any) -> bool:
        """`FeatureGroup.is_ordinary`: how many records have as much missing is said as it is."""
        return False

    @classmethod
    def direction(cls, value: Any, usual: Any) -> str:
        """`MissingRarity.direction`."""
        return MissingRarity.direction(value, usual)

    @classmethod
    def phrase(cls, source: FeatureSource, value: Any, usual: Any, row: Row, rows: int, between: Range | None) -> str:
        """`MissingRarity.phrase`."""
        return MissingRarity.phrase(source, value, usual, row, rows, between)


def _seen(count: float, rows: int) -> str:
    if count == 0:
        return "was never seen before"
    shown = f"{number(count)} of {rows:,} records"
    if count >= _SELDOM * rows:
        return f"is in {shown}"
    return f"{'is rare' if count < _RARE * rows else 'is seldom'}: {shown}"


class PairRarity(LevelPairs):
    """How much rarer a category is beside another one than it is in general.

    The pairs are those of the tree of strongest mutual information over all columns (Chow and Liu, 1968), so that each
    column is judged by the one that tells most about it; of more than `MOST_PARTNERS` columns over those that have most
    to do with all others. The feature is ``log min(p(b), 5 %) - log p(b | a)``, at least
    0, with one pseudo-count for p(b | a), so that a rare `a` proves little.

    Parameters
    ----------
    max_pairs : int, default 12
    min_information : float, default 0.1
        Least mutual information of a pair, in nats, beyond what chance gives.
    """

    units: ClassVar[tuple[float, float]] = (0.75, 1.0)
    weighed: ClassVar[bool] = False

    def __init__(self, max_pairs: int = 12, min_information: float = 0.1) -> None:
        self.max_pairs = max_pairs
        self.min_information = min_information

    def fit(self, X: Any, y: object = None) -> PairRarity:
        """Find the pairs and count their levels."""
        X = self._seen(X)
        self.n_rows_ = len(X)
        self.pairs_ = self._tree(X)
        used = sorted({name for pair in self.pairs_ for name in pair})
        self.levels_ = {name: Levels(X[name]) for name in used}
        self.combined_ = [CombinedLevels(X, pair) for pair in self.pairs_]
        return self

    def _tree(self, X: Table) -> list[tuple[str, str]]:
        sample = X.take(slice(None, None, -(-len(X) // _SAMPLE)))
        coded = {}
        for name in X:
            levels = Levels(sample[name])
            if 1 < len(levels) <= 0.2 * len(sample):
                coded[name] = (levels.codes(sample[name]), len(levels))
        codes = [(name, *coded[name]) for name in most_related(coded)]
        edges = []
        for i, (name, first, size) in enumerate(codes):
            for other, second, other_size in codes[:i]:
                information = _mutual_information(first, second, size, other_size)
                if information >= self.min_information:
                    # The finer column tells about the coarser one.
                    pair = (name, other) if size >= other_size else (other, name)
                    edges.append((information, pair))
        edges.sort(key=lambda edge: (-edge[0], edge[1]))
        root = {name: name for name, _, _ in codes}

        def find(name: str) -> str:
            while root[name] != name:
                name = root[name]
            return name

        kept = []
        for _, pair in edges:
            first_root, second_root = find(pair[0]), find(pair[1])
            if first_root != second_root:
                root[first_root] = second_root
                kept.append(pair)
        return kept[: self.max_pairs]

    @property
    def _pairs(self) -> list[tuple[str, str]]:
        return [(of, given) for given, of in self.pairs_]

    def _counts(self, X: Table) -> PairCounts:
        return _counter(self).of(X)

    def emit(self, program: Program, columns: Sequence[str]) -> list[Value] | None:
        """`FeatureGroup.emit`."""
        found = []
        for combined in self.combined_:
            n_given, n_of, n_both = pair_counts(program, combined)
            share = n_of.at_least(0.5) / (self.n_rows_ + 0.5)
            conditional = (n_both + share) / (n_given + 1.0)
            found.append((share.at_most(_COMMON_SHARE).log() - conditional.log()).at_least(0.0))
        return found

    def _surprisals(self, counts: PairCounts, own: int) -> npt.NDArray[Any]:
        n_given, n_of, n_both = counts.given - own, counts.of - own, counts.both - own
        share = np.maximum(n_of, 0.5) / (self.n_rows_ + 0.5)
        conditional = (n_both + share) / (n_given + 1.0)
        return np.maximum(np.log(np.minimum(share, _COMMON_SHARE)) - np.log(conditional), 0.0)

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """Return ``<b> for <a>`` for each pair."""
        return np.asarray([f"{of} for {given}" for given, of in self.pairs_], dtype=object)

    @classmethod
    def phrase(cls, source: FeatureSource, value: Any, usual: Any, row: Row, rows: int, between: Range | None) -> str:
        """`FeatureGroup.phrase`: how many of the records with one category have the other."""
        both, total = usual
        states = {part.column for part in source.parts(MissingState)}
        first, second = (
            (_state if column in states else _level)(column, part)
            for column, part in zip(source.columns, value, strict=True)
        )
        return f"{first} is unusual with {second} ({both:,} of its {total:,} records)"


def _level(column: str, value: Any) -> str:
    """A column and its category."""
    return f"{column} {shown(value)}"


def _state(column: str, value: Any) -> str:
    """A column and how a value of it is missing (see `derived.MissingState`)."""
    if value in ("given", "blank"):
        return f"a {column} that is {value}"
    return f"{column} in other words than known" if value == "in other words" else f"{column} '{short(value)}'"


_counter: Kept[PairRarity, PairCounter] = Kept(lambda rarity: PairCounter(rarity.combined_))


def determined(records: Any, levels: dict[str, Levels]) -> list[str]:
    """Name the columns of which a finer one leaves at most a tenth of the entropy open.

    Of more than `MOST_PARTNERS` columns only those that have most to do with all others are asked about the rest.
    """
    X = as_table(records)
    sample = X.take(slice(None, None, -(-len(X) // _SAMPLE)))
    codes = {name: found.codes(sample[name]) for name, found in levels.items() if len(found) <= 0.2 * len(X)}
    found = []
    asked = most_related({name: (own, len(levels[name])) for name, own in codes.items()})
    for name, own in steps([*codes.items()], "comparing categories"):
        size = len(levels[name])
        entropy = _mutual_information(own, own, size, size, corrected=False)
        for other in asked:
            finer, other_size = codes[other], len(levels[other])
            if other_size > size and other not in found:
                known = _mutual_information(own, finer, size, other_size, corrected=False)
                if known >= 0.9 * entropy:
                    found.append(name)
                    break
    return found


def _mutual_information(
    first: npt.NDArray[np.int64],
    second: npt.NDArray[np.int64],
    first_size: int,
    second_size: int,
    corrected: bool = True,
) -> float:
    """Mutual information in nats, less what independent columns show on average (Miller and Madow, 1955)."""
    n = len(first)
    joint = np.bincount(first * second_size + second, minlength=first_size * second_size)
    p = joint[joint > 0] / n
    a, b = np.bincount(first) / n, np.bincount(second) / n
    a, b = a[a > 0], b[b > 0]
    information = float((p * np.log(p)).sum() - (a * np.log(a)).sum() - (b * np.log(b)).sum())
    if not corrected:
        return information
    return information - (len(p) - len(a) - len(b) + 1) / (2 * n)
