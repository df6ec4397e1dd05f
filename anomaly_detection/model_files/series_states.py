"""What knows series holds, declared."""

from __future__ import annotations

from typing import Any

from anomaly_detection.features.compiled.course import LEAST_TAIL
from anomaly_detection.features.series.course import Course
from anomaly_detection.features.series.courses import Courses, Followed
from anomaly_detection.features.series.sequence import Neighbours, Runs, Series
from anomaly_detection.model_files.shared_states import LARGEST, LENT, LEVELS, LISTED, POSITIVE, SEEN, SHARE, SMALLEST
from mlx_iforest.convert.declared import List, Optional, Record
from mlx_iforest.convert.declared_values import Array, Flag, Number, Text

__all__ = ["SERIES"]


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


SERIES: dict[str, Record] = {
    "neighbours": _of_series(Neighbours),
    "runs": _of_series(Runs),
    "courses": Record(
        Courses,
        {"numbers": LISTED, "dates": LISTED, "categories": LISTED, **SEEN, "followed_": List(_FOLLOWED)},
        _courses_fault,
    ),
}
