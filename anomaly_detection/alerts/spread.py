"""`Spread`: how the values of a record's own group are spread, and where the record lies among them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import isclose
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from anomaly_detection.alerts.groups import levels_of
from anomaly_detection.explain.explanations import Contribution
from anomaly_detection.explain.wording import number, short
from anomaly_detection.features.group import FeatureSource

__all__ = ["Quantity", "Spread", "quantity_of", "spread_of"]

Floats = npt.NDArray[np.float64]

_BINS = 36
_LEVELS = 12
_WIDE = 30.0  # times the middle half: beyond, equal steps would show one bar
_DAY = np.timedelta64(1, "D")


@dataclass(frozen=True)
class Spread:
    """A histogram of one quantity over the records of a group.

    Attributes
    ----------
    what : str
        The quantity, and the group if there is one.
    counts : tuple of int
        Records by bar, from left to right.
    place : float
        Where the record lies, from 0 (left end) to 1 (right end).
    value : str
        The record's own value.
    ends : tuple of two str
        What the left and right end stand for.
    even : bool
        Whether equal steps are equal differences; else the scale is logarithmic on both sides of zero.
    levels : bool
        Whether each bar is a level of a category, the commonest first.
    """

    what: str
    counts: tuple[int, ...]
    place: float
    value: str
    ends: tuple[str, str]
    even: bool = True
    levels: bool = False


@dataclass(frozen=True, eq=False)
class Quantity:
    """What a reason judges: a number, days between two dates or a ratio.

    Attributes
    ----------
    name : str
    values : ndarray (n,) float64
        Of all records; NaN where it is missing.
    own : float
        Of the record that the reason tells of.
    """

    name: str
    values: Floats
    own: float


def quantity_of(
    reason: Contribution, record: pd.Series[Any], source: FeatureSource, extended: pd.DataFrame
) -> Quantity | None:
    """The one quantity that a reason judges, None where there is none; parameters as `spread_of` has them."""
    if isinstance(reason.value, bool) or not isinstance(reason.value, (int, float)):
        return None
    found = (Quantity(*each) for each in _quantities(source.columns, record, extended))
    return next((each for each in found if isclose(each.own, reason.value, rel_tol=1e-3, abs_tol=1e-6)), None)


def spread_of(
    reason: Contribution, record: pd.Series[Any], source: FeatureSource, extended: pd.DataFrame, least: int = 2
) -> Spread | None:
    """The spread of what a reason judges, over the record's own group; None where that is no single quantity.

    Parameters
    ----------
    reason : Contribution
    record : pandas.Series
        The clean record that it tells of, with derived columns.
    source : FeatureSource
        Of the reason's feature.
    extended : pandas.DataFrame
        All clean records with derived columns.
    least : int
        A group of fewer records gives way to the one without its last level, in the end to all.
    """
    told = reason.value if isinstance(reason.value, list) else [reason.value]
    if told and isinstance(told[0], str) and reason.direction == "rare" and reason.columns:
        # Which of two categories is said first is the feature's affair.
        order = [name for name in source.columns if name in extended and isinstance(record[name], str)]
        said = bool(order) and record[order[0]] == told[0]
        return _of_levels(order[0], order[1:2], record, extended) if said else None
    found = quantity_of(reason, record, source, extended)
    if found is None:
        return None
    there = np.isfinite(found.values)
    group = levels_of(source, extended)
    while group and (there & _within(group, record, extended)).sum() < least:
        group.pop()
    chosen = found.values[there & _within(group, record, extended)]
    return _of_numbers(_titled(found.name, group, record), chosen, found.own)


def _quantities(
    columns: Iterable[str], record: pd.Series[Any], extended: pd.DataFrame
) -> Iterator[tuple[str, Floats, float]]:
    """What a feature of these columns may judge: a number, days between two dates, a ratio of two numbers."""
    named = [name for name in columns if name in extended]
    numbers = [name for name in named if pd.api.types.is_numeric_dtype(extended[name])]
    dates = [name for name in named if pd.api.types.is_datetime64_any_dtype(extended[name])]
    for name in numbers:
        yield name, extended[name].to_numpy(dtype=np.float64), float(record[name])
    for end, start in pairwise(dates):
        days = (extended[end].to_numpy() - extended[start].to_numpy()) / _DAY
        yield f"days from {start} to {end}", np.asarray(days, dtype=np.float64), (record[end] - record[start]) / _DAY
    for over, under in pairwise(numbers):
        with np.errstate(all="ignore"):
            ratio = extended[over].to_numpy(dtype=np.float64) / extended[under].to_numpy(dtype=np.float64)
            own = np.float64(record[over]) / np.float64(record[under])
        yield f"{over} / {under}", ratio, float(own)


def _within(group: Iterable[str], record: pd.Series[Any], extended: pd.DataFrame) -> npt.NDArray[np.bool_]:
    inside = np.ones(len(extended), dtype=bool)
    for name in group:
        value = record[name]
        same = extended[name].isna() if pd.isna(value) else extended[name] == value
        inside &= same.to_numpy(dtype=bool)
    return inside


def _titled(name: str, group: Iterable[str], record: pd.Series[Any]) -> str:
    levels = [short(f"no {one}" if pd.isna(record[one]) else record[one], 24) for one in group]
    return f"{name} of {', '.join(levels)}" if levels else name


def _of_numbers(what: str, values: Floats, own: float) -> Spread | None:
    if values.size < 2 or not np.isfinite(own):
        return None
    quarter, three = np.quantile(values, [0.25, 0.75])
    low, high = min(float(values.min()), own), max(float(values.max()), own)
    if low == high:
        return None
    unit = float(three - quarter) or float(np.abs(values).mean()) or 1.0
    even = high - low <= _WIDE * unit

    def scaled(x: Any) -> Any:
        return np.asarray(x, dtype=np.float64) if even else np.arcsinh(np.asarray(x, dtype=np.float64) / unit)

    left, right = float(scaled(low)), float(scaled(high))
    counts, _ = np.histogram(scaled(values), bins=_BINS, range=(left, right))
    place = (float(scaled(own)) - left) / (right - left)
    return Spread(what, tuple(counts.tolist()), place, number(own), (number(low), number(high)), even)


def _of_levels(name: str, beside: list[str], record: pd.Series[Any], extended: pd.DataFrame) -> Spread | None:
    """The most frequent levels from left to right, the record's own among them, at the end if it is none of those."""
    values = extended[name][_within(beside, record, extended)]
    counts = values.value_counts()
    counts = counts[counts > 0]
    own = record[name]
    others = [level for level in counts.index if level != own]
    if not others:
        return None
    before = sum(int(counts[level]) >= int(counts.get(own, 0)) for level in others)
    place = min(before, _LEVELS - 1, len(others))
    shown = [*others[:place], own, *others[place : _LEVELS - 1]]
    bars = tuple(int(counts.get(level, 0)) for level in shown)
    ends = (short(shown[0], 16), short(shown[-1], 16))
    return Spread(_titled(name, beside, record), bars, (place + 0.5) / len(bars), short(own, 24), ends, levels=True)
