"""A sample of the records of many files, with some more for levels that it has too seldom."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import pandas as pd
import pyarrow as pa

from anomaly_detection.cluster.choosing import Choice, choose
from anomaly_detection.cluster.covering import SHARE, LevelCounts, counted, covered, nearest
from anomaly_detection.cluster.partition import Failure, Partition, RowGroup, look_at
from anomaly_detection.cluster.running import Workers, outcomes
from anomaly_detection.cluster.store import Store, matching
from anomaly_detection.data.arrow_tables import arrow_to_frame
from anomaly_detection.data.files import reason
from anomaly_detection.data.frames import to_frame
from anomaly_detection.errors import DataError, first_line

__all__ = ["sampled"]

Outcome = TypeVar("Outcome")
Show = Callable[[str, float, str], object]


def sampled(data: str, count: int, seed: int, workers: Workers | None, show: Show) -> tuple[pd.DataFrame, int]:
    """A sample of `count` records of Parquet files, by file and row, and how many there are.

    Of each level of text that has `LEAST` records or more, in a column of few levels, the `KEPT` with the smallest
    hashes are there as well: see `covering`.

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
    if count < sum(one.rows for one in partitions):
        choices = _covering(store.location, choices, count, seed, workers, show)
    choices = [one for one in choices if one.rows.size]
    found = _all_of(partial(_taken, store.location), choices, workers, "sample", show)
    try:
        table = pa.concat_tables(found, promote_options="permissive")
    except pa.ArrowException as error:
        raise DataError(f"The files of {data} have columns of different types ({first_line(error)}).") from error
    return to_frame(arrow_to_frame(table)), sum(one.rows for one in partitions)


def _covering(
    location: str, choices: Sequence[Choice], count: int, seed: int, workers: Workers | None, show: Show
) -> list[Choice]:
    """The choices with rows of the levels that they have too seldom; all columns of text are read for it."""
    counts = LevelCounts(count // SHARE, {})
    for one in _all_of(partial(counted, location, counts.most), choices, workers, "levels", show):
        counts.merge(one)
    wanted = counts.lacking(count)
    if not wanted:
        return list(choices)
    numbered = list(enumerate(one.partition for one in choices))
    return covered(choices, _all_of(partial(nearest, location, seed, wanted), numbered, workers, "levels", show))


def _all_of(
    task: Callable[[Any], Outcome | Failure], items: Sequence[Any], workers: Workers | None, stage: str, show: Show
) -> list[Outcome]:
    """What a task gives for each of some items of partitions, in their order; `DataError` where one fails."""
    found: dict[str, Outcome] = {}
    failures = []
    reading = ((one, task(one)) for one in items) if workers is None else outcomes(task, items, workers, _label)
    for one, outcome in reading:
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
