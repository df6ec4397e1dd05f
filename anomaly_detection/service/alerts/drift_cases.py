"""The one case of all alerts that a changed column leads to."""

from __future__ import annotations

import hashlib
from typing import Any

import orjson
from sqlalchemy import Connection, bindparam, select

from anomaly_detection.service.storage.tables import drift
from anomaly_detection.texts.said import spoken

__all__ = ["about_drift", "changed_columns", "drift_cause"]

# Made once: making it takes as long as running it.
_FOUND = select(drift.c.found).where(drift.c.stream_id == bindparam("stream"))


def drift_cause(column: str) -> str:
    """The cause that all alerts led by a changed column have: they come into one case."""
    return hashlib.sha256(f"drift\0{column}".encode()).hexdigest()


def changed_columns(connection: Connection, stream_id: int) -> dict[str, dict[str, str]]:
    """The columns of a stream that have changed, with what a case of each is about, see `about_drift`."""
    found = connection.execute(_FOUND, {"stream": stream_id}).scalar()
    changes: dict[str, dict[str, str]] = {}
    for each in orjson.loads(found or "[]"):
        if each["column"]:
            changes.setdefault(each["column"], about_drift(each["text"]))
    return changes


def about_drift(text: Any) -> dict[str, str]:
    """The columns of an alert or a case that is about a change, of which this is kept as its text."""
    return {"about": spoken(text), "said": orjson.dumps({"about": text}).decode()}
