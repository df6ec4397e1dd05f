"""How odd two categories are together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from anomaly_detection.data.levels import CombinedLevels, Kept, Levels
from anomaly_detection.data.table import Table
from anomaly_detection.features.clauses import short
from anomaly_detection.features.companions import RARELY
from anomaly_detection.features.compiled.combinations import pair_counts
from anomaly_detection.features.compiled.program import Program, Value
from anomaly_detection.features.derived import MissingState
from anomaly_detection.features.group import FEW, FeatureSource, Range, Row
from anomaly_detection.features.information import SAMPLE, mutual_information
from anomaly_detection.features.level_pairs import LevelPairs, PairCounter, PairCounts, described, in_so_many
from anomaly_detection.features.pairing import most_related

__all__ = ["PairRarity"]

_COMMON_SHARE = 0.05
_FEWEST_BY_CHANCE = 0.1  # with fewer, such as of customers with a product, each is rare with each


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
        sample = X.take(slice(None, None, -(-len(X) // SAMPLE)))
        coded = {}
        for name in X:
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

    def is_fact(self, X: Table, feature: int, row: int = 0) -> bool:
        """`FeatureGroup.is_fact`: of several records with one level few have the other, which others might have had."""
        counts: PairCounts = X.made((self, "counts"), lambda: self._counts(X))
        of, given, both = (int(own[row, feature]) for own in (counts.of, counts.given, counts.both))
        by_chance = given * of / self.n_rows_
        return given >= FEW and both <= max(1, RARELY * given) and by_chance >= _FEWEST_BY_CHANCE

    @classmethod
    def phrase(cls, source: FeatureSource, value: Any, usual: Any, row: Row, rows: int, between: Range | None) -> str:
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
    if value in ("given", "blank"):
        return f"a {column} that is {value}"
    return f"{column} in other words than known" if value == "in other words" else f"{column} '{short(value)}'"


_counter: Kept[PairRarity, PairCounter] = Kept(lambda rarity: PairCounter(rarity.combined_))
