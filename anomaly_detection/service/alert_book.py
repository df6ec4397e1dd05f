"""The kept alerts: found, changed with a line of history, and changes undone."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Connection, RowMapping, and_, or_, select, update

from anomaly_detection.service.audit import history, write_audit
from anomaly_detection.service.incoming import without_nul
from anomaly_detection.service.problems import Problem
from anomaly_detection.service.tables import alerts, audit, streams

__all__ = ["STATES", "VERDICTS", "Wanted", "change_alert", "find_alert", "importance", "list_alerts", "undo"]

STATES = ("open", "acknowledged", "resolved")
VERDICTS = ("error", "unusual but right", "no error")
"""What a resolved alert turned out to be."""

_SORTS = {"newest": alerts.c.id, "severity": alerts.c.severity}
_MOST = 500
_CHANGED = ("state", "verdict")


@dataclass(frozen=True)
class Wanted:
    """Which alerts, in which order.

    Attributes
    ----------
    stream, state : str
        Only those; all if empty.
    least : float
        The least severity, 0 to 100.
    sort : str
        ``newest`` or ``severity``, highest first.
    limit : int
        The most of a page.
    after : str
        ``next`` of the page before; empty for the first.
    """

    stream: str = ""
    state: str = ""
    least: float = 0.0
    sort: str = "newest"
    limit: int = 50
    after: str = ""

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Wanted:
        """Out of a query; `Problem` (400) for what is unknown."""
        unknown = [name for name in query if name not in ("stream", "state", "min_severity", "sort", "limit", "after")]
        if unknown:
            raise Problem(400, f"Unknown parameter {unknown[0]!r}.")
        state, sort = query.get("state", ""), query.get("sort", "newest")
        if state and state not in STATES:
            raise Problem(400, f"Unknown state {state!r}; expected one of {', '.join(STATES)}.")
        if sort not in _SORTS:
            raise Problem(400, f"Unknown sort {sort!r}; expected one of {', '.join(_SORTS)}.")
        try:
            least, limit = float(query.get("min_severity", 0)), int(query.get("limit", 50))
        except ValueError as error:
            raise Problem(400, "min_severity and limit are numbers.") from error
        if not (1 <= limit <= _MOST and 0 <= least <= 100):
            raise Problem(400, f"limit is 1 to {_MOST}, and min_severity 0 to 100.")
        return cls(query.get("stream", ""), state, least, sort, limit, query.get("after", ""))


def list_alerts(connection: Connection, wanted: Wanted) -> dict[str, Any]:
    """A page of alerts, and ``next``, which gives the page after it; None on the last."""
    key = _SORTS[wanted.sort]
    query = select(alerts, streams.c.name.label("stream")).join(streams)
    if wanted.stream:
        query = query.where(streams.c.name == wanted.stream)
    if wanted.state:
        query = query.where(alerts.c.state == wanted.state)
    if wanted.least:
        query = query.where(alerts.c.severity >= wanted.least)
    if wanted.after:
        value, number = _place(wanted.after)
        query = query.where(or_(key < value, and_(key == value, alerts.c.id < number)))
    query = query.order_by(key.desc(), alerts.c.id.desc()).limit(wanted.limit + 1)
    rows = list(connection.execute(query).mappings())
    page = rows[: wanted.limit]
    last = page[-1] if len(rows) > wanted.limit else None
    return {"alerts": [_rendered(row) for row in page], "next": last and _cursor([last[key], last["id"]])}


def _cursor(place: list[Any]) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(place)).decode()


def _place(cursor: str) -> tuple[float, int]:
    try:
        value, number = orjson.loads(base64.urlsafe_b64decode(cursor))
        return float(value), int(number)
    except (ValueError, TypeError, binascii.Error) as error:
        raise Problem(400, "after is no place in a list of alerts; give what next said.") from error


def _rendered(row: RowMapping) -> dict[str, Any]:
    names = ("id", "stream", "state", "verdict", "count", "first_seen", "last_seen", "severity", "risk_level", "reason")
    made = {name: row[name] for name in names}
    return {**made, "sent_id": row["sent_id"], "record": orjson.loads(row["record"])}


def _row(connection: Connection, number: int) -> RowMapping | None:
    query = select(alerts, streams.c.name.label("stream")).join(streams).where(alerts.c.id == number)
    return connection.execute(query).mappings().first()


def find_alert(connection: Connection, number: int) -> dict[str, Any] | None:
    """An alert with its reasons as values, and its history."""
    row = _row(connection, number)
    if row is None:
        return None
    reasons = orjson.loads(row["contributions"])
    return {**_rendered(row), "reasons": reasons, "history": history(connection, "alert", number)}


def change_alert(connection: Connection, number: int, who: str, change: Mapping[str, Any]) -> dict[str, Any]:
    """Change an alert's ``state`` or ``verdict``, comment on it, or ``undo`` the last change; gives the alert.

    Raises
    ------
    Problem
        404 where there is none, 400 for what cannot be read, 409 where there is nothing to undo.
    """
    row = _row(connection, number)
    if row is None:
        raise Problem(404, f"There is no alert {number}.")
    comment = _checked(change)
    if change.get("undo"):
        undo(connection, row, who, comment)
    else:
        after = {name: change[name] for name in _CHANGED if name in change and change[name] != row[name]}
        if after.get("state", row["state"]) != "resolved" and row["verdict"] is not None:
            # What was judged is looked at again.
            after["verdict"] = None
        # What is so already needs no line.
        if after or comment:
            _apply(connection, row, who, "change" if after else "comment", after, comment)
    found = find_alert(connection, number)
    assert found is not None
    return found


def _checked(change: Mapping[str, Any]) -> str | None:
    """The comment of a change that can be made."""
    unknown = [name for name in change if name not in ("state", "verdict", "comment", "undo")]
    if unknown or not change:
        raise Problem(400, "A change has a state, a verdict, a comment, or undo: true.")
    if "undo" in change and (change["undo"] is not True or set(change) - {"undo", "comment"}):
        raise Problem(400, "undo is true, and comes alone or with a comment.")
    if "state" in change and change["state"] not in STATES:
        raise Problem(400, f"Unknown state; expected one of {', '.join(STATES)}.")
    if "verdict" in change and (change["verdict"] not in VERDICTS or change.get("state") != "resolved"):
        raise Problem(400, f"A verdict comes with the state resolved; it is one of {', '.join(VERDICTS)}.")
    if "comment" not in change:
        return None
    comment = change["comment"]
    if not isinstance(comment, str) or not 0 < len(comment) <= 10_000:
        raise Problem(400, "A comment is a text of at most 10,000 characters.")
    return without_nul(comment)


def _apply(
    connection: Connection,
    row: RowMapping,
    who: str,
    what: str,
    after: Mapping[str, Any],
    comment: str | None,
    undoes: int | None = None,
) -> None:
    if after:
        connection.execute(update(alerts).where(alerts.c.id == row["id"]).values(after))
    before = {name: row[name] for name in after}
    write_audit(connection, who, what, "alert", [(row["id"], before or None, after or None)], comment, undoes)


def undo(connection: Connection, row: RowMapping, who: str, comment: str | None) -> None:
    """Take back the last change that was not taken back; `Problem` (409) where there is none."""
    undone = select(audit.c.undoes).where(audit.c.undoes.is_not(None))
    query = (
        select(audit)
        .where(audit.c.subject == "alert", audit.c.subject_id == row["id"], audit.c.what == "change")
        .where(audit.c.id.not_in(undone))
        .order_by(audit.c.id.desc())
        .limit(1)
    )
    last = connection.execute(query).mappings().first()
    if last is None:
        raise Problem(409, "There is no change to undo.")
    _apply(connection, row, who, "undo", orjson.loads(last["before"]), comment, last["id"])


def importance(connection: Connection, stream_id: int, most: int) -> tuple[int, dict[str, float]]:
    """How many of the newest alerts were looked at, and the mean share that each column has in them."""
    query = select(alerts.c.contributions).where(alerts.c.stream_id == stream_id)
    found = list(connection.execute(query.order_by(alerts.c.id.desc()).limit(most)).scalars())
    shares: dict[str, float] = {}
    for each in found:
        for reason in orjson.loads(each):
            name = " and ".join(reason["columns"])
            shares[name] = shares.get(name, 0.0) + reason["share"] / len(found)
    return len(found), dict(sorted(shares.items(), key=lambda item: -item[1]))
