"""`Remembered`: training records in order of their keys, so that a few new ones find those that agree with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from anomaly_detection.features.repeats.coincidences import mixed

__all__ = ["Remembered"]

Codes = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]


class Remembered:
    """Records by the keys of their cells.

    Parameters
    ----------
    cells : ndarray of uint64, shape (columns, n)
        A key for each value and its span of time; 0 where it is missing.
    spans : ndarray of int64, shape (n,)
        Each record's span of time.
    whole : ndarray of uint64, shape (n,)
        A key for all that each record says.
    """

    def __init__(self, cells: Keys, spans: Codes, whole: Keys) -> None:
        self._cells, self._spans = cells, spans
        self._values = _Sorted(_with_column(cells).ravel(), np.flatnonzero(cells.ravel() > 0))
        self._given = _Sorted(_with_column(_spans_of(cells, spans)).ravel(), np.flatnonzero(cells.ravel() > 0))
        self._whole, self._of_span = _Sorted(whole), _Sorted(spans)

    def arrays(self) -> tuple[npt.NDArray[Any], ...]:
        """What `key_kernels.agree` looks into."""
        if not len(self._spans) == self._cells.shape[1] == len(self._whole.keys):
            raise ValueError("what is remembered of each record is not of the same records")
        return (
            *(self._values.keys, self._values.places, self._given.keys, self._whole.keys, self._whole.places),
            *(self._of_span.keys, self._spans, self._cells),
        )

    def again(self, whole: Keys, spans: Codes) -> Codes:
        """The records of these spans that are among those with these keys, by their positions."""
        first, last = self._whole.ends(np.unique(whole) if len(whole) > 1 else whole)
        found = self._whole.between(first, last)
        return found[np.isin(self._spans[found], spans)] if len(found) else found

    def alike(self, keys: Keys, but: Codes) -> Codes:
        """How many records have each key of a column, shape (columns, rows), those at the positions `but` aside."""
        found = self._values.counts(_with_column(keys))
        if len(but):
            found -= _Sorted(_with_column(self._cells[:, but]).ravel()).counts(_with_column(keys))
        return np.where(keys > 0, found, 0)

    def given(self, spans: Codes, but: Codes) -> Codes:
        """How many records of each span have a value, shape (columns, rows), those at the positions `but` aside."""
        asked = _with_column(_spans_of(self._cells, spans))
        found = self._given.counts(asked)
        if len(but):
            left_out = self._cells[:, but].ravel() > 0
            keys = _with_column(_spans_of(self._cells, self._spans[but])).ravel()
            found -= _Sorted(keys, np.flatnonzero(left_out)).counts(asked)
        return found

    def together(self, spans: Codes, but: Codes) -> Codes:
        """How many records each span has, those at the positions `but` aside."""
        return self._of_span.counts(spans) - (_Sorted(self._spans[but]).counts(spans) if len(but) else 0)

    def agreeing(self, columns: Sequence[int], keys: Keys, but: Codes) -> Codes:
        """In how many columns, from two up, each of a few rows agrees with one and the same other, here or remembered.

        `keys` are those of all columns, shape (columns, rows); `columns` are the numbers of those that are looked at.
        """
        n = keys.shape[1]
        first, last = self._values.ends(_with_column(keys))
        agreed = np.zeros(n, dtype=np.int64)
        for row in range(n):
            found = [i for i in columns if keys[i, row] > 0]
            here = (keys[found] == keys[found, row, None]).sum(axis=0)
            there = [self._values.between(first[i, row : row + 1], last[i, row : row + 1]) for i in found]
            there = [rows % len(self._spans) for rows in there if len(rows)]
            most = np.bincount(np.concatenate(there)) if len(there) > 1 else np.zeros(0, dtype=np.int64)
            most[but[but < len(most)]] = 0
            here = np.delete(here, row)
            agreed[row] = max(int(here.max(initial=0)), int(most.max(initial=0)))
        return np.where(agreed >= 2, agreed, 0)


def _with_column(keys: Keys) -> Keys:
    """Keys that tell from which column each comes."""
    return mixed(keys + np.arange(len(keys), dtype=np.uint64)[:, None])


def _spans_of(cells: Keys, spans: Codes) -> Keys:
    """Each column's key of the spans."""
    return mixed(np.broadcast_to(spans.astype(np.uint64), (len(cells), len(spans))))


class _Sorted:
    """Keys in ascending order, and where each was; of those at some places, if these are given."""

    def __init__(self, keys: npt.NDArray[np.integer], places: Codes | None = None) -> None:
        order = np.argsort(keys if places is None else keys[places], kind="stable")
        self.places = order if places is None else places[order]
        self.keys = keys[self.places]

    def ends(self, keys: npt.NDArray[np.integer]) -> tuple[Codes, Codes]:
        """Where each key begins in the order, and where what is larger does."""
        return np.searchsorted(self.keys, keys), np.searchsorted(self.keys, keys, side="right")

    def counts(self, keys: npt.NDArray[np.integer]) -> Codes:
        """How often each key occurs."""
        first, last = self.ends(keys)
        return np.asarray(last - first, dtype=np.int64)

    def between(self, first: Codes, last: Codes) -> Codes:
        """Where those in some stretches of the order were."""
        if len(first) == 1:
            return np.asarray(self.places[first[0] : last[0]], dtype=np.int64)
        return np.concatenate([self.places[start:stop] for start, stop in zip(first, last, strict=True)])
