"""What verdicts on a stream's alerts teach its model, read from the alerts themselves: undone, it is gone."""

from __future__ import annotations

from typing import Any

import orjson
from sqlalchemy import Connection, select, update

from anomaly_detection.features.evidence.lessons import ANOMALY, MOST_LESSONS, NORMAL, Lessons
from anomaly_detection.service.storage.tables import alerts, streams

__all__ = ["TEACHES", "leading_feature", "lessons_of", "note_verdicts"]

_AT_ONCE = 500

TEACHES = {"real: fixed": ANOMALY, "real: accepted": ANOMALY, "false alarm": NORMAL}
"""Verdicts that teach: one that was expected is odd nevertheless, and of a duplicate the other is told."""


def lessons_of(connection: Connection, stream_id: int, led: dict[int, str]) -> Lessons:
    """The verdicts of a stream's alerts, the oldest alert first, each on the feature of its first reason.

    `led` has that feature of alerts by their numbers, and is brought up to date: only new ones are read.
    """
    query = (
        select(alerts.c.id, alerts.c.verdict)
        .where(alerts.c.stream_id == stream_id, alerts.c.state == "resolved", alerts.c.verdict.in_(TEACHES))
        # For the plain number SQLite would leave the index that holds all of this, and read every alert.
        .order_by((alerts.c.id + 0).desc())
        .limit(MOST_LESSONS)
    )
    verdicts: dict[int, str] = {row[0]: row[1] for row in reversed(connection.execute(query).all())}
    # A number that is gone may be given to another alert.
    for gone in led.keys() - verdicts.keys():
        del led[gone]
    new = [number for number in verdicts if number not in led]
    for first in range(0, len(new), _AT_ONCE):
        some = alerts.c.id.in_(new[first : first + _AT_ONCE])
        for number, reasons in connection.execute(select(alerts.c.id, alerts.c.contributions).where(some)):
            led[number] = leading_feature(reasons)
    return Lessons(tuple(map(led.__getitem__, verdicts)), tuple(map(TEACHES.__getitem__, verdicts.values())))


def leading_feature(contributions: str) -> str:
    """Of an alert's first reason; empty where nothing stands out."""
    reasons = orjson.loads(contributions)
    return str(reasons[0]["feature"]) if reasons else ""


def note_verdicts(connection: Connection, of_streams: Any) -> None:
    """Have what judges these streams, a query of ids, look at their verdicts anew."""
    connection.execute(update(streams).where(streams.c.id.in_(of_streams)).values(taught=streams.c.taught + 1))
