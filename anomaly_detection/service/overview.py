"""What there was in some days: records and alerts by day, what they were about, and how they were judged by people."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from datetime import date, datetime
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, func, select

from anomaly_detection.service.shapes import COUNT, TEXT, array, maybe, record
from anomaly_detection.service.tables import alerts, audit, records, streams

__all__ = ["OVERVIEW", "overview"]

_LISTED = 20
_HOUR = 3600.0
_NUMBER = {"type": "number"}
_MONEY = maybe(_NUMBER)
_TOTAL = {"alerts": COUNT, "amount": _MONEY}
OVERVIEW = record(
    {
        "since": TEXT,
        "until": TEXT,
        "records": COUNT,
        "alerts": COUNT,
        "alert_rate": maybe(_NUMBER),
        "amount": _MONEY,
        "days": array(record({"day": TEXT, "records": COUNT, "alerting": COUNT, **_TOTAL})),
        "by_column": array(record({"column": TEXT, **_TOTAL})),
        "by_field": array(record({"value": maybe(TEXT), **_TOTAL})),
        "verdicts": {"type": "object", "additionalProperties": COUNT},
        "hours_to_verdict": maybe(_NUMBER),
        "weeks": array(record({"week": TEXT, "judged": COUNT, "false_alarms": COUNT, "share": _NUMBER})),
    }
)


def overview(connection: Connection, stream: str | None, since: str, until: str, by: str | None) -> dict[str, Any]:
    """What there was from one moment until another.

    Parameters
    ----------
    connection : Connection
    stream : str, optional
        Of this stream alone.
    since, until : str
        Moments as `clock.now` writes them; days are those of UTC.
    by : str, optional
        A field of records, such as a supplier, by which alerts are counted too.
    """
    whose: list[ColumnElement[bool]] = [streams.c.deleted.is_(None)]
    if stream is not None:
        whose.append(streams.c.name == stream)
    kept = _records_by_day(connection, whose, since, until)
    raised = _alerts_by_day(connection, whose, since, until)
    days: list[dict[str, Any]] = [
        {
            "day": day,
            "records": kept.get(day, (0, 0))[0],
            "alerting": kept.get(day, (0, 0))[1],
            "alerts": raised.get(day, (0, None))[0],
            "amount": raised.get(day, (0, None))[1],
        }
        for day in sorted({*kept, *raised})
    ]
    count, alerting = sum(each["records"] for each in days), sum(each["alerting"] for each in days)
    amounts = [each["amount"] for each in days if each["amount"] is not None]
    return {
        "since": since,
        "until": until,
        "records": count,
        "alerts": sum(each["alerts"] for each in days),
        "alert_rate": alerting / count if count else None,
        "amount": sum(amounts) if amounts else None,
        "days": days,
        "by_column": _by_column(connection, whose, since, until),
        "by_field": [] if by is None else _by_field(connection, whose, since, until, by),
        **_judged(connection, whose, since, until),
    }


def _records_by_day(connection: Connection, whose: Any, since: str, until: str) -> dict[str, tuple[int, int]]:
    day = func.substr(records.c.received, 1, 10)
    query = (
        select(day, func.count(), func.count(records.c.alert_id))
        .join(streams, records.c.stream_id == streams.c.id)
        .where(*whose, records.c.received >= since, records.c.received < until)
        .group_by(day)
    )
    return {name: (count, alerting) for name, count, alerting in connection.execute(query)}


def _of_alerts(whose: Any, since: str, until: str) -> Any:
    return (*whose, alerts.c.hidden_by.is_(None), alerts.c.first_seen >= since, alerts.c.first_seen < until)


def _alerts_by_day(connection: Connection, whose: Any, since: str, until: str) -> dict[str, tuple[int, float | None]]:
    day = func.substr(alerts.c.first_seen, 1, 10)
    query = select(day, func.count(), func.sum(alerts.c.amount)).join(streams).where(*_of_alerts(whose, since, until))
    return {name: (count, amount) for name, count, amount in connection.execute(query.group_by(day))}


def _by_column(connection: Connection, whose: Any, since: str, until: str) -> list[dict[str, Any]]:
    count = func.count()
    query = (
        select(alerts.c.lead_column, count, func.sum(alerts.c.amount))
        .join(streams)
        .where(*_of_alerts(whose, since, until))
        .group_by(alerts.c.lead_column)
        .order_by(count.desc(), alerts.c.lead_column)
        .limit(_LISTED)
    )
    return [{"column": name, "alerts": n, "amount": amount} for name, n, amount in connection.execute(query)]


def _by_field(connection: Connection, whose: Any, since: str, until: str, by: str) -> list[dict[str, Any]]:
    query = select(alerts.c.record, alerts.c.amount).join(streams).where(*_of_alerts(whose, since, until))
    counts, amounts = Counter[str | None](), defaultdict[str | None, list[float]](list)
    for body, amount in connection.execute(query):
        value = orjson.loads(body).get(by)
        named = None if value is None else str(value)[:255]
        counts[named] += 1
        if amount is not None:
            amounts[named].append(amount)
    return [
        {"value": value, "alerts": count, "amount": sum(amounts[value]) if amounts[value] else None}
        for value, count in counts.most_common(_LISTED)
    ]


def _judged(connection: Connection, whose: Any, since: str, until: str) -> dict[str, Any]:
    """What people said of alerts, of each the last word, how soon they did, and how much was a false alarm by week."""
    resolved = audit.c.after.contains('"state":"resolved"', autoescape=True)
    query = (
        select(alerts.c.id, alerts.c.verdict, alerts.c.first_seen, func.max(audit.c.at))
        .join(streams)
        .join(audit, (audit.c.subject == "alert") & (audit.c.subject_id == alerts.c.id) & resolved)
        .where(*whose, alerts.c.state == "resolved", audit.c.at >= since, audit.c.at < until)
        .group_by(alerts.c.id, alerts.c.verdict, alerts.c.first_seen)
    )
    verdicts, hours = Counter[str](), []
    weeks: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for _, verdict, first_seen, at in connection.execute(query):
        named = verdict or "none"
        verdicts[named] += 1
        hours.append((_moment(at) - _moment(first_seen)).total_seconds() / _HOUR)
        year, week, _ = date.fromisoformat(at[:10]).isocalendar()
        weeks[f"{year}-W{week:02d}"][named] += 1
    return {
        "verdicts": dict(verdicts),
        "hours_to_verdict": statistics.median(hours) if hours else None,
        "weeks": [
            {
                "week": week,
                "judged": counts.total(),
                "false_alarms": counts["false alarm"],
                "share": counts["false alarm"] / counts.total(),
            }
            for week, counts in sorted(weeks.items())
        ],
    }


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
