"""Users: people with a name, a password and a role."""

from __future__ import annotations

from sqlalchemy import Connection, delete, insert, select, update

from anomaly_detection.errors import DataError
from anomaly_detection.service.access.keys import AT_THE_MACHINE, check_name
from anomaly_detection.service.access.passwords import hashed
from anomaly_detection.service.access.rights import ROLES
from anomaly_detection.service.alerts.audit import write_audit
from anomaly_detection.service.storage.clock import now
from anomaly_detection.service.storage.tables import sessions, users
from anomaly_detection.texts.said import say

__all__ = [
    "add_user",
    "end_sessions",
    "has_users",
    "list_users",
    "password_of",
    "remove_user",
    "set_password",
    "set_role",
]


def add_user(connection: Connection, name: str, role: str, password: str, who: str = AT_THE_MACHINE) -> int:
    """Add one, and give its id.

    Raises
    ------
    DataError
        For an odd name, one that is taken, an unknown role, or a password too short.
    """
    check_name(name, "user")
    if role not in ROLES:
        raise DataError(f"Unknown role {role!r}; expected one of {', '.join(ROLES)}.")
    if connection.execute(select(users.c.id).where(users.c.name == name)).first() is not None:
        raise DataError(
            say("There is a user %(name)s already; remove that one first, or give another name.", name=repr(name))
        )
    values = {"name": name, "role": role, "password": hashed(password), "created": now()}
    number = connection.execute(insert(users).values(values).returning(users.c.id)).scalar_one()
    write_audit(connection, who, "add", "user", [(number, None, {"name": name, "role": role})])
    return int(number)


def remove_user(connection: Connection, name: str, who: str = AT_THE_MACHINE) -> None:
    """Remove one, whose sessions end at once; raises `DataError` where there is none."""
    number = _number(connection, name)
    _end(connection, number)
    connection.execute(delete(users).where(users.c.id == number))
    write_audit(connection, who, "remove", "user", [(number, {"name": name}, None)])


def set_password(connection: Connection, name: str, password: str, who: str = AT_THE_MACHINE) -> None:
    """Give one another password, with which to log in anew; raises `DataError` where there is none."""
    number = _number(connection, name)
    connection.execute(update(users).where(users.c.id == number).values(password=hashed(password)))
    _end(connection, number)
    write_audit(connection, who, "set password", "user", [(number, None, None)])


def set_role(connection: Connection, name: str, role: str, who: str) -> None:
    """Give one another role, which counts at once; raises `DataError` where there is none."""
    number = _number(connection, name)
    before = connection.execute(select(users.c.role).where(users.c.id == number)).scalar_one()
    connection.execute(update(users).where(users.c.id == number).values(role=role))
    write_audit(connection, who, "set role", "user", [(number, {"role": before}, {"role": role})])


def end_sessions(connection: Connection, name: str) -> int:
    """End all sessions of one, and say how many there were; raises `DataError` where there is none of that name."""
    number = _number(connection, name)
    write_audit(connection, AT_THE_MACHINE, "log out", "user", [(number, None, None)])
    return _end(connection, number)


def _end(connection: Connection, number: int) -> int:
    return connection.execute(delete(sessions).where(sessions.c.user_id == number)).rowcount


def _number(connection: Connection, name: str) -> int:
    number = connection.execute(select(users.c.id).where(users.c.name == name)).scalar()
    if number is None:
        raise DataError(f"There is no user {name!r}; users list shows those that there are.")
    return int(number)


def list_users(connection: Connection) -> list[dict[str, str]]:
    """The name of each, the role, and when it was added; the oldest first."""
    query = select(users.c.name, users.c.role, users.c.created.label("added")).order_by(users.c.id)
    return [dict(row) for row in connection.execute(query).mappings()]


def has_users(connection: Connection) -> bool:
    """Whether there is any."""
    return connection.execute(select(users.c.id).limit(1)).first() is not None


def password_of(connection: Connection, name: str) -> tuple[int | None, str | None]:
    """A user's id and the hash of the password; None for both where there is none of that name."""
    row = connection.execute(select(users.c.id, users.c.password).where(users.c.name == name)).first()
    return (None, None) if row is None else (int(row.id), str(row.password))
