"""Tables read from files without losing a character, at once or some records at a time."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from anomaly_detection.data.databases.sql_location import is_database
from anomaly_detection.data.files import reason
from anomaly_detection.data.formats.csv_files import CsvFile
from anomaly_detection.data.formats.layout import Layout
from anomaly_detection.data.frames import refuse_duplicates, to_frame
from anomaly_detection.data.sources import STDIN, Source
from anomaly_detection.errors import DataError

__all__ = ["Chunks", "read_chunks", "read_table"]

FOUND_OUT = Layout()

SMALL_CELLS = 5_000_000
"""Records times columns up to which a file is small: read at once, it takes at most some 1 GB."""

CHUNK_CELLS = 1_000_000
"""Records times columns of a chunk, unless its size is given; two are held at a time."""


def _warn(text: str) -> None:
    warnings.warn(text, stacklevel=4)


def read_table(
    path: str | os.PathLike[str], say: Callable[[str], None] = _warn, layout: Layout = FOUND_OUT
) -> pd.DataFrame:
    """Read a CSV, Parquet, JSON or Excel file.

    Every CSV cell is kept as the text it is (the schema reads numbers and dates from it later), so nothing is
    lost: not leading zeros, not ``N/A``, not blanks. The delimiter (``, ; tab |``, or what a first line ``sep=;`` says)
    and the line with the header are found from the first lines; the text may be UTF-8 with or without a byte-order
    mark, UTF-16 with one, or Windows-1252. Lines that disagree with the header are an error, those in which all fields
    are blank are left out. Whole numbers stay whole in the other formats, also where some are missing.

    Parameters
    ----------
    path : path
        A file that ends in .csv, .tsv, .txt, .parquet, .pq, .jsonl, .ndjson, .json (one object a line, or an array of
        them), .xlsx, .xlsm, .xlsb, .xls or .ods (which need ``pip install 'mlx-iforest[excel]'``), each also with .gz,
        or alone in a .zip; or ``-`` for standard input, whose first bytes tell what it is. Or, as a text, a URL of a
        database such as ``sqlite:///orders.db?table=orders`` (needs ``pip install 'mlx-iforest[sql]'``).
    say : callable, optional
        Takes a remark on the file: that lines were left out, say. A Python warning if not given.
    layout : Layout, optional
        Where in the file the table lies; that is found out if it is not given.

    Returns
    -------
    pandas.DataFrame
        Rows in the file's order.

    Raises
    ------
    DataError
        If the file is missing, unreadable, empty, a folder, of an unknown kind, not a table, or names a column twice;
        if it is an archive that would grow to more than 4 GB and 100 times its size.
    """
    return Chunks(path, None, say, layout).whole()


def read_chunks(
    path: str | os.PathLike[str],
    rows: int | None = None,
    say: Callable[[str], None] = _warn,
    layout: Layout = FOUND_OUT,
) -> Chunks:
    """Read a file some records at a time, by the rules of `read_table`.

    Parameters
    ----------
    path : path
        As for `read_table`. JSON and Excel files are read whole all the same.
    rows : int, optional
        Records of a chunk, at least 1; as many as make `CHUNK_CELLS` cells if not given.
    say : callable, optional
        As for `read_table`.
    layout : Layout, optional
        As for `read_table`.

    Returns
    -------
    Chunks

    Raises
    ------
    DataError
        As `read_table`; what only reading on can show is raised when a chunk is asked for.
    """
    return Chunks(path, rows, say, layout)


class Chunks:
    """The records of a file, some at a time: frames whose index goes on from one to the next.

    It can be iterated several times, and each time reads the file anew. All frames together equal what `read_table`
    gives. For a CSV file, making one reads through the file twice, since one byte at its end can decide how it is
    encoded, and one line with too many fields whether it is a table.

    Attributes
    ----------
    label : str
        What to call the file in messages.
    rows : int
        Records of a chunk; the last has fewer.
    about_rows : int
        Records of the file.
    is_small : bool
        Whether it has at most `SMALL_CELLS` cells.
    types : pyarrow.Schema or None
        Of the columns of any file but a CSV one, as far as they can be told.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        rows: int | None = None,
        say: Callable[[str], None] = _warn,
        layout: Layout = FOUND_OUT,
    ) -> None:
        if rows is not None and rows < 1:
            raise DataError(f"A chunk of {rows} records is asked for; give a whole number from 1 up.")
        # A path would take slashes out of a URL.
        given = str(path) if is_database(path) else Path(path)
        self._path = path
        with _reading(path):
            source = Source(given)
            self._file = _opened(source, layout)
        self.label = source.label
        refuse_duplicates([name for name in self._file.header if name.strip()])
        columns = max(1, len(self._file.header))
        self.rows = rows or max(1, CHUNK_CELLS // columns)
        self.about_rows: int = self._file.about_rows
        self.is_small = self.about_rows * columns <= SMALL_CELLS
        for remark in getattr(self._file, "remarks", ()):
            say(remark)

    def __iter__(self) -> Iterator[pd.DataFrame]:
        first = 0
        with _reading(self._path):
            for chunk in self._file.chunks(self.rows):
                last = first + len(chunk)
                yield to_frame(chunk).set_axis(pd.RangeIndex(first, last), axis=0)
                first = last
                # Else it would be held while the next one is read.
                del chunk
        if first == 0:
            raise DataError("The table has no rows; expected at least one record.")

    @property
    def types(self) -> Any:
        return getattr(self._file, "types", None)

    def whole(self) -> pd.DataFrame:
        """All records at once."""
        with _reading(self._path):
            return to_frame(self._file.read())


class _Held:
    """A table that can only be read whole."""

    def __init__(self, frame: pd.DataFrame, remarks: Sequence[str] = ()) -> None:
        self._frame = frame
        self.header, self.about_rows, self.remarks = list(frame.columns), len(frame), remarks

    def read(self) -> pd.DataFrame:
        return self._frame

    @property
    def types(self) -> Any:
        from anomaly_detection.data.formats.parquet_files import types_of

        return types_of(self._frame)

    def chunks(self, rows: int) -> Iterator[pd.DataFrame]:
        for first in range(0, len(self._frame), rows):
            yield self._frame.iloc[first : first + rows]


def _opened(source: Source, layout: Layout) -> Any:
    """A file of any kind as what gives frames; each kind's libraries are loaded for it alone."""
    if source.kind == "csv":
        return CsvFile(source, layout)
    if source.kind == "parquet":
        from anomaly_detection.data.formats.parquet_files import ParquetFile

        return ParquetFile(source, layout)
    if source.kind == "json":
        from anomaly_detection.data.formats.json_files import read_json

        return _Held(read_json(source, layout))
    from anomaly_detection.data.formats.excel_files import read_excel

    return _Held(*read_excel(source, layout))


@contextmanager
def _reading(path: str | os.PathLike[str]) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist; check the path.") from error
    except IsADirectoryError as error:
        raise DataError(f"{path} is a folder; give a file.") from error
    except OSError as error:
        label = "Standard input" if str(path) == STDIN else path
        raise DataError(f"{label} cannot be read: {reason(error)}.") from error
