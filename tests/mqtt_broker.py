"""A broker of MQTT 3.1.1 for tests, of which a test sees every packet: sessions, quality 0 and 1, and sending again.

amqtt, which is no test's own, does not send again what was not acknowledged, as the standard asks of brokers.
"""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

__all__ = ["MqttBroker", "broker"]

CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, SUBACK, PINGREQ, PINGRESP, DISCONNECT = 1, 2, 3, 4, 8, 9, 12, 13, 14


@dataclass
class _Session:
    unacknowledged: dict[int, bytes] = field(default_factory=dict)
    is_subscribed: bool = False
    number: int = 0


class MqttBroker:
    """One topic for all: what is published goes to each session that subscribed to anything."""

    def __init__(self) -> None:
        self.sessions: dict[str, _Session] = {}
        self.acknowledged: list[int] = []
        self.retained: list[tuple[str, bytes]] = []
        self.loses_acknowledgements = False
        self.refuses = False
        self._lock = threading.RLock()
        self._open: dict[str, socket.socket] = {}
        outer = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                outer._serve(self.request)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                """A client that is killed resets its connection."""

        self._server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self._server.server_address[1]}"

    def publish(self, topic: str, body: bytes, quality: int = 1) -> None:
        with self._lock:
            for name, session in self.sessions.items():
                if not session.is_subscribed:
                    continue
                packet = _string(topic)
                if quality:
                    session.number = session.number % 0xFFFF + 1
                    packet += session.number.to_bytes(2, "big")
                    session.unacknowledged[session.number] = packet + body
                if name in self._open:
                    # One whose client was killed is closed: it comes again.
                    with suppress(OSError):
                        _send(self._open[name], PUBLISH, quality << 1, packet + body)

    def cut(self) -> None:
        """End all connections without a word."""
        with self._lock:
            for each in self._open.values():
                # One whose client was killed is closed.
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
            self._open.clear()

    def close(self) -> None:
        self.cut()
        self._server.shutdown()
        self._server.server_close()

    def _serve(self, connection: socket.socket) -> None:
        name = ""
        while True:
            first = connection.recv(1)
            if not first:
                return
            kind, body = first[0] >> 4, _read(connection, _length(connection))
            with self._lock:
                if kind == CONNECT:
                    name = self._connect(connection, body)
                elif kind == SUBSCRIBE:
                    self.sessions[name].is_subscribed = True
                    _send(connection, SUBACK, 0, body[:2] + b"\x01")
                    for topic, content in self.retained:
                        _send(connection, PUBLISH, 1, _string(topic) + content)
                elif kind == PUBACK and not self.loses_acknowledgements:
                    number = int.from_bytes(body, "big")
                    del self.sessions[name].unacknowledged[number]
                    self.acknowledged.append(number)
                elif kind == PINGREQ:
                    _send(connection, PINGRESP, 0, b"")
                elif kind == DISCONNECT:
                    self._open.pop(name, None)
                    return

    def _connect(self, connection: socket.socket, body: bytes) -> str:
        flags = body[7]
        size = int.from_bytes(body[10:12], "big")
        name = body[12 : 12 + size].decode()
        if self.refuses:
            _send(connection, CONNACK, 0, b"\x00\x05")
            return name
        is_clean = bool(flags & 2)
        if is_clean:
            self.sessions.pop(name, None)
        is_present = name in self.sessions
        session = self.sessions.setdefault(name, _Session())
        self._open[name] = connection
        _send(connection, CONNACK, 0, bytes([is_present, 0]))
        for packet in list(session.unacknowledged.values()):
            # Once more, of quality 1.
            _send(connection, PUBLISH, 0b1010, packet)
        if is_clean:
            del self.sessions[name]
        return name


def _string(text: str) -> bytes:
    return len(text.encode()).to_bytes(2, "big") + text.encode()


def _length(connection: socket.socket) -> int:
    length, shift = 0, 0
    while True:
        (byte,) = _read(connection, 1)
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return length


def _read(connection: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        part = connection.recv(count - len(found))
        if not part:
            raise ConnectionError("It ended.")
        found += part
    return found


def _send(connection: socket.socket, kind: int, flags: int, body: bytes) -> None:
    length, rest = b"", len(body)
    while True:
        length += bytes([rest % 128 | (0x80 if rest >= 128 else 0)])
        rest //= 128
        if not rest:
            break
    connection.sendall(bytes([kind << 4 | flags]) + length + body)


@contextmanager
def broker() -> Iterator[MqttBroker]:
    """One, until the block ends."""
    made = MqttBroker()
    try:
        yield made
    finally:
        made.close()
