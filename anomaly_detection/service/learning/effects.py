"""What verdicts change: which open alerts lie below the line by what was learned, and which records come up."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import orjson
from sqlalchemy import Connection, select

from anomaly_detection.service.http.shapes import COUNT, TEXT, array, record
from anomaly_detection.service.learning.watched import Name
from anomaly_detection.service.processes.service import Service
from anomaly_detection.service.records.incoming import Incoming
from anomaly_detection.service.records.judging import Judge
from anomaly_detection.service.storage.tables import alerts, records
from anomaly_detection.service.streams.streams import all_streams

__all__ = ["EFFECT", "changing", "effect"]

_ALERTS, _RECORDS, _NEAREST = 500, 2_000, 300
"""Newest alerts, of which the open ones are looked at, newest records, and how many of those, next to the line."""

_AT_ONCE = 500
"""Values in a condition: databases take no more than some thousand."""

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
    judges = service.loaded.judges
    service.watched.forget_others(judges)
    for stream_id, judge in judges.items():
        old = before.get(stream_id)
        if old is not None and old is not judge and old.model_id == judge.model_id and old.lessons != judge.lessons:
            found.append({"stream": names[stream_id], **effect(service, stream_id, old, judge)})
    return made, found


def effect(service: Service, stream_id: int, before: Judge, after: Judge) -> dict[str, list[int]]:
    """The open alerts that were above the line and are not any more, and the records that were below and are above.

    Both judge the same features: of each record the last decision is no measure, for a batch is judged as one.
    """
    with service.database.reading() as connection:
        numbers = {which: connection.execute(query(stream_id)).scalars().all() for which, query in _LOOKED_AT.items()}
        names = [(which, number) for which, some in numbers.items() for number in some]
        moved = service.watched.moved(stream_id, names, partial(_fetch, connection), before, after)
    return {
        "alerts_below": [number for which, number in names if which == _ALERT and moved.get((which, number)) == 1],
        "records_up": [number for which, number in names if which == _RECORD and moved.get((which, number)) == -1],
    }


def _open(stream_id: int) -> Any:
    # Where one is closed none comes in its place, whose record would have to be read first.
    newest = select(alerts.c.id, alerts.c.state, alerts.c.hidden_by).where(alerts.c.stream_id == stream_id)
    recent = newest.order_by(alerts.c.id.desc()).limit(_ALERTS).subquery()
    return select(recent.c.id).where(recent.c.state != "resolved", recent.c.hidden_by.is_(None))


def _next_to_the_line(stream_id: int) -> Any:
    newest = select(records.c.id, records.c.decision, records.c.is_alert)
    recent = newest.where(records.c.stream_id == stream_id).order_by(records.c.id.desc()).limit(_RECORDS).subquery()
    below = select(recent.c.id).where(recent.c.is_alert.is_(False))
    return below.order_by(recent.c.decision, recent.c.id).limit(_NEAREST)


_ALERT, _RECORD = "alert", "record"
_LOOKED_AT = {_ALERT: _open, _RECORD: _next_to_the_line}
_BODIES = {_ALERT: (alerts.c.id, alerts.c.record), _RECORD: (records.c.id, records.c.body)}


def _fetch(connection: Connection, names: Sequence[Name]) -> list[Incoming]:
    """The records that these name."""
    found: dict[Name, Incoming] = {}
    for which, (number, body) in _BODIES.items():
        wanted = [each for kind, each in names if kind == which]
        for start in range(0, len(wanted), _AT_ONCE):
            query = select(number, body).where(number.in_(wanted[start : start + _AT_ONCE]))
            found |= {(which, each): Incoming(orjson.loads(text)) for each, text in connection.execute(query)}
    return [found[name] for name in names]
