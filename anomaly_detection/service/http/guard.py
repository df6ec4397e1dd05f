"""`Guard`: who asks and how often, what every answer carries, and how long it took."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Collection, Mapping
from functools import lru_cache
from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from anomaly_detection.service.access.keys import owner_of
from anomaly_detection.service.access.rights import LISTED, OPEN, ROLES, Caller
from anomaly_detection.service.access.sessions import COOKIE, caller_of, cookie_of
from anomaly_detection.service.http.problems import Problem
from anomaly_detection.service.http.rates import Rates
from anomaly_detection.service.processes.configuration import is_loopback
from anomaly_detection.service.processes.service import Service

__all__ = ["HEADERS", "Guard"]

_LISTED_PATHS = ("/detect", "/health")
_SAFE = ("GET", "HEAD", "OPTIONS")
_OWN_PAGES = (None, "same-origin", "none")
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Of every answer that does not bring its own."""

_RAW = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
_HTTPS_ONLY = (b"strict-transport-security", b"max-age=31536000")
_LOCAL = Caller("local", ROLES["admin"], "admin")
_ANYONE = Caller("anyone", frozenset({OPEN}))


class Guard:
    """Middleware around all routes.

    On loopback nobody logs in, so that a page of another site must not get through by the visitor's browser: neither by
    a name that points here (Host), nor by sending a form (Origin, Sec-Fetch-Site). Anywhere else, and behind a proxy,
    each request needs an API key or a session, but for those that are open. A change by cookie needs its token too.

    Parameters
    ----------
    app : ASGI application
    service : Service
    problem : callable
        Makes an answer of a problem with a path.
    is_open : collection of str
        The paths that nobody needs a key or a login for.
    """

    def __init__(
        self,
        app: ASGIApp,
        service: Service,
        problem: Callable[[Problem, str], ASGIApp],
        is_open: Collection[str],
    ) -> None:
        self._app, self._service, self._problem, self._is_open = app, service, problem, is_open
        self._configuration = service.configuration
        self._is_trusted = service.configuration.is_trusted
        # A caller's requests are spread over all processes.
        rate = service.limits.rate / service.configuration.workers
        self._rates = Rates(rate, max(1.0, 2 * rate))
        self._networks = [ipaddress.ip_network(each) for each in self._configuration.open_to]
        self._raw = [*_RAW, _HTTPS_ONLY] if self._configuration.behind_proxy else _RAW

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
                headers = list(message.get("headers", ()))
                own = {name for name, _ in headers}
                headers += [pair for pair in self._raw if pair[0] not in own]
                message["headers"] = headers
            await send(message)

        try:
            try:
                # The first of several of one name counts, as elsewhere.
                headers = {
                    name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(scope["headers"])
                }
                self._check(scope, headers)
                found = await self._caller(scope, headers)
                if found is not _LOCAL:
                    self._limit(scope, headers, found)
                scope.setdefault("state", {}).update(
                    caller=found, who=found.name, address=self._address(scope, headers)
                )
            except Problem as problem:
                await self._problem(problem, scope["path"])(scope, receive, sent)
                return
            await self._app(scope, receive, sent)
        finally:
            handler = getattr(scope.get("endpoint"), "__name__", "none")
            self._service.metrics.time(handler, time.perf_counter() - began, status)

    def _check(self, scope: Scope, headers: Mapping[str, str]) -> None:
        if "\0" in scope["path"] or b"%00" in scope["query_string"]:
            raise Problem(400, "A NUL is part of no name here.")
        host = headers.get("host", "")
        if self._is_trusted and not _is_here(host):
            raise Problem(421, "This service listens on this machine only; call it by localhost or 127.0.0.1.")
        if scope["method"] in _SAFE:
            return
        origin = headers.get("origin")
        if origin is not None and origin in self._configuration.origins:
            return
        # A browser says at least one of the two; a program neither.
        foreign = headers.get("sec-fetch-site") not in _OWN_PAGES
        if foreign or (origin is not None and _host_of(origin) != host):
            raise Problem(403, "Pages of this origin may not change anything here; --allow-origin lets them.")
        if headers.get("content-encoding", "identity").lower() != "identity":
            # Lines of it would be kept as records that cannot be read.
            raise Problem(415, "A compressed body is not read; send it without a Content-Encoding.")

    async def _caller(self, scope: Scope, headers: Mapping[str, str]) -> Caller:
        """Who asks; `Problem` (401) where that is nobody known and the route is not open, 403 without the token."""
        if self._is_trusted:
            return _LOCAL
        given = _key(headers)
        if given:
            found = await run_in_threadpool(self._owner, given)
            if found is None:
                self._rates.take(self._address(scope, headers))
                raise _unknown("No such API key")
            return found
        session = self._session(headers)
        found = await run_in_threadpool(self._by_session, session) if session else None
        if found is not None:
            # Who logs in anew has lost it, perhaps.
            needs_token = scope["method"] not in _SAFE and scope["path"] != "/login"
            if needs_token and not self._has_token(found.session, headers):
                raise Problem(403, "A change by cookie needs the header X-CSRF-Token; GET /v1/session tells it.")
            return found
        path = scope["path"]
        if path in _LISTED_PATHS and self._is_listed(scope, headers):
            return Caller(f"address {self._address(scope, headers)}", LISTED)
        # A browser sends no key where it asks whether it may send one.
        if path in self._is_open or (scope["method"] == "OPTIONS" and "access-control-request-method" in headers):
            return _ANYONE
        self._rates.take(self._address(scope, headers))
        raise _unknown("This needs an API key or a login")

    def _limit(self, scope: Scope, headers: Mapping[str, str], found: Caller) -> None:
        self._rates.take(self._address(scope, headers) if found is _ANYONE else f"caller {found.name}")

    def _session(self, headers: Mapping[str, str]) -> str | None:
        cookie = cookie_of(headers, COOKIE)
        return None if cookie is None else self._service.signatures.session(cookie)

    def _has_token(self, session: str, headers: Mapping[str, str]) -> bool:
        return self._service.signatures.is_token(session, headers.get("x-csrf-token", ""))

    def _address(self, scope: Scope, headers: Mapping[str, str]) -> str:
        """Where a request comes from: what the proxy adds, the last of all, where there is one."""
        if self._configuration.behind_proxy:
            return headers.get("x-forwarded-for", "").rpartition(",")[2].strip()
        client = scope.get("client")
        return str(client[0]) if client else ""

    def _is_listed(self, scope: Scope, headers: Mapping[str, str]) -> bool:
        try:
            address = ipaddress.ip_address(self._address(scope, headers))
        except ValueError:
            return False
        # A socket of both kinds gives IPv4 addresses in the form of IPv6.
        address = getattr(address, "ipv4_mapped", None) or address
        return any(address in network for network in self._networks)

    def _owner(self, key: str) -> Caller | None:
        with self._service.database.reading() as connection:
            return owner_of(connection, key)

    def _by_session(self, session: str) -> Caller | None:
        with self._service.database.reading() as connection:
            return caller_of(connection, session)


def _key(headers: Mapping[str, str]) -> str:
    scheme, _, key = headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")


def _unknown(told: str) -> Problem:
    return Problem(401, f"{told}; send one as Authorization: Bearer KEY.", {"WWW-Authenticate": "Bearer"})


def _host_of(address: str) -> str | None:
    """Host and port of an address; None for what is no address."""
    try:
        return urlsplit(address).netloc
    except ValueError:
        return None


@lru_cache(maxsize=100)
def _is_here(host: str) -> bool:
    """Whether a request that calls this host means this machine."""
    try:
        return is_loopback(urlsplit(f"//{host}").hostname or "")
    except ValueError:
        return False
