"""Clients that are slow, over real sockets: they end by themselves, and hold up nobody else."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest
import requests
from service_example import resting, served

from anomaly_detection.service.http.limits import Limits


@pytest.fixture(scope="module")
def where(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    limits = Limits(requests=8, head_seconds=0.4, body_seconds=0.4, answer_seconds=0.4)
    with (
        resting(tmp_path_factory.mktemp("service"), model=None, limits=limits, port=0) as service,
        served(service) as url,
    ):
        yield "127.0.0.1", int(url.rpartition(":")[2])


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"", b"408"),
        (b"GET /hea", b"408"),
        (b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Slow: ", b"408"),
        (b"POST /detect HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n{", b"408"),
        # A whole request, and the head of a second one that does not come.
        (b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\nGET /he", b"200"),
    ],
)
def test_a_request_that_does_not_come(where: tuple[str, int], sent: bytes, status: bytes) -> None:
    with socket.create_connection(where, timeout=20) as slow:
        slow.sendall(sent)
        got = b""
        while part := slow.recv(4096):
            got += part
        assert got.startswith(b"HTTP/1.1 " + status)
        if status == b"200":
            assert b"HTTP/1.1 408" in got


def test_a_head_in_drops(where: tuple[str, int]) -> None:
    """Each byte comes in time, and the whole does not."""
    with socket.create_connection(where, timeout=20) as slow:
        slow.settimeout(0.05)
        got = b""
        for byte in b"GET /health HTTP/1.1\r\n" + b"X-Drop: 1\r\n" * 1000:
            try:
                slow.sendall(bytes([byte]))
                got = slow.recv(4096)
                break
            except TimeoutError:
                continue
        assert got.startswith(b"HTTP/1.1 408")


def test_an_answer_that_nobody_takes(where: tuple[str, int]) -> None:
    """Requests come, and answers are left to lie: the connection ends."""
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.settimeout(20)
        slow.connect(where)
        asked = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"

        def ask() -> None:
            for _ in range(100_000):
                slow.sendall(asked * 100)

        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            ask()


def test_they_leave_room_for_others(where: tuple[str, int]) -> None:
    host, port = where
    slow = [socket.create_connection(where, timeout=20) for _ in range(8)]
    try:
        url = f"http://{host}:{port}/health"
        assert requests.get(url, timeout=5).status_code == 503
        end = time.monotonic() + 20
        while requests.get(url, timeout=5).status_code != 200:
            assert time.monotonic() < end
            time.sleep(0.05)
    finally:
        for each in slow:
            each.close()
