"""Frames into a table of a database, whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pandas as pd
import pyarrow as pa

from anomaly_detection.data.databases.locations import connected, engine_of, parsed_url, with_driver
from anomaly_detection.data.databases.sql_location import SqlLocation
from anomaly_detection.data.formats.parquet_files import ParquetWriter
from anomaly_detection.errors import DataError

__all__ = ["check_sql_target", "sql_writer"]

_AT_ONCE = 1000


@contextmanager
def sql_writer(location: SqlLocation, types: Any = None) -> Iterator[Callable[[pd.DataFrame], None]]:
    """Give a function that appends a frame; all are there when the block ends well, as one transaction.

    Parameters
    ----------
    location : SqlLocation
    types : pyarrow.Schema, optional
        As for `ParquetWriter`: the columns get the types that a Parquet file would give them.

    Raises
    ------
    DataError
        Where the database cannot be written, or the table is not as the mode says.
    """
    url = parsed_url(location.url)
    with connected(engine_of(url, with_driver(url)), url, "written") as connection:
        _begin(connection)
        table: Any = None
        schema: Any = None

        def write(frame: pd.DataFrame) -> None:
            nonlocal table, schema
            if table is None:
                schema = ParquetWriter("", types).schema(frame)
                table = _made(connection, location, schema)
            rows = _rows(frame, schema)
            for first in range(0, len(rows), _AT_ONCE):
                connection.execute(table.insert(), rows[first : first + _AT_ONCE])

        yield write
        connection.commit()


def check_sql_target(location: SqlLocation) -> None:
    """Raise before long work, and not after it, where the database cannot be reached or the table is in the way."""
    url = parsed_url(location.url)
    with connected(engine_of(url, with_driver(url)), url, "written") as connection:
        _refuse_there(connection, location)


def _begin(connection: Any) -> None:
    if connection.dialect.name == "sqlite":
        # Python's driver begins no transaction for a CREATE or DROP by itself.
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _is_there(connection: Any, location: SqlLocation) -> bool:
    from sqlalchemy import inspect

    schema, name = location.table
    return bool(inspect(connection).has_table(name, schema=schema or None))


def _refuse_there(connection: Any, location: SqlLocation) -> None:
    if location.mode == "new" and _is_there(connection, location):
        raise DataError(
            f"{location.label} is there already; add &mode=replace to put the records in its place, or &mode=append"
            " to add them to it."
        )


def _made(connection: Any, location: SqlLocation, schema: Any) -> Any:
    """The table, made where it is not there, or anew."""
    from sqlalchemy import Column, MetaData, Table, inspect

    _refuse_there(connection, location)
    room, name = location.table
    columns = [Column(field.name, _type(field.type)) for field in schema]
    table = Table(name, MetaData(), *columns, schema=room or None)
    if location.mode == "append" and _is_there(connection, location):
        there = {each["name"] for each in inspect(connection).get_columns(name, schema=room or None)}
        lacking = [field.name for field in schema if field.name not in there]
        if lacking:
            raise DataError(
                f"{location.label} has no column {lacking[0]!r}; records are added to one that has them all."
            )
        return table
    if location.mode == "replace":
        table.drop(connection, checkfirst=True)
    table.create(connection)
    return table


def _type(kind: Any) -> Any:
    from sqlalchemy import BigInteger, Boolean, Date, DateTime, Double, LargeBinary, Text, Time

    if pa.types.is_dictionary(kind):
        return _type(kind.value_type)
    known: tuple[tuple[Any, Any], ...] = (
        (pa.types.is_boolean, Boolean()),
        (pa.types.is_integer, BigInteger()),
        (pa.types.is_floating, Double()),
        (pa.types.is_date, Date()),
        (pa.types.is_time, Time()),
        (lambda kind: pa.types.is_binary(kind) or pa.types.is_large_binary(kind), LargeBinary()),
    )
    if pa.types.is_timestamp(kind):
        return DateTime(timezone=kind.tz is not None)
    return next((made for is_kind, made in known if is_kind(kind)), Text())


def _rows(frame: pd.DataFrame, schema: Any) -> list[dict[str, Any]]:
    table = pa.Table.from_pandas(frame, schema, preserve_index=False)
    columns = [_values(column) for column in table.columns]
    return [dict(zip(table.column_names, row, strict=True)) for row in zip(*columns, strict=True)]


def _values(column: Any) -> list[Any]:
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_timestamp(kind):
        # Databases know no nanoseconds.
        column = column.cast(pa.timestamp("us", kind.tz), safe=False)
    values: list[Any] = column.to_pylist()
    if pa.types.is_nested(kind):
        return [None if value is None else json.dumps(value, default=str) for value in values]
    plain = (pa.types.is_decimal, pa.types.is_duration)
    return [None if value is None else str(value) for value in values] if any(is_(kind) for is_ in plain) else values
