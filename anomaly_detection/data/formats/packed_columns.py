"""`PackedColumns`: which columns of a Parquet file may take far more memory than the file, and how to read them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from anomaly_detection.data.formats.unpacked_size import USUAL, laid_out, refuse_bomb

__all__ = ["PackedColumns"]

_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "INT96": 12, "FLOAT": 4, "DOUBLE": 8}
_AT_LEAST = 16
"""Rows of a batch: a cell whose text begins as that before it takes no room in the file, and can only be counted once
it is read."""


class PackedColumns:
    """Looks at a file's own account of its columns before any is read, and at their codes before texts are made.

    Parameters
    ----------
    file : pyarrow.parquet.ParquetFile
    rows : int
        Records that are wanted at once.

    Attributes
    ----------
    shared : list of str
        Paths of columns of texts to read as codes, with each text once.
    inner : list of str
        Paths of texts in lists and objects, to look at by `refuse_inner`.

    Raises
    ------
    DataError
        For a column that takes far more room than the file.
    """

    def __init__(self, file: pq.ParquetFile, rows: int) -> None:
        schema, metadata = file.schema, file.metadata
        self.shared: list[str] = []
        self._at_once = rows
        self._by_group = False
        self._packed = Counter[str]()
        self.inner: list[str] = []
        for place in range(len(schema)):
            column = schema.column(place)
            chunks = [metadata.row_group(group).column(place) for group in range(metadata.num_row_groups)]
            name = column.path.split(".")[0]
            packed = sum(chunk.total_compressed_size for chunk in chunks)
            self._packed[name] += packed
            largest = max((chunk.total_uncompressed_size for chunk in chunks), default=0)
            if column.physical_type != "BYTE_ARRAY":
                width = _WIDTHS.get(column.physical_type, column.length)
                # Of a column without lists a value is a row.
                most = max((chunk.num_values for chunk in chunks), default=0)
                refuse_bomb(name, width * (most if column.max_repetition_level else min(most, rows)), packed)
                continue
            refuse_bomb(name, largest, packed)
            is_inner = column.path != name
            if min(rows, metadata.num_rows) * largest <= USUAL and not is_inner:
                continue
            self._by_group = True
            has_codes = any(chunk.has_dictionary_page for chunk in chunks)
            if is_inner or any("DELTA_BYTE_ARRAY" in chunk.encodings for chunk in chunks):
                # Arrow reads no codes of these, or not always.
                self._at_once = min(self._at_once, max(_AT_LEAST, USUAL // max(1, largest)))
                if is_inner and has_codes:
                    self.inner.append(column.path)
            elif has_codes:
                self.shared.append(column.path)

    def refuse_inner(self, file: pq.ParquetFile) -> None:
        """Raise `DataError` for lists and objects in which texts are shared, by their codes; `file` gives `inner` so.

        Where a row group has codes and texts for the same column, Arrow gives neither.
        """
        for path in self.inner:
            name = path.split(".")[0]
            with suppress(pa.ArrowNotImplementedError):
                for batch in self.batches(file, [path]):
                    refuse_bomb(name, laid_out(batch.column(0)), self._packed[name])

    def batches(self, file: pq.ParquetFile, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """What may be read at once of all columns, or some; a batch may end with its row group, however short."""
        if not self._by_group:
            yield from file.iter_batches(self._at_once, columns=columns)
            return
        # Each group has texts of its own, all of which are read for a single row.
        for group in range(file.num_row_groups):
            yield from file.iter_batches(self._at_once, row_groups=[group], columns=columns)

    def unpacked(self, batch: pa.RecordBatch, types: pa.Schema, so_far: Counter[str]) -> pa.Table:
        """A batch as a table of these types; raises `DataError` where it, with the bytes `so_far`, gets too large."""
        columns: list[Any] = []
        for field, array in zip(types, batch.columns, strict=True):
            so_far[field.name] += laid_out(array)
            refuse_bomb(field.name, so_far[field.name], self._packed[field.name])
            columns.append(array if array.type == field.type else array.dictionary_decode().cast(field.type))
        return pa.Table.from_arrays(columns, schema=types)
