"""What stands for a missing value: blanks, the usual words, and codes such as -999 or 9999-12-31."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

__all__ = [
    "date_codes",
    "missing_mask",
    "number_code",
    "number_codes",
    "says_missing",
    "text_pattern",
    "words_that_are_values",
]

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

_MISSING_TEXTS = frozenset(
    (
        *("", "na", "n/a", "n.a.", "#n/a", "#na", "nan", "null", "none", "nil", "nat", "<na>", "-", "--", "---"),
        *(".", "?", "missing", "not available", "not applicable", "tbd", "0000-00-00", "0000-00-00 00:00:00"),
        # An empty date of SAP's.
        *("00000000", "00.00.0000", "00/00/0000"),
    )
)
_SHORT_CODE = re.compile(r"[A-Z]{2,5}")
_NO_REGIONS = frozenset({"YES", "NO", "TRUE", "FALSE", "OK", "JA", "NEIN", "OUI", "NON", "SI"})

# A code for missing fills this share of a column's rows, and as many rows at least: one -999 alone is an error.
_LEAST_SHARE = 0.01
_LEAST_ROWS = 3
_LIMITS = frozenset({-32768.0, 32767.0, 65535.0, 2147483647.0, -2147483648.0, 4294967295.0})
_YEAR = np.timedelta64(365, "D")


def missing_mask(texts: pd.Series[Any], kept: Collection[str] = (), codes: Collection[str] = ()) -> Bools:
    """True where a value is null, blank or one of the usual words for "no value" (``N/A``, ``null``, ``-`` ...).

    Words that are `kept` are values in this column; `codes` are further texts for "no value".
    """
    places, uniques = pd.factorize(texts)
    more = _MISSING_TEXTS | {code.strip().lower() for code in codes}
    words = [str(value).strip() for value in np.asarray(uniques, dtype=object).tolist()]
    # The last is that of code -1, which is null.
    said = np.array([*(word.lower() in more and word not in kept for word in words), True], dtype=bool)
    return np.asarray(said[places], dtype=bool)


def says_missing(text: str, kept: Collection[str] = (), codes: Collection[str] = ()) -> bool:
    """`missing_mask` of one text; `codes` are in lower case."""
    text = text.strip()
    return text not in kept and (text.lower() in _MISSING_TEXTS or text.lower() in codes)


def text_pattern(text: str) -> str:
    """Words that say why a value is missing, without the numbers in them, so that they can be counted together."""
    return re.sub(r"\d+", "#", text.strip())[:80]


def words_that_are_values(distinct: Collection[str]) -> tuple[str, ...]:
    """``NA`` where it is a region or a code among others, such as EU and APAC, and no word for "no value".

    `distinct` are the texts of a column.
    """
    if "NA" not in "\n".join(distinct):
        return ()
    found = {text.strip() for text in distinct}
    others = {text for text in found - {"NA"} if text.lower() not in _MISSING_TEXTS}
    if "NA" not in found or len(others) < 2 or others & _NO_REGIONS:
        return ()
    return ("NA",) if all(_SHORT_CODE.fullmatch(text) for text in others) else ()


def number_codes(numbers: Floats, elsewhere: Collection[str] = ()) -> tuple[str, ...]:
    """Codes for missing among numbers: values such as -200, -999 or 9999, repeated, far outside the rest.

    Parameters
    ----------
    numbers : ndarray (n,)
        A column's numbers, NaN where there is none.
    elsewhere : collection of str
        Codes of other columns of the table: for these it is enough to lie outside the rest.
    """
    present = numbers[np.isfinite(numbers)]
    values, counts = np.unique(present, return_counts=True)
    # A flag of 0 and 99 has nothing that the code could lie outside of.
    often = counts >= max(_LEAST_ROWS, _LEAST_SHARE * present.size)
    possible = np.zeros(len(values), dtype=bool)
    possible[often] = [_looks_like_code(value) for value in values[often].tolist()]
    if not possible.any():
        return ()
    plain = ~possible | np.array([value < 0 and _is_round(value) for value in values.tolist()], dtype=bool)
    found = []
    for place in np.flatnonzero(possible):
        value, count = float(values[place]), int(counts[place])
        # Round numbers below zero may be values of the column: each is compared with the others.
        inside = plain & (np.arange(len(values)) != place)
        if int(inside.sum()) < 3:
            continue
        rest = np.repeat(values[inside], counts[inside])
        low, high = float(rest[0]), float(rest[-1])
        spread = float(np.subtract(*np.quantile(rest, (0.95, 0.05)))) or high - low
        gap = low - value if value < low else value - high
        known = number_code(value) in elsewhere
        # Below zero in a column of amounts that are not, and by far its commonest value.
        alone = value < 0.0 <= low and count >= 5 * int(counts[inside].max())
        if gap > 0 and (known or gap > spread or alone):
            found.append(number_code(value))
    return tuple(found)


def number_code(value: float) -> str:
    """Write a number that is a code, as a person would: -200, 99.9."""
    return f"{value:.0f}" if value == round(value) and abs(value) < 1e15 else f"{value:.10g}"


def _looks_like_code(value: float) -> bool:
    if value in _LIMITS or abs(value) >= 1e30:
        return True
    digits = number_code(abs(value)).replace(".", "")
    if len(digits) >= 2 and len(set(digits)) == 1 and digits[0] in "9":
        return True
    if len(digits) >= 3 and len(set(digits)) == 1 and digits[0] in "78":
        return True
    return _is_round(value)


def _is_round(value: float) -> bool:
    """Whether a number is a whole number of hundreds below zero, in one figure that counts: -200."""
    return value < 0 and re.fullmatch(r"[1-9]00+", number_code(-value)) is not None


def date_codes(dates: npt.NDArray[np.datetime64]) -> tuple[str, ...]:
    """Codes for missing among dates: ends of a year such as 1900-01-01 or 2099-12-31, repeated, far outside the rest.

    Parameters
    ----------
    dates : ndarray (n,) of datetime64[ns]
        A column's dates, NaT where there is none.
    """
    days = dates[~np.isnat(dates)].astype("datetime64[D]")
    values, counts = np.unique(days, return_counts=True)
    often = counts >= max(_LEAST_ROWS, _LEAST_SHARE * days.size)
    texts = values.astype(str)
    possible = often & np.array([text[5:] in ("01-01", "12-31", "12-30") for text in texts], dtype=bool)
    if not possible.any() or len(values) - int(possible.sum()) < 3:
        return ()
    inside = values[~possible]
    rest = days[np.isin(days, inside)].astype(np.int64)
    spread = np.timedelta64(int(np.subtract(*np.quantile(rest, (0.95, 0.05)))), "D")
    found = []
    for value, text in zip(values[possible], texts[possible].tolist(), strict=True):
        gap = max(inside[0] - value, value - inside[-1])
        if gap > max(spread, 5 * _YEAR):
            found.append(str(text))
    return tuple(found)
