"""``anomaly-detection users``: the people who may log in to a service."""

from __future__ import annotations

import argparse
import getpass
import sys

from anomaly_detection.cli.serve import open_database
from anomaly_detection.errors import DataError
from anomaly_detection.reports.console import note, result, table

__all__ = ["run"]


def run(arguments: argparse.Namespace) -> int:
    """Add, list or remove users, give one another password, or end the sessions of one; raises the library's errors."""
    name = arguments.name
    if (name is None) != (arguments.do == "list"):
        raise DataError(f"users {arguments.do} takes {'no name' if name else 'a name'}.")
    if (arguments.role is None) != (arguments.do != "add"):
        raise DataError(f"users {arguments.do} takes {'no --role' if arguments.role else 'a --role'}.")
    database = open_database(arguments)
    from anomaly_detection.service.access import users

    try:
        # Asked for before the lock is taken, which requests wait for.
        password = _password() if arguments.do in ("add", "password") else ""
        with database.writing() as connection:
            if arguments.do == "add":
                users.add_user(connection, name, arguments.role, password)
            elif arguments.do == "password":
                users.set_password(connection, name, password)
            elif arguments.do == "remove":
                users.remove_user(connection, name)
            elif arguments.do == "logout":
                note(f"{users.end_sessions(connection, name)} sessions ended")
            else:
                found = users.list_users(connection)
                result(table(found) if found else "no users")
    finally:
        database.close()
    return 0


def _password() -> str:
    """Asked for twice at a terminal, else the first line of the input."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    password = getpass.getpass("Password: ")
    if getpass.getpass("The same again: ") != password:
        raise DataError("The two passwords differ; start again.")
    return password
