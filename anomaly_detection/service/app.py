"""The application: which route leads where, and what answers where something is wrong."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from anyio import CapacityLimiter, to_thread
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from anomaly_detection.service import contract
from anomaly_detection.service.database import FullError
from anomaly_detection.service.guard import HEADERS, Guard
from anomaly_detection.service.json_answer import answer
from anomaly_detection.service.limits import read_body
from anomaly_detection.service.openapi import DOCUMENT, OPERATIONS
from anomaly_detection.service.operations import NUMBERS, Call, Operation
from anomaly_detection.service.pages.rendering import html
from anomaly_detection.service.pages.routes import page_routes
from anomaly_detection.service.problems import Problem, problem_answer
from anomaly_detection.service.service import Service

__all__ = ["make_app"]

Endpoint = Callable[[Request], Awaitable[Response]]
_JUDGING = 16
"""Requests whose records are judged and kept at a time: those that wait for the disk do so together."""


def make_app(service: Service) -> Starlette:
    """The application of a service."""
    origins = list(service.configuration.origins)
    app = Starlette(
        routes=_routes(service),
        middleware=[
            Middleware(Guard, service=service, problem=_told),
            Middleware(CORSMiddleware, allow_origins=origins, allow_methods=["*"], allow_headers=["*"]),
        ],
        exception_handlers={
            Problem: _on_problem,
            HTTPException: _on_http,
            FullError: _on_full,
            Exception: _on_any,
        },
    )
    app.router.redirect_slashes = False
    return app


def _routes(service: Service) -> list[Route]:
    limits = service.limits
    # Threads of their own: those that ask how the service is need not wait for those that have records judged.
    judging = CapacityLimiter(_JUDGING)

    async def judged(function: Callable[..., Response], *given: Any) -> Response:
        return await to_thread.run_sync(function, service, *given, limiter=judging)

    async def body(request: Request) -> bytes:
        return await read_body(request, limits)

    async def detect(request: Request) -> Response:
        return await judged(contract.detect, await body(request))

    async def predict(request: Request) -> Response:
        return await judged(contract.predict, await body(request))

    async def train(request: Request) -> Response:
        return await judged(contract.train, await body(request))

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
        Route("/detect", detect, methods=["POST"]),
        Route("/predict", predict, methods=["POST"]),
        Route("/train", train, methods=["POST"]),
        Route("/health", plain("health", contract.health)),
        Route("/ready", plain("ready", contract.ready)),
        Route("/status", plain("status", contract.status)),
        Route("/explain", plain("explain", contract.explain)),
        Route("/explain/{name}", explain_one),
        Route("/metrics", metrics),
        Route("/openapi.json", openapi),
        *_own_routes(service, judged),
        *page_routes(service, judged),
    ]


def _own_routes(service: Service, in_turn: Callable[..., Awaitable[Response]]) -> list[Route]:
    """Those of our own API: one a path, for its methods to be told where another is asked for."""
    by_path: dict[str, dict[str, Operation]] = {}
    for each in OPERATIONS:
        by_path.setdefault(each.path, {})[each.method] = each
    # What is spelt out comes before what any id would fit.
    paths = sorted(by_path, key=lambda path: "{" in path)
    return [
        Route(_typed(path), _endpoint(service, by_path[path], in_turn), methods=list(by_path[path])) for path in paths
    ]


def _typed(path: str) -> str:
    """The path as Starlette has it: what is a number takes nothing else."""
    for name in NUMBERS:
        path = path.replace(f"{{{name}}}", f"{{{name}:int}}")
    return path


def _endpoint(
    service: Service, operations: Mapping[str, Operation], in_turn: Callable[..., Awaitable[Response]]
) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        operation = operations["GET" if request.method == "HEAD" else request.method]
        path = operation.read_path(request.path_params)
        query = operation.read_query(request.query_params.multi_items())
        call = Call(path, query, request.scope["state"]["who"], request.headers)
        if operation.takes_request:
            made: Response = await operation.run(service, call, request, in_turn)
            return made
        if operation.takes_body:
            body = await read_body(request, service.limits)
            content = operation.read_content(body, request.headers.get("content-type", ""))
            call = replace(call, body=body, content=content)
        if operation.judges:
            return await in_turn(operation.run, call)
        return await run_in_threadpool(operation.run, service, call)

    endpoint.__name__ = next(iter(operations.values())).run.__name__
    return endpoint


def _told(problem: Problem, path: str) -> Response:
    """Under ``/v1`` by RFC 9457, elsewhere as CryptaNet reads it."""
    if path.startswith("/v1/"):
        return problem_answer(problem, path)
    content: Mapping[str, Any] = {"success": False, "error": problem.detail, **problem.more}
    return answer(content, problem.status, problem.headers)


def _answered(problem: Problem, request: Request) -> Response:
    """The same, and to a person's browser as a page."""
    if "text/html" in request.headers.get("accept", "") and not request.url.path.startswith("/v1/"):
        made = html("problem", problem.status, problem=problem)
        made.headers.update(problem.headers)
        return made
    return _told(problem, request.url.path)


async def _on_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return _answered(error, request)


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    told = {
        404: f"There is nothing at {request.url.path}.",
        405: f"{request.method} is not possible at {request.url.path}.",
    }
    return _answered(Problem(error.status_code, told.get(error.status_code, error.detail), error.headers), request)


async def _on_full(request: Request, error: Exception) -> Response:
    return _answered(Problem(507, "The disk of the service is full: nothing of this was kept."), request)


async def _on_any(request: Request, error: Exception) -> Response:
    # The server logs the error itself. This answer does not go by the guard any more.
    return _told(Problem(500, "The service failed at this; its log says how.", HEADERS), request.url.path)
