"""What columns are and what cleaning them did, declared for model files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_args

from anomaly_detection.data.cells.date_forms import DAY_FIRST, MONTH_FIRST, is_date_form
from anomaly_detection.data.cells.epochs import EpochUnit
from anomaly_detection.data.cells.units import UNITS
from anomaly_detection.data.columns.cleaning import CleaningReport, ColumnCleaning
from anomaly_detection.data.columns.column import Column, Role
from anomaly_detection.data.columns.schema import Schema
from anomaly_detection.texts.said import Said, remade, written
from mlx_iforest.convert.declared import Arrays, Dict, Kind, List, Optional, Record
from mlx_iforest.convert.declared_values import Chosen, Flag, Number, Text, Whole

__all__ = ["CLEANING", "SCHEMA"]

_TEXTS = List(Text(), tuple)


@dataclass(frozen=True)
class _Grown(Kind):
    """A record that has got further attributes; `grow` adds to what an older file holds."""

    record: Record
    grow: Callable[[dict[str, Any]], dict[str, Any]]

    def encode(self, value: Any, at: str, arrays: Arrays) -> Any:
        return self.record.encode(value, at, arrays)

    def decode(self, found: Any, at: str, arrays: Arrays) -> Any:
        return self.record.decode(self.grow(found) if isinstance(found, dict) else found, at, arrays)


class _Reason(Text):
    """A text that keeps what it was made of."""

    def encode(self, value: Any, at: str, arrays: Arrays) -> Any:
        return written(value) if isinstance(value, Said) else super().encode(value, at, arrays)

    def decode(self, found: Any, at: str, arrays: Arrays) -> Any:
        return remade(super().decode(found, at, arrays))


def _column_fault(column: Column) -> str | None:
    if not all(map(is_date_form, column.dates)):
        return "'dates' names an unknown form"
    if column.unit is not None and (column.unit not in UNITS or UNITS[column.unit].name != column.unit):
        return "'unit' names an unknown unit"
    return None if len(column.truth) in (0, 2) else "'truth' must be two texts or none"


def _grown_column(found: dict[str, Any]) -> dict[str, Any]:
    """Of a file from before there were forms of dates: one order held for all marks, and commas were always settled."""
    if "day_first" not in found:
        return found
    dates = DAY_FIRST if found["day_first"] is True else MONTH_FIRST
    new = {"dates": list(dates), "unit": None, "codes": [], "kept": [], "truth": [], "note": ""}
    return {**new, **{name: value for name, value in found.items() if name != "day_first"}}


_COLUMN = _Grown(
    Record(
        Column,
        {
            "name": Text(),
            "role": Chosen(Role),
            "reason": _Reason(),
            "decimal_comma": Optional(Flag()),
            "dates": _TEXTS,
            "epoch": Optional(Text(get_args(EpochUnit))),
            "unit": Optional(Text()),
            "codes": _TEXTS,
            "kept": _TEXTS,
            "truth": _TEXTS,
            "texts": _TEXTS,
            "distinct": Whole(),
            "missing": Number(0.0, 1.0),
            "note": Text(),
        },
        _column_fault,
    ),
    _grown_column,
)


def _schema_fault(schema: Schema) -> str | None:
    return None if len(set(schema.names())) == len(schema.columns) else "two columns have one name"


SCHEMA = Record(Schema, {"columns": List(_COLUMN, tuple)}, _schema_fault)

_CLEANED = _Grown(
    Record(
        ColumnCleaning,
        {
            "from_text": Whole(),
            "blank": Whole(),
            "unread": Dict(Whole()),
            "coded": Dict(Whole()),
            "undecided": Whole(),
            "note": Text(),
        },
    ),
    lambda found: {"coded": {}, "undecided": 0, "note": "", **found},
)
CLEANING = Record(CleaningReport, {"rows": Whole(), "columns": Dict(_CLEANED), "unreadable": Dict(Text())})
