"""The groups within which features judge, as columns of levels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anomaly_detection.data.columns.table import Coded, Table
from anomaly_detection.features.dates.derived import CalendarPart, Derived
from anomaly_detection.features.group import FeatureSource

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["is_date", "levels_of"]


def levels_of(source: FeatureSource, extended: Table | pd.DataFrame) -> list[str]:
    """The columns of a feature's group that hold levels; numbers that a value is foretold from make no group."""
    # A span of four weeks is a number to people, and no cause.
    named = [name for name in source.group_by if not _is_span(source.derived.get(name))]
    return [name for name in named if name in extended and not _is_measured(extended[name])]


def is_date(column: Any) -> bool:
    """Whether a column of a `Table` holds dates."""
    return not isinstance(column, Coded) and column.dtype.kind == "M"


def _is_span(part: Derived | None) -> bool:
    return isinstance(part, CalendarPart) and part.part == "period"


def _is_measured(column: Any) -> bool:
    return not isinstance(column, Coded) and column.dtype.kind in "biufcM"
