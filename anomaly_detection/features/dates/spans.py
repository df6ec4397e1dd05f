"""How far a date lies outside the span of time that the records are from."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import repeat
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from anomaly_detection.data.columns.table import Table, as_table
from anomaly_detection.features.clauses import in_days, named_value, number
from anomaly_detection.features.compiled.program import Program, Value
from anomaly_detection.features.group import FeatureGroup, FeatureSource, Range, Row
from anomaly_detection.texts.said import N_, Day, Said, say

__all__ = ["Dates", "day_text", "days_of", "moments_of"]

_DAY = np.timedelta64(1, "D")
_MOST = 0.95
_FEWEST_TOGETHER = 20
_YEAR = 365.2425
_FAR = 3.0  # times the span of nine tenths of the dates


class Dates(FeatureGroup):
    """How far a date lies outside the training records' span, in half of the span of nine tenths of them.

    One feature a column of dates, negative before the span; NaN where it is missing. New records come later than those
    of the training. How much later is told by those that come together: as far beyond all but the last 5 % of them as
    training dates went, a date is usual. Of fewer than twenty dates nothing is told: then it is as long after the last
    training date as all of those span, and a year at least.

    One training date in a thousand, or two, that lies three such spans and a year from the others is none of the span:
    a file may hold the errors that are looked for in it.
    """

    logarithmic: ClassVar[bool] = True
    units: ClassVar[tuple[float, float]] = (0.0, 1.0)
    counted: ClassVar[bool] = True

    def fit(self, X: Any, y: object = None) -> Dates:
        """Find the middle and the ends of each column."""
        table = self._seen(X)
        found = [np.sort(days_of(table.dates(name))) for name in table]
        found = [days[~np.isnan(days)] for days in found]
        self.spans_ = [
            ((_late(days), *_ends(days), _half_span(days)) if len(days) else (0.0, 0.0, 0.0, 1.0)) for days in found
        ]
        return self

    @staticmethod
    def _soon(days: npt.NDArray[np.float64], late: float, first: float, last: float) -> float:
        """After which date one of these is late."""
        given = np.sort(days[~np.isnan(days)])
        if len(given) < _FEWEST_TOGETHER:
            return last + max(last - first, _YEAR)
        return max(last, _late(given) + last - late)

    def _soon_of(self, name: str, ends: tuple[float, float, float], X: Table) -> float:
        return self._soon(days_of(X.dates(name)), *ends)

    def emit(self, program: Program, columns: Sequence[str]) -> list[Value] | None:
        """`FeatureGroup.emit`."""
        found = []
        for name, (late, first, last, half) in zip(columns, self.spans_, strict=True):
            ends = (late, first, last)
            soon = program.of_rows(self._soon(np.zeros(0), *ends), partial(self._soon_of, name, ends))
            days = program.days(name)
            found.append(((days - soon).at_least(0.0) + (days - first).at_most(0.0)) / half)
        return found

    def features_of(self, X: Table) -> npt.NDArray[np.float32]:
        """The days, shape (n, columns)."""
        out = np.empty((len(X), len(self.spans_)), dtype=np.float32)
        for i, (name, (late, first, last, half)) in enumerate(zip(X, self.spans_, strict=True)):
            days = days_of(X.dates(name))
            soon = self._soon(days, late, first, last)
            out[:, i] = (np.maximum(days - soon, 0.0) + np.minimum(days - first, 0.0)) / half
        return out

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """Return ``when <column>`` for each."""
        return np.asarray([f"when {name}" for name in self.feature_names_in_], dtype=object)

    @property
    def feature_columns_(self) -> list[tuple[str, ...]]:
        """The column of each feature."""
        return [(str(name),) for name in self.feature_names_in_]

    def in_units(self, X: Any, rows: npt.NDArray[np.int64] | None = None) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Return each date (None where missing), and the first and the last of the training records'; (n, columns).

        `rows` are the positions of those to tell of, all if not given.
        """
        X = as_table(X) if rows is None else as_table(X).take(rows)
        values, usual = (np.empty((len(X), len(self.spans_)), dtype=object) for _ in range(2))
        for i, (name, (_, first, last, _)) in enumerate(zip(X, self.spans_, strict=True)):
            ends = tuple(moments_of(np.array([first, last])))
            values[:, i] = moments_of(days_of(X.dates(name)))
            usual[:, i] = np.fromiter(repeat(ends, len(X)), dtype=object, count=len(X))
        return values, usual

    @classmethod
    def direction(cls, value: Any, usual: Any) -> str:
        """``late``, ``early`` or ``usual``."""
        first, last = usual
        return "late" if value > last else "early" if value < first else "usual"

    @classmethod
    def says(cls, value: Any) -> bool:
        """A missing date says nothing here."""
        return value is not None

    @classmethod
    def phrase(cls, source: FeatureSource, value: Any, usual: Any, row: Row, rows: int, between: Range | None) -> Said:
        """`FeatureGroup.phrase`: how far it lies from the first or the last date."""
        first, last = usual
        usually = say(
            "the usual dates of %(rows)s records (%(first)s to %(last)s)",
            rows=number(rows),
            first=day_text(first),
            last=day_text(last),
        )
        shown = named_value(source.columns[0], day_text(value))
        if first <= value <= last:
            return say("%(what)s lies within %(usually)s", what=shown, usually=usually)
        template = N_("%(what)s lies %(span)s after %(usually)s")
        if value < first:
            template = N_("%(what)s lies %(span)s before %(usually)s")
        span = _span((value - last if value > last else first - value) / _DAY)
        return say(template, what=shown, span=span, usually=usually)


def moments_of(days: npt.NDArray[np.float64]) -> list[np.datetime64 | None]:
    """The times so many days after 1970 began, None where missing."""
    known = ~np.isnan(days)
    seconds = np.rint(np.where(known, days, 0.0) * 86_400).astype("timedelta64[s]")
    return [one if is_known else None for one, is_known in zip(np.datetime64(0, "s") + seconds, known, strict=True)]


def days_of(dates: npt.NDArray[np.datetime64]) -> npt.NDArray[np.float64]:
    """Dates as days since 1970, NaN where missing; shape (n,)."""
    return np.where(np.isnat(dates), np.nan, (dates - np.datetime64(0, "ns")) / _DAY)


def _late(days: npt.NDArray[np.float64]) -> float:
    """The date, of ascending ones, before which all but the last 5 % lie."""
    return float(days[int(np.floor(_MOST * (len(days) - 1)))])


def _ends(days: npt.NDArray[np.float64]) -> tuple[float, float]:
    """The first and the last of ascending dates, but for few that lie far from all others."""
    low, high = np.quantile(days, [1.0 - _MOST, _MOST])
    reach = max(_FAR * float(high - low), _YEAR)
    few = max(2, len(days) // 1000)
    before, after = np.searchsorted(days, low - reach), len(days) - np.searchsorted(days, high + reach, side="right")
    return float(days[before if before <= few else 0]), float(days[-1 - after if after <= few else -1])


def _half_span(days: npt.NDArray[np.float64]) -> float:
    low, high = np.quantile(days, [0.05, 0.95])
    return max(float(high - low) / 2.0, 1.0)


def day_text(moment: np.datetime64) -> str:
    """The day of a time, as 2024-05-31."""
    return Day(moment.astype("datetime64[D]"))


def _span(days: float) -> str:
    if days >= 2 * _YEAR:
        return say("%(years)s years", years=number(days // _YEAR))
    return in_days(number(max(round(days), 1)))
