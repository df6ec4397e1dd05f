"""The channels of notifications and their messages, as rows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, RowMapping, Select, delete, insert, select

from anomaly_detection.service.alerts.alert_book import kept_text
from anomaly_detection.service.alerts.audit import write_line
from anomaly_detection.service.http.listing import Filter, Listing
from anomaly_detection.service.http.operations import NAME, Parameter
from anomaly_detection.service.http.problems import Problem
from anomaly_detection.service.http.shapes import COUNT, ID, TEXT, Shape, choice, maybe, record, text
from anomaly_detection.service.notifications.sending import masked_channel, refusal_of
from anomaly_detection.service.storage.clock import now
from anomaly_detection.service.storage.tables import channels, messages, streams, told
from anomaly_detection.service.storage.zones import zone_of
from anomaly_detection.service.streams.streams import need_stream
from anomaly_detection.texts.said import say

__all__ = [
    "CHANGED",
    "CHANNEL_SHAPE",
    "MADE",
    "MESSAGES",
    "all_channels",
    "checked",
    "find_channel",
    "local_now",
    "make_channel",
    "remove_channel",
    "rendered",
]

_SEVERITY: Shape = {"type": "number", "minimum": 0, "maximum": 100}
_HOUR: Shape = {"type": "integer", "minimum": 0, "maximum": 23}
CHANGED = {"name": text(255), "min_severity": maybe(_SEVERITY), "digest_hour": maybe(_HOUR), "zone": text(64)}
"""What may be changed of a channel: another URL is another channel."""

MADE = record({"name": text(255), "url": text(2000)}, {**CHANGED, "stream": maybe(NAME)})
CHANNEL_SHAPE = record(
    {
        "id": COUNT,
        "name": TEXT,
        "url": TEXT,
        "stream": maybe(TEXT),
        "min_severity": maybe(_SEVERITY),
        "digest_hour": maybe(_HOUR),
        "zone": TEXT,
        "created": TEXT,
        "who": TEXT,
    },
    closed=False,
)
_MESSAGE = record(
    {
        "id": COUNT,
        "channel": TEXT,
        "channel_id": COUNT,
        "kind": choice("cases", "digest"),
        "title": TEXT,
        "body": TEXT,
        "state": choice("waiting", "sent", "failed"),
        "attempts": COUNT,
        "error": maybe(TEXT),
        "created": TEXT,
        "sent": maybe(TEXT),
    }
)
_ALL: Select[Any] = select(channels, streams.c.name.label("stream")).outerjoin(streams).order_by(channels.c.id)

MESSAGES = Listing(
    "messages",
    select(messages, channels.c.name.label("channel")).join(channels),
    messages.c.id,
    {"newest": (messages.c.id, True), "oldest": (messages.c.id, False)},
    (
        Filter(
            Parameter("channel", "Only those of this channel.", ID), lambda _, value: messages.c.channel_id == value
        ),
        Filter(
            Parameter("state", "Only those in this state; `failed` is tried no more.", _MESSAGE["properties"]["state"]),
            lambda _, value: messages.c.state == value,
        ),
    ),
    lambda row: {name: row[name] for name in _MESSAGE["properties"]},
    _MESSAGE,
)
"""What was sent, waits to be, or could not be."""


def rendered(row: RowMapping) -> dict[str, Any]:
    """A channel for people and programs, without the secrets of its URL."""
    return {name: masked_channel(row["url"]) if name == "url" else row[name] for name in CHANNEL_SHAPE["properties"]}


def all_channels(connection: Connection) -> list[RowMapping]:
    """All, with the names of their streams, the oldest first."""
    return list(connection.execute(_ALL).mappings())


def find_channel(connection: Connection, number: int) -> RowMapping:
    """One of them; `Problem` (404) for none."""
    row = connection.execute(_ALL.where(channels.c.id == number)).mappings().first()
    if row is None:
        raise Problem(404, say("There is no channel %(number)s.", number=number))
    return row


def local_now(zone: str) -> datetime:
    """This moment in a time zone."""
    return datetime.now(timezone.utc).astimezone(ZoneInfo(zone))


def checked(said: Mapping[str, Any]) -> dict[str, Any]:
    """What is said of a channel; `Problem` (422) for a zone or an URL that is none, or where nothing would be sent."""
    zone_of(said.get("zone", "UTC"))
    if "url" in said and (refusal := refusal_of(said["url"])):
        raise Problem(422, refusal)
    if said.get("min_severity") is None and said.get("digest_hour") is None:
        raise Problem(422, say("Nothing would be sent: give min_severity, digest_hour or both."))
    return {**said, **({"name": kept_text(said["name"], 255)} if "name" in said else {})}


def make_channel(connection: Connection, who: str, said: Mapping[str, Any]) -> int:
    """Make one, and write it down without secrets; gives its id. `Problem` (404) for a stream that is not there."""
    zone, hour, stream = said.get("zone", "UTC"), said.get("digest_hour"), said.get("stream")
    local = local_now(zone)
    moment = now()
    values = {
        "name": said["name"],
        "url": said["url"],
        "min_severity": said.get("min_severity"),
        "digest_hour": hour,
        "zone": zone,
        "stream_id": None if stream is None else need_stream(connection, stream).id,
        "created": moment,
        "who": who,
        # What is open already is on the page.
        "mark": moment,
        "digest_day": local.date().isoformat() if hour is not None and local.hour >= hour else None,
    }
    number = int(connection.execute(insert(channels).values(values).returning(channels.c.id)).scalar_one())
    write_line(connection, who, "make", "channel", (number, None, _told(find_channel(connection, number))))
    return number


def remove_channel(connection: Connection, number: int, who: str) -> None:
    """Remove one with its messages; `Problem` (404) for none."""
    before = _told(find_channel(connection, number))
    for table in (told, messages):
        connection.execute(delete(table).where(table.c.channel_id == number))
    connection.execute(delete(channels).where(channels.c.id == number))
    write_line(connection, who, "remove", "channel", (number, before, None))


def _told(row: RowMapping) -> dict[str, Any]:
    said = rendered(row)
    return {name: said[name] for name in ("name", "url", "stream", "min_severity", "digest_hour", "zone")}
