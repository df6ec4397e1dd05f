"""Errors put into real records, so that a model can be judged where nobody has labels.

What can be changed is found from the schema and the records, by rules that no model takes part in; every new cell is
written as its column writes its own.
"""

from __future__ import annotations

import difflib
import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from anomaly_detection.data.columns.schema import Schema, infer_schema
from anomaly_detection.data.frames import to_frame
from anomaly_detection.errors import DataError
from anomaly_detection.evaluation.error_kind import Error, ErrorKind
from anomaly_detection.evaluation.record_errors import RECORD_ERRORS
from anomaly_detection.evaluation.record_table import RecordTable, with_cells
from anomaly_detection.evaluation.supply_chain_errors import SUPPLY_CHAIN_ERRORS

__all__ = ["ERROR_KINDS", "INJECTED_KINDS", "SUPPLY_CHAIN_KINDS", "Injected", "check_kinds", "find_errors", "inject"]

ERROR_KINDS: Mapping[str, ErrorKind] = MappingProxyType({**SUPPLY_CHAIN_ERRORS, **RECORD_ERRORS})
"""What each kind is, by its name."""

INJECTED_KINDS = tuple(ERROR_KINDS)
"""What `inject` can put in."""

SUPPLY_CHAIN_KINDS = tuple(SUPPLY_CHAIN_ERRORS)
"""Those that go against what the records of a supply chain have in common."""

_SAID = 3  # columns of a kind
_MORE = "more rows that allow it, or a larger share"


@dataclass(frozen=True)
class Injected:
    """Records of which some were made anomalies.

    Attributes
    ----------
    frame : pandas.DataFrame
        The records, with the index they came with, and the dtypes where those can hold the errors.
    labels : ndarray of int8, shape (n,)
        -1 where a cell was changed, else 1. What was odd before counts as 1: nobody knows it.
    anomaly_types : ndarray of str, shape (n,)
        ``normal`` or one of `INJECTED_KINDS`.
    columns : ndarray of str, shape (n,)
        The column that was changed, the first of several; empty where none was.
    note : str
        What was done, in a paragraph.
    left_out : dict of kind to str
        The kinds asked for that no row got, each with what it needs.
    """

    frame: pd.DataFrame
    labels: npt.NDArray[np.int8]
    anomaly_types: npt.NDArray[np.object_]
    columns: npt.NDArray[np.object_]
    note: str
    left_out: dict[str, str]


def check_kinds(kinds: Sequence[str]) -> None:
    """Raise `DataError` for a kind of error that there is not."""
    for kind in kinds:
        if kind not in ERROR_KINDS:
            near = difflib.get_close_matches(str(kind), INJECTED_KINDS, n=1, cutoff=0.4)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise DataError(f"Unknown kind {kind!r}{hint}; expected some of {', '.join(INJECTED_KINDS)}.")


def inject(
    frame: Any,
    schema: Schema | None = None,
    *,
    kinds: Sequence[str] = INJECTED_KINDS,
    columns: Sequence[str] | None = None,
    share: float = 0.02,
    seed: int = 0,
    errors: Mapping[str, Sequence[Error]] | None = None,
) -> Injected:
    """Make some records wrong, as people and systems do, and say which.

    Parameters
    ----------
    frame : table
        Anything `to_frame` takes; it stays as it is.
    schema : Schema, optional
        What the columns are; inferred if not given.
    kinds : sequence of str, default INJECTED_KINDS
        Each that the table has the columns for gets the same number of rows, as far as the records allow it.
    columns : sequence of str, optional
        The columns to change; all that can be if not given.
    share : float, default 0.02
        Part of the rows to change, above 0 and at most 0.5.
    seed : int, default 0
    errors : mapping of kind to sequence of Error, optional
        What `find_errors` found in this table, in place of a schema and columns; finding takes longest.

    Returns
    -------
    Injected

    Raises
    ------
    DataError
        Unusable arguments, or records in which nothing can be changed in these ways.
    """
    frame = to_frame(frame)
    check_kinds(kinds)
    if isinstance(share, bool) or not isinstance(share, numbers.Real) or not 0.0 < share <= 0.5:
        raise DataError(f"The share to change is {share!r}; give a number above 0 and at most 0.5.")
    if errors is None:
        errors = find_errors(frame, infer_schema(frame) if schema is None else schema, kinds, columns)
    errors = {kind: errors[kind] for kind in dict.fromkeys(kinds) if kind in errors}
    rng = np.random.default_rng(seed)
    types = np.full(len(frame), "normal", dtype=object)
    where = np.full(len(frame), "", dtype=object)
    free = np.ones(len(frame), dtype=bool)
    cells: dict[str, dict[int, Any]] = {}
    wanted = max(1, round(share * len(frame)))
    for i, (kind, found) in enumerate(errors.items()):
        each = _shares(wanted // len(errors) + (i < wanted % len(errors)), len(found))
        short = 0
        for error, count in zip(rng.permutation(np.array(found, dtype=object)), each, strict=True):
            changes = error.put(rng.permutation(np.flatnonzero(free)), count + short, rng)
            short += count - len(changes)
            for change in changes:
                types[change.row], where[change.row] = kind, next(iter(change.cells))
                free[[change.row, *change.keeps]] = False
                for name, cell in change.cells.items():
                    cells.setdefault(name, {})[change.row] = cell
    if not cells:
        raise DataError(
            f"Nothing in these records can be changed in the ways asked for; expected "
            f"{'; or '.join(dict.fromkeys(ERROR_KINDS[kind].needs for kind in kinds))}."
        )
    result = frame.copy()
    for name in sorted(cells):
        result[name] = with_cells(frame[name], cells[name])
    left_out = {
        kind: _MORE if kind in errors else ERROR_KINDS[kind].needs for kind in kinds if not (types == kind).any()
    }
    labels = np.where(types != "normal", -1, 1).astype(np.int8)
    return Injected(result, labels, types, where, _note(types, where, errors), left_out)


def find_errors(
    frame: pd.DataFrame, schema: Schema, kinds: Sequence[str], columns: Sequence[str] | None = None
) -> dict[str, list[Error]]:
    """Find the ways to make each kind of error, of those that a table has the columns for."""
    table = RecordTable(frame, schema)
    for name in columns or ():
        table.schema[name]  # says what was meant if there is no such column
    allowed = set(table.frame.columns if columns is None else columns)
    found = {
        kind: [error for error in ERROR_KINDS[kind].find(table) if allowed.issuperset(error.columns)]
        for kind in dict.fromkeys(kinds)
    }
    return {kind: errors for kind, errors in found.items() if errors}


def _shares(count: int, parts: int) -> list[int]:
    return [count // parts + (i < count % parts) for i in range(parts)]


def _note(
    types: npt.NDArray[np.object_],
    columns: npt.NDArray[np.object_],
    errors: Mapping[str, Sequence[Error]],
) -> str:
    parts = []
    for kind, found in errors.items():
        done = set(columns[types == kind])
        says = list(dict.fromkeys(error.says for error in found if done.intersection(error.columns)))
        more = [f"{len(says) - _SAID} more"] if len(says) > _SAID else []
        if says:
            parts.append(f"{int((types == kind).sum())} x {kind} ({'; '.join([*says[:_SAID], *more])})")
    return f"{int((types != 'normal').sum())} of {len(types)} records were changed: {', '.join(parts)}."
