"""What there was in some days: records and alerts by day, what they were about, and how they were judged by people."""

from __future__ import annotations

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from datetime import date, datetime, timezone, tzinfo
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

import orjson
from sqlalchemy import ColumnElement, Connection, func, literal_column, select

from anomaly_detection.service.http.shapes import COUNT, TEXT, array, maybe, record
from anomaly_detection.service.storage.tables import alerts, audit, quarters, records, streams
from anomaly_detection.service.storage.zones import days_in, next_quarter, quarter_of

__all__ = ["OVERVIEW", "overview"]

_LISTED = 20
_HOUR = 3600.0
_DEVIATIONS = 1.959964
"""Of a normal value, that 95 % lie within."""
_COUNTED = 20_000
"""Newest alerts that are counted by a field, for which each is read."""

# In the words of the index of those.
_OF_ALERTS = (
    literal_column("audit.subject") == literal_column("'alert'"),
    literal_column("audit.what") != literal_column("'raise'"),
)
_Key = TypeVar("_Key")
_Counts = dict[tuple[str, str], tuple[int, int]]
"""By stream and day: records, and those that are alerts."""

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
        "by_stream": array(
            record({"stream": TEXT, "records": COUNT, "alerting": COUNT, "asked": maybe(_NUMBER)}),
        ),
        "asked_rate": maybe(_NUMBER),
        "by_column": array(record({"column": TEXT, **_TOTAL})),
        "by_field": array(record({"field": TEXT, "value": maybe(TEXT), **_TOTAL})),
        "verdicts": {"type": "object", "additionalProperties": COUNT},
        "hours_to_verdict": maybe(_NUMBER),
        "weeks": array(
            record(
                {
                    "week": TEXT,
                    **dict.fromkeys(("judged", "false_alarms", "real"), COUNT),
                    "share": _NUMBER,
                    **dict.fromkeys(("precision", "precision_low", "precision_high"), maybe(_NUMBER)),
                }
            )
        ),
    }
)


def overview(
    connection: Connection, stream: str | None, since: str, until: str, by: Sequence[str], zone: tzinfo = timezone.utc
) -> dict[str, Any]:
    """What there was from one moment until another.

    Parameters
    ----------
    connection : Connection
    stream : str, optional
        Of this stream alone.
    since, until : str
        Moments as `clock.now` writes them.
    by : sequence of str
        Fields of records, such as a supplier, by each of which alerts are counted too, the newest 20,000.
    zone : tzinfo, optional
        Of which days and weeks are.
    """
    whose: list[ColumnElement[bool]] = [streams.c.deleted.is_(None)]
    if stream is not None:
        whose.append(streams.c.name == stream)
    days = _Days(*days_in(zone, since, until))
    came = _records_by_day(connection, whose, since, until, days)
    kept, by_stream = _summed(came, 1), _summed(came, 0)
    raised = _alerts_by_day(connection, whose, since, until, days)
    listed: list[dict[str, Any]] = [
        {
            "day": day,
            "records": kept.get(day, (0, 0))[0],
            "alerting": kept.get(day, (0, 0))[1],
            "alerts": raised.get(day, (0, None))[0],
            "amount": raised.get(day, (0, None))[1],
        }
        for day in sorted({*kept, *raised})
    ]
    count, alerting = sum(each["records"] for each in listed), sum(each["alerting"] for each in listed)
    amounts = [each["amount"] for each in listed if each["amount"] is not None]
    return {
        "since": since,
        "until": until,
        "records": count,
        "alerts": sum(each["alerts"] for each in listed),
        "alert_rate": alerting / count if count else None,
        "amount": sum(amounts) if amounts else None,
        "days": listed,
        "by_stream": [
            {"stream": name, "records": count, "alerting": alerting}
            for name, (count, alerting) in sorted(by_stream.items())
        ],
        "by_column": _by_column(connection, whose, since, until),
        "by_field": _by_field(connection, whose, since, until, by) if by else [],
        **_judged(connection, whose, since, until, days),
    }


class _Days(NamedTuple):
    """See `zones.days_in`."""

    length: int
    of: Callable[[str], str]

    def begin(self, moment: Any) -> Any:
        """What of a column of moments tells the day."""
        return func.substr(moment, 1, self.length)


def _records_by_day(connection: Connection, whose: Any, since: str, until: str, days: _Days) -> _Counts:
    """By stream and day how many records came, and how many are alerts: counted already, but for parts of quarters."""
    first, last = next_quarter(since), quarter_of(until)
    if first > last:
        return _counted(connection, whose, since, until, days)
    begin = days.begin(quarters.c.quarter)
    query = select(streams.c.name, begin, func.sum(quarters.c.records), func.sum(quarters.c.alerting)).join(streams)
    mine = query.where(*whose, quarters.c.quarter >= first, quarters.c.quarter < last).group_by(streams.c.name, begin)
    counts = _Counts()
    for name, on, count, alerting in connection.execute(mine):
        _add(counts, (name, days.of(on)), (int(count), int(alerting)))
    for some in (_counted(connection, whose, since, first, days), _counted(connection, whose, last, until, days)):
        for key, more in some.items():
            _add(counts, key, more)
    return counts


def _add(counts: dict[_Key, tuple[int, int]], key: _Key, more: tuple[int, int]) -> None:
    before = counts.get(key, (0, 0))
    counts[key] = (before[0] + more[0], before[1] + more[1])


def _summed(counts: _Counts, part: int) -> dict[str, tuple[int, int]]:
    """Over the days of each stream (`part` 0), or over the streams of each day (1)."""
    made: dict[str, tuple[int, int]] = {}
    for key, more in counts.items():
        _add(made, key[part], more)
    return made


def _counted(connection: Connection, whose: Any, since: str, until: str, days: _Days) -> _Counts:
    """The same of any span, out of the records that are kept."""
    begin = days.begin(records.c.received)
    query = (
        select(streams.c.name, begin, func.count(), func.count(records.c.alert_id))
        .join(streams, records.c.stream_id == streams.c.id)
        .where(*whose, records.c.received >= since, records.c.received < until)
        .group_by(streams.c.name, begin)
    )
    counts = _Counts()
    for name, on, count, alerting in connection.execute(query):
        _add(counts, (name, days.of(on)), (count, alerting))
    return counts


def _of_alerts(whose: Any, since: str, until: str) -> Any:
    return (*whose, alerts.c.hidden_by.is_(None), alerts.c.first_seen >= since, alerts.c.first_seen < until)


def _alerts_by_day(
    connection: Connection, whose: Any, since: str, until: str, days: _Days
) -> dict[str, tuple[int, float | None]]:
    begin = days.begin(alerts.c.first_seen)
    query = select(begin, func.count(), func.sum(alerts.c.amount)).join(streams).where(*_of_alerts(whose, since, until))
    made: dict[str, tuple[int, float | None]] = {}
    for on, count, amount in connection.execute(query.group_by(begin)):
        before, known = made.get(days.of(on), (0, None))
        made[days.of(on)] = (before + count, known if amount is None else (known or 0.0) + amount)
    return made


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


def _by_field(connection: Connection, whose: Any, since: str, until: str, by: Sequence[str]) -> list[dict[str, Any]]:
    mine = select(alerts.c.record, alerts.c.amount).join(streams).where(*_of_alerts(whose, since, until))
    query = mine.order_by(alerts.c.first_seen.desc(), alerts.c.id.desc()).limit(_COUNTED)
    counts: dict[str, Counter[str | None]] = {field: Counter() for field in by}
    amounts = defaultdict[tuple[str, str | None], list[float]](list)
    for body, amount in connection.execute(query):
        fields = orjson.loads(body)
        for field, counted in counts.items():
            if field not in fields:
                # As in every record of a stream without such a column.
                continue
            named = None if fields[field] is None else str(fields[field])[:255]
            counted[named] += 1
            if amount is not None:
                amounts[field, named].append(amount)
    return [
        {
            "field": field,
            "value": value,
            "alerts": count,
            "amount": sum(amounts[field, value]) if amounts[field, value] else None,
        }
        for field, counted in counts.items()
        for value, count in counted.most_common(_LISTED)
    ]


def _judged(connection: Connection, whose: Any, since: str, until: str, days: _Days) -> dict[str, Any]:
    """What people said of alerts, of each the last word, how soon they did, and how much was a false alarm by week."""
    resolved = audit.c.after.contains('"state":"resolved"', autoescape=True)
    query = (
        select(alerts.c.id, alerts.c.verdict, alerts.c.first_seen, func.max(audit.c.at))
        .join(streams)
        .join(audit, (audit.c.subject_id == alerts.c.id) & resolved)
        .where(*whose, *_OF_ALERTS, alerts.c.state == "resolved", audit.c.at >= since, audit.c.at < until)
        .group_by(alerts.c.id, alerts.c.verdict, alerts.c.first_seen)
    )
    verdicts, hours = Counter[str](), []
    weeks: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for _, verdict, first_seen, at in connection.execute(query):
        named = verdict or "none"
        verdicts[named] += 1
        hours.append((_moment(at) - _moment(first_seen)).total_seconds() / _HOUR)
        weeks[_week(days.of(at[: days.length]))][named] += 1
    return {
        "verdicts": dict(verdicts),
        "hours_to_verdict": statistics.median(hours) if hours else None,
        "weeks": [
            {
                "week": week,
                "judged": counts.total(),
                "false_alarms": counts["false alarm"],
                "share": counts["false alarm"] / counts.total(),
                **_precision(sum(counts[name] for name in counts if name.startswith("real")), counts["false alarm"]),
            }
            for week, counts in sorted(weeks.items())
        ],
    }


def _precision(real: int, false: int) -> dict[str, Any]:
    """The share of real alerts among those that were real or false, with its 95 % interval (Wilson, 1927)."""
    n = real + false
    if not n:
        return {"real": 0, "precision": None, "precision_low": None, "precision_high": None}
    share, square = real / n, _DEVIATIONS**2
    middle = (share + square / (2 * n)) / (1 + square / n)
    half = _DEVIATIONS * math.sqrt(share * (1 - share) / n + square / (4 * n * n)) / (1 + square / n)
    low, high = max(0.0, middle - half), min(1.0, middle + half)
    return {"real": real, "precision": share, "precision_low": low, "precision_high": high}


@lru_cache(4000)
def _week(day: str) -> str:
    year, week, _ = date.fromisoformat(day).isocalendar()
    return f"{year}-W{week:02d}"


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
