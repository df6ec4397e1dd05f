"""Parquet files: read whole or in chunks of the same types, and written chunk by chunk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from anomaly_detection.data.formats.arrow_tables import arrow_to_frame
from anomaly_detection.data.formats.layout import Layout
from anomaly_detection.data.formats.packed_columns import PackedColumns
from anomaly_detection.data.sources import Source
from anomaly_detection.errors import DataError, first_line
from anomaly_detection.texts.said import say

__all__ = ["ParquetFile", "ParquetWriter", "explained", "types_of"]

_DAMAGED = (
    pa.ArrowException,
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    MemoryError,
    RecursionError,
)
"""What Arrow and pandas raise for bytes that are none of theirs: their notes on columns may be damaged as well."""


class ParquetFile:
    """A Parquet file.

    Parameters
    ----------
    source : Source
        Its bytes.
    layout : Layout
        That of a file that names its columns itself.

    Attributes
    ----------
    header : list of str
        Also of what pandas stored as an index.
    about_rows : int
        The number of records.
    types : pyarrow.Schema
        Of the columns, as stored.

    Raises
    ------
    DataError
        For a file that is empty or no Parquet.
    OSError
        If it cannot be read.
    """

    def __init__(self, source: Source, layout: Layout) -> None:
        layout.refuse(source.label)
        self._source = source
        if not source.start():
            raise DataError(say("%(label)s is empty; expected a Parquet table.", label=source.label))
        with self._opened() as file:
            self.types: pa.Schema = file.schema_arrow
            self.about_rows: int = file.metadata.num_rows
        self.header: list[str] = list(self.types.names)

    def read(self) -> pd.DataFrame:
        """All records."""
        with self._opened() as file:
            return arrow_to_frame(file.read())

    def chunks(self, rows: int) -> Iterator[pd.DataFrame]:
        """`rows` records at a time, the last time fewer; in the types that reading all of them gives."""
        with self._opened() as file:
            packed = PackedColumns(file, rows)
            gaps = self._with_gaps(file)
        if packed.inner:
            with self._opened(packed.inner) as file:
                packed.refuse_inner(file)
        with self._opened(packed.shared) as file:
            waiting: pa.Table = self.types.empty_table()
            so_far = Counter[str]()
            for batch in packed.batches(file):
                waiting = pa.concat_tables([waiting, packed.unpacked(batch, self.types, so_far)])
                if waiting.num_rows >= rows:
                    so_far.clear()
                    yield arrow_to_frame(waiting.slice(0, rows), gaps)
                    waiting = waiting.slice(rows)
            if waiting.num_rows:
                yield arrow_to_frame(waiting, gaps)

    @staticmethod
    def _with_gaps(file: pq.ParquetFile) -> set[str]:
        """The whole numbers and truth values that are missing somewhere, for which pandas has other types then."""
        whole = [f.name for f in file.schema_arrow if pa.types.is_integer(f.type) or pa.types.is_boolean(f.type)]
        gaps: set[str] = set()
        # Statistics may lack the counts.
        for batch in file.iter_batches(columns=whole) if whole else ():
            gaps.update(name for name in batch.schema.names if batch.column(name).null_count)
        return gaps

    @contextmanager
    def _opened(self, coded: Sequence[str] = ()) -> Iterator[pq.ParquetFile]:
        with (
            self._source.random_access() as raw,
            explained(self._source.label),
            pq.ParquetFile(raw, read_dictionary=list(coded)) as file,
        ):
            yield file


@contextmanager
def explained(label: str) -> Iterator[None]:
    """Make `DataError`, which names the file, of what Arrow raises where it is no Parquet; the system's own pass."""
    try:
        yield
    except _DAMAGED as error:
        # The system's own errors have a number.
        if isinstance(error, DataError) or getattr(error, "errno", None) is not None:
            raise
        raise DataError(
            say(
                "%(label)s is not a Parquet table, or a damaged one (%(error)s); export it again or give a CSV file.",
                label=label,
                error=first_line(error).rstrip("."),
            )
        ) from error


def types_of(frame: pd.DataFrame) -> pa.Schema:
    """The types in which Parquet holds a frame's columns, without those that it cannot hold."""
    fields = []
    for name in frame.columns:
        with suppress(pa.ArrowException):
            fields.append(pa.Schema.from_pandas(frame[[name]], preserve_index=False).field(name))
    return pa.schema(fields)


class ParquetWriter:
    """Writes frames of the same columns one after the other; the types are those of the first.

    Parameters
    ----------
    path : Path
        Or a file of Arrow's that is open for writing.
    types : pyarrow.Schema, optional
        Of columns that were read from a file: what the first frame holds need not tell them.
    """

    def __init__(self, path: Path | Any, types: pa.Schema | None = None) -> None:
        self._path = path
        self._types = types
        self._writer: Any = None

    def write(self, frame: pd.DataFrame) -> None:
        """Append `frame`; its index is left out."""
        try:
            if self._writer is None:
                self._writer = pq.ParquetWriter(self._path, self.schema(frame))
            self._writer.write_table(pa.Table.from_pandas(frame, self._writer.schema, preserve_index=False))
        except pa.ArrowException as error:
            raise DataError(f"The table does not fit into Parquet ({first_line(error)}); write a CSV file.") from error

    def close(self, notes: Mapping[str, str] | None = None) -> None:
        """Finish the file, with `notes` in its footer."""
        if self._writer is not None:
            if notes:
                self._writer.add_key_value_metadata(notes)
            self._writer.close()

    def schema(self, frame: pd.DataFrame) -> pa.Schema:
        """The types that columns like those of `frame` are written in."""
        # Maps come as lists of pairs, of which Arrow could not tell the type.
        stored = () if self._types is None else self._types
        read = {field.name: field for field in stored if field.name in frame and frame[field.name].dtype == object}
        told = pa.Schema.from_pandas(frame.drop(columns=list(read)), preserve_index=False)
        fields = []
        for name in frame.columns:
            field = read[name] if name in read else told.field(name)
            if pa.types.is_dictionary(field.type):
                # Later frames may have more levels than an index of this one's size can number.
                field = field.with_type(pa.dictionary(pa.int32(), field.type.value_type, field.type.ordered))
            fields.append(field.with_nullable(True))
        return pa.schema(fields, told.metadata)
