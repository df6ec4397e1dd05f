"""What differs from the one value that a column has: euros where every record is in dollars."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from anomaly_detection.data.cells.missing import says_missing
from anomaly_detection.data.columns.table import Table, as_table, objects_of
from anomaly_detection.features.categories.newcomers import Newcomer, Places
from anomaly_detection.features.clauses import named_value, short, times_seen
from anomaly_detection.features.forms import Columns, worth_less_together
from anomaly_detection.features.group import FeatureSource, Range, Row
from anomaly_detection.texts.said import N_, Said, say

__all__ = ["Constants"]

Floats = npt.NDArray[np.float64]

_PLAIN = (str, int, float, np.bool_, np.integer, np.floating)
_REMEMBERED = 10_000
_FIGURE = re.compile(r"\d")


class Constants(Columns):
    """Another value where all training records have the same, or one where none has any.

    What has figures in it is left alone, unless it is a number from 0 to 1: the month of an export or the number of a
    shop is the same in all of its records, and another in the next. Where more than one in a hundred rows that come
    together differ, each is worth less by the fourth root, as of `Gaps`.
    """

    word = "other than always"
    titled: ClassVar[Mapping[str, str]] = {"rare": N_("new")}

    def features_of(self, X: Table) -> npt.NDArray[np.float32]:
        """`Columns.features_of`, less where many rows differ."""
        found = super().features_of(X)
        worth_less_together(found)
        return found

    def _learn(self, column: Any) -> dict[str, int] | None:
        cells = objects_of(column).tolist()
        said = [_said(cell) for cell in cells]
        given = [(text, cell) for text, cell in zip(said, cells, strict=True) if text is not None]
        if not given:
            return {}
        value, shown = given[0]
        if _changes(value) or any(text != value or not isinstance(cell, _PLAIN) for text, cell in given):
            return None
        return {str(shown).strip(): len(given)}

    def _counts(self, column: Any, learned: dict[str, int]) -> Floats:
        usual = _said(next(iter(learned), None))
        said = [_said(cell) for cell in objects_of(column).tolist()]
        return np.array([np.nan if text is None or text == usual else 0.0 for text in said])

    def newcomers(self, X: Table, rows: Places, features: Places) -> Iterator[tuple[int, int, Newcomer]]:
        """The values that no training record had, of these rows and features: as of `CategoryRarity`."""
        names = [*self.learned_]
        for at, (row, feature) in enumerate(zip(rows.tolist(), features.tolist(), strict=True)):
            name = names[feature]
            # What a column that was blank is filled with may be anything.
            yield row, at, (name, _said(X.objects(name)[row])) if self.learned_[name] else (name,)

    def in_units(self, X: Any) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Return the cells, and the value that all have and in how many training rows it is; both (n, features)."""
        X = as_table(X)
        values, usual = (np.empty((len(X), len(self.learned_)), dtype=object) for _ in range(2))
        for i, (name, learned) in enumerate(self.learned_.items()):
            values[:, i] = X.objects(name)
            usual[:, i].fill(next(iter(learned.items()), ("", 0)))
        return values, usual

    @classmethod
    def phrase(cls, source: FeatureSource, value: Any, usual: Any, row: Row, rows: int, between: Range | None) -> Said:
        """`FeatureGroup.phrase`: what all others have, or that none has any."""
        what, (other, count) = named_value(source.columns[0], short(value)), usual
        if not count:
            return say("%(what)s is given; %(seen)s have a value", what=what, seen=times_seen(0, rows))
        seen = times_seen(count, rows)
        return say("%(what)s was never seen before; %(seen)s have %(usual)s", what=what, seen=seen, usual=short(other))


def _said(cell: Any) -> str | None:
    """What a cell says, however it is written; None where it says nothing."""
    if isinstance(cell, str):
        return _of_text(cell)
    if isinstance(cell, (bool, np.bool_)) or not isinstance(cell, _PLAIN):
        return None if cell is None or cell is pd.NaT or cell is pd.NA else str(cell).casefold()
    return None if cell != cell else f"{float(cell):.12g}"


@lru_cache(_REMEMBERED)
def _of_text(text: str) -> str | None:
    if says_missing(text):
        return None
    try:
        return f"{float(text):.12g}"
    except ValueError:
        return " ".join(text.split()).casefold()


def _changes(value: str) -> bool:
    """Whether a value is another in other exports, see `Constants`."""
    try:
        return not 0.0 <= float(value) <= 1.0
    except ValueError:
        return _FIGURE.search(value) is not None
