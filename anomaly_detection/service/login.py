"""Logging in and out, and who one is."""

from __future__ import annotations

import logging
from typing import Any
from urllib.parse import parse_qs

import orjson
from starlette.responses import Response

from anomaly_detection.service.access import Caller
from anomaly_detection.service.audit import write_audit
from anomaly_detection.service.json_answer import answer
from anomaly_detection.service.passwords import is_right
from anomaly_detection.service.problems import Problem
from anomaly_detection.service.rates import Rates
from anomaly_detection.service.service import Service
from anomaly_detection.service.sessions import COOKIE, SECONDS, begin_session, end_session
from anomaly_detection.service.users import password_of

__all__ = ["Login", "log_out", "session"]

_LOG = logging.getLogger(__name__)
_FORM = "application/x-www-form-urlencoded"


class Login:
    """``POST /login``: a name and a password, by a form or as JSON, for a cookie.

    Guesses are slow: a name, and so whoever guesses its password from wherever, has few tries a minute.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        tries = max(1.0, service.limits.logins / service.configuration.workers)
        self._rates = Rates(tries / 60, tries)

    def check(self, body: bytes, content_type: str) -> tuple[str, str, bool]:
        """The name, the password, and whether a form sent them; counts the try. `Problem` for what is none."""
        is_form = content_type.partition(";")[0].strip().lower() == _FORM
        name, password = _form(body) if is_form else _json(body)
        self._rates.take(name)
        return name, password, is_form

    def log_in(self, name: str, password: str, is_form: bool) -> Response:
        """The answer: a cookie, and the token for changes; a form is sent on to the page."""
        service = self._service
        with service.database.reading() as connection:
            number, kept = password_of(connection, name)
        if not is_right(password, kept) or number is None:
            _LOG.warning("A login as %r was refused.", name[:64])
            raise Problem(401, "There is no user with this name and this password.")

        def work(connection: Any) -> str:
            write_audit(connection, name, "log in", "user", [(number, None, None)])
            return begin_session(connection, number)

        begun = service.writer.run(work)
        told = {"name": name, "token": service.signatures.token(begun), "seconds": SECONDS}
        made = Response(status_code=303, headers={"Location": "/"}) if is_form else answer(told)
        secure = service.configuration.behind_proxy
        made.set_cookie(
            COOKIE, service.signatures.cookie(begun), max_age=SECONDS, httponly=True, samesite="lax", secure=secure
        )
        return made


def _form(body: bytes) -> tuple[str, str]:
    try:
        fields = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=10)
        (name,), (password,) = fields["name"], fields["password"]
    except (ValueError, KeyError) as error:
        raise Problem(400, "A login has a name and a password.") from error
    return name, password


def _json(body: bytes) -> tuple[str, str]:
    try:
        content = orjson.loads(body)
        name, password = content["name"], content["password"]
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise Problem(400, 'A login is {"name": ..., "password": ...}.') from error
    if not (isinstance(name, str) and isinstance(password, str)):
        raise Problem(400, "The name and the password are texts.")
    return name, password


def log_out(service: Service, caller: Caller) -> Response:
    """``POST /logout``: the session ends; without one there is nothing to do."""
    if caller.session:
        service.writer.run(lambda connection: end_session(connection, caller.session))
    made = answer({"name": None})
    made.delete_cookie(COOKIE, httponly=True, samesite="lax", secure=service.configuration.behind_proxy)
    return made


def session(service: Service, caller: Caller) -> Response:
    """``GET /session``: who one is, what one may do, and the token that a change by cookie needs."""
    streams = None if caller.streams is None else sorted(caller.streams)
    token = service.signatures.token(caller.session) if caller.session else None
    told = {"name": caller.name, "role": caller.role or None, "rights": sorted(caller.rights), "streams": streams}
    return answer({**told, "token": token})
