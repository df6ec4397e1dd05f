"""Databases of other people by URL, as SQLAlchemy knows them: only read, and told of without their secrets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from anomaly_detection.errors import DataError, first_line

__all__ = [
    "ReadDatabase",
    "connected",
    "engine_of",
    "masked_url",
    "one_select",
    "parsed_url",
    "refuse_twice",
    "rows_of",
    "with_driver",
    "without_secrets",
]

_TIMEOUT = 10
"""Seconds to connect."""

_READ_ONLY = {
    "sqlite": "PRAGMA query_only = ON",
    "mysql": "SET SESSION TRANSACTION READ ONLY",
    "mariadb": "SET SESSION TRANSACTION READ ONLY",
}

# SQLAlchemy comes with an extra, and is imported where it is used: these stand for its URL, Engine and Connection.
Url = Any
Engine = Any
Connection = Any


class ReadDatabase:
    """A database that nothing is written to.

    Parameters
    ----------
    url : str
        Of SQLAlchemy.

    Raises
    ------
    DataError
        For a URL that is none, or a database whose driver is missing.
    """

    def __init__(self, url: str) -> None:
        self.url = parsed_url(url)
        self._engine = engine_of(self.url, _only_read(self.url))

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection that cannot write; what goes wrong is a `DataError`, which tells no secret."""
        with connected(self._engine, self.url, "asked") as connection:
            kind = connection.dialect.name
            if kind == "postgresql":
                connection = connection.execution_options(postgresql_readonly=True)
            elif kind in _READ_ONLY:
                connection.exec_driver_sql(_READ_ONLY[kind])
            yield connection


@contextmanager
def connected(engine: Engine, url: Url, what: str) -> Iterator[Connection]:
    """A connection; where the database cannot be `what`, a `DataError` says why, without secrets of the URL."""
    from sqlalchemy.exc import SQLAlchemyError

    try:
        with engine.connect() as connection:
            yield connection
    except (SQLAlchemyError, OSError) as error:
        told = first_line(getattr(error, "orig", None) or error)
        raise DataError(f"The database cannot be {what}: {without_secrets(told, url)}.") from error


def parsed_url(url: str) -> Url:
    """A URL of SQLAlchemy's; `DataError` for one that is none, or where SQLAlchemy is not installed."""
    try:
        from sqlalchemy import make_url
        from sqlalchemy.exc import ArgumentError
    except ModuleNotFoundError as error:
        raise DataError(
            "Databases need SQLAlchemy, which is not installed; run pip install 'mlx-iforest[sql]'."
        ) from error
    try:
        # As many hosts still write it, and SQLAlchemy no longer reads it.
        parsed = make_url(
            url.replace("postgres", "postgresql", 1) if url.startswith(("postgres:", "postgres+")) else url
        )
    except (ArgumentError, ValueError) as error:
        raise DataError(
            "This is no URL of a database; give one such as postgresql://USER:PASSWORD@HOST/NAME."
        ) from error
    if "@" in (parsed.host or ""):
        # Else the end of a password would be told as a host's name.
        raise DataError("An @ in the user or the password of this database's URL is written %40.")
    return parsed


def engine_of(url: Url, opened: Url) -> Engine:
    """What connects to a database, by the URL that is `opened`; `DataError` where its driver is missing."""
    from sqlalchemy import create_engine
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError
    from sqlalchemy.pool import NullPool

    given = {"connect_timeout": _TIMEOUT} if url.get_backend_name() == "postgresql" else {}
    try:
        return create_engine(opened, poolclass=NullPool, hide_parameters=True, connect_args=given)
    except ModuleNotFoundError as error:
        raise DataError(
            f"This database needs {error.name}, which is not installed; run pip install {error.name}."
        ) from error
    except (NoSuchModuleError, ArgumentError) as error:
        raise DataError(f"SQLAlchemy knows no databases of kind {url.drivername!r}.") from error


def with_driver(url: Url) -> Url:
    """The URL with the driver of PostgreSQL that is used here, where it names none."""
    return url.set(drivername="postgresql+psycopg") if url.drivername == "postgresql" else url


def _only_read(url: Url) -> Url:
    """The URL that is opened: SQLite's with the word not to write, or to make a file."""
    if url.get_backend_name() == "sqlite":
        if not url.database or url.database == ":memory:":
            raise DataError("A database of SQLite is a file: sqlite:////FOLDER/FILE.")
        return url.set(database=f"file:{quote(str(Path(url.database).resolve()))}", query={"mode": "ro", "uri": "true"})
    return with_driver(url)


def one_select(query: str) -> str:
    """A query without the semicolon at its end; `DataError` where there is one within it."""
    query = query.strip().rstrip(";").rstrip()
    if ";" in query:
        raise DataError("The query is one SELECT, without a semicolon in it.")
    return query


def rows_of(query: str, name: str) -> Any:
    """A query's rows under a name, as SQLAlchemy selects from them."""
    from sqlalchemy import text

    # The query's own colons are no parameters. A comment at its end ends with the line.
    return text("({}\n) {}".format(query.replace(":", "\\:"), name))


def refuse_twice(names: Sequence[str]) -> None:
    """Raise `DataError` where two columns have one name."""
    if len(set(names)) < len(names):
        raise DataError("The query gives two columns of one name; call one otherwise by AS.")


def without_secrets(told: str, url: Url) -> str:
    """What is told of an error, without the password and what the URL's parameters say."""
    values = [each for value in url.query.values() for each in ([value] if isinstance(value, str) else value)]
    for secret in sorted(filter(None, [url.password, *values]), key=len, reverse=True):
        told = told.replace(str(secret), "***")
    return told.rstrip(".")


def masked_url(url: str) -> str:
    """A URL of a database without its password, and without what its parameters say."""
    parsed = parsed_url(url)
    shown = parsed.set(query=dict.fromkeys(parsed.query, "***")).render_as_string(hide_password=True)
    return str(shown).replace("%2A%2A%2A", "***")
