"""How odd a category is beside the column that foretells it best, by the other rows alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.utils.validation import check_is_fitted

from anomaly_detection.data.levels import CombinedLevels, Levels
from anomaly_detection.features.clauses import short
from anomaly_detection.features.group import FeatureGroup, FeatureSource, Range, Row
from anomaly_detection.features.pairing import most_related
from anomaly_detection.progress import steps

__all__ = ["Relation", "Relations"]

_RECORDS = ("records", "record")
Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

_LENT = (0.1, 1.0, 5.0, 30.0)
_LEAST_GAIN = 0.05  # in nats a row
_MOST_LEVELS = 0.7
_KEPT = 2
_RARELY = 0.1  # of the rows with the other level; what more of them have is nothing odd, however few they are
_SAMPLE = 5_000
_LARGEST_TABLE = 1_000_000
_LEAST_COUNT = 0.3  # of others with a level that occurred once


@dataclass
class Relation:
    """Column `of` judged beside column `given`; `lent` pseudo-counts go to how common each level is anyway."""

    of: str
    given: str
    lent: float
    levels: Levels
    given_levels: Levels
    both: CombinedLevels

    @property
    def name(self) -> str:
        """What the feature is called."""
        return f"{self.of} beside {self.given}"

    def counts(self, X: pd.DataFrame) -> tuple[Codes, Codes, Codes]:
        """Training rows with the judged level, with the given one, and with both; 0 for what is new; each (n,)."""
        of = np.append(self.levels.counts, 0)[self.levels.codes(X[self.of])]
        given = np.append(self.given_levels.counts, 0)[self.given_levels.codes(X[self.given])]
        both = np.append(self.both.counts, 0)[self.both.codes(X)]
        return of, given, both

    def surprisal(self, of: Any, given: Any, both: Any, own: int) -> Floats:
        """``-log`` of the judged level's share beside the given one, in nats; `own` rows are the row itself."""
        return _surprisal(of, given, both, own, self.lent, self.levels)


def _surprisal(of: Any, given: Any, both: Any, own: int, lent: float, levels: Levels) -> Floats:
    rows = float(levels.counts.sum())
    new = (np.count_nonzero(levels.counts == 1) + 0.5) / (rows + 1.0)
    share = np.where(of > 0, np.maximum(of - own, _LEAST_COUNT) * (1.0 - new) / rows, new)
    return np.asarray(-np.log((both - np.minimum(own, both) + lent * share) / (np.maximum(given - own, 0) + lent)))


class Relations(FeatureGroup):
    """``-log p(b | a)`` in nats for each category `b` and the two columns `a` that foretell it best.

    `p` has pseudo-counts in proportion to how common `b` is, as many as make the training rows likeliest, each judged
    by the others. A column that tells less than 0.05 nats a row is no `a`. What is common is no evidence: how far out a
    surprisal lies is judged by the training rows' own, and it is 0 where more than a tenth of the rows with `a` have
    `b`.

    Parameters
    ----------
    kin : mapping of str to sequence of str, optional
        Columns that a category is made of: none is foretold by what it is made of.
    """

    units: ClassVar[tuple[float, float]] = (0.75, 1.0)
    logarithmic: ClassVar[bool] = True
    one_sided: ClassVar[bool] = True

    def __init__(self, kin: Any = None) -> None:
        self.kin = kin

    def fit(self, X: pd.DataFrame, y: object = None) -> Relations:
        """Find the relations and count their levels."""
        self.feature_names_in_ = np.asarray(X.columns, dtype=object)
        self.n_features_in_ = X.shape[1]
        step = -(-len(X) // _SAMPLE)
        coded: dict[str, tuple[Codes, int]] = {}
        levels = {name: Levels(X[name]) for name in X.columns}
        for name, found in levels.items():
            if 1 < len(found) <= _MOST_LEVELS * len(X):
                coded[name] = (found.codes(X[name])[::step], len(found))
        coded = {name: coded[name] for name in most_related(coded)}
        self.relations_: list[Relation] = []
        for of in steps(list(coded), "comparing categories"):
            chosen = self._chosen(of, coded)
            for _, given, lent in sorted(chosen, reverse=True)[:_KEPT]:
                both = CombinedLevels(X, (given, of))
                self.relations_.append(Relation(of, given, lent, levels[of], levels[given], both))
        return self

    def _chosen(self, of: str, coded: dict[str, tuple[Codes, int]]) -> list[tuple[float, str, float]]:
        """The columns that foretell one better than nothing does: how likely they make it, and what is lent."""
        codes, size = coded[of]
        counts = np.bincount(codes, minlength=size)
        own, new = counts[codes], (np.count_nonzero(counts == 1) + 0.5) / (len(codes) + 1.0)
        share = np.maximum(own - 1, _LEAST_COUNT) * (1.0 - new) / len(codes)
        alone = float(np.mean(np.log(share)))
        found = []
        for given in self._promising(of, coded):
            others, other_size = coded[given]
            both, rows = _counted(others * size + codes, size * other_size), _counted(others, other_size)
            for lent in _LENT:
                likely = float(np.mean(np.log((both - 1 + lent * share) / (rows - 1 + lent))))
                if likely > alone + _LEAST_GAIN:
                    found.append((likely, given, lent))
        best: dict[str, tuple[float, str, float]] = {}
        for one in found:
            best[one[1]] = max(best.get(one[1], one), one)
        return list(best.values())

    def _promising(self, of: str, coded: dict[str, tuple[Codes, int]]) -> list[str]:
        kin = self.kin or {}
        mine = {of, *kin.get(of, ())}
        return [name for name in coded if not mine & {name, *kin.get(name, ())}]

    def fit_transform(self, X: pd.DataFrame, y: object = None, **params: Any) -> npt.NDArray[np.float32]:
        """Fit, and give each training row's surprisals by the other rows."""
        return self.fit(X)._surprisals(X, 1)

    def transform(self, X: pd.DataFrame) -> npt.NDArray[np.float32]:
        """Give the surprisals in nats, shape (n, relations)."""
        check_is_fitted(self)
        return self._surprisals(X, 0)

    def _surprisals(self, X: pd.DataFrame, own: int) -> npt.NDArray[np.float32]:
        out = np.empty((len(X), len(self.relations_)), dtype=np.float32)
        for i, relation in enumerate(self.relations_):
            of, given, both = relation.counts(X)
            found = relation.surprisal(of, given, both, own)
            found[both - own > _RARELY * (given - own)] = 0.0
            # Beside a level that was never seen nothing is foretold.
            out[:, i] = np.where(given > own, found, np.nan)
        return out

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """Return ``<b> beside <a>`` for each relation."""
        return np.asarray([relation.name for relation in self.relations_], dtype=object)

    @property
    def feature_columns_(self) -> list[tuple[str, ...]]:
        """The column that each feature judges, then the one that it is judged by."""
        return [(relation.of, relation.given) for relation in self.relations_]

    def in_units(self, X: pd.DataFrame) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Return the levels (judged, given) and ``(rows with both, rows with the given one)``."""
        values = np.empty((len(X), len(self.relations_)), dtype=object)
        counts = np.empty(values.shape, dtype=object)
        for i, relation in enumerate(self.relations_):
            _, given, both = relation.counts(X)
            pair = (X[name].astype(object).tolist() for name in (relation.of, relation.given))
            for row, facts in enumerate(zip(*pair, both.tolist(), given.tolist(), strict=True)):
                values[row, i], counts[row, i] = facts[:2], facts[2:]
        return values, counts

    @classmethod
    def phrase(cls, source: FeatureSource, value: Any, usual: Any, row: Row, rows: int, between: Range | None) -> str:
        """`FeatureGroup.phrase`: how many of the records with one category have the other."""
        both, total = usual
        of, given = (_shown(name, part) for name, part in zip(source.columns, value, strict=True))
        if both == 0:
            return f"{of} was never seen with {given} ({total:,} {_RECORDS[total == 1]})"
        return f"{of} is rare with {given}: {both:,} of its {total:,} records"


def _counted(keys: Codes, size: int) -> Codes:
    """How many rows have each row's key."""
    if size <= _LARGEST_TABLE:
        return np.bincount(keys, minlength=size)[keys]
    _, place, counts = np.unique(keys, return_inverse=True, return_counts=True)
    return np.asarray(counts[place], dtype=np.int64)


def _shown(name: str, value: Any) -> str:
    return f"{name} {'(missing)' if pd.isna(value) else short(value)}"
