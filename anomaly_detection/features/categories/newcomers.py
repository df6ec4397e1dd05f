"""`Newcomers`: levels that came after the training, alone or beside another: new for a while, then known."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from anomaly_detection.data.columns.table import Table

__all__ = ["Newcomer", "Newcomers", "Places"]

Newcomer: TypeAlias = tuple[Any, ...]
"""A column and its level, or two columns and theirs."""

_RECORDS, _DAYS = 5, 3
_A_DAY = 100  # records, where they have no date
_MOST = 10_000

Places: TypeAlias = npt.NDArray[np.int64]

_Met: TypeAlias = tuple[int, tuple[int, ...]]
"""In how many records something was met, and on which days, as far as they matter."""
_NEVER: _Met = (0, ())
_Brought: TypeAlias = dict[int, dict[Newcomer, list[int]]]


class Newcomers:
    """What no training record had, and how often it has come since; safe to share between threads.

    What came in five records, on three days of the main date, is known from the sixth on, and no evidence any more. A
    slip does not come so often, and an import that is wrong throughout has a day or two. A record is judged by those
    before it alone, one at a time or many at once.

    Parameters
    ----------
    branches : sequence of (branch, columns, own, places)
        Those with a `newcomers` method; which of the features of each are kept, and their places among all that are.
    date : str, optional
        The main date.

    Attributes
    ----------
    records : int
        How many were remembered.
    """

    def __init__(self, branches: Sequence[tuple[Any, list[str], Places, Places]], date: str | None) -> None:
        self._branches = branches
        self._date = date
        self._lock = threading.Lock()
        self._met: OrderedDict[Newcomer, _Met] = OrderedDict()
        self.records = 0

    def __reduce__(self) -> tuple[Any, ...]:
        # What was judged since the training has no place in files.
        return Newcomers, (self._branches, self._date)

    def settle(self, tables: Sequence[Table], found: npt.NDArray[np.float32]) -> None:
        """Take evidence out of features, shape (n, n_features), of records in their order, in one table or in several.

        It is that of what is known by now.
        """
        since: dict[Newcomer, _Met] = {}
        first = 0
        for X in tables:
            features = found[first : first + len(X)]
            for row, met in self._of(X, features).items():
                day = self._day(X, row, self.records + first)
                for newcomer, places in met.items():
                    so_far = since.get(newcomer) or self._met.get(newcomer, _NEVER)
                    if _is_known(so_far):
                        features[row, places] = 0.0
                    since[newcomer] = _again(so_far, day)
            first += len(X)

    def remember(self, X: Table) -> None:
        """Take in records that were judged."""
        with self._lock:
            for row, met in self._of(X, None).items():
                day = self._day(X, row, self.records)
                for newcomer in met:
                    self._met[newcomer] = _again(self._met.get(newcomer, _NEVER), day)
                    self._met.move_to_end(newcomer)
            self.records += len(X)
            while len(self._met) > _MOST:
                self._met.popitem(last=False)

    def _of(self, X: Table, features: npt.NDArray[np.float32] | None) -> _Brought:
        """What each row brings that no training record had, in the order of rows, and the features that judge it.

        Found once for a table, by its `features` if there are any: what is no evidence is not new.
        """
        made: _Brought = X.made((self, "brought"), lambda: self._found(X, features))
        return made

    def _found(self, X: Table, features: npt.NDArray[np.float32] | None) -> _Brought:
        found: _Brought = {}
        for branch, columns, own, places in self._branches:
            evidence = branch.features_of(X.only(columns))[:, own] if features is None else features[:, places]
            rows, which = np.nonzero(evidence > 0.0)
            if rows.size:
                for row, at, newcomer in branch.newcomers(X, rows, own[which]):
                    found.setdefault(row, {}).setdefault(newcomer, []).append(int(places[which[at]]))
        return dict(sorted(found.items()))

    def _day(self, X: Table, row: int, before: int) -> int | None:
        if self._date is None:
            return (before + row) // _A_DAY
        day = X.dates(self._date)[row]
        return None if np.isnat(day) else int(day.astype("datetime64[D]").astype(np.int64))


def _is_known(met: _Met) -> bool:
    return met[0] >= _RECORDS and len(met[1]) >= _DAYS


def _again(met: _Met, day: int | None) -> _Met:
    count, days = met
    is_another = day is not None and day not in days and len(days) < _DAYS
    return min(count + 1, _RECORDS), (*days, day) if is_another and day is not None else days
