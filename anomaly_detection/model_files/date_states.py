"""What knows dates holds, declared."""

from __future__ import annotations

from anomaly_detection.features.dates.restated import Restated, Restating
from anomaly_detection.features.dates.restated_columns import PARTS
from anomaly_detection.features.dates.spans import Dates
from anomaly_detection.model_files.shared_states import FINITE, FINITE_ARRAY, POSITIVE, SEEN, ascending
from mlx_iforest.convert.declared import Dict, Fixed, List, Record
from mlx_iforest.convert.declared_values import Text, Whole

__all__ = ["DATES"]


def _dates_fault(dates: Dates) -> str | None:
    fits = len(dates.spans_) == len(dates.feature_names_in_)
    ordered = all(first <= middle <= last for middle, first, last, _ in dates.spans_)
    return None if fits and ordered else "expected the middle and the ends of each column's dates"


_PART = Text(tuple(PARTS))


def _restating_fault(restating: Restating) -> str | None:
    if not len(restating.parts) or len(restating.parts) != len(restating.said) or not ascending(restating.parts):
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


DATES: dict[str, Record] = {
    "dates": Record(Dates, {**SEEN, "spans_": List(Fixed(FINITE, FINITE, FINITE, POSITIVE))}, _dates_fault),
    "restated": Record(
        Restated,
        {"restated": Dict(Fixed(_PART, Text())), **SEEN, "n_rows_": Whole(1), "restatings_": List(_RESTATING)},
        _restated_fault,
    ),
}
