"""What the branches of `SupplyChainFeatures` hold, declared, for model files."""

from __future__ import annotations

import math
from typing import Any, get_args

import numpy as np
import pandas as pd

from mlx_iforest.declared import (
    Fixed,
    Keyed,
    Many,
    Maybe,
    OneOf,
    Record,
)
from mlx_iforest.declared_values import Array, Chosen, Flag, Number, Strings, Text, Whole
from mlx_iforest.persistence import N_JOBS

from .derived import CalendarKind, CalendarPart, Duration, MissingPattern, MissingState, Product, Ratio
from .expectation import Expectation, _Target
from .group_deviation import GroupDeviation, _Deviation, _Usual
from .levels import CombinedLevels, Levels
from .numeric_values import NumericValues, Scale
from .parsing import EpochUnit
from .rarity import CategoryRarity, PairRarity
from .repeats import Repeats, _Counter, _Records
from .rules import Rules
from .schema import CleaningReport, Column, ColumnCleaning, Role, Schema
from .tails import TailSummary

__all__ = ["BRANCHES", "CLEANING", "DERIVED", "LISTED", "NAMES", "SCHEMA", "TAILS"]

NAMES = Many(Text(), tuple)
LISTED = Many(Text())

_COLUMN = Record(
    Column,
    {
        "name": Text(),
        "role": Chosen(Role),
        "reason": Text(),
        "decimal_comma": Flag(),
        "day_first": Flag(),
        "epoch": Maybe(Text(get_args(EpochUnit))),
        "texts": NAMES,
        "distinct": Whole(),
        "missing": Number(),
    },
)


def _schema_fault(schema: Schema) -> str | None:
    return None if len(set(schema.names())) == len(schema.columns) else "two columns have one name"


SCHEMA = Record(Schema, {"columns": Many(_COLUMN, tuple)}, _schema_fault)
CLEANING = Record(
    CleaningReport,
    {
        "rows": Whole(),
        "columns": Keyed(
            Record(ColumnCleaning, {"from_text": Whole(), "blank": Whole(), "unread": Keyed(Whole())}),
        ),
        "unreadable": Keyed(Text()),
    },
)

_DURATION = Record(Duration, {"start": Text(), "end": Text()})
_STEP = Number(0.0)
_PRODUCT = Record(
    Product,
    {
        "total": Text(),
        "factors": Fixed(Text(), Text()),
        "steps": Fixed(_STEP, _STEP, _STEP),
        "constant": Number(),
    },
)
_MISSING_STATE = Record(MissingState, {"column": Text(), "words": NAMES})
DERIVED = OneOf(
    _DURATION,
    Record(Ratio, {"numerator": Text(), "denominator": Text()}),
    _PRODUCT,
    Record(CalendarPart, {"date": Text(), "part": Text(get_args(CalendarKind))}),
    _MISSING_STATE,
    Record(MissingPattern, {"states": Many(_MISSING_STATE, tuple), "name": Text()}),
)


def _levels_fault(levels: Levels) -> str | None:
    if len(levels.names) != len(levels.counts) or not levels.names.is_unique:
        return "expected one count for each level"
    return None


def _combined_fault(combined: CombinedLevels) -> str | None:
    if len(combined.columns) != len(combined.levels):
        return "expected the levels of each column"
    # Rows are looked up by bisection, and there is at least one combination.
    if (
        not len(combined.counts)
        or len(combined._known) != len(combined.counts)
        or np.any(np.diff(combined._known) <= 0)
    ):
        return "expected combinations in ascending order, with a count for each"
    return None


def _as_index(names: Any) -> pd.Index[Any]:
    return pd.Index(names, dtype=object)


_LEVELS = Record(Levels, {"names": Strings(_as_index), "counts": Array("int64")}, _levels_fault)
_COMBINED = Record(
    CombinedLevels,
    {"columns": NAMES, "levels": Many(_LEVELS, tuple), "_known": Array("int64"), "counts": Array("int64")},
    _combined_fault,
)
_SCALE = Record(Scale, {"floor": Maybe(Number(math.ulp(0.0)))})


def _usual_fault(usual: _Usual) -> str | None:
    sizes = {len(usual.centre), len(usual.spread)}
    # Without columns there is one group, of all rows, and its entry for new ones.
    if sizes != {len(usual.groups) + 1}:
        return "expected centre and spread of each group and of new ones"
    return None if np.all(usual.spread > 0) else "expected spreads above 0"


_USUAL = Record(_Usual, {"groups": _COMBINED, "centre": Array("float64"), "spread": Array("float64")}, _usual_fault)
_DEVIATION = Record(
    _Deviation,
    {"column": Text(), "scale": _SCALE, "group_by": NAMES, "usual": _USUAL, "parents": Many(_USUAL)},
)
_TARGET = Record(
    _Target,
    {
        "column": Text(),
        "weights": Array("float64"),
        "spread": Number(math.ulp(0.0)),
        "group_by": NAMES,
        "places": Maybe(Array("int64")),
    },
    optional=("places",),
)
_SEEN = {"feature_names_in_": Strings(), "n_features_in_": Whole()}


def _surprises_fault(rarity: CategoryRarity) -> str | None:
    sizes = {name: len(levels) + 1 for name, levels in rarity.levels_.items()}
    found = {name: len(surprises) for name, surprises in rarity.surprise_.items()}
    return None if sizes == found else "expected the surprise of each level and of new ones"


def _pairs_fault(rarity: PairRarity) -> str | None:
    if [combined.columns for combined in rarity.combined_] != rarity.pairs_:
        return "expected the combinations of each pair"
    return None if {name for pair in rarity.pairs_ for name in pair} <= rarity.levels_.keys() else "levels are missing"


def _targets_fault(expectation: Expectation) -> str | None:
    width = 1 + len(expectation.centres_) + sum(map(len, expectation.levels_.values()))
    if not expectation.centres_.keys() <= expectation.scales_.keys():
        return "scales are missing"
    for target in expectation.targets_:
        places = np.arange(width) if target.places is None else target.places
        ordered = places.size > 0 and places[0] == 0 and places[-1] < width and bool((np.diff(places) > 0).all())
        if target.weights.shape != places.shape or not ordered or target.column not in expectation.centres_:
            return "expected weights of columns and levels"
    return None if all(spread > 0 for _, spread, _, _ in expectation.centres_.values()) else "expected spreads above 0"


def _counts_fault(counter: _Counter) -> str | None:
    return None if len(counter.keys) == len(counter.counts) else "expected one count for each key"


def _records_fault(records: _Records) -> str | None:
    return None if len(records.content) == len(records.whole) else "expected two keys for each record"


def _repeats_fault(repeats: Repeats) -> str | None:
    return None if len(repeats.readings_) == len(repeats.continuous_) else "expected counts of each column's readings"


def _tails_fault(tails: TailSummary) -> str | None:
    n = tails.n_features_in_
    for given in (tails.least, tails.most):
        if given is not None and len(given) != n:
            return f"expected units of {n} features"
    sizes = [tails.median_.shape, tails.width_.shape[1:], getattr(tails, "profile_", tails.median_).shape]
    sides = {len(tails.width_), len(getattr(tails, "bounds_", tails.width_))}
    sizes.append(getattr(tails, "bounds_", tails.width_).shape[1:])
    return None if set(sizes) == {(n,)} and sides == {2} else f"expected {n} features"


def _numbers_fault(numbers: NumericValues) -> str | None:
    n = len(numbers.feature_names_in_)
    return None if len(numbers.scales_) == len(numbers.medians_) == n else f"expected {n} scales and medians"


_NUMERIC_VALUES = Record(
    NumericValues,
    {**_SEEN, "scales_": Many(_SCALE), "medians_": Array("float64", special=True)},
    _numbers_fault,
)
_CATEGORY_RARITY = Record(
    CategoryRarity,
    {
        "keep_all": Flag(),
        **_SEEN,
        "n_rows_": Whole(1),
        "levels_": Keyed(_LEVELS),
        "surprise_": Keyed(Array("float64")),
    },
    _surprises_fault,
)
BRANCHES: dict[str, Record] = {
    "num": _NUMERIC_VALUES,
    "cat": _CATEGORY_RARITY,
    "pairs": Record(
        PairRarity,
        {
            "max_pairs": Whole(),
            "min_information": Number(),
            **_SEEN,
            "n_rows_": Whole(1),
            "pairs_": Many(Fixed(Text(), Text())),
            "levels_": Keyed(_LEVELS),
            "combined_": Many(_COMBINED),
        },
        _pairs_fault,
    ),
    "calendar": _CATEGORY_RARITY,
    "durations": _NUMERIC_VALUES,
    "ratios": _NUMERIC_VALUES,
    "deviations": Record(
        GroupDeviation,
        {
            "numbers": LISTED,
            "categories": LISTED,
            "min_explained": Number(),
            "min_gain": Number(),
            "strength": Number(),
            "n_jobs": N_JOBS,
            **_SEEN,
            "deviations_": Many(_DEVIATION),
        },
    ),
    "expectations": Record(
        Expectation,
        {
            "numbers": LISTED,
            "categories": LISTED,
            "bound": Many(NAMES),
            "min_explained": Number(),
            "strength": Number(),
            **_SEEN,
            "targets_": Many(_TARGET),
            "scales_": Keyed(_SCALE),
            "centres_": Keyed(Fixed(Number(), Number(), Number(), Number())),
            "levels_": Keyed(_LEVELS),
        },
        _targets_fault,
    ),
    "rules": Record(
        Rules,
        {"products": Many(_PRODUCT), "dates": LISTED, **_SEEN, "orders_": Many(Fixed(_DURATION, Number()))},
    ),
    "missing": _CATEGORY_RARITY,
    "repeats": Record(
        Repeats,
        {
            "numbers": LISTED,
            "within": LISTED,
            "dates": LISTED,
            **_SEEN,
            "continuous_": LISTED,
            "records_": Record(_Records, {"content": Array("uint64"), "whole": Array("uint64")}, _records_fault),
            "readings_": Many(
                Record(_Counter, {"keys": Array("uint64"), "counts": Array("int32")}, _counts_fault),
            ),
        },
        _repeats_fault,
    ),
}
TAILS = Record(
    TailSummary,
    {
        "least": Maybe(Many(Number())),
        "most": Maybe(Many(Number(special=True))),
        "n_features_in_": Whole(),
        "median_": Array("float32"),
        "width_": Array("float32", 2, special=True),
        "bounds_": Array("float32", 2, special=True),
        "profile_": Array("float32"),
    },
    _tails_fault,
    optional=("bounds_", "profile_"),
)
