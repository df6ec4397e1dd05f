"""What verdicts on a stream's alerts teach its model, read from the alerts themselves: undone, it is gone."""

from __future__ import annotations

from typing import Any

import orjson
from sqlalchemy import Connection, select, update

from anomaly_detection.features.lessons import ANOMALY, MOST_LESSONS, NORMAL, Lessons
from anomaly_detection.service.tables import alerts, streams

__all__ = ["TEACHES", "leading_feature", "lessons_of", "note_verdicts"]

TEACHES = {"real: fixed": ANOMALY, "real: accepted": ANOMALY, "false alarm": NORMAL}
"""Verdicts that teach: one that was expected is odd nevertheless, and of a duplicate the other is told."""


def lessons_of(connection: Connection, stream_id: int) -> Lessons:
    """The verdicts of a stream's alerts, the oldest alert first, each on the feature of its first reason."""
    query = (
        select(alerts.c.contributions, alerts.c.verdict)
        .where(alerts.c.stream_id == stream_id, alerts.c.state == "resolved", alerts.c.verdict.in_(TEACHES))
        .order_by(alerts.c.id.desc())
        .limit(MOST_LESSONS)
    )
    rows = [(leading_feature(reasons), TEACHES[verdict]) for reasons, verdict in connection.execute(query)][::-1]
    return Lessons().with_more(*zip(*rows, strict=True)) if rows else Lessons()


def leading_feature(contributions: str) -> str:
    """Of an alert's first reason; empty where nothing stands out."""
    reasons = orjson.loads(contributions)
    return str(reasons[0]["feature"]) if reasons else ""


def note_verdicts(connection: Connection, of_streams: Any) -> None:
    """Have what judges these streams, a query of ids, look at their verdicts anew."""
    connection.execute(update(streams).where(streams.c.id.in_(of_streams)).values(taught=streams.c.taught + 1))
