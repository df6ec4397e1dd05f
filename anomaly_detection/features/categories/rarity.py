"""How rare a category is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import inf, log
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from anomaly_detection.data.columns.levels import Kept, LevelValues, levels_of, vocabulary
from anomaly_detection.data.columns.table import Table, as_table
from anomaly_detection.features.categories.information import determined
from anomaly_detection.features.categories.level_pairs import shown
from anomaly_detection.features.categories.newcomers import Newcomer, Places
from anomaly_detection.features.clauses import listed, named_value, number, short
from anomaly_detection.features.compiled.program import Program, Value
from anomaly_detection.features.dates.derived import MissingPattern
from anomaly_detection.features.group import FeatureGroup, FeatureSource, Range, Row
from anomaly_detection.texts.said import N_, Said, say

__all__ = ["CalendarRarity", "CategoryRarity", "MissingRarity"]

_RARE_SHARE = 0.02
_RARE, _SELDOM = 0.01, 0.05
_FAR_BELOW_ITS_SHARE = log(20.0)  # in nats


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
    titled: ClassVar[Mapping[str, str]] = {**FeatureGroup.titled, "rare": N_("rare")}
    # Shares in nats need a floor: a surprisal of 3.4, one in thirty, is some two deviations, however equal others are.
    units: ClassVar[tuple[float, float]] = (1.25, 1.0)

    def __init__(self, keep_all: bool = False) -> None:
        self.keep_all = keep_all

    def fit(self, X: Any, y: object = None) -> CategoryRarity:
        """Count the levels."""
        X = self._seen(X)
        self.n_rows_ = len(X)
        levels = {name: levels_of(X, name) for name in X}
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

    def newcomers(self, X: Table, rows: Places, features: Places) -> Iterator[tuple[int, int, Newcomer]]:
        """The levels that no training record had, of these rows and features: row, place among these, and level."""
        names = [*self.levels_]
        for at in np.flatnonzero(_surprisals(self).are_new(X)[rows, features]).tolist():
            row, name = int(rows[at]), names[features[at]]
            yield row, at, (name, X.objects(name)[row])

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
    def phrase(cls, source: FeatureSource, value: Any, usual: Any, row: Row, rows: int, between: Range | None) -> Said:
        """`FeatureGroup.phrase`: how many records have the category."""
        if pd.isna(value):
            return say("%(column)s is missing, %(seen)s", column=source.columns[0], seen=_as_in(usual, rows))
        return _seen(named_value(source.columns[0], shown(value)), usual, rows)


_surprisals: Kept[CategoryRarity, LevelValues] = Kept(
    lambda rarity: LevelValues([*rarity.levels_.items()], [*rarity.surprise_.values()])
)


class CalendarRarity(CategoryRarity):
    """`CategoryRarity` of parts of a date."""

    units: ClassVar[tuple[float, float]] = (1.25, inf)

    @classmethod
    def phrase(cls, source: FeatureSource, value: Any, usual: Any, row: Row, rows: int, between: Range | None) -> Said:
        """`FeatureGroup.phrase`: on what day or at what hour the date falls."""
        column = source.columns[0]
        if str(value).endswith("day"):
            falls = say("%(column)s falls on a %(part)s, which", column=column, part=say(value))
        else:
            falls = say("%(column)s falls at %(part)s, which", column=column, part=shown(value))
        return _seen(falls, usual, rows)


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
    def phrase(cls, source: FeatureSource, value: Any, usual: Any, row: Row, rows: int, between: Range | None) -> Said:
        """`FeatureGroup.phrase`: what is missing."""
        seen = _as_in(usual, rows)
        if value == "none":
            return say("no value is missing, %(seen)s", seen=seen)
        for pattern in source.parts(MissingPattern):
            alone = pattern.alone(value)
            if alone is not None:
                if alone[1] == "missing":
                    return say("%(column)s is missing, %(seen)s", column=alone[0], seen=seen)
                return say("%(column)s is %(what)s, %(seen)s", column=alone[0], what=short(alone[1], 160), seen=seen)
            if blank := pattern.blank(value):
                return say("%(columns)s are missing together, %(seen)s", columns=listed(blank), seen=seen)
        which = short(value, 160)
        return say("these values are missing together (%(which)s), %(seen)s", which=which, seen=seen)


def _as_in(count: float, rows: int) -> str:
    if not count:
        return say("never seen before")
    return say("as in %(count)s of %(rows)s records", count=number(count), rows=number(rows))


def _seen(what: str, count: float, rows: int) -> Said:
    if count == 0:
        return say("%(what)s was never seen before", what=what)
    if count >= _SELDOM * rows:
        template = N_("%(what)s is in %(count)s of %(rows)s records")
    elif count < _RARE * rows:
        template = N_("%(what)s is rare: %(count)s of %(rows)s records")
    else:
        template = N_("%(what)s is uncommon: %(count)s of %(rows)s records")
    return say(template, what=what, count=number(count), rows=number(rows))
