"""Records whose verdict would teach most: next to the line, by a feature that few verdicts are about."""

from __future__ import annotations

from typing import Any

import orjson
from sqlalchemy import Connection, func, or_, select

from anomaly_detection.service.records.incoming import Incoming
from anomaly_detection.service.records.judging import Judge
from anomaly_detection.service.storage.tables import alerts, records

__all__ = ["questions"]

_RECENT, _NEAREST, _ASKED = 5_000, 200, 5


def questions(connection: Connection, stream_id: int, judge: Judge) -> list[dict[str, Any]]:
    """Of the newest records without a verdict at most five, no two led to by the same feature.

    The weight of a feature is the less certain the fewer verdicts there are; among such, the next to the line is the
    one whose verdict decides most.
    """
    recent = (
        select(records.c.id, records.c.alert_id, records.c.body, records.c.decision)
        .where(records.c.stream_id == stream_id, records.c.state == "judged")
        .order_by(records.c.id.desc())
        .limit(_RECENT)
        .subquery()
    )
    unjudged = or_(recent.c.alert_id.is_(None), (alerts.c.state != "resolved") & alerts.c.hidden_by.is_(None))
    near = (
        select(recent)
        .outerjoin(alerts, recent.c.alert_id == alerts.c.id)
        .where(unjudged)
        .order_by(func.abs(recent.c.decision), recent.c.id)
        .limit(_NEAREST)
    )
    rows = connection.execute(near).mappings().all()
    led = judge.leading([Incoming(orjson.loads(row["body"])) for row in rows])
    told = {name: sum(counts) for name, counts in judge.lessons.counts().items()}
    asked: dict[str, dict[str, Any]] = {}
    for row, feature in zip(rows, led, strict=True):
        if feature is not None and feature not in asked:
            known = {"feature": feature, "verdicts": told.get(feature, 0), "decision": row["decision"]}
            asked[feature] = {"record_id": row["id"], "alert_id": row["alert_id"], **known}
    return sorted(asked.values(), key=lambda each: each["verdicts"])[:_ASKED]
