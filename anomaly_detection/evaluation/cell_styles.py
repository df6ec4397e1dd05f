"""How one cell of text writes its number or its date, and other values written in the same way."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import pandas as pd

from anomaly_detection.data.cells.number_texts import parse_numbers

__all__ = ["DateStyles", "number_like", "thousands_mark"]

_DIGITS = re.compile(r"\d(?:[\d.,'\u2019 \u00a0\u202f]*\d)?")
_GROUPS = re.compile(r"\d([.,'\u2019 \u00a0\u202f])\d{3}(?!\d)")
_MINUS = str.maketrans("", "", "-\u2212+()")
_LOST = 0.01  # of a value; what rounds off more gets more decimals


def thousands_mark(cells: Iterable[object], decimal_comma: bool = False) -> str:
    """What a column of texts writes between thousands: the first mark found; empty where no number has one."""
    for cell in cells:
        found = _DIGITS.search(cell) if isinstance(cell, str) else None
        group = _GROUPS.search(found.group().partition("," if decimal_comma else ".")[0]) if found else None
        if group is not None:
            return group[1]
    return ""


def number_like(cell: str, value: float, decimal_comma: bool = False, thousands: str = "") -> str | None:
    """Write a number as a cell writes its own: decimals, decimal comma, thousands, currency and unit stay.

    Parameters
    ----------
    cell : str
        A text that `parse_numbers` reads.
    value : float
        The number to write, finite. It is rounded to the cell's decimals, unless that changes it by more than a
        hundredth.
    decimal_comma : bool
        Whether the column has a comma for the decimal point.
    thousands : str
        What the column writes between thousands, for cells below a thousand, which do not show it.

    Returns
    -------
    str or None
        None where the new text does not read as the number, as with exponents.
    """
    found = _DIGITS.search(cell)
    if found is None:
        return None
    point = "," if decimal_comma else "."
    whole, _, decimals = found.group().partition(point)
    places = len(decimals)
    while places < 15 and abs(round(value, places) - value) > _LOST * abs(value):
        places += 1
    own = thousands_mark([found.group()], decimal_comma)
    mark = own if own or len(whole) > 3 else thousands
    integer, _, rest = f"{abs(value):,.{places}f}".partition(".")
    text = integer.replace(",", mark) + (f"{point}{rest}" if rest else "")
    before, after = cell[: found.start()], cell[found.end() :]
    if (value < 0) != (_read_number(cell, decimal_comma) < 0):
        before, after = before.translate(_MINUS), after.translate(_MINUS)
        before += "-" if value < 0 else ""
    made = f"{before}{text}{after}"
    return made if abs(_read_number(made, decimal_comma) - value) <= _LOST * abs(value) else None


def _read_number(text: str, decimal_comma: bool) -> float:
    return float(parse_numbers(pd.Series([text]), decimal_comma)[0])


@dataclass(frozen=True)
class _DateStyle:
    form: str
    zeros: bool  # before days, months and hours below ten; minutes and seconds always have them

    def write(self, date: datetime) -> str:
        if self.zeros:
            return date.strftime(self.form)
        bare = {f"%{part}": str(number) for part, number in _parts(date)}
        return date.strftime(re.sub("%[dmHI]", lambda part: bare[part.group()], self.form))


def _parts(date: datetime) -> tuple[tuple[str, int], ...]:
    return ("d", date.day), ("m", date.month), ("H", date.hour), ("I", (date.hour - 1) % 12 + 1)


_DATES = (
    *("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%Y%m%d", "%d-%b-%Y", "%d-%b-%y", "%d %b %Y", "%d %B %Y", "%b %d, %Y"),
    *("%B %d, %Y", *(f"{{}}{mark}{{}}{mark}{year}" for mark in "/.-" for year in ("%Y", "%y"))),
)
_TIMES = (
    *(" %H:%M", " %H:%M:%S", "T%H:%M:%S", "T%H:%M", "T%H:%M:%SZ", " %H:%M:%S.%f", "T%H:%M:%S.%f", " %I:%M %p"),
    " %I:%M:%S %p",
)


class DateStyles:
    """The forms in which a column of texts writes its dates.

    Parameters
    ----------
    cells : iterable of (str, datetime)
        Some of the column's texts, each with the date that it is read as.
    day_first : bool
        Whether the column has the day before the month where both are numbers.
    """

    def __init__(self, cells: Iterable[tuple[str, datetime]], day_first: bool) -> None:
        order = ("%d", "%m") if day_first else ("%m", "%d")
        dates = [form.format(*order) for form in _DATES]
        # Without zeros, 2024111 is two dates.
        styles = [
            _DateStyle(date + time, zeros)
            for date in dates
            for time in ("", *_TIMES)
            for zeros in (True, False)
            if zeros or date != "%Y%m%d"
        ]
        fits: Counter[_DateStyle] = Counter()
        for cell, own in cells:
            fits.update(style for style in styles if (":" in cell) == (":" in style.form) and style.write(own) == cell)
        # A cell without small numbers fits the form with zeros and the one without: the column settles it.
        self._styles = [style for style, _ in fits.most_common()]

    def write(self, cell: str, own: datetime, date: datetime) -> str | None:
        """Write a date as `cell` writes `own`; None where its form is none of those known, or cannot tell this date."""
        for style in self._styles:
            if style.write(own) == cell:
                made = style.write(date)
                return made if datetime.strptime(made, style.form) == date else None
        return None
