"""What came in and what became of it, by day, by week and by reason."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from typing import Any

from sqlalchemy import Connection, Select, func, select

from anomaly_detection.service.tables import alerts, cases, records, streams

__all__ = ["overview"]

_REASONS = 10
_FALSE = "false alarm"


def overview(connection: Connection, stream: str | None, days: int) -> dict[str, Any]:
    """Records and alerts of the last days, today included, by day; alerts by week and by reason; and what is open.

    Alerts that a rule hides count nowhere. Days and weeks are those of UTC; a week begins on Monday.
    """
    today = datetime.now(timezone.utc).date()
    first = today - timedelta(days=days - 1)
    received = _by_day(connection, _of(select(func.count()), records, stream), records.c.received, first)
    seen = _of(select(func.count()).where(alerts.c.hidden_by.is_(None)), alerts, stream)
    raised = _by_day(connection, seen, alerts.c.first_seen, first)
    judged = _by_day(connection, seen.where(alerts.c.verdict.is_not(None)), alerts.c.first_seen, first)
    wrong = _by_day(connection, seen.where(alerts.c.verdict == _FALSE), alerts.c.first_seen, first)
    every = [first + timedelta(days=place) for place in range(days)]
    return {
        "days": [
            {"day": day.isoformat(), "records": received.get(day, 0), "alerts": raised.get(day, 0)} for day in every
        ],
        "weeks": _by_week(every, {"alerts": raised, "with_verdict": judged, "false_alarms": wrong}),
        "reasons": _by_reason(connection, stream, first),
        "open": _open(connection, stream),
    }


def _of(query: Select[Any], table: Any, stream: str | None) -> Select[Any]:
    """About one stream, or about all that were not deleted."""
    named = streams.c.deleted.is_(None) if stream is None else streams.c.name == stream
    return query.where(table.c.stream_id.in_(select(streams.c.id).where(named)))


def _by_day(connection: Connection, query: Select[Any], moment: Any, first: date) -> dict[date, int]:
    day = func.substr(moment, 1, 10)
    rows = connection.execute(query.add_columns(day).where(moment >= first.isoformat()).group_by(day))
    return {date.fromisoformat(found): count for count, found in rows}


def _by_week(every: list[date], counts: dict[str, dict[date, int]]) -> list[dict[str, Any]]:
    weeks: dict[date, dict[str, int]] = {}
    for day in every:
        week = weeks.setdefault(day - timedelta(days=day.weekday()), dict.fromkeys(counts, 0))
        for name, by_day in counts.items():
            week[name] += by_day.get(day, 0)
    return [{"week": monday.isoformat(), **week} for monday, week in weeks.items()]


def _by_reason(connection: Connection, stream: str | None, first: date) -> list[dict[str, Any]]:
    count = func.count()
    query = select(
        alerts.c.lead_column.label("column"), count.label("alerts"), func.sum(alerts.c.amount).label("amount")
    )
    query = _of(query, alerts, stream).where(alerts.c.hidden_by.is_(None), alerts.c.first_seen >= first.isoformat())
    most = query.group_by(alerts.c.lead_column).order_by(count.desc(), alerts.c.lead_column).limit(_REASONS)
    return [dict(row) for row in connection.execute(most).mappings()]


def _open(connection: Connection, stream: str | None) -> dict[str, Any]:
    query = select(func.count().label("cases"), func.sum(cases.c.alerts).label("alerts"), func.sum(cases.c.amount))
    seen = (cases.c.state != "resolved", cases.c.merged_into.is_(None), cases.c.alerts > 0)
    number, count, amount = connection.execute(_of(query, cases, stream).where(*seen)).one()
    return {"cases": number, "alerts": int(count or 0), "amount": amount}
