"""Numbers out of text, a column at a time: with a decimal point or comma, with currencies and units."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.compute as pc

from anomaly_detection.data.cells.distinct_texts import DistinctTexts
from anomaly_detection.data.cells.text_patterns import arrow_texts, fits
from anomaly_detection.data.cells.units import UNITS, factor

__all__ = [
    "Commas",
    "Measures",
    "are_codes_in_thousands",
    "are_thousands",
    "currencies",
    "is_clock",
    "is_long",
    "odd_texts",
    "parse_distinct_numbers",
    "parse_numbers",
    "suffixes",
]

Floats = npt.NDArray[np.float64]

# As letters alone these may begin a code ("MAD12", "TRY-1"), so they are currencies only with a space.
_APART = (
    "rmb|brl|sek|nok|dkk|isk|pln|czk|huf|ron|bgn|try|rub|uah|krw|sgd|hkd|twd|aud|cad|nzd|mxn|clp|cop|ars|pen|myr|thb|idr"
    "|php|vnd|pkr|bdt|lkr|aed|sar|qar|kwd|ils|egp|ngn|kes|ghs|mad|tnd|rm|rs|rp|tl|lei|euros?|dollars?"
    "|bhd|omr|jod|lbp|iqd|dzd|kzt|gel|amd|azn|byn|mdl|rsd|mkd|bam|uyu|pyg|bob|crc|gtq|hnl|nio|dop|jmd|ttd|xof|xaf|f?cfa"
    "|etb|tzs|ugx|zmw|mzn|aoa|bwp|nad|mur|mmk|khr|lak|mnt|npr|uzs|[ktu]sh"
)
_TOGETHER = (
    r"usd|eur|gbp|jpy|cny|inr|chf|zar|kr\.?|z\u0142|k\u010d|\u043b\u0432|\u0440\u0443\u0431\.?|rs\.|s?fr\."
    r"|(?:us|r|au?|ca?|hk|nt|s|nz|mx)?\$|[€£¥₹₨₩₽₺₪฿₫₴₦₱₡₲₵₸元円]|s/\.?(?=\s|\d[\d,]*\.\d\d$)"
)
# R12 is a code, and so may R1.2 be; R 12.50 and R12.50 are rand.
_BEFORE = rf"(?:{_TOGETHER}|(?:rm|rs|rp)(?=\d[\d,.]*[.,]\d)|r(?=\s?\d[\d ,\u00a0\u202f]*[.,]\d\d$)|(?:{_APART})(?=\s))"
_AFTER = rf"(?:\s*(?:{_TOGETHER})|\s+(?:{_APART}))"
# What one letter, or a short word, may mean besides a unit, is a unit only behind a space.
# The side of a German account is S or H in capitals.
_SPACED = (
    r"mgs?|milligrams?|mm|cm|m|ft|in|yd|yards?|min|mins|minutes?|(?-i:s)|secs?|seconds?|ms|w|wks?|weeks?|ml|l|d|oz|to"
    "|ea|pce?|st"
)
_UNIT = (
    r"(?:kg|kgs|kilograms?|g|grams?|lbs?|pounds?|tons?|tonnes?|t|km|kms|kilomet(?:er|re)s?|mi|miles?|m3|m³|cbm|days?|"
    r"\u00b0[cf]|[kmg]?wh|[km]w|[kmgt]b|[km]?hz|m?bar|[kh]pa|psi|hours?|hrs?|h|pcs|pieces?|units?|stk|st\u00fcck|%|inch|inches|foot|feet|met(?:er|re)s?|lit(?:er|re)s?|ounces?|tage?|jours?|pct)"
)
_ABOUT_WORDS = "ca|circa|approx|about|etwa|rund|env|environ"
_ABOUT = rf"[~\u2248\u2243]\s*|(?:{_ABOUT_WORDS})\b\.?\s*(?=[-+.,\d])"
_NUMBER = re.compile(
    rf"^(?:{_ABOUT})?(?P<open>\()?\s*(?P<sign>[-+\u2212\u2013])?\s*(?P<before>{_BEFORE})?\s*"
    r"(?P<inner>[-+\u2212\u2013]|\((?=.*\)$))?\s*"
    r"(?P<digits>\d[\d.,'\u2019 \u00a0\u202f]*|[.,]\d+)"
    rf"(?P<exponent>e[-+]?\d+)?(?P<ahead>\s?-(?={_AFTER}\.?$))?(?:(?P<times>\s?(?-i:k|mn|mln|mio|Mio\.?|bn|Mrd\.?)|(?-i:[KM]))?(?P<after>{_AFTER})?"
    rf"|\s*(?P<unit>{_UNIT})|\s+(?P<spaced>{_SPACED}))\.?"
    r"(?:\s*(?P<trailing>-)|\s?(?P<side>(?-i:CR|DR|Dr)))?(?P<close>\))?"
    # Marks of footnotes.
    r"(?:\s?[*\u2020\u2021\u00b9\u00b2\u00b3]{1,3})?$",
    re.IGNORECASE,
)
_IS_ABOUT = re.compile(rf"\s*{_ABOUT}", re.IGNORECASE)
_GROUPED_BY_COMMA = r"[1-9]\d{0,2}(?:,\d{2,3})*,\d{3}(?:\.\d*)?"
_GROUPED_BY_DOT = r"[1-9]\d{0,2}(?:\.\d{3})+(?:,\d*)?"
_PLAIN_DOT = r"\d*(?:\.\d*)?"
_PLAIN_COMMA = r"\d*(?:,\d*)?"
_BY_DOT = re.compile(rf"{_PLAIN_DOT}|{_GROUPED_BY_COMMA}")
_BY_COMMA = re.compile(rf"{_PLAIN_COMMA}|{_GROUPED_BY_DOT}")
_NO_CENTS = re.compile(r"(?<=\d)([.,])[-\u2013\u2014]{1,2}(?=\D*$)|(?<=\d)/-$")
_FORMULA = re.compile(r'^="(.*)"$')
_DAYS = r"(?:(?P<days>\d+)\s*(?:d|days?|tage?)(?![a-z]),?\s*)?"
_CLOCK = re.compile(
    rf"{_DAYS}(?P<hour>\d{{1,4}}):(?P<minute>[0-5]\d)(?::(?P<second>[0-5]\d(?:\.\d+)?))?(?:\s*(?P<half>[ap])\.?m\.?)?",
    re.IGNORECASE,
)
# Of days, hours and minutes at least two: a number with one unit is read by that.
_SPELLED = re.compile(
    rf"(?=.*\d\D+\d){_DAYS}(?:(?P<hour>\d+)\s*(?:h|hours?|hrs?|std\.?|stunden?)(?![a-z]),?\s*)?"
    r"(?:(?P<minute>\d+)\s*(?:m|mins?|minutes?|minuten?)\.?)?",
    re.IGNORECASE,
)
_DIGIT = re.compile(r"\d")
# What all numbers have in front of their first figure, if they are in ASCII: "about", a currency, both or neither.
_IN_FRONT = rf"{_APART}|usd|eur|gbp|jpy|cny|inr|chf|zar|kr|rs|s?fr|us|r|au?|ca?|hk|nt|s|nz|mx"
_MAY_BE = rf"(?i)^[^0-9a-z]*(?:(?:{_ABOUT_WORDS})[^0-9a-z]*)?(?:(?:{_IN_FRONT})[^0-9a-z]*)?[0-9]"
_FEW = 20  # texts: an expression of Python's for each costs no more than one of Arrow's
_PLAIN = r"^-?\d+(?:\.\d+)?$"
_WORDED = re.compile(r"[^0-9., +-]")
_TENTH = 0.1
_FEWEST_POINTED = 10
_TIMES = {"k": 1e3, "m": 1e6, "mn": 1e6, "mln": 1e6, "mio": 1e6, "bn": 1e9, "mrd": 1e9}
_IN_WORDS = {1e3: "thousands", 1e6: "millions", 1e9: "billions"}
# Marks of other scripts: full-width ones, and the Arabic decimal point and thousands.
_ELSEWHERE = str.maketrans(
    {
        **{chr(0xFF01 + code): chr(0x21 + code) for code in range(94)},
        **dict(zip("\u066b\u066c\u3000\uffe5", ".\u2019 \u00a5", strict=True)),
        **dict.fromkeys("\ufeff\u200e\u200f", ""),
        **{chr(zero + digit): str(digit) for zero in (0x0660, 0x06F0, 0x0966) for digit in range(10)},
    }
)
_IN_SPACE = str.maketrans("", "", "'\u2019 \u00a0\u202f")


def _matched(text: str) -> re.Match[str] | None:
    """The parts of a number; in ``20,-`` and ``20/-`` the dash stands for no cents, ``="20"`` is a spreadsheet's."""
    text = _in_ascii(text).strip()
    if _DIGIT.search(text) is None:
        return None
    # A look for a character costs a tenth of an expression, and most texts have none of these.
    if text.startswith('="'):
        text = _FORMULA.sub(r"\1", text)
    if "-" in text or "\u2013" in text or "\u2014" in text:
        text = _NO_CENTS.sub(r"\1", text)
    return _NUMBER.match(text)


def _in_ascii(text: str) -> str:
    """The same with the digits and marks of programs: full-width and Arabic ones are numbers too."""
    return text if text.isascii() else text.translate(_ELSEWHERE)


def _both_ways(match: re.Match[str]) -> tuple[str, bool, bool]:
    """The digits and marks of a number, and whether it is one by a decimal point, and by a decimal comma."""
    digits = match["digits"].translate(_IN_SPACE)
    if match["exponent"]:
        # Nobody writes thousands before a power of ten.
        return digits, re.fullmatch(_PLAIN_DOT, digits) is not None, re.fullmatch(_PLAIN_COMMA, digits) is not None
    return digits, _BY_DOT.fullmatch(digits) is not None, _BY_COMMA.fullmatch(digits) is not None


def _as_float(text: str, decimal_comma: bool | None, unit: str | None) -> float:
    match = _matched(text)
    if match is None:
        return _clock(text, unit) if unit is not None else np.nan
    opened = (match["open"] is not None) + (match["inner"] == "(")
    if opened != (match["close"] is not None):
        return np.nan
    digits, by_point, by_comma = _both_ways(match)
    if decimal_comma:
        if not by_comma:
            return np.nan
        digits = digits.replace(".", "").replace(",", ".")
    else:
        if not by_point or (decimal_comma is None and by_comma and "," in digits):
            return np.nan
        digits = digits.replace(",", "")
    try:
        value = float(digits + (match["exponent"] or ""))
    except ValueError:
        return np.nan
    measured = _unit(match)
    if unit is not None and measured is not None:
        times = factor(measured, unit)
        if times is None:
            return np.nan
        value *= times
    if match["times"]:
        value *= _times(match["times"].strip())
    marks = ("-", "\u2212", "\u2013", "CR")
    minus = opened + sum(match[part] in marks for part in ("sign", "inner", "trailing", "side"))
    minus += match["ahead"] is not None
    return -value if minus else value


def is_clock(text: str) -> bool:
    """Whether a text is a clock, or says how long: ``14:05``, ``2:05 PM``, ``2 days 04:00``, ``2d 4h``."""
    return _clock_of(text) is not None


def is_long(text: str) -> bool:
    """Whether a text says how long, and is no time of a day."""
    found = _clock_of(text)
    return found is not None and (found.re is _SPELLED or found["days"] is not None)


def _clock_of(text: str) -> re.Match[str] | None:
    text = text.strip()
    if not text[:1].isdigit() or (":" not in text and text[-1:].isdigit()):
        return None
    return (_CLOCK if ":" in text else _SPELLED).fullmatch(text)


def _clock(text: str, unit: str) -> float:
    """Days, hours, minutes and seconds in a unit of time; NaN for other units and other texts."""
    found, times = _clock_of(text), factor("h", unit)
    if found is None or times is None:
        return np.nan
    part = {name: float(value) for name, value in found.groupdict("0").items() if name != "half"}
    half = (found.groupdict().get("half") or "").lower()
    hour = part["hour"] % 12 + 12 * (half == "p") if half else part["hour"]
    return (24 * part["days"] + hour + part["minute"] / 60 + part.get("second", 0.0) / 3600) * times


def _unit(match: re.Match[str]) -> str | None:
    word = (match["unit"] or match["spaced"] or "").lower()
    return UNITS[word].name if word in UNITS else None


def parse_numbers(texts: pd.Series[Any], decimal_comma: bool | None = False, unit: str | None = None) -> Floats:
    """Read numbers; what is none is NaN.

    Handles thousands separators, currencies, units, a percent sign (``95 %`` is 95), a trailing or bracketed minus,
    thousands and millions (``1.2k``, ``3.4M``, ``5 bn``), digits of other scripts, and the sides of an account: what
    ends with ``CR``, a credit, is negative, with ``DR`` positive.
    An estimate's mark (``~``, ``ca.``) and a footnote's (``*``) are left out.
    ``inf`` is read as infinite, so that it can be refused by name.

    Parameters
    ----------
    texts : Series of str
    decimal_comma : bool or None
        Whether ``1,234`` is a little more than one. If None, it may be that or a thousand, and is NaN; ``1.234`` is
        read as programs write it.
    unit : str, optional
        The unit to give numbers in: ``1.8 t`` is 1800 in kg, and NaN in hours, ``14:30`` is 14.5 in hours. A number
        without a unit is taken to be in this one. If not given, numbers are read without regard to their units.

    Returns
    -------
    ndarray of float64, shape (len(texts),)
    """
    codes, found = pd.factorize(texts)
    numbers = parse_distinct_numbers(pd.Series(np.asarray(found, dtype=object), dtype=object), decimal_comma, unit)
    return np.append(numbers, np.nan)[codes]


def parse_distinct_numbers(
    distinct: pd.Series[Any], decimal_comma: bool | None, unit: str | None, plain: Floats | None = None
) -> Floats:
    """`parse_numbers` of texts that are all different, None among them at most; `plain` are those found already."""
    if plain is None:
        plain = pd.to_numeric(distinct, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    numbers = plain.copy()
    if decimal_comma:
        # Whole numbers are the same both ways.
        numbers[~fits(arrow_texts(distinct.to_numpy()), r"^-?\d+$")] = np.nan
    left = np.flatnonzero(np.isnan(numbers))
    if len(left) > _FEW:
        left = left[_may_be_numbers(distinct.iloc[left])]
    # As a list: a column makes more of each look at one cell than the reading takes.
    for place, text in zip(left.tolist(), distinct.iloc[left].tolist(), strict=True):
        numbers[place] = _as_float(str(text), decimal_comma, unit)
    return numbers


@dataclass
class Commas:
    """How many cells of a column are numbers only with a decimal point, how many only with a decimal comma.

    ``either`` counts the cells such as ``1,234``, which are numbers both ways, and not the same one; ``dotted`` those
    such as ``1.234``.
    """

    point: int = 0
    comma: int = 0
    either: int = 0
    dotted: int = 0

    def add(self, cells: DistinctTexts, odd: npt.NDArray[np.bool_], *, whole: bool = False) -> None:
        """Count further cells; `odd` are those `odd_texts` finds.

        Of `whole` columns without a comma in any number, points are not counted.
        """
        may_be = odd.copy()
        may_be[odd] = _may_be_numbers(cells.levels[odd])
        self.count(cells.commonest(may_be))
        if whole and not (self.comma or self.either):
            return
        written, times = arrow_texts(cells.levels[~odd]), cells.times[:-1][~odd]
        points = int(times[fits(written, r"\.")].sum())
        dotted = int(times[fits(written, r"^\s*-?[1-9]\d?\d?\.\d\d\d\s*$")].sum()) if points else 0
        self.add_points(points, dotted)

    def add_points(self, points: int, dotted: int) -> None:
        """Count cells with a point, of which some are such as 1.234."""
        self.dotted += dotted
        self.point += points - dotted

    def count(self, odd: Iterable[tuple[str, int]]) -> None:
        """Count the `odd_texts` of further cells, each once with how many cells have it."""
        for text, count in odd:
            text = _in_ascii(text)
            if "." not in text and "," not in text:
                continue
            match = _matched(text)
            digits, by_point, by_comma = ("", False, False) if match is None else _both_ways(match)
            self.point += count if by_point and not by_comma else 0
            self.comma += count if by_comma and not by_point else 0
            self.either += count if by_point and by_comma and "," in digits else 0
            self.dotted += count if by_point and by_comma and "." in digits else 0

    def merge(self, other: Commas) -> None:
        """Count the cells that another counted too."""
        self.point += other.point
        self.comma += other.comma
        self.either += other.either
        self.dotted += other.dotted

    def learned(self) -> bool | None:
        """Whether commas are decimal, going by the more of the cells; None where no number has a comma."""
        if self.comma > self.point:
            return True
        return False if self.comma or self.either else None

    def settled(self, learned: bool | None) -> bool | None:
        """What commas are in a batch of these cells, where training learned something, or nothing, of them.

        A batch may be written in another way than the training records: then some of its numbers are none the way that
        training had, and all are the other way. Where training had no commas and no cell of the batch says what they
        are, the answer is None.
        """
        if learned is None:
            return None if self.comma == self.point else self.comma > self.point
        ours, theirs = (self.comma, self.point) if learned else (self.point, self.comma)
        unsure = self.dotted if learned else self.either
        return not learned if theirs and not ours and theirs >= _TENTH * (theirs + unsure) else learned


@dataclass
class Measures:
    """How many cells of a column name each unit of mass, length, time and volume."""

    units: Counter[str] = field(default_factory=Counter)

    def count(self, odd: Iterable[tuple[str, int]]) -> None:
        """Count the `odd_texts` of further cells, each once with how many cells have it."""
        for text, count in odd:
            match = _matched(text) if _WORDED.search(text) else None
            unit = None if match is None else _unit(match)
            if unit is not None:
                self.units[unit] += count

    def usual(self) -> str | None:
        """The commonest unit, of equal ones the first by name; None without any."""
        return min(self.units, key=lambda name: (-self.units[name], name)) if self.units else None


def currencies(odd: Iterable[tuple[str, int]]) -> list[str]:
    """Name the currencies that `odd_texts` name, as they are written, the commonest first."""
    found: Counter[str] = Counter()
    for text, count in odd:
        match = _matched(text) if _WORDED.search(text) else None
        if match is not None and (match["before"] or match["after"]):
            found[str(match["before"] or match["after"]).strip().rstrip(".")] += count
    return [name for name, _ in found.most_common()]


def suffixes(odd: Iterable[tuple[str, int]]) -> list[str]:
    """What letters behind numbers are taken for in `odd_texts`: ``k is thousands``, ``CR is negative``."""
    found = set()
    for text, _ in odd:
        match = _matched(text) if _WORDED.search(text) else None
        if match is not None and match["times"]:
            letters = match["times"].strip()
            found.add(f"{letters} is {_IN_WORDS[_times(letters)]}")
        if match is not None and match["side"]:
            found.add("CR is negative")
        if match is not None and _IS_ABOUT.match(text):
            found.add("~ or ca. is left out")
    return sorted(found)


def are_codes_in_thousands(texts: Iterable[Any]) -> bool:
    """Whether all texts are whole numbers with one letter, such as 3M and 5M: sizes and names as soon as amounts."""
    letters = set()
    for text in texts:
        match = _matched(str(text))
        if match is None or not match["times"] or not match["digits"].isdigit():
            return False
        letters.add(match["times"])
    return len(letters) == 1


def are_thousands(levels: npt.NDArray[np.object_]) -> bool:
    """Whether points in texts such as 1.250, 17.832 and 691 part thousands, as no decimals are written so.

    A program writes 17.83 for 17.830, and 691.000 where it does not.
    """
    texts = arrow_texts(levels)
    pointed, whole = fits(texts, r"^\s*-?[1-9]\d?\d?\.\d{3}\s*$"), fits(texts, r"^\s*-?\d{1,3}\s*$")
    ends_in_zero = fits(texts, r"\.\d\d0\s*$")
    told = bool((pointed | whole).all() and whole.any() and ends_in_zero.any())
    return told and int(pointed.sum()) >= _FEWEST_POINTED


def _times(letters: str) -> float:
    return _TIMES[letters.rstrip(".").lower()]


def _may_be_numbers(texts: pd.Series[Any] | npt.NDArray[np.object_]) -> npt.NDArray[np.bool_]:
    """Which texts could be numbers, by how they begin; most others are told at once."""
    written = arrow_texts(texts)
    elsewhere = pc.invert(pc.string_is_ascii(written)).fill_null(False).to_numpy(zero_copy_only=False)
    return np.asarray(fits(written, _MAY_BE) | elsewhere, dtype=bool)


def odd_texts(cells: DistinctTexts) -> npt.NDArray[np.bool_]:
    """Which of the distinct texts of a column are no numbers as programs write them."""
    odd = ~fits(arrow_texts(cells.levels), _PLAIN)
    odd[odd] = np.isnan(cells.numbers[:-1][odd])
    return odd
