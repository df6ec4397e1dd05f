"""Bodies and answers as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from starlette.responses import Response

from anomaly_detection.service.access.masking import masked
from anomaly_detection.service.http.problems import Problem

__all__ = ["answer", "dumps", "parsed"]


def dumps(value: Any) -> bytes:
    """JSON of plain values."""
    return orjson.dumps(value)


def answer(
    value: Any, status: int = 200, headers: Mapping[str, str] | None = None, beside: Mapping[str, Any] | None = None
) -> Response:
    """An answer of plain values, of which the caller sees what it may; they may tell of a record `beside` them."""
    return Response(dumps(masked(value, beside)), status, headers, "application/json")


def parsed(body: bytes) -> Any:
    """A body's JSON; `Problem` (400) for none."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Problem(400, f"The body is no JSON: {error}.") from error
