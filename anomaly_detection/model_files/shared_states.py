"""Kinds of values and parts that several branches hold, declared, for model files."""

from __future__ import annotations

import math
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from anomaly_detection.data.columns.levels import CombinedLevels, Levels
from anomaly_detection.features.categories.companions import Companions
from anomaly_detection.features.numbers.numeric_values import Scale
from mlx_iforest.convert.declared import Dict, List, Optional, Record
from mlx_iforest.convert.declared_values import Array, Number, Strings, Text, Whole

__all__ = [
    "COMBINED",
    "COMPANIONS",
    "COUNTS",
    "FINITE",
    "FINITE_ARRAY",
    "KIN",
    "LARGEST",
    "LENT",
    "LEVELS",
    "LISTED",
    "NAMES",
    "POSITIVE",
    "SCALE",
    "SEEN",
    "SHARE",
    "SMALLEST",
    "ascending",
]

# Far beyond what records hold: quotients of such numbers are still floats.
SMALLEST, LARGEST = 1e-100, 1e100
POSITIVE = Number(SMALLEST, LARGEST)
FINITE = Number(-LARGEST, LARGEST)
FINITE_ARRAY = Array("float64", least=-LARGEST, most=LARGEST)
COUNTS = Array("int64", least=1)
SHARE = Number(0.0, 1.0)
LENT = Number(0.0, LARGEST)

NAMES = List(Text(), tuple)
LISTED = List(Text())
KIN = Optional(Dict(NAMES))


def ascending(array: Any) -> bool:
    """Whether each value is above the one before it."""
    return not np.any(array[1:] <= array[:-1])


def _levels_fault(levels: Levels) -> str | None:
    if not len(levels.names) or len(levels.names) != len(levels.counts) or not levels.names.is_unique:
        return "expected levels, with one count for each"
    return None


def _combined_fault(combined: CombinedLevels) -> str | None:
    if len(combined.columns) != len(combined.levels):
        return "expected the levels of each column"
    # Rows are looked up by bisection, and there is at least one combination.
    known, possible = combined._known, math.prod(map(len, combined.levels))
    if not len(known) or len(known) != len(combined.counts) or not ascending(known):
        return "expected combinations in ascending order, with a count for each"
    return None if known[-1] < possible else f"expected combinations of {possible} at most"


def _as_index(names: Any) -> pd.Index[Any]:
    return pd.Index(names, dtype=object)


LEVELS = Record(Levels, {"names": Strings(_as_index), "counts": COUNTS}, _levels_fault)
COMBINED = Record(
    CombinedLevels,
    {"columns": NAMES, "levels": List(LEVELS, tuple), "_known": Array("int64", least=0), "counts": COUNTS},
    _combined_fault,
)


def _companions_fault(companions: Companions) -> str | None:
    asked = {other for others in companions.of.values() for other in others}
    if asked != companions.levels.keys():
        return "expected the levels of each companion"
    needed = {frozenset(pair) for name, own in companions.of.items() for pair in combinations((name, *own), 2)}
    fits = needed == {frozenset(both.columns) for both in companions.pairs if len(both.columns) == 2}
    return None if fits and len(needed) == len(companions.pairs) else "expected the pairs of each column and companion"


COMPANIONS = Record(
    Companions, {"of": Dict(NAMES), "levels": Dict(LEVELS), "pairs": List(COMBINED, tuple)}, _companions_fault
)
SCALE = Record(Scale, {"floor": Optional(POSITIVE)})
SEEN = {"feature_names_in_": Strings(), "n_features_in_": Whole()}
