"""Sessions: who one is, logging in and out."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from sqlalchemy import Connection
from starlette.responses import Response

from anomaly_detection.service.access.passwords import is_right
from anomaly_detection.service.access.rights import OPEN, Need
from anomaly_detection.service.access.sessions import (
    COOKIE,
    DEVICE,
    DEVICE_SECONDS,
    SECONDS,
    begin_session,
    cookie_of,
    end_session,
)
from anomaly_detection.service.access.users import password_of
from anomaly_detection.service.alerts.audit import write_audit
from anomaly_detection.service.http.json_answer import answer
from anomaly_detection.service.http.operations import Call, Operation
from anomaly_detection.service.http.problems import Problem
from anomaly_detection.service.http.shapes import COUNT, TEXT, array, check, maybe, record, text
from anomaly_detection.service.processes.service import Service
from anomaly_detection.texts.said import say

__all__ = ["OPERATIONS"]

_LOG = logging.getLogger(__name__)
_FORM = "application/x-www-form-urlencoded"
_WITHOUT_NUL = {"pattern": r"^[^\x00]*$", "description": "a text without a NUL"}
_LOGIN = record({"name": {**text(64), **_WITHOUT_NUL}, "password": text(1000)})


def log_in(service: Service, call: Call) -> Response:
    """``POST /login``: a cookie, and the token for changes; a form is sent on to the page.

    Guesses are slow, see `Logins`.
    """
    given = _form(call.body) if call.content is None else call.content
    name = given["name"]
    cookie = cookie_of(call.headers, DEVICE)
    device = None if cookie is None else service.signatures.device(cookie, name)
    service.logins.take(name, call.address, device)
    with service.database.reading() as connection:
        number, kept = password_of(connection, name)
    if not is_right(given["password"], kept) or number is None:
        _LOG.warning("A login as %r was refused.", name)
        raise Problem(401, say("There is no user with this name and this password."))

    def work(connection: Connection) -> str:
        write_audit(connection, name, "log in", "user", [(number, None, None)])
        return begin_session(connection, number)

    begun = service.writer.run(work)
    if call.content is None:
        made = Response(status_code=303, headers={"Location": "/"})
    else:
        made = answer({"name": name, "token": service.signatures.token(begun), "seconds": SECONDS})
    _set_cookie(service, made, COOKIE, service.signatures.cookie(begun), SECONDS)
    if device is None:
        _set_cookie(service, made, DEVICE, service.signatures.device_cookie(name), DEVICE_SECONDS)
    return made


def _set_cookie(service: Service, made: Response, name: str, value: str, seconds: int) -> None:
    secure = service.configuration.behind_proxy
    made.set_cookie(name, value, max_age=seconds, httponly=True, samesite="lax", secure=secure)


def _form(body: bytes) -> Mapping[str, Any]:
    try:
        fields = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=10)
    except ValueError as error:
        raise Problem(400, "The body is no form.") from error
    if len(dict(fields)) < len(fields):
        raise Problem(400, "The form names something twice.")
    return dict(check(dict(fields), _LOGIN, "The form"))


def log_out(service: Service, call: Call) -> Response:
    """``POST /logout``: the session ends; without one there is nothing to do."""
    session = call.caller.session
    if session:
        service.writer.run(lambda connection: end_session(connection, session))
    made = answer({"name": None})
    made.delete_cookie(COOKIE, httponly=True, samesite="lax", secure=service.configuration.behind_proxy)
    return made


def get_session(service: Service, call: Call) -> Response:
    """``GET /v1/session``: who one is, what one may do, and the token that a change by cookie needs."""
    caller = call.caller
    streams = None if caller.streams is None else sorted(caller.streams)
    token = service.signatures.token(caller.session) if caller.session else None
    told = {"name": caller.name, "role": caller.role or None, "rights": sorted(caller.rights), "streams": streams}
    return answer({**told, "token": token})


OPERATIONS = (
    Operation(
        "POST",
        "/login",
        log_in,
        "Log in by a name and a password, for a cookie.",
        record({"name": TEXT, "token": TEXT, "seconds": COUNT}),
        "The token that changes by this cookie need, and for how long both are good.",
        body=_LOGIN,
        media={_FORM: _LOGIN},
        also={303: "A form is sent on to the page."},
        turn="logins",
        needs=Need(OPEN, "none"),
    ),
    Operation(
        "POST",
        "/logout",
        log_out,
        "End the session of the cookie.",
        record({"name": maybe(TEXT)}),
        "Nobody is logged in.",
        needs=Need(OPEN, "none"),
    ),
    Operation(
        "GET",
        "/v1/session",
        get_session,
        "Who one is, what one may do, and the token that changes by cookie need.",
        record(
            {
                "name": TEXT,
                "role": maybe(TEXT),
                "rights": array(TEXT),
                "streams": maybe(array(TEXT)),
                "token": maybe(TEXT),
            }
        ),
        "The caller.",
        needs=Need(OPEN, "none"),
    ),
)
