"""`KnownForms`: single dates in the commonest forms, sooner than a column is read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from anomaly_detection.data.cells.date_forms import MONTHS

__all__ = ["AS_PROGRAMS", "FIRST_YEAR", "LAST_YEAR", "KnownForms", "four_figures"]

AS_PROGRAMS = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?)?", re.ASCII)
_IN_NUMBERS = re.compile(r"(\d{1,2})([-/. ])(\d{1,2})\2(\d{4}|\d{2})", re.ASCII)
_NAMED = re.compile(r"(\d{1,2})[-/ ]([A-Za-z]{3,9})[-/ ](\d{4}|\d{2})", re.ASCII)
FIRST_YEAR, LAST_YEAR = "1678", "2261"
_REMEMBERED = 65_536


class KnownForms:
    """Turns the commonest forms of dates, such as 31-Jan-24, or 31.01.2024 where that is known, into 2024-01-31.

    It takes a microsecond; `read_dates` knows all forms.

    Parameters
    ----------
    forms : sequence of str
        As `parse_dates` takes them.
    """

    def __init__(self, forms: Sequence[str]) -> None:
        marks = [form[1] for form in forms]
        known = {form[1]: form[0] for form in forms if form[0] in "dm" and len(form) == 5 and marks.count(form[1]) == 1}
        self._orders = tuple(sorted(known.items()))

    def __call__(self, text: str) -> str | None:
        """The date as NumPy reads it, if there is such a day; None where it has another form, or may have."""
        turned = text if AS_PROGRAMS.fullmatch(text) else _turned(text, self._orders)
        return turned if turned is not None and FIRST_YEAR <= turned[:4] <= LAST_YEAR else None


@lru_cache(_REMEMBERED)
def _turned(text: str, orders: tuple[tuple[str, str], ...]) -> str | None:
    """A date as `KnownForms` turns it by the order that belongs to each mark; days come again, part by part."""
    if (parts := _IN_NUMBERS.fullmatch(text)) is not None:
        order = next((order for mark, order in orders if mark == parts[2]), None)
        if order is None:
            return None
        day, month, year = (parts[1], parts[3], parts[4]) if order == "d" else (parts[3], parts[1], parts[4])
        return f"{four_figures(year)}-{int(month):02d}-{int(day):02d}"
    if (parts := _NAMED.fullmatch(text)) is not None and (number := MONTHS.get(parts[2].lower())) is not None:
        return f"{four_figures(parts[3])}-{number:02d}-{int(parts[1]):02d}"
    return None


def four_figures(year: str) -> str:
    """A year of two figures in the hundred years from 1969; one of four as it is."""
    return year if len(year) == 4 else f"{20 if int(year) < 69 else 19}{year}"
