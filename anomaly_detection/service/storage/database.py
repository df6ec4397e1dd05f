"""`Database`: connections to read and to write by, and the tables brought to this version."""

from __future__ import annotations

import fcntl
import os
import threading
import weakref
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import alembic.command
from alembic.config import Config
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, OperationalError
from sqlalchemy.pool import QueuePool

from anomaly_detection.errors import DataError, first_line

__all__ = ["Database", "FullError"]

_MIGRATIONS = Path(__file__).parent.parent / "migrations"
_BUSY_MS = 5000
# An error that is logged names no values: these are records, and hashes of passwords.
# The one given back last is used next: each holds pages and statements, and turns would fill all of them.
_SETTINGS: dict[str, Any] = {"pool_size": 8, "max_overflow": 64, "pool_use_lifo": True, "hide_parameters": True}
_DISK_FULL = "53100"
_TURN = 5_002_005_002
"""The number of the lock that writers of a PostgreSQL database share."""


class FullError(Exception):
    """The disk is full: nothing of the transaction was kept."""


class Database:
    """A database of this service.

    A transaction that writes takes its lock at once, so that none fails half-way for another's sake: ``BEGIN
    IMMEDIATE`` of SQLite, an advisory lock of PostgreSQL. Processes that write to SQLite take turns by a lock on a file
    before that, which wakes who waits; SQLite itself would look again after ever longer pauses. It is in WAL mode, so
    that readers go on meanwhile, and with ``synchronous=FULL`` what is answered outlives a power cut, as PostgreSQL has
    it anyway; `Writer` has many requests share the one wait for the disk that this costs.

    Parameters
    ----------
    url : str
        ``sqlite:///FILE``, or ``postgresql://USER:PASSWORD@HOST/NAME``.

    Raises
    ------
    DataError
        For an URL that is none, or another kind of database.
    """

    def __init__(self, url: str) -> None:
        try:
            parsed = make_url(url)
        except ArgumentError as error:
            raise DataError(f"{url!r} is no URL of a database; give one such as sqlite:///FILE.") from error
        kind = parsed.get_backend_name()
        if kind == "postgresql":
            self._engine = _postgresql(parsed)
            event.listen(self._engine, "begin", _take_turns)
        elif kind == "sqlite" and parsed.database and parsed.database != ":memory:":
            self._engine = create_engine(parsed, poolclass=QueuePool, **_SETTINGS)
            event.listen(self._engine, "connect", _prepare)
            event.listen(self._engine, "begin", _begin)
        else:
            raise DataError(f"A database of kind {kind!r} cannot be used; give sqlite:///FILE or postgresql://...")
        self._name = parsed.database if kind == "sqlite" else parsed.render_as_string()
        self._turn: AbstractContextManager[object] = nullcontext()
        if kind == "sqlite":
            self._turn = _Turn(Path(f"{parsed.database}.turn"))

    def migrate(self, version: str = "head") -> None:
        """Bring the tables to this version; raises `DataError` for a file that is no such database, or a newer one.

        `version` is another one, for tests of the way from there.
        """
        config = Config()
        config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
        config.set_main_option("path_separator", "os")
        try:
            with self.writing() as connection:
                config.attributes["connection"] = connection
                alembic.command.upgrade(config, version)
        except alembic.util.CommandError as error:
            raise DataError(
                f"{self._name} was written by a newer version ({first_line(error)}); install that one."
            ) from error
        except DatabaseError as error:
            raise DataError(f"{self._name} cannot be used: {first_line(error.orig or error)}.") from error

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection to read by."""
        with self._engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A connection whose block is one transaction: kept as a whole at its end, or not at all.

        Raises
        ------
        FullError
            Where the disk has no room for it.
        """
        try:
            with self._turn, self._engine.connect().execution_options(writes=True) as connection, connection.begin():
                yield connection
        except OperationalError as error:
            # By its words: Python 3.10 has no codes of SQLite's errors.
            if "disk is full" in str(error.orig) or getattr(error.orig, "sqlstate", "") == _DISK_FULL:
                raise FullError("The disk is full.") from error
            raise

    def close(self) -> None:
        """Close what is open."""
        self._engine.dispose()


class _Turn:
    """Who has it writes; the operating system gives it back where a process is killed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = threading.Lock()
        self._file: int | None = None

    def __enter__(self) -> None:
        self._thread.acquire()
        try:
            if self._file is None:
                self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                weakref.finalize(self, os.close, self._file)
            fcntl.flock(self._file, fcntl.LOCK_EX)
        except OSError as error:
            self._thread.release()
            raise DataError(f"{self._path} cannot be used: {error.strerror}.") from error

    def __exit__(self, *_: object) -> None:
        assert self._file is not None
        fcntl.flock(self._file, fcntl.LOCK_UN)
        self._thread.release()


def _postgresql(url: URL) -> Engine:
    try:
        return create_engine(url.set(drivername="postgresql+psycopg"), **_SETTINGS)
    except ModuleNotFoundError as error:
        raise DataError(
            f"PostgreSQL needs {error.name}, which is not installed; run pip install 'mlx-iforest[postgresql]'."
        ) from error


def _take_turns(connection: Connection) -> None:
    if connection.get_execution_options().get("writes", False):
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_TURN})")


def _prepare(connection: Any, _: object) -> None:
    # Else sqlite3 begins transactions of its own.
    connection.isolation_level = None
    # On a Mac the disk itself may keep for later what fsync told it to write.
    # What is deleted may name people: its bytes are overwritten where that costs no further write.
    always = ("journal_mode=WAL", "synchronous=FULL", "fullfsync=ON", "secure_delete=FAST")
    for pragma in (*always, f"busy_timeout={_BUSY_MS}", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
