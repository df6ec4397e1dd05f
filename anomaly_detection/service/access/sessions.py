"""Sessions of people who logged in: a random text in a signed cookie, of which the database has the digest."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import time
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from pathlib import Path

from itsdangerous import BadData, Signer, URLSafeSerializer
from sqlalchemy import Connection, delete, insert, select

from anomaly_detection.service.access.rights import ROLES, Caller
from anomaly_detection.service.storage.clock import now
from anomaly_detection.service.storage.tables import sessions, users

__all__ = [
    "COOKIE",
    "DEVICE",
    "DEVICE_SECONDS",
    "SECONDS",
    "Signatures",
    "begin_session",
    "caller_of",
    "cookie_of",
    "end_session",
]

COOKIE = "anomaly_detection_session"
DEVICE = "anomaly_detection_device"
DEVICE_SECONDS = 400 * 86_400
"""As long as browsers keep a cookie."""

SECONDS = 12 * 3600
"""A session's time, after which one logs in anew."""

_FILE = "cookie.key"


class Signatures:
    """Signs cookies, and makes the token that a change by cookie needs, by a secret of the data directory.

    What a page of another site cannot read it cannot send: the token is in an answer's body, and the cookie alone,
    which a browser adds to anybody's request, is not enough.
    """

    def __init__(self, folder: Path) -> None:
        secret = _secret(folder / _FILE)
        self._cookies = URLSafeSerializer(secret, salt="session")
        self._devices = URLSafeSerializer(secret, salt="device")
        self._tokens = Signer(secret, salt="token")

    def cookie(self, session: str) -> str:
        """The cookie of a session."""
        return str(self._cookies.dumps(session))

    def session(self, cookie: str) -> str | None:
        """The session of a cookie; None where nobody here signed it."""
        try:
            return str(self._cookies.loads(cookie))
        except BadData:
            return None

    def device_cookie(self, name: str) -> str:
        """The cookie of a device from which somebody has logged in."""
        return str(self._devices.dumps([name, secrets.token_urlsafe(16)]))

    def device(self, cookie: str, name: str) -> str | None:
        """The device of a cookie; None where nobody here signed it, or for another."""
        try:
            whose, device = self._devices.loads(cookie)
        except BadData:
            return None
        return str(device) if whose == name else None

    def token(self, session: str) -> str:
        """What a change needs besides the cookie."""
        return self._tokens.get_signature(session).decode()

    def is_token(self, session: str, token: str) -> bool:
        """Whether it is the one of this session."""
        return hmac.compare_digest(self.token(session).encode(), token.encode())


def cookie_of(headers: Mapping[str, str], name: str) -> str | None:
    """A cookie of a request; None where it has none of that name."""
    try:
        cookie = SimpleCookie(headers.get("cookie", "")).get(name)
    except CookieError:
        return None
    return None if cookie is None else cookie.value


def _secret(path: Path) -> bytes:
    """32 random bytes that stay the same in a folder, for its owner's eyes alone."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        return path.read_bytes()
    except FileNotFoundError:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(secrets.token_bytes(32))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        return path.read_bytes()


def _digest(session: str) -> str:
    # One round is enough for 32 random bytes.
    return hashlib.sha256(session.encode()).hexdigest()


def begin_session(connection: Connection, user_id: int) -> str:
    """Begin one of a user, and forget all that are over."""
    connection.execute(delete(sessions).where(sessions.c.expires < time.time()))
    session = secrets.token_urlsafe(32)
    values = {"digest": _digest(session), "user_id": user_id, "created": now(), "expires": time.time() + SECONDS}
    connection.execute(insert(sessions).values(values))
    return session


def end_session(connection: Connection, session: str) -> None:
    """End one: its cookie is worth nothing at once."""
    connection.execute(delete(sessions).where(sessions.c.digest == _digest(session)))


def caller_of(connection: Connection, session: str) -> Caller | None:
    """Who has this session, with the role of this moment; None where it is over."""
    query = select(users.c.name, users.c.role).join_from(sessions, users)
    row = connection.execute(
        query.where(sessions.c.digest == _digest(session), sessions.c.expires >= time.time())
    ).first()
    return None if row is None else Caller(row.name, ROLES[row.role], row.role, session=session)
