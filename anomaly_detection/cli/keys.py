"""``anomaly-detection keys``: the API keys of a service."""

from __future__ import annotations

import argparse

from anomaly_detection.cli.serve import open_database
from anomaly_detection.errors import DataError
from anomaly_detection.reports.console import note, result, table

__all__ = ["run"]


def run(arguments: argparse.Namespace) -> int:
    """Add, list or remove keys; raises the library's errors."""
    if (arguments.name is None) != (arguments.do == "list"):
        raise DataError(f"keys {arguments.do} takes {'no name' if arguments.name else 'a name'}.")
    if arguments.do != "add" and (arguments.role or arguments.stream):
        raise DataError(f"keys {arguments.do} takes no --role and no --stream.")
    database = open_database(arguments)
    from anomaly_detection.service.access import keys

    try:
        with database.writing() as connection:
            if arguments.do == "add":
                made = keys.add_key(connection, arguments.name, arguments.role or "analyst", arguments.stream)
            elif arguments.do == "remove":
                keys.remove_key(connection, arguments.name)
            else:
                found = keys.list_keys(connection)
    finally:
        database.close()
    if arguments.do == "add":
        result(made)
        note("This is the only time that the key is shown: the service keeps its digest alone.")
    elif arguments.do == "list":
        result(table(found) if found else "no keys")
    return 0
