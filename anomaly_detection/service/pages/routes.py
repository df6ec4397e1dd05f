"""Where the pages are, and what each needs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from urllib.parse import parse_qs

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from anomaly_detection.service.limits import read_body
from anomaly_detection.service.pages.acting import act
from anomaly_detection.service.pages.case import before_page, case_page, record_page, records_page
from anomaly_detection.service.pages.inbox import inbox
from anomaly_detection.service.pages.overview import overview_page
from anomaly_detection.service.pages.rendering import STATIC, static_file
from anomaly_detection.service.pages.start import learn, start_page, stream_start_page, take_sample
from anomaly_detection.service.pages.visit import Visit
from anomaly_detection.service.problems import Problem
from anomaly_detection.service.service import Service

__all__ = ["page_routes"]

_MOST_FIELDS = 4000
_YEAR = 365 * 86_400

InTurn = Callable[..., Awaitable[Response]]


def page_routes(service: Service, in_turn: InTurn) -> list[Route]:
    """Those of all pages and of what they load; `in_turn` has a function wait among those that judge."""

    def page(path: str, show: Callable[[Visit], Response], method: str = "GET", judges: bool = False) -> Route:
        async def endpoint(request: Request) -> Response:
            visit = await _visit(service, request)
            if judges:
                return await in_turn(lambda _: show(visit))
            return await run_in_threadpool(show, visit)

        endpoint.__name__ = show.__name__
        return Route(path, endpoint, methods=[method])

    return [
        page("/", inbox),
        page("/cases", act, "POST"),
        page("/cases/{id:int}", case_page),
        page("/alerts/{id:int}/before", before_page),
        page("/records", records_page),
        page("/records/{id:int}", record_page, judges=True),
        page("/overview", overview_page),
        page("/start", start_page),
        page("/sample", take_sample, "POST", judges=True),
        page("/start/{name}", stream_start_page),
        page("/start/{name}", learn, "POST"),
        *(Route(f"/static/{name}", partial(_static, name)) for name in STATIC),
    ]


async def _visit(service: Service, request: Request) -> Visit:
    form = {}
    if request.method == "POST":
        try:
            body = (await read_body(request, service.limits)).decode()
            form = parse_qs(body, keep_blank_values=True, max_num_fields=_MOST_FIELDS)
        except ValueError as error:
            raise Problem(400, "This is no form.") from error
    return Visit(
        service,
        request.scope["state"]["who"],
        request.path_params,
        request.query_params.multi_items(),
        form,
        request.headers,
    )


async def _static(name: str, request: Request) -> Response:
    # The address changes with the file.
    headers = {"Cache-Control": f"public, max-age={_YEAR}, immutable"}
    return Response(static_file(name), 200, headers, STATIC[name])
