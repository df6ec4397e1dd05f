"""What another threshold would have done to the last records of a stream."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from sqlalchemy import Connection, func, select

from anomaly_detection.service.storage.tables import records
from anomaly_detection.service.streams.stream_settings import StreamSettings
from anomaly_detection.service.streams.streams import Stream

__all__ = ["consequence"]

_DAY = 86_400.0


def consequence(
    connection: Connection, stream: Stream, ratio: float | None, most: int, days: int | None = None
) -> dict[str, Any]:
    """How many of the newest `most` judged records were alerts, and how many would have been with another `ratio`.

    With `days`, of those alone that came in so many days until now.

    Of less than a day nothing is said by day: a file of years may come in a minute.
    A record would have been one whose p-value is at most the ratio, whichever model gave it.
    """
    which = [records.c.stream_id == stream.id, records.c.state == "judged"]
    if days is not None:
        began = datetime.now(timezone.utc) - timedelta(days=days)
        which.append(records.c.received >= began.isoformat(timespec="milliseconds").replace("+00:00", "Z"))
    newest = (
        select(records.c.received, records.c.is_alert, records.c.p_value)
        .where(*which)
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
    lasted = 0.0 if count < 2 else (_moment(until) - _moment(since)).total_seconds() / _DAY
    return {
        "anomaly_ratio": StreamSettings.of(stream.settings).anomaly_ratio if ratio is None else ratio,
        "records": count,
        "since": since,
        "alerts": alerts,
        "alerts_per_day": alerts / lasted if lasted >= 1 else None,
        "alerts_then": then,
        "alerts_per_day_then": then / lasted if then is not None and lasted >= 1 else None,
    }


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
