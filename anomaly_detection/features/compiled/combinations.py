"""Combinations of levels, and their counts, as a program has them."""

from __future__ import annotations

import numpy as np

from anomaly_detection.data.columns.levels import CombinedLevels, vocabulary
from anomaly_detection.features.compiled.program import Program, Value

__all__ = ["combination", "pair_counts"]

_LARGEST_TABLE = 1 << 16
"""Combinations of two columns that are looked up in a table of all possible ones, at most."""


def combination(program: Program, combined: CombinedLevels) -> Value:
    """`CombinedLevels.codes`: each row's combination, -1 where it was never seen."""
    places = [
        program.place(name, vocabulary(levels)) for name, levels in zip(combined.columns, combined.levels, strict=True)
    ]
    sizes = [len(levels) for levels in combined.levels]
    if not places:
        return program.as_value(0.0)
    if len(places) == 1:
        table = np.full(sizes[0] + 1, -1)
        table[combined.known] = np.arange(len(combined))
        return places[0].look_up(table)
    if len(places) == 2 and sizes[0] * sizes[1] <= _LARGEST_TABLE:
        table = np.full(sizes[0] * sizes[1], -1)
        table[combined.known] = np.arange(len(combined))
        return places[0].look_up_with(places[1], table.reshape(sizes))
    key, known = places[0], places[0] >= 0.0
    for place, size in zip(places[1:], sizes[1:], strict=True):
        key, known = key * float(size) + place, known & (place >= 0.0)
    return known.where(key, -1.0).place_in(combined.known)


def pair_counts(program: Program, combined: CombinedLevels) -> tuple[Value, Value, Value]:
    """Training rows with the first column's level, with the second one's, and with both; 0 for what is new."""
    first, last = (
        program.of_level(name, vocabulary(levels), np.append(levels.counts, 0))
        for name, levels in zip(combined.columns, combined.levels, strict=True)
    )
    return first, last, combination(program, combined).look_up(np.append(combined.counts, 0))
