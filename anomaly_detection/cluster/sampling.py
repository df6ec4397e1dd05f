"""A sample of the records of many files, with some more for levels that it has too seldom."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import pandas as pd
import pyarrow as pa

from anomaly_detection.cluster.choosing import Choice, choose
from anomaly_detection.cluster.covering import SHARE, LevelCounts, counted, covered, nearest
from anomaly_detection.cluster.partition import Failure, FileFacts, Partition, RowGroup, look_at
from anomaly_detection.cluster.running import Workers, outcomes
from anomaly_detection.cluster.store import Store, matching
from anomaly_detection.data.files import reason
from anomaly_detection.data.formats.arrow_tables import arrow_to_frame
from anomaly_detection.data.formats.parquet_files import explained
from anomaly_detection.data.frames import to_frame
from anomaly_detection.errors import DataError, first_line

__all__ = ["Sample", "sampled"]

Outcome = TypeVar("Outcome")
Show = Callable[[str, float, str], object]


@dataclass(frozen=True, eq=False)
class Sample:
    """Records to learn from, and what they are of.

    Attributes
    ----------
    frame : DataFrame
        The records, by file and row.
    count, seed : int
        How many were asked for, and by which hashes.
    location : str
        The folder of all files.
    files : list of FileFacts
    choices : list of Choice
        The rows of each partition that were taken.
    """

    frame: pd.DataFrame
    count: int
    seed: int
    location: str
    files: list[FileFacts]
    choices: list[Choice]

    @property
    def of_rows(self) -> int:
        """How many records there are in all."""
        return sum(one.partition.rows for one in self.choices)


def sampled(data: str, count: int, seed: int, workers: Workers, show: Show) -> Sample:
    """A sample of `count` records of Parquet files.

    Of each level of text that has `LEAST` records or more, in a column of few levels, some with the smallest hashes
    are there as well: see `covering`.

    Parameters
    ----------
    data : str
        A folder, a pattern or a URL, see `matching`.
    count : int
        Of fewer records all are taken.
    seed : int
    workers : Workers
        Who reads. What is read does not depend on them.
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
    if count < sum(one.rows for one in partitions):
        choices = _covering(store.location, choices, count, seed, workers, show)
    taken = [one for one in choices if one.rows.size]
    if not taken:
        raise DataError(f"The files of {data} have no rows; expected at least one record.")
    found = _all_of(partial(_taken, store.location), taken, workers, "sample", show)
    try:
        table = pa.concat_tables(found, promote_options="permissive")
    except pa.ArrowException as error:
        raise DataError(f"The files of {data} have columns of different types ({first_line(error)}).") from error
    with explained(data):
        frame = arrow_to_frame(table)
    return Sample(to_frame(frame), count, seed, store.location, facts, choices)


def _covering(
    location: str, choices: Sequence[Choice], count: int, seed: int, workers: Workers, show: Show
) -> list[Choice]:
    """The choices with rows of the levels that they have too seldom; all columns of text are read for it."""
    counts = LevelCounts(count // SHARE, {})
    for one in _all_of(partial(counted, location, counts.most), choices, workers, "levels", show):
        counts.merge(one)
    wanted = counts.lacking(count)
    if wanted is None:
        return list(choices)
    numbered = list(enumerate(one.partition for one in choices))
    found = _all_of(partial(nearest, location, seed, wanted), numbered, workers, "levels", show)
    return covered(choices, found, wanted.records)


def _all_of(
    task: Callable[[Any], Outcome | Failure], items: Sequence[Any], workers: Workers, stage: str, show: Show
) -> list[Outcome]:
    """What a task gives for each of some items of partitions, in their order; `DataError` where one fails."""
    found: dict[str, Outcome] = {}
    failures = []
    for one, outcome in outcomes(task, items, workers, _label):
        if isinstance(outcome, Failure):
            failures.append(outcome)
        else:
            found[_partition(one).part] = outcome
        show(stage, len(found) / len(items), f"{len(found):,} of {len(items):,} row groups")
    _refuse(failures)
    return [found[_partition(one).part] for one in items]


def _taken(location: str, choice: Choice) -> pa.Table | Failure:
    try:
        return RowGroup(Store(location), choice.partition).table().take(pa.array(choice.rows))
    except DataError as error:
        return Failure(choice.partition.label, str(error))
    except OSError as error:
        return Failure(choice.partition.label, reason(error))


def _partition(item: Choice | tuple[int, Partition]) -> Partition:
    return item.partition if isinstance(item, Choice) else item[1]


def _label(item: Choice | tuple[int, Partition]) -> str:
    return _partition(item).label


def _refuse(failures: Sequence[Failure]) -> None:
    if failures:
        first = failures[0]
        more = f", and so do {len(failures) - 1:,} others" if len(failures) > 1 else ""
        raise DataError(f"{first.label} cannot be read: {first.message.rstrip('.')}{more}; mend it or leave it out.")
