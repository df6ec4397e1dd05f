"""Numbers that count time: seconds since 1970, a spreadsheet's days, 20240131, the periods 202401 and 2024001."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from anomaly_detection.data.cells.cells import nanoseconds

__all__ = ["EpochUnit", "epoch_unit", "parse_epochs"]

EpochUnit = Literal[
    "s",
    "ms",
    "us",
    "ns",
    "excel",
    "yymmdd",
    "yyyymmdd",
    "yyyymmddhhmmss",
    "yyyymm",
    "yyyyww",
    "yyyyppp",
    "yyyyddd",
    "cyyddd",
]

Floats = npt.NDArray[np.float64]

_DATES_BETWEEN = (pd.Timestamp("1900-01-01"), pd.Timestamp("2200-01-01"))
# 1 January of the year 1 and the last day of 9999, which stand for no date.
_NO_DATES = (0.0, 10_101.0, 99_991_231.0, 10_101_000_000.0, 99_991_231_000_000.0, 99_991_231_235_959.0)
_WRITTEN: dict[EpochUnit, tuple[int, int, str]] = {
    # Of a month or week its first day; SAP's periods 13 to 16 close December; JD Edwards counts centuries from 1900.
    "yyyymm": (197_001, 207_912, "%Y%m"),
    "yyyyww": (197_001, 207_953, "%G%V%u"),
    "yyyyppp": (1_970_001, 2_079_016, "%Y%m"),
    "yyyyddd": (1_970_001, 2_079_366, "%Y%j"),
    "cyyddd": (90_001, 150_366, "%Y%j"),
    "yymmdd": (100_000, 991_231, "%y%m%d"),
    "yyyymmdd": (19_000_101, 21_991_231, "%Y%m%d"),
    "yyyymmddhhmmss": (19_000_101_000_000, 21_991_231_235_959, "%Y%m%d%H%M%S"),
}
_CLOCKS: dict[EpochUnit, tuple[Literal["s", "ms", "us", "ns"], float]] = {
    "s": ("s", 1.0),
    "ms": ("ms", 1e3),
    "us": ("us", 1e6),
    "ns": ("ns", 1e9),
}
_FIELDS_OF_SAP = "budat bldat erdat aedat bedat wadat vdatu fkdat prsdt audat augdt zfbdt faedt eindt lfdat cpudt"
_DATE_WORDS = frozenset({"date", "datum", "fecha", *_FIELDS_OF_SAP.split()})
_PERIODS = "period periode perio fiscper spmon month monat yearmonth calmonth mois mes"
_PERIOD_WORDS = frozenset(_PERIODS.split())
_WEEKS = "week weeks kw cw wk woche kalenderwoche calweek yearweek semaine semana"
_WEEK_WORDS = frozenset(_WEEKS.split())
_TIME_WORDS = _DATE_WORDS | {"time", "timestamp", "datetime", "epoch", "ts", "at", "on", "eta", "created", "updated"}
_FEWEST_UNNAMED = 3
_FEWEST_OF_SIX = 20  # numbers of six digits, of which one in 27 is a date by chance
_FEWEST_OF_EIGHT = 5
_FEWEST_PERIODS = 6
_MOST = 0.98


def epoch_unit(numbers: Floats, tokens: frozenset[str]) -> EpochUnit | None:
    """Name the clock if these numbers count time: seconds ... nanoseconds since 1970, spreadsheet days, 20240131.

    Parameters
    ----------
    numbers : ndarray (n,)
    tokens : frozenset of str
        The words of the column's name. Only 14 digits that are dates and times need none of them.
    """
    present = numbers[~np.isnan(numbers) & ~np.isin(numbers, _NO_DATES)]
    if present.size == 0:
        return None
    low, high = float(present.min()), float(present.max())
    dated = bool(tokens & _DATE_WORDS) or any(token.endswith("datum") for token in tokens)
    # "created by" is who, not when.
    named = dated or (bool(tokens & _TIME_WORDS) and "by" not in tokens)
    if np.all(present == np.round(present)):
        for written, (first, last, _) in _WRITTEN.items():
            inside = present[(present >= first) & (present <= last)]
            # One slip makes no number of a date.
            slips = inside.size - _MOST * present.size
            told = slips >= 0 and (_named_as(written, tokens, named=named) or _tells(written, inside))
            if told and np.isnat(parse_epochs(inside, written)).sum() <= slips:
                return written
    if not named or tokens & {"lead", "days", "hours", "minutes", "transit", "delay", "duration", "cycle"}:
        return None
    for unit, (_, scale) in _CLOCKS.items():
        if 4e8 * scale <= low and high <= 5e9 * scale:
            return unit
    return "excel" if dated and low >= 20_000 and high <= 80_000 else None


def _named_as(written: EpochUnit, tokens: frozenset[str], *, named: bool) -> bool:
    """Whether a column's name says that its numbers are written so."""
    if written in ("yyyymm", "yyyyppp"):
        return bool(tokens & _PERIOD_WORDS)
    return bool(tokens & _WEEK_WORDS) if written == "yyyyww" else named


def _tells(written: EpochUnit, numbers: Floats) -> bool:
    """Whether numbers that are all dates are so by no chance, whatever their column is called."""
    distinct = np.unique(numbers)
    if written == "yyyymm":
        # Codes of a few groups end in 01 to 12 too, but not in two years.
        return len(distinct) >= _FEWEST_PERIODS and distinct[0] // 100 < distinct[-1] // 100
    if written == "yyyymmdd":
        recent = distinct[0] >= 19_700_101 and distinct[-1] < 20_800_000
        return bool(len(distinct) >= _FEWEST_OF_EIGHT and recent and (distinct % 100 > 12).any())
    if written == "yyyymmddhhmmss":
        return len(distinct) >= _FEWEST_UNNAMED
    return written == "yymmdd" and len(distinct) >= _FEWEST_OF_SIX and _go_through_months(distinct)


def _go_through_months(numbers: Floats) -> bool:
    """Whether 240131 and the like have days beyond 12 and are of several months, as codes of a few parts are not."""
    days, months = numbers % 100, np.unique(numbers // 100)
    return bool((days > 12).any() and len(months) >= _FEWEST_UNNAMED)


def parse_epochs(numbers: Floats, unit: EpochUnit) -> npt.NDArray[np.datetime64]:
    """Turn counts of time into datetime64[ns]; NaN and what lies outside 1900 to 2200 become NaT."""
    values = pd.Series(numbers)
    if unit in _WRITTEN:
        _, last, form = _WRITTEN[unit]
        whole = values.where(values.between(0, last)).fillna(0).astype("int64")
        if unit == "yyyyppp":
            period = whole % 1000
            whole = whole // 1000 * 100 + period.where(~period.between(13, 16), 12)
        elif unit == "cyyddd":
            whole += 1_900_000
        elif unit == "yyyyww":
            whole = whole * 10 + 1
        texts = whole.astype(str)
        texts = texts.str.zfill(6) if unit == "yymmdd" else texts
        read = pd.to_datetime(texts, format=form, errors="coerce")
    elif unit == "excel":
        days = values.where(values.between(0, 109_574))
        read = pd.Timestamp("1899-12-30") + pd.to_timedelta(days, unit="D")
    else:
        clock, scale = _CLOCKS[unit]
        # Clocks that were never set stand at 0.
        read = pd.to_datetime(values.where((values / scale).between(-2.2e9, 7.2e9) & (values != 0)), unit=clock)
    read = read.where(read.between(*_DATES_BETWEEN))
    return nanoseconds(read.to_numpy())
