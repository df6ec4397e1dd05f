"""What the branches of `SupplyChainFeatures` hold, declared, for model files."""

from __future__ import annotations

from typing import get_args

import numpy as np

from anomaly_detection.data.columns.levels import Levels
from anomaly_detection.features.categories.level_rarity import LevelRarity, MissingLevels, ValueRarity
from anomaly_detection.features.categories.pair_rarity import PairRarity
from anomaly_detection.features.categories.rarity import CalendarRarity, CategoryRarity, MissingRarity
from anomaly_detection.features.dates.derived import (
    CalendarKind,
    CalendarPart,
    Duration,
    MissingPattern,
    MissingState,
    NumberLevel,
    Product,
    Ratio,
)
from anomaly_detection.features.evidence.surprise import DeviationSummary
from anomaly_detection.features.numbers.expectation import Expectation, _Target
from anomaly_detection.features.numbers.group_deviation import GroupDeviation, _Deviation, _Usual
from anomaly_detection.features.numbers.numeric_values import Durations, NumericValues, Ratios
from anomaly_detection.features.numbers.rules import Rules
from anomaly_detection.features.repeats.duplicates import Repeats, _Counter, _Records
from anomaly_detection.model_files.evidence_states import EVIDENCE_BRANCHES
from anomaly_detection.model_files.shared_states import (
    COMBINED,
    COMPANIONS,
    COUNTS,
    FINITE,
    FINITE_ARRAY,
    LARGEST,
    LENT,
    LEVELS,
    LISTED,
    NAMES,
    POSITIVE,
    SCALE,
    SEEN,
    SHARE,
    SMALLEST,
)
from mlx_iforest.convert.declared import Dict, Fixed, Implied, Kind, List, OneOf, Optional, Record
from mlx_iforest.convert.declared_values import Array, Flag, Number, Text, Unkept, Whole

__all__ = ["BRANCHES", "DERIVED", "TAILS"]

_KEYS = Array("uint64", least=1)
_DURATION = Record(Duration, {"start": Text(), "end": Text()})
_STEP = Number(0.0, 1.0)
_PRODUCT = Record(
    Product,
    {
        "total": Text(),
        "factors": Fixed(Text(), Text()),
        "steps": Fixed(_STEP, _STEP, _STEP),
        "constant": POSITIVE,
    },
)
_MISSING_STATE = Record(MissingState, {"column": Text(), "words": NAMES})
DERIVED = OneOf(
    _DURATION,
    Record(Ratio, {"numerator": Text(), "denominator": Text()}),
    _PRODUCT,
    Record(CalendarPart, {"date": Text(), "part": Text(get_args(CalendarKind))}),
    _MISSING_STATE,
    Record(NumberLevel, {"column": Text()}),
    Record(MissingPattern, {"states": List(_MISSING_STATE, tuple), "name": Text((MissingPattern.name,))}),
)


def _usual_fault(usual: _Usual) -> str | None:
    sizes = {len(usual.centre), len(usual.spread)}
    # Without columns there is one group, of all rows, and its entry for new ones.
    if sizes != {len(usual.groups) + 1}:
        return "expected centre and spread of each group and of new ones"
    return None


_USUAL = Record(
    _Usual,
    {"groups": COMBINED, "centre": FINITE_ARRAY, "spread": Array("float64", least=SMALLEST, most=LARGEST)},
    _usual_fault,
)


def _deviation_fault(deviation: _Deviation) -> str | None:
    chain = [*deviation.parents, deviation.usual]
    expected = [deviation.group_by[:depth] for depth in range(len(deviation.group_by) + 1)]
    if len(expected) < 2 or [usual.groups.columns for usual in chain] != expected:
        return "expected the groups of each of 'group_by', from all rows on"
    rows = {int(usual.groups.counts.sum()) for usual in chain}
    if len(rows) != 1:
        return "expected groups of the same rows"
    fits = deviation.told is None or deviation.told.shape == (4, len(deviation.usual.groups))
    return None if fits else "expected the number, median and range of each group's values"


_DEVIATION = Record(
    _Deviation,
    {
        "column": Text(),
        "scale": SCALE,
        "group_by": NAMES,
        "usual": _USUAL,
        "parents": List(_USUAL),
        "told": Optional(Array("float64", dimensions=2, least=-LARGEST, most=LARGEST)),
    },
    _deviation_fault,
    # Earlier files lack it.
    optional=("told",),
)
_TARGET = Record(
    _Target,
    {
        "column": Text(),
        "weights": FINITE_ARRAY,
        "spread": Number(0.02, LARGEST),
        "group_by": NAMES,
        "places": Optional(Array("int64")),
    },
    optional=("places",),
)


def _surprises_fault(rarity: CategoryRarity) -> str | None:
    sizes = {name: len(levels) + 1 for name, levels in rarity.levels_.items()}
    found = {name: len(surprises) for name, surprises in rarity.surprise_.items()}
    if sizes != found or not sizes.keys() <= set(rarity.feature_names_in_):
        return "expected the surprise of each level and of new ones"
    for name, levels in rarity.levels_.items():
        # Whether another column tells as much is not in the file.
        possible = [rarity._surprisal(levels.counts, told) for told in (False, True)]
        if isinstance(rarity, LevelRarity):
            # Files of before have no more for what is new.
            possible += [np.append(one[:-1], rarity._of_new(name)) for one in possible]
        if not any(np.allclose(rarity.surprise_[name], one, rtol=1e-9, atol=0.0) for one in possible):
            return "expected the surprises that follow from the counts"
    return _rows_fault(rarity.levels_, rarity.n_rows_)


def _accompanied_fault(rarity: LevelRarity) -> str | None:
    if not {*rarity.companions_.of, *rarity.companions_.levels} <= set(rarity.feature_names_in_):
        return "expected companions among the columns"
    if not {*rarity.elsewhere_, *(name for own in rarity.elsewhere_.values() for name in own)} <= rarity.levels_.keys():
        return "expected the levels of other columns"
    return _surprises_fault(rarity)


def _rows_fault(levels: dict[str, Levels], n_rows: int) -> str | None:
    if any(int(one.counts.sum()) != n_rows for one in levels.values()):
        return f"expected counts that add up to {n_rows} rows"
    return None


def _pairs_fault(rarity: PairRarity) -> str | None:
    if [combined.columns for combined in rarity.combined_] != rarity.pairs_:
        return "expected the combinations of each pair"
    names = {name for pair in rarity.pairs_ for name in pair}
    if names != rarity.levels_.keys() or not names <= set(rarity.feature_names_in_):
        return "expected the levels of the pairs' columns"
    if any(int(combined.counts.sum()) != rarity.n_rows_ for combined in rarity.combined_):
        return f"expected counts that add up to {rarity.n_rows_} rows"
    orders, lent = rarity.orders_, rarity.lent_
    if (orders is None) != (lent is None):
        return "expected both 'orders_' and 'lent_', or neither"
    if orders is not None and lent is not None:
        sizes = [len(one) for one in rarity.combined_]
        if len(lent) != len(sizes) or [len(one) for one in orders] != sizes:
            return "expected the transactions of each combination, and what is lent to each pair"
        if any(np.any(own > one.counts) for own, one in zip(orders, rarity.combined_, strict=True)):
            return "expected no more transactions than rows"
    return _rows_fault(rarity.levels_, rarity.n_rows_)


def _targets_fault(expectation: Expectation) -> str | None:
    width = 1 + len(expectation.centres_) + sum(map(len, expectation.levels_.values()))
    if not expectation.centres_.keys() <= expectation.scales_.keys():
        return "scales are missing"
    for target in expectation.targets_:
        places = np.arange(width) if target.places is None else target.places
        ordered = places.size > 0 and places[0] == 0 and places[-1] < width and bool((np.diff(places) > 0).all())
        if target.weights.shape != places.shape or not ordered or target.column not in expectation.centres_:
            return "expected weights of columns and levels"
    if len({target.column for target in expectation.targets_}) != len(expectation.targets_):
        return "two targets are one column"
    if not all(low <= centre <= high for centre, _, low, high in expectation.centres_.values()):
        return "expected centres between the least and the most"
    return None


def _counts_fault(counter: _Counter) -> str | None:
    if len(counter.keys) != len(counter.counts) or np.any(counter.keys[1:] <= counter.keys[:-1]):
        return "expected keys in ascending order, with a count for each"
    return None


def _records_fault(records: _Records) -> str | None:
    return None if len(records.content) == len(records.whole) else "expected two keys for each record"


def _repeats_fault(repeats: Repeats) -> str | None:
    fits = len(repeats.readings_) == len(repeats.continuous_) and set(repeats.continuous_) <= set(repeats.numbers)
    return None if fits else "expected counts of each column's readings"


def _tails_fault(tails: DeviationSummary) -> str | None:
    n = tails.n_features_in_
    for given in (tails.least, tails.most):
        if given is not None and len(given) != n:
            return f"expected units of {n} features"
    if tails.most is not None and not all(most > 0 for most in tails.most):
        return "expected units above 0"
    bounds, profile = tails.bounds(), tails.profile()
    if tails.width_.shape != (2, n) or bounds.shape != (2, n) or {tails.median_.shape, profile.shape} != {(n,)}:
        return f"expected {n} features"
    if not np.all(tails.width_ > 0):
        return "expected widths above 0"
    if np.any(bounds[0] > bounds[1]) or np.any(np.isnan(bounds[0]) != np.isnan(bounds[1])):
        return "expected the least of each feature before the most"
    return None if np.all(profile[1:] <= profile[:-1]) else "expected a profile in descending order"


def _numbers_fault(numbers: NumericValues) -> str | None:
    n = len(numbers.feature_names_in_)
    return None if len(numbers.scales_) == len(numbers.medians_) == n else f"expected {n} scales and medians"


def _numeric_values(of: type[NumericValues]) -> Record:
    medians = Array("float64", special=True, least=-LARGEST, most=LARGEST)
    return Record(of, {**SEEN, "scales_": List(SCALE), "medians_": medians}, _numbers_fault)


def _category_rarity(of: type[CategoryRarity]) -> Record:
    kinds: dict[str, Kind] = {
        "keep_all": Flag(),
        **SEEN,
        "n_rows_": Whole(1),
        "levels_": Dict(LEVELS),
        "surprise_": Dict(Array("float64", least=0.0)),
    }
    if not issubclass(of, LevelRarity):
        return Record(of, kinds, _surprises_fault)
    # Files of before know no companions, and no other columns.
    kinds |= {"unclosed": Implied(()), "companions_": COMPANIONS, "elsewhere_": Dict(LISTED)}
    return Record(of, kinds, _accompanied_fault, optional=("companions_", "elsewhere_"))


BRANCHES: dict[str, Record] = {
    "num": _numeric_values(NumericValues),
    "cat": _category_rarity(CategoryRarity),
    "pairs": Record(
        PairRarity,
        {
            "max_pairs": Whole(),
            "min_information": LENT,
            "keys": Implied(()),
            "dates": Implied(()),
            **SEEN,
            "n_rows_": Whole(1),
            "pairs_": List(Fixed(Text(), Text())),
            "levels_": Dict(LEVELS),
            "combined_": List(COMBINED),
            "orders_": List(COUNTS),
            "lent_": List(Number(1.0, LARGEST)),
        },
        _pairs_fault,
        # Files of before count each record, and lend one.
        optional=("orders_", "lent_"),
    ),
    "calendar": _category_rarity(CalendarRarity),
    "durations": _numeric_values(Durations),
    "ratios": _numeric_values(Ratios),
    "deviations": Record(
        GroupDeviation,
        {
            "numbers": LISTED,
            "categories": LISTED,
            "min_explained": SHARE,
            "min_gain": SHARE,
            "strength": LENT,
            "n_jobs": Unkept(None),
            **SEEN,
            "deviations_": List(_DEVIATION),
        },
    ),
    "expectations": Record(
        Expectation,
        {
            "numbers": LISTED,
            "categories": LISTED,
            "bound": List(NAMES),
            "min_explained": SHARE,
            "strength": LENT,
            **SEEN,
            "targets_": List(_TARGET),
            "scales_": Dict(SCALE),
            "centres_": Dict(Fixed(FINITE, POSITIVE, FINITE, FINITE)),
            "levels_": Dict(LEVELS),
            "farthest_": POSITIVE,
        },
        _targets_fault,
        optional=("farthest_",),
    ),
    "rules": Record(
        Rules,
        {"products": List(_PRODUCT), "dates": LISTED, **SEEN, "orders_": List(Fixed(_DURATION, LENT))},
    ),
    "missing": _category_rarity(MissingRarity),
    "repeats": Record(
        Repeats,
        {
            "numbers": LISTED,
            "within": LISTED,
            "dates": LISTED,
            **SEEN,
            "continuous_": LISTED,
            "records_": Record(_Records, {"content": _KEYS, "whole": _KEYS}, _records_fault),
            "readings_": List(
                Record(_Counter, {"keys": _KEYS, "counts": Array("int32", least=2)}, _counts_fault),
            ),
        },
        _repeats_fault,
    ),
    "levels": _category_rarity(LevelRarity),
    "patterns": _category_rarity(MissingLevels),
    "values": _category_rarity(ValueRarity),
    **EVIDENCE_BRANCHES,
}
TAILS = Record(
    DeviationSummary,
    {
        "least": Optional(List(LENT)),
        "most": Optional(List(Number(special=True))),
        "n_features_in_": Whole(),
        "median_": Array("float32"),
        "width_": Array("float32", 2, special=True),
        "bounds_": Array("float32", 2, special=True, least=-LARGEST, most=LARGEST),
        "profile_": Array("float32", least=0.0),
    },
    _tails_fault,
    optional=("bounds_", "profile_"),
)
