"""Tables written to files, or to databases, whole or not at all."""

from __future__ import annotations

import gzip
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pandas as pd

from anomaly_detection.data.databases.sql_location import SqlLocation, is_database
from anomaly_detection.data.files import prepare_file, replacing
from anomaly_detection.data.formats.csv_lines import csv_lines
from anomaly_detection.errors import DataError

__all__ = ["check_target", "table_writer", "write_table"]

CSV_SUFFIXES = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz")
PARQUET_SUFFIXES = (".parquet", ".pq")
"""What tables can be written as; `sources.KINDS` has what can be read."""


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
        As for `write_table`; or a URL of a table, as `SqlLocation.of` takes it.
    types : pyarrow.Schema, optional
        Of columns that were read from a file (`Chunks.types`), for one whose first values are all missing.

    Raises
    ------
    DataError
        As `write_table`; also for a frame that does not fit to the ones before.
    """
    columns: list[str] = []
    with _opened(path, types) as append:

        def write(frame: pd.DataFrame) -> None:
            if columns and columns != list(frame.columns):
                raise DataError(f"The columns {list(frame.columns)} do not fit to those written before, {columns}.")
            append(frame, not columns)
            columns[:] = frame.columns

        yield write


@contextmanager
def _opened(path: str | os.PathLike[str], types: Any) -> Iterator[Callable[[pd.DataFrame, bool], None]]:
    """Give a function that appends a frame to what becomes of `path`, and is told which one is the first."""
    if is_database(path):
        from anomaly_detection.data.databases.sql_writing import sql_writer

        with sql_writer(SqlLocation.of(str(path), writing=True), types) as write:
            yield lambda frame, first: write(frame)
        return
    kind = _kind_to_write(Path(path))
    with replacing(path) as temporary, _appending(temporary, kind, types) as append:
        yield append


@contextmanager
def _appending(path: Path, kind: str, types: Any) -> Iterator[Callable[[pd.DataFrame, bool], None]]:
    """Give a function that appends a frame to the file `path`, and is told which one is the first."""
    name = path.name.lower()
    if kind == "parquet":
        from anomaly_detection.data.formats.parquet_files import ParquetWriter

        writer = ParquetWriter(path, types)
        try:
            yield lambda frame, first: writer.write(frame)
        finally:
            writer.close()
        return
    opener: Any = gzip.open if name.endswith(".gz") else open
    separator = "\t" if name.removesuffix(".gz").endswith(".tsv") else ","
    with opener(path, "wb") as file:
        yield lambda frame, first: _append_csv(file, frame, separator, header=first)


def _append_csv(file: Any, frame: pd.DataFrame, separator: str, *, header: bool) -> None:
    """Write a frame's lines, with a `header` above them: as bytes of whole columns, or cell by cell."""
    lines = csv_lines(frame, separator)
    if header or lines is None:
        text = io.TextIOWrapper(file, "utf-8", newline="")
        by_cells: Any = frame if lines is None else frame.iloc[:0]
        # With this end, which lines do not get, a cell that holds any half of it is put into quotes.
        by_cells.to_csv(_Lines(text), index=False, sep=separator, header=header, lineterminator="\r\n")
        text.detach()
    for some in lines or ():
        file.write(some)


class _Lines:
    """A file that is given lines, each with its end, and ends them as Unix does."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def write(self, line: str) -> int:
        return self._file.write(line.removesuffix("\r\n") + "\n")


def check_target(path: str | os.PathLike[str]) -> None:
    """Raise the `DataError` that `write_table` would raise for `path`, before long work and not after it."""
    if is_database(path):
        from anomaly_detection.data.databases.sql_writing import check_sql_target

        check_sql_target(SqlLocation.of(str(path), writing=True))
        return
    _kind_to_write(Path(path))
    prepare_file(path)
