"""`Allowed`: a route for those who may ask for it, and no more of its answer than they may see."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qs

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from anomaly_detection.service.access.masking import MASK, Mask
from anomaly_detection.service.access.rights import MANY, PERSONAL, ROWS, Caller, Need, streams_of
from anomaly_detection.service.http.json_answer import parsed
from anomaly_detection.service.http.limits import read_body
from anomaly_detection.service.http.problems import Problem
from anomaly_detection.service.http.shapes import ID, LARGEST, TEXT, array, check, record
from anomaly_detection.service.processes.service import Service
from anomaly_detection.service.streams.streams import DEFAULT
from anomaly_detection.texts.said import say

__all__ = ["Allowed", "caller"]

_WITHOUT_RECORDS = ("", "text/plain", "text/css", "text/javascript", "image/svg+xml")
_ABOUT = record({"stream": TEXT}, closed=False)
_IDS = record({"ids": array(ID, 1)}, closed=False)


def caller(scope: Scope) -> Caller:
    """Who asks; the guard has found out."""
    found: Caller = scope["state"]["caller"]
    return found


class Allowed:
    """A route's application, for callers that have what it needs; 403 for others.

    Parameters
    ----------
    app : ASGI application
    needs : mapping of str to Need
        By method; HEAD needs what GET does.
    service : Service
    """

    def __init__(self, app: ASGIApp, needs: Mapping[str, Need], service: Service) -> None:
        self._app, self.needs, self._service = app, needs, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; raises `Problem` (403)."""
        found = caller(scope)
        need = self.needs["GET" if scope["method"] == "HEAD" else scope["method"]]
        if not found.may(need.right):
            told = f"who has the role {found.role}" if found.role else "who did not log in"
            raise Problem(
                403,
                say(
                    "This needs the right to %(right)s, which is not for %(told)s.",
                    right=need.right,
                    told=told,
                ),
            )
        if found.streams is not None and need.stream != "none":
            names, receive = await self._about(need.stream, scope, receive)
            if not names <= found.streams:
                raise Problem(403, say("This key is for %(streams)s alone.", streams=", ".join(sorted(found.streams))))
        personal = self._service.personal
        if not personal or found.may(PERSONAL):
            await self._app(scope, receive, send)
            return
        mask = Mask(personal)
        answer = _Answer(mask, send)
        token = MASK.set(mask)
        try:
            await self._app(scope, receive, answer.send)
        except Problem as problem:
            told = mask.hide({"detail": problem.detail, **problem.more})
            raise Problem(problem.status, told.pop("detail"), problem.headers, **told) from problem
        finally:
            MASK.reset(token)
        if answer.is_held:
            raise Problem(403, say("This holds personal columns, which it takes the right to see."))

    async def _about(self, kind: str, scope: Scope, receive: Receive) -> tuple[set[str | None], Receive]:
        """The streams that a request is about, None for what is none; and what gives its body, if that was read."""
        if kind in ("body", *MANY):
            body = await read_body(Request(scope, receive), self._service.limits)
            content = check(parsed(body), _IDS if kind in MANY else _ABOUT, "The body")
            names = await run_in_threadpool(self._of, kind, content["ids"]) if kind in MANY else {content["stream"]}
            return names, _again(body, receive)
        path = scope["path_params"]
        if kind in ROWS:
            return await run_in_threadpool(self._of, kind, [path["id"]]), receive
        if kind == "query":
            query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
            return set(query.get("stream", [None])), receive
        return {{"default": DEFAULT, "path": path.get("name")}.get(kind)}, receive

    def _of(self, kind: str, numbers: list[int]) -> set[str | None]:
        if any(number > LARGEST for number in numbers):
            return {None}
        with self._service.database.reading() as connection:
            return streams_of(connection, {**ROWS, **MANY}[kind], numbers)


def _again(body: bytes, receive: Receive) -> Receive:
    """What gives a body that was read already, and then what comes after it."""
    parts = [body]

    async def again() -> Message:
        if parts:
            return {"type": "http.request", "body": parts.pop(), "more_body": False}
        return await receive()

    return again


class _Answer:
    """Lets through what the mask has seen, and what holds no values of records; holds anything else back."""

    def __init__(self, mask: Mask, send: Send) -> None:
        self._mask, self._send, self.is_held = mask, send, False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start" and not self._mask.was_used:
            kind = Headers(raw=message.get("headers", [])).get("content-type", "").partition(";")[0]
            self.is_held = kind not in _WITHOUT_RECORDS
        if not self.is_held:
            await self._send(message)
