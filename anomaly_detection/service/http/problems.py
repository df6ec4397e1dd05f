"""`Problem`: what is wrong with a request, as RFC 9457 has it."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import orjson
from starlette.responses import Response

from anomaly_detection.service.access.masking import masked

__all__ = ["Problem", "problem_answer"]


class Problem(Exception):  # noqa: N818  (the word of RFC 9457)
    """A request that cannot be answered as asked for.

    Attributes
    ----------
    status : int
        Of HTTP.
    detail : str
        A sentence: what was wrong, what was expected.
    headers : mapping of str to str
        For the answer.
    more : mapping of str to object
        Further members of the answer.
    """

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None, **more: Any) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers, self.more = status, detail, dict(headers or {}), more


def problem_answer(problem: Problem, path: str) -> Response:
    """A problem in the form of RFC 9457."""
    content = {
        "type": "about:blank",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
        "instance": path,
        **problem.more,
    }
    return Response(orjson.dumps(masked(content)), problem.status, problem.headers, "application/problem+json")
