"""Which rows of many files a sample has: those with the smallest hashes of seed, file and row."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from anomaly_detection.cluster.partition import Partition
from mlx_iforest.randomness import split_seed, threefry2x32

__all__ = ["Choice", "choose", "hashes"]

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

    There is a choice for each partition, also where it has no such row. Which rows they are depends on seed, files and
    rows, and not on row groups or the order in which files are given.
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
    return [Choice(one, places[a:b, 1]) for one, a, b in zip(partitions, borders, borders[1:], strict=False)]
