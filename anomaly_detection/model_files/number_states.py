"""What knows numbers within groups and beside each other holds, declared."""

from __future__ import annotations

from anomaly_detection.features.numbers.contexts import Context, Contexts
from anomaly_detection.features.numbers.history import History
from anomaly_detection.features.numbers.ties import Tie, Ties
from anomaly_detection.model_files.shared_states import (
    COMBINED,
    FINITE,
    FINITE_ARRAY,
    KIN,
    LARGEST,
    LENT,
    LISTED,
    NAMES,
    POSITIVE,
    SCALE,
    SEEN,
)
from mlx_iforest.convert.declared import List, Optional, Record
from mlx_iforest.convert.declared_values import Array, Flag, Text, Unkept, Whole

__all__ = ["NUMBERS"]

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


def _ties_fault(ties: Ties) -> str | None:
    for tie in ties.ties_:
        if not 1 <= len(tie.of) <= (1 if tie.dates else 2):
            return "expected one column or two"
        if tie.factor == 0.0 or tie.breaches > ties.n_rows_:
            return "expected a factor, and breaches of the records"
        if not set(tie.columns) <= set(ties.dates if tie.dates else ties.numbers) <= set(ties.feature_names_in_):
            return "expected columns that are there"
    return None


NUMBERS: dict[str, Record] = {
    "contexts": Record(
        Contexts,
        {
            "numbers": LISTED,
            "categories": LISTED,
            "divisors": LISTED,
            "kin": KIN,
            **SEEN,
            "contexts_": List(_CONTEXT),
        },
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
}
