"""Numbers and dates out of text, a column at a time: which conventions a column follows, and its values under them."""

from __future__ import annotations

import datetime
import re
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from anomaly_detection.data.cells import nanoseconds

__all__ = [
    "EpochUnit",
    "epoch_unit",
    "guess_day_first",
    "guess_decimal_comma",
    "is_far_date",
    "missing_mask",
    "name_tokens",
    "parse_dates",
    "parse_epochs",
    "parse_numbers",
    "text_pattern",
]

EpochUnit = Literal["s", "ms", "us", "ns", "excel", "yyyymmdd"]

_MISSING_TEXTS = frozenset(
    (
        *("", "na", "n/a", "n.a.", "#n/a", "#na", "nan", "null", "none", "nil", "nat", "<na>", "-", "--", "---"),
        *(".", "?", "missing", "not available", "not applicable", "tbd"),
    )
)
_CURRENCY = r"(?:usd|eur|gbp|jpy|cny|inr|chf|zar|us\$|[$€£¥₹])"
_UNIT = r"(?:kg|kgs|g|lb|lbs|t|km|mi|m3|cbm|days?|hours?|hrs?|h|pcs|units?|%)"
_NUMBER = re.compile(
    rf"^(?P<open>\()?\s*(?P<sign>[-+\u2212])?\s*{_CURRENCY}?\s*(?P<inner>[-+\u2212])?\s*"
    r"(?P<digits>\d[\d.,'\u2019 \u00a0\u202f]*|[.,]\d+)"
    rf"(?P<exponent>e[-+]?\d+)?\s*(?:{_CURRENCY}|{_UNIT})?\s*(?P<trailing>-)?(?P<close>\))?$",
    re.IGNORECASE,
)
_GROUPED_BY_COMMA = re.compile(r"^\d{1,3}(,\d{2,3})*,\d{3}(\.\d*)?$")
_GROUPED_BY_DOT = re.compile(r"^\d{1,3}(\.\d{3})+(,\d*)?$")
_PLAIN_DOT = re.compile(r"^\d*(\.\d*)?$")
_PLAIN_COMMA = re.compile(r"^\d*(,\d*)?$")

_TIME = (
    r"(?:[T ,]+(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2}(?:[.,]\d+)?))?\s*(?P<half>[AaPp]\.?[Mm]\.?)?)?"
)
_NUMERIC_DATE = rf"^(?P<first>\d{{1,2}})[-/. ](?P<second_part>\d{{1,2}})[-/. ](?P<year>\d{{4}}|\d{{2}}){_TIME}$"
_YEAR_FIRST = rf"^(?P<year>\d{{4}})[-/.](?P<month>\d{{1,2}})(?:[-/.](?P<day>\d{{1,2}}))?{_TIME}$"
_DAY_NAME = r"(?:[A-Za-z]{3,9},?\s+)?"
_DAY_MONTH_NAME = (
    rf"^{_DAY_NAME}(?P<day>\d{{1,2}})(?:st|nd|rd|th)?[-/ .]*(?P<month_name>[A-Za-z]{{3,9}})\.?[-/ .,]*"
    rf"(?P<year>\d{{4}}|\d{{2}}){_TIME}$"
)
_MONTH_NAME_DAY = (
    rf"^{_DAY_NAME}(?P<month_name>[A-Za-z]{{3,9}})\.?[-/ ](?P<day>\d{{1,2}})(?:st|nd|rd|th)?,?[-/ ]+"
    rf"(?P<year>\d{{4}}){_TIME}$"
)
_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            *("january", "february", "march", "april", "may", "june"),
            *("july", "august", "september", "october", "november", "december"),
        ),
        start=1,
    )
    for name in (names, names[:3], names[:4])
}
_TOKEN = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+|#")
_DATES_BETWEEN = (pd.Timestamp("1900-01-01"), pd.Timestamp("2200-01-01"))

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def name_tokens(name: str) -> frozenset[str]:
    """Words of a column name in lower case: ``"leadTime_Days #"`` gives lead, time, days, #."""
    return frozenset(token.lower() for token in _TOKEN.findall(name))


def missing_mask(texts: pd.Series[Any]) -> Bools:
    """True where a value is null, blank or one of the usual words for "no value" (``N/A``, ``null``, ``-`` ...)."""
    null = texts.isna().to_numpy(dtype=bool)
    codes, uniques = pd.factorize(texts)
    blank = np.array([str(value).strip().lower() in _MISSING_TEXTS for value in uniques] + [True], dtype=bool)
    return np.asarray(null | blank[codes], dtype=bool)


def text_pattern(text: str) -> str:
    """Words that say why a value is missing, without the numbers in them, so that they can be counted together."""
    return re.sub(r"\d+", "#", text.strip())[:80]


def _as_float(text: str, decimal_comma: bool) -> float:
    match = _NUMBER.match(text.strip())
    if match is None or (match["open"] is None) != (match["close"] is None):
        return np.nan
    digits = re.sub(r"['\u2019 \u00a0\u202f]", "", match["digits"])
    if decimal_comma:
        if not (_PLAIN_COMMA.match(digits) or _GROUPED_BY_DOT.match(digits)):
            return np.nan
        digits = digits.replace(".", "").replace(",", ".")
    else:
        if not (_PLAIN_DOT.match(digits) or _GROUPED_BY_COMMA.match(digits)):
            return np.nan
        digits = digits.replace(",", "")
    try:
        value = float(digits + (match["exponent"] or ""))
    except ValueError:
        return np.nan
    minus = sum(match[part] in ("-", "\u2212") for part in ("sign", "inner", "trailing")) + (match["open"] is not None)
    return -value if minus else value


def parse_numbers(texts: pd.Series[Any], decimal_comma: bool = False) -> Floats:
    """Read numbers; what is none is NaN.

    Handles thousands separators, currency signs, a few units, a percent sign (``95 %`` is 95), a trailing or bracketed
    minus. ``inf`` is read as infinite, so that it can be refused by name.
    """
    if decimal_comma:
        numbers = np.full(len(texts), np.nan)
    else:
        numbers = pd.to_numeric(texts, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan).copy()
    left = np.flatnonzero(np.isnan(numbers))
    if left.size:
        codes, uniques = pd.factorize(texts.iloc[left])
        values = np.array([_as_float(str(text), decimal_comma) for text in uniques] + [np.nan])
        numbers[left] = values[codes]
    return numbers


def guess_decimal_comma(texts: pd.Series[Any]) -> bool:
    """True if more of the texts are numbers with a comma for the decimal point than with a dot."""
    with_comma = texts[texts.str.contains(",", regex=False).to_numpy(dtype=bool, na_value=False)]
    if len(with_comma) == 0:
        return False
    dot = np.isfinite(parse_numbers(texts, False)).sum()
    comma = np.isfinite(parse_numbers(texts, True)).sum()
    return bool(comma > dot)


def _extract(texts: pd.Series[Any], pattern: str) -> pd.DataFrame:
    parts = texts.str.extract(pattern)
    return parts[parts["year"].notna()]


def _assemble(parts: pd.DataFrame, year: Floats, month: Floats, day: Floats) -> pd.Series[Any]:
    # The year 0001 is no short form of 2001.
    short = parts["year"].str.len().to_numpy() == 2
    year = np.where(short, np.where(year < 69, year + 2000, year + 1900), year)
    dates = pd.to_datetime(pd.DataFrame({"year": year, "month": month, "day": day}), errors="coerce")
    hour = parts["hour"].astype(float).fillna(0.0).to_numpy()
    half = parts["half"].str[0].str.lower().to_numpy(dtype=object)
    hour = np.where(half == "p", hour % 12 + 12, np.where(half == "a", hour % 12, hour))
    minute = parts["minute"].astype(float).fillna(0.0).to_numpy()
    second = parts["second"].str.replace(",", ".").astype(float).fillna(0.0).to_numpy()
    seconds = hour * 3600 + minute * 60 + second
    dates = nanoseconds(dates.to_numpy()) + (seconds * 1e9).astype("timedelta64[ns]")
    return pd.Series(np.where(hour < 24, dates, np.datetime64("NaT", "ns")), index=parts.index)


def _floats(column: pd.Series[Any]) -> Floats:
    return np.asarray(column.astype(float), dtype=np.float64)


def parse_dates(texts: pd.Series[Any], day_first: bool = False) -> npt.NDArray[np.datetime64]:
    """Read dates in ISO, numeric and named-month forms; what is none is NaT. Time zones are turned to UTC.

    Parameters
    ----------
    texts : Series of str
    day_first : bool
        How ``03/04/2024`` is read: 3 April if True, March 4 otherwise.

    Returns
    -------
    ndarray of datetime64[ns], shape (len(texts),)
    """
    codes, found = pd.factorize(texts)
    uniques = pd.Series(found, dtype="str" if len(found) == 0 else None).astype(str).str.strip()
    result: Any = pd.Series(np.full(len(uniques), np.datetime64("NaT", "ns")))
    iso = uniques.str.match(r"\d{4}-\d{2}-\d{2}").to_numpy(dtype=bool)
    if iso.any():
        read = pd.to_datetime(uniques[iso], format="ISO8601", utc=True, errors="coerce")
        result[iso] = nanoseconds(read.dt.tz_localize(None).to_numpy())
    for pattern in (_YEAR_FIRST, _NUMERIC_DATE, _DAY_MONTH_NAME, _MONTH_NAME_DAY):
        left = uniques[result.isna().to_numpy()]
        if len(left) == 0:
            break
        parts = _extract(left, pattern)
        if len(parts) == 0:
            continue
        year = _floats(parts["year"])
        if pattern == _NUMERIC_DATE:
            order = ("first", "second_part") if day_first else ("second_part", "first")
            day, month = _floats(parts[order[0]]), _floats(parts[order[1]])
        elif pattern == _YEAR_FIRST:
            month, day = _floats(parts["month"]), _floats(parts["day"].fillna("1"))
        else:
            month = _floats(parts["month_name"].str.lower().map(_MONTHS))
            day = _floats(parts["day"])
        result[parts.index] = _assemble(parts, year, month, day)
    values = result.to_numpy().astype("datetime64[ns]")
    return np.append(values, np.datetime64("NaT", "ns"))[codes]


def is_far_date(text: str) -> bool:
    """True for an ISO date of a year that nanoseconds since 1970 cannot count, such as 9999."""
    try:
        return not 1677 < datetime.date.fromisoformat(text.strip()[:10]).year < 2262
    except ValueError:
        return False


def guess_day_first(texts: pd.Series[Any]) -> bool:
    """True if reading ``a/b/year`` with the day first fits more values; a tie goes by order in time, then separator."""
    numeric = texts[texts.str.match(_NUMERIC_DATE).to_numpy(dtype=bool, na_value=False)]
    if len(numeric) == 0:
        return False
    day, month = parse_dates(numeric, True), parse_dates(numeric, False)
    fits_day, fits_month = int((~np.isnat(day)).sum()), int((~np.isnat(month)).sum())
    if fits_day != fits_month:
        return fits_day > fits_month
    rises_day, rises_month = (int((np.diff(read) >= np.timedelta64(0)).sum()) for read in (day, month))
    if rises_day != rises_month and max(rises_day, rises_month) >= 0.9 * (len(numeric) - 1):
        return rises_day > rises_month
    return not bool(numeric.str.contains("/", regex=False).any())


def epoch_unit(numbers: Floats, tokens: frozenset[str]) -> EpochUnit | None:
    """Name the clock if these numbers count time: seconds ... nanoseconds since 1970, spreadsheet days, 20240131."""
    present = numbers[~np.isnan(numbers)]
    if present.size == 0 or not tokens & {"date", "time", "timestamp", "datetime", "epoch", "ts", "at", "on", "eta"}:
        return None
    if tokens & {"lead", "days", "hours", "minutes", "transit", "delay", "duration", "cycle"}:
        return None
    low, high = float(present.min()), float(present.max())
    if np.all(present == np.round(present)) and low >= 19_000_101 and high <= 21_991_231:
        read = parse_epochs(present, "yyyymmdd")
        return None if np.isnat(read).any() else "yyyymmdd"
    units: tuple[tuple[EpochUnit, float], ...] = (("s", 1.0), ("ms", 1e3), ("us", 1e6), ("ns", 1e9))
    for unit, scale in units:
        if 4e8 * scale <= low and high <= 5e9 * scale:
            return unit
    return "excel" if "date" in tokens and low >= 20_000 and high <= 80_000 else None


def parse_epochs(numbers: Floats, unit: EpochUnit) -> npt.NDArray[np.datetime64]:
    """Turn counts of time into datetime64[ns]; NaN and what lies outside 1900 to 2200 become NaT."""
    values = pd.Series(numbers)
    if unit == "yyyymmdd":
        whole = values.where(values.between(0, 99_999_999)).fillna(0).astype("int64").astype(str)
        read = pd.to_datetime(whole, format="%Y%m%d", errors="coerce")
    elif unit == "excel":
        days = values.where(values.between(0, 109_574))
        read = pd.Timestamp("1899-12-30") + pd.to_timedelta(days, unit="D")
    else:
        scale = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}[unit]
        seconds = values / scale
        read = pd.to_datetime(values.where(seconds.between(-2.2e9, 7.2e9)), unit=unit)
    read = read.where(read.between(*_DATES_BETWEEN))
    return nanoseconds(read.to_numpy())
