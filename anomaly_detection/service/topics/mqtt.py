"""`MqttTopic`: topics of MQTT, acknowledged one by one when they are kept."""

from __future__ import annotations

import hashlib
import ssl
import time
from collections.abc import Mapping, Sequence
from typing import Any

from anomaly_detection.data.files import reason
from anomaly_detection.errors import DataError
from anomaly_detection.service.topics.address import Address
from anomaly_detection.service.topics.message import Letter, Message

__all__ = ["MqttTopic"]

_TIMEOUT = 10.0
_KEEP_ALIVE = 60
_MOMENT = 0.02
"""Seconds for which a batch waits for more once it has its first message."""


class MqttTopic:
    """What is published under a topic, or under all that fit one with ``+`` and ``#``.

    The broker keeps a session by the name of the client: what is published while nobody is connected waits there. Each
    message is acknowledged when it is kept. Where the acknowledgement is lost, the broker sends the message again with
    its packet's number and a flag that says so; the database has what came last under each number.

    Retained messages, which a broker sends to each new subscriber, are older than the subscription and left out.

    Parameters
    ----------
    address : Address
    topic : str
    client : str
        The name of the session.

    Raises
    ------
    DataError
        Where paho-mqtt is not installed.
    """

    def __init__(self, address: Address, topic: str, client: str) -> None:
        try:
            import paho.mqtt.client
        except ModuleNotFoundError as error:
            raise DataError(
                "MQTT needs paho-mqtt, which is not installed; run pip install 'mlx-iforest[mqtt]'."
            ) from error
        self._paho: Any = paho.mqtt.client
        self._address, self._topic, self._name = address, topic, client
        self._client: Any = None
        self._came: list[Any] = []
        self._refusal = ""
        self._granted: bool | None = None
        self._session: bool | None = None

    def open(self, marks: Mapping[int, str]) -> tuple[dict[int, str], list[Letter]]:
        """Connect, and subscribe unless the broker knows the subscription."""
        self.close()
        self._connect(clean=False)
        if not self._session:
            self._client.subscribe(self._topic, qos=1)
            self._wait(lambda: self._granted is not None, "does not answer to a subscription")
            if not self._granted:
                raise self._explained(f"refuses the topic {self._topic}")
        return {}, []

    def batch(self, most: int, seconds: float) -> list[Message]:
        """What has come; while nobody asks nothing is read, and the broker waits."""
        end = time.monotonic() + seconds
        while not self._came and time.monotonic() < end:
            self._turn(end - time.monotonic())
        end = time.monotonic() + _MOMENT
        while len(self._came) < most and time.monotonic() < end:
            self._turn(_MOMENT)
        found, self._came = self._came[:most], self._came[most:]
        return [_message(each) for each in found]

    def is_new(self, message: Message, mark: str | None) -> bool:
        """False for one that comes again and is what was kept under the number of its packet."""
        return not (message.again and message.mark == mark)

    def settle(self, messages: Sequence[Message]) -> None:
        """Acknowledge them."""
        for each in messages:
            if each.mark:
                self._client.ack(each.part, 1)

    def close(self) -> None:
        """Disconnect; the session stays."""
        if self._client is not None:
            self._client.disconnect()
            self._client = None
        self._came, self._granted, self._session = [], None, None

    def leave(self) -> None:
        """End the session: messages would wait in it for ever."""
        try:
            self.close()
            self._connect(clean=True)
        except DataError:
            # A broker that is gone has no session of ours either; one that is away keeps it, as the pages say.
            return
        finally:
            self.close()

    def _connect(self, clean: bool) -> None:
        address = self._address
        version = self._paho.CallbackAPIVersion.VERSION2
        client = self._client = self._paho.Client(
            version, client_id=self._name, clean_session=clean, manual_ack=True, reconnect_on_failure=False
        )
        client.connect_timeout = _TIMEOUT
        client.on_connect, client.on_subscribe, client.on_message = self._connected, self._subscribed, self._arrived
        if address.user:
            client.username_pw_set(address.user, address.password)
        ((host, port),) = address.hosts
        try:
            if address.encrypted:
                client.tls_set(ca_certs=address.options.get("ca"))
            client.connect(host, port, _KEEP_ALIVE)
        except (OSError, ssl.SSLError, ValueError) as error:
            told = reason(error) if isinstance(error, OSError) else str(error)
            raise self._explained(f"cannot be reached: {told}") from error
        self._refusal = ""
        self._wait(lambda: self._session is not None or bool(self._refusal), "does not answer")
        if self._refusal:
            raise self._explained(f"refuses the connection: {self._refusal}")

    def _connected(self, _client: Any, _data: Any, flags: Any, code: Any, _more: Any) -> None:
        if code.is_failure:
            self._refusal = str(code)
        else:
            self._session = bool(flags.session_present)

    def _subscribed(self, _client: Any, _data: Any, _packet: int, codes: Any, _more: Any) -> None:
        self._granted = not any(code.is_failure for code in codes)

    def _arrived(self, client: Any, _data: Any, message: Any) -> None:
        # To a session that subscribed before they are not sent, but by brokers that call so what waited in it.
        if not message.retain or self._session:
            self._came.append(message)
        elif message.qos:
            client.ack(message.mid, message.qos)

    def _wait(self, is_so: Any, told: str) -> None:
        end = time.monotonic() + _TIMEOUT
        while not is_so():
            if time.monotonic() >= end:
                raise self._explained(told)
            self._turn(0.1)

    def _turn(self, seconds: float) -> None:
        """Read what is there, and write what waits."""
        code = self._client.loop(max(seconds, 0.0))
        if code != self._paho.MQTT_ERR_SUCCESS and not self._refusal:
            raise self._explained(f"ended the connection: {self._paho.error_string(code)}")

    def _explained(self, told: str) -> DataError:
        return DataError(f"The broker {self._address.servers} {self._address.without_secrets(told)}.")


def _message(given: Any) -> Message:
    """A message; one that asks for no acknowledgement comes once or never, and has no mark."""
    body = bytes(given.payload)
    if not given.qos:
        return Message(given.topic, given.topic, body, 0, "")
    mark = hashlib.sha256(given.topic.encode() + b"\0" + body).hexdigest()[:32]
    return Message(given.topic, f"{given.topic}, packet {given.mid}", body, given.mid, mark, bool(given.dup))
