"""`Listing`: rows that can be filtered, sorted, paged by key and exported, in one way for all lists."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, RowMapping, Select, func, select, tuple_
from starlette.responses import Response

from anomaly_detection.service.access.masking import MASK
from anomaly_detection.service.http.exports import FORMAT, export
from anomaly_detection.service.http.json_answer import answer
from anomaly_detection.service.http.operations import Call, Parameter
from anomaly_detection.service.http.problems import Problem
from anomaly_detection.service.http.shapes import (
    COUNT,
    FLAG,
    ID,
    LARGEST,
    TEXT,
    Shape,
    array,
    choice,
    maybe,
    record,
    text,
)
from anomaly_detection.service.storage.database import Database
from anomaly_detection.service.storage.tables import streams

__all__ = ["OF_STREAM", "Filter", "Listing", "of_source"]

_MOST = 500
_EXPORTED_AT_ONCE = 1000


@dataclass(frozen=True)
class Filter:
    """A parameter that leaves rows out.

    Attributes
    ----------
    parameter : Parameter
    condition : callable
        Takes a connection and the value, gives what holds for the rows that stay; None where all do.
    looks_inside : bool
        Whether it looks into what records hold: whoever may not see personal columns could guess at them by it.
    """

    parameter: Parameter
    condition: Callable[[Connection, Any], ColumnElement[bool] | None]
    looks_inside: bool = False


OF_STREAM = Filter(
    Parameter("stream", "Only those of this stream.", text(64)), lambda _, value: streams.c.name == value
)
"""For lists whose rows are joined with their streams."""


def of_source(column: ColumnElement[int]) -> Filter:
    """By the column that has the number of a row's source."""
    return Filter(Parameter("source", "Only those of this source.", ID), lambda _, value: column == value)


@dataclass(frozen=True)
class Listing:
    """A list of rows.

    Attributes
    ----------
    name : str
        Of the list in the answer.
    query : Select
        All rows, with all that `render` looks at.
    key : column
        The rows' number.
    sorts : mapping of str to (column, bool)
        By what they can be sorted, and whether the highest comes first; the first is the default. Equal ones are in the
        order of their numbers.
    filters : sequence of Filter
    render : callable
        A row for people and programs.
    row : dict
        The shape of what `render` gives.
    """

    name: str
    query: Select[Any]
    key: ColumnElement[Any]
    sorts: Mapping[str, tuple[ColumnElement[Any], bool]]
    filters: tuple[Filter, ...]
    render: Callable[[RowMapping], dict[str, Any]]
    row: Shape

    @property
    def parameters(self) -> list[Parameter]:
        """Of the query that asks for it."""
        default = next(iter(self.sorts))
        return [
            *(each.parameter for each in self.filters),
            Parameter("sort", "The order.", choice(*self.sorts), default),
            Parameter("limit", "Rows of a page.", {"type": "integer", "minimum": 1, "maximum": _MOST}, 50),
            Parameter("after", "`next` of the page before.", TEXT),
            Parameter("before", "A place as `after` takes it: the rows before that, the nearest first.", TEXT),
            Parameter(
                "total", "Whether to count all rows that are asked for; of millions that takes long.", FLAG, False
            ),
            FORMAT,
        ]

    @property
    def shape(self) -> Shape:
        """Of a page."""
        return record({self.name: array(self.row), "next": maybe(TEXT)}, {"total": COUNT})

    def answer(self, database: Database, call: Call) -> Response:
        """A page, or a file of all rows that are asked for."""
        if call.query["format"] != "json":
            return export(self._parts(database, call.query), call.query["format"], self.name, self.row)
        with database.reading() as connection:
            rows, following = self.page(connection, call.query, call.query["limit"])
            total = {"total": self.count(connection, call.query)} if call.query["total"] else {}
        return answer({self.name: rows, "next": following, **total})

    def page(
        self, connection: Connection, query: Mapping[str, Any], limit: int
    ) -> tuple[list[dict[str, Any]], str | None]:
        """Rows, and what gives those after them; None on the last page."""
        column, falls = self.sorts[query["sort"]]
        asked = self.filtered(connection, query)
        by = [self.key] if column is self.key else [column, self.key]
        if query["after"] and query["before"]:
            raise Problem(400, "after and before are two places; give one.")
        falls ^= bool(query["before"])
        if beside := query["after"] or query["before"]:
            place = _place(beside, column)[-len(by) :]
            here, there = (by[0], place[0]) if len(by) == 1 else (tuple_(*by), tuple_(*place))
            asked = asked.where(here < there if falls else here > there)
        asked = asked.order_by(*(each.desc() if falls else each.asc() for each in by)).limit(limit + 1)
        rows = list(connection.execute(asked).mappings())
        following = self.place(rows[limit - 1], query["sort"]) if len(rows) > limit else None
        return [self.render(row) for row in rows[:limit]], following

    def place(self, row: Mapping[Any, Any], sort: str) -> str:
        """Where a row is, as ``after`` and ``before`` take it."""
        place = [row[str(each.key)] for each in (self.sorts[sort][0], self.key)]
        return base64.urlsafe_b64encode(orjson.dumps(place)).decode()

    def filtered(self, connection: Connection, query: Mapping[str, Any]) -> Select[Any]:
        """All rows that are asked for."""
        asked = self.query
        for each in self.filters:
            value = query[each.parameter.name]
            if value is not None and each.looks_inside and MASK.get() is not None:
                raise Problem(403, f"{each.parameter.name} looks into columns that it takes the right to see.")
            condition = None if value is None else each.condition(connection, value)
            if condition is not None:
                asked = asked.where(condition)
        return asked

    def count(self, connection: Connection, query: Mapping[str, Any]) -> int:
        """How many there are."""
        rows = self.filtered(connection, query).with_only_columns(self.key).subquery()
        return int(connection.execute(select(func.count()).select_from(rows)).scalar_one())

    def _parts(self, database: Database, query: Mapping[str, Any]) -> Iterator[list[dict[str, Any]]]:
        """All rows, some at a time, each time by a look at the database that ends: who reads slowly hinders nobody."""
        where = "before" if query["before"] else "after"
        following: str | None = query[where]
        while True:
            with database.reading() as connection:
                rows, following = self.page(connection, {**query, where: following}, _EXPORTED_AT_ONCE)
            yield rows
            if following is None:
                break


def _place(cursor: str, column: ColumnElement[Any]) -> list[Any]:
    kind = column.type.python_type
    try:
        value, number = orjson.loads(base64.b64decode(cursor, b"-_", validate=True))
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        fits = (isinstance(value, str) and "\0" not in value) if kind is str else is_number and abs(value) <= LARGEST
        if not fits or type(number) is not int or abs(number) > LARGEST:
            raise ValueError
        return [kind(value), number]
    except (ValueError, TypeError, binascii.Error) as error:
        raise Problem(400, "after or before is no place in this list; give what next said.") from error
