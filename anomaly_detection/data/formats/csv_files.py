"""CSV files: passes find out how one is written and hold each line against the header; the same reader reads it."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import islice
from typing import Any

import pandas as pd

from anomaly_detection.data.formats.csv_dialect import Dialect, other_quotings, sniff
from anomaly_detection.data.formats.csv_examination import Examination
from anomaly_detection.data.formats.headers import is_again, is_blank, named
from anomaly_detection.data.formats.layout import Layout
from anomaly_detection.data.formats.plain_csv import REFUSED, is_plain, plain_frames
from anomaly_detection.data.sources import Source
from anomaly_detection.errors import DataError
from anomaly_detection.texts.said import say

__all__ = ["CsvFile"]

_SNIFFED_BYTES = 1 << 16
BLOCK = 1 << 20
_FRAME_CELLS = 250_000
_NOTHING = b" \t\r\n,;|" + codecs.BOM_UTF8
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_UTF32_MARK = codecs.BOM_UTF32_LE
_MOST = 0.7
_MARKUP = (b"<html", b"<!doctype", b"<?xml", b"<table")
_PACKED = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0", b"\x1f\x8b")

_UTF8 = re.compile(
    rb"(?<![\x80-\xff])(?!\xef\xbb\xbf)(?:[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2})(?![\x80-\xff])"
)
"""A letter in UTF-8 among those of ASCII; nobody writes the two or three of Windows-1252 that it would be there."""

_ELSE_CP1252 = "anomaly_detection.else_cp1252"


def _else_cp1252(error: UnicodeError) -> tuple[str, int]:
    """What is no UTF-8, as Windows-1252: a file may be put together of lines that two programs wrote."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return error.object[error.start : error.end].decode("cp1252", "replace"), error.end


codecs.register_error(_ELSE_CP1252, _else_cp1252)

# Python's own limit, 131,072 characters, is less than a cell may hold.
csv.field_size_limit(2**31 - 1)


class CsvFile:
    """A CSV file of which encoding, delimiter, quotes and header are found out; every cell is read as text.

    Parameters
    ----------
    source : Source
        Its bytes.
    layout : Layout

    Attributes
    ----------
    header : list of str
    about_rows : int
        The number of records.
    remarks : list of str
        What is to be said: of lines left out, and of lines with fewer fields than the header.

    Raises
    ------
    DataError
        For a file that is empty or binary; where a line cannot be what the header says, or a quote is never closed.
    OSError
        If it cannot be read.
    """

    def __init__(self, source: Source, layout: Layout) -> None:
        layout.refuse(source.label, lines=True)
        self._source, self._layout, self._errors = source, layout, "strict"
        head, is_utf8 = self._look_through()
        # Put together of others, a file may begin with several.
        self._skipped = len(head) - len(re.sub(rb"\A(?:\xef\xbb\xbf)+", b"", head))
        if head.startswith(_UTF32_MARK):
            raise DataError(say("%(label)s is not a table: it is UTF-32 text; save it as UTF-8.", label=source.label))
        if (wide := _wide(head)) is not None:
            if not self._decodes(wide):
                raise DataError(
                    say("%(label)s is not a table: it is no complete UTF-16 text; export it again.", label=source.label)
                )
            self._encoding = wide
        else:
            # Real exports carry a UTF-8 mark before Windows-1252 text.
            self._encoding = "utf-8" if is_utf8 else "cp1252" if self._decodes("cp1252") else "latin-1"
            if not is_utf8 and self._holds(_UTF8):
                self._encoding, self._errors = "utf-8", _ELSE_CP1252
        dialect = sniff(head[self._skipped :].decode(self._encoding, errors="replace"), layout)
        found = self._examined(dialect)
        self._dialect, self._first, self._is_uniform = found.dialect, found.first, found.is_uniform
        self._longest, self._is_subtotal = found.longest, found.is_subtotal
        self._is_plain = (
            found.is_uniform
            and self._errors == "strict"
            and is_plain(head, self._encoding, found.dialect, found.first, found.longest)
        )
        self._head = found.header
        self.header, value = named(found.header) if layout.header else (found.header, "")
        self.about_rows: int = found.records
        self.remarks = [f"{source.label}: {remark}" for remark in found.remarks()]
        if self._errors != "strict":
            self.remarks.append(f"{source.label}: some text is UTF-8, some Windows-1252; each is read as what it is.")
        if value and self.header != [str(place) for place in range(len(self.header))]:
            self.remarks.append(
                f"{source.label}: line {found.first} names the columns, and one of them {value.strip()!r}; if it is a"
                " record, add --no-header, if the names are further down, --skip-rows."
            )

    def read(self) -> pd.DataFrame:
        """All records."""
        rows = self.about_rows if self._is_plain else max(1, _FRAME_CELLS // len(self.header))
        parts = list(self.chunks(rows))
        return parts[0] if len(parts) == 1 else pd.concat(parts, ignore_index=True)

    def chunks(self, rows: int) -> Iterator[pd.DataFrame]:
        """`rows` records at a time, the last time fewer."""
        return self._plain_chunks(rows) if self._is_plain else self._any_chunks(rows)

    def _plain_chunks(self, rows: int) -> Iterator[pd.DataFrame]:
        """The same by Arrow, where all lines are plain records."""
        found = 0
        with self._source.opened() as file:
            frames = plain_frames(file, self._encoding, self._dialect, self._first, self._longest, self.header, rows)
            try:
                for frame in frames:
                    found += len(frame)
                    yield frame
                    # Else it would be held while the next one is read.
                    del frame
            except REFUSED as error:
                raise self._changed() from error
        if found != self.about_rows:
            raise self._changed()

    def _any_chunks(self, rows: int) -> Iterator[pd.DataFrame]:
        """The same by Python's own reader, whatever the lines."""
        at_once = max(1, _FRAME_CELLS // len(self.header))
        with self._lines(self._first) as lines:
            rows_of = self._dialect.rows(lines)
            records = filter(None, rows_of) if self._is_uniform else self._filled(rows_of)
            left = self.about_rows
            while left:
                sizes = [at_once] * (min(rows, left) // at_once) + [min(rows, left) % at_once]
                parts = [self._frame(records, size) for size in sizes if size]
                left -= sum(sizes)
                yield parts[0] if len(parts) == 1 else pd.concat(parts, ignore_index=True)
                # Else they would be held while the next ones are read.
                del parts

    def _filled(self, rows: Iterable[list[str]]) -> Iterator[list[str]]:
        """The rows that are not blank, with as many fields as the header."""
        width = len(self.header)
        for row in rows:
            if len(row) != width:
                row = (row + [""] * width)[:width]
            again = self._layout.header and is_again(row, self._head)
            if not (is_blank(row) or again or self._is_subtotal(row)):
                yield row

    def _frame(self, records: Iterator[list[str]], count: int) -> pd.DataFrame:
        try:
            columns = list(zip(*islice(records, count), strict=True))
        except (csv.Error, ValueError, UnicodeDecodeError) as error:
            raise self._changed() from error
        if len(columns) != len(self.header) or len(columns[0]) != count:
            raise self._changed()
        frame = pd.DataFrame({place: pd.Series(cells, dtype=str) for place, cells in enumerate(columns)})
        return frame.set_axis(self.header, axis=1)

    def _changed(self) -> DataError:
        return DataError(
            say("%(label)s changed while it was read; read it again when it is complete.", label=self._source.label)
        )

    def _examined(self, dialect: Dialect) -> Examination:
        """Go through all lines, with other quotes where the usual ones do not fit."""
        try:
            usual = self._examination(dialect)
        except DataError:
            for other in other_quotings(dialect):
                with suppress(DataError):  # what the usual quotes do not fit is told if no others do
                    found = self._examination(other)
                    if not found.short:
                        return found
            raise
        if usual.has_blanks_before_quotes:
            with suppress(DataError):  # then they are text
                return self._examination(replace(dialect, blanks=True))
        return usual

    def _examination(self, dialect: Dialect) -> Examination:
        found = Examination(self._source.label, dialect, self._layout.header)
        with self._lines(dialect.start) as lines:
            found.run(lines)
        return found

    @contextmanager
    def _lines(self, start: int) -> Iterator[Iterator[str]]:
        """The lines with their ends, without the `start` first ones."""
        with self._source.opened() as file:
            file.read(self._skipped)
            with io.TextIOWrapper(file, self._encoding, self._errors, newline="") as text:
                yield islice(text, start, None)

    def _look_through(self) -> tuple[bytes, bool]:
        """The first bytes, and whether all is UTF-8."""
        head, blank, binary = b"", True, False
        decode: Any = codecs.getincrementaldecoder("utf-8")().decode
        with self._source.opened() as file:
            while block := file.read(BLOCK):
                head = head or block[:_SNIFFED_BYTES]
                blank = blank and not block.strip(_NOTHING)
                binary = binary or b"\0" in block
                decode = _decoded(decode, block)
        label = self._source.label
        if blank:
            raise DataError(say("%(label)s is empty; expected a header line and at least one record.", label=label))
        if head.startswith(_PACKED):
            raise DataError(
                say(
                    "%(label)s is not a table: it is an archive or a workbook; name it .gz, .zip, .xlsx, .xls or .ods.",
                    label=label,
                )
            )
        if head.lstrip()[:9].lower().startswith(_MARKUP):
            raise DataError(
                say(
                    "%(label)s is not a table: it is HTML or XML, whatever its name; open it in a spreadsheet and"
                    " save it as CSV or .xlsx.",
                    label=label,
                )
            )
        if binary and _wide(head) is None:
            raise DataError(
                say("%(label)s is not a table: it holds binary data; give a CSV or Parquet file.", label=label)
            )
        return head, _decoded(decode, b"", final=True) is not None

    def _holds(self, found: re.Pattern[bytes]) -> bool:
        with self._source.opened() as file:
            return any(found.search(block) for block in iter(lambda: file.read(BLOCK), b""))

    def _decodes(self, encoding: str) -> bool:
        decode: Any = codecs.getincrementaldecoder(encoding)().decode
        with self._source.opened() as file:
            while decode is not None and (block := file.read(BLOCK)):
                decode = _decoded(decode, block)
        return _decoded(decode, b"", final=True) is not None


def _wide(head: bytes) -> str | None:
    """The name of UTF-16 text by its mark or, without one, by its zeros: most characters of a table are ASCII."""
    if head.startswith(_UTF16_MARKS):
        return "utf-16"
    even, odd = (head[at::2].count(0) / max(len(head) // 2, 1) for at in (0, 1))
    return "utf-16-le" if odd > _MOST and not even else "utf-16-be" if even > _MOST and not odd else None


def _decoded(decode: Any, block: bytes, *, final: bool = False) -> Any:
    """`decode` again, or None once something cannot be decoded."""
    try:
        if decode is not None:
            decode(block, final)
        return decode
    except UnicodeDecodeError:
        return None
