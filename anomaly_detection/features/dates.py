"""How far a date lies outside the span of time that the records are from."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.utils.validation import check_is_fitted

from anomaly_detection.features.clauses import number
from anomaly_detection.features.group import FeatureGroup, FeatureSource, Range, Row

__all__ = ["Dates"]

_DAY = np.timedelta64(1, "D")
_YEAR = 365.2425


class Dates(FeatureGroup):
    """How far a date lies outside the training records' span, in half of the span of nine tenths of them.

    One feature a column of dates, negative before the span; NaN where it is missing. New records come later than those
    of the training: as long after the last date as all of them span, and a year at least, a date is usual.
    """

    logarithmic: ClassVar[bool] = True
    units: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def fit(self, X: pd.DataFrame, y: object = None) -> Dates:
        """Find the middle and the ends of each column."""
        self.feature_names_in_ = np.asarray(X.columns, dtype=object)
        self.n_features_in_ = X.shape[1]
        found = [np.sort(_days(X[name])) for name in X.columns]
        found = [days[~np.isnan(days)] for days in found]
        self.spans_ = [
            (
                (float(np.median(days)), *(float(end) for end in days[[0, -1]]), _half_span(days))
                if len(days)
                else (0.0, 0.0, 0.0, 1.0)
            )
            for days in found
        ]
        return self

    def transform(self, X: pd.DataFrame) -> npt.NDArray[np.float32]:
        """Give the days, shape (n, columns)."""
        check_is_fitted(self)
        out = np.empty((len(X), len(self.spans_)), dtype=np.float32)
        for i, (name, (_, first, last, half)) in enumerate(zip(X.columns, self.spans_, strict=True)):
            days = _days(X[name])
            soon = last + max(last - first, _YEAR)
            out[:, i] = (np.maximum(days - soon, 0.0) + np.minimum(days - first, 0.0)) / half
        return out

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """Return ``when <column>`` for each."""
        return np.asarray([f"when {name}" for name in self.feature_names_in_], dtype=object)

    @property
    def feature_columns_(self) -> list[tuple[str, ...]]:
        """The column of each feature."""
        return [(str(name),) for name in self.feature_names_in_]

    def in_units(self, X: pd.DataFrame) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Return each date (None where missing), and the first and the last of the training records'; (n, columns)."""
        values, usual = (np.empty((len(X), len(self.spans_)), dtype=object) for _ in range(2))
        for i, (name, (_, first, last, _)) in enumerate(zip(X.columns, self.spans_, strict=True)):
            ends = (_moment(first), _moment(last))
            for row, days in enumerate(_days(X[name]).tolist()):
                values[row, i], usual[row, i] = (None if np.isnan(days) else _moment(days)), ends
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
    def phrase(cls, source: FeatureSource, value: Any, usual: Any, row: Row, rows: int, between: Range | None) -> str:
        """`FeatureGroup.phrase`: how far it lies from the first or the last date."""
        first, last = usual
        shown = f"{source.columns[0]} {_date(value)}"
        if value > last:
            return f"{shown} lies {_span((value - last) / _DAY)} after the last of {rows:,} records ({_date(last)})"
        if value < first:
            return f"{shown} lies {_span((first - value) / _DAY)} before the first of {rows:,} records ({_date(first)})"
        return f"{shown} lies within what {rows:,} records span ({_date(first)} to {_date(last)})"


def _moment(days: float) -> np.datetime64:
    return np.datetime64(0, "s") + np.timedelta64(round(days * 86_400), "s")


def _days(column: pd.Series[Any]) -> npt.NDArray[np.float64]:
    dates = column.to_numpy().astype("datetime64[ns]")
    return np.where(np.isnat(dates), np.nan, (dates - np.datetime64(0, "ns")) / _DAY)


def _half_span(days: npt.NDArray[np.float64]) -> float:
    low, high = np.quantile(days, [0.05, 0.95])
    return max(float(high - low) / 2.0, 1.0)


def _date(moment: np.datetime64) -> str:
    return str(moment.astype("datetime64[D]"))


def _span(days: float) -> str:
    if days >= 2 * _YEAR:
        return f"{number(days // _YEAR)} years"
    return f"{number(max(round(days), 1))} {'day' if round(days) <= 1 else 'days'}"
