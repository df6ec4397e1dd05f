"""CSV files in which every line is a record with as many fields as the header, read by Arrow: the fast way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import IO

import pandas as pd
import pyarrow as pa
import pyarrow.csv

from anomaly_detection.data.formats.csv_dialect import Dialect

__all__ = ["REFUSED", "is_plain", "plain_frames"]

REFUSED = pa.ArrowInvalid
"""What Arrow raises for lines that are no such records."""

_DELIMITERS = ",;\t|"
_ENCODINGS = ("utf-8", "cp1252", "latin-1")
_BLOCK = 1 << 20
_LARGEST_BLOCK = 1 << 26
_BYTES_A_CHARACTER = 4


def is_plain(head: bytes, encoding: str, dialect: Dialect, first: int, longest: int) -> bool:
    """Whether Arrow reads a file as Python's own reader does, if each line is a record with all fields.

    Parameters
    ----------
    head : bytes
        Its beginning.
    encoding : str
    dialect : Dialect
    first : int
        Lines before the first record; Arrow looks for them in its first block only.
    longest : int
        Characters of the longest record, which must lie within two blocks.
    """
    return (
        encoding in _ENCODINGS
        and dialect.delimiter in _DELIMITERS
        and dialect.quoted
        and not dialect.ruled
        and not dialect.blanks
        and not dialect.escaped
        and first < len(head.splitlines())
        and _BYTES_A_CHARACTER * longest <= _LARGEST_BLOCK
    )


def plain_frames(
    file: IO[bytes], encoding: str, dialect: Dialect, first: int, longest: int, header: Sequence[str], rows: int
) -> Iterator[pd.DataFrame]:
    """Read a file that `is_plain`, `rows` records at a time, every cell as the text it is.

    Raises
    ------
    REFUSED
        For a line that is no record with all fields: the file has changed since it was looked through.
    """
    names = [str(place) for place in range(len(header))]
    batches = pyarrow.csv.open_csv(
        pa.input_stream(file),
        pyarrow.csv.ReadOptions(
            column_names=names,
            skip_rows=first,
            encoding=encoding,
            use_threads=False,
            block_size=max(_BLOCK, _BYTES_A_CHARACTER * longest),
        ),
        pyarrow.csv.ParseOptions(delimiter=dialect.delimiter, newlines_in_values=True),
        pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.large_string()), strings_can_be_null=False),
    )
    held: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        while count + len(batch) >= rows:
            held.append(batch.slice(0, rows - count))
            batch = batch.slice(rows - count)
            yield _frame(held, header)
            held, count = [], 0
        if len(batch):
            held.append(batch)
            count += len(batch)
    if held:
        yield _frame(held, header)


def _frame(batches: list[pa.RecordBatch], header: Sequence[str]) -> pd.DataFrame:
    # In one piece, whose columns pandas takes without copying them.
    table = pa.Table.from_batches(batches).combine_chunks()
    frame: pd.DataFrame = table.to_pandas()
    return frame.set_axis(list(header), axis=1)
