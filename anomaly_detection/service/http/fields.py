"""Rows whose records have a field with a value: found in the records' JSON as it is kept, on any database."""

from __future__ import annotations

from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, and_, func, or_

from anomaly_detection.service.http.listing import Filter
from anomaly_detection.service.http.operations import Parameter
from anomaly_detection.service.http.shapes import Shape

__all__ = ["has_fields", "has_text", "holds"]

_FIELD: Shape = {
    "type": "string",
    "pattern": r"^[^\x00=]+=[^\x00]*$",
    "maxLength": 500,
    "description": "a field and its value, such as supplier=Supplier B",
}


def has_fields(column: ColumnElement[str]) -> Filter:
    """The filter of rows whose records, JSON in a column as orjson writes it, have some fields with some values."""

    def condition(connection: Connection, wanted: list[str]) -> ColumnElement[bool]:
        return and_(*(holds(connection, column, *each.split("=", 1)) for each in wanted))

    what = "Only those whose record has this field with this value, such as `supplier=Supplier B`; may come again."
    return Filter(Parameter("has", what, _FIELD, many=True), condition, looks_inside=True)


def holds(connection: Connection, column: ColumnElement[str], name: str, value: str) -> ColumnElement[bool]:
    """That a record, in a column as `has_fields` has it, has a field with a value."""
    # LIKE takes capitals for small letters in SQLite alone.
    place = func.instr if connection.dialect.name == "sqlite" else func.strpos
    return or_(*(place(column, text) > 0 for text in _written(name, value)))


def has_text(connection: Connection, column: ColumnElement[Any], value: str) -> ColumnElement[bool]:
    """That a column has a text somewhere, in whatever capitals."""
    # SQLite's LIKE takes capitals for small letters itself; lower() would copy every record first.
    like = column.contains if connection.dialect.name == "sqlite" else column.icontains
    return like(value, autoescape=True)


def _written(name: str, value: str) -> tuple[str, ...]:
    """A text is between quotes, and a number or a truth value ends where the next field begins, or the record."""
    field = orjson.dumps(name).decode()
    return f"{field}:{orjson.dumps(value).decode()}", f"{field}:{value},", f"{field}:{value}}}"
