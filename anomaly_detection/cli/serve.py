"""``anomaly-detection serve``: the service, until it is told to end."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from anomaly_detection.data.files import prepare_folder
from anomaly_detection.errors import DataError
from anomaly_detection.reports.console import note

if TYPE_CHECKING:
    from anomaly_detection.service.storage.database import Database

__all__ = ["NEEDED", "open_database", "run", "service_is_missing"]

NEEDED = ("alembic", "anyio", "httptools", "itsdangerous", "orjson", "sqlalchemy", "starlette", "uvicorn", "uvloop")
"""What the extra ``service`` brings."""


def run(arguments: argparse.Namespace) -> int:
    """Serve; raises the library's errors."""
    try:
        from anomaly_detection.service.http.limits import Limits
        from anomaly_detection.service.processes.configuration import Configuration
        from anomaly_detection.service.processes.server import serve
        from anomaly_detection.service.records.retention import Retention
    except ModuleNotFoundError as error:
        raise service_is_missing(error) from error
    configuration = Configuration(
        data_dir=arguments.data_dir,
        host=arguments.host,
        port=arguments.port,
        database=arguments.database or "",
        model=arguments.model,
        learn_from=arguments.learn_from,
        origins=tuple(arguments.allow_origin),
        open_to=tuple(arguments.open_to),
        behind_proxy=arguments.behind_proxy,
        workers=arguments.workers,
        retention=Retention(arguments.keep_days, arguments.keep_records),
        watch=tuple(arguments.watch),
        personal=tuple(arguments.personal),
        limits=Limits(rate=arguments.rate),
    )
    serve(configuration, note)
    return 0


def service_is_missing(error: ModuleNotFoundError) -> Exception:
    """What to raise where a module is not there: how to get it, if the extra brings it."""
    name = (error.name or "").partition(".")[0]
    if name not in NEEDED:
        return error
    return DataError(f"The service needs {name}, which is not installed; run pip install 'mlx-iforest[service]'.")


def open_database(arguments: argparse.Namespace) -> Database:
    """The database that a command's options name, brought to this version; raises the library's errors."""
    try:
        from anomaly_detection.service.processes.configuration import database_url
        from anomaly_detection.service.storage.database import Database
    except ModuleNotFoundError as error:
        raise service_is_missing(error) from error
    if not arguments.database:
        prepare_folder(arguments.data_dir)
        arguments.data_dir.mkdir(0o700, parents=True, exist_ok=True)
    database = Database(arguments.database or database_url(arguments.data_dir))
    database.migrate()
    return database
