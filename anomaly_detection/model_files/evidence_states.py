"""What evidence and its branches hold, declared, for model files."""

from __future__ import annotations

from typing import Any

import numpy as np

from anomaly_detection.features.categories.constants import Constants
from anomaly_detection.features.categories.name_forms import NameForms
from anomaly_detection.features.categories.owners import Owned, Owners
from anomaly_detection.features.categories.relations import Relation, Relations
from anomaly_detection.features.categories.spelling import Spelling, Spellings
from anomaly_detection.features.compiled.course import LEAST_TAIL
from anomaly_detection.features.dates.restated import Restated, Restating
from anomaly_detection.features.dates.restated_columns import PARTS
from anomaly_detection.features.dates.spans import Dates
from anomaly_detection.features.evidence.evidence import Evidence, FeatureScale, Tails
from anomaly_detection.features.evidence.lessons import Lessons
from anomaly_detection.features.forms import MOST_DECIMALS, Decimals, Forms, Gaps, Signs, Zeros
from anomaly_detection.features.numbers.contexts import Context, Contexts
from anomaly_detection.features.numbers.frequency import Frequency
from anomaly_detection.features.numbers.history import History
from anomaly_detection.features.numbers.ties import Tie, Ties
from anomaly_detection.features.repeats.amended import Amended
from anomaly_detection.features.repeats.coincidences import Chance
from anomaly_detection.features.repeats.commonness import CommonCells, Commonness
from anomaly_detection.features.repeats.copies import Copies
from anomaly_detection.features.series.course import Course
from anomaly_detection.features.series.courses import Courses, Followed
from anomaly_detection.features.series.readings import Readings
from anomaly_detection.features.series.sequence import Neighbours, Runs, Series
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
from mlx_iforest.convert.declared import Dict, Fixed, Implied, Kind, List, Optional, Record
from mlx_iforest.convert.declared_values import Array, Flag, Number, Text, Unkept, Whole

__all__ = ["EVIDENCE", "EVIDENCE_BRANCHES", "LESSONS"]


def _ascending(array: Any) -> bool:
    return not np.any(array[1:] <= array[:-1])


def _chance_fault(chance: Chance) -> str | None:
    return None if chance.seen <= chance.rows else "expected no more records seen than there were"


def _common_cells_fault(cells: CommonCells) -> str | None:
    if len(cells.keys) != len(cells.counts) or not _ascending(cells.keys):
        return "expected keys in ascending order, with a count for each"
    return None


def _commonness_fault(commonness: Commonness) -> str | None:
    return None if commonness.cells else "expected the cells of a column"


def _copies_fault(copies: Copies) -> str | None:
    if not set(copies.names_) <= set(copies.names) <= set(copies.feature_names_in_):
        return "expected names among the columns"
    if not len(copies.content_) or not _ascending(copies.content_) or not _ascending(copies.whole_):
        return "expected keys in ascending order"
    if len(copies.counts_) != len(copies.content_):
        return "expected a count for each key"
    if copies.commonness_ is not None and set(copies.commonness_.cells) != set(copies._said):
        return "expected the cells of the columns that say something"
    # Each record has both keys.
    if not len(copies.content_) <= len(copies.whole_) <= int(copies.counts_.sum()) <= copies.chance_.rows:
        return f"expected keys of {copies.chance_.rows} records at most"
    return None


def _amended_fault(amended: Amended) -> str | None:
    columns = set(amended.feature_names_in_)
    if not set(amended.amended_) <= set(amended.numbers) <= columns:
        return "expected numbers among the columns"
    if not set(amended.names_) <= set(amended.names) <= columns - set(amended.numbers):
        return "expected names among the other columns"
    if len(amended.amended_) < 2 or not len(amended.alike_) or not len(amended.keys_):
        return "expected two numbers and a record"
    if not _ascending(amended.alike_) or not _ascending(amended.keys_):
        return "expected keys in ascending order"
    if not len(amended.alike_) <= amended.remembered_ <= amended.chance_.rows:
        return f"expected keys of {amended.chance_.rows} records at most"
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


_GROUPED = Array("int64", least=0)
_NOT_NEGATIVE = Array("float64", least=0.0, most=LARGEST)
_HISTORY = Record(
    History,
    {
        "count": _GROUPED,
        "median": FINITE_ARRAY,
        "spread": _NOT_NEGATIVE,
        "low": FINITE_ARRAY,
        "high": FINITE_ARRAY,
        "centre": FINITE,
        "width": POSITIVE,
        "within": LENT,
        "lent_centre": POSITIVE,
        "lent_spread": POSITIVE,
        "resolution": POSITIVE,
        "told": Optional(Array("float64", dimensions=2, least=-LARGEST, most=LARGEST)),
        "of_new": Flag(),
        "unproven": LENT,
    },
    # Earlier files lack them.
    optional=("told", "of_new", "unproven"),
)


def _context_fault(context: Context) -> str | None:
    history = context.history
    sizes = {len(array) for array in (history.count, history.median, history.spread, history.low, history.high)}
    if sizes != {len(context.groups) + 1} or context.groups.columns != context.group_by or history.count[-1] != 0:
        return "expected what was usual in each group, and nothing of new ones"
    if history.told is not None and history.told.shape != (3, len(history.count)):
        return "expected the median and the range of each group and of all"
    return None


_CONTEXT = Record(
    Context,
    {
        "column": Text(),
        "per": Optional(Text()),
        "group_by": NAMES,
        "scale": SCALE,
        "groups": COMBINED,
        "history": _HISTORY,
        "learned": Unkept(None),
    },
    _context_fault,
    # Earlier files have a place for what one fit left behind, empty.
    optional=("learned",),
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
        "lent": POSITIVE,
        "levels": LEVELS,
        "given_levels": LEVELS,
        "both": COMBINED,
        "lent_back": Optional(POSITIVE),
    },
    _relation_fault,
    optional=("lent_back",),
)


def _accompanied_fault(branch: Any) -> str | None:
    known = {*branch.companions_.of, *branch.companions_.levels} <= set(branch.feature_names_in_)
    return None if known else "expected companions among the columns"


_KIN = Optional(Dict(NAMES))


def _dates_fault(dates: Dates) -> str | None:
    fits = len(dates.spans_) == len(dates.feature_names_in_)
    ordered = all(first <= middle <= last for middle, first, last, _ in dates.spans_)
    return None if fits and ordered else "expected the middle and the ends of each column's dates"


def _forms(of: type, learned: Kind) -> Record:
    kinds: dict[str, Kind] = {**SEEN, "n_rows_": Whole(1), "learned_": Dict(learned), "never_": LENT}
    # Files of before have one for all.
    return Record(of, kinds, _forms_fault, optional=("never_",))


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
                "median": Array("float64", least=-LARGEST, most=LARGEST),
                "width": Array("float64", 2, least=-LARGEST, most=LARGEST),
                "knots": Array("float64", 3, special=True, least=-LARGEST, most=LARGEST),
                "worth": Array("float64", 3, least=0.0, most=1e3),
                "slope": Array("float64", 2, least=-LARGEST, most=LARGEST),
            },
            _tails_of_evidence_fault,
        ),
        "agreeing": SHARE,
        "second": SHARE,
    },
    _evidence_fault,
    optional=("agreeing", "second"),
)


_CHANCE = Record(
    Chance,
    {"seen": Whole(), "rows": Whole(1), "compared": LENT, "apart": SHARE, "never": LENT, "seldom": SHARE},
    _chance_fault,
    # Files of before have one for all.
    optional=("never", "seldom"),
)
_CELLS = Record(
    CommonCells,
    {"keys": Array("uint64"), "counts": Array("float64", least=1.0, most=LARGEST), "others": LENT},
    _common_cells_fault,
)
_COMMONNESS = Record(
    Commonness, {"cells": Dict(_CELLS), "start": FINITE, "slope": Number(0.0, 2.0), "compared": LENT}, _commonness_fault
)
_FREQUENCY = Record(
    Frequency,
    {
        "step": Number(1e-12, 1.0),
        "knots": FINITE_ARRAY,
        "heights": Array("float64", least=0.0, most=LARGEST),
        "repeated": FINITE_ARRAY,
        "counts": Array("int64", least=2),
        "values": Whole(1),
        "compared": LENT,
        "rate": POSITIVE,
        "shape": POSITIVE,
        "levels": Array("float64", least=SMALLEST, most=LARGEST),
        "nats": Array("float64", least=0.0, most=LARGEST),
        "apart": SHARE,
        "once": Number(0.0, 50.0),
    },
    _frequency_fault,
    optional=("once",),
)


_PART = Text(tuple(PARTS))


def _restating_fault(restating: Restating) -> str | None:
    if not len(restating.parts) or len(restating.parts) != len(restating.said) or not _ascending(restating.parts):
        return "expected parts in ascending order, and what each leads to"
    return None


_RESTATING = Record(
    Restating,
    {
        "column": Text(),
        "part": _PART,
        "date": Text(),
        "parts": FINITE_ARRAY,
        "said": List(Text()),
        "breaches": Whole(),
    },
    _restating_fault,
)


def _restated_fault(restated: Restated) -> str | None:
    if {one.column: (one.part, one.date) for one in restated.restatings_} != restated.restated:
        return "expected what each column restates"
    if not {name for one in restated.restatings_ for name in (one.column, one.date)} <= set(restated.feature_names_in_):
        return "expected columns that are there"
    return None if all(one.breaches <= restated.n_rows_ for one in restated.restatings_) else "too many breaches"


def _owners_fault(owners: Owners) -> str | None:
    columns = set(owners.feature_names_in_)
    if not {*owners.names, *owners.categories, *owners.dates} <= columns:
        return "expected columns that are there"
    for one in owners.owned_:
        if not {*one.all_columns} <= columns or not 1 <= one.least <= len(one.columns):
            return "expected columns that are there, and that some of them differ"
        if not len(one.keys) or not _ascending(one.keys) or one.cells.shape != (len(one.columns), len(one.keys)):
            return "expected keys in ascending order, and a cell of each for each column"
        if max(len(one.keys), one.breaches) > owners.n_rows_:
            return f"expected keys and breaches of {owners.n_rows_} records at most"
    return None


def _ties_fault(ties: Ties) -> str | None:
    for tie in ties.ties_:
        if not 1 <= len(tie.of) <= (1 if tie.dates else 2):
            return "expected one column or two"
        if tie.factor == 0.0 or tie.breaches > ties.n_rows_:
            return "expected a factor, and breaches of the records"
        if not set(tie.columns) <= set(ties.dates if tie.dates else ties.numbers) <= set(ties.feature_names_in_):
            return "expected columns that are there"
    return None


def _series_fault(series: Series) -> str | None:
    if (series.by is None) != (series.levels is None):
        return "expected the levels of 'by'"
    return "expected shares that fall" if sorted(series.at_least, reverse=True) != list(series.at_least) else None


_SERIES = Record(
    Series,
    {
        "column": Text(),
        "by": Optional(Text()),
        "levels": Optional(LEVELS),
        "scale": LENT,
        "apart": POSITIVE,
        "at_least": List(Number(SMALLEST, 1.0), tuple),
        "repeated": SHARE,
        "foretold": Flag(),
    },
    _series_fault,
    # Files of before have no others.
    optional=("foretold",),
)


def _of_series_fault(branch: Any) -> str | None:
    named = {name for one in branch.series_ for name in (one.column, one.by) if name is not None}
    return None if named <= set(branch.feature_names_in_) else "expected columns that are there"


def _of_series(of: type) -> Record:
    return Record(of, {"numbers": LISTED, "categories": LISTED, **SEEN, "series_": List(_SERIES)}, _of_series_fault)


def _followed_fault(one: Followed) -> str | None:
    if (one.by is None) != (one.levels is None):
        return "expected the levels of 'by'"
    count = 1 if one.levels is None else len(one.levels)
    made = Course(one.between)
    for name in ("cells", "tails", "counts"):
        if getattr(one, name).shape != (count, *getattr(made, name).shape):
            return f"{name!r} has another size"
    seen = one.tails[..., 0] > 0.0
    if (one.tails[seen][:, 2:] < LEAST_TAIL).any() or (one.counts[:, [0, 1, 2, 3, 6]] < 0.0).any():
        return "expected no less than nothing"
    return None


def _courses_fault(branch: Courses) -> str | None:
    named = {name for one in branch.followed_ for name in (one.column, one.time, one.by) if name is not None}
    return None if named <= set(branch.feature_names_in_) else "expected columns that are there"


_FOLLOWED = Record(
    Followed,
    {
        "column": Text(),
        "time": Text(),
        "by": Optional(Text()),
        "levels": Optional(LEVELS),
        # A second at least, and a hundred years at most.
        "between": Number(1e-9, 36_525.0),
        "cells": Array("float64", 3, special=True, least=-LARGEST, most=LARGEST),
        "tails": Array("float64", 3, least=0.0, most=LARGEST),
        "counts": Array("float64", 2, least=-LARGEST, most=LARGEST),
    },
    _followed_fault,
)

EVIDENCE_BRANCHES: dict[str, Record] = {
    "copies": Record(
        Copies,
        {
            "names": LISTED,
            **SEEN,
            "names_": LISTED,
            "chance_": _CHANCE,
            "commonness_": Optional(_COMMONNESS),
            "content_": Array("uint64"),
            "counts_": COUNTS,
            "whole_": Array("uint64"),
        },
        _copies_fault,
        # Files of before judge all copies alike.
        optional=("commonness_",),
    ),
    "readings": Record(
        Readings,
        {
            "numbers": LISTED,
            "within": LISTED,
            **SEEN,
            "frequencies_": Dict(_FREQUENCY),
            "together_": List(_CHANCE),
            "last_": Array("float64", 2, special=True, least=-LARGEST, most=LARGEST),
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
            **SEEN,
            "contexts_": List(_CONTEXT),
        },
    ),
    "relations": Record(
        Relations,
        {
            "kin": _KIN,
            "keys": Implied(()),
            "dates": Implied(()),
            **SEEN,
            "relations_": List(_RELATION),
            "companions_": COMPANIONS,
        },
        _accompanied_fault,
        optional=("companions_",),
    ),
    "dates": Record(Dates, {**SEEN, "spans_": List(Fixed(FINITE, FINITE, FINITE, POSITIVE))}, _dates_fault),
    "signs": _forms(Signs, Whole()),
    "decimals": _forms(Decimals, Array("int64", least=0)),
    "given": _forms(Gaps, Whole()),
    "forms": _forms(Forms, Dict(Whole(1))),
    # Files of before name no slips.
    "spelling": Record(
        Spelling,
        {
            **SEEN,
            "n_rows_": Whole(1),
            "learned_": Dict(
                Record(Spellings, {"names": List(Text()), "evidence": LENT, "slips": NAMES}, optional=("slips",))
            ),
            "companions_": COMPANIONS,
        },
        lambda spelling: _forms_fault(spelling) or _accompanied_fault(spelling),
        optional=("companions_",),
    ),
    "zeros": _forms(Zeros, Whole()),
    "restated": Record(
        Restated,
        {"restated": Dict(Fixed(_PART, Text())), **SEEN, "n_rows_": Whole(1), "restatings_": List(_RESTATING)},
        _restated_fault,
    ),
    "neighbours": _of_series(Neighbours),
    "runs": _of_series(Runs),
    "names": _forms(NameForms, Dict(Whole(1))),
    "constants": _forms(Constants, Dict(Whole(1))),
    "courses": Record(
        Courses,
        {"numbers": LISTED, "dates": LISTED, "categories": LISTED, **SEEN, "followed_": List(_FOLLOWED)},
        _courses_fault,
    ),
    "amended": Record(
        Amended,
        {
            "numbers": LISTED,
            **SEEN,
            "names": LISTED,
            "amended_": LISTED,
            "names_": LISTED,
            "chance_": _CHANCE,
            "remembered_": Whole(1),
            "alike_": Array("uint64"),
            "keys_": Array("uint64"),
        },
        _amended_fault,
    ),
    "ties": Record(
        Ties,
        {
            "numbers": LISTED,
            "dates": LISTED,
            **SEEN,
            "n_rows_": Whole(1),
            "ties_": List(
                Record(
                    Tie,
                    {
                        "column": Text(),
                        "of": NAMES,
                        "factor": FINITE,
                        "tolerance": LENT,
                        "dates": Flag(),
                        "breaches": Whole(),
                    },
                )
            ),
        },
        _ties_fault,
    ),
    "owners": Record(
        Owners,
        {
            "names": LISTED,
            "categories": LISTED,
            "dates": LISTED,
            **SEEN,
            "n_rows_": Whole(1),
            "owned_": List(
                Record(
                    Owned,
                    {
                        "name": Text(),
                        "columns": NAMES,
                        "least": Whole(1),
                        "breaches": Whole(),
                        "keys": Array("uint64"),
                        "cells": Array("uint64", dimensions=2),
                    },
                )
            ),
        },
        _owners_fault,
    ),
}

LESSONS = Record(Lessons, {"features": NAMES, "verdicts": List(Whole(-1, 1), tuple)})
