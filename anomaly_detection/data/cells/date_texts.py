"""Dates and times out of text, a column at a time."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from anomaly_detection.data.cells.cells import nanoseconds
from anomaly_detection.data.cells.date_forms import MONTH_FIRST, MONTHS, WEEKS
from anomaly_detection.data.cells.known_dates import AS_PROGRAMS, FIRST_YEAR, LAST_YEAR, KnownForms, four_figures
from anomaly_detection.data.cells.text_patterns import arrow_texts, fits

__all__ = ["may_be_date", "parse_dates", "read_dates", "read_distinct_dates"]

_TIME = (
    r"(?:(?:[T ,]+|\s(?:um|at|\u00e0|a las)\s)(?P<hour>\d{1,2})(?:[:.h](?P<minute>\d{2})"
    r"(?:[:.](?P<second>\d{2}(?:[.,]\d+)?))?|(?=\s?[AaPp]\.?[Mm]))\s*"
    r"(?P<half>[AaPp]\.?[Mm]\.?)?\s*(?P<zone>Z|(?:GMT|UTC)?[-+]\d{2}:?\d{2})?(?:\s*Uhr)?)?"
)
_NUMERIC_DATE = (
    rf"^(?P<first>\d{{1,2}})(?P<mark>[-/. ]) ?(?P<second_part>\d{{1,2}})[-/. ] ?(?P<year>\d{{4}}|\d{{2}}){_TIME}$"
)
_WORD = r"[^\W\d_]{3,12}"
_MAY_BE_DATE = re.compile(
    rf"\s*(?:(?:[^\W\d_]{{2,10}}[.,]?[-/\s]+){{0,2}}\d.*\d.*\d|{_WORD}[.,]?[-/\s'\u2019]+\d\d\s*$"
    r"|[QWP]\d|FY ?\d\d.*Q|\d\d?Q\d\d|(?:KW|CW|WK)\d)",
    re.DOTALL,
)
_YEAR_FIRST = rf"^(?P<year>\d{{4}})[-/.](?P<month>\d{{1,2}})(?:[-/.](?P<day>\d{{1,2}}))?{_TIME}$"
_YEAR_WEEK = re.compile(r"^(?P<year>\d{4})-?(?P<named>[Ww]|KW)?-?(?P<week>\d{2})$")
_QUARTER = re.compile(r"^(?:Q([1-4])[-/ '\u2019]?(\d{4}|\d{2})|(\d{4})[-/ ]?Q([1-4]))$")
# A fiscal year begins where its firm says; as a date it is the calendar year of its number, which keeps the order.
_FISCAL = re.compile(r"^(?:FY ?(\d{4}|\d{2})[-/ ]?Q([1-4])|Q([1-4])[-/ ]?FY ?(\d{4}|\d{2}))$")
_MONTH_YEAR = re.compile(rf"^({_WORD})\.?[-/ ,'\u2019]+(\d{{4}}|\d{{2}})$")
_MONTH_SLASH_YEAR = re.compile(r"^(\d{1,2})/((?:19|20|21)\d\d)$")
_WEEK_YEAR = re.compile(r"^(?:W|CW|KW|WK|Week) ?(\d{1,2})[-/. ](\d{4}|\d{2})$")
# Periods of SAP, of which 13 to 16 close December; 02.2024 has a nought in front where it would be a number.
_PERIOD = re.compile(r"^(?:P|0)?(0\d|1[0-6])([-/. ])((?:19|20)\d\d)$")
_BEFORE_NUMBERS = re.compile(r"^[^\W\d_]{2,10}\.?,?\s+(?=\d{1,2}[-/.]\d{1,2}[-/.]\d)")
_DAY_NAME = rf"(?:{_WORD}\.?,?\s+)?"
_DAY_MONTH_NAME = (
    rf"^{_DAY_NAME}(?P<day>\d{{1,2}})(?:st|nd|rd|th|er|\u00ba)?(?:[-/ .]*| de )"
    rf"(?P<month_name>{_WORD})\.?(?:[-/ .,]*| de )"
    rf"(?P<year>\d{{4}}|\d{{2}}){_TIME}$"
)
_MONTH_NAME_DAY = (
    rf"^{_DAY_NAME}(?P<month_name>{_WORD})\.?[-/ ](?P<day>\d{{1,2}})(?:st|nd|rd|th)?,?[-/ ]+"
    rf"(?P<year>\d{{4}}){_TIME}$"
)
_OFFSETS = (
    "UTC=+00:00 GMT=+00:00 UT=+00:00 WET=+00:00 WEST=+01:00 BST=+01:00 CET=+01:00 MEZ=+01:00 CEST=+02:00 MESZ=+02:00"
    " EET=+02:00 EEST=+03:00 MSK=+03:00 JST=+09:00 AEST=+10:00 EST=-05:00 EDT=-04:00 CST=-06:00 CDT=-05:00 MST=-07:00"
    " MDT=-06:00 PST=-08:00 PDT=-07:00"
)
_ZONES = dict(zone.split("=") for zone in _OFFSETS.split())
_ZONE_NAME = re.compile(rf"(?<=\d)\s*\b({'|'.join(_ZONES)})$")
_ZONE_COMMENT = re.compile(r"\s*(?:\[[\w/+:-]+\]|\([A-Za-z ]{1,40}\))$")
_COMPACT = re.compile(r"^(\d{4})(\d{2})(\d{2})[T ]?(\d{2})(\d{2})(?:(\d{2})([.,]\d+)?)?(Z|[-+]\d{2}:?\d{2})?$")
_COMPACT_DAY = re.compile(r"^((?:19|20)\d{2})(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])$")
_ZONE_TWICE = re.compile(r"([-+]\d{2}:?\d{2}) [A-Z]{3,4}$")
_OF_A_LOG = re.compile(r"(?<=[A-Za-z]{3}/\d{4}|.[A-Za-z]{3}\d{4}):(?=\d{2}:\d{2})")
_OF_DB2 = re.compile(r"^(\d{4}-\d{2}-\d{2})-(\d{2})\.(\d{2})\.(\d{2}(?:\.\d{1,9})?)")
_IN_CHARACTERS = re.compile(r"^(\d{4})\s?[\u5e74\ub144]\s?(\d{1,2})\s?[\u6708\uc6d4]\s?(\d{1,2})\s?[\u65e5\uc77c]")
_UNIX = re.compile(r"^[A-Z][a-z]{2} ([A-Z][a-z]{2}) +(\d{1,2}) (\d{2}:\d{2}:\d{2}) (?:([A-Z]{3,4}) )?(\d{4})$")
_NAT = np.datetime64("NaT", "ns")


Bools = npt.NDArray[np.bool_]
Dates = npt.NDArray[np.datetime64]
Floats = npt.NDArray[np.float64]


def may_be_date(text: str) -> bool:
    """Whether a text could be a date in any form, by what all of them have; most texts could not."""
    return _MAY_BE_DATE.match(text) is not None


def parse_dates(texts: pd.Series[Any], forms: Sequence[str] = MONTH_FIRST) -> Dates:
    """Read dates; what is none is NaT. Time zones are turned to UTC.

    Parameters
    ----------
    texts : Series of str
        In ISO forms, with named months, in numbers, as 20240131T061700, or as years and weeks (2024-W13).
    forms : sequence of str
        How three numbers with a mark between them are read, by the mark: ``d/m/y`` reads ``03/04/2024`` as 3 April.
        Under no form of its mark it is NaT, for nothing says what it means. With ``y-w``, ``2024-05`` is a week.

    Returns
    -------
    ndarray of datetime64[ns], shape (len(texts),)
        A week is its Monday; a date before 1677 or after 2262 is NaT, see `read_dates`.
    """
    return read_dates(texts, forms)[0]


def read_dates(texts: pd.Series[Any], forms: Sequence[str] = MONTH_FIRST) -> tuple[Dates, Bools, Bools]:
    """As `parse_dates`, and which texts are dates beyond 1677 to 2262, and which are dates of no form given."""
    codes, found = pd.factorize(texts)
    # The last is that of code -1, which is missing.
    levels = np.append(np.asarray(found, dtype=object), np.array([None], dtype=object))
    values, far, open_ = read_distinct_dates(levels, forms)
    return values[codes], far[codes], open_[codes]


def read_distinct_dates(levels: npt.NDArray[np.object_], forms: Sequence[str]) -> tuple[Dates, Bools, Bools]:
    """`read_dates` of texts that are all different; None is missing."""
    values = np.full(len(levels), _NAT)
    far, open_ = np.zeros(len(values), dtype=bool), np.zeros(len(values), dtype=bool)
    known = _read_as_programs(levels, values)
    rest = np.array([i for i in np.flatnonzero(~known).tolist() if levels[i] is not None], dtype=np.int64)
    turned = np.array([*map(KnownForms(forms), levels[rest].tolist()), None], dtype=object)[:-1]
    has_form = np.array([text is not None for text in turned], dtype=bool)
    try:
        values[rest[has_form]] = turned[has_form].astype("datetime64[ns]")
        known[rest[has_form]] = True
    except ValueError:
        # Some are no such day. The long way says which.
        pass
    left = np.array([i for i in rest.tolist() if not known[i] and may_be_date(levels[i])], dtype=np.int64)
    if left.size:
        values[left], far[left], open_[left] = _read_any(pd.Series(levels[left]), forms)
    return values, far, open_


def _read_as_programs(levels: npt.NDArray[np.object_], values: Dates) -> Bools:
    """Put the dates in of the texts that are written as programs do, and say which; none where one is no such day."""
    texts = arrow_texts(levels)
    known = fits(texts, f"^(?:{AS_PROGRAMS.pattern})$")
    years = pc.and_(pc.greater_equal(texts, FIRST_YEAR), pc.less(texts, str(int(LAST_YEAR) + 1)))
    known &= years.fill_null(False).to_numpy(zero_copy_only=False)
    try:
        read = texts.filter(pa.array(known)).cast(pa.timestamp("ns"))
    except pa.ArrowInvalid:
        return np.zeros(len(levels), dtype=bool)
    values[known] = read.to_numpy()
    return known


def _read_any(distinct: pd.Series[Any], forms: Sequence[str]) -> tuple[Dates, Bools, Bools]:
    """`read_dates` of distinct texts, whatever their forms."""
    uniques = distinct.astype(str).str.strip()
    result: Any = pd.Series(np.full(len(uniques), _NAT))
    far, open_ = np.zeros(len(uniques), dtype=bool), np.zeros(len(uniques), dtype=bool)
    plain = uniques.str.match(r"\d{4}-\d{2}-\d{2}(?:[T ][\d:.]*)?$").to_numpy(dtype=bool)
    if not plain.all():
        uniques = uniques.mask(~plain, _plain_forms(uniques[~plain]))
    iso = uniques.str.match(r"\d{4}-\d{2}-\d{2}").to_numpy(dtype=bool)
    if iso.any():
        read = pd.to_datetime(uniques[iso].where(~_beyond(uniques[iso])), format="ISO8601", utc=True, errors="coerce")
        result[iso] = nanoseconds(read.dt.tz_localize(None).to_numpy())
        far[iso] = _beyond(uniques[iso])
    for pattern in (_YEAR_FIRST, _NUMERIC_DATE, _DAY_MONTH_NAME, _MONTH_NAME_DAY):
        left = uniques[result.isna().to_numpy() & ~far & ~open_]
        if len(left) == 0:
            break
        parts = _parts(left, pattern)
        if len(parts) == 0:
            continue
        year = _floats(parts["year"])
        # The year 0001 is no short form of 2001.
        short = parts["year"].str.len().to_numpy() == 2
        if pattern == _NUMERIC_DATE:
            year, month, day, known = _in_order(parts, year, short, forms)
            open_[parts.index[~known]] = True
            parts, year, month, day, short = parts[known], year[known], month[known], day[known], short[known]
        elif pattern == _YEAR_FIRST:
            month, day = _floats(parts["month"]), _floats(parts["day"].fillna("1"))
            if WEEKS in forms:
                month = np.where(parts["day"].isna(), np.nan, month)
        else:
            month = _floats(parts["month_name"].map(_month))
            day = _floats(parts["day"])
        year = np.where(short & (year < 100), np.where(year < 69, year + 2000, year + 1900), year)
        result[parts.index], far[parts.index] = _assemble(parts, year, month, day)
    left = uniques[result.isna().to_numpy() & ~far & ~open_]
    weeks = left[left.str.match(r"\d{4}-?[WwK\d]").to_numpy(dtype=bool)]
    if len(weeks):
        result[weeks.index] = [_week(str(text), forms) for text in weeks]
    return result.to_numpy().astype("datetime64[ns]"), far, open_


def _parts(texts: pd.Series[Any], pattern: str) -> pd.DataFrame:
    """The named parts of the texts that a pattern fits."""
    form = re.compile(pattern)
    matches = [form.match(text) for text in texts.tolist()]
    found = [match.groups() for match in matches if match is not None]
    fits = [match is not None for match in matches]
    return pd.DataFrame(found, index=texts.index[fits], columns=list(form.groupindex), dtype=object)


def _plain_forms(texts: pd.Series[Any]) -> pd.Series[Any]:
    """The same dates without names of zones, and 20240131T061700 as 2024-01-31T06:17:00."""
    texts = texts.str.replace(_BEFORE_NUMBERS, "", regex=True)
    texts = texts.map(_period)
    texts = texts.str.replace(_ZONE_COMMENT, "", regex=True)
    texts = texts.str.replace(_ZONE_TWICE, lambda match: match[1], regex=True)

    def turned(match: re.Match[str]) -> str:
        month, day, time, zone, year = match.groups(default="")
        return f"{month} {day} {year} {time} {zone}"

    texts = texts.str.replace(_UNIX, turned, regex=True)
    texts = texts.str.replace(_OF_A_LOG, " ", regex=True)
    texts = texts.str.replace(_OF_DB2, r"\1T\2:\3:\4", regex=True)
    texts = texts.str.replace(_IN_CHARACTERS, r"\1-\2-\3", regex=True)
    texts = texts.str.strip().str.replace(_ZONE_NAME, lambda match: _ZONES[match[1]], regex=True)

    def spread(match: re.Match[str]) -> str:
        year, month, day, hour, minute, second, part, zone = match.groups(default="")
        return f"{year}-{month}-{day}T{hour}:{minute}:{second or '00'}{part.replace(',', '.')}{zone}"

    texts = texts.str.replace(_COMPACT_DAY, r"\1-\2-\3", regex=True)
    return texts.str.replace(_COMPACT, spread, regex=True)


def _period(text: Any) -> Any:
    """The first day of a month or quarter, and a week as 2024-W13; other texts stay what they are."""
    if not isinstance(text, str):
        return text
    if (parts := _MONTH_YEAR.match(text)) is not None and (number := _month(parts[1])) is not None:
        return f"{four_figures(parts[2])}-{number:02d}-01"
    if (parts := _MONTH_SLASH_YEAR.match(text)) is not None:
        return f"{parts[2]}-{int(parts[1]):02d}-01"
    if (parts := _QUARTER.match(text)) is not None:
        return f"{four_figures(parts[2] or parts[3])}-{3 * int(parts[1] or parts[4]) - 2:02d}-01"
    if (parts := _FISCAL.match(text)) is not None:
        return f"{four_figures(parts[1] or parts[4])}-{3 * int(parts[2] or parts[3]) - 2:02d}-01"
    if (parts := _WEEK_YEAR.match(text)) is not None:
        return f"{four_figures(parts[2])}-W{int(parts[1]):02d}"
    if (parts := _PERIOD.match(text)) is not None and parts[1] != "00":
        return f"{parts[3]}-{min(int(parts[1]), 12):02d}-01"
    return text


def _beyond(texts: pd.Series[Any]) -> Bools:
    """Which ISO dates are of a year that nanoseconds since 1970 cannot count, such as 9999."""
    year = _floats(texts.str[:4])
    month, day = _floats(texts.str[5:7]), _floats(texts.str[8:10])
    valid = (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)
    return np.asarray(valid & ((year < 1678) | (year > 2261)), dtype=bool)


def _in_order(
    parts: pd.DataFrame, year: Floats, short: Bools, forms: Sequence[str]
) -> tuple[Floats, Floats, Floats, Bools]:
    """Year, month and day of three numbers by the forms of their marks, and for which there is one."""
    first, second = _floats(parts["first"]), _floats(parts["second_part"])
    marks = parts["mark"].to_numpy(dtype=object)
    last, month, day, known = year.copy(), second.copy(), first.copy(), np.zeros(len(parts), dtype=bool)
    for form in forms:
        here = marks == form[1]
        if form == WEEKS or not here.any():
            continue
        known |= here
        if form[0] == "m":
            month[here], day[here] = first[here], second[here]
        elif form[0] == "y":
            # Where the year has four figures it stands last, whatever the form.
            turned = here & short
            last[turned], day[turned] = first[turned], year[turned]
            known &= ~(here & ~short)
    return last, month, day, known


def _assemble(parts: pd.DataFrame, year: Floats, month: Floats, day: Floats) -> tuple[Dates, Bools]:
    """Dates with their times, NaT where there is no such day, and which of them are too far to be counted."""
    given = (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)
    months = ((np.where(given, year, 1970) - 1970) * 12 + np.where(given, month, 1) - 1).astype("datetime64[M]")
    dates = months.astype("datetime64[D]") + (np.where(given, day, 1) - 1).astype("timedelta64[D]")
    given &= dates.astype("datetime64[M]") == months
    hour = parts["hour"].astype(float).fillna(0.0).to_numpy()
    half = parts["half"].str[0].str.lower().to_numpy(dtype=object)
    hour = np.where(half == "p", hour % 12 + 12, np.where(half == "a", hour % 12, hour))
    minute = parts["minute"].astype(float).fillna(0.0).to_numpy()
    second = parts["second"].str.replace(",", ".").astype(float).fillna(0.0).to_numpy()
    seconds = hour * 3600 + minute * 60 + second - _offsets(parts["zone"])
    given &= (hour < 24) & (minute < 60)
    counted = nanoseconds(np.where(given, dates, np.array("NaT", dtype=dates.dtype)).astype("datetime64[s]"))
    return counted + (seconds * 1e9).astype("timedelta64[ns]"), given & np.isnat(counted)


def _offsets(zones: pd.Series[Any]) -> Floats:
    """Seconds that clocks of zones such as +01:00 are ahead."""
    if zones.isna().all():
        return np.zeros(len(zones))
    parts = zones.str.extract(r"(?P<sign>[-+])(?P<hours>\d{2}):?(?P<minutes>\d{2})$")
    ahead = parts["hours"].astype(float) * 3600 + parts["minutes"].astype(float) * 60
    return np.asarray(ahead.where(parts["sign"] != "-", -ahead).fillna(0.0), dtype=np.float64)


def _week(text: str, forms: Sequence[str]) -> np.datetime64:
    match = _YEAR_WEEK.match(text)
    if match is None or (match["named"] is None and (WEEKS not in forms or "-" not in text)):
        return _NAT
    first = np.datetime64(f"{match['year']}-01-04", "D")
    monday = first - np.timedelta64((int(first.astype(int)) + 3) % 7, "D")
    found = monday + np.timedelta64(7 * (int(match["week"]) - 1), "D")
    # The week is one of the year that its Thursday lies in.
    thursday = found + np.timedelta64(3, "D")
    own = int(match["week"]) >= 1 and str(thursday.astype("datetime64[Y]")) == match["year"]
    return nanoseconds(np.array([found if own else "NaT"], dtype="datetime64[D]"))[0]


def _month(name: str) -> int | None:
    """The number of a month by its name, with or without accents."""
    return MONTHS.get(unicodedata.normalize("NFKD", name.lower()).encode("ascii", "ignore").decode())


def _floats(column: pd.Series[Any]) -> Floats:
    return np.asarray(pd.to_numeric(column, errors="coerce"), dtype=np.float64)
