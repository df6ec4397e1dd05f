"""`NumericGroup`: groups of features that judge numbers, each by how far it lies above or below what is usual."""

from __future__ import annotations

from typing import Any, ClassVar

import pandas as pd

from anomaly_detection.data.parsing import name_tokens
from anomaly_detection.features.amounts import amount_kind
from anomaly_detection.features.clauses import (
    as_years,
    beyond,
    compare,
    compared_with,
    gap,
    number,
    rounded,
    tells_place,
    times,
    usually,
    with_unit,
    without_unit,
)
from anomaly_detection.features.derived import Duration
from anomaly_detection.features.group import FeatureGroup, FeatureSource, Range, Row

__all__ = ["ComparingGroup", "NumericGroup"]

# What there is an "each" of; 0.002 of insurance for so much value is a ratio.
_COUNTED = {"quantity", "qty", "units", "pieces", "items", "count", "packs", "boxes", "cartons", "pallets", "number"}


class NumericGroup(FeatureGroup):
    """Features that are numbers: of one column, a ratio of two, the days between two dates, or a total of two factors.

    Attributes
    ----------
    of_dates : bool
        Whether two columns are always dates.
    standard : str
        What values are held against: what is usual, or expected.
    """

    ordered: ClassVar[bool] = True
    of_dates: ClassVar[bool] = False
    standard: ClassVar[str] = "usual"

    @classmethod
    def is_duration(cls, source: FeatureSource) -> bool:
        """Whether a feature of two columns is the days between two dates."""
        return len(source.columns) == 2 and (
            cls.of_dates or any(part.columns == source.columns for part in source.parts(Duration))
        )

    @classmethod
    def weight(cls, source: FeatureSource) -> float:
        """`FeatureGroup.weight`; of two amounts a ratio leaves open which is odd, however odd it is."""
        count = max(len(source.columns), 1)
        return 1.0 / (count if cls.is_duration(source) else count**2)

    @classmethod
    def subject(cls, source: FeatureSource) -> str | None:
        """`FeatureGroup.subject`: a quotient of two numbers, or a total against its factors."""
        if len(source.columns) == 3:
            return f"{source.columns[0]} for {source.columns[1]} x {source.columns[2]}"
        if len(source.columns) != 2 or cls.is_duration(source):
            return None
        over, under = source.columns
        return f"{over} for each {under}" if _is_counted(under) else f"{over} for its {under}"

    @classmethod
    def direction(cls, value: Any, usual: Any) -> str:
        """``high``, ``low``, ``usual``, or ``missing``."""
        if pd.isna(value):
            return "missing"
        return "high" if value > usual else "low" if value < usual else "usual"

    @classmethod
    def among(cls, source: FeatureSource, row: Row) -> str:
        """Say what a value is compared with: " for SupplierB by Air", " in June", nothing for all records."""
        named, joined = compared_with(source, row, joined=True)
        return "".join([f" for {', '.join(named)}" if named else "", *(f" {word}" for word in joined)])

    @classmethod
    def what_is_usual(cls, source: FeatureSource, row: Row) -> str:
        """What a value is so many times of: "what is usual for ARVs"."""
        return f"what is usual{cls.among(source, row)}"

    @classmethod
    def phrase(cls, source: FeatureSource, value: Any, usual: Any, row: Row, rows: int, between: Range | None) -> str:
        """`FeatureGroup.phrase`: how much more or less than usual."""
        if pd.isna(value):
            return f"{source.columns[0]} is missing"
        value, usual = float(value), float(usual)
        if len(source.columns) == 1:
            clause = cls.of_one(source, value, usual, row, rows, between)
            return as_years(clause) if "year" in name_tokens(source.columns[0]) else clause
        if len(source.columns) == 3:
            return _product(source, value, usual, row)
        if cls.is_duration(source):
            return _duration(source, value, usual, f"{cls.standard}{cls.among(source, row)}", between)
        over, under = (with_unit(column, row[column]) for column in source.columns)
        each = f"{number(value)} each" if _is_counted(source.columns[1]) else f"a ratio of {number(value)}"
        subject = f"{' '.join(over)} for {' '.join(under)} ({each})"
        shown = f"{number(usual)}{usually(value, usual, between)}"
        return compare(subject, value, usual, shown, cls.what_is_usual(source, row), between)

    @classmethod
    def of_one(
        cls, source: FeatureSource, value: float, usual: float, row: Row, rows: int, between: Range | None
    ) -> str:
        """The phrase of a number that is not missing, of one column."""
        name, unit = without_unit(source.columns[0])
        subject = f"{name} {number(value)}{unit}"
        ranked = beyond(value, between, rows if source.group_by else None)
        if ranked is not None and not tells_place(name):
            return f"{subject} is {ranked}{cls.among(source, row)} ({number(usual)}{unit} in the middle)"
        shown = f"{number(usual)}{unit}{usually(value, usual, between, unit)}"
        return compare(subject, value, usual, shown, cls.what_is_usual(source, row), between, place=tells_place(name))


class ComparingGroup(NumericGroup):
    """A `NumericGroup` that judges numbers beside others: each a `column` by its `group_by`, as `learned` has them."""

    beside: ClassVar[bool] = True
    learned: ClassVar[str]

    @property
    def feature_columns_(self) -> list[tuple[str, ...]]:
        """The number that each feature judges."""
        return [(one.column,) for one in getattr(self, self.learned)]

    @property
    def feature_groups_(self) -> list[tuple[str, ...]]:
        """The columns that each feature compares it by."""
        return [one.group_by for one in getattr(self, self.learned)]


def _is_counted(column: str) -> bool:
    """Whether a column counts things, so that another is so much for each."""
    return amount_kind(column) == "quantity" or bool(_COUNTED & name_tokens(column))


def _product(source: FeatureSource, value: float, usual: float, row: Row) -> str:
    total, first, second = source.columns
    product = row[total] / value if value else float("nan")
    name, shown = with_unit(total, row[total])
    factors = f"{first} {number(row[first])} x {second} {number(row[second])}"
    ratio = times(value, usual)
    if ratio is None and not value:
        return f"{name} is 0 although {factors} is not"
    return f"{name} {shown} is {ratio or 'about'} {factors} ({number(product)})"


def _duration(source: FeatureSource, days: float, usual: float, what: str, between: Range | None) -> str:
    end, start = source.columns
    when = "on the same day as" if days == 0 else gap(days)
    span = ""
    if between is not None and not between[0] <= days <= between[1]:
        low, high = (rounded(bound, between, whole=between[1] - between[0] >= 2.0) for bound in between)
        if low < high and low * high >= 0:
            nearer, farther = sorted((low, high), key=abs)
            shown = f"{number(abs(nearer))} to {number(abs(farther))}"
            # The same side as what is usual, and the same unit, is not said twice.
            span = f" ({shown})" if usual * farther > 0 else f" ({gap(farther, shown)})"
        elif low < high:
            span = f" ({gap(low)} to {gap(high)})"
    return f"{end} is {when} {start}; {what} is {gap(usual)}{span}"
