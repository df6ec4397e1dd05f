"""`SqlLocation`: the rows of a query or a table, or a table to write, as one URL."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from anomaly_detection.data.databases.locations import masked_url, one_select, parsed_url
from anomaly_detection.errors import DataError

__all__ = ["SqlLocation", "is_database", "label_of", "refuse_same_table"]

_DIALECTS = ("postgresql", "postgres", "sqlite", "mysql", "mariadb", "mssql", "oracle")
_QUERY = re.compile(r"[?&]query=(.*)\Z", re.DOTALL)
_MODES = ("new", "replace", "append")
_SAID = "DATABASE?query=SELECT ... or DATABASE?table=NAME"


def is_database(location: object) -> bool:
    """Whether a location is a URL of a database, such as ``sqlite:///orders.db?table=orders``."""
    scheme, mark, _ = str(location).partition("://")
    return bool(mark) and scheme.partition("+")[0] in _DIALECTS


@dataclass(frozen=True)
class SqlLocation:
    """What is read from, or written to, a database.

    Attributes
    ----------
    url : str
        Of SQLAlchemy, without what is said here.
    query : str
        One SELECT; empty where a table is meant.
    table : tuple of str
        Its schema, which may be empty, and its name; empty where a query is meant.
    key : str
        A column of which each row has another value, to read pages by; empty where one statement reads all.
    mode : str
        Of a table to write: ``new`` (it must not be there), ``replace`` or ``append``.
    label : str
        What to call it, without secrets.
    """

    url: str
    query: str
    table: tuple[str, ...]
    key: str
    mode: str
    label: str

    @classmethod
    def of(cls, location: str, *, writing: bool = False) -> SqlLocation:
        """Out of one URL: ``DATABASE?table=NAME``, or ``DATABASE?query=SELECT ...``, which goes to the end.

        Raises
        ------
        DataError
            Where it names neither or both, or says of a table to read how it is to be written.
        """
        found = _QUERY.search(location)
        query = _decoded(found[1]).strip().rstrip(";").rstrip() if found else ""
        url = parsed_url(location[: found.start()] if found else location)
        parameters: dict[str, Any] = dict(url.query)
        table, key, mode = (parameters.pop(name, "") for name in ("table", "key", "mode"))
        bare = url.set(query=parameters).render_as_string(hide_password=False)
        label = masked_url(bare)
        if not all(isinstance(each, str) for each in (table, key, mode)):
            raise DataError(f"{label} names a table, a key or a mode twice; give {_SAID}.")
        if bool(query) == bool(table):
            raise DataError(
                f"{label} names {'a table and a query' if query else 'no table and no query'}; give {_SAID}."
            )
        query = one_select(query)
        if writing and query:
            raise DataError(f"{label} names a query; records are written into a table: DATABASE?table=NAME.")
        if writing and key:
            raise DataError(f"{label} names a key, which is for rows that are read; leave it out.")
        if mode and (not writing or mode not in _MODES):
            known = f"one of {', '.join(_MODES)}" if writing else "for a table that is written; leave it out"
            raise DataError(f"The mode {mode!r} of {label} is {'none; it is ' if writing else ''}{known}.")
        schema, _, name = table.rpartition(".")
        told = f"{label}, table {table}" if table else label
        return cls(bare, query, (schema, name) if table else (), key, mode or "new", told)


def _decoded(query: str) -> str:
    try:
        return unquote(query, errors="strict")
    except UnicodeDecodeError as error:
        # Of '%ad%' nobody would see that it asks for something else.
        found = "".join(f"%{byte:02x}" for byte in error.object[error.start : error.end])
        raise DataError(
            f"The query's {found} stands for no letter; write a percent sign before two digits or letters as %25."
        ) from error


def label_of(location: object) -> str:
    """What to call a location in messages: a URL of a database without its secrets, anything else as it is."""
    if not is_database(location):
        return str(location)
    text = str(location)
    found = _QUERY.search(text)
    return SqlLocation.of(text, writing=found is None).label


def refuse_same_table(target: object, source: object) -> None:
    """Refuse to write into the table that is being read, where both are of a database; `DataError`."""
    if is_database(target) and is_database(source):
        written, read = SqlLocation.of(str(target), writing=True), SqlLocation.of(str(source))
        if read.table and _place(written) == _place(read):
            raise DataError(f"{written.label} is the table with the records, which would be lost; give another one.")


def _place(location: SqlLocation) -> tuple[str, ...]:
    """Of a database and a table, the same for all ways to write them where these are known: those of SQLite."""
    url = parsed_url(location.url)
    if url.get_backend_name() != "sqlite" or not url.database:
        return location.url, *location.table
    schema, name = location.table
    return str(Path(url.database).resolve()), schema.lower() or "main", name.lower()
