"""The OpenAPI document of our own routes, made of what they check by."""

from __future__ import annotations

from typing import Any

from anomaly_detection.service.access.sessions import COOKIE
from anomaly_detection.service.http.operations import Operation
from anomaly_detection.service.http.shapes import COUNT, TEXT, record
from anomaly_detection.service.routes import (
    alerts,
    audit,
    cases,
    channels,
    jobs,
    learning,
    models,
    overview,
    records,
    rules,
    session,
    settings,
    sources,
    streams,
    users,
    views,
)
from mlx_iforest import __version__

__all__ = ["DOCUMENT", "OPERATIONS"]

_MODULES = (session, records, streams, models, jobs, alerts, cases, rules, overview, audit, settings, views, users)

OPERATIONS: tuple[Operation, ...] = tuple(
    each
    for module in (
        session,
        records,
        streams,
        models,
        jobs,
        alerts,
        cases,
        rules,
        learning,
        overview,
        audit,
        settings,
        sources,
        channels,
        views,
        users,
    )
    for each in module.OPERATIONS
)
"""All that can be asked for by our own API; CryptaNet's routes are its own."""

_PROBLEM = record(
    {"type": TEXT, "title": TEXT, "status": COUNT, "detail": TEXT, "instance": TEXT},
    closed=False,
)


def _paths() -> dict[str, Any]:
    paths: dict[str, Any] = {}
    for each in OPERATIONS:
        paths.setdefault(each.path, {})[each.method.lower()] = each.described
    return paths


DOCUMENT: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {"title": "anomaly-detection", "version": __version__, "license": {"name": "Apache-2.0"}},
    "components": {
        "securitySchemes": {
            "key": {"type": "http", "scheme": "bearer"},
            "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            "session": {
                "type": "apiKey",
                "in": "cookie",
                "name": COOKIE,
                "description": "Of POST /login; what changes something needs its token too, as X-CSRF-Token.",
            },
        },
        "responses": {
            "Problem": {
                "description": "What is wrong, in a sentence (RFC 9457).",
                "content": {"application/problem+json": {"schema": _PROBLEM}},
            }
        },
    },
    # Nothing, where only this machine can reach it.
    "security": [{}, {"key": []}, {"header": []}, {"session": []}],
    "paths": _paths(),
}
