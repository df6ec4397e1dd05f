"""Any table in, one pandas frame out; files read without losing a character and written without half-written states."""

from __future__ import annotations

import decimal
import gzip
import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd

from anomaly_detection.data.csv_files import CsvFile
from anomaly_detection.data.files import prepare_file, reason, replacing
from anomaly_detection.data.layout import Layout
from anomaly_detection.data.sources import STDIN, Source
from anomaly_detection.data.typed_columns import typed_column
from anomaly_detection.data.well_formed_text import well_formed, well_formed_cells, well_formed_columns
from anomaly_detection.errors import DataError, first_line

__all__ = ["Chunks", "check_target", "read_chunks", "read_table", "table_writer", "to_frame", "write_table"]

FOUND_OUT = Layout()

SMALL_CELLS = 5_000_000
"""Records times columns up to which a file is small: read at once, it takes at most some 1 GB."""

CHUNK_CELLS = 2_000_000
"""Records times columns of a chunk, unless its size is given."""

CSV_SUFFIXES = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz")
PARQUET_SUFFIXES = (".parquet", ".pq")
"""What tables can be written as; `sources.KINDS` has what can be read."""


def to_frame(data: Any) -> pd.DataFrame:
    """Make a pandas frame of any table.

    Parameters
    ----------
    data : DataFrame, polars or pyarrow table, sequence of dicts, dict or 2-D array
        A dict of which every value is a list (or an array) is read as columns, any other dict and a `pandas.Series` as
        one row. Frames of other libraries go through narwhals. A 2-D array gets the column names ``x0, x1, ...``.

    Returns
    -------
    pandas.DataFrame
        At least one row and one column, column names as distinct strings, lone surrogates in texts as escapes
        (``\\ud800``), and in names also NULs. A pandas frame that is so already is returned itself, not copied.

    Raises
    ------
    DataError
        If `data` is no table, holds no row or no column, or names a column twice.
    """
    frame = _convert(data)
    names = [_name(name) for name in frame.columns]
    if names != list(frame.columns):
        frame = frame.set_axis(names, axis=1)
    if not names:
        raise DataError("The table has no columns; expected at least one named column.")
    _refuse_duplicates(names)
    if len(frame) == 0:
        raise DataError("The table has no rows; expected at least one record.")
    return well_formed_columns(_without_signals(frame))


def _without_signals(frame: pd.DataFrame) -> pd.DataFrame:
    """Put None where a signalling NaN stands, which raises when it is compared; without any, the frame itself."""
    changed = {}
    for name, column in frame.items():
        if column.dtype == object:
            try:
                column.isna()
            except decimal.InvalidOperation:
                cells = [None if isinstance(cell, decimal.Decimal) and cell.is_snan() else cell for cell in column]
                changed[str(name)] = pd.Series(cells, frame.index, dtype=object)
    return frame.assign(**changed) if changed else frame


def _name(name: Any) -> str:
    # Numpy's texts, in which features have their names, cannot end in a NUL.
    return well_formed(_text(name)).replace("\0", "\\x00")


def _text(name: Any) -> str:
    try:
        return str(name)
    except Exception as error:
        raise DataError(f"A column is named by a {type(name).__name__} that has no text; name it by a text.") from error


def _convert(data: Any) -> pd.DataFrame:
    if isinstance(data, pd.DataFrame):
        return data
    if isinstance(data, pd.Series):
        return _records([data.to_dict()])
    if isinstance(data, Mapping):
        if data and all(_is_column(value) for value in data.values()):
            return _columns({name: _cells(name, value) for name, value in data.items()})
        return _records([dict(data)])
    if isinstance(data, np.ndarray):
        if data.ndim != 2:
            raise DataError(f"Expected a 2-D array of rows and columns, got {data.ndim} dimension(s).")
        return pd.DataFrame(data, columns=[f"x{i}" for i in range(data.shape[1])])
    if isinstance(data, Sequence) and not isinstance(data, (str, bytes)):
        odd = [type(row).__name__ for row in data if not isinstance(row, Mapping)]
        if odd:
            raise DataError(f"Expected a list of dicts, one a record; it holds a {odd[0]}.")
        return _records([dict(row) for row in data])
    return _from_other_library(data)


def _is_column(value: Any) -> bool:
    # Columns of polars and pyarrow are known by what they can do: neither need be there.
    return isinstance(value, (list, tuple, np.ndarray, pd.Series)) or (
        hasattr(value, "__array__") and hasattr(value, "__len__") and hasattr(value, "to_pandas")
    )


def _cells(name: Any, value: Any) -> Any:
    return value if isinstance(value, (list, tuple, np.ndarray, pd.Series)) else _column(_name(name), value)


def _columns(data: Mapping[Any, Any]) -> pd.DataFrame:
    try:
        return _with_whole_numbers(pd.DataFrame(dict(data)), data.__getitem__)
    except UnicodeEncodeError:
        listed = {name: list(cells) for name, cells in data.items()}
        return _columns(well_formed_cells(listed))
    except ValueError as error:
        raise DataError(
            f"The columns of the dict do not fit together ({first_line(error)}); expected lists of one length."
        ) from error


def _records(rows: list[dict[Any, Any]]) -> pd.DataFrame:
    try:
        frame = pd.DataFrame(rows)
    except UnicodeEncodeError:
        # Pandas' own texts cannot hold a lone surrogate.
        frame = pd.DataFrame(well_formed_cells(rows))
    return _with_whole_numbers(frame, lambda name: [row.get(name) for row in rows])


def _with_whole_numbers(frame: pd.DataFrame, cells_of: Callable[[Any], Sequence[Any]]) -> pd.DataFrame:
    """Put whole numbers some of which are missing back into a new frame, of which pandas has made floats."""
    floats = [name for name, kind in frame.dtypes.items() if kind == np.float64]
    for name in floats:
        missing = frame[name].isna()
        if missing.any() and isinstance(cells := cells_of(name), (list, tuple)):
            present = [None if gap else cell for cell, gap in zip(cells, missing, strict=True)]
            if {type(cell) for cell in present} == {int, type(None)}:
                frame[name] = typed_column(present).set_axis(frame.index)
    return frame


def _from_other_library(data: Any) -> pd.DataFrame:
    import narwhals as nw  # plain pandas input must not pay for these imports
    import pyarrow as pa

    from anomaly_detection.data.arrow_tables import REFUSED, arrow_to_frame

    if isinstance(data, pa.Table):
        _refuse_duplicates(data.column_names)
        try:
            return arrow_to_frame(data)
        except DataError:
            raise
        except (*REFUSED, RecursionError) as error:
            raise DataError(
                f"The Arrow table cannot be read ({first_line(error)}); take its schema's metadata away."
            ) from error
    try:
        table = nw.from_native(data)
    except TypeError as error:
        raise DataError(
            f"Expected a table, got a {type(data).__name__}; give a pandas, polars or pyarrow table, "
            "a list of dicts or one dict."
        ) from error
    # What goes wrong in another library is of its own kinds.
    try:
        if isinstance(table, nw.LazyFrame):
            table = table.collect()
    except Exception as error:
        raise DataError(f"The lazy table cannot be computed: {first_line(error)}; collect it first.") from error
    try:
        return _with_whole_numbers(table.to_pandas(), lambda name: table[name].to_list())
    except Exception:
        return pd.DataFrame({name: _column(name, table[name]) for name in table.columns})


def _column(name: str, column: Any) -> pd.Series[Any]:
    try:
        return pd.Series(column.to_pandas())
    except Exception:
        # Pandas has no such type, but Python has such values.
        return pd.Series(_values(name, column), dtype=object)


def _values(name: str, column: Any) -> list[Any]:
    try:
        return list(column.to_pylist() if hasattr(column, "to_pylist") else column.to_list())
    except Exception as error:
        raise DataError(f"Column {name!r} cannot be read: {first_line(error)}; leave it out.") from error


def _refuse_duplicates(names: Sequence[str]) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        listed = ", ".join(repr(name) for name in twice[:3])
        raise DataError(f"Duplicated column name(s): {listed}; give every column a name of its own.")


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
        or alone in a .zip; or ``-`` for standard input, whose first bytes tell what it is.
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
    return Chunks(Path(path), None, say, layout).whole()


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
    return Chunks(Path(path), rows, say, layout)


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
        path: Path,
        rows: int | None = None,
        say: Callable[[str], None] = _warn,
        layout: Layout = FOUND_OUT,
    ) -> None:
        if rows is not None and rows < 1:
            raise DataError(f"A chunk of {rows} records is asked for; give a whole number from 1 up.")
        self._path = path
        with _reading(path):
            source = Source(path)
            self._file = _opened(source, layout)
        self.label = source.label
        _refuse_duplicates([name for name in self._file.header if name.strip()])
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
        from anomaly_detection.data.parquet_files import types_of

        return types_of(self._frame)

    def chunks(self, rows: int) -> Iterator[pd.DataFrame]:
        for first in range(0, len(self._frame), rows):
            yield self._frame.iloc[first : first + rows]


def _opened(source: Source, layout: Layout) -> Any:
    """A file of any kind as what gives frames; each kind's libraries are loaded for it alone."""
    if source.kind == "csv":
        return CsvFile(source, layout)
    if source.kind == "parquet":
        from anomaly_detection.data.parquet_files import ParquetFile

        return ParquetFile(source, layout)
    if source.kind == "json":
        from anomaly_detection.data.json_files import read_json

        return _Held(read_json(source, layout))
    from anomaly_detection.data.excel_files import read_excel

    return _Held(*read_excel(source, layout))


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist; check the path.") from error
    except IsADirectoryError as error:
        raise DataError(f"{path} is a folder; give a file.") from error
    except OSError as error:
        label = "Standard input" if str(path) == STDIN else path
        raise DataError(f"{label} cannot be read: {reason(error)}.") from error


def _kind_to_write(path: Path) -> str:
    name = path.name.lower()
    if name.endswith(CSV_SUFFIXES):
        return "csv"
    if name.endswith(PARQUET_SUFFIXES):
        return "parquet"
    known = ", ".join((*CSV_SUFFIXES[:3], ".csv.gz", *PARQUET_SUFFIXES))
    what = "is a folder" if os.path.isdir(path) else "has an unknown extension"
    raise DataError(f"{path} {what}; expected one of {known}.")


def write_table(frame: pd.DataFrame, path: str | os.PathLike[str]) -> None:
    """Write a frame as CSV or Parquet, by the path's extension; an interrupted write leaves what was there before.

    Parameters
    ----------
    frame : pandas.DataFrame
        The table; its index is not written.
    path : path
        Ends in .csv, .tsv, .txt, each also with .gz, .parquet or .pq; missing parent folders are created.

    Raises
    ------
    DataError
        If the extension is unknown or the folder cannot be written.
    """
    with table_writer(path) as write:
        write(frame)


@contextmanager
def table_writer(path: str | os.PathLike[str], types: Any = None) -> Iterator[Callable[[pd.DataFrame], None]]:
    """Give a function that appends a frame to a new file, which takes `path`'s place when the block ends well.

    Parameters
    ----------
    path : path
        As for `write_table`.
    types : pyarrow.Schema, optional
        Of columns that were read from a file (`Chunks.types`), for one whose first values are all missing.

    Raises
    ------
    DataError
        As `write_table`; also for a frame that does not fit to the ones before.
    """
    kind = _kind_to_write(Path(path))
    columns: list[str] = []
    with replacing(path) as temporary, _appending(temporary, kind, types) as append:

        def write(frame: pd.DataFrame) -> None:
            if columns and columns != list(frame.columns):
                raise DataError(f"The columns {list(frame.columns)} do not fit to those written before, {columns}.")
            append(frame, not columns)
            columns[:] = frame.columns

        yield write


@contextmanager
def _appending(path: Path, kind: str, types: Any) -> Iterator[Callable[[pd.DataFrame, bool], None]]:
    """Give a function that appends a frame to the file `path`, and is told which one is the first."""
    name = path.name.lower()
    if kind == "parquet":
        from anomaly_detection.data.parquet_files import ParquetWriter

        writer = ParquetWriter(path, types)
        try:
            yield lambda frame, first: writer.write(frame)
        finally:
            writer.close()
        return
    opener: Any = gzip.open if name.endswith(".gz") else open
    separator = "\t" if name.removesuffix(".gz").endswith(".tsv") else ","
    with opener(path, "wt", encoding="utf-8", newline="") as file:
        lines: Any = _Lines(file)
        # With this end, which lines do not get, a cell that holds any half of it is put into quotes.
        yield lambda frame, first: frame.to_csv(lines, index=False, sep=separator, header=first, lineterminator="\r\n")


class _Lines:
    """A file that is given lines, each with its end, and ends them as Unix does."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def write(self, line: str) -> int:
        return self._file.write(line.removesuffix("\r\n") + "\n")


def check_target(path: str | os.PathLike[str]) -> None:
    """Raise the `DataError` that `write_table` would raise for `path`, before long work and not after it."""
    _kind_to_write(Path(path))
    prepare_file(path)
