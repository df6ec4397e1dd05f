"""Saved views of the inbox: everybody's own."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, delete, func, insert, select
from starlette.responses import Response

from anomaly_detection.service.access.rights import Need
from anomaly_detection.service.alerts.alert_book import kept_text
from anomaly_detection.service.http.json_answer import answer
from anomaly_detection.service.http.operations import Call, Operation
from anomaly_detection.service.http.problems import Problem
from anomaly_detection.service.http.shapes import COUNT, TEXT, array, record, text
from anomaly_detection.service.processes.service import Service
from anomaly_detection.service.storage.clock import now
from anomaly_detection.service.storage.tables import views
from anomaly_detection.texts.said import say

__all__ = ["OPERATIONS"]

_MOST = 100
_NAME, _QUERY = 100, 2000
_VIEW = record({"id": COUNT, "name": TEXT, "query": TEXT, "created": TEXT})


def list_views(service: Service, call: Call) -> Response:
    """``GET /v1/views``."""
    query = select(views).where(views.c.owner == call.who).order_by(views.c.name)
    with service.database.reading() as connection:
        rows = connection.execute(query).mappings()
        return answer({"views": [{name: row[name] for name in _VIEW["properties"]} for row in rows]})


def save_view(service: Service, call: Call) -> Response:
    """``POST /v1/views``: in place of the caller's one of this name, if there is one."""
    named = {"owner": call.who, "name": kept_text(call.content["name"], _NAME)}
    values = {**named, "query": kept_text(call.content["query"], _QUERY), "created": now()}
    mine = views.c.owner == call.who

    def work(connection: Connection) -> int:
        connection.execute(delete(views).where(mine, views.c.name == named["name"]))
        if connection.execute(select(func.count()).select_from(views).where(mine)).scalar_one() >= _MOST:
            raise Problem(409, say("You have %(most)s views already; remove one first.", most=_MOST))
        return int(connection.execute(insert(views).values(values).returning(views.c.id)).scalar_one())

    made: dict[str, Any] = {"id": service.writer.run(work), **values}
    return answer({name: made[name] for name in _VIEW["properties"]}, 201)


def remove_view(service: Service, call: Call) -> Response:
    """``DELETE /v1/views/{id}``."""
    which = delete(views).where(views.c.id == call.id, views.c.owner == call.who).returning(views.c.name)

    def work(connection: Connection) -> str:
        name = connection.execute(which).scalar()
        if name is None:
            raise Problem(404, say("You have no view %(id)s.", id=call.id))
        return str(name)

    return answer({"name": service.writer.run(work)})


OPERATIONS = (
    Operation(
        "GET",
        "/v1/views",
        list_views,
        "The filters of the inbox that the caller saved.",
        record({"views": array(_VIEW)}),
        "The caller's views, by their names.",
        needs=Need("read", "all"),
    ),
    Operation(
        "POST",
        "/v1/views",
        save_view,
        "Save filters of the inbox under a name, for the caller alone.",
        _VIEW,
        "The view.",
        body=record({"name": text(_NAME), "query": text(_QUERY, 0)}),
        good=201,
        statuses=(409,),
        needs=Need("read", "all"),
    ),
    Operation(
        "DELETE",
        "/v1/views/{id}",
        remove_view,
        "Remove a view of the caller's.",
        record({"name": TEXT}),
        "It is gone.",
        needs=Need("read", "all"),
    ),
)
