"""`LevelPairs`: groups of features that judge a level of one column beside a level of another, by their counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from anomaly_detection.data.columns.levels import Combinations, CombinedLevels
from anomaly_detection.data.columns.table import Table, as_table
from anomaly_detection.features.clauses import in_records, named_value, number, short
from anomaly_detection.features.group import FeatureGroup, FeatureSource
from anomaly_detection.texts.said import N_, Said, say

__all__ = ["LevelPairs", "PairCounts", "described", "in_so_many", "margins", "shown"]

Codes = npt.NDArray[np.int64]

_ROWS = 65_536  # judged at once


@dataclass(frozen=True)
class PairCounts:
    """Training rows with the judged level, with the given one, and with both; 0 for what is new; each (n, pairs)."""

    of: Codes
    given: Codes
    both: Codes


class PairCounter:
    """Counts of pairs of levels.

    Parameters
    ----------
    combined : sequence of CombinedLevels
        Each of the given column and the judged one.
    counts : sequence of ndarray of int64, optional
        How often each combination counts, where that is not how many rows have it.
    """

    def __init__(self, combined: Sequence[CombinedLevels], counts: Sequence[Codes] | None = None) -> None:
        self._combinations = Combinations(combined)
        both = [one.counts for one in combined] if counts is None else counts
        own = [margins(one, counted) for one, counted in zip(combined, both, strict=True)]
        parts = [np.append(0, part) for part in (*(part for part, _ in own), *(part for _, part in own), *both)]
        starts = np.cumsum([0, *map(len, parts)])[:-1]
        self._given, self._of, self._both = starts.reshape(3, -1)
        self._counts = np.concatenate([np.zeros(0, dtype=np.int64), *parts])

    def of(self, table: Table) -> PairCounts:
        """The counts of each row's pairs."""
        levels = self._combinations.levels(table)
        given, of = self._combinations.places
        return PairCounts(
            self._counts[levels[:, of] + self._of],
            self._counts[levels[:, given] + self._given],
            self._counts[self._combinations.codes(table, levels) + (self._both + 1)],
        )

    def levels(self, table: Table) -> tuple[Codes, Codes]:
        """The given level of each row's pairs and the judged one, from 1, 0 for what is new; both (n, pairs)."""
        levels = self._combinations.levels(table)
        given, of = self._combinations.places
        return levels[:, given], levels[:, of]


def margins(combined: CombinedLevels, counts: Codes) -> tuple[Codes, Codes]:
    """How often each level of the first column and of the second counts, where each combination does so often."""
    first, last = (len(levels) for levels in combined.levels)
    table_first, table_last = np.divmod(combined.known, last)
    given, of = np.zeros(first, dtype=np.int64), np.zeros(last, dtype=np.int64)
    np.add.at(given, table_first, counts)
    np.add.at(of, table_last, counts)
    return given, of


class LevelPairs(FeatureGroup):
    """Features of pairs of levels, see `_pairs` and `_counts`."""

    titled: ClassVar[Mapping[str, str]] = {**FeatureGroup.titled, "rare": N_("rare")}

    @classmethod
    def subject(cls, source: FeatureSource) -> str | None:
        """`FeatureGroup.subject`: neither column is rare, but the two levels together."""
        if len(source.columns) != 2:
            return None
        first, second = source.columns
        return say("the combination of %(first)s and %(second)s", first=first, second=second)

    @property
    def _pairs(self) -> list[tuple[str, str]]:
        """The column that each feature judges, and the one that it is given."""
        raise NotImplementedError

    def _counts(self, X: Table) -> PairCounts:
        raise NotImplementedError

    def _judged_counts(self, X: Table) -> PairCounts:
        """What `_surprisals` is given; `_counts` is what is told."""
        return self._counts(X)

    def _surprisals(self, counts: PairCounts, own: int) -> npt.NDArray[Any]:
        """In nats, shape (n, pairs); `own` of the counted rows are the row itself."""
        raise NotImplementedError

    def _explained(self, X: Table, counts: PairCounts, own: int) -> npt.NDArray[np.bool_] | bool:
        """Which pairs are no evidence, shape (n, pairs)."""
        return False

    def fit_transform(self, X: Any, y: object = None, **params: Any) -> npt.NDArray[np.float32]:
        """Fit, and give each training row's surprisals by the other rows: new ones are no odder then."""
        X = as_table(X)
        self.fit(X)
        out = np.empty((len(X), len(self._pairs)), dtype=np.float32)
        for start in range(0, len(X), _ROWS):
            some = X if len(X) <= _ROWS else X.take(slice(start, start + _ROWS))
            out[start : start + _ROWS] = self._judged(some, 1)
        return out

    def features_of(self, X: Table) -> npt.NDArray[np.float32]:
        """The surprisals in nats, shape (n, pairs)."""
        return self._judged(X, 0).astype(np.float32)

    def _judged(self, X: Table, own: int) -> npt.NDArray[Any]:
        counts = self._judged_counts(X)
        return np.where(self._explained(X, counts, own), 0.0, self._surprisals(counts, own))

    @property
    def feature_columns_(self) -> list[tuple[str, ...]]:
        """The column that each feature judges, then the one that it is judged by."""
        return [*self._pairs]

    def in_units(self, X: Any) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Return the pairs of levels (judged, given) and ``(rows with both, rows with the given one)``."""
        X = as_table(X)
        counts = self._counts(X)
        values, usual = (np.empty(counts.both.shape, dtype=object) for _ in range(2))
        cells = {
            name: X.objects(name).tolist() for name in dict.fromkeys(name for pair in self._pairs for name in pair)
        }
        for i, pair in enumerate(self._pairs):
            levels, seen = (cells[name] for name in pair), (one[:, i].tolist() for one in (counts.both, counts.given))
            values[:, i] = np.fromiter(zip(*levels, strict=True), dtype=object, count=len(X))
            usual[:, i] = np.fromiter(zip(*seen, strict=True), dtype=object, count=len(X))
        return values, usual


def described(column: str, value: Any) -> str:
    """A column and its level."""
    return say("a missing %(what)s", what=column) if pd.isna(value) else named_value(column, shown(value))


def in_so_many(of: str, given: str, both: int, total: int) -> Said:
    """Say in how many of the records with one level another is."""
    if both == 0:
        return say("%(of)s was never seen with %(given)s (%(records)s)", of=of, given=given, records=in_records(total))
    return say(
        "%(of)s is in %(both)s of the %(records)s with %(given)s",
        of=of,
        both=number(both),
        records=in_records(total),
        given=given,
    )


def shown(value: Any) -> str:
    """A level as a text."""
    return say("(missing)") if pd.isna(value) else short(value)
