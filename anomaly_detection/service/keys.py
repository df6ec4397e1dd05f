"""API keys: random texts, of which the database has digests alone."""

from __future__ import annotations

import hashlib
import re
import secrets

from sqlalchemy import Connection, delete, insert, select

from anomaly_detection.errors import DataError
from anomaly_detection.service.clock import now
from anomaly_detection.service.tables import keys

__all__ = ["add_key", "has_keys", "key_names", "owner_of", "remove_key"]

_NAME = re.compile(r"[A-Za-z0-9_.@-]{1,64}")
_PREFIX = "ad_"


def _digest(key: str) -> str:
    # One round is enough: nobody guesses 32 random bytes, as they do passwords.
    return hashlib.sha256(key.encode()).hexdigest()


def add_key(connection: Connection, name: str) -> str:
    """Make a key, which cannot be had again; raises `DataError` for an odd name, or one that is taken."""
    if not _NAME.fullmatch(name):
        raise DataError(f"{name!r} is no name for a key; give 1 to 64 letters, digits or any of . _ @ -")
    if connection.execute(select(keys.c.id).where(keys.c.name == name)).first() is not None:
        raise DataError(f"There is a key {name!r} already; remove it first, or give another name.")
    key = _PREFIX + secrets.token_urlsafe(32)
    connection.execute(insert(keys).values(name=name, digest=_digest(key), created=now()))
    return key


def remove_key(connection: Connection, name: str) -> None:
    """Make a key worthless at once; raises `DataError` where there is none of that name."""
    if connection.execute(delete(keys).where(keys.c.name == name)).rowcount == 0:
        raise DataError(f"There is no key {name!r}; keys list shows those that there are.")


def key_names(connection: Connection) -> list[tuple[str, str]]:
    """The name of each key and when it was made, the oldest first."""
    rows = connection.execute(select(keys.c.name, keys.c.created).order_by(keys.c.id))
    return [(str(name), str(created)) for name, created in rows]


def has_keys(connection: Connection) -> bool:
    """Whether there is any."""
    return connection.execute(select(keys.c.id).limit(1)).first() is not None


def owner_of(connection: Connection, key: str) -> str | None:
    """The name of a key; None for what is none."""
    name: str | None = connection.execute(select(keys.c.name).where(keys.c.digest == _digest(key))).scalar()
    return name
