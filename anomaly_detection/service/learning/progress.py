"""How far a stream without a model has come, in words."""

from __future__ import annotations

from sqlalchemy import Connection, select

from anomaly_detection.service.storage.tables import jobs
from anomaly_detection.service.streams.streams import Stream
from anomaly_detection.texts.viewer import reread

__all__ = ["progress"]


def progress(connection: Connection, stream: Stream) -> str:
    """Such as ``learning: 312 of 1,000 records``."""
    trainings = select(jobs).where(jobs.c.stream_id == stream.id, jobs.c.kind == "train")
    query = trainings.order_by(jobs.c.id.desc()).limit(1)
    last = connection.execute(query).mappings().first()
    if last is not None and last["state"] in ("queued", "running"):
        return f"learning: a model is being trained on {stream.kept:,} records"
    if stream.model_version is not None:
        return "learning: the model is being loaded"
    words = f"learning: {stream.kept:,} of {stream.learn_at:,} records"
    if last is None or last["state"] == "cancelled":
        return words
    if last["state"] == "done":
        return f"{words}; a model is there, and waits to be put into effect"
    return f"{words}; the last training failed: {reread(last['error'])}"
