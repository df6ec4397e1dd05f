"""What the branches of `SupplyChainFeatures` hold, declared, for model files."""

from __future__ import annotations

import math
from typing import Any, get_args

import numpy as np
import pandas as pd

from anomaly_detection.data.levels import CombinedLevels, Levels
from anomaly_detection.features.coincidences import Chance
from anomaly_detection.features.contexts import Context, Contexts, History
from anomaly_detection.features.copies import Copies
from anomaly_detection.features.dates import Dates
from anomaly_detection.features.derived import (
    CalendarKind,
    CalendarPart,
    Duration,
    MissingPattern,
    MissingState,
    NumberLevel,
    Product,
    Ratio,
)
from anomaly_detection.features.duplicates import Repeats, _Counter, _Records
from anomaly_detection.features.evidence import Evidence, FeatureScale, Tails
from anomaly_detection.features.expectation import Expectation, _Target
from anomaly_detection.features.forms import MOST_DECIMALS, Decimals, Forms, Given, Signs, Spelling, Spellings
from anomaly_detection.features.group_deviation import GroupDeviation, _Deviation, _Usual
from anomaly_detection.features.numeric_values import Durations, NumericValues, Ratios, Scale
from anomaly_detection.features.rarity import (
    CalendarRarity,
    CategoryRarity,
    LevelRarity,
    MissingLevels,
    MissingRarity,
    PairRarity,
)
from anomaly_detection.features.readings import Frequency, Readings
from anomaly_detection.features.relations import Relation, Relations
from anomaly_detection.features.rules import Rules
from anomaly_detection.features.surprise import DeviationSummary
from mlx_iforest.convert.declared import (
    Dict,
    Fixed,
    Kind,
    List,
    OneOf,
    Optional,
    Record,
)
from mlx_iforest.convert.declared_values import Array, Flag, Number, Strings, Text, Unkept, Whole

__all__ = ["BRANCHES", "DERIVED", "EVIDENCE", "LISTED", "NAMES", "TAILS"]

# Far beyond what records hold: quotients of such numbers are still floats.
_SMALLEST, _LARGEST = 1e-100, 1e100
_POSITIVE = Number(_SMALLEST, _LARGEST)
_FINITE = Number(-_LARGEST, _LARGEST)
_FINITE_ARRAY = Array("float64", least=-_LARGEST, most=_LARGEST)
_COUNTS = Array("int64", least=1)
_KEYS = Array("uint64", least=1)
_SHARE = Number(0.0, 1.0)
_LENT = Number(0.0, _LARGEST)

NAMES = List(Text(), tuple)
LISTED = List(Text())

_DURATION = Record(Duration, {"start": Text(), "end": Text()})
_STEP = Number(0.0, 1.0)
_PRODUCT = Record(
    Product,
    {
        "total": Text(),
        "factors": Fixed(Text(), Text()),
        "steps": Fixed(_STEP, _STEP, _STEP),
        "constant": _POSITIVE,
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


def _levels_fault(levels: Levels) -> str | None:
    if not len(levels.names) or len(levels.names) != len(levels.counts) or not levels.names.is_unique:
        return "expected levels, with one count for each"
    return None


def _combined_fault(combined: CombinedLevels) -> str | None:
    if len(combined.columns) != len(combined.levels):
        return "expected the levels of each column"
    # Rows are looked up by bisection, and there is at least one combination.
    known, possible = combined._known, math.prod(map(len, combined.levels))
    if not len(known) or len(known) != len(combined.counts) or np.any(known[1:] <= known[:-1]):
        return "expected combinations in ascending order, with a count for each"
    return None if known[-1] < possible else f"expected combinations of {possible} at most"


def _as_index(names: Any) -> pd.Index[Any]:
    return pd.Index(names, dtype=object)


_LEVELS = Record(Levels, {"names": Strings(_as_index), "counts": _COUNTS}, _levels_fault)
_COMBINED = Record(
    CombinedLevels,
    {"columns": NAMES, "levels": List(_LEVELS, tuple), "_known": Array("int64", least=0), "counts": _COUNTS},
    _combined_fault,
)
_SCALE = Record(Scale, {"floor": Optional(_POSITIVE)})


def _usual_fault(usual: _Usual) -> str | None:
    sizes = {len(usual.centre), len(usual.spread)}
    # Without columns there is one group, of all rows, and its entry for new ones.
    if sizes != {len(usual.groups) + 1}:
        return "expected centre and spread of each group and of new ones"
    return None


_USUAL = Record(
    _Usual,
    {"groups": _COMBINED, "centre": _FINITE_ARRAY, "spread": Array("float64", least=_SMALLEST, most=_LARGEST)},
    _usual_fault,
)


def _deviation_fault(deviation: _Deviation) -> str | None:
    chain = [*deviation.parents, deviation.usual]
    expected = [deviation.group_by[:depth] for depth in range(len(deviation.group_by) + 1)]
    if len(expected) < 2 or [usual.groups.columns for usual in chain] != expected:
        return "expected the groups of each of 'group_by', from all rows on"
    rows = {int(usual.groups.counts.sum()) for usual in chain}
    return None if len(rows) == 1 else "expected groups of the same rows"


_DEVIATION = Record(
    _Deviation,
    {"column": Text(), "scale": _SCALE, "group_by": NAMES, "usual": _USUAL, "parents": List(_USUAL)},
    _deviation_fault,
)
_TARGET = Record(
    _Target,
    {
        "column": Text(),
        "weights": _FINITE_ARRAY,
        "spread": Number(0.02, _LARGEST),
        "group_by": NAMES,
        "places": Optional(Array("int64")),
    },
    optional=("places",),
)
_SEEN = {"feature_names_in_": Strings(), "n_features_in_": Whole()}


def _surprises_fault(rarity: CategoryRarity) -> str | None:
    sizes = {name: len(levels) + 1 for name, levels in rarity.levels_.items()}
    found = {name: len(surprises) for name, surprises in rarity.surprise_.items()}
    if sizes != found or not sizes.keys() <= set(rarity.feature_names_in_):
        return "expected the surprise of each level and of new ones"
    for name, levels in rarity.levels_.items():
        # Whether another column tells as much is not in the file.
        possible = [rarity._surprisal(levels.counts, told) for told in (False, True)]
        if not any(np.allclose(rarity.surprise_[name], one, rtol=1e-9, atol=0.0) for one in possible):
            return "expected the surprises that follow from the counts"
    return _rows_fault(rarity.levels_, rarity.n_rows_)


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


def _ascending(array: Any) -> bool:
    return not np.any(array[1:] <= array[:-1])


def _chance_fault(chance: Chance) -> str | None:
    return None if chance.seen <= chance.rows else "expected no more records seen than there were"


def _copies_fault(copies: Copies) -> str | None:
    if not set(copies.names_) <= set(copies.names) <= set(copies.feature_names_in_):
        return "expected names among the columns"
    if not len(copies.content_) or not _ascending(copies.content_) or not _ascending(copies.whole_):
        return "expected keys in ascending order"
    if len(copies.counts_) != len(copies.content_):
        return "expected a count for each key"
    # Each record has both keys.
    if not len(copies.content_) <= len(copies.whole_) <= int(copies.counts_.sum()) <= copies.chance_.rows:
        return f"expected keys of {copies.chance_.rows} records at most"
    return None


def _frequency_fault(frequency: Frequency) -> str | None:
    if not len(frequency.knots) or len(frequency.heights) != len(frequency.knots) - 1:
        return "expected a height between each two knots"
    if not all(map(_ascending, (frequency.knots, frequency.repeated, frequency.levels))):
        return "expected knots, repeated values and levels in ascending order"
    if len(frequency.counts) != len(frequency.repeated) or int(frequency.counts.sum()) > frequency.values:
        return f"expected a count for each repeated value, of {frequency.values} in all"
    if len(frequency.nats) != len(frequency.levels) or np.any(np.diff(frequency.nats) < 0):
        return "expected nats of each level, in ascending order"
    return None


def _readings_fault(readings: Readings) -> str | None:
    columns = set(readings.feature_names_in_)
    if not readings.frequencies_.keys() <= set(readings.numbers) <= columns or not set(readings.within) <= columns:
        return "expected frequencies of some of the columns"
    if len(readings.within) > 1:
        return "expected one span of time at most"
    n, width = len(readings.last_whole_), len(readings.frequencies_)
    if readings.last_.shape != (n, width) or len(readings.last_spans_) != n:
        return "expected the values, span and key of each record that is remembered"
    fits = len(readings.together_) == max(len(readings._joined) - 1, 0)
    return None if fits else "expected the chance of each number of columns together"


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
    medians = Array("float64", special=True, least=-_LARGEST, most=_LARGEST)
    return Record(of, {**_SEEN, "scales_": List(_SCALE), "medians_": medians}, _numbers_fault)


def _category_rarity(of: type[CategoryRarity]) -> Record:
    kinds = {
        "keep_all": Flag(),
        **_SEEN,
        "n_rows_": Whole(1),
        "levels_": Dict(_LEVELS),
        "surprise_": Dict(Array("float64", least=0.0)),
    }
    return Record(of, kinds, _surprises_fault)


_GROUPED = Array("int64", least=0)
_NOT_NEGATIVE = Array("float64", least=0.0, most=_LARGEST)
_HISTORY = Record(
    History,
    {
        "count": _GROUPED,
        "median": _FINITE_ARRAY,
        "spread": _NOT_NEGATIVE,
        "low": _FINITE_ARRAY,
        "high": _FINITE_ARRAY,
        "centre": _FINITE,
        "width": _POSITIVE,
        "within": _LENT,
        "lent_centre": _POSITIVE,
        "lent_spread": _POSITIVE,
        "resolution": _POSITIVE,
    },
)


def _context_fault(context: Context) -> str | None:
    history = context.history
    sizes = {len(array) for array in (history.count, history.median, history.spread, history.low, history.high)}
    if sizes != {len(context.groups) + 1} or context.groups.columns != context.group_by or history.count[-1] != 0:
        return "expected what was usual in each group, and nothing of new ones"
    return None


_CONTEXT = Record(
    Context,
    {
        "column": Text(),
        "per": Optional(Text()),
        "group_by": NAMES,
        "scale": _SCALE,
        "groups": _COMBINED,
        "history": _HISTORY,
        "learned": Unkept(None),
    },
    _context_fault,
)


def _relation_fault(relation: Relation) -> str | None:
    if relation.both.columns != (relation.given, relation.of):
        return "expected the combinations of the two columns"
    rows = {
        int(counts.sum()) for counts in (relation.levels.counts, relation.given_levels.counts, relation.both.counts)
    }
    return None if len(rows) == 1 else "expected counts of the same rows"


_RELATION = Record(
    Relation,
    {
        "of": Text(),
        "given": Text(),
        "lent": _POSITIVE,
        "levels": _LEVELS,
        "given_levels": _LEVELS,
        "both": _COMBINED,
    },
    _relation_fault,
)
_KIN = Optional(Dict(NAMES))


def _dates_fault(dates: Dates) -> str | None:
    fits = len(dates.spans_) == len(dates.feature_names_in_)
    ordered = all(first <= middle <= last for middle, first, last, _ in dates.spans_)
    return None if fits and ordered else "expected the middle and the ends of each column's dates"


def _forms(of: type, learned: Kind) -> Record:
    return Record(of, {**_SEEN, "n_rows_": Whole(1), "learned_": Dict(learned)}, _forms_fault)


def _forms_fault(forms: Any) -> str | None:
    if not forms.learned_.keys() <= set(forms.feature_names_in_):
        return "expected what was learned of its columns"
    for learned in forms.learned_.values():
        counts = [learned] if isinstance(learned, int) else learned.tolist() if isinstance(learned, np.ndarray) else []
        if isinstance(learned, np.ndarray) and len(learned) != MOST_DECIMALS + 1:
            return f"expected counts of 0 to {MOST_DECIMALS} decimals"
        if any(count > forms.n_rows_ for count in counts):
            return f"expected counts of {forms.n_rows_} rows at most"
    return None


_SCALES = List(
    Record(
        FeatureScale,
        {
            "weighed": Flag(),
            "nats": Flag(),
            "logarithmic": Flag(),
            "one_sided": Flag(),
            "discrete": Flag(),
            "judged": Whole(),
        },
    ),
    tuple,
)


def _tails_of_evidence_fault(tails: Tails) -> str | None:
    n = len(tails.median)
    if tails.width.shape != (2, n) or tails.slope.shape != (2, n) or tails.knots.shape != (2, n, tails.knots.shape[2]):
        return f"expected tails of {n} features"
    if tails.worth.shape != tails.knots.shape or not tails.knots.shape[2]:
        return "expected what each knot is worth"
    if not (np.all(tails.width > 0) and np.all(tails.slope > 0)):
        return "expected widths and slopes above 0"
    known = ~np.isnan(tails.knots)
    if np.any(known.any(axis=2) != known.all(axis=2)):
        return "expected all knots of a feature or none"
    ascending = np.where(known, tails.knots, 0.0)
    if np.any(np.diff(ascending, axis=2) < 0) or np.any(np.diff(tails.worth, axis=2) < 0):
        return "expected knots in ascending order, each worth no less"
    return None


def _evidence_fault(evidence: Evidence) -> str | None:
    n = len(evidence.scales)
    return None if n and len(evidence.tails.median) == n else "expected a scale of each feature"


EVIDENCE = Record(
    Evidence,
    {
        "scales": _SCALES,
        "tails": Record(
            Tails,
            {
                "median": Array("float64", least=-_LARGEST, most=_LARGEST),
                "width": Array("float64", 2, least=-_LARGEST, most=_LARGEST),
                "knots": Array("float64", 3, special=True, least=-_LARGEST, most=_LARGEST),
                "worth": Array("float64", 3, least=0.0, most=1e3),
                "slope": Array("float64", 2, least=-_LARGEST, most=_LARGEST),
            },
            _tails_of_evidence_fault,
        ),
    },
    _evidence_fault,
)


_CHANCE = Record(Chance, {"seen": Whole(), "rows": Whole(1), "compared": _LENT, "apart": _SHARE}, _chance_fault)
_FREQUENCY = Record(
    Frequency,
    {
        "step": Number(1e-12, 1.0),
        "knots": _FINITE_ARRAY,
        "heights": Array("float64", least=0.0, most=_LARGEST),
        "repeated": _FINITE_ARRAY,
        "counts": Array("int64", least=2),
        "values": Whole(1),
        "compared": _LENT,
        "rate": _POSITIVE,
        "shape": _POSITIVE,
        "levels": Array("float64", least=_SMALLEST, most=_LARGEST),
        "nats": Array("float64", least=0.0, most=_LARGEST),
        "apart": _SHARE,
    },
    _frequency_fault,
)

BRANCHES: dict[str, Record] = {
    "num": _numeric_values(NumericValues),
    "cat": _category_rarity(CategoryRarity),
    "pairs": Record(
        PairRarity,
        {
            "max_pairs": Whole(),
            "min_information": _LENT,
            **_SEEN,
            "n_rows_": Whole(1),
            "pairs_": List(Fixed(Text(), Text())),
            "levels_": Dict(_LEVELS),
            "combined_": List(_COMBINED),
        },
        _pairs_fault,
    ),
    "calendar": _category_rarity(CalendarRarity),
    "durations": _numeric_values(Durations),
    "ratios": _numeric_values(Ratios),
    "deviations": Record(
        GroupDeviation,
        {
            "numbers": LISTED,
            "categories": LISTED,
            "min_explained": _SHARE,
            "min_gain": _SHARE,
            "strength": _LENT,
            "n_jobs": Unkept(None),
            **_SEEN,
            "deviations_": List(_DEVIATION),
        },
    ),
    "expectations": Record(
        Expectation,
        {
            "numbers": LISTED,
            "categories": LISTED,
            "bound": List(NAMES),
            "min_explained": _SHARE,
            "strength": _LENT,
            **_SEEN,
            "targets_": List(_TARGET),
            "scales_": Dict(_SCALE),
            "centres_": Dict(Fixed(_FINITE, _POSITIVE, _FINITE, _FINITE)),
            "levels_": Dict(_LEVELS),
        },
        _targets_fault,
    ),
    "rules": Record(
        Rules,
        {"products": List(_PRODUCT), "dates": LISTED, **_SEEN, "orders_": List(Fixed(_DURATION, _LENT))},
    ),
    "missing": _category_rarity(MissingRarity),
    "repeats": Record(
        Repeats,
        {
            "numbers": LISTED,
            "within": LISTED,
            "dates": LISTED,
            **_SEEN,
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
    "copies": Record(
        Copies,
        {
            "names": LISTED,
            **_SEEN,
            "names_": LISTED,
            "chance_": _CHANCE,
            "content_": Array("uint64"),
            "counts_": _COUNTS,
            "whole_": Array("uint64"),
        },
        _copies_fault,
    ),
    "readings": Record(
        Readings,
        {
            "numbers": LISTED,
            "within": LISTED,
            **_SEEN,
            "frequencies_": Dict(_FREQUENCY),
            "together_": List(_CHANCE),
            "last_": Array("float64", 2, special=True, least=-_LARGEST, most=_LARGEST),
            "last_spans_": Array("int64"),
            "last_whole_": Array("uint64"),
        },
        _readings_fault,
    ),
    "contexts": Record(
        Contexts,
        {
            "numbers": LISTED,
            "categories": LISTED,
            "divisors": LISTED,
            "kin": _KIN,
            **_SEEN,
            "contexts_": List(_CONTEXT),
        },
    ),
    "relations": Record(Relations, {"kin": _KIN, **_SEEN, "relations_": List(_RELATION)}),
    "dates": Record(Dates, {**_SEEN, "spans_": List(Fixed(_FINITE, _FINITE, _FINITE, _POSITIVE))}, _dates_fault),
    "signs": _forms(Signs, Whole()),
    "decimals": _forms(Decimals, Array("int64", least=0)),
    "given": _forms(Given, Whole()),
    "forms": _forms(Forms, Dict(Whole(1))),
    # Files of before name no slips.
    "spelling": _forms(
        Spelling, Record(Spellings, {"names": List(Text()), "evidence": _LENT, "slips": NAMES}, optional=("slips",))
    ),
}
TAILS = Record(
    DeviationSummary,
    {
        "least": Optional(List(_LENT)),
        "most": Optional(List(Number(special=True))),
        "n_features_in_": Whole(),
        "median_": Array("float32"),
        "width_": Array("float32", 2, special=True),
        "bounds_": Array("float32", 2, special=True, least=-_LARGEST, most=_LARGEST),
        "profile_": Array("float32", least=0.0),
    },
    _tails_fault,
    optional=("bounds_", "profile_"),
)
