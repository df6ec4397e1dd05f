"""`Notifier`: tells channels of cases that have crossed their severity, and daily of what is new; each case once."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

from sqlalchemy import Connection, RowMapping, func, insert, select, update

from anomaly_detection.service.access.masking import HIDDEN, Mask
from anomaly_detection.service.alerts.case_book import CASES, worst_alerts
from anomaly_detection.service.notifications.channel_book import all_channels, local_now
from anomaly_detection.service.notifications.sending import send
from anomaly_detection.service.processes.service_settings import read_settings
from anomaly_detection.service.storage.clock import as_text, now
from anomaly_detection.service.storage.database import Database
from anomaly_detection.service.storage.tables import alerts, cases, channels, messages, told
from anomaly_detection.service.streams.streams import all_streams, personal_columns

__all__ = ["Notifier"]

_PAUSES = (60.0, 300.0, 900.0, 3600.0, 14_400.0)
"""Seconds from a try to the next; after the last of them it is given up."""

_BETWEEN = 60.0
"""Seconds between messages on cases to a channel: what comes meanwhile is told together."""

_LISTED = 10
_AT_ONCE = 20
_OVERLAP = timedelta(seconds=60)
"""Clocks step back: alerts of so long before the last one looked at are looked at again. No case is told of twice."""

_SETTLED = timedelta(seconds=5)
_DAY = timedelta(days=1)
_NO_FILTER = {each.name: each.default for each in CASES.parameters}


class Notifier:
    """Makes messages and sends them.

    A message and the cases that it tells of are written in one transaction; it is sent after that, and again where it
    could not be.

    Parameters
    ----------
    database : Database
    personal : sequence of str
        Columns whose values messages must not have, beside those that streams name: who reads these is not known.
    """

    def __init__(self, database: Database, personal: Sequence[str] = ()) -> None:
        self._database, self._personal = database, tuple(personal)
        self._newest: dict[int, str] = {}

    def look(self) -> None:
        """Make the messages that are due, and send those that wait."""
        with self._database.reading() as connection:
            rows = all_channels(connection)
        for row in rows:
            if row["min_severity"] is not None:
                self._tell_of_cases(row)
            if row["digest_hour"] is not None:
                self._tell_daily(row)
        if rows:
            self._send()

    def _tell_of_cases(self, row: RowMapping) -> None:
        recent = as_text(datetime.now(timezone.utc) - timedelta(seconds=_BETWEEN))
        last = select(messages.c.id).where(messages.c.channel_id == row["id"], messages.c.kind == "cases")
        with self._database.reading() as connection:
            newest = connection.execute(select(func.max(alerts.c.last_seen))).scalar() or ""
            if newest == self._newest.get(row["id"]):
                return
            if connection.execute(last.where(messages.c.created > recent).limit(1)).first() is not None:
                return
            found = self._crossed(connection, row)
            lines = self._lines(connection, found)
        moved = {"mark": max(newest, row["mark"])}
        if found:
            self._write(row, "cases", _title(row, found), lines, found, moved)
        elif newest and _moment(newest) > _moment(row["mark"]) + _OVERLAP:
            # So that the next looks look at few.
            self._move(row, moved)
        if newest < as_text(datetime.now(timezone.utc) - _SETTLED):
            # Until then another transaction may have the same moment.
            self._newest[row["id"]] = newest

    def _crossed(self, connection: Connection, row: RowMapping) -> list[dict[str, Any]]:
        """Cases with alerts since the channel looked last, of its severity and more, that it was not told of."""
        since = max(row["created"], as_text(_moment(row["mark"]) - _OVERLAP))
        touched = select(alerts.c.case_id).where(alerts.c.last_seen >= since, alerts.c.hidden_by.is_(None))
        was_told = select(told.c.case_id).where(told.c.channel_id == row["id"], told.c.case_id == cases.c.id)
        query = _asked(connection, row, min_severity=row["min_severity"])
        query = query.where(cases.c.id.in_(touched), ~was_told.exists())
        return _worst_first(connection, query)

    def _tell_daily(self, row: RowMapping) -> None:
        local = local_now(row["zone"])
        day = local.date().isoformat()
        if local.hour < row["digest_hour"] or (row["digest_day"] or "") >= day:
            return
        since = as_text(datetime.now(timezone.utc) - _DAY)
        with self._database.reading() as connection:
            query = _asked(connection, row, min_severity=row["min_severity"])
            found = _worst_first(connection, query.where(cases.c.first_seen >= since))
            lines = self._lines(connection, found)
        if not found:
            # Nothing is new: nobody is told so.
            self._move(row, {"digest_day": day})
            return
        counts = Counter(each["risk_level"] for each in found)
        risks = ", ".join(f"{counts[risk]} {risk}" for risk in ("critical", "high", "medium", "low") if counts[risk])
        title = f"{_count(len(found))} new in a day{_of(row)}: {risks}"
        self._write(row, "digest", title, lines, [], {"digest_day": day})

    def _lines(self, connection: Connection, found: Sequence[dict[str, Any]]) -> list[str]:
        """The worst cases in words."""
        shown = found[:_LISTED]
        address = read_settings(connection)["address"]
        personal = personal_columns(all_streams(connection), self._personal)
        mask = Mask(personal) if personal else None
        worst = {each["case_id"]: each for each in worst_alerts(connection, [case["id"] for case in shown])}
        lines = []
        for case in shown:
            alert = worst.get(case["id"])
            reason = "" if alert is None else alert["reason"]
            if mask is not None:
                reason = HIDDEN if alert is None else mask.hide(alert)["reason"]
            said = f"{case['severity']:.0f} {case['risk_level']}, {case['stream']}, case {case['id']}: {reason}"
            lines.append(said + (f"\n{address}/cases/{case['id']}" if address else ""))
        if len(found) > _LISTED:
            lines.append(f"And {len(found) - _LISTED:,} more." + (f" {address}/" if address else ""))
        return lines

    def _move(self, row: RowMapping, moved: dict[str, Any]) -> None:
        with self._database.writing() as connection:
            connection.execute(update(channels).where(channels.c.id == row["id"]).values(moved))

    def _write(
        self,
        row: RowMapping,
        kind: str,
        title: str,
        lines: Sequence[str],
        found: Sequence[dict[str, Any]],
        moved: dict[str, Any],
    ) -> None:
        values = {
            "channel_id": row["id"],
            "kind": kind,
            "title": title,
            "body": "\n".join(lines),
            "state": "waiting",
            "attempts": 0,
            "next_at": time.time(),
            "created": now(),
        }
        with self._database.writing() as connection:
            mine = channels.c.id == row["id"]
            # It may have been removed in this moment.
            if connection.execute(update(channels).where(mine).values(moved)).rowcount:
                made = connection.execute(insert(messages).values(values).returning(messages.c.id)).scalar_one()
                if found:
                    rows = [{"channel_id": row["id"], "case_id": each["id"], "message_id": made} for each in found]
                    connection.execute(insert(told), rows)

    def _send(self) -> None:
        due = (
            select(messages, channels.c.url)
            .join(channels)
            .where(messages.c.state == "waiting", messages.c.next_at <= time.time())
            .order_by(messages.c.next_at)
            .limit(_AT_ONCE)
        )
        with self._database.reading() as connection:
            rows = list(connection.execute(due).mappings())
        for row in rows:
            attempts = row["attempts"] + 1
            tried: dict[str, Any] = {"attempts": attempts, "error": "It is not known whether it arrived."}
            if attempts > len(_PAUSES):
                tried["state"] = "failed"
            else:
                tried["next_at"] = time.time() + _PAUSES[attempts - 1]
            # Whatever ends this try, it counts.
            self._note(row["id"], tried)
            error = send(row["url"], row["title"], row["body"])
            self._note(row["id"], {"error": error} if error else {"error": None, "state": "sent", "sent": now()})

    def _note(self, number: int, said: dict[str, Any]) -> None:
        with self._database.writing() as connection:
            connection.execute(update(messages).where(messages.c.id == number).values(said))


def _asked(connection: Connection, row: RowMapping, **more: Any) -> Any:
    """Cases that somebody should look at, of a channel's stream: what the inbox would list."""
    asked = {"state": "unresolved", "snoozed": "no", "stream": row["stream"], **more}
    return CASES.filtered(connection, {**_NO_FILTER, **asked})


def _worst_first(connection: Connection, query: Any) -> list[dict[str, Any]]:
    rows = connection.execute(query.order_by(cases.c.severity.desc(), cases.c.id)).mappings()
    return [CASES.render(row) for row in rows]


def _title(row: RowMapping, found: Sequence[dict[str, Any]]) -> str:
    return f"{_count(len(found))} of severity {row['min_severity']:g} or more{_of(row)}"


def _count(number: int) -> str:
    return f"{number:,} case{'' if number == 1 else 's'}"


def _of(row: RowMapping) -> str:
    return "" if row["stream"] is None else f" in {row['stream']}"


def _moment(written: str) -> datetime:
    return datetime.fromisoformat(written.replace("Z", "+00:00"))
