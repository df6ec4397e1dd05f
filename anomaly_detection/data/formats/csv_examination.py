"""Holding each line of a CSV file against its header: what disagrees is an error, and never a shifted table."""

from __future__ import annotations

import csv
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice, repeat

import numpy as np
import pandas as pd

from anomaly_detection.data.cells.number_texts import parse_numbers
from anomaly_detection.data.formats.csv_dialect import Dialect
from anomaly_detection.data.formats.headers import is_again, is_blank, shape
from anomaly_detection.data.formats.total_lines import is_total, said_of_last, said_of_totals, total_name, totals_below
from anomaly_detection.errors import DataError
from anomaly_detection.texts.said import N_, say

__all__ = ["Examination"]

_SHAPED = 200
_SUSPECTS = 100
_FEWEST_SUMMED = 5
_WIDE = 5
_TITLE_LENGTH = 60
_UNITS, _UNIT_LENGTH = 3, 20
_TOGETHER = 1_000  # lines
_REFUSED = 5
"""Lines that are named beside the first one that does not fit."""


@dataclass
class Examination:
    """What one pass over the lines finds out.

    Attributes
    ----------
    label : str
        What to call the file in messages.
    dialect : Dialect
        By which its lines become fields.
    has_header : bool
    header : list of str
        Without blank names at its end for which no record has a field; ``x0, x1, ...`` where there is none.
    first : int
        Lines before the first record.
    records, blank, again, subtotals, short : int
        Records, lines with blank fields only, with the header again and totals among the records, all left out, and
        records with fewer fields than there are names.
    is_uniform : bool
        Whether all lines below the header are records with as many fields as it has.
    has_blanks_before_quotes : bool
        Whether a field begins with blanks and a quote, and was read as text.
    longest : int
        Characters of the longest record, its line end included.
    """

    label: str
    dialect: Dialect
    has_header: bool
    header: list[str] = field(default_factory=list)
    first: int = 0
    records: int = 0
    blank: int = 0
    again: int = 0
    subtotals: int = 0
    short: int = 0
    is_uniform: bool = True
    has_blanks_before_quotes: bool = False
    longest: int = 0
    _first_blank: int = 0
    _first_again: int = 0
    _first_short: int = 0
    _first_subtotal: tuple[int, str] = (0, "")
    _maybe: list[tuple[int, list[str]]] = field(default_factory=list)
    """Of the records whose shapes were looked at those that may be totals, and their lines."""
    _run: list[tuple[int, int]] = field(default_factory=list)
    """Line and fields of the short records since the last whole one."""
    _named: int = 0
    """Fields up to the last one with a name."""
    _longest: int = 0
    _shortest: int = sys.maxsize
    _surplus: int | None = None
    _shapes: list[set[str]] = field(default_factory=list)
    _blanks: list[int] = field(default_factory=list)
    """How many records lack each column, of those whose shapes were looked at."""
    _shaped: int = 0
    _suspects: list[tuple[int, list[list[str]]]] = field(default_factory=list)
    _top: list[str] = field(default_factory=list)
    """The first record, whose shapes come to the others' at the end."""
    _top_line: int = 0
    """Its line, if it is one alone."""
    units: list[str] = field(default_factory=list)
    """Some of the units that a line below the names has, which is left out."""
    _last: tuple[list[str], ...] = ()
    """The last records, as many as may be totals."""
    _refusal: DataError | None = None
    """Of the first line that has too many fields, or one."""
    _refused: list[int] = field(default_factory=list)
    """The next such lines."""
    totals: list[str] = field(default_factory=list)
    """What the last lines are called that sum the records up, and are left out."""
    doubts: list[str] = field(default_factory=list)
    """What is to be said of a first line that may be units, and of a last one that may be a total."""

    def run(self, lines: Iterable[str]) -> None:
        """Go through the lines that come after `dialect.start`.

        Raises
        ------
        DataError
            Where a line cannot be what the header says, a quote is not closed, or there is no record.
        """
        held: list[str] = []
        ahead = _Ahead(lines)
        reader = self.dialect.rows(ahead.one_by_one(held))
        before, width, name = self.dialect.start, -1, ""
        number = before + 1
        third: list[str] | str = []
        second: list[str] | str = []
        last: list[str] | str = []
        try:
            for row in reader:
                plain = len(row) == width and len(held) == 1 and row[0][:1].isalnum() and ' "' not in held[0]
                if plain and row[0].lower() != name:
                    # Nothing can be said of such a line, as most are once the first ones have been looked at.
                    self.records += 1
                    third, second, last = second, last, row
                elif self.has_header and is_again(row, self.header):
                    self.is_uniform = False
                    self.again += 1
                    self._first_again = self._first_again or number
                elif is_blank(row):
                    # All readers pass over a line end alone.
                    self.is_uniform = self.is_uniform and not row
                    # A line end alone is no record to anybody, but a delimiter or quotes may have been meant as one.
                    if len(row) > 1 or row == [""]:
                        self.blank += 1
                        self._first_blank = self._first_blank or number
                elif not self.header:
                    ahead.header = "".join(held).lower()
                    self._begin(row, before + reader.line_num, number)
                    name = self.header[0].lower()
                else:
                    self._take(row, held, number)
                    third, second, last = second, last, row
                size = sum(map(len, held)) if len(held) > 1 else len(held[0])
                if size > self.longest:
                    self.longest = size
                held.clear()
                number = before + reader.line_num + 1
                if width < 0 or self._run:
                    width = len(self.header) if self._is_settled() else -1
                if width > 0:
                    passed = ahead.pass_over(self.dialect.delimiter, width)
                    before, number, self.records = before + passed, number + passed, self.records + passed
                    for line in ahead.last:
                        third, second, last = second, last, line
        except csv.Error as error:
            raise self._refusal or self._unclosed(number, error) from error
        if self._refusal is not None:
            raise self._refusals(self._refusal) if self._refused else self._refusal
        self.longest = max(self.longest, ahead.longest)
        self._last = (self._row(third), self._row(second), self._row(last))
        self._end()

    def _row(self, found: list[str] | str) -> list[str]:
        """The fields of a line, where it is no row yet."""
        row: list[str] = next(self.dialect.rows([found])) if isinstance(found, str) else found
        return row

    def remarks(self) -> list[str]:
        """What is to be said of lines that are left out or filled up."""
        said = []
        if self.dialect.titles:
            titles = "; ".join(repr(title[:_TITLE_LENGTH]) for title in self.dialect.titles)
            said.append(
                f"the header is taken to be line {self.dialect.start + 1}, what stands above it is left out ({titles});"
                " --skip-rows 0 says that the first line is."
            )
        if self.dialect.ruled:
            said.append("it is a printed list: lines between bars are read, all others are left out.")
        elif not self.dialect.quoted:
            said.append("quotes are not closed in some lines, so all are read as a part of the text.")
        if self.blank:
            lines = "1 blank line is" if self.blank == 1 else f"{self.blank:,} blank lines are"
            said.append(f"{lines} left out, the first is line {self._first_blank}.")
        if self.again:
            lines = "1 line repeats" if self.again == 1 else f"{self.again:,} lines repeat"
            said.append(f"{lines} the header, left out; the first is line {self._first_again}.")
        if self.totals:
            said.append(said_of_totals(self.totals, "line"))
        if self.units:
            said.append(f"the line below the names holds units ({_shown(self.units)}) and no record; it is left out.")
        if self.subtotals:
            lines = "1 line is a total" if self.subtotals == 1 else f"{self.subtotals:,} lines are totals"
            number, name = self._first_subtotal
            said.append(f"{lines} among the records, left out; the first is line {number} ({name[:_TITLE_LENGTH]!r}).")
        if self._surplus:
            said.append(
                f"every record ends with {self._surplus} more empty field{'s' * (self._surplus > 1)} than the"
                " header names; if numbers have a decimal comma, put them into quotes."
            )
        if self.short:
            has = "1 line has" if self.short == 1 else f"{self.short:,} lines have"
            said.append(
                f"{has} fewer fields than the header, the first is line {self._first_short}; what they lack is missing."
            )
        return said + self.doubts

    def _is_settled(self) -> bool:
        """Whether a line of as many fields as the header, with nothing odd about it, tells nothing more."""
        seen = self._shaped >= _SHAPED and self._longest == len(self.header)
        return seen and not self._surplus and not self._run and self.dialect.quoted and not self.subtotals

    def is_subtotal(self, row: Sequence[str]) -> bool:
        """Whether a row is one of the totals that were found among the records."""
        return bool(self.subtotals) and is_total(row, [not blanks for blanks in self._blanks])

    def _leave_out_subtotals(self) -> None:
        """Leave out the totals among the first records; where there are some, each later line is looked at too."""
        maybe, self._maybe = self._maybe, []
        filled = [not blanks for blanks in self._blanks]
        if self._shaped < _FEWEST_SUMMED:
            return
        found = [(number, row) for number, row in maybe if is_total(row, filled)]
        if all(row in self._last for _, row in found):
            # Of totals below the table less has to be lacking.
            return
        for number, row in found:
            self._count_subtotal(number, row)
            self.records -= 1
            self.short -= len(row) < self._named

    def _count_subtotal(self, number: int, row: Sequence[str]) -> None:
        self.is_uniform = False
        self.subtotals += 1
        if self.subtotals == 1:
            self._first_subtotal = (number, total_name(row) or "")

    def _begin(self, row: list[str], line: int, number: int) -> None:
        if not self.dialect.quoted and any(map(_is_wrapped, row)):
            raise self._uneven(number, len(row))
        self.header = row
        self._named = max(place for place, name in enumerate(row, 1) if name.strip())
        self._shapes = [set() for _ in row]
        self._blanks = [0] * len(row)
        self.first = line
        if not self.has_header:
            self.first = number - 1
            self.header = [f"x{place}" for place in range(self.dialect.usual)]
            self._named = len(self.header)
            self._shapes = [set() for _ in self.header]
            self._blanks = [0] * len(self.header)
            self._take(row, [], number)

    def _take(self, row: list[str], held: list[str], number: int) -> None:
        width, fields = len(self.header), len(row)
        if self.subtotals and self.is_subtotal(row):
            self._count_subtotal(number, row)
            return
        self.records += 1
        if fields > width and any(row[width:]):
            self._refuse(number, fields)
            return
        self._longest, self._shortest = max(self._longest, fields), min(self._shortest, fields)
        if fields >= width:
            if self._surplus is None:
                self._surplus = fields - width
            if self._surplus != fields - width:
                # The other lines have no delimiter too many at their end: then this one has it elsewhere.
                raise self._uneven(number, fields)
        if fields >= self._named:
            if self._run:
                self._end_run()
        elif fields == 1:
            self._refuse(number, fields)
        else:
            self.short += 1
            self._first_short = self._first_short or number
            self._run.append((number, fields))
        if len(held) > 1:
            self._suspect(held, number)
        elif self._shaped < _SHAPED and not all(row) and total_name(row) is not None:
            self._maybe.append((number, row))
        elif self._shaped < _SHAPED:
            self._shaped += 1
            if self.records == 1:
                self._top, self._top_line = row, number if len(held) == 1 else 0
            else:
                self._shape(row)
            for place, blanks in enumerate(self._blanks):
                self._blanks[place] = blanks + (not "".join(row[place : place + 1]).strip())
            if self._shaped == _SHAPED:
                self._leave_out_subtotals()
        if not self.dialect.blanks and held and ' "' in held[0]:
            self.has_blanks_before_quotes |= any(cell[:1] == " " and cell.lstrip()[:1] == '"' for cell in row)
        if not self.dialect.quoted and any(map(_is_wrapped, row)):
            raise self._uneven(number, fields)

    def _end(self) -> None:
        self._end_run()
        if not self.header:
            raise DataError(
                say(
                    "%(label)s holds nothing below line %(start)s; expected a header and records.",
                    label=self.label,
                    start=self.dialect.start,
                )
            )
        if not self.records:
            raise DataError(say("%(label)s has a header but no records; expected at least one.", label=self.label))
        if self._longest < self._named:
            raise DataError(
                say(
                    "%(label)s is not a table: Expected %(named)s fields, as the header has, saw at most"
                    " %(longest)s, in all lines; give the header as many names as there are columns.",
                    label=self.label,
                    named=self._named,
                    longest=self._longest,
                )
            )
        del self.header[max(self._longest, self._named) :]
        self.is_uniform = self.is_uniform and not self._surplus and self._shortest >= len(self.header)
        self._leave_out_subtotals()
        self._leave_out_totals()
        self._doubt_units()
        for number, pieces in self._suspects:
            if self._are_records(pieces):
                raise DataError(
                    say(
                        "%(label)s is not a table: in line %(number)s a quote opens that is closed %(count)s"
                        " lines further down, where other records begin;"
                        ' double the quote ("") if it is a part of the text.',
                        label=self.label,
                        number=number,
                        count=len(pieces) - 1,
                    )
                )

    def _shape(self, row: Sequence[str]) -> None:
        for seen, cell in zip(self._shapes, row, strict=False):
            seen.add(shape(cell))

    def _doubt_units(self) -> None:
        """A first line of words alone, where all others have numbers, may say in what these are."""
        beside = zip(self._top, self._shapes, strict=False)
        numbers = [cell.strip() for cell, seen in beside if {"number"} <= seen <= {"number", "blank"}]
        words = [cell for cell in numbers if shape(cell) == "text"]
        if self.records > _FEWEST_SUMMED and len(words) > 1 and "number" not in map(shape, self._top):
            # What may stand behind a number is a unit, or a currency.
            named = parse_numbers(pd.Series([f"1 {word.strip('[]() ')}" for word in words]))
            if self._top_line and 2 * np.count_nonzero(~np.isnan(named)) >= len(words):
                self.units, self.first = words, self._top_line
                self.records -= 1
                self.short -= len(self._top) < self._named
                return
            shown = _shown(words)
            self.doubts.append(
                f"the first line below the names has words ({shown}) where all others have numbers; if they are units,"
                " delete it."
            )
        self._shape(self._top)

    def _leave_out_totals(self) -> None:
        if self.records <= _FEWEST_SUMMED:
            return
        rows = [row for row in self._last if row and not self.is_subtotal(row)]
        # Of few records the last are among those whose shapes were looked at.
        own = rows if self._shaped == self.records else []
        filled = [
            blanks == sum(not "".join(row[place : place + 1]).strip() for row in own)
            for place, blanks in enumerate(self._blanks)
        ]
        self.totals = totals_below(rows, filled)
        self.doubts = [] if self.totals else said_of_last(rows, filled, "line")
        self.records -= len(self.totals)
        for row in rows[len(rows) - len(self.totals) :]:
            self.short -= len(row) < self._named
        # What is left out is passed over by the slower reader, which counts.
        self.is_uniform = self.is_uniform and not self.totals

    def _end_run(self) -> None:
        """Refuse short lines one after the other that make one record together."""
        run, self._run = self._run, []
        if len(run) > 1 and sum(fields for _, fields in run) - (len(run) - 1) == self._named:
            raise DataError(
                say(
                    "%(label)s is not a table: Expected %(named)s fields in line %(number)s, saw %(saw)s, and"
                    " the rest in line %(last)s; put text with a line end into quotes, or, if these are"
                    " records that lack their last fields, end them with the delimiters.",
                    label=self.label,
                    named=self._named,
                    number=run[0][0],
                    saw=run[0][1],
                    last=run[-1][0],
                )
            )

    def _suspect(self, held: list[str], number: int) -> None:
        """Keep a record of several lines that look like one each: a quote may have been left open."""
        if len(self._suspects) >= _SUSPECTS or not self.dialect.quoted:
            return
        width = len(self.header)
        alone: list[list[str]] = [next(self.dialect.rows([line], strict=False), []) for line in held]
        # In the first line the quote holds the rest together.
        *ahead, opened = alone[0]
        alone[0] = [*ahead, *opened.rstrip("\r\n").split(self.dialect.delimiter)]
        if width > 1 and all(len(row) == width for row in alone):
            self._suspects.append((number, alone))

    def _are_records(self, pieces: list[list[str]]) -> bool:
        """Whether lines look like the other records, and not by chance, as two lines of text in a narrow table may."""
        width = len(self.header)
        telling = len(pieces) > 2 or width >= _WIDE or {"number"} in self._shapes
        return telling and self._shaped > 0 and all(self._fits(piece) for piece in pieces)

    def _fits(self, row: list[str]) -> bool:
        return all(shape(cell) in seen | {"blank"} for cell, seen in zip(row, self._shapes, strict=True))

    def _unclosed(self, number: int, error: csv.Error) -> DataError:
        within = "expected after" in str(error)
        what = (
            say("a quote stands within quotes, or is not closed") if within else say("a quote opens that is not closed")
        )
        return DataError(
            say(
                "%(label)s is not a table: in line %(number)s %(what)s; expected quotes around the whole of a"
                ' text, and doubled ("") within it.',
                label=self.label,
                number=number,
                what=what,
            )
        )

    def _uneven(self, number: int, fields: int) -> DataError:
        width = len(self.header)
        if self.dialect.delimiter == "," and fields > width:
            advice = say("put text with commas and numbers with decimal commas into quotes, or separate by semicolons")
        else:
            advice = say("put text with delimiters or line ends into quotes")
        if self.records == 1 and fields < width:
            advice = say("%(advice)s; leave out what stands above the table with --skip-rows", advice=advice)
        if self.records == 1 and self.dialect.usual == fields:
            has_same = N_("the other lines have as many: give the header a name for every column, or %(advice)s")
            advice = say(has_same, advice=advice)
        told = N_("%(label)s is not a table: Expected %(width)s fields in line %(number)s, saw %(saw)s; %(advice)s.")
        saw = say("one") if fields == 1 else fields
        return DataError(say(told, label=self.label, width=width, number=number, saw=saw, advice=advice))

    def _refuse(self, number: int, fields: int) -> None:
        """Refuse a line, once the next ones are known that do not fit either."""
        if self._refusal is None:
            self._refusal = self._uneven(number, fields)
            return
        self._refused.append(number)
        if len(self._refused) > _REFUSED:
            raise self._refusals(self._refusal)

    def _refusals(self, first: DataError) -> DataError:
        *lines, last = map(str, self._refused[:_REFUSED])
        if not lines:
            told = say("Line %(last)s does not fit either.", last=last)
        elif len(self._refused) > _REFUSED:
            told = say(
                "Lines %(lines)s, %(last)s and further ones do not fit either.", lines=", ".join(lines), last=last
            )
        else:
            told = say("Lines %(lines)s and %(last)s do not fit either.", lines=", ".join(lines), last=last)
        return DataError(say("%(first)s %(others)s", first=first.args[0], others=told))


def _shown(words: Sequence[str]) -> str:
    return ", ".join(repr(word[:_UNIT_LENGTH]) for word in words[:_UNITS])


def _is_wrapped(cell: str) -> bool:
    return len(cell) > 1 and cell[0] == cell[-1] == '"'


class _Ahead:
    """Lines one by one; or many together, of those that Python's reader would find nothing in.

    Attributes
    ----------
    header : str
        A line in small letters that is not passed over.
    longest : int
        Characters of the longest line that was passed over.
    last : deque of str
        The last three of those that were passed over the last time.
    """

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = iter(lines)
        self._seen: deque[str] = deque()
        self.header = ""
        self.longest = 0
        self.last: deque[str] = deque(maxlen=3)

    def one_by_one(self, held: list[str]) -> Iterator[str]:
        """The lines that are left, each put into `held`."""
        while True:
            line = self._seen.popleft() if self._seen else next(self._lines, None)
            if line is None:
                return
            held.append(line)
            yield line

    def pass_over(self, delimiter: str, width: int) -> int:
        """Pass over lines of so many fields without quotes, the first of which begins like a word; gives how many."""
        passed, most, seen = 0, csv.field_size_limit(), self._seen
        self.last.clear()
        while True:
            while seen:
                line = seen[0]
                if '"' in line or line.count(delimiter) != width - 1 or not line[0].isalnum() or len(line) > most:
                    return passed
                if line.lower() == self.header:
                    return passed
                self.longest = max(self.longest, len(line))
                self.last.append(seen.popleft())
                passed += 1
            lines = list(islice(self._lines, _TOGETHER))
            if not lines:
                return passed
            sizes, firsts = [*map(len, lines)], "".join([line[0] for line in lines])
            longest = max(sizes)
            plain = longest <= most and firsts.isalnum() and '"' not in "".join(lines)
            plain = plain and not (len(self.header) in sizes and self.header in map(str.lower, lines))
            if plain and set(map(str.count, lines, repeat(delimiter))) == {width - 1}:
                self.longest = max(self.longest, longest)
                self.last.extend(lines[-3:])
                passed += len(lines)
            else:
                seen.extend(lines)
