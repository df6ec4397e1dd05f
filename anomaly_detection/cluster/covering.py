"""Rows for the levels that a sample has too seldom: without them what is rare would look like what was never there.

Of each such level the records with the smallest hashes are a sketch (bottom-k) that can be merged in any order: its
medians are those of a random part of the level's records.
"""

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

__all__ = ["FEWEST", "LEAST", "MOST", "SHARE", "LevelCounts", "Wanted", "counted", "covered", "nearest"]

LEAST = 5
"""Records in all from which on a level is one: fewer may be slips."""

FEWEST = 2
"""Records that each level is to have among those learned from: with one, it would say that levels are often new."""

MOST = 30
"""Records that a level gets at most: their median is off by 0.23 standard deviations of the level's values."""

SHARE = 50
"""A column is looked at that has at most one level for so many records of the sample; others are open to new ones."""

_MOST_ADDED = 10
"""Of the sample, at most one record in so many is added."""

Nearest = list[tuple[int, int, int]]
"""Of a level: hash, place of the partition, and row of its records with the smallest hashes."""


@dataclass(frozen=True)
class Wanted:
    """Levels that a sample has too seldom.

    Attributes
    ----------
    levels : dict of str to frozenset of str
        By column.
    records : int
        That each is to have, or all of its own where they are fewer.
    """

    levels: dict[str, frozenset[str]]
    records: int


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

    def lacking(self, count: int) -> Wanted | None:
        """The levels that occur and that a sample of `count` has too seldom; None where there are none.

        Columns come in the order of how many they lack, as long as there is room to add the fewest records of each
        level. What room is left then goes to all of these levels alike.
        """
        room = count // _MOST_ADDED
        columns = sorted((len(self._few(name, FEWEST)), name) for name in self.columns if self._few(name, MOST))
        chosen: list[str] = []
        for _, name in columns:
            if self._to_add([*chosen, name], FEWEST) > room:
                break
            chosen.append(name)
        records = max(each for each in range(FEWEST, MOST + 1) if self._to_add(chosen, each) <= room)
        levels = {name: frozenset(few) for name in chosen if (few := self._few(name, records))}
        return Wanted(levels, records) if levels else None

    def _few(self, name: str, records: int) -> dict[str, int]:
        """The levels of a column that have fewer than `records` in the sample, and how many they lack."""
        counts = self.columns[name]
        if counts is None:
            return {}
        there, taken = counts
        lacking = {level: min(records, times) - taken[level] for level, times in there.items() if times >= LEAST}
        return {level: more for level, more in lacking.items() if more > 0}

    def _to_add(self, names: Sequence[str], records: int) -> int:
        return sum(sum(self._few(name, records).values()) for name in names)


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
    location: str, seed: int, wanted: Wanted, item: tuple[int, Partition]
) -> dict[tuple[str, str], Nearest] | Failure:
    """Of each level that is wanted, the records of a partition with the smallest hashes."""
    number, one = item

    def find(table: pa.Table) -> dict[tuple[str, str], Nearest]:
        found: dict[tuple[str, str], Nearest] = {}
        own = hashes(seed, one.file, np.arange(one.first, one.first + one.rows))
        for name in table.column_names:
            codes, levels = _coded(table.column(name))
            for place, level in enumerate(levels):
                if level in wanted.levels[name]:
                    rows = np.flatnonzero(codes == place)
                    rows = rows[np.argsort(own[rows], kind="stable")[: wanted.records]]
                    found[name, level] = [(int(own[row]), number, int(row)) for row in rows]
        return found

    return _of_texts(location, one, wanted.levels, find)


def covered(
    choices: Sequence[Choice], found: Iterable[Mapping[tuple[str, str], Nearest]], records: int
) -> list[Choice]:
    """The choices, of every partition, with the records of each level that have the smallest hashes of all."""
    by_level: dict[tuple[str, str], Nearest] = defaultdict(list)
    for one in found:
        for level, some in one.items():
            by_level[level] = sorted([*by_level[level], *some])[:records]
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
