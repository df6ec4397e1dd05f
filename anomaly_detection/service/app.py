"""The application: which route leads where, and what answers where something is wrong."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
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

from anomaly_detection.service import contract, login, v1
from anomaly_detection.service.database import FullError
from anomaly_detection.service.guard import HEADERS, Guard, caller, guarded
from anomaly_detection.service.json_answer import answer
from anomaly_detection.service.limits import read_body
from anomaly_detection.service.openapi import DOCUMENT
from anomaly_detection.service.problems import Problem, problem_answer
from anomaly_detection.service.service import Service

__all__ = ["make_app"]

Endpoint = Callable[[Request], Awaitable[Response]]
_LARGEST_ID = 2**63 - 1
_JUDGING = 16
"""Requests whose records are judged and kept at a time: those that wait for the disk do so together."""


def make_app(service: Service) -> Starlette:
    """The application of a service."""
    origins = list(service.configuration.origins)
    cors = Middleware(CORSMiddleware, allow_origins=origins, allow_methods=["*"], allow_headers=["*"])
    app = Starlette(
        routes=guarded(_routes(service), service),
        middleware=[Middleware(Guard, service=service, problem=_told), *([cors] if origins else [])],
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
    # Each takes 32 MB and a quarter of a second.
    logins = CapacityLimiter(2)

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

    async def add_records(request: Request) -> Response:
        content_type = request.headers.get("content-type", "")
        key = request.headers.get("idempotency-key")
        name = request.path_params["name"]
        return await judged(v1.add_records, name, await body(request), content_type, key)

    async def get_alerts(request: Request) -> Response:
        return await run_in_threadpool(v1.get_alerts, service, dict(request.query_params))

    async def alert(request: Request) -> Response:
        if request.method != "POST":
            return await run_in_threadpool(v1.get_alert, service, _number(request))
        who = request.scope["state"]["who"]
        return await run_in_threadpool(v1.change, service, _number(request), who, await body(request))

    async def get_record(request: Request) -> Response:
        return await run_in_threadpool(v1.get_record, service, _number(request))

    async def get_job(request: Request) -> Response:
        return await run_in_threadpool(v1.get_job, service, _number(request))

    doors = login.Login(service)

    async def log_in(request: Request) -> Response:
        given = doors.check(await body(request), request.headers.get("content-type", ""))
        return await to_thread.run_sync(doors.log_in, *given, limiter=logins)

    async def log_out(request: Request) -> Response:
        return await run_in_threadpool(login.log_out, service, caller(request.scope))

    async def session(request: Request) -> Response:
        return login.session(service, caller(request.scope))

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
        Route("/login", log_in, methods=["POST"]),
        Route("/logout", log_out, methods=["POST"]),
        Route("/v1/session", session),
        Route("/v1/streams/{name}/records", add_records, methods=["POST"]),
        Route("/v1/alerts", get_alerts),
        Route("/v1/alerts/{id}", alert, methods=["GET", "POST"]),
        Route("/v1/records/{id}", get_record),
        Route("/v1/jobs/{id}", get_job),
    ]


def _number(request: Request) -> int:
    text = request.path_params["id"]
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else -1
    if not 0 <= number <= _LARGEST_ID:
        raise Problem(404, f"{text!r} is no id; ids are whole numbers.")
    return number


def _told(problem: Problem, path: str) -> Response:
    """Under ``/v1`` by RFC 9457, elsewhere as CryptaNet reads it."""
    if path.startswith("/v1/"):
        return problem_answer(problem, path)
    content: Mapping[str, Any] = {"success": False, "error": problem.detail, **problem.more}
    return answer(content, problem.status, problem.headers)


async def _on_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return _told(error, request.url.path)


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    told = {
        404: f"There is nothing at {request.url.path}.",
        405: f"{request.method} is not possible at {request.url.path}.",
    }
    return _told(Problem(error.status_code, told.get(error.status_code, error.detail), error.headers), request.url.path)


async def _on_full(request: Request, error: Exception) -> Response:
    return _told(Problem(507, "The disk of the service is full: nothing of this was kept."), request.url.path)


async def _on_any(request: Request, error: Exception) -> Response:
    # The server logs the error itself. This answer does not go by the guard any more.
    return _told(Problem(500, "The service failed at this; its log says how.", HEADERS), request.url.path)
