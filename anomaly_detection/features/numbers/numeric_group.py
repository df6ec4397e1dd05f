"""`NumericGroup`: groups of features that judge numbers, each by how far it lies above or below what is usual."""

from __future__ import annotations

from typing import Any, ClassVar

import pandas as pd

from anomaly_detection.data.columns.parsing import name_tokens
from anomaly_detection.features.clauses import (
    as_years,
    beyond,
    compare,
    compared_with,
    from_to,
    gap,
    in_records,
    is_year,
    measured,
    named_value,
    number,
    rounded,
    series,
    tells_place,
    times,
    usually,
    with_unit,
    without_unit,
)
from anomaly_detection.features.dates.derived import Duration
from anomaly_detection.features.group import FEW, FeatureGroup, FeatureSource, Range, Row
from anomaly_detection.features.numbers.amounts import amount_kind
from anomaly_detection.texts.said import N_, Said, say

__all__ = ["ComparingGroup", "NumericGroup"]

# What there is an "each" of; 0.002 of insurance for so much value is a ratio.
_A_MILLION, _TINY = 1e6, 1e-3  # a person reads no 6.7e-06
_COUNTED = {"quantity", "qty", "units", "pieces", "items", "count", "packs", "boxes", "cartons", "pallets", "number"}


class NumericGroup(FeatureGroup):
    """Features that are numbers: of one column, a ratio of two, the days between two dates, or a total of two factors.

    Attributes
    ----------
    of_dates : bool
        Whether two columns are always dates.
    standard : str
        The template of what days are held against: what is usual, or expected.
    """

    ordered: ClassVar[bool] = True
    of_dates: ClassVar[bool] = False
    standard: ClassVar[str] = N_("usual%(among)s")

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
            total, first, second = source.columns
            return say("%(total)s for %(first)s x %(second)s", total=total, first=first, second=second)
        if len(source.columns) != 2 or cls.is_duration(source):
            return None
        over, under = source.columns
        if _is_counted(under):
            return say("%(over)s for each %(under)s", over=over, under=under)
        return say("%(over)s for its %(under)s", over=over, under=under)

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
        among = say(" for %(named)s", named=series(named)) if named else ""
        for word in joined:
            among = say("%(among)s %(word)s", among=among, word=word)
        return among

    @classmethod
    def what_is_usual(cls, source: FeatureSource, row: Row) -> str:
        """What a value is so many times of: "what is usual for ARVs"."""
        return say("what is usual%(among)s", among=cls.among(source, row))

    @classmethod
    def phrase(cls, source: FeatureSource, value: Any, usual: Any, row: Row, rows: int, between: Range | None) -> Said:
        """`FeatureGroup.phrase`: how much more or less than usual."""
        if value is None or value != value:
            return say("%(column)s is missing", column=source.columns[0])
        value, usual = float(value), float(usual)
        if len(source.columns) == 1:
            clause = cls.of_one(source, value, usual, row, rows, between)
            return as_years(clause) if is_year(source.columns[0], value, usual, *(between or ())) else clause
        if len(source.columns) == 3:
            return _product(source, value, usual, row)
        if cls.is_duration(source):
            return _duration(source, value, usual, say(cls.standard, among=cls.among(source, row)), between)
        over, under = (named_value(*with_unit(column, row[column])) for column in source.columns)
        template = N_("%(number)s each") if _is_counted(source.columns[1]) else N_("a ratio of %(number)s")
        if 0.0 < value < _TINY and 0.0 < usual < _TINY:
            value, usual, template = value * _A_MILLION, usual * _A_MILLION, N_("%(number)s for a million")
            between = None if between is None else (between[0] * _A_MILLION, between[1] * _A_MILLION)
        each = say(template, number=number(value))
        subject = say("%(over)s for %(under)s (%(each)s)", over=over, under=under, each=each)
        span = _span(source, value, usual, rows, between)
        shown = say("%(usual)s%(usually)s", usual=number(usual), usually=span)
        return compare(subject, value, usual, shown, cls.what_is_usual(source, row), between)

    @classmethod
    def of_one(
        cls, source: FeatureSource, value: float, usual: float, row: Row, rows: int, between: Range | None
    ) -> Said:
        """The phrase of a number that is not missing, of one column."""
        name, unit = without_unit(source.columns[0])
        subject = named_value(name, measured(value, unit))
        ranked = beyond(value, between, rows if source.group_by else None)
        if ranked is not None and not tells_place(name):
            return say(
                "%(subject)s is %(ranked)s%(among)s (%(usual)s in the middle)",
                subject=subject,
                ranked=ranked,
                among=cls.among(source, row),
                usual=measured(usual, unit),
            )
        span = _span(source, value, usual, rows, between, unit)
        shown = say("%(usual)s%(usually)s", usual=measured(usual, unit), usually=span)
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


def _span(source: FeatureSource, value: float, usual: float, rows: int, between: Range | None, unit: str = "") -> str:
    """Between what a group's values usually lie; of few, how many there are, which says how far they can be trusted."""
    if source.group_by and 0 < rows < FEW:
        return say(", of %(records)s", records=in_records(rows))
    return usually(value, usual, between, unit)


def _is_counted(column: str) -> bool:
    """Whether a column counts things, so that another is so much for each."""
    return amount_kind(column) == "quantity" or bool(_COUNTED & name_tokens(column))


def _product(source: FeatureSource, value: float, usual: float, row: Row) -> Said:
    total, first, second = source.columns
    product = row[total] / value if value else float("nan")
    name, shown = with_unit(total, row[total])
    factors = say(
        "%(first)s x %(second)s",
        first=named_value(first, number(row[first])),
        second=named_value(second, number(row[second])),
    )
    ratio = times(value, usual)
    if ratio is None and not value:
        return say("%(name)s is 0 although %(factors)s is not", name=name, factors=factors)
    return say(
        "%(total)s is %(ratio)s %(factors)s (%(product)s)",
        total=named_value(name, shown),
        ratio=ratio or say("about"),
        factors=factors,
        product=number(product),
    )


def _duration(source: FeatureSource, days: float, usual: float, what: str, between: Range | None) -> Said:
    end, start = source.columns
    when = say("on the same day as") if days == 0 else gap(days, of=True)
    span = ""
    if between is not None and not between[0] <= days <= between[1]:
        low, high = (rounded(bound, between, whole=between[1] - between[0] >= 2.0) for bound in between)
        if low < high and low * high >= 0:
            nearer, farther = sorted((low, high), key=abs)
            shown = from_to(abs(nearer), abs(farther))
            # The same side as what is usual, and the same unit, is not said twice.
            span = say(" (%(range)s)", range=shown if usual * farther > 0 else gap(farther, shown))
        elif low < high:
            span = say(" (%(low)s to %(high)s)", low=gap(low), high=gap(high))
    return say(
        "%(end)s is %(when)s %(start)s; %(what)s is %(usual)s%(span)s",
        end=end,
        when=when,
        start=start,
        what=what,
        usual=gap(usual),
        span=span,
    )
