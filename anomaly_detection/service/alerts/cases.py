"""Cases: alerts of one cause, as one thing to look at."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, RowMapping, bindparam, insert, select, update

from anomaly_detection.alerts.causes import Cause
from anomaly_detection.calibration.p_values import risk_level
from anomaly_detection.service.alerts.case_totals import recount
from anomaly_detection.service.processes.service_settings import read_settings
from anomaly_detection.service.storage.tables import alerts, cases

__all__ = ["Raised", "cause_key", "place", "raised", "show_again"]

_DIGITS = 64

# Made once: making it takes as long as running it.
_NEWEST = (
    select(cases)
    .where(cases.c.stream_id == bindparam("stream"), cases.c.cause == bindparam("of"), cases.c.merged_into.is_(None))
    .order_by(cases.c.id.desc())
    .limit(1)
)
_OPENED = insert(cases).returning(cases.c.id)
_GROWN = update(cases).where(cases.c.id == bindparam("case"))


@dataclass(frozen=True)
class Raised:
    """An alert that is to be a part of a case."""

    cause: str
    about: str
    said: str | None
    column: str
    first_seen: str
    last_seen: str
    count: int
    severity: float
    amount: float | None


def raised(row: RowMapping | dict[str, Any]) -> Raised:
    """Out of an alert's row."""
    return Raised(
        row["cause"],
        row["about"],
        row["said"],
        row["lead_column"],
        row["first_seen"],
        row["last_seen"],
        row["count"],
        row["severity"],
        row["amount"],
    )


def cause_key(cause: Cause | None) -> str:
    """Equal for alerts of one cause: of the same leading column, in the same direction, within the same group."""
    told = "" if cause is None else f"{cause.column}\0{cause.text}"
    return hashlib.sha256(told.encode()).hexdigest()[:_DIGITS]


def place(connection: Connection, stream_id: int, new: Sequence[Raised]) -> list[int]:
    """The case of each of some new alerts: the one that is not resolved and near in time, else a new one.

    A resolved case takes in nothing; the new one names it.
    """
    if not new:
        return []
    days = read_settings(connection)["case_days"]
    found: dict[str, int] = {}
    by_cause: dict[str, list[Raised]] = {}
    for each in new:
        by_cause.setdefault(each.cause, []).append(each)
    for cause, mine in by_cause.items():
        row = connection.execute(_NEWEST, {"stream": stream_id, "of": cause}).mappings().first()
        first_seen = min(each.first_seen for each in mine)
        if row is not None and row["state"] != "resolved" and row["last_seen"] >= _before(first_seen, days):
            found[cause] = row["id"]
            _add(connection, row, mine)
        else:
            found[cause] = _open(connection, stream_id, mine, None if row is None else row["id"])
    return [found[each.cause] for each in new]


def show_again(connection: Connection, stream_id: int, rows: Sequence[RowMapping]) -> None:
    """Count alerts that a rule hid until now in their cases; those that were hidden from the first have none yet."""
    new = [row for row in rows if row["case_id"] is None]
    for row, case in zip(new, place(connection, stream_id, [raised(row) for row in new]), strict=True):
        connection.execute(update(alerts).where(alerts.c.id == row["id"]).values(case_id=case))
    for case in {row["case_id"] for row in rows} - {None}:
        recount(connection, case)


def _before(moment: str, days: int) -> str:
    earlier = datetime.fromisoformat(moment.replace("Z", "+00:00")) - timedelta(days=days)
    return earlier.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _totals(new: Sequence[Raised]) -> dict[str, Any]:
    amounts = [each.amount for each in new if each.amount is not None]
    worst = max(each.severity for each in new)
    return {
        "first_seen": min(each.first_seen for each in new),
        "last_seen": max(each.last_seen for each in new),
        "alerts": len(new),
        "count": sum(each.count for each in new),
        "severity": worst,
        "risk_level": risk_level(worst),
        "amount": sum(amounts) if amounts else None,
    }


def _open(connection: Connection, stream_id: int, new: Sequence[Raised], follows: int | None) -> int:
    first = new[0]
    values = {
        "stream_id": stream_id,
        "cause": first.cause,
        "about": first.about,
        "said": first.said,
        "lead_column": first.column,
        "state": "open",
        "follows": follows,
        **_totals(new),
    }
    return int(connection.execute(_OPENED, values).scalar_one())


def _add(connection: Connection, row: RowMapping | dict[str, Any], new: Sequence[Raised]) -> None:
    more = _totals(new)
    worst = max(row["severity"], more["severity"])
    amounts = [each for each in (row["amount"], more["amount"]) if each is not None]
    values = {
        "last_seen": max(row["last_seen"], more["last_seen"]),
        "alerts": row["alerts"] + more["alerts"],
        "count": row["count"] + more["count"],
        "severity": worst,
        "risk_level": risk_level(worst),
        "amount": sum(amounts) if amounts else None,
    }
    connection.execute(_GROWN, {"case": row["id"], **values})
