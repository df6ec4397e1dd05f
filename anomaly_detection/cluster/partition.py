"""`Partition`: a row group of a Parquet file, and how the records in it are read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from anomaly_detection.cluster.store import Entry, Store
from anomaly_detection.data.chunks import CHUNK_CELLS, SMALL_CELLS
from anomaly_detection.data.files import reason
from anomaly_detection.data.formats.arrow_tables import arrow_to_frame
from anomaly_detection.data.formats.parquet_files import explained
from anomaly_detection.data.frames import to_frame
from anomaly_detection.errors import DataError

__all__ = ["Failure", "FileFacts", "Partition", "RowGroup", "look_at"]

_FOOTERS = 16
"""Footers that are read at a time: of a store each takes as long as an answer does."""


@dataclass(frozen=True)
class Partition:
    """A row group of a file, and where it stands.

    Attributes
    ----------
    file : str
        From the folder of all files.
    row_group : int
        From 0.
    first : int
        How many records of the file come before it.
    rows : int
        How many it has.
    version : str
        Of the file, see `Entry`.
    part : str
        The name of the file that its judged records get.
    """

    file: str
    row_group: int
    first: int
    rows: int
    version: str
    part: str

    @property
    def label(self) -> str:
        """What to call it in messages."""
        return f"{self.file}, row group {self.row_group}"


@dataclass(frozen=True)
class Failure:
    """What went wrong with a partition, or a file; `label` says with which."""

    label: str
    message: str


@dataclass(frozen=True)
class FileFacts:
    """What the footer of a file says.

    Attributes
    ----------
    types : pyarrow.Schema
    partitions : list of Partition
        Without those that have no rows.
    """

    types: Any
    partitions: list[Partition]


def look_at(store: Store, entries: Sequence[Entry]) -> tuple[list[FileFacts], list[Failure]]:
    """Read the files' footers; gives what they say, in order, and the files that cannot be read."""
    facts: list[FileFacts] = []
    failures: list[Failure] = []
    # Types take kilobytes, and a million files may have the same.
    known: dict[Any, Any] = {}
    with ThreadPoolExecutor(_FOOTERS) as pool:
        for found in pool.map(partial(_facts, store), range(len(entries)), entries):
            if isinstance(found, Failure):
                failures.append(found)
            else:
                facts.append(replace(found, types=known.setdefault(found.types, found.types)))
    return facts, failures


def _facts(store: Store, number: int, entry: Entry) -> FileFacts | Failure:
    try:
        with store.opened(entry.name) as raw, explained(entry.name), pq.ParquetFile(raw) as file:
            sizes = [file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups)]
            types = file.schema_arrow
    except DataError as error:
        return Failure(entry.name, str(error))
    except OSError as error:
        return Failure(entry.name, reason(error))
    parts, first = [], 0
    for group, rows in enumerate(sizes):
        if rows:
            name = f"part-{number:06}-{group:05}.parquet"
            parts.append(Partition(entry.name, group, first, rows, entry.version, name))
        first += rows
    return FileFacts(types, parts)


class RowGroup:
    """The records of a partition, at once or, where they are many, some at a time; can be gone through several times.

    As of a file by itself: up to `SMALL_CELLS` cells at once, then chunks of `CHUNK_CELLS`.

    Attributes
    ----------
    types : pyarrow.Schema
        Of the columns, as stored.
    """

    def __init__(self, store: Store, partition: Partition) -> None:
        self._store, self._partition = store, partition
        with self._opened() as file:
            self.types: pa.Schema = file.schema_arrow

    def __iter__(self) -> Iterator[pd.DataFrame]:
        one = self._partition
        columns = max(1, len(self.types))
        first = one.first
        with self._opened() as file:
            for table in _tables(file, one, max(1, CHUNK_CELLS // columns), one.rows * columns <= SMALL_CELLS):
                last = first + table.num_rows
                yield to_frame(arrow_to_frame(table)).set_axis(pd.RangeIndex(first, last), axis=0)
                first = last
                # Else it would be held while the next one is read.
                del table

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """All of it, or some of its columns, as Arrow has it."""
        with self._opened() as file:
            return file.read_row_group(self._partition.row_group, columns)

    @contextmanager
    def _opened(self) -> Iterator[pq.ParquetFile]:
        name = self._partition.file
        # All columns of a row group are read, in few requests of a store.
        with self._store.opened(name) as raw, explained(name), pq.ParquetFile(raw, pre_buffer=True) as file:
            yield file


def _tables(file: pq.ParquetFile, one: Partition, rows: int, is_small: bool) -> Iterator[pa.Table]:
    if is_small:
        yield file.read_row_group(one.row_group, use_threads=False)
        return
    for batch in file.iter_batches(rows, row_groups=[one.row_group], use_threads=False):
        yield pa.Table.from_batches([batch], file.schema_arrow)
        # Else it would be held while the next one is read.
        del batch
