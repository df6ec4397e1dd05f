"""The models of streams: native files in the data directory, and their rows."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from sqlalchemy import Connection, RowMapping, func, insert, select

from anomaly_detection.service.clock import now
from anomaly_detection.service.tables import models

__all__ = ["add_model", "current_models", "digest_of", "has_digest", "new_file"]


def digest_of(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def new_file(folder: Path, stream_id: int) -> Path:
    """A name that no model file has: it takes effect by its row alone, so one without a row is of no use to anybody."""
    return folder / f"stream{stream_id}-{os.urandom(8).hex()}.safetensors"


def has_digest(connection: Connection, stream_id: int, source: str) -> bool:
    """Whether a model of this source was taken in before."""
    query = select(models.c.id).where(models.c.stream_id == stream_id, models.c.source == source).limit(1)
    return connection.execute(query).first() is not None


def add_model(connection: Connection, stream_id: int, path: Path, digest: str, source: str, records: int) -> int:
    """Put a file into effect as its stream's newest version; gives the version."""
    newest = select(func.coalesce(func.max(models.c.version), 0)).where(models.c.stream_id == stream_id)
    version = int(connection.execute(newest).scalar_one()) + 1
    values = {
        "stream_id": stream_id,
        "version": version,
        "file": path.name,
        "digest": digest,
        "source": source,
        "records": records,
        "created": now(),
    }
    connection.execute(insert(models).values(values))
    return version


def current_models(connection: Connection) -> dict[int, RowMapping]:
    """The newest version of each stream that has one, by the stream's id."""
    query = select(models).order_by(models.c.stream_id, models.c.version)
    return {row["stream_id"]: row for row in connection.execute(query).mappings()}
