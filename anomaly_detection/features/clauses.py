"""Words for numbers, columns and comparisons, of which groups of features make their clauses."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from functools import cache
from math import floor, isfinite, log10
from typing import Any

import numpy as np
import pandas as pd

from anomaly_detection.data.names import split_unit
from anomaly_detection.data.parsing import name_tokens
from anomaly_detection.features.derived import CalendarPart, Duration, NumberLevel
from anomaly_detection.features.group import FeatureSource, Range, Row

__all__ = [
    "as_years",
    "beyond",
    "compare",
    "compared_with",
    "gap",
    "listed",
    "number",
    "number_range",
    "rounded",
    "short",
    "tells_place",
    "times",
    "usually",
    "with_unit",
    "without_unit",
]

_WIDE = 1000.0  # times the lower end: such a range says nothing, and neither does a factor
_FAR = 10.0  # times beyond the range: of that a factor says more than a rank
_FEWEST_RANKED = 20  # of fewer one in twenty is not one
_LONGEST = 48
_TELLING = 3
_SAYS_NOTHING = frozenset({"missing", "none", "not_applicable", "other", "others", "undefined", "unknown"})
_YEARS = re.compile(r"\b([12]),(\d{3})\b")
# How a value is joined to what it describes ("SupplierB by Air"), by the words in its column's name.
_JOINED = (
    ("from", frozenset({"origin"})),
    ("to", frozenset({"destination"})),
    ("by", frozenset({"mode", "method"})),
)
# Numbers that count from somewhere: twice the day of the month, or half the latitude, says nothing.
_PLACES = {"year", "quarter", "month", "week", "weekday", "dow", "day", "hour", "minute"} | {
    *("lat", "latitude", "long", "longitude", "lon", "lng")
}


def number(value: float) -> str:
    """Write a number with three or four figures that count and thousands separated: 1,234, 0.0123."""
    value = float(value)
    if not isfinite(value):
        return "missing"
    size = abs(value)
    if size >= 1000 or value == round(value):
        return f"{value:,.0f}" if size < 1e12 else f"{value:.3g}"
    if size >= 100:
        return f"{value:.1f}".rstrip("0").rstrip(".")
    return f"{value:.3g}" if size >= 0.0001 else f"{value:.1e}"


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
    return number(low) if low == high else f"{number(low)} to {number(high)}"


def rounded(end: float, between: Range, whole: bool) -> float:
    """Round an end of a range to what the range's width, or its own size, gives reason for."""
    sizes = [size for size in (between[1] - between[0], abs(end)) if 0 < size < np.inf]
    if not sizes:
        return end
    digits = 1 - floor(log10(min(sizes)))
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
    return name, f"{number(value)}{unit}"


def times(value: float, usual: float) -> str | None:
    """Say how many times the usual, or what share of it, where both are positive and differ by more than a tenth."""
    if not (value > 0 and usual > 0):
        return None
    ratio = min(value / usual, sys.float_info.max)
    if ratio >= 1.1:
        return f"{ratio:.2g} times" if ratio < 9.95 else f"{number(np.rint(ratio))} times"
    if ratio < 0.01:
        return "less than a hundredth of"
    if ratio <= 0.9:
        return f"{100 * ratio:.2g} % of"
    return None


def as_years(clause: str) -> str:
    """Write the numbers of a clause as years: 2019 and not 2,019."""
    return _YEARS.sub(r"\1\2", clause)


def listed(words: Sequence[str]) -> str:
    """Join words: "a, b and c"."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _joining(source: FeatureSource, column: str) -> str | None:
    part = source.derived.get(column)
    return "in" if isinstance(part, CalendarPart) and part.part == "month" else _joining_by_name(column)


@cache
def _joining_by_name(column: str) -> str | None:
    return next((word for word, words in _JOINED if words & name_tokens(column)), None)


def compared_with(source: FeatureSource, row: Row, *, joined: bool, missing: str = "no") -> tuple[list[str], list[str]]:
    """Name what a feature's row is compared within: "SupplierB", "no port"; apart, if `joined`, such as "by Air".

    `missing` is the word before the name of what the record lacks.
    """
    named: list[str] = []
    apart: list[str] = []
    for column in source.group_by:
        value, part = row.get(column), source.derived.get(column)
        name = part.column if isinstance(part, NumberLevel) else column
        if pd.isna(value):
            named.append(f"{missing} {name}")
        elif not isinstance(value, str):
            days = isinstance(part, Duration)
            named.append(
                f"{_days(float(value))} {name.partition(' ')[2]}" if days else " ".join(with_unit(name, value))
            )
        elif len(value) < _TELLING or value.casefold() in _SAYS_NOTHING or _is_code(value):
            # A code such as 12 or TEC-MA-1000 says nothing without its column.
            named.append(f"{name} {short(value)}")
        else:
            shown = f'"{short(value)}"' if ", " in value else short(value)
            word = _joining(source, column)
            if word is None or not joined:
                named.append(shown)
            else:
                apart.append(f"{word} {shown}")
    return named, apart


def _is_code(text: str) -> bool:
    """Whether a text is made of figures and capitals alone, so that nobody reads it as a word."""
    return not any(map(str.isalpha, text)) or (any(map(str.isdigit, text)) and not any(map(str.islower, text)))


def _days(days: float) -> str:
    text = number(round(days) if abs(days) >= 3.0 else days)
    return f"{text} {'day' if text == '1' else 'days'}"


def tells_place(column: str) -> bool:
    """Whether a number says when or where and not how much, by its column's name."""
    return bool(_PLACES & name_tokens(column))


def compare(
    subject: str, value: float, usual: float, shown_usual: str, what: str, between: Range | None, *, place: bool = False
) -> str:
    """Say how a subject with this value stands to `what` is usual, which is `shown_usual` in numbers.

    Of a `place`, as `tells_place` has it, it is not said how many times the usual it is; nor where what is usual lies
    on either side of zero, so that it may be as small as one likes.
    """
    ratio = None if place or (between is not None and between[0] < 0.0) else times(value, usual)
    if ratio is not None:
        return f"{subject} is {ratio} {what} ({shown_usual})"
    if number(value) == number(usual):
        return f"{subject} is not quite {what} ({shown_usual})"
    return f"{subject} is {'above' if value > usual else 'below'} {what} ({shown_usual})"


def beyond(value: float, between: Range | None, values: int | None) -> str | None:
    """Say which share of the `values` that a range is of lies below or above a value, where the range is too wide.

    None where it is not, where it holds the value, and where there are too few; `values` may be None for all.
    """
    if between is None or (values is not None and values < _FEWEST_RANKED):
        return None
    low, high = between
    if low <= value <= high or not low > 0.0 or high < _WIDE * low or not low / _FAR <= value <= _FAR * high:
        return None
    of = "all" if values is None else f"{values:,}"
    return f"{'above' if value > high else 'below'} 95 % of {of} values"


def usually(value: float, usual: float, between: Range | None, unit: str = "") -> str:
    """Add the usual range, unless it holds the value or says no more than what is usual."""
    if between is None or between[0] <= value <= between[1]:
        return ""
    whole = value == round(value) and "." not in number(usual)
    low, high = (rounded(end, between, whole) for end in between)
    if low <= value <= high or not low <= usual <= high:
        # Rounding would have the range hold the value, or lack what is usual: 4.34 lies below 4.35, not in 4.3 to 7.8.
        shown = f"{number(between[0])} to {number(between[1])}"
        return "" if number(value) in (number(end) for end in between) else f", usually {shown}{unit}"
    shown = number_range(between, whole=whole)
    return f", usually {shown}{unit}" if " to " in shown else ""


def gap(days: float, text: str | None = None) -> str:
    """Say how many days after a date, or before it where they are negative; `text` in place of their number."""
    if days == 0:
        return "the same day"
    # Hours say nothing of many days.
    text = number(abs(days if abs(days) < 3.0 else round(days))) if text is None else text
    return f"{text} {'day' if text == '1' else 'days'} {'after' if days > 0 else 'before'}"
