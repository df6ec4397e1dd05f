"""The audit: who changed what, from what to what, and when. It only grows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from sqlalchemy import Connection, insert, select

from anomaly_detection.service.clock import now
from anomaly_detection.service.tables import audit

__all__ = ["history", "write_audit"]

Change = tuple[int, Mapping[str, Any] | None, Mapping[str, Any] | None]


def write_audit(
    connection: Connection,
    who: str,
    what: str,
    subject: str,
    changes: Iterable[Change],
    comment: str | None = None,
    undoes: int | None = None,
) -> None:
    """Write that `who` did `what` to subjects: of each its id, and what changed, before and after."""
    moment = now()
    rows = [
        {
            "at": moment,
            "who": who,
            "what": what,
            "subject": subject,
            "subject_id": number,
            "before": _json(before),
            "after": _json(after),
            "comment": comment,
            "undoes": undoes,
        }
        for number, before, after in changes
    ]
    connection.execute(insert(audit), rows)


def _json(value: Mapping[str, Any] | None) -> str | None:
    return None if value is None else orjson.dumps(dict(value)).decode()


def history(connection: Connection, subject: str, number: int) -> list[dict[str, Any]]:
    """All that was done to one subject, the oldest first."""
    query = select(audit).where(audit.c.subject == subject, audit.c.subject_id == number).order_by(audit.c.id)
    return [
        {
            "id": row["id"],
            "at": row["at"],
            "who": row["who"],
            "what": row["what"],
            "before": row["before"] and orjson.loads(row["before"]),
            "after": row["after"] and orjson.loads(row["after"]),
            "comment": row["comment"],
            "undoes": row["undoes"],
        }
        for row in connection.execute(query).mappings()
    ]
