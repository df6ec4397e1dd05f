"""Contributions in words: the user's columns and values, what is usual, and how far apart they are."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from math import floor, log10
from typing import Any

import numpy as np
import pandas as pd

from anomaly_detection.data.parsing import name_tokens
from anomaly_detection.features.derived import amount_kind
from anomaly_detection.features.features import FeatureSource

__all__ = ["is_duration", "number", "number_range", "percent", "phrase", "sentence"]

_LONGEST = 48
_UNITS = re.compile(r"\((?P<unit>[A-Za-z%$€£]{1,12})\)\s*$")
_UNIT_WORDS = {"usd": "USD", "eur": "EUR", "kilograms": "kg", "kg": "kg", "days": "days", "hours": "hours", "km": "km"}
# How a value is joined to what it describes ("SupplierB by Air"), by the words in its column's name.
_JOINED = (
    ("from", frozenset({"origin"})),
    ("to", frozenset({"destination"})),
    ("by", frozenset({"mode", "method"})),
)
# What there is no "each" of: 0.002 of insurance for each of value is a ratio.
_AMOUNTS = ("value", "price", "freight", "insurance", "forecast", "inventory", "capacity")

Row = Mapping[str, Any]
Range = tuple[float, float]


def number(value: float) -> str:
    """Write a number with three or four figures that count and thousands separated: 1,234, 0.0123."""
    value = float(value)
    if not np.isfinite(value):
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
    low, high = (_rounded(end, between, whole) for end in between)
    return number(low) if low == high else f"{number(low)} to {number(high)}"


def _rounded(end: float, between: Range, whole: bool) -> float:
    sizes = [size for size in (between[1] - between[0], abs(end)) if 0 < size < np.inf]
    if not sizes:
        return end
    digits = 1 - floor(log10(min(sizes)))
    return round(end, min(digits, 0) if whole else digits) + 0.0  # no negative zero


def percent(share: float) -> str:
    """Write a share of 1 as whole per cent, but never 100 % for less or 0 % for more."""
    if 0.995 <= share < 1.0:
        return "over 99 %"
    return "under 1 %" if 0.0 < share < 0.01 else f"{100 * share:.0f} %"


def short(text: Any, longest: int = _LONGEST) -> str:
    """Cut a long text, between words where that loses little."""
    words = str(text)
    if len(words) <= longest:
        return words
    cut = words[: longest - 3]
    space = cut.rfind(" ")
    return f"{(cut[:space] if space > longest // 2 else cut).rstrip(' ,;')}..."


def sentence(reasons: Sequence[tuple[str, float]], *, alert: bool) -> str:
    """Join the clauses of `phrase`, each with its share of what lowers the score, the largest first."""
    if not reasons:
        return "Nothing in this record stands out."
    (text, share), *others = reasons
    if alert:
        first = f"{_capital(text)}; it accounts for {percent(share)} of the alert."
    else:
        first = f"Not an alert. What stands out most ({percent(share)}): {text}."
    return " ".join([first, *(f"Another {percent(share)}: {text}." for text, share in others)])


def _capital(text: str) -> str:
    """Begin with a capital, except where the text begins with a name such as order_quantity."""
    word = text.split(" ", 1)[0]
    return f"{text[0].upper()}{text[1:]}" if word.isalpha() and word.islower() else text


def _named(column: str) -> tuple[str, str]:
    """Return the column's name without its unit, and the unit with a space before it."""
    match = _UNITS.search(column)
    if match is None:
        return column, ""
    return column[: match.start()].strip(), f" {_UNIT_WORDS.get(match['unit'].lower(), match['unit'])}"


def _with_unit(column: str, value: float) -> tuple[str, str]:
    """Return the column's name without its unit, and the value with it."""
    name, unit = _named(column)
    return name, f"{number(value)}{unit}"


def _times(value: float, usual: float) -> str | None:
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


def _listed(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


@cache
def _joining(column: str) -> str | None:
    return next((word for word, words in _JOINED if words & name_tokens(column)), None)


def is_duration(source: FeatureSource) -> bool:
    """Whether a feature of two columns is the days between two dates."""
    return len(source.columns) == 2 and (source.kind in ("durations", "rules") or source.name.startswith("days from "))


def _among(source: FeatureSource, row: Row) -> str:
    """Say what a value is compared with: " for SupplierB by Air", " in June", nothing for all records."""
    named: list[str] = []
    joined: list[str] = []
    for name in source.group_by:
        value = row.get(name)
        if pd.isna(value):
            named.append(f"no {name}")
        elif not isinstance(value, str):
            named.append(" ".join(_with_unit(name, float(value))))
        elif not any(letter.isalpha() for letter in value):
            # A code such as 12 says nothing without its column.
            named.append(f"{name} {short(value)}")
        else:
            shown = f'"{short(value)}"' if ", " in value else short(value)
            word = "in" if name.startswith("month of ") else _joining(name)
            if word is None or source.kind == "expectations":
                named.append(shown)
            else:
                joined.append(f"{word} {shown}")
    if source.kind == "expectations":
        # The rest of the record foretells the value, its numbers as well as its categories.
        return f" with {_listed(named)}" if named else " for such a record"
    return "".join([f" for {', '.join(named)}" if named else "", *(f" {word}" for word in joined)])


def _usual(source: FeatureSource, row: Row) -> str:
    """What a value is so many times of: "what is usual for ARVs", "what SupplierB by Air takes" of a lead time."""
    among = _among(source, row)
    tokens = name_tokens(source.columns[0])
    takes_time = {"lead", "time"} <= tokens or tokens & {"duration", "transit"}
    if takes_time and source.kind == "deviations" and among.startswith(" for "):
        return f"what {among[len(' for ') :]} takes"
    return f"what is usual{among}"


def _compare(subject: str, value: float, usual: float, shown_usual: str, what: str) -> str:
    times = _times(value, usual)
    if times is not None:
        return f"{subject} is {times} {what} ({shown_usual})"
    if number(value) == number(usual):
        return f"{subject} is not quite {what} ({shown_usual})"
    return f"{subject} is {'above' if value > usual else 'below'} {what} ({shown_usual})"


def _usually(value: float, usual: float, between: Range | None, unit: str = "") -> str:
    """Add the usual range, unless it holds the value or says no more than what is usual."""
    if between is None or between[0] <= value <= between[1]:
        return ""
    shown = number_range(between, whole=value == round(value) and "." not in number(usual))
    return f", usually {shown}{unit}" if " to " in shown else ""


def _numeric(source: FeatureSource, value: float, usual: float, row: Row, between: Range | None) -> str:
    what = _usual(source, row)
    if len(source.columns) == 1:
        name, unit = _named(source.columns[0])
        if source.kind == "expectations" and number(value) == number(usual):
            # What is foretold is beyond all that any record has had, and was cut there.
            beside = _among(source, row).removeprefix(" with ") if source.group_by else "the rest of the record"
            return f"{name} {number(value)}{unit} does not go with {beside}"
        shown = f"{number(usual)}{unit}{_usually(value, usual, between, unit)}"
        return _compare(f"{name} {number(value)}{unit}", value, usual, shown, what)
    if len(source.columns) == 3:
        total, first, second = source.columns
        product = row[total] / value if value else float("nan")
        name, shown = _with_unit(total, row[total])
        factors = f"{first} {number(row[first])} x {second} {number(row[second])}"
        times = _times(value, usual)
        if times is None and not value:
            return f"{name} is 0 although {factors} is not"
        return f"{name} {shown} is {times or 'about'} {factors} ({number(product)})"
    if is_duration(source):
        return _duration(source, value, usual, _among(source, row), between)
    over, under = (_with_unit(column, row[column]) for column in source.columns)
    each = f"a ratio of {number(value)}" if amount_kind(source.columns[1]) in _AMOUNTS else f"{number(value)} each"
    subject = f"{' '.join(over)} for {' '.join(under)} ({each})"
    return _compare(subject, value, usual, f"{number(usual)}{_usually(value, usual, between)}", what)


def _gap(days: float, text: str | None = None) -> str:
    if days == 0:
        return "the same day"
    # Hours say nothing of many days.
    text = number(abs(days if abs(days) < 3.0 else round(days))) if text is None else text
    return f"{text} {'day' if text == '1' else 'days'} {'after' if days > 0 else 'before'}"


def _duration(source: FeatureSource, days: float, usual: float, among: str, between: Range | None) -> str:
    end, start = source.columns
    gap = "on the same day as" if days == 0 else _gap(days)
    span = ""
    if between is not None and not between[0] <= days <= between[1]:
        low, high = (_rounded(bound, between, whole=between[1] - between[0] >= 2.0) for bound in between)
        if low < high and low * high >= 0:
            nearer, farther = sorted((low, high), key=abs)
            span = f" ({_gap(farther, f'{number(abs(nearer))} to {number(abs(farther))}')})"
        elif low < high:
            span = f" ({_gap(low)} to {_gap(high)})"
    return f"{end} is {gap} {start}; usual{among} is {_gap(usual)}{span}"


def _rarity(source: FeatureSource, value: Any, count: float, rows: int) -> str:
    column = source.columns[0]
    seen = "was never seen before" if count == 0 else f"is rare: {number(count)} of {rows:,} records"
    shown = "(missing)" if pd.isna(value) else short(value)
    if source.kind == "calendar":
        return f"{column} falls {'on a' if shown.endswith('day') else 'at'} {shown}, which {seen}"
    return f"{column} {shown} {seen}"


def _missing(source: FeatureSource, value: str, seen: str) -> str:
    """Of a pattern as `derived.MissingPattern` names it."""
    if value == "none":
        return f"no value is missing, {seen}"
    for column in source.columns:
        state = value.removeprefix(f"{column} ")
        if state != value and (state == "missing" or (state[0], state[-1], state.count("'")) == ("'", "'", 2)):
            return f"{column} is {short(state, 160)}, {seen}"
    return f"these values are missing together ({short(value, 160)}), {seen}"


def _pair(source: FeatureSource, value: tuple[Any, Any], counts: tuple[int, int]) -> str:
    names = source.name.split(" for ", 1)
    both, total = counts
    first, second = (_state(name, part) for name, part in zip(names, value, strict=True))
    return f"{first} is unusual with {second} ({both:,} of its {total:,} records)"


def _state(name: str, value: Any) -> str:
    """A column and its category, or how a value of it is missing (see `derived.MissingState`)."""
    column, given, _ = name.rpartition(" given")
    if not given:
        return f"{name} {'(missing)' if pd.isna(value) else short(value)}"
    if value in ("given", "blank"):
        return f"a {column} that is {value}"
    return f"{column} in other words than known" if value == "in other words" else f"{column} '{short(value)}'"


def phrase(
    source: FeatureSource, value: Any, usual: Any, row: Row, rows: int, between: tuple[float, float] | None = None
) -> str:
    """Say in a clause what is odd about one feature of one row.

    Parameters
    ----------
    source : FeatureSource
    value, usual : object
        As `SupplyChainFeatures.in_units` gives them.
    row : mapping of column to value
        The clean record with derived columns.
    rows : int
        Number of training records.
    between : tuple of two floats, optional
        Between what the value usually lies, as `SupplyChainFeatures.ranges_in_units` gives it; said where the value
        does not.
    """
    if source.kind == "missing":
        seen = "never seen before" if usual == 0 else f"as in {number(usual)} of {rows:,} records"
        return _missing(source, value, seen)
    if source.kind in ("cat", "calendar"):
        return _rarity(source, value, usual, rows)
    if source.kind == "pairs":
        return _pair(source, value, usual)
    if source.kind == "repeats":
        if source.name == "repeated record":
            return f"the same record occurs {number(value)} times"
        if source.name == "repeated readings":
            return f"{number(value)} readings at once repeat others within four weeks, like a copy's"
        column, count = value
        name, shown = _with_unit(column, row[column])
        return f"the same {name}, {shown}, occurs {count} times within four weeks"
    if pd.isna(value):
        return f"{source.columns[0]} is missing"
    return _numeric(source, float(value), float(usual), row, between)
