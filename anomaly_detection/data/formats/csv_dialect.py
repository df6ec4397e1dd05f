"""How a CSV file is written, found out from its first lines: delimiter, lines above the header, quotes."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from anomaly_detection.data.formats.headers import find_header, is_blank, shape
from anomaly_detection.data.formats.layout import Layout

__all__ = ["Dialect", "other_quotings", "sniff"]

_DELIMITERS = ",;\t|"
_SEP = re.compile(r'\s*"?sep=(.)"?\s*', re.IGNORECASE)
_ROWS = 60
_RULE = re.compile(r"[|+]?-{10,}[-+|]*")
_ESCAPE = re.compile(r'\\([\\"]?)')
"""A backslash before anything but a quote or another one is text."""


@dataclass(frozen=True)
class Dialect:
    """How lines become fields.

    Attributes
    ----------
    delimiter : str
    start : int
        Lines above the header.
    titles : tuple of str
        Those of them that were found and hold something.
    usual : int
        Fields that most of the first lines have.
    blanks : bool
        Whether blanks may stand between a delimiter and a quote.
    escaped : bool
        Whether a quote within quotes is written ``\\"`` instead of ``""``.
    quoted : bool
        Whether quotes hold a field together; else they are text.
    ruled : bool
        Whether it is a printed list, as of SAP: each record between bars, rules of dashes and headings of pages between
        them.
    """

    delimiter: str
    start: int = 0
    titles: tuple[str, ...] = ()
    usual: int = 1
    blanks: bool = False
    escaped: bool = False
    quoted: bool = True
    ruled: bool = False

    def rows(self, lines: Iterable[str], *, strict: bool = True) -> Any:
        """A reader of lines, from which `start` is cut off already; `strict` raises `csv.Error` for broken quotes."""
        if self.ruled:
            lines = map(_between_bars, lines)
        return csv.reader(
            (_ESCAPE.sub(lambda found: found[0] if found[1] else 2 * found[0], line) for line in lines)
            if self.escaped
            else lines,
            delimiter=self.delimiter,
            skipinitialspace=self.blanks,
            escapechar="\\" if self.escaped else None,
            doublequote=True,
            quoting=csv.QUOTE_MINIMAL if self.quoted else csv.QUOTE_NONE,
            strict=strict,
        )


def _between_bars(line: str) -> str:
    """A line of a printed list as one with delimiters; a line end alone where it is no record."""
    cells = line.strip().removeprefix("|").removesuffix("|").split("|")
    if not line.lstrip().startswith("|") or not "".join(cells).strip("-+= "):
        return "\n"
    return "|".join(map(str.strip, cells)) + "\n"


def other_quotings(dialect: Dialect) -> list[Dialect]:
    """What to try where the usual quotes do not fit a file, the likeliest first."""
    return [
        replace(dialect, blanks=True),
        replace(dialect, escaped=True),
        replace(dialect, blanks=True, escaped=True),
        replace(dialect, quoted=False),
    ]


def sniff(head: str, layout: Layout) -> Dialect:
    """Find out how a file is written, but for its quotes.

    Parameters
    ----------
    head : str
        Its beginning; the last line may be cut off.
    layout : Layout
        What was said of it.
    """
    first, _, _ = head.partition("\n")
    told = _SEP.fullmatch(first.replace("\r", "\n").partition("\n")[0])
    delimiters = told[1] if told else _DELIMITERS
    start = max(layout.skip_rows or 0, 1 if told else 0)
    lines = list(io.StringIO(head, newline=""))[start:]
    ways = [Dialect(delimiter, start) for delimiter in delimiters]
    barred = any(_RULE.fullmatch(line.strip()) for line in lines) and sum(line.startswith("|") for line in lines) > 1
    if barred and "|" in delimiters:
        ways = [Dialect("|", start, quoted=False, ruled=True)]
    # Of delimiters that fit equally well the first one is taken.
    _, dialect = max((_fit(lines, way, layout) for way in ways), key=lambda found: found[0])
    return dialect


def _fit(lines: Sequence[str], dialect: Dialect, layout: Layout) -> tuple[tuple[float, ...], Dialect]:
    """How well a delimiter fits, as what compares, and the dialect with it.

    It fits where the lines have as many fields as the header, and not two or more kinds of delimiter in a name; of
    equals the one that makes more columns, and then more numbers.
    """
    rows = _sample(lines, dialect)
    if not rows:
        return (0.0, 0.0, 0.0), dialect
    # A row with broken quotes is there, but nothing is known of it.
    kept = [["?"] if row is None else row for _, row in rows]
    place = find_header(kept) if layout.header and layout.skip_rows is None else 0
    titles = (" ".join(filter(None, map(str.strip, row))) for row in kept[:place])
    kept = kept[place:]
    widths = Counter(len(row) for row in kept if not is_blank(row))
    usual = max(widths, key=lambda width: (widths[width], width)) if widths else 1
    found = replace(
        dialect,
        start=dialect.start + rows[place][0],
        titles=tuple(title for title in titles if title),
        usual=usual,
    )
    header = kept[0]
    width = len(header) if layout.header else usual
    if width < 2:
        return (0.0, 0.0, 0.0), found
    others = set(_DELIMITERS) - {dialect.delimiter}
    clean = sum(1 for name in header if not others & set(name)) if layout.header else width
    # Titles count against a delimiter, or each would have those that suit it.
    above = sum(not is_blank(row or ["?"]) for _, row in rows[:place])
    agreeing = widths[width] / (sum(widths.values()) + above)
    numbers = sum(shape(cell) == "number" for row in kept[1:] for cell in row) / (len(kept) * width)
    return (round(agreeing * (1 + clean) / (1 + width), 3), float(width), numbers), found


def _sample(lines: Sequence[str], dialect: Dialect) -> list[tuple[int, list[str] | None]]:
    """The first rows and the lines before each; None for one with broken quotes, and not the one that is cut off."""
    rows: list[tuple[int, list[str] | None]] = []
    reader = dialect.rows(lines)
    while len(rows) < _ROWS:
        before = reader.line_num
        try:
            rows.append((before, next(reader)))
        except StopIteration:
            break
        except csv.Error:
            rows.append((before, None))
        if reader.line_num >= len(lines):
            break
    while rows and is_blank(rows[0][1] or ["?"]):
        rows.pop(0)
    return rows[:-1] if len(rows) > 2 else rows
