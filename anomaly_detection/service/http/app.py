"""The application: which route leads where, and what answers where something is wrong."""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from anyio import CapacityLimiter, to_thread
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.convertors import IntegerConvertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from anomaly_detection.service.access.allowed import Allowed, caller
from anomaly_detection.service.access.masking import masked
from anomaly_detection.service.access.rights import OPEN, Need
from anomaly_detection.service.http import contract
from anomaly_detection.service.http.guard import HEADERS, Guard
from anomaly_detection.service.http.json_answer import answer
from anomaly_detection.service.http.limits import read_body
from anomaly_detection.service.http.openapi import DOCUMENT, OPERATIONS
from anomaly_detection.service.http.operations import NUMBERS, Call, Operation
from anomaly_detection.service.http.problems import Problem, problem_answer
from anomaly_detection.service.pages.preferences import viewer_of
from anomaly_detection.service.pages.rendering import html
from anomaly_detection.service.pages.routes import LOGIN, page_routes
from anomaly_detection.service.processes.service import Service
from anomaly_detection.service.storage.database import FullError
from anomaly_detection.texts.said import say
from anomaly_detection.texts.viewer import VIEWER, retold

__all__ = ["make_app"]

Endpoint = Callable[[Request], Awaitable[Response]]
Described = tuple[str, Mapping[str, Need], Endpoint]
"""A path, by its methods what somebody needs who asks for it, and what answers."""

_FEW = 4096
"""Bytes of records that are judged at once: to hand them to a thread and back takes as long as judging one."""

# Threads of their own: those that ask how the service is need not wait for those that have records judged.
_JUDGING = 16
"""Requests whose records are judged and kept at a time: those that wait for the disk do so together."""

_LOGINS = 2
"""Passwords that are looked at at a time: each takes 32 MB and a quarter of a second."""

_OWN_PATHS = frozenset(each.path for each in OPERATIONS)


class _Number(IntegerConvertor):
    """A whole number in a path: of thousands of digits Python makes none."""

    regex = "[0-9]{1,100}"


register_url_convertor("int", _Number())


def make_app(service: Service) -> Starlette:
    """The application of a service."""
    origins = list(service.configuration.origins)
    cors = Middleware(CORSMiddleware, allow_origins=origins, allow_methods=["*"], allow_headers=["*"])
    turns = {"judging": CapacityLimiter(_JUDGING), "logins": CapacityLimiter(_LOGINS)}
    routes = [*_contract(service, turns["judging"]), *_own(service, turns), *page_routes(service, turns["judging"])]
    is_open = frozenset(path for path, needs, _ in routes if any(need.right == OPEN for need in needs.values()))
    guard = Middleware(Guard, service=service, problem=_refused, is_open=is_open)
    app = Starlette(
        routes=[_route(service, *each) for each in routes],
        middleware=[guard, *([cors] if origins else [])],
        exception_handlers={
            Problem: _on_problem,
            HTTPException: _on_http,
            FullError: _on_full,
            OSError: _on_system,
            Exception: _on_any,
        },
    )
    app.router.redirect_slashes = False
    return app


def _route(service: Service, path: str, needs: Mapping[str, Need], endpoint: Endpoint) -> Route:
    route = Route(path, endpoint, methods=list(needs))
    route.app = Allowed(route.app, needs, service)
    return route


def _contract(service: Service, judging: CapacityLimiter) -> list[Described]:
    """Those of CryptaNet's contract, and what describes and measures the service."""

    async def judged(function: Callable[..., Response], *given: Any) -> Response:
        return await to_thread.run_sync(function, service, *given, limiter=judging)

    async def body(request: Request) -> bytes:
        return await read_body(request, service.limits)

    async def detect(request: Request) -> Response:
        data = await body(request)
        if len(data) <= _FEW:
            return await contract.detect_soon(service, data)
        return await judged(contract.detect, data)

    async def predict(request: Request) -> Response:
        return await judged(contract.predict, await body(request))

    async def train(request: Request) -> Response:
        return await judged(contract.train, await body(request), caller(request.scope).name)

    async def explain_one(request: Request) -> Response:
        return await run_in_threadpool(contract.explain_one, service, request.path_params["name"])

    async def metrics(request: Request) -> Response:
        text = await run_in_threadpool(lambda: service.metrics.text(service.gauges()))
        return Response(text, media_type="text/plain; version=0.0.4")

    async def openapi(request: Request) -> Response:
        return answer(DOCUMENT)

    def plain(name: str, function: Callable[[Service], Response]) -> Endpoint:
        async def endpoint(request: Request) -> Response:
            return await run_in_threadpool(function, service)

        endpoint.__name__ = name
        return endpoint

    return [
        ("/detect", {"POST": Need("send", "default")}, detect),
        ("/predict", {"POST": Need("send", "default")}, predict),
        ("/train", {"POST": Need("manage", "default")}, train),
        ("/health", {"GET": Need(OPEN, "none")}, plain("health", contract.health)),
        ("/ready", {"GET": Need(OPEN, "none")}, plain("ready", contract.ready)),
        ("/status", {"GET": Need("read", "all")}, plain("status", contract.status)),
        ("/explain", {"GET": Need("read", "default")}, plain("explain", contract.explain)),
        ("/explain/{name}", {"GET": Need("read", "all")}, explain_one),
        ("/metrics", {"GET": Need("read", "all")}, metrics),
        ("/openapi.json", {"GET": Need("read", "none")}, openapi),
    ]


def _own(service: Service, turns: Mapping[str, CapacityLimiter]) -> list[Described]:
    """Those of our own API: one a path, for its methods to be told where another is asked for."""
    by_path: dict[str, dict[str, Operation]] = {}
    for each in OPERATIONS:
        by_path.setdefault(each.path, {})[each.method] = each
    # What is spelt out comes before what any id would fit.
    paths = sorted(by_path, key=lambda path: "{" in path)
    return [
        (
            _typed(path),
            {method: each.needs for method, each in by_path[path].items()},
            _endpoint(service, by_path[path], turns),
        )
        for path in paths
    ]


def _typed(path: str) -> str:
    """The path as Starlette has it: what is a number takes nothing else."""
    for name in NUMBERS:
        path = path.replace(f"{{{name}}}", f"{{{name}:int}}")
    return path


def _endpoint(service: Service, operations: Mapping[str, Operation], turns: Mapping[str, CapacityLimiter]) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        operation = operations["GET" if request.method == "HEAD" else request.method]
        path = operation.read_path(request.path_params)
        query = operation.read_query(request.query_params.multi_items())
        call = Call(path, query, caller(request.scope), request.headers, address=request.state.address)

        async def in_turn(function: Callable[..., Response], *given: Any) -> Response:
            return await to_thread.run_sync(function, service, *given, limiter=turns.get(operation.turn))

        if operation.takes_request:
            made: Response = await operation.run(service, call, request, in_turn)
            return made
        if operation.takes_body:
            body = await read_body(request, service.limits)
            content = operation.read_content(body, request.headers.get("content-type", ""))
            call = replace(call, body=body, content=content)
        return await in_turn(operation.run, call)

    endpoint.__name__ = next(iter(operations.values())).run.__name__
    return endpoint


def _told(problem: Problem, path: str) -> Response:
    """Of our own API by RFC 9457, elsewhere as CryptaNet reads it."""
    if path.startswith("/v1/") or path in _OWN_PATHS:
        return problem_answer(problem, path)
    content: Mapping[str, Any] = {"success": False, "error": problem.detail, **problem.more}
    return answer(content, problem.status, problem.headers)


def _answered(problem: Problem, request: Request) -> Response:
    """The same, and to a person's browser as a page, or on the way to logging in."""
    path = request.url.path
    VIEWER.set(viewer_of(request.headers, request.query_params.get("lang", "")))
    is_page = "text/html" in request.headers.get("accept", "") and not path.startswith("/v1/")
    if is_page or "hx-request" in request.headers:
        # Who looks at a page reads its language; programs read English.
        problem = Problem(problem.status, retold(problem.detail), problem.headers, **problem.more)
    is_form = path == LOGIN and request.method == "POST"
    if not is_page:
        return _told(problem, path)
    if is_form:
        return html("login", problem.status, told=masked(problem.detail))
    if problem.status == 401:
        return Response(status_code=303, headers={"Location": LOGIN})
    made = html("problem", problem.status, code=problem.status, told=masked(problem.detail))
    made.headers.update(problem.headers)
    return made


def _refused(problem: Problem, path: str) -> ASGIApp:
    """The answer to who did not come by the guard."""

    async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
        await _answered(problem, Request(scope))(scope, receive, send)

    return refuse


async def _on_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return _answered(error, request)


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    told = {
        404: say("There is nothing at %(path)s.", path=request.url.path),
        405: say("%(method)s is not possible at %(path)s.", method=request.method, path=request.url.path),
    }
    return _answered(Problem(error.status_code, told.get(error.status_code, error.detail), error.headers), request)


async def _on_full(request: Request, error: Exception) -> Response:
    return _answered(Problem(507, say("The disk of the service is full: nothing of this was kept.")), request)


async def _on_system(request: Request, error: Exception) -> Response:
    """An upload or a model may find the disk full too."""
    if not isinstance(error, OSError) or error.errno not in (errno.ENOSPC, errno.EDQUOT):
        raise error
    return await _on_full(request, error)


async def _on_any(request: Request, error: Exception) -> Response:
    # The server logs the error itself. This answer does not go by the guard any more.
    return _told(Problem(500, say("The service failed at this; its log says how."), HEADERS), request.url.path)
