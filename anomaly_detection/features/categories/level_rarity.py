"""How rare a category is, as evidence: what is new to a closed set is worth most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from anomaly_detection.data.columns.levels import MISSING_LEVEL, vocabulary
from anomaly_detection.data.columns.table import Coded, Table, as_table
from anomaly_detection.features.categories.companions import NONE, Companions, find_companions
from anomaly_detection.features.categories.rarity import CalendarRarity, CategoryRarity, MissingRarity
from anomaly_detection.features.compiled.program import Program, Value
from anomaly_detection.features.dates.derived import CalendarPart
from anomaly_detection.features.forms import seldom, worth_less_of_one
from anomaly_detection.features.group import FeatureSource, Range, Row
from anomaly_detection.texts.said import Said

__all__ = ["LevelRarity", "MissingLevels", "ValueRarity"]

_MOST_OF_A_LEVEL = 4.0  # nats
_MOST_LOOKED_AT = 8  # columns, of each
_OPEN = 0.125  # of the levels occurred once: with more, new ones are to be expected


class LevelRarity(CategoryRarity):
    """`CategoryRarity` as evidence: a new level is as rare as new ones were in training (Good, 1953).

    Rarity alone is worth 4 nats at most, and so is a new level where new ones are no surprise: a first order of a new
    customer is news, and no error. Of a closed set of levels, of which hardly any occurred once, a new one is worth all
    that it is, or less by the fourth root of the rows that bring it together: a new supplier comes with many orders, a
    slip alone. And it is worth those 4 at most where a companion is new as well, which is news (`Companions`).

    Parameters
    ----------
    keep_all : bool, default False
        As of `CategoryRarity`.
    unclosed : sequence of str
        Columns that are never closed: hours of a date, which nobody misspells.

    Attributes
    ----------
    elsewhere_ : dict of str to list of str
        Of each column those that share no level with it; none in files of before.
    """

    nats: ClassVar[bool] = True
    weighed: ClassVar[bool] = True
    counted: ClassVar[bool] = True
    closes: ClassVar[bool] = True
    companions_: Companions = NONE
    elsewhere_: Mapping[str, Sequence[str]] = MappingProxyType({})

    def __init__(self, keep_all: bool = False, unclosed: Sequence[str] = ()) -> None:
        super().__init__(keep_all)
        self.unclosed = unclosed

    def _surprisal(self, counts: npt.NDArray[np.int64], told: bool) -> npt.NDArray[np.float64]:
        known = super()._surprisal(counts, told)[:-1]
        return np.minimum(np.append(known, self._new(int(np.count_nonzero(counts == 1)))), _MOST_OF_A_LEVEL)

    def fit(self, X: Any, y: object = None) -> LevelRarity:
        """Count the levels, and find out which columns are closed."""
        X = as_table(X)
        super().fit(X)
        for name in self.levels_:
            self.surprise_[name][-1] = self._of_new(name)
        self.companions_ = self._companions(X)
        self.elsewhere_ = self._elsewhere()
        return self

    def _elsewhere(self) -> dict[str, list[str]]:
        texts = {
            name: {*levels.names} - {MISSING_LEVEL}
            for name, levels in self.levels_.items()
            if name not in self.unclosed
        }
        apart = {
            name: [one for one in texts if texts[one].isdisjoint(own)][:_MOST_LOOKED_AT] for name, own in texts.items()
        }
        return {name: others for name, others in apart.items() if others}

    def _misplaced(self, name: str, column: Coded) -> npt.NDArray[np.bool_]:
        """Whether each row's level is new, and another column's."""
        found = np.zeros(len(column), dtype=bool)
        for other in self.elsewhere_.get(name, ()):
            found |= self.levels_[other].codes(column) >= 0
        return np.asarray(found & (self.levels_[name].codes(column) < 0) & ~column.isna())

    def _companions(self, X: Table) -> Companions:
        return find_companions(X, [*self.levels_])

    def fit_transform(self, X: Any, y: object = None, **params: Any) -> npt.NDArray[np.float32]:
        """`CategoryRarity.fit_transform`: what comes with it is new to the other rows as well."""
        X = as_table(X)
        return self._with_companions(X, super().fit_transform(X), 1)

    def _with_companions(self, X: Table, found: npt.NDArray[np.float32], own: int) -> npt.NDArray[np.float32]:
        for i, name in enumerate(self.levels_):
            if name in self.companions_.of:
                news = self.companions_.are_news(X, name, own)
                found[news, i] = np.minimum(found[news, i], np.float32(_MOST_OF_A_LEVEL))
            if name in self.elsewhere_:
                found[self._misplaced(name, X[name]), i] = seldom(0, self.n_rows_)
        return found

    def emit(self, program: Program, columns: Sequence[str]) -> list[Value] | None:
        """`CategoryRarity.emit`."""
        found = super().emit(program, columns) or []
        news = [self.companions_.news(program, name) for name in self.levels_]
        found = [new.where(one.at_most(_MOST_OF_A_LEVEL), one) for one, new in zip(found, news, strict=True)]
        judges = {name: partial(self._misplaced, name) for name in self.elsewhere_}
        return [
            program.level(name, judges[name]).where(float(seldom(0, self.n_rows_)), one) if name in judges else one
            for name, one in zip(self.levels_, found, strict=True)
        ]

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
        out = self._with_companions(X, super().features_of(X), 0)
        self.with_others(X, out)
        return out

    def with_others(self, X: Table, found: npt.NDArray[np.float32]) -> None:
        """`CategoryRarity.with_others`: a level that several rows bring is worth less."""
        if len(X) == 1:
            return
        for i, (name, levels) in enumerate(self.levels_.items()):
            new = np.flatnonzero(levels.codes(X[name]) < 0)
            worth_less_of_one(found[:, i], new, X[name].codes)

    def in_units(self, X: Any, rows: npt.NDArray[np.int64] | None = None) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """`CategoryRarity.in_units`, of the `rows` at these positions."""
        return super().in_units(as_table(X) if rows is None else as_table(X).take(rows))

    @classmethod
    def phrase(cls, source: FeatureSource, value: Any, usual: Any, row: Row, rows: int, between: Range | None) -> Said:
        """`CategoryRarity.phrase`, or that of the part of a date."""
        kind = CalendarRarity if source.parts(CalendarPart) else CategoryRarity
        return kind.phrase(source, value, usual, row, rows, between)


class ValueRarity(LevelRarity):
    """`LevelRarity` of numbers that take few values: a new one of a closed set, a month 20 or a flag of 1,000."""

    def _elsewhere(self) -> dict[str, list[str]]:
        return {}

    def _companions(self, X: Table) -> Companions:
        return NONE

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
    def phrase(cls, source: FeatureSource, value: Any, usual: Any, row: Row, rows: int, between: Range | None) -> Said:
        """`MissingRarity.phrase`."""
        return MissingRarity.phrase(source, value, usual, row, rows, between)
