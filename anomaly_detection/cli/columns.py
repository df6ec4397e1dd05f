"""What is said of columns on the command line, and what they were taken for."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from anomaly_detection.data.cells.cells import as_texts
from anomaly_detection.data.cells.missing import text_pattern
from anomaly_detection.data.columns.column import Column, Role
from anomaly_detection.data.columns.declarations import Declaration, read_declarations
from anomaly_detection.data.columns.names import did_you_mean
from anomaly_detection.data.columns.schema import Schema
from anomaly_detection.errors import DataError
from anomaly_detection.reports.console import printable, table

__all__ = ["COLUMN_OPTIONS", "columns_table", "declarations_of", "missing_codes"]

COLUMN_OPTIONS = {
    "timestamp": Role.TIMESTAMP,
    "id": Role.IDENTIFIER,
    "category": Role.CATEGORICAL,
    "number": Role.NUMERIC,
    "date": Role.TIMESTAMP,
    "ignore": Role.IGNORED,
}
"""The options that say what a column is."""

_KINDS = {
    Role.NUMERIC: "number",
    Role.CATEGORICAL: "category",
    Role.TIMESTAMP: "date",
    Role.IDENTIFIER: "id, not judged",
    Role.TEXT: "text, not judged",
    Role.CONSTANT: "constant",
    Role.IGNORED: "ignored",
}
_ROWS = 60
_EXAMPLES = 3
_LONGEST = 30
_EXAMPLE = 19


def declarations_of(arguments: argparse.Namespace, names: Sequence[str]) -> dict[str, Declaration]:
    """What the options and the file of ``--columns`` say of a table's columns; an option counts more than the file.

    Raises
    ------
    DataError
        For a column that is not among `names`, or that two options name.
    """
    said = {} if arguments.columns is None else read_declarations(arguments.columns, names)
    used: dict[str, str] = {} if arguments.label is None else {arguments.label: "--label"}
    _require(arguments.label, "--label", names)
    for option, role in COLUMN_OPTIONS.items():
        given = getattr(arguments, option) or []
        for name in [given] if isinstance(given, str) else given:
            _require(name, f"--{option}", names)
            before = used.setdefault(name, f"--{option}")
            if before != f"--{option}" and {before, f"--{option}"} != {"--timestamp", "--date"}:
                raise DataError(f"--{option} and {before} both name the column {name!r}; a column can be one of them.")
            said[name] = replace(said.get(name, Declaration()), role=role, reason="given")
    for name, codes in missing_codes(arguments.missing, names).items():
        if name != arguments.label:
            known = said.get(name, Declaration())
            said[name] = replace(known, more_codes=known.more_codes + codes)
    return {name: one for name, one in said.items() if name != arguments.label}


def _require(name: str | None, option: str, names: Sequence[str]) -> None:
    if name is not None and name not in names:
        near = did_you_mean(name, names)
        raise DataError(f"{option}: unknown column {name!r}{near or f'; the columns are {_listed(names)}'}.")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")


def missing_codes(given: Sequence[str], names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Of each column the codes for missing that ``--missing CODE`` and ``--missing COLUMN=CODE`` name.

    Raises
    ------
    DataError
        For a column that is not among `names`, or no code.
    """
    found: dict[str, tuple[str, ...]] = {}
    for text in given:
        # The name of a column may hold "=" itself.
        cuts = [place for place, letter in enumerate(text) if letter == "="]
        cut = next((place for place in reversed(cuts) if text[:place] in names), None)
        if cuts and cut is None:
            _require(text[: cuts[-1]], "--missing", names)
        code = (text if cut is None else text[cut + 1 :]).strip()
        if not code:
            raise DataError(f"--missing {text!r} names no code; give one such as -999 or COLUMN=-999.")
        for name in names if cut is None else [text[:cut]]:
            found[name] = (*found.get(name, ()), code)
    return found


def columns_table(schema: Schema, frame: pd.DataFrame) -> str:
    """How each column is read: its name, its kind, examples of its cells, and why."""
    shown = schema.columns[:_ROWS]
    rows = [
        {
            "column": printable(column.name)[:_LONGEST],
            "kind": _KINDS[column.role],
            "examples": _examples(frame[column.name], column),
            "why": printable(_why(column)),
        }
        for column in shown
    ]
    more = len(schema.columns) - len(shown)
    return table(rows) + (f"\n... and {more:,} more columns, in columns.toml" if more else "")


def _examples(values: pd.Series[Any], column: Column) -> str:
    """The first few different cells that are no words or codes for what is missing."""
    cells = values.iloc[:1000].dropna()
    texts = [str(text).strip() for text in pd.unique(as_texts(cells))]
    shown = [text for text in texts if text and text not in column.codes and text_pattern(text) not in column.texts]
    return ", ".join(printable(text)[:_EXAMPLE] for text in shown[:_EXAMPLES])


def _why(column: Column) -> str:
    share = "under 1%" if column.missing < 0.01 else f"{column.missing:.0%}"
    missing = f"; {share} missing" if 0 < column.missing < 1 else ""
    words = f", some as words such as {column.texts[0][:40]!r}" if column.texts and missing else ""
    return f"{column.reason}{missing}{words}"
