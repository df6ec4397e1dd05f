"""CSV files: one pass finds out how one is written, then it is read whole or in chunks, by the same rules."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import IO, Any

import pandas as pd

from anomaly_detection.errors import DataError

__all__ = ["CsvFile"]

_DELIMITERS = ",;\t|"
_SNIFFED_BYTES = 1 << 16
BLOCK = 1 << 20
_UTF8_MARK = b"\xef\xbb\xbf"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")

# Python's own limit, 131,072 characters, is less than a cell may hold.
csv.field_size_limit(2**31 - 1)


class CsvFile:
    """A CSV file, compressed or not, of which encoding and delimiter are found out; every cell is read as text.

    Parameters
    ----------
    path : Path
        An existing file.

    Attributes
    ----------
    header : list of str
    about_rows : int
        Lines after the header: at least the number of records, and no more unless cells hold line ends.
    remark : str
        What is to be said of lines with fewer fields than the header; empty where there are none.

    Raises
    ------
    DataError
        For a file that is empty, binary, or no complete gzip file; where a line has more fields than the header, unless
        all of these are empty, or only one where the header has several.
    OSError
        If it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        head, lines, is_utf8 = self._look_through()
        self._skipped = len(_UTF8_MARK) if head.startswith(_UTF8_MARK) else 0
        if head.startswith(_UTF16_MARKS):
            if not self._decodes("utf-16"):
                raise DataError(f"{path} is not a table: it is no complete UTF-16 text; export it again.")
            self._encoding = "utf-16"
        else:
            # Real exports carry a UTF-8 mark before Windows-1252 text.
            self._encoding = "utf-8" if is_utf8 else "cp1252" if self._decodes("cp1252") else "latin-1"
        text = head[self._skipped :].decode(self._encoding, errors="replace")
        if "\x00" in text:
            raise DataError(f"{path} is not a table: it holds binary data; give a CSV or Parquet file.")
        self._delimiter = _sniff(text)
        self.about_rows = max(1, lines - 1)
        self.header: list[str] = []
        self.remark, self._surplus = "", False
        self._count_fields()

    def read(self) -> pd.DataFrame:
        """All records."""
        with self._opened() as file, self._explained():
            return self._refuse_none(pd.read_csv(file, **self._options()))

    def chunks(self, rows: int) -> Iterator[pd.DataFrame]:
        """`rows` records at a time, the last time fewer."""
        with self._opened() as file, self._explained(), pd.read_csv(file, chunksize=rows, **self._options()) as reader:
            # A `for` would hold a chunk while the next one is read.
            yield from map(self._refuse_none, reader)

    def _refuse_none(self, frame: pd.DataFrame) -> pd.DataFrame:
        if len(frame) == 0:
            raise DataError(f"{self._path} has a header but no records; expected at least one.")
        return frame

    def _options(self) -> dict[str, Any]:
        return {
            "sep": self._delimiter,
            "encoding": self._encoding,
            "dtype": str,
            "keep_default_na": False,
            "na_filter": False,
            "index_col": False,
            # Else pandas refuses a delimiter at the end of some lines.
            "usecols": range(len(self.header)) if self._surplus else None,
        }

    def _count_fields(self) -> None:
        """Hold each line's fields against the header's, which pandas does not do for the first line or for few ones."""
        blank = " \t\r\n".replace(self._delimiter, "")
        few, number, first = 0, 0, 0
        with self._opened() as file, self._explained():
            lines = enumerate(io.TextIOWrapper(file, self._encoding, newline=""), 1)
            for number, line in lines:
                if not line.strip(blank):
                    continue
                fields = line.count(self._delimiter) + 1
                if '"' in line or not self.header or fields > len(self.header):
                    row = next(csv.reader(chain([line], (more for _, more in lines)), delimiter=self._delimiter))
                    self.header = self.header or row
                    fields = len(row)
                    if any(row[len(self.header) :]):
                        raise self._uneven(f"Expected {len(self.header)} fields in line {number}, saw {fields}")
                    self._surplus = self._surplus or fields > len(self.header)
                if fields < len(self.header):
                    if fields == 1:
                        raise self._uneven(f"Expected {len(self.header)} fields in line {number}, saw one")
                    few, first = few + 1, first or number
        if few:
            has = "1 line has" if few == 1 else f"{few:,} lines have"
            told = f"{has} fewer fields than the header, the first is line {first}; what they lack is missing."
            self.remark = f"{self._path}: {told}"

    def _uneven(self, reason: str) -> DataError:
        return DataError(f"{self._path} is not a table: {reason}; expected the same number of fields in every line.")

    @contextmanager
    def _opened(self) -> Iterator[IO[bytes]]:
        """The text's bytes, decompressed and after a UTF-8 mark."""
        compressed = self._path.name.lower().endswith(".gz")
        opener: Any = gzip.open if compressed else open
        try:
            with opener(self._path, "rb") as file:
                if skipped := getattr(self, "_skipped", 0):
                    file.seek(skipped)
                yield file
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise DataError(f"{self._path} is not a complete gzip file; compress it again.") from error

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (pd.errors.ParserError, pd.errors.EmptyDataError, csv.Error) as error:
            raise self._uneven(str(error).strip().removeprefix("Error tokenizing data. C error: ")) from error

    def _look_through(self) -> tuple[bytes, int, bool]:
        """The first bytes, the number of lines, and whether all is UTF-8."""
        head, lines, blank, ended = b"", {b"\n": 0, b"\r": 0}, True, False
        decode: Any = codecs.getincrementaldecoder("utf-8")().decode
        with self._opened() as file:
            while block := file.read(BLOCK):
                head = head or block[:_SNIFFED_BYTES]
                blank = blank and not block.strip()
                ended = block.endswith((b"\n", b"\r"))
                for end in lines:
                    lines[end] += block.count(end)
                decode = _decoded(decode, block)
        if blank:
            raise DataError(f"{self._path} is empty; expected a header line and at least one record.")
        return head, max(lines.values()) + (not ended), _decoded(decode, b"", final=True) is not None

    def _decodes(self, encoding: str) -> bool:
        decode: Any = codecs.getincrementaldecoder(encoding)().decode
        with self._opened() as file:
            while decode is not None and (block := file.read(BLOCK)):
                decode = _decoded(decode, block)
        return _decoded(decode, b"", final=True) is not None


def _decoded(decode: Any, block: bytes, *, final: bool = False) -> Any:
    """`decode` again, or None once something cannot be decoded."""
    try:
        if decode is not None:
            decode(block, final)
        return decode
    except UnicodeDecodeError:
        return None


def _sniff(head: str) -> str:
    """Return the delimiter under which the first lines have equally many fields."""
    best = (0, ",")
    for delimiter in _DELIMITERS:
        # The last line may be cut off in its middle.
        rows = [row for row in csv.reader(io.StringIO(head, newline=""), delimiter=delimiter) if row][:51]
        rows = rows[:-1] if len(rows) > 2 else rows
        header = rows[0] if rows else []
        agreeing = sum(len(row) == len(header) for row in rows)
        if len(header) > 1 and agreeing * len(header) > best[0]:
            best = (agreeing * len(header), delimiter)
    return best[1]
