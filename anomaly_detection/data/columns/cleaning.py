"""What reading a table did to its cells, counted by column."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from anomaly_detection.errors import DataError

__all__ = ["CleaningReport", "ColumnCleaning", "FormWarning", "Readable", "Unreadable", "warn_of_forms"]

_TOLD = 8


@dataclass
class ColumnCleaning:
    """What cleaning one column did, in rows.

    ``from_text`` numbers or dates were read out of text, ``blank`` cells were empty or said so, ``coded`` counts, by
    the code, the cells that held a code for missing (a date that no calendar here can hold too, such as 9999-12-31),
    and ``unread``, by their text, the values that are no number or date and became missing. ``undecided`` cells are
    written in a form that may mean two things, which neither the training nor this table settles; they became missing
    too. ``note`` says what this table settled that the training had not.
    """

    from_text: int = 0
    blank: int = 0
    unread: dict[str, int] = field(default_factory=dict)
    coded: dict[str, int] = field(default_factory=dict)
    undecided: int = 0
    note: str = ""

    def __bool__(self) -> bool:
        return any(vars(self).values())

    @property
    def unreadable(self) -> int:
        """How many cells hold something that could not be read."""
        return sum(self.unread.values()) + self.undecided

    @property
    def missing(self) -> int:
        """How many cells became missing, or were."""
        return self.blank + sum(self.coded.values()) + self.unreadable


@dataclass
class CleaningReport:
    """What `Schema.clean` did to a table: the number of rows and a `ColumnCleaning` for each column it changed.

    Of a part of a table, ``unreadable`` says of columns without any number or date in it what stands there instead: an
    error, if no other part has one either.
    """

    rows: int
    columns: dict[str, ColumnCleaning] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)

    def has_values(self, name: str) -> bool:
        """Whether any number or date was read in column `name`."""
        done = self.columns.get(name)
        return done is None or done.missing < self.rows

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain JSON-able values."""
        return {"rows": self.rows, "columns": {name: asdict(done) for name, done in self.columns.items()}}


class FormWarning(UserWarning):
    """Cells are written in a form that the training records did not have."""


def warn_of_forms(report: CleaningReport) -> None:
    """Raise a `FormWarning` where cells of a table in one part were read anew, or may mean two things."""
    if not any(done.undecided or done.note for done in report.columns.values()):
        return
    told = Unreadable()
    told.add(report, {name: tuple(done.unread) for name, done in report.columns.items()})
    if sentence := told.sentence():
        warnings.warn(sentence, FormWarning, stacklevel=3)


@dataclass
class Readable:
    """Which columns of numbers or dates hold any, over all parts of a table, and what stands in those that do not."""

    names: set[str] = field(default_factory=set)
    unreadable: dict[str, str] = field(default_factory=dict)

    def add(self, report: CleaningReport, names: Collection[str]) -> None:
        """Look at a part, of the columns `names`."""
        self.names.update(name for name in names if report.has_values(name))
        self.unreadable = {**report.unreadable, **self.unreadable}

    def merge(self, later: Readable) -> None:
        """Look at parts that come after these."""
        self.names |= later.names
        self.unreadable = {**later.unreadable, **self.unreadable}

    def refuse(self) -> None:
        """Raise `DataError` for a column that always held numbers or dates, and has none in all of the parts."""
        for name, message in self.unreadable.items():
            if name not in self.names:
                raise DataError(message)


@dataclass
class Unreadable:
    """What is to be said of the cells of a table, over all its parts, that could not be read or were read anew."""

    cells: Counter[str] = field(default_factory=Counter)
    undecided: set[str] = field(default_factory=set)
    notes: dict[str, str] = field(default_factory=dict)
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, report: CleaningReport, known: Mapping[str, Collection[str]]) -> None:
        """Count those of a part, without the words for what is missing that are `known` of a column from training."""
        for name, done in report.columns.items():
            new = {text: count for text, count in done.unread.items() if text not in known.get(name, ())}
            if new or done.undecided:
                self.cells[name] += sum(new.values()) + done.undecided
            if done.undecided:
                self.undecided.add(name)
            if new:
                self.examples.setdefault(name, next(iter(new)))
            if done.note:
                self.notes[name] = done.note

    def merge(self, later: Unreadable) -> None:
        """Count what was said of parts that come after these."""
        self.cells.update(later.cells)
        self.undecided |= later.undecided
        self.notes |= later.notes
        self.examples = {**later.examples, **self.examples}

    def sentence(self) -> str:
        """All of it on one line; empty where there is nothing to say."""
        parts = [f"In {name!r}, {note}." for name, note in self.notes.items()]
        if self.cells:
            total = sum(self.cells.values())
            told = [f"{count:,} in {name!r}{self._why(name)}" for name, count in self.cells.most_common(_TOLD)]
            more = len(self.cells) - len(told)
            told += [f"others in {more:,} more columns"] if more else []
            cells = "cell counts as missing, for it" if total == 1 else "cells count as missing, for they"
            parts.append(f"{total:,} {cells} could not be read: {', '.join(told)}.")
        return " ".join(parts)

    def _why(self, name: str) -> str:
        if name in self.undecided:
            return " (a form that the training records did not have, and that may mean two things: write them as those)"
        return f" (such as {self.examples[name]!r})" if name in self.examples else ""
