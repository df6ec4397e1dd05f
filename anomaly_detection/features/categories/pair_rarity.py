"""How odd two categories are together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from anomaly_detection.data.columns.levels import CombinedLevels, Kept, Levels, levels_of, vocabulary
from anomaly_detection.data.columns.table import Table
from anomaly_detection.features.categories.companions import RARELY
from anomaly_detection.features.categories.information import SAMPLE, mutual_information
from anomaly_detection.features.categories.level_pairs import (
    LevelPairs,
    PairCounter,
    PairCounts,
    described,
    in_so_many,
    margins,
)
from anomaly_detection.features.categories.pairing import most_related
from anomaly_detection.features.clauses import short
from anomaly_detection.features.compiled.combinations import combination
from anomaly_detection.features.compiled.program import Program, Value
from anomaly_detection.features.dates.derived import MissingState
from anomaly_detection.features.group import FEW, FeatureSource, Range, Row
from anomaly_detection.features.repeats.transactions import find_transactions
from anomaly_detection.texts.said import Said, say

__all__ = ["PairRarity"]

Codes = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_LENT = (1.0, 3.0, 10.0, 30.0, 100.0)
_COMMON_SHARE = 0.05
_FEWEST_BY_CHANCE = 0.1  # with fewer, such as of customers with a product, each is rare with each


class PairRarity(LevelPairs):
    """How much rarer a category is beside another one than it is in general.

    The pairs are those of the tree of strongest mutual information over all columns (Chow and Liu, 1968), so that each
    column is judged by the one that tells most about it; of more than `MOST_PARTNERS` columns over those that have most
    to do with all others. The feature is ``log min(p(b), 5 %) - log p(b | a)``, at least 0. p(b | a) has pseudo-counts
    in proportion to p(b), one or more, as many as make the training records likeliest, each judged by the others: a
    rare `a` proves little, and one whose levels differ by no more than chance nothing. A pair that is not foretold so
    is none.

    Records of one transaction, such as the lines of an order, which share what the order has, count once
    (`find_transactions`).

    Parameters
    ----------
    max_pairs : int, default 12
    min_information : float, default 0.1
        Least mutual information of a pair, in nats, beyond what chance gives, and least that `a` tells of the `b` of a
        record of another transaction.
    keys : sequence of str
        Columns that may name transactions, besides the categories, and are no part of a pair.
    dates : sequence of str
        Columns of dates, that tell which transactions are later ones.

    Attributes
    ----------
    orders_ : list of ndarray of int64, or None
        Of each pair, the transactions in which each of its combinations occurred; None in files of before, where each
        record counts.
    lent_ : list of float, or None
        Of each pair the pseudo-counts; None in files of before, for one.
    """

    orders_: list[Codes] | None = None
    lent_: list[float] | None = None

    units: ClassVar[tuple[float, float]] = (0.75, 1.0)
    weighed: ClassVar[bool] = False

    def __init__(
        self,
        max_pairs: int = 12,
        min_information: float = 0.1,
        keys: Sequence[str] = (),
        dates: Sequence[str] = (),
    ) -> None:
        self.max_pairs = max_pairs
        self.min_information = min_information
        self.keys = keys
        self.dates = dates

    def fit(self, X: Any, y: object = None) -> PairRarity:
        """Find the pairs and count their levels."""
        X = self._seen(X)
        self.n_rows_ = len(X)
        apart = {*self.keys, *self.dates}
        categories = [name for name in X if name not in apart]
        transactions = find_transactions(X, [*categories, *self.keys], self.dates)
        key, codes = transactions or (None, np.arange(len(X)))
        found = self._tree(X, categories, key, codes)
        self.pairs_ = [pair for pair, _ in found]
        self.lent_ = [lent for _, lent in found]
        used = sorted({name for pair in self.pairs_ for name in pair})
        self.levels_ = {name: levels_of(X, name) for name in used}
        self.combined_ = [CombinedLevels(X, pair) for pair in self.pairs_]
        self.orders_ = [
            one.counts if key in (None, one.columns[0]) else _once(codes, one.codes(X), len(one))
            for one in self.combined_
        ]
        return self

    def _tree(
        self, X: Table, categories: Sequence[str], key: str | None, transactions: Codes
    ) -> list[tuple[tuple[str, str], float]]:
        """The pairs, and what is lent to each."""
        some = slice(None, None, -(-len(X) // SAMPLE))
        sample, transactions = X.take(some), transactions[some]
        alone = np.arange(len(sample))
        coded = {}
        for name in categories:
            levels = Levels(sample[name])
            if 1 < len(levels) <= 0.2 * len(sample):
                coded[name] = (levels.codes(sample[name]), len(levels))
        codes = [(name, *coded[name]) for name in most_related(coded)]
        edges = []
        for i, (name, first, size) in enumerate(codes):
            for other, second, other_size in codes[:i]:
                information = mutual_information(first, second, size, other_size)
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

        kept: list[tuple[tuple[str, str], float]] = []
        for _, pair in edges:
            first_root, second_root = find(pair[0]), find(pair[1])
            if first_root == second_root or len(kept) == self.max_pairs:
                continue
            # What a transaction has in common, its own column tells.
            told, lent = _foretold(*coded[pair[0]], *coded[pair[1]], alone if key == pair[0] else transactions)
            if told >= self.min_information:
                root[first_root] = second_root
                kept.append((pair, lent))
        return kept

    @property
    def _pairs(self) -> list[tuple[str, str]]:
        return [(of, given) for given, of in self.pairs_]

    def _counts(self, X: Table) -> PairCounts:
        return _counter(self).of(X)

    def _judged_counts(self, X: Table) -> PairCounts:
        return _learned(self).counter.of(X)

    def emit(self, program: Program, columns: Sequence[str]) -> list[Value] | None:
        """`FeatureGroup.emit`."""
        found, learned = [], _learned(self)
        parts = zip(self.combined_, learned.orders, learned.rows.tolist(), learned.lent.tolist(), strict=True)
        for combined, orders, rows, lent in parts:
            n_given, n_of = (
                program.of_level(name, vocabulary(levels), np.append(counts, 0))
                for name, levels, counts in zip(
                    combined.columns, combined.levels, margins(combined, orders), strict=True
                )
            )
            n_both = combination(program, combined).look_up(np.append(orders, 0))
            share = n_of.at_least(0.5) / (rows + 0.5)
            conditional = (n_both + share * lent) / (n_given + lent)
            found.append((share.at_most(_COMMON_SHARE).log() - conditional.log()).at_least(0.0))
        return found

    def _surprisals(self, counts: PairCounts, own: int) -> npt.NDArray[Any]:
        learned = _learned(self)
        n_given, n_of, n_both = counts.given - own, counts.of - own, counts.both - own
        share = np.maximum(n_of, 0.5) / (learned.rows + 0.5)
        conditional = (n_both + share * learned.lent) / (n_given + learned.lent)
        return np.maximum(np.log(np.minimum(share, _COMMON_SHARE)) - np.log(conditional), 0.0)

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """Return ``<b> for <a>`` for each pair."""
        return np.asarray([f"{of} for {given}" for given, of in self.pairs_], dtype=object)

    def is_fact(self, X: Table, feature: int, row: int = 0) -> bool:
        """`FeatureGroup.is_fact`: of several records with one level few have the other, which others might have had.

        Those of one transaction are one.
        """
        counts: PairCounts = X.made((self, "counts"), lambda: self._judged_counts(X))
        of, given, both = (int(own[row, feature]) for own in (counts.of, counts.given, counts.both))
        by_chance = given * of / float(_learned(self).rows[feature])
        return given >= FEW and both <= max(1, RARELY * given) and by_chance >= _FEWEST_BY_CHANCE

    @classmethod
    def phrase(cls, source: FeatureSource, value: Any, usual: Any, row: Row, rows: int, between: Range | None) -> Said:
        """`FeatureGroup.phrase`: how many of the records with one category have the other, and no more.

        Whether that is rare, chance has a say in: of 22 records one is what a mode of one in twenty has anyway.
        """
        both, total = usual
        states = {part.column for part in source.parts(MissingState)}
        first, second = (
            (_state if column in states else described)(column, part)
            for column, part in zip(source.columns, value, strict=True)
        )
        return in_so_many(first, second, both, total)


def _state(column: str, value: Any) -> str:
    """A column and how a value of it is missing (see `derived.MissingState`)."""
    if value == "given":
        return say("a %(column)s that is given", column=column)
    if value == "blank":
        return say("a %(column)s that is blank", column=column)
    if value == "in other words":
        return say("%(column)s in other words than known", column=column)
    return f"{column} '{short(value)}'"


def _once(transactions: Codes, codes: Codes, size: int) -> Codes:
    """In how many transactions each of `size` codes occurs."""
    return np.bincount(np.unique(transactions * size + codes) % size, minlength=size).astype(np.int64)


def _foretold(given: Codes, size: int, of: Codes, other_size: int, transactions: Codes) -> tuple[float, float]:
    """How many nats a column tells of another one's level in a record of another transaction, and what is best lent."""
    possible = size * other_size
    once = np.unique(transactions * possible + given * other_size + of) % possible
    pairs, counts = np.unique(once, return_counts=True)
    first, second = np.divmod(pairs, other_size)
    n_given, n_of = np.bincount(first, weights=counts)[first], np.bincount(second, weights=counts)[second]
    share = np.maximum(n_of - 1.0, 0.5) / (counts.sum() + 0.5)
    # Each transaction is judged by the others.
    likely = [np.log((counts - 1.0 + lent * share) / (n_given - 1.0 + lent)) for lent in _LENT]
    told = [float(np.average(one - np.log(share), weights=counts)) for one in likely]
    best = int(np.argmax(told))
    return told[best], _LENT[best]


@dataclass(frozen=True)
class _Learned:
    """What each pair is judged by: the transactions with each combination, of all, and what is lent."""

    counter: PairCounter
    orders: list[Codes]
    rows: Floats
    lent: Floats

    @classmethod
    def of(cls, rarity: PairRarity) -> _Learned:
        orders = rarity.orders_ or [one.counts for one in rarity.combined_]
        return cls(
            PairCounter(rarity.combined_, orders),
            orders,
            np.array([float(own.sum()) for own in orders]),
            np.array(rarity.lent_ or [1.0] * len(orders)),
        )


_learned: Kept[PairRarity, _Learned] = Kept(_Learned.of)
_counter: Kept[PairRarity, PairCounter] = Kept(lambda rarity: PairCounter(rarity.combined_))
