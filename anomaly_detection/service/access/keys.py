"""API keys: random texts, of which the database has digests alone."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Sequence

from sqlalchemy import Connection, delete, insert, select

from anomaly_detection.errors import DataError
from anomaly_detection.service.access.rights import ROLES, Caller
from anomaly_detection.service.alerts.audit import write_audit
from anomaly_detection.service.storage.clock import now
from anomaly_detection.service.storage.tables import keys
from anomaly_detection.service.streams.streams import is_name
from anomaly_detection.texts.said import say

__all__ = ["AT_THE_MACHINE", "add_key", "check_name", "has_keys", "list_keys", "owner_of", "remove_key"]

AT_THE_MACHINE = "command line"
"""Who does what is not done by a request."""

_NAME = re.compile(r"[A-Za-z0-9_.@-]{1,64}")
_PREFIX = "ad_"


def _digest(key: str) -> str:
    # One round is enough: nobody guesses 32 random bytes, as they do passwords.
    return hashlib.sha256(key.encode()).hexdigest()


def check_name(name: str, of: str) -> None:
    """Raise `DataError` for what is no name of a key or a user."""
    if not _NAME.fullmatch(name):
        raise DataError(f"{name!r} is no name for a {of}; give 1 to 64 letters, digits or any of . _ @ -")


def add_key(
    connection: Connection,
    name: str,
    role: str = "analyst",
    streams: Sequence[str] = (),
    who: str = AT_THE_MACHINE,
) -> str:
    """Make a key, which cannot be had again.

    Parameters
    ----------
    connection : Connection
    name : str
        Who uses it; what it changes is written down so.
    role : str
        One of `access.ROLES`.
    streams : sequence of str
        The only ones that it is for, whether they are there yet or not; all if empty.
    who : str
        Who makes it, for the audit.

    Raises
    ------
    DataError
        For an odd name, one that is taken, an unknown role or an odd name of a stream.
    """
    check_name(name, "key")
    if role not in ROLES:
        raise DataError(f"Unknown role {role!r}; expected one of {', '.join(ROLES)}.")
    odd = next((each for each in streams if not is_name(each)), None)
    if odd is not None:
        raise DataError(f"{odd!r} is no name of a stream; these have 1 to 64 letters, digits or any of . _ -")
    if connection.execute(select(keys.c.id).where(keys.c.name == name)).first() is not None:
        raise DataError(say("There is a key %(name)s already; remove it first, or give another name.", name=repr(name)))
    key = _PREFIX + secrets.token_urlsafe(32)
    told = {"name": name, "role": role, "streams": ",".join(streams) or None}
    values = {**told, "digest": _digest(key), "created": now()}
    number = connection.execute(insert(keys).values(values).returning(keys.c.id)).scalar_one()
    write_audit(connection, who, "add", "key", [(number, None, told)])
    return key


def remove_key(connection: Connection, name: str, who: str = AT_THE_MACHINE) -> None:
    """Make a key worthless at once; raises `DataError` where there is none of that name."""
    number = connection.execute(delete(keys).where(keys.c.name == name).returning(keys.c.id)).scalar()
    if number is None:
        raise DataError(f"There is no key {name!r}; keys list shows those that there are.")
    write_audit(connection, who, "remove", "key", [(number, {"name": name}, None)])


def list_keys(connection: Connection) -> list[dict[str, str]]:
    """The name of each key, its role and streams, and when it was made; the oldest first."""
    query = select(keys.c.name, keys.c.role, keys.c.streams, keys.c.created.label("made")).order_by(keys.c.id)
    return [{**row, "streams": row["streams"] or "all"} for row in connection.execute(query).mappings()]


def has_keys(connection: Connection) -> bool:
    """Whether there is any."""
    return connection.execute(select(keys.c.id).limit(1)).first() is not None


def owner_of(connection: Connection, key: str) -> Caller | None:
    """Whose key it is; None for what is none."""
    query = select(keys.c.name, keys.c.role, keys.c.streams).where(keys.c.digest == _digest(key))
    row = connection.execute(query).first()
    if row is None:
        return None
    return Caller(row.name, ROLES[row.role], row.role, frozenset(row.streams.split(",")) if row.streams else None)
