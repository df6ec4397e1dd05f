"""Where the pages are, and what somebody needs who asks for them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import NamedTuple
from urllib.parse import parse_qs, quote, urlencode

from anyio import CapacityLimiter, to_thread
from starlette.requests import Request
from starlette.responses import Response

from anomaly_detection.service.access.allowed import caller
from anomaly_detection.service.access.masking import masked
from anomaly_detection.service.access.rights import OPEN, Need
from anomaly_detection.service.http.limits import read_body
from anomaly_detection.service.http.problems import Problem
from anomaly_detection.service.pages.acting import act
from anomaly_detection.service.pages.audit import audit_page
from anomaly_detection.service.pages.case import case_after, case_before, case_page, record_page, records_page
from anomaly_detection.service.pages.context import context_page
from anomaly_detection.service.pages.inbox import change_views, facets_part, inbox, news_part
from anomaly_detection.service.pages.notifications import change_notifications, notifications_page
from anomaly_detection.service.pages.overview import overview_page
from anomaly_detection.service.pages.preferences import viewer_of
from anomaly_detection.service.pages.rendering import STATIC, html, static_file
from anomaly_detection.service.pages.rules import change_rules, rule_page
from anomaly_detection.service.pages.sources import change_sources, sources_page
from anomaly_detection.service.pages.splitting import split_page, split_this
from anomaly_detection.service.pages.start import learn, start_page, stream_start_page, take_sample, watch_folder
from anomaly_detection.service.pages.streams import change_stream_page, stream_page, streams_page
from anomaly_detection.service.pages.users import change_users, users_page
from anomaly_detection.service.pages.visit import Visit
from anomaly_detection.service.processes.service import Service
from anomaly_detection.texts.said import say
from anomaly_detection.texts.viewer import LANGUAGES, VIEWER

__all__ = ["LOGIN", "page_routes"]

LOGIN = "/login"
_MOST_FIELDS = 5100
_YEAR = 365 * 86_400

Endpoint = Callable[[Request], Awaitable[Response]]
Show = Callable[[Visit], Response]


class _Page(NamedTuple):
    """A page, by its method, or what a form of one does."""

    path: str
    method: str
    show: Show
    need: Need
    judges: bool = False


_PAGES = (
    _Page("/", "GET", inbox, Need("read", "all")),
    _Page("/news", "GET", news_part, Need("read", "all")),
    _Page("/facets", "GET", facets_part, Need("read", "all"), judges=True),
    _Page("/views", "POST", change_views, Need("read", "all")),
    _Page("/rules", "POST", change_rules, Need("change", "all"), judges=True),
    _Page("/alerts/{id:int}/rule", "GET", rule_page, Need("change", "alert"), judges=True),
    _Page("/cases", "POST", act, Need("change", "all")),
    _Page("/cases/{id:int}/after", "GET", case_after, Need("read", "case")),
    _Page("/cases/{id:int}/before", "GET", case_before, Need("read", "case")),
    _Page("/cases/{id:int}/split", "GET", split_page, Need("change", "case")),
    _Page("/cases/{id:int}/split", "POST", split_this, Need("change", "case")),
    _Page("/users", "GET", users_page, Need("manage", "all")),
    _Page("/users", "POST", change_users, Need("manage", "all"), judges=True),
    _Page("/cases/{id:int}", "GET", case_page, Need("read", "case")),
    _Page("/alerts/{id:int}/context", "GET", context_page, Need("read", "alert"), judges=True),
    _Page("/overview", "GET", overview_page, Need("read", "all"), judges=True),
    _Page("/records", "GET", records_page, Need("read", "all")),
    _Page("/records/{id:int}", "GET", record_page, Need("read", "record"), judges=True),
    _Page("/sample", "POST", take_sample, Need("manage", "all"), judges=True),
    _Page("/start", "GET", start_page, Need("manage", "all")),
    _Page("/start", "POST", watch_folder, Need("manage", "all")),
    _Page("/start/{name}", "GET", stream_start_page, Need("manage", "path")),
    _Page("/start/{name}", "POST", learn, Need("manage", "path")),
    _Page("/streams", "GET", streams_page, Need("read", "all")),
    _Page("/streams/{name}", "GET", stream_page, Need("read", "path"), judges=True),
    _Page("/streams/{name}", "POST", change_stream_page, Need("manage", "path"), judges=True),
    _Page("/sources", "GET", sources_page, Need("manage", "all")),
    _Page("/sources", "POST", change_sources, Need("manage", "all")),
    _Page("/notifications", "GET", notifications_page, Need("manage", "all")),
    _Page("/notifications", "POST", change_notifications, Need("manage", "all")),
    _Page("/audit", "GET", audit_page, Need("manage", "all")),
)


def page_routes(service: Service, judging: CapacityLimiter) -> list[tuple[str, Mapping[str, Need], Endpoint]]:
    """All pages and what they load: the path, what each method needs, and what answers."""
    by_path: dict[str, dict[str, _Page]] = {}
    for each in _PAGES:
        by_path.setdefault(each.path, {})[each.method] = each
    everybody = {"GET": Need(OPEN, "none")}
    return [
        (LOGIN, everybody, _log_in),
        *((f"/static/{name}", everybody, partial(_static, name)) for name in STATIC),
        *(
            (path, {method: each.need for method, each in pages.items()}, _endpoint(service, pages, judging))
            for path, pages in by_path.items()
        ),
    ]


def _endpoint(service: Service, pages: Mapping[str, _Page], judging: CapacityLimiter) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        if "lang" in request.query_params and request.method == "GET":
            return _in_language(request)
        VIEWER.set(viewer_of(request.headers))
        page = pages["GET" if request.method == "HEAD" else request.method]
        visit = await _visit(service, request)
        return await to_thread.run_sync(page.show, visit, limiter=judging if page.judges else None)

    endpoint.__name__ = next(iter(pages.values())).show.__name__
    return endpoint


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
        caller(request.scope),
        request.path_params,
        request.query_params.multi_items(),
        form,
        request.headers,
    )


def _in_language(request: Request) -> Response:
    """The same page in the language that its address asks for, which the browser keeps."""
    kept = [pair for pair in request.query_params.multi_items() if pair[0] != "lang"]
    language = request.query_params["lang"]
    if language not in LANGUAGES:
        raise Problem(
            400,
            say(
                "The pages speak %(languages)s; not %(language)s.",
                languages=", ".join(LANGUAGES),
                language=f"{language[:40]!r}",
            ),
        )
    where = "/" + quote(request.url.path.lstrip("/"))
    answer = Response(status_code=303, headers={"Location": where + (f"?{urlencode(kept)}" if kept else "")})
    answer.set_cookie("lang", language, max_age=_YEAR, samesite="lax")
    return answer


async def _log_in(request: Request) -> Response:
    if "lang" in request.query_params:
        return _in_language(request)
    VIEWER.set(viewer_of(request.headers))
    # The mask holds back what it has not seen; of records this says nothing.
    return html("login", told=masked(""))


async def _static(name: str, request: Request) -> Response:
    # The address changes with the file.
    headers = {"Cache-Control": f"public, max-age={_YEAR}, immutable"}
    return Response(static_file(name), 200, headers, STATIC[name])
