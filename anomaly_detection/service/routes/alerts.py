"""Alerts: listed, exported, looked at, and changed singly or many at once."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection
from starlette.responses import Response

from anomaly_detection.service.access.rights import Need
from anomaly_detection.service.alerts.alert_book import (
    ALERT_SHAPE,
    ALERTS,
    CHANGE,
    change_alerts,
    change_of,
    find_alert,
)
from anomaly_detection.service.alerts.context import CONTEXT, WINDOW, context_of
from anomaly_detection.service.http.exports import KINDS
from anomaly_detection.service.http.json_answer import answer
from anomaly_detection.service.http.operations import Call, Operation
from anomaly_detection.service.http.problems import Problem
from anomaly_detection.service.http.shapes import COUNT, ID, array, record
from anomaly_detection.service.learning.effects import EFFECT, changing
from anomaly_detection.service.processes.service import Service
from anomaly_detection.texts.said import say

__all__ = ["OPERATIONS"]

_MOST = 1000
_MANY = {"ids": {**array(ID, 1, _MOST), "uniqueItems": True}}


def list_alerts(service: Service, call: Call) -> Response:
    """``GET /v1/alerts``."""
    return ALERTS.answer(service.database, call)


def get_alert(service: Service, call: Call) -> Response:
    """``GET /v1/alerts/{id}``."""
    with service.database.reading() as connection:
        return answer(_found(connection, call.id))


def get_context(service: Service, call: Call) -> Response:
    """``GET /v1/alerts/{id}/context``."""
    with service.database.reading() as connection:
        alert = _found(connection, call.id)
    name = alert["stream"]
    made = context_of(service.database, service.stream_id(name), service.judge(name), alert)
    return answer(made, beside=alert["record"])


def change_one_alert(service: Service, call: Call) -> Response:
    """``PATCH /v1/alerts/{id}``."""

    def work(connection: Connection) -> dict[str, Any]:
        change_alerts(connection, [call.id], call.who, call.content)
        return _found(connection, call.id)

    made, effects = changing(service, call.content, work)
    return answer({**made, "effects": effects})


def change_many_alerts(service: Service, call: Call) -> Response:
    """``PATCH /v1/alerts``: all of them, or none."""
    content = dict(call.content)
    ids = content.pop("ids")

    def work(connection: Connection) -> None:
        change_alerts(connection, ids, call.who, content)

    _, effects = changing(service, content, work)
    return answer({"alerts": len(ids), "effects": effects})


def _found(connection: Connection, number: int) -> dict[str, Any]:
    found = find_alert(connection, number)
    if found is None:
        raise Problem(404, say("There is no alert %(number)s.", number=number))
    return found


OPERATIONS = (
    Operation(
        "GET",
        "/v1/alerts",
        list_alerts,
        "List alerts, or export all that are asked for.",
        ALERTS.shape,
        "A page of alerts, or a file.",
        ALERTS.parameters,
        kinds=KINDS,
        needs=Need("read", "query"),
    ),
    Operation(
        "PATCH",
        "/v1/alerts",
        change_many_alerts,
        "Change many alerts in one transaction: their state, verdict or assignee; comment on them, or undo.",
        record({"alerts": COUNT, "effects": array(EFFECT)}),
        "How many were changed, and what the verdicts among them have taught.",
        body=change_of(_MANY),
        statuses=(404, 409),
        needs=Need("change", "alerts"),
    ),
    Operation(
        "GET",
        "/v1/alerts/{id}",
        get_alert,
        "One alert with its reasons and its history.",
        ALERT_SHAPE,
        "The alert.",
        needs=Need("read", "alert"),
    ),
    Operation(
        "GET",
        "/v1/alerts/{id}/context",
        get_context,
        "What stands beside an alert: its odd values among those of their group and over time, usual records like it,"
        f" and other alerts of the same supplier; of the newest {WINDOW:,} records and alerts of its stream.",
        CONTEXT,
        "The context.",
        turn="judging",
        needs=Need("read", "alert"),
    ),
    Operation(
        "PATCH",
        "/v1/alerts/{id}",
        change_one_alert,
        "Change an alert's state, verdict or assignee, comment on it, or undo the last change.",
        ALERT_SHAPE,
        "The alert as it is now.",
        body=CHANGE,
        statuses=(409,),
        needs=Need("change", "alert"),
    ),
)
