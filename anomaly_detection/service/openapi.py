"""The OpenAPI document of our own routes."""

from __future__ import annotations

from typing import Any

from anomaly_detection.service.alert_book import STATES, VERDICTS
from mlx_iforest import __version__

__all__ = ["DOCUMENT"]

_OBJECT: dict[str, Any] = {"type": "object"}
_TEXT: dict[str, Any] = {"type": "string"}
_COMMENT: dict[str, Any] = {"type": "string", "minLength": 1, "maxLength": 10_000}
_COUNT: dict[str, Any] = {"type": "integer", "minimum": 0}


def _parameter(name: str, where: str, schema: dict[str, Any], what: str) -> dict[str, Any]:
    made = {"name": name, "in": where, "schema": schema, "description": what}
    return {**made, "required": True} if where == "path" else made


def _answers(what: str, schema: dict[str, Any], *problems: int) -> dict[str, Any]:
    good = {"description": what, "content": {"application/json": {"schema": schema}}}
    bad = {"description": "What is wrong (RFC 9457).", "content": {"application/problem+json": {"schema": _PROBLEM}}}
    return {"200": good, **{str(status): bad for status in (401, *problems)}}


def _change(needed: dict[str, Any], may: dict[str, Any] | None = None) -> dict[str, Any]:
    properties = {**needed, **(may or {}), "comment": _COMMENT}
    return {"type": "object", "required": list(needed), "properties": properties, "additionalProperties": False}


_PROBLEM: dict[str, Any] = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {"type": _TEXT, "title": _TEXT, "status": _COUNT, "detail": _TEXT, "instance": _TEXT},
}
_TAKEN: dict[str, Any] = {
    "type": "object",
    "required": ["received", "judged", "waiting", "refused", "alerting"],
    "properties": {
        **dict.fromkeys(("received", "judged", "waiting", "refused", "alerting"), _COUNT),
        "alerts": {"type": "array", "items": _OBJECT},
        "refusals": {
            "type": "array",
            "items": {"type": "object", "properties": {"row": _COUNT, "record_id": _COUNT, "reason": _TEXT}},
        },
        "model_version": {"type": ["integer", "null"]},
        "learning": {"type": ["string", "null"]},
    },
}
_ALERT: dict[str, Any] = {
    "type": "object",
    "required": ["id", "stream", "state", "count", "severity", "risk_level", "reason", "record"],
    "properties": {
        "id": _COUNT,
        "stream": _TEXT,
        "state": {"enum": list(STATES)},
        "verdict": {"enum": [*VERDICTS, None]},
        "count": {"type": "integer", "minimum": 1},
        "severity": {"type": "number", "minimum": 0, "maximum": 100},
        "risk_level": {"enum": ["low", "medium", "high", "critical"]},
        "reason": _TEXT,
        "record": _OBJECT,
    },
}
_RECORDS: dict[str, Any] = {"type": "array", "minItems": 1, "items": _OBJECT}
_ID = _parameter("id", "path", {"type": "integer", "minimum": 0}, "Its id.")

DOCUMENT: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {"title": "anomaly-detection", "version": __version__, "license": {"name": "Apache-2.0"}},
    "components": {"securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
    "security": [{}, {"key": []}],
    "paths": {
        "/v1/streams/{name}/records": {
            "post": {
                "summary": "Judge records and keep them.",
                "parameters": [
                    _parameter("name", "path", {"type": "string", "pattern": "^[A-Za-z0-9_.-]{1,64}$"}, "The stream."),
                    _parameter(
                        "Idempotency-Key",
                        "header",
                        {"type": "string", "minLength": 1, "maxLength": 255},
                        "A request that comes again under its key gets its first answer and has no further effect.",
                    ),
                ],
                "requestBody": {
                    "required": True,
                    "content": {
                        "application/json": {"schema": _RECORDS},
                        "application/x-ndjson": {"schema": _TEXT},
                        "text/csv": {"schema": _TEXT},
                    },
                },
                "responses": _answers("What became of them.", _TAKEN, 400, 408, 409, 413, 415, 422, 507),
            }
        },
        "/v1/alerts": {
            "get": {
                "summary": "List alerts.",
                "parameters": [
                    _parameter("stream", "query", _TEXT, "Only those of this stream."),
                    _parameter("state", "query", {"enum": list(STATES)}, "Only those in this state."),
                    _parameter("min_severity", "query", {"type": "number", "minimum": 0, "maximum": 100}, "The least."),
                    _parameter("sort", "query", {"enum": ["newest", "severity"]}, "The highest first."),
                    _parameter("limit", "query", {"type": "integer", "minimum": 1, "maximum": 500}, "Of a page."),
                    _parameter("after", "query", _TEXT, "next of the page before."),
                ],
                "responses": _answers(
                    "A page of alerts.",
                    {
                        "type": "object",
                        "required": ["alerts", "next"],
                        "properties": {
                            "alerts": {"type": "array", "items": _ALERT},
                            "next": {"type": ["string", "null"]},
                        },
                    },
                    400,
                ),
            }
        },
        "/v1/alerts/{id}": {
            "get": {
                "summary": "One alert with its reasons and its history.",
                "parameters": [_ID],
                "responses": _answers("The alert.", _ALERT, 404),
            },
            "post": {
                "summary": "Change an alert's state, comment on it, or undo the last change.",
                "parameters": [_ID],
                "requestBody": {
                    "required": True,
                    "content": {
                        "application/json": {
                            "schema": {
                                "oneOf": [
                                    _change({"state": {"enum": list(STATES[:-1])}}),
                                    _change({"state": {"const": STATES[-1]}}, {"verdict": {"enum": list(VERDICTS)}}),
                                    _change({"undo": {"const": True}}),
                                    _change({"comment": _COMMENT}),
                                ]
                            }
                        }
                    },
                },
                "responses": _answers("The alert as it is now.", _ALERT, 400, 404, 408, 409, 413, 507),
            },
        },
        "/v1/records/{id}": {
            "get": {
                "summary": "One record with its verdict.",
                "parameters": [_ID],
                "responses": _answers("The record.", _OBJECT, 404),
            }
        },
        "/v1/jobs/{id}": {
            "get": {
                "summary": "How a job is.",
                "parameters": [_ID],
                "responses": _answers("The job.", _OBJECT, 404),
            }
        },
    },
}
"""Of ``/v1``; CryptaNet's routes are its own."""
