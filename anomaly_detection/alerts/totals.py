"""Totals of alerts: by time, by the categories in which they concentrate, and by money."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from anomaly_detection.data.columns.column import Role
from anomaly_detection.data.columns.parsing import name_tokens
from anomaly_detection.data.columns.schema import Schema

__all__ = ["CategoryTotals", "MoneyTotal", "PeriodTotals", "Total", "by_category", "by_money", "by_period"]

Bools = npt.NDArray[np.bool_]

_CATEGORIES = 4
_LEVELS = 10
_LEAST_EXPECTED = 1.0
_LEAST_CONCENTRATION = 3.0  # standard deviations beyond what chance would do
_DAYS, _MONTHS = 62, 120
_ORIGIN = frozenset({"origin", "source"})
_DESTINATION = frozenset({"destination", "dest"})
_MATTERS = (
    frozenset({"supplier", "vendor", "seller", "merchant", "manufacturer", "carrier"}),
    frozenset({"product", "item", "sku", "article", "material"}),
    _ORIGIN | _DESTINATION | {"country", "region", "lane", "route", "city", "port"},
)
"""Words of columns that people ask for first: who supplies, what, and where."""


@dataclass(frozen=True)
class Total:
    """Of one level or period: its name, its alerts, its records, and the alerts' sum of the main amount if any."""

    name: str
    alerts: int
    records: int
    amount: float | None


@dataclass(frozen=True)
class CategoryTotals:
    """By the levels of `columns`, two for a lane: those with most alerts above the average rate first, ten at most.

    `levels` is how many levels there are in all.
    """

    columns: tuple[str, ...]
    totals: tuple[Total, ...]
    levels: int


@dataclass(frozen=True)
class PeriodTotals:
    """By the periods of the date `column`, in time's order and without gaps; `unit` is day, month or year."""

    column: str
    unit: str
    totals: tuple[Total, ...]


@dataclass(frozen=True)
class MoneyTotal:
    """The sum of a column of money over the alerts, and over all records."""

    column: str
    alerts: float
    records: float


def by_category(extended: pd.DataFrame, schema: Schema, is_alert: Bools, amounts: Any) -> list[CategoryTotals]:
    """Totals by the categories, lanes among them, in which alerts concentrate beyond chance, most first.

    Four at most: the first that tells of suppliers, of products and of places or lanes, then the strongest others.

    Parameters
    ----------
    extended : pandas.DataFrame
        Clean records, n rows.
    schema : Schema
    is_alert : ndarray of bool, shape (n,)
    amounts : ndarray of float64, shape (n,), or None
        The main amount.
    """
    if not is_alert.any():
        return []
    names = schema.names(Role.CATEGORICAL)
    candidates: list[tuple[str, ...]] = [(name,) for name in names]
    origins, destinations = ([name for name in names if name_tokens(name) & words] for words in (_ORIGIN, _DESTINATION))
    candidates += [(start, end) for start in origins for end in destinations if start != end]
    found = []
    for columns in candidates:
        codes, levels = _levels(extended, columns)
        records = np.bincount(codes, minlength=len(levels))
        alerts = np.bincount(codes[is_alert], minlength=len(levels))
        strength = _concentration(alerts, records)
        if strength >= _LEAST_CONCENTRATION:
            found.append((strength, columns, codes, levels, alerts, records))
    found.sort(key=lambda one: -one[0])
    asked = [next((at for at, one in enumerate(found) if _tells(one[1], words)), None) for words in _MATTERS]
    first = {at for at in asked if at is not None}
    found = [one for at, one in enumerate(found) if at in first] + [
        one for at, one in enumerate(found) if at not in first
    ]
    rate = is_alert.mean()
    totals: list[tuple[float, CategoryTotals]] = []
    told: list[list[tuple[int, int]]] = []
    for strength, columns, codes, levels, alerts, records in found:
        # A code beside its name, or the one origin of each supplier, says the same again.
        shape = sorted(zip(alerts.tolist(), records.tolist(), strict=True))
        if shape in told or len(told) == _CATEGORIES:
            continue
        told.append(shape)
        sums = _sums(codes, amounts, is_alert, len(levels))
        order = np.argsort(-(alerts - rate * records), kind="stable")[:_LEVELS]
        shown = [
            Total(levels[i], int(alerts[i]), int(records[i]), None if sums is None else float(sums[i]))
            for i in order.tolist()
            if alerts[i]
        ]
        totals.append((strength, CategoryTotals(columns, tuple(shown), len(levels))))
    return [one for _, one in sorted(totals, key=lambda pair: -pair[0])]


def _tells(columns: Sequence[str], words: frozenset[str]) -> bool:
    return any(name_tokens(name) & words for name in columns)


def by_period(extended: pd.DataFrame, column: str, is_alert: Bools, amounts: Any) -> PeriodTotals | None:
    """Totals by day up to two months, by year beyond ten years, by month between; None where no date is known."""
    times = pd.Series(extended[column].to_numpy(dtype="datetime64[ns]"))
    known = times.notna().to_numpy(dtype=bool)
    if not known.any():
        return None
    first, last = times.min(), times.max()
    days = (last - first).days + 1
    months = 12 * (last.year - first.year) + last.month - first.month + 1
    unit, letter = ("day", "D") if days <= _DAYS else ("month", "M") if months <= _MONTHS else ("year", "Y")
    periods = pd.period_range(first, last, freq=letter)
    codes = periods.get_indexer(pd.PeriodIndex(times[known], freq=letter))
    flags = is_alert[known]
    records = np.bincount(codes, minlength=len(periods))
    alerts = np.bincount(codes[flags], minlength=len(periods))
    sums = _sums(codes, None if amounts is None else amounts[known], flags, len(periods))
    return PeriodTotals(
        column,
        unit,
        tuple(
            Total(str(period), int(alerts[i]), int(records[i]), None if sums is None else float(sums[i]))
            for i, period in enumerate(periods)
        ),
    )


def by_money(extended: pd.DataFrame, columns: Sequence[str], is_alert: Bools) -> list[MoneyTotal]:
    """The sums of columns of money; missing values count as none."""
    values = {name: np.nan_to_num(extended[name].to_numpy(dtype=np.float64)) for name in columns}
    return [MoneyTotal(name, float(money[is_alert].sum()), float(money.sum())) for name, money in values.items()]


def _levels(extended: pd.DataFrame, columns: tuple[str, ...]) -> tuple[npt.NDArray[np.int64], list[str]]:
    """Each record's level as a code, and the levels' names; a missing one is a level too."""
    parts = [extended[name].astype(object).where(extended[name].notna(), f"no {name}").astype(str) for name in columns]
    joined = parts[0] if len(parts) == 1 else parts[0].str.cat(parts[1], sep=" \u2192 ")
    codes, levels = pd.factorize(joined.to_numpy(dtype=object))
    return np.asarray(codes, dtype=np.int64), [str(level) for level in levels]


def _concentration(alerts: npt.NDArray[Any], records: npt.NDArray[Any]) -> float:
    """By how many standard deviations the levels differ in their alert rates more than chance would have them.

    The likelihood-ratio statistic G against its mean and spread under chance; levels in which less than one alert is
    expected are taken together, for G would make much of them.
    """
    expected = records * (alerts.sum() / records.sum())
    small = expected < _LEAST_EXPECTED
    seen = np.append(alerts[~small], alerts[small].sum())
    wanted = np.append(expected[~small], expected[small].sum())
    used = wanted > 0
    seen, wanted = seen[used], wanted[used]
    freedom = len(seen) - 1
    if freedom < 1:
        return 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = 2.0 * np.where(seen > 0, seen * np.log(seen / wanted), 0.0).sum()
    return float((statistic - freedom) / np.sqrt(2.0 * freedom))


def _sums(codes: npt.NDArray[np.int64], amounts: Any, is_alert: Bools, count: int) -> Any:
    if amounts is None:
        return None
    return np.bincount(codes[is_alert], weights=np.nan_to_num(amounts[is_alert]), minlength=count)
