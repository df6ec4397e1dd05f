"""What the open cases can be narrowed by: columns, values of the categories that matter, severities, and people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

import orjson
from sqlalchemy import Connection, and_, func, select

from anomaly_detection.data.columns.column import Role
from anomaly_detection.data.columns.parsing import name_tokens
from anomaly_detection.data.columns.schema import Schema
from anomaly_detection.service.http.shapes import COUNT, TEXT, array, record
from anomaly_detection.service.storage.tables import alerts, cases, streams, users

__all__ = ["FACETS", "categories_of", "facets"]

_DAYS = 30
_STEP = 5
_LISTED = 50
_LOOKED_AT = 2000
_CATEGORIES = 4
_LONGEST = 200
_MATTER = (
    ("supplier", "vendor"),
    ("product", "item", "sku", "material"),
    ("lane", "route"),
    ("origin", "source"),
    ("destination", "dest", "port"),
    ("mode", "shipping", "carrier", "shipment"),
    ("warehouse", "site", "location", "country", "market", "region"),
    ("category", "customer", "segment"),
)
"""What people look for cases by, the first first."""

FACETS = record(
    {
        "days": {"type": "number"},
        "severities": array(record({"min_severity": COUNT, "cases": COUNT, "a_day": {"type": "number"}})),
        "columns": array(record({"column": TEXT, "cases": COUNT})),
        "fields": array(record({"name": TEXT, "values": array(record({"value": TEXT, "alerts": COUNT}))})),
        "people": array(TEXT),
    }
)


def categories_of(schema: Schema) -> list[str]:
    """The columns of categories by which people look for cases, at most four: of each of `_MATTER` one, then others."""
    places: dict[str, tuple[int, int]] = {}
    for name in schema.names(Role.CATEGORICAL):
        tokens = name_tokens(name)
        rank = next((place for place, words in enumerate(_MATTER) if tokens & set(words)), len(_MATTER))
        # A name and a number of the same thing, say.
        again = sum(rank == other for _, other in places.values()) if rank < len(_MATTER) else 0
        # What filters are written with.
        if "=" not in name:
            places[name] = (again, rank)
    return sorted(places, key=places.__getitem__)[:_CATEGORIES]


def facets(connection: Connection, stream: str | None, categories: Sequence[str]) -> dict[str, Any]:
    """Of the cases of a stream, or of all.

    Parameters
    ----------
    connection : Connection
    stream : str, optional
    categories : sequence of str
        Fields of records whose commonest values, of the newest 2,000 alerts that are not resolved, are told.
    """
    whose = [streams.c.deleted.is_(None), *([] if stream is None else [streams.c.name == stream])]
    seen = and_(*whose, cases.c.merged_into.is_(None), cases.c.alerts > 0)
    return {
        **_severities(connection, seen),
        "columns": _columns(connection, and_(seen, cases.c.state != "resolved")),
        "fields": _fields(connection, and_(*whose), categories) if categories else [],
        "people": _people(connection),
    }


def _severities(connection: Connection, seen: Any) -> dict[str, Any]:
    """How many new cases a day there were in the last 30 days, or since the first, from each severity on."""
    moment = datetime.now(timezone.utc)
    since = (moment - timedelta(days=_DAYS)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    new = select(cases.c.severity, cases.c.first_seen).join(streams).where(seen, cases.c.first_seen >= since)
    rows = connection.execute(new).all()
    first = min((row.first_seen for row in rows), default=None)
    began = moment if first is None else datetime.fromisoformat(first.replace("Z", "+00:00"))
    days = max(1.0, (moment - began).total_seconds() / 86_400)
    counts = Counter(int(row.severity) // _STEP * _STEP for row in rows)
    steps, above = [], 0
    for least in range(100, -1, -_STEP):
        above += counts[least]
        steps.append({"min_severity": least, "cases": above, "a_day": round(above / days, 2)})
    return {"days": round(days, 2), "severities": steps[::-1]}


def _columns(connection: Connection, whose: Any) -> list[dict[str, Any]]:
    count = func.count()
    query = select(cases.c.lead_column, count).join(streams).where(whose).group_by(cases.c.lead_column)
    rows = connection.execute(query.order_by(count.desc(), cases.c.lead_column).limit(_LISTED))
    return [{"column": name, "cases": n} for name, n in rows if name]


def _fields(connection: Connection, whose: Any, categories: Sequence[str]) -> list[dict[str, Any]]:
    here = (whose, alerts.c.state != "resolved", alerts.c.hidden_by.is_(None))
    newest = select(alerts.c.record).join(streams).where(*here).order_by(alerts.c.id.desc()).limit(_LOOKED_AT)
    found: dict[str, Counter[str]] = {name: Counter() for name in categories}
    for body in connection.execute(newest).scalars():
        values = orjson.loads(body)
        for name, counts in found.items():
            value = values.get(name)
            if isinstance(value, (str, int, float)) and not isinstance(value, bool) and 0 < len(str(value)) <= _LONGEST:
                counts[str(value)] += 1
    return [
        {"name": name, "values": [{"value": value, "alerts": n} for value, n in counts.most_common(_LISTED)]}
        for name, counts in found.items()
        if counts
    ]


def _people(connection: Connection) -> list[str]:
    """Who has cases, or may have some."""
    having = select(cases.c.assignee).where(cases.c.assignee.is_not(None)).distinct().limit(_LISTED)
    able = select(users.c.name).where(users.c.role != "viewer").limit(_LISTED)
    return sorted({*connection.execute(having).scalars(), *connection.execute(able).scalars()})
