"""Words for numbers, columns and comparisons, of which groups of features make their clauses."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from math import floor, inf, isfinite, log10
from typing import Any

import numpy as np
import pandas as pd

from anomaly_detection.data.cells.truth import is_true
from anomaly_detection.data.columns.names import split_unit
from anomaly_detection.data.columns.parsing import name_tokens
from anomaly_detection.features.dates.derived import CalendarPart, Duration, NumberLevel
from anomaly_detection.features.group import FeatureSource, Range, Row
from anomaly_detection.texts.said import N_, Figure, Said, say

__all__ = [
    "as_years",
    "beyond",
    "compare",
    "compared_with",
    "days",
    "exactly",
    "from_to",
    "gap",
    "in_days",
    "in_records",
    "is_year",
    "listed",
    "measured",
    "named_value",
    "number",
    "number_range",
    "rounded",
    "series",
    "short",
    "tells_place",
    "tells_time",
    "times",
    "times_seen",
    "usually",
    "with_unit",
    "without_unit",
]

_WIDE = 1000.0  # times the lower end: such a range says nothing, and neither does a factor
_FAR = 10.0  # times beyond the range: of that a factor says more than a rank
_FEWEST_RANKED = 20  # of fewer one in twenty is not one
_FEWEST_OF_MANY = 5
_LONGEST = 48
_TELLING = 3
_SAYS_NOTHING = frozenset({"missing", "none", "not_applicable", "other", "others", "undefined", "unknown"})
_YEARS_FROM, _YEARS_TO = 1800.0, 2100.0
_YEARS = re.compile(r"\b([12]),(\d{3})\b")
# How a value is joined to what it describes ("SupplierB by Air"), by the words in its column's name.
_JOINED = (
    (N_("from %(what)s"), frozenset({"origin"})),
    (N_("to %(what)s"), frozenset({"destination"})),
    (N_("by %(what)s"), frozenset({"mode", "method"})),
)
# Numbers that count from somewhere: twice the day of the month, or half the latitude, says nothing.
_TIMES = {"year", "quarter", "month", "week", "weekday", "dow", "day", "hour", "minute"}
_PLACES = {"lat", "latitude", "long", "longitude", "lon", "lng"}


def number(value: float) -> str:
    """Write a number with three or four figures that count and thousands separated: 1,234, 0.0123."""
    value = float(value)
    if not isfinite(value):
        return say("missing")
    size = abs(value)
    if size >= 1000 or value == round(value):
        return Figure(f"{value:,.0f}" if size < 1e12 else f"{value:.3g}")
    if size >= 100:
        return Figure(f"{value:.1f}".rstrip("0").rstrip("."))
    return Figure(f"{value:.3g}" if size >= 0.0001 else f"{value:.1e}")


def times_seen(count: Any, rows: int) -> str:
    """In how many of the training records it was."""
    if not count:
        return say("none of %(rows)s records", rows=number(rows))
    return say("%(count)s of %(rows)s records", count=number(count), rows=number(rows))


def in_records(count: int) -> str:
    """So many records."""
    template = N_("%(count)s record") if count == 1 else N_("%(count)s records")
    return say(template, count=number(count))


def number_range(between: Range, *, whole: bool = False) -> str:
    """Write the ends of a range, no more exactly than it is wide: 9.2 to 17, 380 to 520.

    Parameters
    ----------
    between : tuple of two floats
        Finite, the smaller one first.
    whole : bool
        Whether to round to whole numbers.
    """
    low, high = (rounded(end, between, whole) for end in between)
    return number(low) if low == high else from_to(low, high)


def from_to(low: float, high: float) -> str:
    """Write two ends: 9.2 to 17."""
    return say("%(low)s to %(high)s", low=number(low), high=number(high))


def rounded(end: float, between: Range, whole: bool) -> float:
    """Round an end of a range to what the range's width, or its own size, gives reason for."""
    width, size = between[1] - between[0], abs(end)
    least = min(width if width > 0.0 else inf, size if size > 0.0 else inf)
    if least == inf:
        return end
    digits = 1 - floor(log10(least))
    return round(end, min(digits, 0) if whole else digits) + 0.0  # no negative zero


def short(text: Any, longest: int = _LONGEST) -> str:
    """Cut a long text, between words where that loses little."""
    words = str(text)
    if len(words) <= longest:
        return words
    cut = words[: longest - 3]
    space = cut.rfind(" ")
    return f"{(cut[:space] if space > longest // 2 else cut).rstrip(' ,;')}..."


def without_unit(column: str) -> tuple[str, str]:
    """Return the column's name without its unit, and the unit with a space before it."""
    name, unit = split_unit(column)
    return name, f" {unit}" if unit else ""


def with_unit(column: str, value: float) -> tuple[str, str]:
    """Return the column's name without its unit, and the value with it."""
    name, unit = without_unit(column)
    return name, measured(value, unit)


def measured(value: float, unit: str, shown: Callable[[float], str] = number) -> str:
    """A value with what `without_unit` gives as its unit."""
    return say("%(value)s%(unit)s", value=shown(value), unit=unit) if unit else shown(value)


def exactly(value: float) -> str:
    """Write a number with all its figures that count."""
    return Figure(f"{value:,.12g}")


def times(value: float, usual: float) -> str | None:
    """Say how many times the usual, or what share of it, where both are positive and differ by more than a tenth."""
    if not (value > 0 and usual > 0):
        return None
    ratio = min(value / usual, sys.float_info.max)
    if ratio >= 1.1:
        return say("%(ratio)s times", ratio=Figure(f"{ratio:.2g}") if ratio < 9.95 else number(np.rint(ratio)))
    if ratio < 0.01:
        return say("less than a hundredth of")
    if ratio <= 0.9:
        return say("%(share)s %% of", share=Figure(f"{100 * ratio:.2g}"))
    return None


def is_year(column: str, *numbers: float) -> bool:
    """Whether numbers of a column are years, by its name or as all of them may be."""
    if "year" in name_tokens(column):
        return True
    return not without_unit(column)[1] and all(_YEARS_FROM <= each <= _YEARS_TO for each in numbers)


def as_years(clause: Said) -> Said:
    """Write the numbers of a clause as years: 2019 and not 2,019."""
    return Said(clause.template, {name: _as_year(value) for name, value in clause.values.items()})


def _as_year(value: str) -> str:
    if isinstance(value, Said):
        return as_years(value)
    return Figure(_YEARS.sub(r"\1\2", value)) if isinstance(value, Figure) else value


def listed(words: Sequence[str]) -> str:
    """Join words: "a, b and c"."""
    return say("%(some)s and %(last)s", some=series(words[:-1]), last=words[-1]) if len(words) > 1 else series(words)


def series(words: Sequence[str]) -> str:
    """Join words: "a, b, c"."""
    if len(words) == 1:
        return words[0]
    if not any(isinstance(word, (Said, Figure)) for word in words):
        return ", ".join(words)
    names = [f"word{place}" for place in range(len(words))]
    return Said(", ".join(f"%({name})s" for name in names), dict(zip(names, words, strict=True)))


def _joining(source: FeatureSource, column: str) -> str | None:
    part = source.derived.get(column)
    return N_("in %(what)s") if isinstance(part, CalendarPart) and part.part == "month" else _joining_by_name(column)


@cache
def _joining_by_name(column: str) -> str | None:
    return next((word for word, words in _JOINED if words & name_tokens(column)), None)


def compared_with(
    source: FeatureSource, row: Row, *, joined: bool, missing: str = N_("no %(what)s")
) -> tuple[list[str], list[str]]:
    """Name what a feature's row is compared within: "SupplierB", "no port"; apart, if `joined`, such as "by Air".

    `missing` is the template for the name of what the record lacks.
    """
    named: list[str] = []
    apart: list[str] = []
    for column in source.group_by:
        value, part = row.get(column), source.derived.get(column)
        name = part.column if isinstance(part, NumberLevel) else column
        if isinstance(value, str):
            shown = _telling(value)
            if shown is None:
                named.append(f"{name} {short(value)}")
                continue
            if isinstance(part, CalendarPart):
                shown = say(shown)
            word = _joining(source, column)
            if word is None or not joined:
                named.append(shown)
            else:
                apart.append(say(word, what=shown))
        elif pd.isna(value):
            named.append(say(missing, what=name))
        else:
            if isinstance(part, Duration):
                from_start = say(
                    "%(days)s from %(start)s to %(end)s", days=days(float(value)), start=part.start, end=part.end
                )
                named.append(from_start)
            else:
                named.append(named_value(*with_unit(name, value)))
    return named, apart


@lru_cache(4096)
def _telling(text: str) -> str | None:
    """A level as it stands in a sentence; None of a yes, an hour, or a code such as 12 or TEC-MA-1000, which says
    nothing without its column.
    """
    is_short = len(text) < _TELLING + text[:1].isdigit()
    if is_short or text.casefold() in _SAYS_NOTHING or _is_code(text) or is_true(text) is not None:
        return None
    return f'"{short(text)}"' if ", " in text else short(text)


def _is_code(text: str) -> bool:
    """Whether a text is made of figures and capitals alone, so that nobody reads it as a word."""
    return not any(map(str.isalpha, text)) or (any(map(str.isdigit, text)) and not any(map(str.islower, text)))


def named_value(name: str, value: str) -> str:
    """A column's name and what it has: lead_time 45."""
    return say("%(name)s %(value)s", name=name, value=value)


def in_days(days: str) -> str:
    """So many days."""
    return say(N_("%(days)s day") if days == "1" else N_("%(days)s days"), days=days)


def days(count: float) -> str:
    """So many days, whole ones where there are many."""
    return in_days(number(round(count) if abs(count) >= 3.0 else count))


def tells_place(column: str) -> bool:
    """Whether a number says when or where and not how much, by its column's name."""
    return bool(_PLACES & name_tokens(column)) or tells_time(column)


def tells_time(column: str) -> bool:
    """Whether a number is a part of a date, by its column's name; so many per day are none."""
    return bool(_TIMES & (tokens := name_tokens(column))) and "per" not in tokens


def compare(
    subject: str, value: float, usual: float, shown_usual: str, what: str, between: Range | None, *, place: bool = False
) -> Said:
    """Say how a subject with this value stands to `what` is usual, which is `shown_usual` in numbers.

    Of a `place`, as `tells_place` has it, it is not said how many times the usual it is; nor where what is usual lies
    on either side of zero, so that it may be as small as one likes.
    """
    ratio = None if place or (between is not None and between[0] < 0.0) else times(value, usual)
    if ratio is not None:
        return say(
            "%(subject)s is %(ratio)s %(what)s (%(usual)s)", subject=subject, ratio=ratio, what=what, usual=shown_usual
        )
    if number(value) == number(usual):
        template = N_("%(subject)s is not quite %(what)s (%(usual)s)")
    elif value > usual:
        template = N_("%(subject)s is above %(what)s (%(usual)s)")
    else:
        template = N_("%(subject)s is below %(what)s (%(usual)s)")
    return say(template, subject=subject, what=what, usual=shown_usual)


def beyond(value: float, between: Range | None, values: int | None) -> str | None:
    """Say which share of the `values` that a range is of lies below or above a value, where the range is too wide.

    None where it is not, where it holds the value, and where there are too few; `values` may be None for all.
    """
    if between is None or (values is not None and values < _FEWEST_OF_MANY):
        return None
    low, high = between
    if low <= value <= high or not low > 0.0 or high < _WIDE * low or not low / _FAR <= value <= _FAR * high:
        return None
    if values is None:
        return say(N_("above 95 %% of all values") if value > high else N_("below 95 %% of all values"))
    if values < _FEWEST_RANKED:
        template = N_("above nearly all of %(of)s values") if value > high else N_("below nearly all of %(of)s values")
    else:
        template = N_("above 95 %% of %(of)s values") if value > high else N_("below 95 %% of %(of)s values")
    return say(template, of=number(values))


def usually(value: float, usual: float, between: Range | None, unit: str = "") -> str:
    """Add the usual range, unless it holds the value or says no more than what is usual."""
    if between is None or between[0] <= value <= between[1]:
        return ""
    whole = value == round(value) and "." not in number(usual)
    low, high = (rounded(end, between, whole) for end in between)
    if low <= value <= high or not low <= usual <= high:
        # Rounding would have the range hold the value, or lack what is usual: 4.34 lies below 4.35, not in 4.3 to 7.8.
        if number(value) in (number(end) for end in between):
            return ""
        return say(", usually %(range)s%(unit)s", range=from_to(*between), unit=unit)
    return "" if low == high else say(", usually %(range)s%(unit)s", range=from_to(low, high), unit=unit)


def gap(days: float, text: str | None = None, *, of: bool = False) -> str:
    """Say how many days after a date, or before it where they are negative; `text` in place of their number.

    `of` one that is named next: other languages have other words for that.
    """
    if abs(days) * 86_400 < 1.0:
        # What is learned of moments is a rounding away from none.
        return say("the same day")
    # Hours say nothing of many days.
    span = in_days(number(abs(days if abs(days) < 3.0 else round(days))) if text is None else text)
    if of:
        return say(N_("%(days)s after") if days > 0 else N_("%(days)s before"), days=span)
    return say(N_("%(span)s after") if days > 0 else N_("%(span)s before"), span=span)
