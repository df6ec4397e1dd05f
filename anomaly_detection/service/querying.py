"""`Query`: rows of a database of somebody's, from a watermark on; nothing is ever written there."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Connection, bindparam, column, create_engine, func, make_url, select, text
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from anomaly_detection.errors import DataError, first_line
from anomaly_detection.service.incoming import Incoming
from anomaly_detection.service.plain_records import plain

__all__ = ["Position", "Query", "masked_url"]

_AT_ONCE = 1000
_TIMEOUT = 10
"""Seconds to connect."""

_READ_ONLY = {
    "sqlite": "PRAGMA query_only = ON",
    "mysql": "SET SESSION TRANSACTION READ ONLY",
    "mariadb": "SET SESSION TRANSACTION READ ONLY",
}
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
        raise DataError(f"The watermark is {value}; it is a whole number, a number, a date, a moment or a text.")
    kinds = {int: "int", float: "float", str: "text", datetime: "moment", date: "day", Decimal: "decimal"}
    for kind, name in kinds.items():
        if isinstance(value, kind):
            return name
    raise DataError(f"The watermark is of type {type(value).__name__}; it is a number, a date, a moment or a text.")


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
        query = query.strip().rstrip(";").rstrip()
        if ";" in query:
            raise DataError("The query is one SELECT, without a semicolon in it.")
        try:
            self._url = make_url(url)
        except ArgumentError as error:
            raise DataError(
                "This is no URL of a database; give one such as postgresql://USER:PASSWORD@HOST/NAME."
            ) from error
        try:
            self._engine = create_engine(
                _reading(self._url), poolclass=NullPool, hide_parameters=True, **_options(self._url)
            )
        except ModuleNotFoundError as error:
            raise DataError(
                f"This database needs {error.name}, which is not installed; run pip install {error.name}."
            ) from error
        except (NoSuchModuleError, ArgumentError) as error:
            raise DataError(f"SQLAlchemy knows no databases of kind {self._url.drivername!r}.") from error
        # Its own colons are no parameters. A comment at its end ends with the line.
        self._rows = text("({}\n) watched".format(query.replace(":", "\\:")))
        self.watermark = watermark
        self._column: Any = column(watermark)

    def check(self) -> None:
        """Raise `DataError` where it cannot be run, a column has no name of its own, or the watermark is none."""
        for rows in self._parts(select(text("*")).select_from(self._rows).where(self._column.is_not(None)).limit(1)):
            for row in rows:
                _kind(row[self.watermark])

    def waits(self, position: Position | None) -> bool:
        """Whether there are rows that were not taken; raises as `check`."""
        with self._reading() as connection:
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
        with self._reading() as connection:
            found = connection.execution_options(stream_results=True, max_row_buffer=_AT_ONCE).execute(
                rows, given or {}
            )
            names = list(found.keys())
            if len(set(names)) < len(names):
                raise DataError("The query gives two columns of one name; call one otherwise by AS.")
            if self.watermark not in names:
                raise DataError(f"The query gives no column {self.watermark!r}; it gives {', '.join(names)}.")
            yield from found.mappings().partitions(_AT_ONCE)

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        """A connection that cannot write; what goes wrong is told without secrets."""
        try:
            with self._engine.connect() as connection:
                if connection.dialect.name == "postgresql":
                    connection = connection.execution_options(postgresql_readonly=True)
                elif connection.dialect.name in _READ_ONLY:
                    connection.exec_driver_sql(_READ_ONLY[connection.dialect.name])
                yield connection
        except (SQLAlchemyError, OSError) as error:
            told = first_line(getattr(error, "orig", None) or error)
            raise DataError(f"The database cannot be asked: {_without_secrets(told, self._url)}.") from error


def _record(row: Any) -> Incoming:
    return Incoming.of(
        {name: plain(float(value) if isinstance(value, Decimal) else value) for name, value in row.items()}
    )


def _reading(url: URL) -> URL:
    """The URL that is opened: SQLite's with the word not to write, or to make a file."""
    if url.get_backend_name() == "sqlite":
        if not url.database or url.database == ":memory:":
            raise DataError("A database of SQLite is a file: sqlite:////FOLDER/FILE.")
        return url.set(database=f"file:{quote(str(Path(url.database).resolve()))}", query={"mode": "ro", "uri": "true"})
    return url.set(drivername="postgresql+psycopg") if url.drivername == "postgresql" else url


def _options(url: URL) -> dict[str, Any]:
    return {"connect_args": {"connect_timeout": _TIMEOUT}} if url.get_backend_name() == "postgresql" else {}


def _secrets(url: URL) -> list[str]:
    values = [each for value in url.query.values() for each in ([value] if isinstance(value, str) else value)]
    return sorted(filter(None, [url.password, *values]), key=len, reverse=True)


def _without_secrets(told: str, url: URL) -> str:
    for secret in _secrets(url):
        told = told.replace(str(secret), "***")
    return told.rstrip(".")


def masked_url(url: str) -> str:
    """An URL of a database without its password, and without what its query says."""
    parsed = make_url(url)
    shown = parsed.set(query=dict.fromkeys(parsed.query, "***")).render_as_string(hide_password=True)
    return shown.replace("%2A%2A%2A", "***")
