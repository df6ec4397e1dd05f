"""Channels of notifications: listed, made, tested, changed and removed; and their messages."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import Connection, RowMapping, select, update
from starlette.responses import Response

from anomaly_detection.errors import DataError
from anomaly_detection.service.access.rights import Need
from anomaly_detection.service.alerts.audit import write_line
from anomaly_detection.service.alerts.changes import CHANNEL, change
from anomaly_detection.service.http.exports import FORMAT, KINDS
from anomaly_detection.service.http.json_answer import answer
from anomaly_detection.service.http.operations import Call, Operation
from anomaly_detection.service.http.problems import Problem
from anomaly_detection.service.http.shapes import FLAG, array, record
from anomaly_detection.service.jobs.managed import Managed
from anomaly_detection.service.notifications.channel_book import (
    CHANGED,
    CHANNEL_SHAPE,
    MADE,
    MESSAGES,
    all_channels,
    checked,
    find_channel,
    make_channel,
    remove_channel,
    rendered,
)
from anomaly_detection.service.notifications.sending import send
from anomaly_detection.service.processes.service import Service
from anomaly_detection.service.storage.tables import messages
from anomaly_detection.texts.said import say

__all__ = ["OPERATIONS"]


_CHANNELS = Managed("channel", all_channels, find_channel, rendered, CHANNEL_SHAPE)


def list_channels(service: Service, call: Call) -> Response:
    """``GET /v1/channels``."""
    return _CHANNELS.all(service, call)


def make_a_channel(service: Service, call: Call) -> Response:
    """``POST /v1/channels``."""
    try:
        said = checked(call.content)
    except DataError as error:
        raise Problem(409, error.args[0]) from error
    return _CHANNELS.made(service, lambda connection: make_channel(connection, call.who, said))


def get_channel(service: Service, call: Call) -> Response:
    """``GET /v1/channels/{id}``."""
    return _CHANNELS.one(service, call)


def change_channel(service: Service, call: Call) -> Response:
    """``PATCH /v1/channels/{id}``."""

    def change_it(connection: Connection, row: RowMapping) -> None:
        before = rendered(row)
        after = checked({**{name: before[name] for name in CHANGED}, **call.content})
        change(connection, CHANNEL, call.id, {name: after[name] for name in call.content}, call.who)

    return _CHANNELS.changed(service, call, change_it)


def remove_a_channel(service: Service, call: Call) -> Response:
    """``DELETE /v1/channels/{id}``."""
    return _CHANNELS.removed(service, call, lambda connection, row: remove_channel(connection, row["id"], call.who))


def test_channel(service: Service, call: Call) -> Response:
    """``POST /v1/channels/{id}/test``."""
    with service.database.reading() as connection:
        row = find_channel(connection, call.id)
    error = send(row["url"], "A test", f"{call.who} tests the channel {row['name']!r}: it works.")
    if error:
        raise Problem(502, say("It could not be sent: %(error)s.", error=error.rstrip(".")))
    return answer({"sent": True})


def list_messages(service: Service, call: Call) -> Response:
    """``GET /v1/messages``."""
    return MESSAGES.answer(service.database, call)


def send_again(service: Service, call: Call) -> Response:
    """``POST /v1/messages/{id}/retry``."""

    def work(connection: Connection) -> dict[str, Any]:
        row = connection.execute(select(messages).where(messages.c.id == call.id)).mappings().first()
        if row is None:
            raise Problem(404, say("There is no message %(id)s.", id=call.id))
        if row["state"] == "sent":
            raise Problem(409, say("Message %(id)s was sent at %(sent)s.", id=call.id, sent=row["sent"]))
        values = {"state": "waiting", "attempts": 0, "next_at": time.time()}
        connection.execute(update(messages).where(messages.c.id == call.id).values(values))
        write_line(connection, call.who, "retry", "message", (call.id, {"state": row["state"]}, {"state": "waiting"}))
        return MESSAGES.render(connection.execute(MESSAGES.query.where(messages.c.id == call.id)).mappings().one())

    return answer(service.writer.run(work))


_MANAGE = Need("manage", "all")
_MESSAGE_SHAPE = MESSAGES.row

OPERATIONS = (
    Operation(
        "GET",
        "/v1/channels",
        list_channels,
        "All channels that notifications go to.",
        record({"channels": array(CHANNEL_SHAPE)}),
        "The channels, without the secrets of their URLs.",
        (FORMAT,),
        kinds=KINDS,
        needs=_MANAGE,
    ),
    Operation(
        "POST",
        "/v1/channels",
        make_a_channel,
        "Have notifications sent, of cases from a severity on, daily, or both.",
        CHANNEL_SHAPE,
        "The channel.",
        body=MADE,
        good=201,
        statuses=(404, 409, 422),
        needs=_MANAGE,
    ),
    Operation(
        "GET",
        "/v1/channels/{id}",
        get_channel,
        "One channel with its history.",
        CHANNEL_SHAPE,
        "The channel.",
        needs=_MANAGE,
    ),
    Operation(
        "PATCH",
        "/v1/channels/{id}",
        change_channel,
        "Change what is sent to a channel, and when; another URL is another channel.",
        CHANNEL_SHAPE,
        "The channel as it is now.",
        body=record({}, CHANGED),
        statuses=(422,),
        needs=_MANAGE,
    ),
    Operation(
        "DELETE",
        "/v1/channels/{id}",
        remove_a_channel,
        "Remove a channel with its messages, those that wait too.",
        CHANNEL_SHAPE,
        "What it was.",
        needs=_MANAGE,
    ),
    Operation(
        "POST",
        "/v1/channels/{id}/test",
        test_channel,
        "Send a test now.",
        record({"sent": FLAG}),
        "That it was sent.",
        statuses=(502,),
        needs=_MANAGE,
    ),
    Operation(
        "GET",
        "/v1/messages",
        list_messages,
        "What was sent to channels, waits to be, or could not be.",
        MESSAGES.shape,
        "A page of messages, or a file.",
        MESSAGES.parameters,
        kinds=KINDS,
        needs=_MANAGE,
    ),
    Operation(
        "POST",
        "/v1/messages/{id}/retry",
        send_again,
        "Try again to send a message.",
        _MESSAGE_SHAPE,
        "The message.",
        statuses=(409,),
        needs=_MANAGE,
    ),
)
