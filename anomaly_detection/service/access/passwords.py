"""Passwords, of which the database has hashes alone."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import unicodedata

from anomaly_detection.errors import DataError

__all__ = ["SHORTEST", "hashed", "is_right"]

SHORTEST, _LONGEST = 10, 1000
"""Characters of a password."""

# OWASP's: as strong as its first choice, with a quarter of the memory (32 MB), for twice the time.
_COST = (2**15, 8, 3)


def hashed(password: str) -> str:
    """The hash to keep, by scrypt with a salt of its own; raises `DataError` for a password too short or too long."""
    if not SHORTEST <= len(password) <= _LONGEST:
        raise DataError(f"A password has {SHORTEST} to {_LONGEST:,} characters; this one has {len(password)}.")
    salt = os.urandom(16)
    made = _scrypt(password, salt, _COST)
    return "$".join(("scrypt", *map(str, _COST), *(base64.b64encode(each).decode() for each in (salt, made))))


def is_right(password: str, kept: str | None) -> bool:
    """Whether a password is the one of a hash. Without a hash it is not, and that takes as long to say."""
    if len(password) > _LONGEST:
        return False
    _, n, r, p, salt, made = (kept or _NOBODYS).split("$")
    found = _scrypt(password, base64.b64decode(salt), (int(n), int(r), int(p)))
    return hmac.compare_digest(found, base64.b64decode(made)) and kept is not None


def _scrypt(password: str, salt: bytes, cost: tuple[int, int, int]) -> bytes:
    n, r, p = cost
    # The same letters may be written in two ways, by one keyboard and another.
    text = unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")
    return hashlib.scrypt(text, salt=salt, n=n, r=r, p=p, maxmem=256 * n * r, dklen=32)


_NOBODYS = "$".join(("scrypt", *map(str, _COST), base64.b64encode(bytes(16)).decode(), ""))
