"""`Connection`: a connection of HTTP that ends where the other side keeps it open and does nothing."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from anomaly_detection.service.http.limits import Limits

__all__ = ["connection_class"]

_TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


def connection_class(limits: Limits) -> type[HttpToolsProtocol]:
    """The class of connections, for uvicorn.

    uvicorn ends connections that idle after an answer. Here end also those that send no head of a request, or that in
    drops, and those that do not take their answer: a few hundred of such would be all that the service takes.
    """

    class Connection(HttpToolsProtocol):
        _head: asyncio.TimerHandle | None = None
        _answer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._head = self.loop.call_later(limits.head_seconds, self._sends_too_slowly)

        def on_message_begin(self) -> None:
            super().on_message_begin()
            # The first request's time began with the connection.
            if self._head is None:
                self._head = self.loop.call_later(limits.head_seconds, self._sends_too_slowly)

        def on_headers_complete(self) -> None:
            self._unset()
            super().on_headers_complete()

        def pause_writing(self) -> None:
            super().pause_writing()
            self._look_again()

        def resume_writing(self) -> None:
            super().resume_writing()
            if self._answer is not None:
                self._answer.cancel()
                self._answer = None

        def connection_lost(self, exc: Exception | None) -> None:
            self._unset()
            if self._answer is not None:
                self._answer.cancel()
            super().connection_lost(exc)

        def _unset(self) -> None:
            if self._head is not None:
                self._head.cancel()
                self._head = None

        def _sends_too_slowly(self) -> None:
            if not self.transport.is_closing():
                self.transport.write(_TOO_SLOW)
                self.transport.close()

        def _look_again(self) -> None:
            left = self.transport.get_write_buffer_size()
            self._answer = self.loop.call_later(limits.answer_seconds, self._takes, left)

        def _takes(self, left: int) -> None:
            if self.transport.get_write_buffer_size() < left:
                self._look_again()
            else:
                # What was written waits in vain: it is thrown away.
                self.transport.abort()

    return Connection
