"""Breaches of columns that only say again what a date says: month 9 beside a date in June."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import isnan
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from anomaly_detection.data.columns.table import Coded, Table, as_table, factorized
from anomaly_detection.features.clauses import short, times_seen
from anomaly_detection.features.compiled.program import Program, Value
from anomaly_detection.features.dates.restated_columns import part_of
from anomaly_detection.features.forms import seldom
from anomaly_detection.features.group import FeatureGroup, FeatureSource, Range, Row
from anomaly_detection.texts.said import Said, say

__all__ = ["Restated", "Restating"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Restating:
    """What a column says for each part of a date.

    Attributes
    ----------
    column, part, date : str
    parts : ndarray of float64, shape (k,)
        The parts that occurred, such as months by their numbers, ascending.
    said : sequence of str
        For each of them, the text of the value that nearly all its records have.
    breaches : int
        Training records that say something else.
    """

    column: str
    part: str
    date: str
    parts: Floats
    said: Sequence[str]
    breaches: int = 0

    def broken(self, X: Table) -> npt.NDArray[np.bool_]:
        """Whether a row says something else than its date; not where the part is new, or either is missing; (n,)."""
        expected, found = self.expected(X), _texts(X[self.column])
        none = (expected == None) | (found == None)  # noqa: E711
        return np.asarray(~none & (expected != found), dtype=bool)

    def expected(self, X: Table) -> npt.NDArray[np.object_]:
        """The text that each row's date leads to expect, None where the part is new; (n,)."""
        found = part_of(X.dates(self.date), self.part)
        at = np.minimum(np.searchsorted(self.parts, found), len(self.parts) - 1)
        expected: npt.NDArray[np.object_] = np.asarray(self.said, dtype=object)[at]
        expected[self.parts[at] != found] = None
        return expected


def _texts(column: Any) -> npt.NDArray[np.object_]:
    """Each cell as a text, None where it is missing; 6, 6.0 and "6" are one."""
    codes, levels = (column.codes, column.names) if isinstance(column, Coded) else factorized(column)
    texts = np.empty(len(levels) + 1, dtype=object)
    texts[:-1] = [_text(level) for level in levels]
    texts[-1] = None
    return np.asarray(texts[codes], dtype=object)


def _text(value: Any) -> str:
    if not isinstance(value, (int, float, np.number)):
        return str(value)
    value = float(value)
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


def _places_of(places: Mapping[str, int], column: Coded) -> npt.NDArray[np.int64]:
    """The place of each cell's text among some, -1 of any other."""
    return np.array([places.get(text, -1) for text in _texts(column)], dtype=np.int64)


def _is_number(text: str) -> bool:
    """Whether a text is that of a number."""
    try:
        return _text(float(text)) == text
    except ValueError:
        return False


class Restated(FeatureGroup):
    """Evidence in nats that a column breaks what it restates, a feature each; 0 where it does not.

    Parameters
    ----------
    restated : dict of column to (part, date)
        As `find_restated` gives them.
    """

    units: ClassVar[tuple[float, float]] = (0.0, 1.0)
    nats: ClassVar[bool] = True

    def __init__(self, restated: Mapping[str, tuple[str, str]] | None = None) -> None:
        self.restated = restated

    def fit(self, X: Any, y: object = None) -> Restated:
        """Learn what each part's records say."""
        X = self._seen(X)
        self.n_rows_ = len(X)
        self.restatings_: list[Restating] = []
        for column, (part, date) in (self.restated or {}).items():
            most: dict[float, tuple[int, str]] = {}
            pairs = zip(part_of(X.dates(date), part).tolist(), _texts(X[column]), strict=True)
            for (own, text), count in Counter(pairs).items():
                if not isnan(own) and text is not None:
                    most[own] = max(most.get(own, (0, "")), (count, text))
            said = [most[own][1] for own in sorted(most)]
            found = Restating(column, part, date, np.array(sorted(most), dtype=np.float64), said)
            self.restatings_.append(replace(found, breaches=int(found.broken(X).sum())))
        return self

    def features_of(self, X: Table) -> npt.NDArray[np.float32]:
        """The evidence in nats, shape (n, restated columns)."""
        out = np.zeros((len(X), len(self.restatings_)), dtype=np.float32)
        for i, one in enumerate(self.restatings_):
            out[one.broken(X), i] = seldom(one.breaches, self.n_rows_)
        return out

    def emit(self, program: Program, columns: Sequence[str]) -> list[Value] | None:
        """`FeatureGroup.emit`."""
        found = []
        for one in self.restatings_:
            expected = program.part(one.date, one.part).place_in(one.parts)
            said = sorted(set(one.said), key=one.said.index)
            told = expected.look_up([*(said.index(text) for text in one.said), -1])
            if program.is_number(one.column):
                # A number that is said is that of the text; another text is said by none.
                numbers = {float(text): i for i, text in enumerate(said) if _is_number(text)}
                ordered = sorted(numbers)
                place = program.number(one.column).place_in(ordered)
                says = place.look_up([*(numbers[number] for number in ordered), -1])
            else:
                says = program.level(one.column, partial(_places_of, {text: i for i, text in enumerate(said)}))
            broken = (program.missing(one.column).equals(0.0) & (expected >= 0.0)) & told.equals(says).equals(0.0)
            found.append(broken.where(float(seldom(one.breaches, self.n_rows_)), 0.0))
        return found

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """Return ``<column> as the <part> of <date>`` for each."""
        return np.asarray([f"{one.column} as the {one.part} of {one.date}" for one in self.restatings_], dtype=object)

    @property
    def feature_columns_(self) -> list[tuple[str, ...]]:
        """The column that restates, and the date."""
        return [(one.column, one.date) for one in self.restatings_]

    def in_units(self, X: Any) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Return the cells, and ``(what the date leads to expect, breaches in training)``; both (n, columns)."""
        X = as_table(X)
        values = np.empty((len(X), len(self.restatings_)), dtype=object)
        usual = np.empty(values.shape, dtype=object)
        for i, one in enumerate(self.restatings_):
            values[:, i] = _texts(X[one.column])
            for row, (broken, text) in enumerate(zip(one.broken(X).tolist(), one.expected(X).tolist(), strict=True)):
                usual[row, i] = (text if broken else None, one.breaches)
        return values, usual

    @classmethod
    def tells(cls, usual: Any) -> bool:
        """Nothing of a row that keeps it."""
        return usual[0] is not None

    @classmethod
    def phrase(cls, source: FeatureSource, value: Any, usual: Any, row: Row, rows: int, between: Range | None) -> Said:
        """`FeatureGroup.phrase`: what the column says, and what its date does."""
        column, date = source.columns
        expected, breaches = usual
        return say(
            "%(what)s disagrees with %(date)s, which makes it %(expected)s, as in %(seen)s",
            what=f"{column} {short(value)}",
            date=date,
            expected=short(expected),
            seen=times_seen(breaches, rows),
        )
