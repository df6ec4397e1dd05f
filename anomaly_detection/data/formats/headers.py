"""Which of a file's first rows names the columns: people write titles, dates and blank lines above it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from statistics import median_low
from typing import Literal

__all__ = ["Shape", "find_header", "is_again", "is_blank", "named", "shape"]

Shape = Literal["blank", "number", "text"]

_NUMBER = re.compile(r"[-+(]?[^\w\s]{0,3}\s?\d[\d.,:/\s'-]*(?:[eE][-+]?\d+)?\s?[^\w\s]?\)?")
"""Numbers with their signs, times and dates in digits."""

_YEAR = re.compile(r"(?:19|20)\d\d")
_MOST_TITLES = 20


def shape(cell: str) -> Shape:
    """Say what a cell looks like; a date in digits counts as a number."""
    cell = cell.strip()
    if not cell:
        return "blank"
    return "number" if _NUMBER.fullmatch(cell) else "text"


def is_blank(row: Sequence[str]) -> bool:
    """Whether a row holds nothing; the end-of-file sign of old systems is nothing."""
    if row and row[0].strip().strip("\x1a"):
        return False
    return not "".join(row).strip().strip("\x1a")


def is_again(row: Sequence[str], header: Sequence[str]) -> bool:
    """Whether a row is the header once more, as where two files were put together, each with its byte-order mark.

    In capitals or not: two programs wrote them.
    """
    if not len(row) == len(header) > 1 or row[-1].lower() != header[-1].lower():
        return False
    return [row[0].lstrip("\ufeff").lower(), *map(str.lower, row[1:])] == [*map(str.lower, header)]


def find_header(rows: Sequence[Sequence[str]]) -> int:
    """Give the place of the header among a table's first rows.

    It is the first row that is not blank, unless that is a title: it has at most half as many cells filled as is usual
    further down, and a row below has more, all of them names. Above a blank row it may also have more than half.
    """
    filled = [sum(1 for cell in row if cell.strip()) for row in rows]
    present = [place for place, count in enumerate(filled) if count]
    if not present:
        return 0
    usual = median_low([filled[place] for place in present[len(present) // 2 :]])
    for place in present[: _MOST_TITLES + 1]:
        if filled[place] > max(1, usual / 2):
            first = place
            break
    else:
        return present[0]
    for place in present[: _MOST_TITLES + 1]:
        below_blank = place > first and 0 in filled[first:place]
        if below_blank and filled[place] >= usual > max(filled[:place]) and _are_names(rows[place]):
            return place
    return first if first == present[0] or _are_names(rows[first]) else present[0]


def _are_names(row: Sequence[str]) -> bool:
    names = [cell.strip() for cell in row if cell.strip()]
    return len(set(names)) == len(names) and not any(map(_is_value, names))


def _is_value(cell: str) -> bool:
    return shape(cell) == "number" and not _YEAR.fullmatch(cell.strip())


def named(header: Sequence[str]) -> tuple[list[str], str]:
    """Give the columns' names, for a blank one ``Unnamed: 3``, and a value among them that is no name, or nothing."""
    values = [cell for cell in header if _is_value(cell)]
    names = [name if name.strip() else f"Unnamed: {place}" for place, name in enumerate(header)]
    return names, values[0] if values else ""
