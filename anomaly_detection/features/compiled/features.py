"""`CompiledFeatures`: the features of fitted branches, of all that have one by one program, of the others as ever."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from anomaly_detection.data.table import Table
from anomaly_detection.features.compiled.machine import Machine
from anomaly_detection.features.compiled.program import Program, Value

__all__ = ["CompiledFeatures"]

Floats32 = npt.NDArray[np.float32]
Places = npt.NDArray[np.int64]


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
    """

    def __init__(self, program: Program, branches: Sequence[tuple[str, Any, list[str]]], kept: Places) -> None:
        self._width = len(kept)
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
            values = branch.emit(program, columns)
            if values is None:
                self._plain.append((branch, columns, own, places))
                continue
            wanted += [values[i] for i in own.tolist()]
            stored += places.tolist()
            if hasattr(branch, "with_others"):
                self._with_others.append((branch, count, own, places))
        self._machine = Machine(program, wanted, stored)

    def of(self, X: Table) -> Floats32:
        """The features, shape (n, kept)."""
        out = np.empty((len(X), self._width), dtype=np.float32)
        self._machine.run(X, out)
        for branch, count, own, places in self._with_others if len(X) > 1 else ():
            found = np.zeros((len(X), count), dtype=np.float32)
            found[:, own] = out[:, places]
            branch.with_others(X, found)
            out[:, places] = found[:, own]
        for branch, columns, own, places in self._plain:
            few = len(X) < getattr(branch, "fewest", 0)
            out[:, places] = 0.0 if few else branch.features_of(X.only(columns))[:, own]
        return out
