"""`RecordKeys`: by what records are known again, by compiled code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from anomaly_detection.data.columns.table import Coded
from anomaly_detection.features.compiled.gathered import Gathered
from anomaly_detection.features.compiled.program import Program
from anomaly_detection.features.repeats.coincidences import cell_keys, column_key

__all__ = ["RecordKeys"]

Keys = npt.NDArray[np.uint64]

_POWERS = 10.0 ** np.arange(-300.0, 309.0)


class RecordKeys:
    """Keys of records by the cells of several sets of columns, each as `coincidences.combined` has them.

    Parameters
    ----------
    program : Program
        That gathers the columns.
    sets : sequence of sequence of str
    """

    def __init__(self, program: Program, sets: Sequence[Sequence[str]]) -> None:
        from anomaly_detection.features.compiled.key_kernels import DATES, LEVELS, NUMBERS

        names = list(dict.fromkeys(name for one in sets for name in one))
        columns = []
        for name in names:
            kind, slot = NUMBERS, 0
            if program.is_date(name):
                kind, place = DATES, program.days(name).which
            elif program.is_number(name):
                place = program.number(name).which
            else:
                value = program.level(name, _level_keys)
                kind, place, slot = LEVELS, value.which, value.second
            wanted = sum(1 << i for i, one in enumerate(sets) if name in one)
            columns.append((kind, int(place), slot, wanted))
        self._columns = np.array(columns, dtype=np.int64).reshape(-1, 4)
        self._column_keys = np.array([column_key(name) for name in names], dtype=np.uint64)
        self._sets = len(sets)

    def of(self, X: Gathered, n: int) -> Keys:
        """The keys of n records, shape (sets, n)."""
        from anomaly_detection.features.compiled.key_kernels import keys

        out = np.zeros((self._sets, n), dtype=np.uint64)
        with np.errstate(divide="ignore"):
            logs = np.log10(np.abs(X.numbers))
        levels: Any = X.levels.view(np.uint64)
        keys(X.numbers, logs, _POWERS, X.dates, X.codes, levels, X.shapes, self._columns, self._column_keys, out)
        return out


def _level_keys(column: Coded) -> npt.NDArray[np.float64]:
    """`cell_keys`, as the bits of numbers."""
    return cell_keys(column).view(np.float64)
