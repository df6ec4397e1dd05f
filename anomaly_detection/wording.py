"""Contributions in words: the user's columns and values, what is usual, and how far apart they are."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd

from anomaly_detection.features import FeatureSource

__all__ = ["number", "phrase"]

_LONGEST = 48
_UNITS = re.compile(r"\((?P<unit>[A-Za-z%$€£]{1,12})\)\s*$")
_UNIT_WORDS = {"usd": "USD", "eur": "EUR", "kilograms": "kg", "kg": "kg", "days": "days", "hours": "hours", "km": "km"}


def number(value: float) -> str:
    """Write a number with three or four figures that count and thousands separated: 1,234, 0.0123."""
    if not np.isfinite(value):
        return "missing"
    size = abs(value)
    if size >= 1000 or value == round(value):
        return f"{value:,.0f}" if size < 1e12 else f"{value:.3g}"
    if size >= 100:
        return f"{value:.1f}".rstrip("0").rstrip(".")
    return f"{value:.3g}" if size >= 0.0001 else f"{value:.1e}"


def short(text: Any, longest: int = _LONGEST) -> str:
    """Cut a long text, between words where that loses little."""
    words = str(text)
    if len(words) <= longest:
        return words
    cut = words[: longest - 3]
    space = cut.rfind(" ")
    return f"{(cut[:space] if space > longest // 2 else cut).rstrip(' ,;')}..."


def _with_unit(column: str, value: float) -> tuple[str, str]:
    """Return the column's name without its unit, and the value with it."""
    match = _UNITS.search(column)
    if match is None:
        return column, number(value)
    unit = _UNIT_WORDS.get(match["unit"].lower(), match["unit"])
    return column[: match.start()].strip(), f"{number(value)} {unit}"


def _times(value: float, usual: float) -> str | None:
    """Say how many times the usual, or what share of it, where both are positive and differ by more than a tenth."""
    if not (value > 0 and usual > 0):
        return None
    ratio = value / usual
    if ratio >= 1.1:
        return f"{number(ratio) if ratio < 10 else number(round(ratio))} times"
    if ratio < 0.01:
        return "less than a hundredth of"
    if ratio <= 0.9:
        return f"{number(100 * ratio)} % of"
    return None


def _group(source: FeatureSource, row: pd.Series[Any]) -> str:
    parts = []
    for name in source.group_by:
        value = row.get(name)
        if pd.isna(value):
            parts.append(f"no {name}")
        elif isinstance(value, str):
            # A code such as 12 says nothing without its column.
            known = short(value) if any(letter.isalpha() for letter in value) else f"{name} {short(value)}"
            parts.append(f"in {known}" if name.startswith("month of ") else known)
        else:
            parts.append(" ".join(_with_unit(name, float(value))))
    return ", ".join(parts)


def _compare(name: str, shown: str, shown_usual: str, value: float, usual: float, where: str) -> str:
    times = _times(value, usual)
    if times is not None:
        return f"{name} {shown} is {times} what is usual {where}({shown_usual})"
    direction = "above" if value > usual else "below" if value < usual else "at"
    return f"{name} {shown} is {direction} what is usual {where}({shown_usual})"


def _numeric(source: FeatureSource, value: float, usual: float, row: pd.Series[Any]) -> str:
    where = f"for {_group(source, row)} " if source.group_by else ""
    if source.kind == "expectations":
        where = where or "for such a record "
    if len(source.columns) == 1:
        name, shown = _with_unit(source.columns[0], value)
        return _compare(name, shown, _with_unit(source.columns[0], usual)[1], value, usual, where)
    if len(source.columns) == 3:
        total, first, second = source.columns
        product = row[total] / value if value else float("nan")
        name, shown = _with_unit(total, row[total])
        factors = f"{first} {number(row[first])} x {second} {number(row[second])}"
        times = _times(value, usual)
        if times is None and not value:
            return f"{name} is 0 although {factors} is not"
        return f"{name} {shown} is {times or 'about'} {factors} ({number(product)})"
    if source.kind in ("durations", "rules") or source.name.startswith("days from "):
        return _duration(source, value, usual, where)
    over, under = (_with_unit(column, row[column]) for column in source.columns)
    name = " for ".join(" ".join(part) for part in (over, under))
    times = _times(value, usual)
    if times is None:
        return _compare(name, f"({number(value)} each)", number(usual), value, usual, where)
    return f"{name} ({number(value)} each) is {times} what is usual {where}({number(usual)})"


def _duration(source: FeatureSource, days: float, usual: float, where: str) -> str:
    end, start = source.columns
    gap = "on the same day as" if days == 0 else f"{number(abs(days))} days {'after' if days > 0 else 'before'}"
    if usual == 0:
        typical = "the same day"
    else:
        typical = f"{number(abs(usual))} days {'after' if usual > 0 else 'before'}"
    return f"{end} is {gap} {start}; usual {where}is {typical}"


def _rarity(source: FeatureSource, value: Any, count: float, rows: int) -> str:
    column = source.columns[0]
    seen = "never seen before" if count == 0 else f"rare: {number(count)} of {rows:,} records"
    shown = "(missing)" if pd.isna(value) else short(value)
    if source.kind == "calendar":
        return f"{column} falls {'on a' if shown.endswith('day') else 'at'} {shown}, which is {seen}"
    return f"{column} {shown} is {seen}"


def phrase(source: FeatureSource, value: Any, usual: Any, row: pd.Series[Any], rows: int) -> str:
    """Say in a clause what is odd about one feature of one row.

    Parameters
    ----------
    source : FeatureSource
    value, usual : object
        As `SupplyChainFeatures.in_units` gives them.
    row : Series
        The clean record with derived columns.
    rows : int
        Number of training records.
    """
    if source.kind == "missing":
        seen = "never seen before" if usual == 0 else f"as in {number(usual)} of {rows:,} records"
        return f"no value is missing, {seen}" if value == "none" else f"missing: {short(value, 160)}, {seen}"
    if source.kind in ("cat", "calendar"):
        return _rarity(source, value, usual, rows)
    if source.kind == "pairs":
        judged, given = source.name.split(" for ", 1)
        both, total = usual
        first, second = ("(missing)" if pd.isna(part) else short(part) for part in value)
        return f"{judged} {first} is unusual with {given} {second} ({both:,} of its {total:,} records)"
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
    return _numeric(source, float(value), float(usual), row)
