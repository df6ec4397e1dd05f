"""The rows of a database as a Parquet file: by one statement or by pages of a key, each column in one type."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq

from anomaly_detection.data.databases.locations import ReadDatabase, refuse_twice, rows_of, without_secrets
from anomaly_detection.data.databases.sql_location import SqlLocation
from anomaly_detection.errors import DataError, first_line

__all__ = ["copy_rows"]

_CELLS = 500_000
"""Of a page."""

_PLAIN = (
    pa.types.is_boolean,
    pa.types.is_integer,
    pa.types.is_floating,
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_binary,
    pa.types.is_date,
    pa.types.is_timestamp,
    pa.types.is_time,
)
"""Types of Arrow that come as they are; of others a database is asked for their text."""

_KEYS = (pa.types.is_integer, pa.types.is_string, pa.types.is_date, pa.types.is_timestamp)
"""Types of keys that ADBC sends back as they came."""

Schema = Any  # pyarrow has no types
Array = Any
Page = Any  # rows, or a table of Arrow


def copy_rows(location: SqlLocation, file: IO[bytes]) -> None:
    """Write the rows into an open file, as Parquet.

    One statement reads all, so that they are of one moment; or, by a key, each page is a statement of its own, which
    holds nothing up in a database that others write to. No more than a page is held. PostgreSQL's are asked for as
    Arrow where ADBC's driver is installed, others through SQLAlchemy. Numbers of fixed point become floating ones, as
    all that a model looks at.

    Raises
    ------
    DataError
        Where the database cannot be asked, gives a column twice, or no row; where a row has no key, or another's.
    """
    database = ReadDatabase(location.url)
    by_adbc = database.url.drivername == "postgresql" and _has_adbc()
    if not (_write(_by_adbc(database, location), file) if by_adbc else _by_pages(database, location, file)):
        raise DataError(f"{location.label} gives no rows; expected at least one record.")


def _has_adbc() -> bool:
    try:
        import adbc_driver_postgresql.dbapi  # noqa: F401
    except ModuleNotFoundError:
        return False
    return True


def _statement(database: ReadDatabase, location: SqlLocation) -> str:
    if location.query:
        return location.query
    schema, name = location.table
    with database.reading() as connection:
        quoted = connection.dialect.identifier_preparer.quote
        return f"SELECT * FROM {f'{quoted(schema)}.' if schema else ''}{quoted(name)}"


def _keyed(database: ReadDatabase, location: SqlLocation) -> tuple[Any, list[str]]:
    """The SELECT of all rows and their columns' names; `DataError` where a row has no key."""
    from sqlalchemy import column, select, text

    rows = select(text("*")).select_from(rows_of(_statement(database, location), "asked"))
    with database.reading() as connection:
        names = list(connection.execute(rows.limit(0)).keys())
        refuse_twice(names)
        if location.key not in names:
            raise DataError(f"The rows have no column {location.key!r} to be a key; they have {', '.join(names)}.")
        if connection.execute(rows.where(column(location.key).is_(None)).limit(1)).first() is not None:
            raise DataError(f"A row has no {location.key!r}; a key is a column that all rows have.")
    return rows, names


def _by_key(ask: Callable[[Any], Page], keys: Callable[[Page], list[Any]], size: int) -> Iterator[Page]:
    """Pages that follow each other; `ask` gives what comes after a key, up to a page and one row more."""
    after, more = None, True
    while more:
        page = ask(after)
        found = keys(page)
        for key, following in pairwise(found):
            if key == following:
                raise DataError(f"Two rows have the key {key}; a key is a column of which each row has another value.")
        more = len(found) > size
        yield page[:size]
        after = found[size - 1] if more else None


def _by_adbc(database: ReadDatabase, location: SqlLocation) -> Iterator[Any]:
    """A schema and batches of Arrow, straight from the server's rows."""
    import adbc_driver_manager
    import adbc_driver_postgresql.dbapi as adbc

    statement = _statement(database, location)
    uri = database.url.render_as_string(hide_password=False)
    try:
        with adbc.connect(uri) as connection, connection.cursor() as cursor:
            cursor.execute("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")
            connection.commit()
            schema = cursor.adbc_execute_schema(statement)
            refuse_twice(schema.names)
            # A comment at its end ends with the line.
            rows = f"SELECT {', '.join(map(_asked, schema))} FROM ({statement}\n) AS asked"
            if not location.key:
                cursor.execute(rows)
                reader = cursor.fetch_record_batch()
                yield reader.schema
                yield from reader
                return
            _, names = _keyed(database, location)
            size, key = _size(names), _quoted(location.key)
            kind = schema.field(location.key).type
            if not any(is_kind(kind) for is_kind in _KEYS):
                raise DataError(f"The key {location.key!r} is of type {kind}; it is a whole number, a text or a time.")

            def ask(after: Any) -> Any:
                later = f" WHERE {key} > $1" if after is not None else ""
                cursor.execute(f"{rows}{later} ORDER BY {key} LIMIT {size + 1}", None if after is None else [after])
                page = cursor.fetch_arrow_table()
                connection.commit()
                return page

            first = True
            for page in _by_key(ask, lambda page: page.column(location.key).to_pylist(), size):
                if first:
                    yield page.schema
                first = False
                yield from page.to_batches()
    except (adbc_driver_manager.Error, pa.ArrowException) as error:
        told = without_secrets(first_line(error), database.url)
        raise DataError(f"The database cannot be asked: {told}.") from error


def _quoted(name: str) -> str:
    return '"{}"'.format(name.replace('"', '""'))


def _size(names: Sequence[str]) -> int:
    """Rows of a page."""
    return max(1, _CELLS // len(names))


def _asked(field: Any) -> str:
    name = _quoted(field.name)
    kind = (field.metadata or {}).get(b"POSTGRESQL:type", b"")
    if kind == b"numeric":
        return f"{name}::float8 AS {name}"
    return name if any(is_kind(field.type) for is_kind in _PLAIN) else f"{name}::text AS {name}"


def _write(pages: Iterator[Any], file: IO[bytes]) -> int:
    """Write what a schema and batches of it are; gives the number of rows."""
    schema = next(pages)
    schema = pa.schema([field.remove_metadata() for field in schema])
    rows = 0
    with pq.ParquetWriter(file, schema) as writer:
        for batch in pages:
            writer.write_table(pa.Table.from_batches([batch.cast(schema)]))
            rows += batch.num_rows
    return rows


def _row_pages(database: ReadDatabase, location: SqlLocation) -> Iterator[tuple[list[str], Sequence[Any]]]:
    """Names of the columns, and rows through SQLAlchemy, a page at a time."""
    from sqlalchemy import bindparam, column, text

    if not location.key:
        with database.reading() as connection:
            statement = text(_statement(database, location).replace(":", "\\:"))
            found = connection.execution_options(stream_results=True).execute(statement)
            if not found.returns_rows:
                raise DataError("The query gives no rows at all; expected one SELECT.")
            names = list(found.keys())
            refuse_twice(names)
            for page in found.partitions(_size(names)):
                yield names, page
        return
    found, names = _keyed(database, location)
    rows = found.order_by(column(location.key))
    size, at = _size(names), names.index(location.key)

    def ask(after: Any) -> Sequence[Any]:
        later = rows if after is None else rows.where(column(location.key) > bindparam("after", after))
        with database.reading() as connection:
            return list(connection.execute(later.limit(size + 1)))

    for page in _by_key(ask, lambda page: [row[at] for row in page], size):
        if page:
            yield names, page


def _by_pages(database: ReadDatabase, location: SqlLocation, file: IO[bytes]) -> int:
    """Rows through SQLAlchemy; what type a column has only all of them tell, so pages wait in files until then."""
    schemas: list[Schema] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for names, page in _row_pages(database, location):
            batch = pa.RecordBatch.from_arrays([_array(column) for column in zip(*page, strict=True)], names=names)
            with pyarrow.ipc.new_file(folder / f"{len(schemas)}", batch.schema) as writer:
                writer.write_batch(batch)
            schemas.append(batch.schema)
        if not schemas:
            return 0
        schema = pa.schema([(each, _common([one.field(each).type for one in schemas])) for each in schemas[0].names])

        def batches() -> Iterator[Any]:
            yield schema
            for number in range(len(schemas)):
                with pyarrow.ipc.open_file(folder / f"{number}") as reader:
                    batch = reader.get_batch(0)
                columns = [_as(column, field.type) for column, field in zip(batch.columns, schema, strict=True)]
                yield pa.RecordBatch.from_arrays(columns, schema=schema)

        return _write(batches(), file)


def _array(values: Sequence[Any]) -> Array:
    """A column of a page; what Arrow has no type for, or holds several, as text."""
    if any(isinstance(value, Decimal) for value in values):
        values = [float(value) if isinstance(value, Decimal) else value for value in values]
    if not any(isinstance(value, (dict, list)) for value in values):
        try:
            array = pa.array(values)
        except (pa.ArrowException, TypeError, OverflowError):
            array = None
        if array is not None and (pa.types.is_null(array.type) or any(is_kind(array.type) for is_kind in _PLAIN)):
            has_zone = pa.types.is_timestamp(array.type) and array.type.tz is not None
            return array.cast(pa.timestamp("us", "UTC")) if has_zone else array
    return pa.array([None if value is None else _text(value) for value in values], pa.string())


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return json.dumps(value, default=str) if isinstance(value, (dict, list)) else str(value)


def _common(types: Sequence[Any]) -> Any:
    """The type that all pages of a column fit into; text where there is no other."""
    try:
        return pa.unify_schemas([pa.schema([("a", kind)]) for kind in types], promote_options="permissive").types[0]
    except (pa.ArrowException, TypeError):
        return pa.string()


def _as(column: Array, kind: Any) -> Array:
    if column.type == kind:
        return column
    if pa.types.is_string(kind):
        return pa.array([None if value is None else _text(value) for value in column.to_pylist()], kind)
    return column.cast(kind)
