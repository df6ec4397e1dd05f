"""`CompiledFeatures`: the features of fitted branches, of all that have one by one program, of the others as ever."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from anomaly_detection.data.columns.table import Table
from anomaly_detection.features.compiled.choice import one_by_compiled_code
from anomaly_detection.features.compiled.gathered import Gathered, Gathering
from anomaly_detection.features.compiled.keys import RecordKeys
from anomaly_detection.features.compiled.machine import Machine
from anomaly_detection.features.compiled.program import Program, Value
from anomaly_detection.features.numbers.bounds import bounded
from mlx_iforest.threads import run

__all__ = ["CompiledFeatures"]

Floats32 = npt.NDArray[np.float32]
Places = npt.NDArray[np.int64]

_ROWS_OF_A_TASK = 4_096
_NAT = np.iinfo(np.int64).min
_PERIOD = 28 * 86_400_000_000_000


class CompiledFeatures:
    """The kept features of records.

    Parameters
    ----------
    program : Program
        Without anything in it.
    branches : sequence of (str, branch, list of str)
        With the columns of each.
    kept : ndarray of int64
        Which of their features are wanted, side by side.
    more : int
        Columns that are left behind them, for what is said of whole rows.
    """

    def __init__(
        self, program: Program, branches: Sequence[tuple[str, Any, list[str]]], kept: Places, more: int
    ) -> None:
        self._width = len(kept) + more
        self._readings: _Readings | None = None
        self._plain: list[tuple[Any, list[str], Places, Places]] = []
        self._with_others: list[tuple[Any, int, Places, Places]] = []
        wanted: list[Value] = []
        stored: list[int] = []
        first = 0
        for _, branch, columns in branches:
            count = len(branch.get_feature_names_out())
            places = np.flatnonzero((kept >= first) & (kept < first + count))
            own = kept[places] - first
            first += count
            if not len(own):
                continue
            if hasattr(branch, "of_record"):
                self._readings = _Readings(program, branch)
            values = branch.emit(program, columns)
            if values is None:
                self._plain.append((branch, columns, own, places))
                continue
            wanted += [values[i] for i in own.tolist()]
            stored += places.tolist()
            if hasattr(branch, "with_others"):
                self._with_others.append((branch, count, own, places))
        # Some of the other branches know records by their keys.
        known = [(branch.unnamed, branch.unnamed_columns) for _, branch, _ in branches if hasattr(branch, "unnamed")]
        known += [(branch.whole, branch.said) for _, branch, _ in branches if hasattr(branch, "whole")]
        self._known_by = [under for under, _ in known]
        self._keys = RecordKeys(program, [names for _, names in known])
        # Of a record by itself what each of its cells adds to a key, too: of a batch few are asked for it.
        self._amended = [branch for _, branch, _ in branches if hasattr(branch, "amended_")]
        apart = [[name] for branch in self._amended for name in branch.amended_]
        self._keys_of_one = RecordKeys(program, [*(names for _, names in known), *apart])
        self._machine = Machine(program, wanted, stored)
        self._gathering = Gathering(program)

    def of_each(self, tables: Sequence[Table]) -> Floats32:
        """The features of records of one row each, as each has them by itself; else as `of`."""
        n = len(tables)
        out = np.empty((n, self._width), dtype=np.float32)
        gathered = self._gathering.of_each(tables)
        if self._known_by:
            keys = self._keys_of_one.of(gathered, n)
            for row, X in enumerate(tables):
                said, at = keys[:, row : row + 1], len(self._known_by)
                for under, key in zip(self._known_by, said, strict=False):
                    X.made(under, partial(np.asarray, key))
                for branch in self._amended:
                    first, at = at, at + len(branch.amended_)
                    X.made(branch.parts, partial(np.asarray, said[first:at]))
        self._machine.task(None, gathered, out)(slice(0, n))
        for branch, columns, own, places in self._plain:
            if getattr(branch, "fewest", 1) > 1:
                out[:, places] = 0.0
                continue
            by_code = self._readings is not None and branch is self._readings.branch and one_by_compiled_code()
            for row, X in enumerate(tables):
                if by_code and self._readings is not None:
                    found = self._readings.of(X, gathered, row)
                else:
                    found = branch.features_of(X if branch.by_name else X.only(columns))
                out[row, places] = found[0, own]
        return out

    def of(self, X: Table, n_threads: int) -> Floats32:
        """The features of records that come together, shape (n, kept + more); those behind are not filled in."""
        if len(X) == 1:
            return self.of_each([X])
        out = np.empty((len(X), self._width), dtype=np.float32)
        gathered = self._gathering.of(X)
        if self._known_by:
            for under, keys in zip(self._known_by, self._keys.of(gathered, len(X)), strict=True):
                X.made(under, partial(np.asarray, keys))
        store = self._machine.task(X, gathered, out)
        rows = len(X) if n_threads == 1 else _ROWS_OF_A_TASK
        tasks = [partial(store, slice(first, min(first + rows, len(X)))) for first in range(0, len(X), rows)]
        # What takes longest first.
        tasks = [*(partial(_by_branch, X, out, *one) for one in self._plain), *tasks]
        run(_done, tasks, n_threads)
        for branch, count, own, places in self._with_others:
            found = np.zeros((len(X), count), dtype=np.float32)
            found[:, own] = out[:, places]
            branch.with_others(X, found)
            out[:, places] = found[:, own]
        return out


def _by_branch(X: Table, out: Floats32, branch: Any, columns: list[str], own: Places, places: Places) -> None:
    """Store the features of a branch that has no program."""
    if len(X) < getattr(branch, "fewest", 0):
        out[:, places] = 0.0
    else:
        out[:, places] = branch.features_of(X if branch.by_name else X.only(columns))[:, own]


def _done(task: Callable[[], None]) -> None:
    task()


class _Readings:
    """`Readings` of one record, whose columns are gathered already."""

    def __init__(self, program: Program, branch: Any) -> None:
        self.branch = branch
        self._places = np.array([int(program.number(name).which) for name in branch.judged], dtype=np.int64)
        # The period of four weeks that a date falls into.
        self._date = next((int(program.days(program.part_of(name).date).which) for name in branch.within), None)

    def of(self, X: Table, gathered: Gathered, row: int) -> Floats32:
        """The evidence, shape (1, features); `row` is its place among those that were gathered."""
        span = 0
        if self._date is not None:
            moment = int(gathered.dates[self._date, row])
            span = -1 if moment == _NAT else moment // _PERIOD
        values = bounded(gathered.numbers[self._places, row])
        whole = X.made(self.branch.whole, partial(np.zeros, 0))[0]
        return self.branch.of_record(X, values, span, whole)  # type: ignore[no-any-return]
