"""Levels of categories as integer codes: how many times each occurred, alone or together with another column's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar, Generic, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import pandas as pd

from anomaly_detection.data.columns.table import MISSING_LEVEL, Table, Vocabulary, as_table, coded

__all__ = [
    "MISSING_LEVEL",
    "Combinations",
    "CombinedLevels",
    "Groups",
    "Kept",
    "LevelValues",
    "Levels",
    "grouped_by",
    "levels_of",
    "vocabulary",
]

Codes = npt.NDArray[np.int64]

_FEW_POSSIBLE = 1 << 16
"""Combinations that are counted in a table of all possible ones, however few rows there are."""

_LARGEST_TABLE = 1 << 16
"""Combinations of two columns that are looked up in a table of all possible ones, at most."""

_POSSIBLE_A_ROW = 8
"""Combinations that a table of them is made for, rather than to look each row's up in order."""

Learned = TypeVar("Learned")
Made = TypeVar("Made")


class Kept(Generic[Learned, Made]):
    """What a function makes of something that was learned, made once and kept as long as that is there.

    It is kept beside it, since what is learned has only what model files have. What learns anew is to be forgotten.
    """

    _all: ClassVar[list[Kept[Any, Any]]] = []

    def __init__(self, make: Callable[[Learned], Made]) -> None:
        self._make = make
        self._made: WeakKeyDictionary[Any, Made] = WeakKeyDictionary()
        self._all.append(self)

    def __call__(self, learned: Learned) -> Made:
        try:
            return self._made[learned]
        except KeyError:
            made = self._made[learned] = self._make(learned)
            return made

    def keep(self, learned: Learned, made: Made) -> None:
        """Take what was made on the way to what was learned."""
        self._made[learned] = made

    @classmethod
    def forget(cls, learned: Any) -> None:
        """Make anew what any function made of it."""
        for one in cls._all:
            one._made.pop(learned, None)


class Levels:
    """The levels of one categorical column and their counts; a missing value is a level of its own."""

    def __init__(self, column: Any) -> None:
        own = coded(column)
        names = [*own.names] if MISSING_LEVEL in own.names else [*own.names, MISSING_LEVEL]
        # Where a text says so already, that is the level of what is missing.
        counts = np.bincount(own.within(Vocabulary.of(names)), minlength=len(names))
        seen = counts > 0
        self.names: pd.Index[Any] = pd.Index(names, dtype=object)[seen]
        self.counts: Codes = counts[seen].astype(np.int64)

    def __len__(self) -> int:
        return len(self.names)

    def codes(self, column: Any) -> Codes:
        """Give each row's level, -1 where it was never seen."""
        return coded(column).within(vocabulary(self))


def levels_of(table: Table, name: str) -> Levels:
    """The levels of a column of the rows to learn from, found once for all who ask."""
    made: Levels = table.made((levels_of, name), lambda: Levels(table[name]))
    return made


vocabulary: Kept[Levels, Vocabulary] = Kept(lambda levels: Vocabulary.of(levels.names))
"""The names of levels, shared by all that have the same."""


class CombinedLevels:
    """The combinations of several columns' levels that occurred, with counts; without columns there is one, of all."""

    def __init__(self, frame: Any, columns: Sequence[str]) -> None:
        self._learn(as_table(frame), tuple(columns))

    def _learn(self, table: Table, columns: tuple[str, ...]) -> Codes:
        """Find the combinations of a table's rows, and give each row's."""
        self.columns = columns
        self.levels = tuple(levels_of(table, name) for name in columns)
        keys = self._keys(table)
        possible = prod(len(levels) for levels in self.levels)
        if possible > max(_FEW_POSSIBLE, len(table)):
            self._known, codes, counts = np.unique(keys, return_inverse=True, return_counts=True)
            self.counts: Codes = counts.astype(np.int64)
            return np.asarray(codes, dtype=np.int64)
        counts = np.bincount(keys, minlength=possible)
        self._known = np.flatnonzero(counts)
        self.counts = counts[self._known].astype(np.int64)
        place = np.zeros(possible, dtype=np.int64)
        place[self._known] = np.arange(len(self._known))
        return place[keys]

    def __len__(self) -> int:
        return len(self._known)

    @property
    def known(self) -> Codes:
        """The combinations by a number each: the first level's place, times the second's levels, plus its place, ..."""
        return self._known

    def _keys(self, table: Table) -> Codes:
        """Number each combination; -1 where any level is new."""
        key = np.zeros(len(table), dtype=np.int64)
        for name, levels in zip(self.columns, self.levels, strict=True):
            codes = levels.codes(table[name])
            key = np.where((key < 0) | (codes < 0), -1, key * len(levels) + codes)
        return key

    def codes(self, frame: Any) -> Codes:
        """Give each row's combination, -1 where it was never seen."""
        keys = self._keys(as_table(frame))
        possible = prod(len(levels) for levels in self.levels)
        if possible <= _POSSIBLE_A_ROW * len(keys):
            # The last is that of key -1.
            known = np.full(possible + 1, -1, dtype=np.int64)
            known[self._known] = np.arange(len(self._known))
            return known[keys]
        place = np.searchsorted(self._known, keys)
        place[place == len(self._known)] = 0
        return np.where(self._known[place] == keys, place, -1)


@dataclass(frozen=True)
class Groups:
    """The combinations of levels of a table's rows, and each row's, shape (n,)."""

    levels: CombinedLevels
    codes: npt.NDArray[Any]


def grouped_by(table: Table, columns: Sequence[str]) -> Groups:
    """The groups that some columns make of the rows to learn from, found once for all who ask; see `Table.forget`."""

    def make() -> Groups:
        levels = CombinedLevels.__new__(CombinedLevels)
        codes = levels._learn(table, tuple(columns))
        # As short as they can be: there are many groupings, of all rows each.
        return Groups(levels, codes.astype(np.min_scalar_type(-len(levels))))

    made: Groups = table.made((grouped_by, *columns), make)
    return made


class Combinations:
    """`CombinedLevels.codes` of many at once: an array of codes, with each column's levels looked up once.

    Parameters
    ----------
    combined : sequence of CombinedLevels
        Of two columns at most.

    Attributes
    ----------
    places : ndarray of int64, shape (2, combinations)
        Where `levels` has the first and the last column of each; the column of zeros for one that has none.
    """

    def __init__(self, combined: Sequence[CombinedLevels]) -> None:
        slots: dict[tuple[str, Vocabulary], int] = {}
        own = [
            [
                slots.setdefault((name, vocabulary(levels)), len(slots))
                for name, levels in zip(one.columns, one.levels, strict=True)
            ]
            for one in combined
        ]
        self._slots = [*slots]
        self.places = np.array([[(at or [-1])[0] for at in own], [(at or [-1])[-1] for at in own]], dtype=np.int64)
        self._steps = np.zeros((2, len(combined)), dtype=np.int64)
        self._start = np.zeros(len(combined), dtype=np.int64)
        self._apart: list[tuple[int, CombinedLevels]] = []
        # The first is that of combinations without columns, and of those that are too many for a table.
        tables, size = [np.zeros(1, dtype=np.int64)], 1
        for i, one in enumerate(combined):
            sizes = [len(levels) + 1 for levels in one.levels]
            if not sizes:
                continue
            if len(sizes) == 1:
                self._steps[0, i], width, at = 1, sizes[0], one._known + 1
            elif len(sizes) == 2 and sizes[0] * sizes[1] <= _LARGEST_TABLE:
                self._steps[:, i], width = (sizes[1], 1), sizes[0] * sizes[1]
                at = (one._known // (sizes[1] - 1) + 1) * sizes[1] + one._known % (sizes[1] - 1) + 1
            else:
                self._apart.append((i, one))
                continue
            table = np.full(width, -1, dtype=np.int64)
            table[at] = np.arange(len(at))
            self._start[i] = size
            tables.append(table)
            size += width
        self._table = np.concatenate(tables)

    def levels(self, table: Table) -> Codes:
        """Each column's levels from 1, 0 where it is new, and at the end a column of zeros; shape (n, columns + 1)."""
        out = np.zeros((len(table), len(self._slots) + 1), dtype=np.int64)
        out[:, :-1] = table.levels(self._slots) + 1
        return out

    def codes(self, table: Table, levels: Codes | None = None) -> Codes:
        """Each row's combinations, -1 where one was never seen, shape (n, combinations)."""
        levels = self.levels(table) if levels is None else levels
        first, last = self.places
        found = self._table[levels[:, first] * self._steps[0] + levels[:, last] * self._steps[1] + self._start]
        for i, one in self._apart:
            found[:, i] = one.codes(table)
        return np.asarray(found, dtype=np.int64)


class LevelValues:
    """A value for each level of several columns, looked up at once.

    Parameters
    ----------
    levels : sequence of (str, Levels)
    values : sequence of ndarray, shape (levels + 1,)
        The last of each is that of a new level.
    """

    def __init__(self, levels: Sequence[tuple[str, Levels]], values: Sequence[npt.NDArray[Any]]) -> None:
        self._slots = [(name, vocabulary(own)) for name, own in levels]
        self._start = np.cumsum([1, *(len(own) for own in values)])[:-1]
        # Code -1 is the place before the first.
        self._values = np.concatenate([np.zeros(0), *(np.roll(own, 1) for own in values)])

    def of(self, table: Table) -> npt.NDArray[Any]:
        """Each row's values, shape (n, columns)."""
        return np.asarray(self._values[table.levels(self._slots) + self._start])

    def are_new(self, table: Table) -> npt.NDArray[np.bool_]:
        """Whether each row's levels were never seen, shape (n, columns)."""
        return table.levels(self._slots) < 0
