"""`ErrorKind`: a kind of error that people and systems make in records, and how it is put into some rows of a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from anomaly_detection.evaluation.record_table import RecordTable

__all__ = ["CellError", "Cells", "Change", "Error", "ErrorKind", "Rows"]

Rows = npt.NDArray[np.int64]
Cells = Mapping[str, Any]
"""New raw cells of a row, by column."""


@dataclass(frozen=True)
class Change:
    """One row made wrong.

    Attributes
    ----------
    row : int
        Position in the table.
    cells : mapping of column to cell
        What stands there now; the first is the one to blame.
    keeps : tuple of int
        Rows that have to stay as they are, or the error would be another one.
    """

    row: int
    cells: Cells
    keeps: tuple[int, ...] = ()


class Error(Protocol):
    """A way to make rows of one table wrong."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it may change."""
        ...

    @property
    def says(self) -> str:
        """What it changes, in a few words."""
        ...

    def put(self, rows: Rows, count: int, rng: np.random.Generator) -> list[Change]:
        """Make up to `count` of `rows` wrong, which come in random order; fewer where they do not allow it."""
        ...


@dataclass(frozen=True)
class ErrorKind:
    """A kind of error.

    Attributes
    ----------
    about : str
        What it does to a record, in a few words.
    needs : str
        What a table must have for it.
    find : callable
        Gives the ways to make it in a table; none where the table lacks what it needs.
    """

    about: str
    needs: str
    find: Callable[[RecordTable], Sequence[Error]]


@dataclass(frozen=True)
class CellError:
    """An error that each row takes by itself; `make` gives its new cells, None where this row cannot have it."""

    columns: tuple[str, ...]
    make: Callable[[int, np.random.Generator], Cells | None]

    @property
    def says(self) -> str:
        return " and ".join(self.columns)

    def put(self, rows: Rows, count: int, rng: np.random.Generator) -> list[Change]:
        """Make the first rows wrong that can be."""
        made: list[Change] = []
        for row in rows.tolist() if count else ():
            cells = self.make(row, rng)
            if cells is not None:
                made.append(Change(row, cells))
            if len(made) == count:
                break
        return made
