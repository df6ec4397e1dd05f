"""`Message`: what a topic brings; and `Topic`, how one is read, of whatever kind its broker is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import orjson

from anomaly_detection.service.http.limits import Limits
from anomaly_detection.service.http.problems import Problem
from anomaly_detection.service.records.incoming import Incoming

__all__ = ["MOST_BYTES", "Letter", "Message", "Topic", "read_message"]

MOST_BYTES = 1024 * 1024
"""Of a message: a record has a few hundred."""

_LIMITS = Limits()


@dataclass(frozen=True)
class Message:
    """One message.

    Attributes
    ----------
    topic : str
    place : str
        Where in the topic it is, for people.
    body : bytes
    part : int
        What `mark` is about: of Kafka the partition, of MQTT the number of the packet.
    mark : str
        What is written down once the message is kept: by it the same message is known when it comes again. Empty for
        one that comes once or never.
    again : bool
        Whether the broker says that it may have sent it before.
    number : int
        Of Kafka the offset.
    """

    topic: str
    place: str
    body: bytes
    part: int
    mark: str
    again: bool = False
    number: int = 0


@dataclass(frozen=True)
class Letter:
    """A message that cannot be read, with the reason in a sentence."""

    place: str
    reason: str
    body: bytes = b""


class Topic(Protocol):
    """A topic that is read. Whatever it raises, it is closed then, and opened again from the marks on."""

    def open(self, marks: Mapping[int, str]) -> tuple[dict[int, str], list[Letter]]:
        """Connect, to go on after the marks; gives those that were set, and what is told. Raises `DataError`."""
        ...

    def batch(self, most: int, seconds: float) -> list[Message]:
        """At most so many messages, waited for at most so long; none further are fetched until the next call."""
        ...

    def is_new(self, message: Message, mark: str | None) -> bool:
        """Whether a message was not kept before, by the mark of its part."""
        ...

    def settle(self, messages: Sequence[Message]) -> None:
        """Tell the broker that messages are kept."""
        ...

    def close(self) -> None:
        """End the connection, if there is one."""
        ...

    def leave(self) -> None:
        """Tell the broker, as far as it answers, that nobody comes for further messages."""
        ...


def read_message(message: Message, topic_column: str) -> Incoming | Letter:
    """The record of a message, with its topic as a column where that is asked for; or why it has none."""
    if not message.body:
        return Letter(message.place, "The message is empty.")
    if len(message.body) > MOST_BYTES:
        told = f"The message has {len(message.body):,} bytes; at most {MOST_BYTES:,} are taken."
        return Letter(message.place, told, message.body)
    try:
        content = orjson.loads(message.body)
    except orjson.JSONDecodeError as error:
        return Letter(message.place, f"The message is no JSON: {error}.", message.body)
    if not isinstance(content, dict):
        return Letter(message.place, "A message must be one object of names and values.", message.body)
    record = Incoming.of(content)
    if record.fault:
        return Letter(message.place, record.fault, message.body)
    try:
        _LIMITS.check(record.fields)
    except Problem as problem:
        return Letter(message.place, problem.detail, message.body)
    if topic_column and topic_column not in record.fields:
        return Incoming({**record.fields, topic_column: message.topic})
    return record
