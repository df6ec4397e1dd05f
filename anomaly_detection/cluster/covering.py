"""Rows for the levels that a sample has too seldom: without them what is rare would look like what was never there."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from anomaly_detection.cluster.choosing import Choice, hashes
from anomaly_detection.cluster.partition import Failure, Partition, RowGroup
from anomaly_detection.cluster.store import Store
from anomaly_detection.data.files import reason
from anomaly_detection.errors import DataError

__all__ = ["KEPT", "LEAST", "SHARE", "LevelCounts", "counted", "covered", "nearest"]

LEAST = 5
"""Records in all from which on a level is one: fewer may be slips."""

KEPT = 2
"""Records that each level is to have among those learned from: with one, it would say that levels are often new."""

SHARE = 50
"""A column is looked at that has at most one level for so many records of the sample; others are open to new ones."""

_MOST_ADDED = 20
"""Of the sample, at most one record in so many is added."""

Nearest = list[tuple[int, int, int]]
"""Of a level: hash, place of the partition, and row of its records with the smallest hashes."""


@dataclass(frozen=True)
class LevelCounts:
    """How often each level of each column of text occurs, of all records and of those in the sample.

    Exact, whatever the records were parted into: a column has None once it has more than `most` levels.

    Attributes
    ----------
    most : int
    columns : dict of str to (Counter, Counter) or None
    """

    most: int
    columns: dict[str, tuple[Counter[str], Counter[str]] | None]

    def merge(self, other: LevelCounts) -> None:
        """Add the counts of other records."""
        for name, theirs in other.columns.items():
            ours = self.columns.setdefault(name, (Counter(), Counter()))
            if ours is None or theirs is None:
                self.columns[name] = None
                continue
            for mine, more in zip(ours, theirs, strict=True):
                mine.update(more)
            if len(ours[0]) > self.most:
                self.columns[name] = None

    def lacking(self, count: int) -> dict[str, frozenset[str]]:
        """The levels that occur and that a sample of `count` has too seldom, by column.

        Columns come in the order of how many they lack, until so many records would be added that they weighed.
        """
        found = {}
        for name, counts in self.columns.items():
            if counts is not None:
                there, taken = counts
                few = [level for level, times in there.items() if times >= LEAST and taken[level] < min(KEPT, times)]
                if few:
                    found[name] = frozenset(few)
        left = count // _MOST_ADDED
        wanted: dict[str, frozenset[str]] = {}
        for name in sorted(found, key=lambda each: (len(found[each]), each)):
            left -= KEPT * len(found[name])
            if left < 0:
                break
            wanted[name] = found[name]
        return wanted


def counted(location: str, most: int, choice: Choice) -> LevelCounts | Failure:
    """The levels of a partition, of which some rows are in the sample."""

    def count(table: pa.Table) -> LevelCounts:
        columns: dict[str, tuple[Counter[str], Counter[str]] | None] = {}
        for name in table.column_names:
            codes, levels = _coded(table.column(name))
            if len(levels) > most:
                columns[name] = None
                continue
            times = [np.bincount(each[each >= 0], minlength=len(levels)) for each in (codes, codes[choice.rows])]
            there, taken = (
                Counter({levels[place]: int(some[place]) for place in np.flatnonzero(some)}) for some in times
            )
            columns[name] = (there, taken)
        return LevelCounts(most, columns)

    return _of_texts(location, choice.partition, None, count)


def nearest(
    location: str, seed: int, wanted: Mapping[str, frozenset[str]], item: tuple[int, Partition]
) -> dict[tuple[str, str], Nearest] | Failure:
    """Of each level that is wanted, the records of a partition with the smallest hashes."""
    number, one = item

    def find(table: pa.Table) -> dict[tuple[str, str], Nearest]:
        found: dict[tuple[str, str], Nearest] = {}
        own = hashes(seed, one.file, np.arange(one.first, one.first + one.rows))
        for name in table.column_names:
            codes, levels = _coded(table.column(name))
            for place, level in enumerate(levels):
                if level in wanted[name]:
                    rows = np.flatnonzero(codes == place)
                    rows = rows[np.argsort(own[rows], kind="stable")[:KEPT]]
                    found[name, level] = [(int(own[row]), number, int(row)) for row in rows]
        return found

    return _of_texts(location, one, wanted, find)


def covered(choices: Sequence[Choice], found: Iterable[Mapping[tuple[str, str], Nearest]]) -> list[Choice]:
    """The choices, of every partition, with the records of each level that have the smallest hashes of all."""
    by_level: dict[tuple[str, str], Nearest] = defaultdict(list)
    for one in found:
        for level, some in one.items():
            by_level[level] = sorted([*by_level[level], *some])[:KEPT]
    more: dict[int, set[int]] = defaultdict(set)
    for some in by_level.values():
        for _, number, row in some:
            more[number].add(row)
    return [
        replace(choice, rows=np.union1d(choice.rows, np.array(sorted(more[number])))) if number in more else choice
        for number, choice in enumerate(choices)
    ]


def _coded(column: Any) -> tuple[npt.NDArray[np.int64], list[str]]:
    """Which level each row has, -1 where it has none, and the levels."""
    texts = column.cast(pa.string()).combine_chunks().dictionary_encode()
    codes = texts.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    return codes, texts.dictionary.to_pylist()


def _of_texts(location: str, one: Partition, wanted: Mapping[str, Any] | None, use: Any) -> Any:
    try:
        group = RowGroup(Store(location), one)
        names = [
            field.name for field in group.types if _is_text(field.type) and (wanted is None or field.name in wanted)
        ]
        return use(group.table(names))
    except DataError as error:
        return Failure(one.label, str(error))
    except OSError as error:
        return Failure(one.label, reason(error))


def _is_text(kind: Any) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
