"""Any table in, one pandas frame out; files read without losing a character and written without half-written states."""

from __future__ import annotations

import csv
import gzip
import io
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anomaly_detection.errors import DataError
from anomaly_detection.files import prepare_folder, replacing

__all__ = ["check_target", "read_table", "to_frame", "write_table"]

CSV_SUFFIXES = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz")
PARQUET_SUFFIXES = (".parquet", ".pq")
_DELIMITERS = ",;\t|"
_SNIFFED_BYTES = 1 << 16


def to_frame(data: Any) -> pd.DataFrame:
    """Make a pandas frame of any table.

    Parameters
    ----------
    data : DataFrame, polars or pyarrow table, sequence of dicts, dict or 2-D array
        A dict of lists (or arrays) is read as columns, any other dict and a `pandas.Series` as one row. Frames of other
        libraries go through narwhals. A 2-D array gets the column names ``x0, x1, ...``.

    Returns
    -------
    pandas.DataFrame
        At least one row and one column, column names as distinct strings. A pandas frame that is so already is
        returned itself, not copied.

    Raises
    ------
    DataError
        If `data` is no table, holds no row or no column, or names a column twice.
    """
    frame = _convert(data)
    names = [str(name) for name in frame.columns]
    if names != list(frame.columns):
        frame = frame.set_axis(names, axis=1)
    if not names:
        raise DataError("The table has no columns; expected at least one named column.")
    _refuse_duplicates(names)
    if len(frame) == 0:
        raise DataError("The table has no rows; expected at least one record.")
    return frame


def _convert(data: Any) -> pd.DataFrame:
    if isinstance(data, pd.DataFrame):
        return data
    if isinstance(data, pd.Series):
        return pd.DataFrame([data.to_dict()])
    if isinstance(data, Mapping):
        if any(isinstance(value, (list, tuple, np.ndarray, pd.Series)) for value in data.values()):
            try:
                return pd.DataFrame(dict(data))
            except ValueError as error:
                raise DataError(
                    f"The columns of the dict do not fit together ({error}); expected lists of one length."
                ) from error
        return pd.DataFrame([dict(data)])
    if isinstance(data, np.ndarray):
        if data.ndim != 2:
            raise DataError(f"Expected a 2-D array of rows and columns, got {data.ndim} dimension(s).")
        return pd.DataFrame(data, columns=[f"x{i}" for i in range(data.shape[1])])
    if isinstance(data, Sequence) and not isinstance(data, (str, bytes)):
        odd = next((row for row in data if not isinstance(row, Mapping)), None)
        if odd is not None:
            raise DataError(f"Expected a list of dicts, one a record; it holds a {type(odd).__name__}.")
        return pd.DataFrame([dict(row) for row in data])
    return _from_other_library(data)


def _from_other_library(data: Any) -> pd.DataFrame:
    import narwhals as nw  # plain pandas input must not pay for this import

    try:
        table = nw.from_native(data)
    except TypeError as error:
        raise DataError(
            f"Expected a table, got a {type(data).__name__}; give a pandas, polars or pyarrow table, "
            "a list of dicts or one dict."
        ) from error
    if isinstance(table, nw.LazyFrame):
        table = table.collect()
    return table.to_pandas()


def _refuse_duplicates(names: Sequence[str]) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        listed = ", ".join(repr(name) for name in twice[:3])
        raise DataError(f"Duplicated column name(s): {listed}; give every column a name of its own.")


def read_table(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read a CSV or Parquet file.

    Every CSV cell is kept as the text it is (the schema reads numbers and dates from it later), so nothing is
    lost: not leading zeros, not ``N/A``, not blanks. The delimiter (``, ; tab |``) is found from the first lines; the
    text may be UTF-8 with or without a byte-order mark, UTF-16 with one, or Windows-1252.

    Parameters
    ----------
    path : path
        A file that ends in .csv, .tsv, .txt (each also with .gz), .parquet or .pq.

    Returns
    -------
    pandas.DataFrame
        Rows in the file's order.

    Raises
    ------
    DataError
        If the file is missing, unreadable, empty, a folder, of an unknown kind, not a table, or names a column twice.
    """
    source = Path(path)
    kind = _kind(source)
    if source.is_dir():
        raise DataError(f"{source} is a folder; give a CSV or Parquet file.")
    try:
        if kind == "parquet":
            return to_frame(_read_parquet(source))
        return _parse_csv(_csv_bytes(source), source)
    except FileNotFoundError as error:
        raise DataError(f"{source} does not exist; check the path.") from error
    except OSError as error:
        raise DataError(f"{source} cannot be read: {error.strerror or error}.") from error


def _kind(path: Path) -> str:
    name = path.name.lower()
    if name.endswith(CSV_SUFFIXES):
        return "csv"
    if name.endswith(PARQUET_SUFFIXES):
        return "parquet"
    if path.is_dir():
        return "folder"
    known = ", ".join((*CSV_SUFFIXES[:3], ".csv.gz", *PARQUET_SUFFIXES))
    raise DataError(f"{path} has an unknown extension; expected one of {known}.")


def _read_parquet(path: Path) -> pd.DataFrame:
    import pyarrow

    if not path.exists():
        raise FileNotFoundError(path)
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty; expected a Parquet table.")
    try:
        return pd.read_parquet(path)
    except (pyarrow.ArrowException, ValueError) as error:
        raise DataError(f"{path} is not a Parquet table; export it again or give a CSV file.") from error


def _csv_bytes(path: Path) -> bytes:
    raw = path.read_bytes()
    if path.name.lower().endswith(".gz"):
        try:
            raw = gzip.decompress(raw)
        except (gzip.BadGzipFile, EOFError) as error:
            raise DataError(f"{path} is not a complete gzip file; compress it again.") from error
    if not raw.strip():
        raise DataError(f"{path} is empty; expected a header line and at least one record.")
    return raw


def _decode(raw: bytes) -> tuple[bytes, str]:
    """Strip a byte-order mark and name the encoding; real exports carry a UTF-8 mark before Windows-1252 text."""
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return raw.decode("utf-16").encode("utf-8"), "utf-8"
    raw = raw.removeprefix(b"\xef\xbb\xbf")
    for encoding in ("utf-8", "cp1252"):
        try:
            raw.decode(encoding)
        except UnicodeDecodeError:
            continue
        return raw, encoding
    return raw, "latin-1"


def _parse_csv(raw: bytes, path: Path) -> pd.DataFrame:
    raw, encoding = _decode(raw)
    if b"\x00" in raw[:_SNIFFED_BYTES]:
        raise DataError(f"{path} is not a table: it holds binary data; give a CSV or Parquet file.")
    delimiter, header = _sniff(raw[:_SNIFFED_BYTES].decode(encoding, errors="replace"))
    _refuse_duplicates([name for name in header if name.strip()])
    try:
        frame = pd.read_csv(
            io.BytesIO(raw),
            sep=delimiter,
            encoding=encoding,
            dtype=str,
            keep_default_na=False,
            na_filter=False,
            index_col=False,
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        reason = str(error).strip().removeprefix("Error tokenizing data. C error: ")
        raise DataError(
            f"{path} is not a table: {reason}; expected the same number of fields in every line."
        ) from error
    if len(frame) == 0:
        raise DataError(f"{path} has a header but no records; expected at least one.")
    return to_frame(frame)


def _sniff(head: str) -> tuple[str, list[str]]:
    """Return the delimiter under which the first lines have equally many fields, and the header's names."""
    best: tuple[int, str, list[str]] = (0, ",", [])
    for delimiter in _DELIMITERS:
        # The last line may be cut off in its middle.
        rows = [row for row in csv.reader(io.StringIO(head), delimiter=delimiter) if row][:51]
        rows = rows[:-1] if len(rows) > 2 else rows
        header = rows[0] if rows else []
        agreeing = sum(len(row) == len(header) for row in rows)
        if len(header) > 1 and agreeing * len(header) > best[0]:
            best = (agreeing * len(header), delimiter, header)
    if not best[2]:
        best = (0, ",", next(csv.reader(io.StringIO(head)), []))
    return best[1], best[2]


def write_table(frame: pd.DataFrame, path: str | os.PathLike[str]) -> None:
    """Write a frame as CSV or Parquet, by the path's extension; an interrupted write leaves what was there before.

    Parameters
    ----------
    frame : pandas.DataFrame
        The table; its index is not written.
    path : path
        Ends as `read_table` asks; missing parent folders are created.

    Raises
    ------
    DataError
        If the extension is unknown or the folder cannot be written.
    """
    kind = _check_name(Path(path))
    with replacing(path) as temporary:
        if kind == "parquet":
            _write_parquet(frame, temporary)
        else:
            name = Path(path).name.lower()
            separator = "\t" if ".tsv" in name else ","
            compression: Any = "gzip" if name.endswith(".gz") else None
            frame.to_csv(temporary, index=False, sep=separator, compression=compression)


def _write_parquet(frame: pd.DataFrame, path: Path) -> None:
    import pyarrow

    try:
        frame.to_parquet(path, index=False)
    except pyarrow.ArrowException as error:
        first = str(error).splitlines()[0]
        raise DataError(f"The table does not fit into Parquet ({first}); write a CSV file.") from error


def check_target(path: str | os.PathLike[str]) -> None:
    """Raise the `DataError` that `write_table` would raise for `path`, before long work and not after it."""
    _check_name(Path(path))
    prepare_folder(Path(path).parent)


def _check_name(target: Path) -> str:
    kind = _kind(target)
    if target.is_dir():
        raise DataError(f"{target} is a folder; give a file name.")
    return kind
