"""``anomaly-detection keys``: the API keys of a service."""

from __future__ import annotations

import argparse

from anomaly_detection.cli.serve import service_is_missing
from anomaly_detection.data.files import prepare_folder
from anomaly_detection.errors import DataError
from anomaly_detection.reports.console import note, result, table

__all__ = ["run"]


def run(arguments: argparse.Namespace) -> int:
    """Add, list or remove keys; raises the library's errors."""
    try:
        from anomaly_detection.service import keys
        from anomaly_detection.service.configuration import database_url
        from anomaly_detection.service.database import Database
    except ModuleNotFoundError as error:
        raise service_is_missing(error) from error
    if (arguments.name is None) != (arguments.do == "list"):
        raise DataError(f"keys {arguments.do} takes {'no name' if arguments.name else 'a name'}.")
    if not arguments.database:
        prepare_folder(arguments.data_dir)
        arguments.data_dir.mkdir(0o700, parents=True, exist_ok=True)
    database = Database(arguments.database or database_url(arguments.data_dir))
    database.migrate()
    try:
        with database.writing() as connection:
            if arguments.do == "add":
                made = keys.add_key(connection, arguments.name)
            elif arguments.do == "remove":
                keys.remove_key(connection, arguments.name)
            else:
                names = keys.key_names(connection)
    finally:
        database.close()
    if arguments.do == "add":
        result(made)
        note("This is the only time that the key is shown: the service keeps its digest alone.")
    elif arguments.do == "list":
        result(table([{"name": name, "made": moment} for name, moment in names]) if names else "no keys")
    return 0
