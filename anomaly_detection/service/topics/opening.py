"""The topic that a source reads, and what is checked before there is one."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from typing import Any

from anomaly_detection.errors import DataError
from anomaly_detection.service.topics.address import Address
from anomaly_detection.service.topics.kafka import KafkaTopic
from anomaly_detection.service.topics.message import Topic
from anomaly_detection.service.topics.mqtt import MqttTopic
from anomaly_detection.texts.said import say

__all__ = ["checked_topic", "topic_of"]

_KAFKA = re.compile(r"[A-Za-z0-9._-]{1,249}")


def topic_of(target: str, stream: str, settings: Mapping[str, Any]) -> Topic:
    """What a source of messages reads, by its URL, stream and settings; `DataError` where its client is missing."""
    address = Address.of(target)
    if address.kind == "kafka":
        newest = settings.get("begin") == "newest"
        return KafkaTopic(address, settings["topic"], f"anomaly-detection-{stream}", newest)
    return MqttTopic(address, settings["topic"], settings["client"])


def checked_topic(url: str, stream: str, said: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The kind of a source that is to be made, and its settings; the broker has to give the topic.

    Raises
    ------
    DataError
        Where it does not, or the topic is none.
    """
    kind, settings = Address.of(url).kind, dict(said)
    topic: str = settings["topic"]
    if kind == "mqtt":
        if "begin" in settings:
            raise DataError(say("A topic of MQTT has no older messages; begin is for Kafka."))
        if not _is_filter(topic):
            raise DataError(
                say(
                    "%(topic)s is no topic of MQTT; + stands for a whole level, # for all at the end.",
                    topic=repr(topic),
                )
            )
        # The name of a session: two of the same throw each other out.
        settings["client"] = f"anomaly-detection-{secrets.token_hex(4)}"
    elif not _KAFKA.fullmatch(topic) or topic in (".", ".."):
        raise DataError(
            say(
                "%(topic)s is no topic of Kafka; it is made of letters, digits, dots, dashes and underscores.",
                topic=repr(topic),
            )
        )
    found = topic_of(url, stream, settings)
    try:
        found.open({})
    finally:
        found.close()
    return kind, settings


def _is_filter(topic: str) -> bool:
    *levels, last = topic.split("/")
    inner = all("#" not in each and (each == "+" or "+" not in each) for each in levels)
    return "\0" not in topic and inner and (last in ("+", "#") or not {"+", "#"} & set(last))
