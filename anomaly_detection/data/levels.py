"""Levels of categories as integer codes: how many times each occurred, alone or together with another column's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

__all__ = ["MISSING_LEVEL", "CombinedLevels", "Levels", "from_codes"]

MISSING_LEVEL = "(missing)"

Codes = npt.NDArray[np.int64]


def from_codes(codes: npt.NDArray[Any], names: Sequence[str] | npt.NDArray[np.str_]) -> pd.Categorical:
    """Make a categorical column of positions in `names`; -1 is missing."""
    make: Any = pd.Categorical.from_codes  # the stubs know only literal kinds of codes
    return make(codes, categories=pd.Index(list(names), dtype=object))


class Levels:
    """The levels of one categorical column and their counts; a missing value is a level of its own."""

    def __init__(self, column: pd.Series[Any]) -> None:
        codes, categories = self._own_codes(column)
        counts = np.bincount(codes, minlength=len(categories))
        seen = counts > 0
        self.names: pd.Index[Any] = categories[seen]
        self.counts: Codes = counts[seen].astype(np.int64)

    @staticmethod
    def _own_codes(column: pd.Series[Any]) -> tuple[Codes, pd.Index[Any]]:
        if not isinstance(column.dtype, pd.CategoricalDtype):
            column = column.astype("category")
        categories: pd.Index[Any] = column.cat.categories.astype(object)
        # Where a text says so already, that is the level of what is missing.
        if MISSING_LEVEL not in categories:
            categories = pd.Index([*categories, MISSING_LEVEL], dtype=object)
        codes = column.cat.codes.to_numpy().astype(np.int64)
        return np.where(codes < 0, list(categories).index(MISSING_LEVEL), codes), categories

    def __len__(self) -> int:
        return len(self.names)

    def codes(self, column: pd.Series[Any]) -> Codes:
        """Give each row's level, -1 where it was never seen."""
        own, categories = self._own_codes(column)
        place: Codes = self.names.get_indexer(categories).astype(np.int64)
        return place[own]


class CombinedLevels:
    """The combinations of several columns' levels that occurred, with counts; without columns there is one, of all."""

    def __init__(self, frame: pd.DataFrame, columns: Sequence[str]) -> None:
        self.columns = tuple(columns)
        self.levels = tuple(Levels(frame[name]) for name in columns)
        keys = self._keys(frame)
        self._known, counts = np.unique(keys, return_counts=True)
        self.counts: Codes = counts.astype(np.int64)

    def __len__(self) -> int:
        return len(self._known)

    def _keys(self, frame: pd.DataFrame) -> Codes:
        """Number each combination; -1 where any level is new."""
        key = np.zeros(len(frame), dtype=np.int64)
        for name, levels in zip(self.columns, self.levels, strict=True):
            codes = levels.codes(frame[name])
            key = np.where((key < 0) | (codes < 0), -1, key * len(levels) + codes)
        return key

    def codes(self, frame: pd.DataFrame) -> Codes:
        """Give each row's combination, -1 where it was never seen."""
        keys = self._keys(frame)
        place = np.searchsorted(self._known, keys)
        place[place == len(self._known)] = 0
        return np.where(self._known[place] == keys, place, -1)
