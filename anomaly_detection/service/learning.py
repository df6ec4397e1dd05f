"""How far a stream without a model has come, in words."""

from __future__ import annotations

from sqlalchemy import Connection, select

from anomaly_detection.service.streams import Stream
from anomaly_detection.service.tables import jobs

__all__ = ["progress"]


def progress(connection: Connection, stream: Stream) -> str:
    """Such as ``learning: 312 of 1,000 records``."""
    query = select(jobs).where(jobs.c.stream_id == stream.id).order_by(jobs.c.id.desc()).limit(1)
    last = connection.execute(query).mappings().first()
    if last is not None and last["state"] in ("queued", "running"):
        return f"learning: a model is being trained on {stream.kept:,} records"
    if last is not None and last["state"] == "done":
        return "learning: the model is being loaded"
    words = f"learning: {stream.kept:,} of {stream.learn_at:,} records"
    return words if last is None else f"{words}; the last training failed: {last['error']}"
