"""`Guard`: who may ask, what every answer carries, and how long it took."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders

from anomaly_detection.service.configuration import is_loopback
from anomaly_detection.service.keys import owner_of
from anomaly_detection.service.problems import Problem
from anomaly_detection.service.service import Service

__all__ = ["HEADERS", "Guard"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_OPEN = ("/health", "/ready")
_SAFE = ("GET", "HEAD", "OPTIONS")
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}
"""Of every answer."""


class Guard:
    """Middleware around all routes.

    On loopback nobody logs in, so that a page of another site must not get through by the visitor's browser: neither by
    a name that points here (Host), nor by sending a form (Origin). On any other address each request needs an API key,
    but for those that ask how the service is.

    Parameters
    ----------
    app : ASGI application
    service : Service
    problem : callable
        Makes an answer of a problem with a path.
    """

    def __init__(self, app: App, service: Service, problem: Callable[[Problem, str], App]) -> None:
        self._app, self._service, self._problem = app, service, problem

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            try:
                self._check(scope)
                scope.setdefault("state", {})["who"] = await self._who(scope)
            except Problem as problem:
                await self._problem(problem, scope["path"])(scope, receive, sent)
                return
            await self._app(scope, receive, sent)
        finally:
            handler = getattr(scope.get("endpoint"), "__name__", "none")
            self._service.metrics.time(handler, time.perf_counter() - began, status)

    def _check(self, scope: Scope) -> None:
        if "\0" in scope["path"] or b"%00" in scope["query_string"]:
            raise Problem(400, "A NUL is part of no name here.")
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if self._service.configuration.is_local and not is_loopback(_name(f"//{host}")):
            raise Problem(421, "This service listens on this machine only; call it by localhost or 127.0.0.1.")
        origin = headers.get("origin")
        if origin is None or scope["method"] in _SAFE or origin in self._service.configuration.origins:
            return
        if urlsplit(origin).netloc != host:
            raise Problem(403, "Pages of this origin may not change anything here; --allow-origin lets them.")

    async def _who(self, scope: Scope) -> str:
        """The name of the key of a request; "local" where none is needed."""
        if self._service.configuration.is_local:
            return "local"
        headers = Headers(scope=scope)
        # A browser sends no key where it asks whether it may send one.
        if scope["path"] in _OPEN or (scope["method"] == "OPTIONS" and "access-control-request-method" in headers):
            return "anyone"
        scheme, _, key = headers.get("authorization", "").partition(" ")
        given = key.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
        name = await run_in_threadpool(self._owner, given) if given else None
        if name is None:
            told = "No such API key" if given else "This needs an API key"
            raise Problem(401, f"{told}; send one as Authorization: Bearer KEY.", {"WWW-Authenticate": "Bearer"})
        return name

    def _owner(self, key: str) -> str | None:
        with self._service.database.reading() as connection:
            return owner_of(connection, key)


def _name(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
