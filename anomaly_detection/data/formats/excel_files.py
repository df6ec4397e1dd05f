"""Workbooks of Excel and LibreOffice; python-calamine reads them, which need not be installed for anything else."""

from __future__ import annotations

import datetime
from typing import Any

import pandas as pd

from anomaly_detection.data.cells.typed_columns import typed_frame
from anomaly_detection.data.formats.headers import find_header, named
from anomaly_detection.data.formats.layout import Layout
from anomaly_detection.data.formats.total_lines import (
    MOST_TOTALS,
    is_total,
    said_of_last,
    said_of_totals,
    total_name,
    totals_below,
)
from anomaly_detection.data.sources import Source
from anomaly_detection.errors import DataError, first_line
from anomaly_detection.texts.said import say

__all__ = ["read_excel"]

_Row = list[Any]
_MIDNIGHT = datetime.time()
_EXACT = 2**53
_FEWEST_SUMMED = 5


def read_excel(source: Source, layout: Layout) -> tuple[pd.DataFrame, list[str]]:
    """Read one sheet of a workbook.

    Parameters
    ----------
    source : Source
    layout : Layout

    Returns
    -------
    frame : pandas.DataFrame
        Numbers that are whole in all of a column are whole, dates are dates; blank cells are missing.
    remarks : list of str
        What is to be said: of rows left out.

    Raises
    ------
    DataError
        If it is no workbook, or a damaged or locked one; if several sheets hold something and none is named; if
        python-calamine is not installed.
    OSError
        If it cannot be read.
    """
    name, rows = _sheet(source, layout)
    label = say("%(label)s (sheet %(name)s)", label=source.label, name=repr(name))
    start = layout.skip_rows
    texts = [["" if cell is None else str(cell) for cell in row] for row in rows[: (start or 0) + 60]]
    if start is None:
        start = find_header(texts) if layout.header else 0
    while start < len(rows) and _is_blank(rows[start]):
        start += 1
    remarks = []
    if layout.header:
        above = ["; ".join(filter(None, texts[place])) for place in range(start)] if layout.skip_rows is None else []
        if any(above):
            told = "; ".join(repr(title[:60]) for title in above if title)
            remarks.append(f"the header is taken to be row {start + 1}, what stands above it is left out ({told}).")
    if start >= len(rows):
        raise DataError(say("%(label)s has no rows; expected a header and at least one record.", label=label))
    head = ["" if cell is None else str(cell) for cell in rows[start]]
    records = [row for row in rows[start + layout.header :] if not _is_blank(row)]
    blank = len(rows) - start - layout.header - len(records)
    if blank:
        remarks.append(f"{'1 blank row is' if blank == 1 else f'{blank:,} blank rows are'} left out.")
    if not records:
        raise DataError(say("%(label)s has a header but no records; expected at least one.", label=label))
    if len(records) > _FEWEST_SUMMED:
        texts = [["" if cell is None else str(cell) for cell in row] for row in records]
        usual = [row for row in texts[:-MOST_TOTALS] if total_name(row) is None] or texts
        filled = [all(row[place] for row in usual) for place in range(len(head))]
        within = [place for place, row in enumerate(texts[:-MOST_TOTALS]) if is_total(row, filled)]
        if within:
            first = total_name(texts[within[0]])
            lines = "1 row is a total" if len(within) == 1 else f"{len(within):,} rows are totals"
            remarks.append(f"{lines} among the records, left out; the first is {first!r}.")
            gone = set(within)
            kept = [place for place in range(len(records)) if place not in gone]
            records, texts = [records[place] for place in kept], [texts[place] for place in kept]
        last = texts[-MOST_TOTALS:]
        if totals := totals_below(last, filled):
            del records[-len(totals) :]
            remarks.append(said_of_totals(totals, "row"))
        else:
            remarks += said_of_last(last, filled, "row")
    names, value = named(head) if layout.header else ([f"x{place}" for place in range(len(head))], "")
    if value and names != [str(place) for place in range(len(names))]:
        remarks.append(
            f"row {start + 1} names the columns, and one of them {value.strip()!r}; if it is a record, add --no-header,"
            " if the names are further down, --skip-rows."
        )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(
            say(
                "%(label)s: duplicated column name(s): %(names)s; rename them.",
                label=label,
                names=", ".join(map(repr, twice[:3])),
            )
        )
    columns = {name: [row[place] for row in records] for place, name in enumerate(names)}
    # A sheet reaches as far as a cell has a colour.
    used = {
        name: cells
        for place, (name, cells) in enumerate(columns.items())
        if head[place].strip() or any(cell is not None for cell in cells)
    }
    return typed_frame(used), [f"{label}: {remark}" for remark in remarks]


def _sheet(source: Source, layout: Layout) -> tuple[str, list[_Row]]:
    """The name and the rows, all of one length, of the sheet that is asked for or the only one with cells."""
    layout.refuse(source.label, lines=True, sheets=True)
    try:
        from python_calamine import CalamineError, CalamineWorkbook
    except ModuleNotFoundError as error:
        raise DataError(
            say(
                "%(label)s is a workbook, and reading it needs python-calamine; run pip install 'mlx-iforest[excel]'"
                " or save it as CSV.",
                label=source.label,
            )
        ) from error
    source.refuse_bomb()
    try:
        with source.random_access() as file, CalamineWorkbook.from_filelike(file) as book:
            names = book.sheet_names
            if layout.sheet is not None and layout.sheet not in names:
                raise DataError(
                    say(
                        "%(label)s has no sheet %(sheet)s; it has %(names)s.",
                        label=source.label,
                        sheet=repr(layout.sheet),
                        names=_listed(names),
                    )
                )
            sheets = {}
            for name in names if layout.sheet is None else [layout.sheet]:
                rows = [[_value(cell) for cell in row] for row in book.get_sheet_by_name(name).to_python(False)]
                if any(not _is_blank(row) for row in rows):
                    sheets[name] = rows
    except CalamineError as error:
        what = say("no workbook, or a damaged or locked one")
        if source.start().lstrip().startswith(b"<"):
            what = say("no workbook but a page of the web or XML with its name")
        raise DataError(
            say(
                "%(label)s is %(what)s (%(error)s); save it again, without a password, or as CSV.",
                label=source.label,
                what=what,
                error=first_line(error),
            )
        ) from error
    if not sheets:
        raise DataError(say("%(label)s is empty; expected a header and at least one record.", label=source.label))
    if len(sheets) > 1:
        raise DataError(
            say(
                "%(label)s has several sheets: %(names)s; say with --sheet which to read.",
                label=source.label,
                names=_listed(list(sheets)),
            )
        )
    return next(iter(sheets.items()))


def _listed(names: list[str]) -> str:
    return ", ".join(map(repr, names[:8])) + (", ..." if len(names) > 8 else "")


def _value(cell: Any) -> Any:
    """A cell as Python's value, None if it holds nothing.

    Workbooks hold whole numbers as floats; a date comes with a time of day, as in other tables.
    """
    if isinstance(cell, str):
        return cell if cell.strip() else None
    if isinstance(cell, datetime.date) and not isinstance(cell, datetime.datetime):
        return datetime.datetime.combine(cell, _MIDNIGHT)
    if isinstance(cell, float) and cell.is_integer() and abs(cell) <= _EXACT:
        return int(cell)
    return cell


def _is_blank(row: _Row) -> bool:
    return all(cell is None for cell in row)
