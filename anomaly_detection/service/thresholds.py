"""What another threshold would have done to the last records of a stream."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select

from anomaly_detection.service.stream_settings import StreamSettings
from anomaly_detection.service.streams import Stream
from anomaly_detection.service.tables import records

__all__ = ["consequence"]

_DAY = 86_400.0


def consequence(connection: Connection, stream: Stream, ratio: float | None, most: int) -> dict[str, Any]:
    """How many of the newest `most` judged records were alerts, and how many would have been with another `ratio`.

    A record would have been one whose p-value is at most the ratio, whichever model gave it.
    """
    newest = (
        select(records.c.received, records.c.is_alert, records.c.p_value)
        .where(records.c.stream_id == stream.id, records.c.state == "judged")
        .order_by(records.c.id.desc())
        .limit(most)
        .subquery()
    )
    count, since, until, alerts = connection.execute(
        select(
            func.count(),
            func.min(newest.c.received),
            func.max(newest.c.received),
            func.count().filter(newest.c.is_alert),
        )
    ).one()
    then = None
    if ratio is not None:
        then = int(connection.execute(select(func.count()).where(newest.c.p_value <= ratio)).scalar_one())
    days = 0.0 if count < 2 else (_moment(until) - _moment(since)).total_seconds() / _DAY
    return {
        "anomaly_ratio": StreamSettings.of(stream.settings).anomaly_ratio if ratio is None else ratio,
        "records": count,
        "since": since,
        "alerts": alerts,
        "alerts_per_day": alerts / days if days > 0 else None,
        "alerts_then": then,
        "alerts_per_day_then": then / days if then is not None and days > 0 else None,
    }


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
