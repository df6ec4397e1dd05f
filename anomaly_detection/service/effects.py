"""What verdicts change: which open alerts lie below the line by what was learned, and which records come up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import orjson
from sqlalchemy import Connection, select

from anomaly_detection.service.database import Database
from anomaly_detection.service.incoming import Incoming
from anomaly_detection.service.judging import Judge
from anomaly_detection.service.service import Service
from anomaly_detection.service.shapes import COUNT, TEXT, array, record
from anomaly_detection.service.streams import all_streams
from anomaly_detection.service.tables import alerts, records

__all__ = ["EFFECT", "changing", "effect"]

_ALERTS, _RECORDS, _NEAREST = 300, 2_000, 300
"""Newest open alerts, newest records, and those of them next to the line that are looked at."""

EFFECT = record({"stream": TEXT, "alerts_below": array(COUNT), "records_up": array(COUNT)})

Made = TypeVar("Made")


def changing(
    service: Service, said: Mapping[str, Any], work: Callable[[Connection], Made]
) -> tuple[Made, list[dict[str, Any]]]:
    """Do what may change verdicts; gives what it gives, and what that changed in each stream that has learned."""
    if not {"state", "undo"} & said.keys():
        return service.writer.run(work), []
    before = service.loaded.judges
    made = service.writer.run(work)
    service.reload()
    with service.database.reading() as connection:
        names = {stream.id: stream.name for stream in all_streams(connection)}
    found = []
    for stream_id, judge in service.loaded.judges.items():
        old = before.get(stream_id)
        if old is not None and old is not judge and old.model_id == judge.model_id and old.lessons != judge.lessons:
            found.append({"stream": names[stream_id], **effect(service.database, stream_id, old, judge)})
    return made, found


def effect(database: Database, stream_id: int, before: Judge, after: Judge) -> dict[str, list[int]]:
    """The open alerts that were above the line and are not any more, and the records that were below and are above.

    Both judge the same records together: of each the last decision is no measure, for a batch is judged as one.
    """
    with database.reading() as connection:
        raised = _bodies(connection, _open(stream_id))
        nearest = _bodies(connection, _next_to_the_line(stream_id))
    came = [Incoming(orjson.loads(body)) for _, body in (*raised, *nearest)]
    moved = [
        (was < 0.0) - (now < 0.0) if was is not None and now is not None else 0
        for was, now in zip(before.decisions(came), after.decisions(came), strict=True)
    ]
    return {
        "alerts_below": [number for (number, _), step in zip(raised, moved, strict=False) if step > 0],
        "records_up": [number for (number, _), step in zip(nearest, moved[len(raised) :], strict=True) if step < 0],
    }


def _open(stream_id: int) -> Any:
    mine = (alerts.c.stream_id == stream_id, alerts.c.state != "resolved", alerts.c.hidden_by.is_(None))
    return select(alerts.c.id, alerts.c.record).where(*mine).order_by(alerts.c.id.desc()).limit(_ALERTS)


def _next_to_the_line(stream_id: int) -> Any:
    newest = select(records.c.id, records.c.body, records.c.decision, records.c.is_alert)
    recent = newest.where(records.c.stream_id == stream_id).order_by(records.c.id.desc()).limit(_RECORDS).subquery()
    below = select(recent.c.id, recent.c.body).where(recent.c.is_alert.is_(False))
    return below.order_by(recent.c.decision, recent.c.id).limit(_NEAREST)


def _bodies(connection: Connection, query: Any) -> list[tuple[int, str]]:
    return [(number, body) for number, body in connection.execute(query)]
