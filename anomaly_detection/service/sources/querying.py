"""`Query`: rows of a database of somebody's, from a watermark on; nothing is ever written there."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import bindparam, column, func, select, text

from anomaly_detection.data.databases.locations import ReadDatabase, one_select, refuse_twice, rows_of
from anomaly_detection.errors import DataError
from anomaly_detection.service.records.incoming import Incoming
from anomaly_detection.service.records.plain_records import plain
from anomaly_detection.texts.said import say

__all__ = ["Position", "Query"]

_AT_ONCE = 1000
_READERS: dict[str, Callable[[Any], Any]] = {
    "int": int,
    "float": float,
    "text": str,
    "moment": datetime.fromisoformat,
    "day": date.fromisoformat,
    "decimal": Decimal,
}


@dataclass(frozen=True)
class Position:
    """How far a query has come.

    Attributes
    ----------
    value : int, float, str, datetime, date or Decimal
        The highest watermark that was taken.
    count : int
        Rows of that very watermark that were there: where there are more by now, some came late.
    """

    value: Any
    count: int

    @classmethod
    def of(cls, written: Mapping[str, Any] | None) -> Position | None:
        """Out of what `written` gave."""
        return None if written is None else cls(_READERS[written["kind"]](written["value"]), written["count"])

    def written(self) -> dict[str, Any]:
        """For JSON."""
        kind = _kind(self.value)
        value = (
            self.value.isoformat()
            if kind in ("moment", "day")
            else str(self.value)
            if kind == "decimal"
            else self.value
        )
        return {"kind": kind, "value": value, "count": self.count}


def _kind(value: Any) -> str:
    """Of a watermark; `DataError` for what has no order, or none that stays."""
    if isinstance(value, bool) or (isinstance(value, (float, Decimal)) and not math.isfinite(value)):
        raise DataError(
            say("The watermark is %(value)s; it is a whole number, a number, a date, a moment or a text.", value=value)
        )
    kinds = {int: "int", float: "float", str: "text", datetime: "moment", date: "day", Decimal: "decimal"}
    for kind, name in kinds.items():
        if isinstance(value, kind):
            return name
    raise DataError(
        say("The watermark is of type %(name)s; it is a number, a date, a moment or a text.", name=type(value).__name__)
    )


class Query:
    """A query whose rows are records.

    Parameters
    ----------
    url : str
        Of SQLAlchemy.
    query : str
        One SELECT.
    watermark : str
        The column by which later rows are told: it never falls.

    Raises
    ------
    DataError
        For an URL that is none, a database whose driver is missing, or several statements.
    """

    def __init__(self, url: str, query: str, watermark: str) -> None:
        query = one_select(query)
        self._database = ReadDatabase(url)
        self._rows = rows_of(query, "watched")
        self.watermark = watermark
        self._column: Any = column(watermark)

    def check(self) -> None:
        """Raise `DataError` where it cannot be run, a column has no name of its own, or the watermark is none."""
        for rows in self._parts(select(text("*")).select_from(self._rows).where(self._column.is_not(None)).limit(1)):
            for row in rows:
                _kind(row[self.watermark])

    def waits(self, position: Position | None) -> bool:
        """Whether there are rows that were not taken; raises as `check`."""
        with self._database.reading() as connection:
            found = select(func.count()).select_from(self._rows).where(self._from(position))
            count = connection.execute(found, self._given(position)).scalar_one()
        return int(count) > (0 if position is None else position.count)

    def parts(self, position: Position | None) -> Iterator[list[tuple[Any, Incoming]]]:
        """Rows from the watermark on, in its order, some at a time: the watermark of each, and its record."""
        rows = select(text("*")).select_from(self._rows).where(self._from(position)).order_by(self._column)
        for part in self._parts(rows, self._given(position)):
            yield [(row[self.watermark], _record(row)) for row in part]

    def _from(self, position: Position | None) -> Any:
        return self._column.is_not(None) if position is None else self._column >= bindparam("after", position.value)

    def _given(self, position: Position | None) -> dict[str, Any]:
        return {} if position is None else {"after": position.value}

    def _parts(self, rows: Any, given: Mapping[str, Any] | None = None) -> Iterator[Sequence[Any]]:
        with self._database.reading() as connection:
            found = connection.execution_options(stream_results=True, max_row_buffer=_AT_ONCE).execute(
                rows, given or {}
            )
            names = list(found.keys())
            refuse_twice(names)
            if self.watermark not in names:
                raise DataError(
                    say(
                        "The query gives no column %(watermark)s; it gives %(names)s.",
                        watermark=repr(self.watermark),
                        names=", ".join(names),
                    )
                )
            yield from found.mappings().partitions(_AT_ONCE)


def _record(row: Any) -> Incoming:
    return Incoming.of(
        {name: plain(float(value) if isinstance(value, Decimal) else value) for name, value in row.items()}
    )
