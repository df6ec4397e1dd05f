"""`Schema`: the columns of a table, found out from one, and the clean table that follows from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from anomaly_detection.data.cells.cells import content
from anomaly_detection.data.cells.column_texts import ColumnTexts
from anomaly_detection.data.cells.conventions import Evidence
from anomaly_detection.data.columns.cleaning import CleaningReport, ColumnCleaning
from anomaly_detection.data.columns.column import Column, Role, reason_column
from anomaly_detection.data.columns.declarations import Declaration, declared
from anomaly_detection.data.columns.inference import infer_column
from anomaly_detection.data.columns.names import did_you_mean, unused_name
from anomaly_detection.data.columns.reading import first_unreadable, read_categories, read_values
from anomaly_detection.data.columns.table import Table
from anomaly_detection.data.frames import to_frame
from anomaly_detection.errors import DataError
from anomaly_detection.progress import steps
from anomaly_detection.texts.said import say

__all__ = [
    "CleanRecords",
    "CleaningReport",
    "Column",
    "ColumnCleaning",
    "Role",
    "Schema",
    "infer_schema",
    "reason_column",
    "unused_name",
]

_INFERENCE_ROWS = 50_000
_NEEDED = (Role.NUMERIC, Role.CATEGORICAL, Role.TIMESTAMP)
_READ = (Role.NUMERIC, Role.TIMESTAMP)


@dataclass(frozen=True)
class Schema:
    """The columns of a table, in the order in which they were first seen."""

    columns: tuple[Column, ...]

    def names(self, *roles: Role) -> list[str]:
        """Return the names of the columns that have one of `roles`; of all columns if none is given."""
        return [column.name for column in self.columns if not roles or column.role in roles]

    def __getitem__(self, name: str) -> Column:
        for column in self.columns:
            if column.name == name:
                return column
        raise DataError(f"Unknown column {name!r}{did_you_mean(name, self.names())}.")

    def word_columns(self) -> dict[str, str]:
        """Name the columns that `clean` adds, each by the one whose missing values came in its words."""
        taken = set(self.names())
        return {
            column.name: unused_name(reason_column(column.name), taken)
            for column in self.columns
            if column.texts and column.role in _READ
        }

    def known_words(self) -> dict[str, tuple[str, ...]]:
        """In which words values were missing in training, by their column."""
        return {column.name: column.texts for column in self.columns}

    def declarations(self) -> dict[str, Declaration]:
        """What makes another table's columns be read as these are."""
        return {column.name: Declaration.of(column) for column in self.columns}

    def with_codes(self, codes: Mapping[str, Iterable[str]]) -> Schema:
        """The same columns with further codes for missing, by the name of their column."""
        more = {name: tuple(found) for name, found in codes.items()}
        return Schema(tuple(replace(column, codes=column.codes + more.get(column.name, ())) for column in self.columns))

    def settled(self, parts: Iterable[Any], *, texts: Mapping[str, ColumnTexts] | None = None) -> Schema:
        """The columns as all `parts` of a table are to be read together; of one part alone its `texts` by column.

        Cells may be written in a form that the training records did not have, such as 01.02.2024 or 1,234, which means
        one of two things. Where the cells say which (some day is above 12), the form is read; else they become missing
        and are counted as undecided.
        """
        return self.settled_by(self.evidence(parts, texts=texts))

    def evidence(self, parts: Iterable[Any], *, texts: Mapping[str, ColumnTexts] | None = None) -> dict[str, Evidence]:
        """How the cells of `parts` of a table are written, by column: what `settled_by` takes, of all parts merged."""
        found = {column.name: Evidence() for column in self.columns if column.role in _READ}
        for part in parts:
            frame = to_frame(part)
            for column in self.columns:
                if column.name in found and column.name in frame.columns:
                    known = None if texts is None else texts.get(column.name)
                    found[column.name].add(frame[column.name], column, texts=known)
            # Else it would be held while the next part is read.
            del part, frame
        return found

    def settled_by(self, found: Mapping[str, Evidence]) -> Schema:
        """`settled` by what the parts of a table say."""
        made = tuple(found[column.name].settle(column) if column.name in found else column for column in self.columns)
        return Schema(made) if any(new is not old for new, old in zip(made, self.columns, strict=True)) else self

    def clean(self, data: Any, first: int | None = None) -> tuple[pd.DataFrame, CleaningReport]:
        """Give what `read` does, as a frame with a fresh index."""
        table, report = self.read(data, first)
        return table.frame(), report

    def read(self, data: Any, first: int | None = None) -> tuple[Table, CleaningReport]:
        """Read every column by its role.

        Parameters
        ----------
        data : table
            Anything `to_frame` takes. Columns the schema does not know are left out; order does not matter.
        first : int, optional
            For a part of a larger table, the position of its first row there, from 0: errors name rows by it, and what
            takes all rows to say is left to the caller, see `settled` and `CleaningReport.unreadable`. No value
            depends on it.

        Returns
        -------
        table : Table
            In the schema's order. Numbers are float64, dates datetime64[ns], categories `Coded`, identifiers and text
            as they came; missing is NaN or NaT. A numeric or date column whose missing values
            came in words is followed by a categorical column of those words, as `word_columns` names it.
        report : CleaningReport

        Raises
        ------
        DataError
            If a numeric, categorical or timestamp column is missing, a number is infinite, or a column that always
            held numbers or dates holds none but something else (in no row of the whole table).
        """
        frame = to_frame(data)
        absent = [name for name in self.names(*_NEEDED) if name not in frame.columns]
        if absent:
            hint = did_you_mean(absent[0], [name for name in frame.columns if name not in set(self.names())])
            listed = ", ".join(repr(name) for name in absent[:5]) + (" ..." if len(absent) > 5 else "")
            raise DataError(f"Missing column(s) {listed}{hint}; give every column the model was trained on.")
        report = CleaningReport(rows=len(frame))
        word_columns = self.word_columns()
        cleaned: dict[str, Any] = {}
        texts = {
            column.name: ColumnTexts(frame[column.name])
            for column in self.columns
            if column.role in _READ and column.name in frame.columns and content(frame[column.name]) == "texts"
        }
        columns = self.columns if first is not None else self.settled([frame], texts=texts).columns
        for column in steps(columns, "cleaning columns"):
            if column.name not in frame.columns:
                continue
            values = frame[column.name]
            if column.role in _READ:
                read, words, done = read_values(values, column, first or 0, texts.get(column.name))
                cleaned[column.name] = read
                if column.texts:
                    cleaned[word_columns[column.name]] = words
            elif column.role is Role.CATEGORICAL:
                cleaned[column.name], done = read_categories(values, column)
            else:
                cleaned[column.name] = values.to_numpy()
                continue
            if done:
                report.columns[column.name] = done
            alone = bool(done.unread) and not done.coded and not done.undecided
            if alone and not column.texts and not report.has_values(column.name):
                message = first_unreadable(values, column, first or 0)
                if first is None:
                    raise DataError(message)
                report.unreadable[column.name] = message
        return Table(cleaned, len(frame)), report

    def to_dict(self) -> dict[str, Any]:
        """Return the schema as plain JSON-able values."""
        return {"columns": [{**asdict(column), "role": column.role.value} for column in self.columns]}


@dataclass(frozen=True)
class CleanRecords:
    """What `Schema.read` gives of records, for several to learn from parts of them.

    Attributes
    ----------
    table : Table
    report : CleaningReport
        Of all records, also of a part of them.
    """

    table: Table
    report: CleaningReport

    def __len__(self) -> int:
        return len(self.table)

    def part(self, rows: npt.NDArray[np.int64]) -> CleanRecords:
        """The records at some positions."""
        return CleanRecords(self.table.part(rows), self.report)


def infer_schema(data: Any, roles: Mapping[str, str | Role | Declaration] | None = None) -> Schema:
    """Find out what each column is.

    Parameters
    ----------
    data : table
        Anything `to_frame` takes, at least two rows.
    roles : mapping of column name to role or Declaration, optional
        What is known; the rest is inferred.

    Returns
    -------
    Schema

    Raises
    ------
    DataError
        If a given column or role is unknown, there are fewer than two rows, every column is constant, or none is
        numeric.
    """
    frame = to_frame(data)
    given = declared(roles or {}, frame.columns)
    if len(frame) < 2:
        raise DataError(say("The table has one row; expected at least two to learn what is normal."))
    step = -(-len(frame) // _INFERENCE_ROWS)
    columns: list[Column] = []
    for name in steps(list(frame.columns), "reading columns"):
        said = given.get(name, Declaration())
        column = infer_column(frame[name].iloc[::step], said)
        if column.role is Role.CONSTANT and step > 1 and said.role is None:
            column = infer_column(frame[name], said)
        _refuse_other_kind(column, said)
        columns.append(column)
    columns = _with_shared_commas(columns, frame, step, given)
    schema = Schema(tuple(_with_shared_codes(column, columns, frame, step, given) for column in columns))
    roles_given = any(said.role is not None for said in given.values())
    if not roles_given and all(column.role is Role.CONSTANT for column in columns):
        raise DataError(say("Every column is constant; expected at least one whose values differ."))
    if not schema.names(Role.NUMERIC):
        raise DataError(
            say(
                "No numeric column was found; expected at least one column of numbers that differ (if one was not"
                " recognised, say so: --number NAME, in Python roles={NAME: 'numeric'})."
            )
        )
    return schema


def _refuse_other_kind(column: Column, said: Declaration) -> None:
    """Raise where a column was said to hold numbers or dates, and holds words alone."""
    if said.role in _READ and column.texts and column.distinct == 0:
        kind = say("dates") if said.role is Role.TIMESTAMP else say("numbers")
        raise DataError(
            say(
                "Column %(name)s is said to hold %(kind)s, but it holds none, only words such as %(words)s; say that"
                " it holds something else.",
                name=repr(column.name),
                kind=kind,
                words=repr(column.texts[0][:40]),
            )
        )


def _with_shared_commas(
    columns: list[Column], frame: pd.DataFrame, step: int, given: Mapping[str, Declaration]
) -> list[Column]:
    """The columns, all with decimal commas where some have them for certain and all may have: 1.250, 10,000 and 7."""
    if not any(column.decimal_comma for column in columns):
        return columns
    made = []
    for column in columns:
        said = given.get(column.name, Declaration())
        is_open = column.role is Role.NUMERIC and not column.decimal_comma and said.decimal_comma is None
        if is_open and content(frame[column.name]) == "texts":
            found = infer_column(frame[column.name].iloc[::step], replace(said, decimal_comma=True))
            if found.role is not column.role or found.missing > column.missing:
                # With 12.50 in it the table is written both ways.
                return columns
            column = found
        made.append(column)
    return made


def _with_shared_codes(
    column: Column, columns: list[Column], frame: pd.DataFrame, step: int, given: Mapping[str, Declaration]
) -> Column:
    """The column, with codes for missing that other columns have for certain and that lie outside its other values."""
    said = given.get(column.name, Declaration())
    if column.role is not Role.NUMERIC or said.codes is not None:
        return column
    counts = Counter(code for other in columns if other is not column for code in other.codes)
    shared = set(counts) - set(column.codes)
    said = replace(said, decimal_comma=column.decimal_comma)
    return infer_column(frame[column.name].iloc[::step], said, shared) if shared else column
