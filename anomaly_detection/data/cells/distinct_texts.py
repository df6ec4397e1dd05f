"""The texts of a column, each once: what a text says is found out once, however many rows say it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from anomaly_detection.data.cells.cells import as_texts

__all__ = ["DistinctTexts"]


@dataclass(frozen=True)
class DistinctTexts:
    """The texts of a column and where they stand.

    Attributes
    ----------
    texts : Series of str, shape (m,)
        In the order in which they first come. The last is None, for rows without one, whether there are any or not.
    codes : ndarray of int64, shape (n,)
        Each row's place among them.
    times : ndarray of int64, shape (m,)
        How many rows have each.
    """

    texts: pd.Series[Any]
    codes: npt.NDArray[np.int64]
    times: npt.NDArray[np.int64]

    @classmethod
    def of(cls, values: pd.Series[Any]) -> DistinctTexts:
        """Those of a column of any type."""
        codes, found = pd.factorize(as_texts(values))
        # As a list: a column of Arrow's makes a new object whenever a text is looked at.
        texts = pd.Series([*np.asarray(found, dtype=object).tolist(), None], dtype=object)
        codes = np.where(codes < 0, len(found), codes).astype(np.int64)
        return cls(texts, codes, np.bincount(codes, minlength=len(texts)).astype(np.int64))

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def levels(self) -> npt.NDArray[np.object_]:
        """The texts without the last."""
        return self.texts.to_numpy()[:-1]

    def only(self, where: npt.NDArray[np.bool_]) -> DistinctTexts:
        """The rows that have one of some of the texts."""
        place = np.where(where, np.cumsum(where) - 1, -1)[self.codes]
        texts = pd.Series([*self.texts[where].tolist(), None], dtype=object)
        return DistinctTexts(texts, place[place >= 0], np.append(self.times[where], 0))

    def commonest(self, where: npt.NDArray[np.bool_]) -> list[tuple[str, int]]:
        """Some of the `levels` and how many rows have each, the commonest first, of equal ones the earlier."""
        places = np.flatnonzero(where)
        places = places[np.argsort(-self.times[places], kind="stable")]
        return [(str(text), times) for text, times in zip(self.texts[places], self.times[places].tolist(), strict=True)]

    @cached_property
    def numbers(self) -> npt.NDArray[np.float64]:
        """Those that are numbers as programs write them, NaN for others; shape (m,)."""
        found: Any = pd.to_numeric(self.texts, errors="coerce")
        return np.asarray(found.to_numpy(dtype=np.float64, na_value=np.nan), dtype=np.float64)

    def rows(self, where: npt.NDArray[np.bool_]) -> int:
        """How many rows have one of some of the texts."""
        return int(self.times[where].sum())

    def counted(self, where: npt.NDArray[np.bool_]) -> Counter[str]:
        """How many rows have each of some of the texts, without the space around it."""
        counts: Counter[str] = Counter()
        for place in np.flatnonzero(where & (self.times > 0)).tolist():
            counts[str(self.texts[place]).strip()] += int(self.times[place])
        return counts
