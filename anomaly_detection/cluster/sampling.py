"""A sample of the records of many files: those with the smallest hashes of seed, file and row."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from anomaly_detection.cluster.partition import Failure, Partition, RowGroup, look_at
from anomaly_detection.cluster.running import Workers, outcomes
from anomaly_detection.cluster.store import Store, matching
from anomaly_detection.data.arrow_tables import arrow_to_frame
from anomaly_detection.data.files import reason
from anomaly_detection.data.frames import to_frame
from anomaly_detection.errors import DataError, first_line
from mlx_iforest.randomness import split_seed, threefry2x32

__all__ = ["Choice", "choose", "hashes", "sampled"]

_BLOCK = 1_000_000
"""Rows that are hashed at once."""


@dataclass(frozen=True, eq=False)
class Choice:
    """The rows that are taken of a partition, ascending, from 0."""

    partition: Partition
    rows: npt.NDArray[np.int64]


def hashes(seed: int, file: str, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
    """64 bits for each of the `rows` of a file: a function of seed, the file's name and the row, uniform over them."""
    key = int.from_bytes(hashlib.sha256(f"{seed} {file}".encode()).digest()[:8], "little")
    words = np.array([split_seed(key)], dtype=np.uint32)
    high, low = threefry2x32(
        words[:, 0], words[:, 1], (rows & 0xFFFFFFFF).astype(np.uint32), (rows >> 32).astype(np.uint32)
    )
    return np.asarray(high.astype(np.uint64) << np.uint64(32) | low.astype(np.uint64))


def choose(partitions: Sequence[Partition], count: int, seed: int) -> list[Choice]:
    """The rows with the `count` smallest hashes: each row is as likely as another, and no row is read.

    Which they are depends on seed, files and rows, and not on row groups or the order in which files are given.
    """
    kept = np.empty(0, dtype=np.uint64)
    places = np.empty((0, 2), dtype=np.int64)
    most = np.uint64(2**64 - 1)
    for number, one in enumerate(partitions):
        for start in range(0, one.rows, _BLOCK):
            rows = np.arange(start, min(start + _BLOCK, one.rows))
            found = hashes(seed, one.file, rows + one.first)
            few = found <= most
            places = np.concatenate([places, np.column_stack([np.full(few.sum(), number), rows[few]])])
            kept = np.concatenate([kept, found[few]])
            if kept.size > count:
                lowest = np.sort(np.argsort(kept, kind="stable")[:count])
                kept, places = kept[lowest], places[lowest]
                most = kept.max()
    borders = np.searchsorted(places[:, 0], np.arange(len(partitions) + 1))
    parted = [Choice(one, places[a:b, 1]) for one, a, b in zip(partitions, borders, borders[1:], strict=False)]
    return [choice for choice in parted if choice.rows.size]


def sampled(
    data: str, count: int, seed: int, workers: Workers | None, show: Callable[[str, float, str], object]
) -> tuple[pd.DataFrame, int]:
    """A sample of `count` records of Parquet files, by file and row, and how many there are.

    Parameters
    ----------
    data : str
        A folder, a pattern or a URL, see `matching`.
    count : int
        Of fewer records all are taken.
    seed : int
    workers : Workers, optional
        Who reads; this process if not given. What is read does not depend on them.
    show : callable
        Is told the stage, the share of it that is done, and a message.

    Raises
    ------
    DataError
        Where a file cannot be read, or the files do not fit together.
    """
    store, entries = matching(data)
    facts, failures = look_at(store, entries)
    _refuse(failures)
    partitions = [one for found in facts for one in found.partitions]
    choices = choose(partitions, count, seed)
    task = partial(_taken, store.location)
    found: dict[str, pa.Table] = {}
    reading = ((one, task(one)) for one in choices) if workers is None else outcomes(task, choices, workers, _label)
    for one, outcome in reading:
        if isinstance(outcome, Failure):
            failures.append(outcome)
        else:
            found[one.partition.part] = outcome
        show("sample", len(found) / len(choices), f"{len(found):,} of {len(choices):,} row groups")
    _refuse(failures)
    try:
        table = pa.concat_tables([found[one.partition.part] for one in choices], promote_options="permissive")
    except pa.ArrowException as error:
        raise DataError(f"The files of {data} have columns of different types ({first_line(error)}).") from error
    return to_frame(arrow_to_frame(table)), sum(one.rows for one in partitions)


def _taken(location: str, choice: Choice) -> pa.Table | Failure:
    try:
        return RowGroup(Store(location), choice.partition).table().take(pa.array(choice.rows))
    except DataError as error:
        return Failure(choice.partition.label, str(error))
    except OSError as error:
        return Failure(choice.partition.label, reason(error))


def _label(choice: Choice) -> str:
    return choice.partition.label


def _refuse(failures: Sequence[Failure]) -> None:
    if failures:
        first = failures[0]
        more = f", and so do {len(failures) - 1:,} others" if len(failures) > 1 else ""
        raise DataError(f"{first.label} cannot be read: {first.message.rstrip('.')}{more}; mend it or leave it out.")
