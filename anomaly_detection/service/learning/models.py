"""The models of streams: native files in the data directory, and their rows."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from sqlalchemy import Connection, RowMapping, and_, func, insert, select

from anomaly_detection.service.alerts.audit import write_audit
from anomaly_detection.service.alerts.changes import STREAM, change
from anomaly_detection.service.storage.clock import now
from anomaly_detection.service.storage.tables import models, streams

__all__ = [
    "add_model",
    "current_models",
    "digest_of",
    "find_model",
    "has_digest",
    "learned_until",
    "new_file",
    "put_into_effect",
]


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


def add_model(
    connection: Connection,
    stream_id: int,
    path: Path,
    source: str,
    records: int,
    who: str,
    *,
    promote: bool = True,
    comparison: str | None = None,
) -> int:
    """Make a file its stream's newest version, and put it into effect to `promote` it; gives the version."""
    newest = select(func.coalesce(func.max(models.c.version), 0)).where(models.c.stream_id == stream_id)
    version = int(connection.execute(newest).scalar_one()) + 1
    values = {
        "stream_id": stream_id,
        "version": version,
        "file": path.name,
        "digest": digest_of(path),
        "source": source,
        "records": records,
        "created": now(),
        "comparison": comparison,
    }
    connection.execute(insert(models).values(values))
    write_audit(connection, who, "add model", "stream", [(stream_id, None, {"version": version, "source": source})])
    if promote:
        put_into_effect(connection, stream_id, version, who)
    return version


def put_into_effect(connection: Connection, stream_id: int, version: int, who: str, comment: str | None = None) -> None:
    """Have a version judge from now on."""
    change(connection, STREAM, stream_id, {"model_version": version}, who, "promote", comment)


def learned_until(connection: Connection, model_id: int) -> str:
    """When a model that learned from the newest records was made. Empty for one from elsewhere."""
    query = select(models.c.created).where(models.c.id == model_id, models.c.source.like("job %"))
    return connection.execute(query).scalar() or ""


def find_model(connection: Connection, stream_id: int, version: int) -> RowMapping | None:
    """One version."""
    query = select(models).where(models.c.stream_id == stream_id, models.c.version == version)
    return connection.execute(query).mappings().first()


def current_models(connection: Connection) -> dict[int, RowMapping]:
    """The version that judges, of each stream that has one, by the stream's id; with the stream's
    ``settings`` and how often it was ``taught``."""
    judges = and_(models.c.stream_id == streams.c.id, models.c.version == streams.c.model_version)
    query = (
        select(models, streams.c.settings, streams.c.taught).join(streams, judges).where(streams.c.deleted.is_(None))
    )
    return {row["stream_id"]: row for row in connection.execute(query).mappings()}
