"""`Orders`: what the cells of a column say of the order in which day, month and year stand."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from anomaly_detection.data.cells.date_forms import WEEKS, form_of
from anomaly_detection.data.cells.date_texts import parse_dates
from anomaly_detection.data.cells.text_patterns import arrow_texts, fits

__all__ = ["Orders"]

_NUMERIC_PARTS = re.compile(r"^(?:[^\W\d_]{2,10}\.?,?\s+)?(\d{1,2})([-/. ]) ?(\d{1,2})[-/. ] ?(\d{4}|\d{2})(?![-/.\d])")
_YEAR_AND_TWO = re.compile(r"\d{4}-(\d{2})")
_YEAR_MONTH_DAY = r"^\d{4}-\d\d-\d\d"


@dataclass
class _Order:
    """Of the cells with one mark: how many there are, how many no order fits, and which numbers stand where."""

    cells: int = 0
    misfits: dict[str, int] = field(default_factory=lambda: dict.fromkeys("dmy", 0))
    first: set[int] = field(default_factory=set)
    last: set[int] = field(default_factory=set)

    def add(self, cells: npt.NDArray[np.int64]) -> None:
        """Count further ones: the three numbers of a text, and how many cells have it, a row each."""
        first, second, last, times = cells.T
        self.cells += int(times.sum())
        days = (first >= 1) & (first <= 31) & (second >= 1) & (second <= 12)
        months = (second >= 1) & (second <= 31) & (first >= 1) & (first <= 12)
        years = (last >= 1) & (last <= 31) & (second >= 1) & (second <= 12)
        for order, possible in zip("dmy", (days, months, years), strict=True):
            self.misfits[order] += int(times[~possible].sum())
        self.first.update(np.unique(first).tolist())
        self.last.update(np.unique(last).tolist())

    def merge(self, other: _Order) -> None:
        """Count what another counted too."""
        self.cells += other.cells
        self.misfits = {order: count + other.misfits[order] for order, count in self.misfits.items()}
        self.first |= other.first
        self.last |= other.last

    def certain(self) -> str | None:
        """The order that the cells say by themselves: the others miss ten times as many, one at least."""
        best = min(self.misfits, key=lambda order: self.misfits[order])
        rivals = [order for order in self.misfits if order != best and self.misfits[order] < self._needed(best)]
        if rivals and self.misfits["y"] < self._needed(best) and "m" not in {best, *rivals}:
            # Day or year first: a table holds fewer years than days.
            if 3 * len(self.first) <= len(self.last):
                return "y"
            return "d" if 3 * len(self.last) <= len(self.first) else None
        return None if rivals else best

    def _needed(self, order: str) -> int:
        return max(1, 10 * self.misfits[order])


@dataclass
class Orders:
    """What the cells of a column say of the order in which day, month and year stand, by the mark between them."""

    marks: dict[str, _Order] = field(default_factory=dict)
    months: int = 0
    """Cells such as 2024-05, which may be a month or a week."""
    weeks: int = 0
    """Cells such as 2024-13, which can only be a week."""

    def add_distinct(self, texts: npt.NDArray[np.object_], times_each: npt.NDArray[np.int64]) -> None:
        """Count further cells by their distinct texts, and how many have each."""
        found: dict[str, list[tuple[int, ...]]] = {}
        # Most dates begin with a year, a month and a day, and leave nothing open.
        open_ = ~fits(arrow_texts(texts), _YEAR_MONTH_DAY)
        for text, times in zip(texts[open_].tolist(), times_each[open_].tolist(), strict=True):
            cell = str(text).strip()
            parts = _NUMERIC_PARTS.match(cell)
            if parts is not None:
                first, mark, second, last = parts.groups()
                found.setdefault(mark, []).append((int(first), int(second), int(last), int(times)))
                continue
            week = _YEAR_AND_TWO.fullmatch(cell)
            if week is not None:
                self.weeks += int(times) if 13 <= int(week[1]) <= 53 else 0
                self.months += int(times) if 1 <= int(week[1]) <= 12 else 0
        for mark, cells in sorted(found.items()):
            self.marks.setdefault(mark, _Order()).add(np.array(cells, dtype=np.int64))

    def merge(self, other: Orders) -> None:
        """Count the cells that another counted too."""
        self.weeks += other.weeks
        self.months += other.months
        for mark, order in other.marks.items():
            self.marks.setdefault(mark, _Order()).merge(order)

    def learned(self, texts: pd.Series[Any]) -> tuple[tuple[str, ...], bool]:
        """The forms of a column in training, and whether habit decided one, for lack of anything else.

        `texts` are its cells in their order: a column that is sorted by time tells its form by that. Else a mark has
        the order of the column's others.
        """
        told = {mark: order.certain() or _by_time(texts, mark, order) for mark, order in sorted(self.marks.items())}
        others = [order for order in told.values() if order is not None]
        forms = []
        for mark, order in told.items():
            forms.append(form_of(order or (others[0] if others else "m" if mark == "/" else "d"), mark))
        by_habit = bool(told) and not others
        return (*forms, WEEKS) if self._are_weeks() else tuple(forms), by_habit

    def settled(self, learned: Sequence[str]) -> tuple[str, ...]:
        """The forms of a batch of these cells, where training learned some; without one for what stays open."""
        forms = [form for form in learned if form != WEEKS]
        for mark, order in sorted(self.marks.items()):
            known = next((form for form in forms if form[1] == mark), None)
            certain = order.certain()
            if certain is None or (known is not None and 10 * order.misfits[known[0]] < order.cells):
                continue
            if known is not None:
                forms.remove(known)
            forms.append(form_of(certain, mark))
        return (*forms, WEEKS) if WEEKS in learned or self._are_weeks() else tuple(forms)

    def _are_weeks(self) -> bool:
        return self.weeks > 0 and 10 * self.weeks >= self.months


def _by_time(texts: pd.Series[Any], mark: str, order: _Order) -> str | None:
    """The order that puts the cells in the order of time, rising or falling, if one does and the other does not."""
    marked = texts[texts.str.match(rf"\D*\d{{1,2}}{re.escape(mark)}").to_numpy(dtype=bool, na_value=False)]
    rises: dict[str, int] = {}
    for one in "dm":
        read = parse_dates(marked, (form_of(one, mark),))
        steps = np.diff(read)
        rises[one] = max(int((steps >= np.timedelta64(0, "ns")).sum()), int((steps <= np.timedelta64(0, "ns")).sum()))
    if order.misfits["d"] != order.misfits["m"]:
        return "d" if order.misfits["d"] < order.misfits["m"] else "m"
    if rises["d"] != rises["m"] and max(rises.values()) >= 0.9 * (len(marked) - 1):
        return max(rises, key=lambda one: rises[one])
    return None
