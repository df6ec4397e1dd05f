"""Cases: listed, exported, looked at, closed with their alerts, snoozed, split and merged."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection
from starlette.responses import Response

from anomaly_detection.service.access.masking import MASK
from anomaly_detection.service.access.rights import Need
from anomaly_detection.service.alerts.case_book import (
    CASE_SHAPE,
    CASES,
    case_change,
    change_case,
    find_case,
    merge_cases,
    split_case,
)
from anomaly_detection.service.alerts.case_facets import FACETS, categories_of, facets
from anomaly_detection.service.http.exports import KINDS
from anomaly_detection.service.http.json_answer import answer
from anomaly_detection.service.http.operations import Call, Operation, Parameter
from anomaly_detection.service.http.shapes import COUNT, ID, array, record, text
from anomaly_detection.service.learning.effects import EFFECT, changing
from anomaly_detection.service.processes.service import Service

__all__ = ["OPERATIONS"]

_MOST = 1000
_IDS = {**array(ID, 1, _MOST), "uniqueItems": True}
_SOME = {**array(ID, 2, _MOST), "uniqueItems": True}


def list_cases(service: Service, call: Call) -> Response:
    """``GET /v1/cases``."""
    return CASES.answer(service.database, call)


def get_facets(service: Service, call: Call) -> Response:
    """``GET /v1/cases/facets``: values of personal columns, and so of records, are not for everybody."""
    stream = call.query["stream"]
    judge = None if stream is None or MASK.get() is not None else service.judge_of(stream)
    categories = [] if judge is None else categories_of(judge.detector.preprocessor.schema_)
    with service.database.reading() as connection:
        return answer(facets(connection, stream, categories))


def get_case(service: Service, call: Call) -> Response:
    """``GET /v1/cases/{id}``."""
    with service.database.reading() as connection:
        return answer(find_case(connection, call.id))


def change_one_case(service: Service, call: Call) -> Response:
    """``PATCH /v1/cases/{id}``."""

    def work(connection: Connection) -> dict[str, Any]:
        moved = change_case(connection, call.id, call.who, call.content)
        return {**find_case(connection, call.id), "alerts_changed": moved}

    made, effects = changing(service, call.content, work)
    return answer({**made, "effects": effects})


def change_cases(service: Service, call: Call) -> Response:
    """``PATCH /v1/cases``: all of them, or none."""
    said = dict(call.content)
    ids = said.pop("ids")

    def work(connection: Connection) -> int:
        return sum(change_case(connection, each, call.who, said) for each in ids)

    moved, effects = changing(service, said, work)
    return answer({"cases": len(ids), "alerts": moved, "effects": effects})


def split(service: Service, call: Call) -> Response:
    """``POST /v1/cases/{id}/split``."""

    def work(connection: Connection) -> dict[str, Any]:
        return find_case(connection, split_case(connection, call.id, call.who, call.content["alerts"]))

    made = service.writer.run(work)
    return answer(made, 201, {"Location": f"/v1/cases/{made['id']}"})


def merge(service: Service, call: Call) -> Response:
    """``POST /v1/cases/merge``."""

    def work(connection: Connection) -> dict[str, Any]:
        return find_case(connection, merge_cases(connection, call.content["ids"], call.who))

    return answer(service.writer.run(work))


OPERATIONS = (
    Operation(
        "GET",
        "/v1/cases",
        list_cases,
        "List cases, the worst first, or export all that are asked for.",
        CASES.shape,
        "A page of cases, or a file.",
        CASES.parameters,
        kinds=KINDS,
        needs=Need("read", "query"),
    ),
    Operation(
        "PATCH",
        "/v1/cases",
        change_cases,
        "Change many cases, and with their state their alerts, in one transaction.",
        record({"cases": COUNT, "alerts": COUNT, "effects": array(EFFECT)}),
        "How many cases, how many alerts with them, and what the verdicts among them have taught.",
        body=case_change({"ids": _IDS}),
        statuses=(404, 409, 422),
        needs=Need("change", "cases"),
    ),
    Operation(
        "GET",
        "/v1/cases/facets",
        get_facets,
        "What open cases can be narrowed by: how many new ones a day each severity means, columns, common values.",
        FACETS,
        "Counts; values of fields only of a stream that is given, whose model says which are categories.",
        (Parameter("stream", "Only of this stream.", text(64)),),
        turn="judging",
        needs=Need("read", "query"),
    ),
    Operation(
        "GET",
        "/v1/cases/{id}",
        get_case,
        "One case with its worst alerts and its history.",
        CASE_SHAPE,
        "It.",
        needs=Need("read", "case"),
    ),
    Operation(
        "PATCH",
        "/v1/cases/{id}",
        change_one_case,
        "Change a case's state, which its alerts take too, its verdict or assignee; snooze it, comment, or undo.",
        CASE_SHAPE,
        "The case as it is now, and how many alerts were changed with it.",
        body=case_change(),
        statuses=(409, 422),
        needs=Need("change", "case"),
    ),
    Operation(
        "POST",
        "/v1/cases/{id}/split",
        split,
        "Put some alerts of a case into a new one.",
        CASE_SHAPE,
        "The new case.",
        body=record({"alerts": _IDS}),
        good=201,
        statuses=(409,),
        needs=Need("change", "case"),
    ),
    Operation(
        "POST",
        "/v1/cases/merge",
        merge,
        "Put the alerts of some cases of one stream into the oldest of them.",
        CASE_SHAPE,
        "That case.",
        body=record({"ids": _SOME}),
        statuses=(404, 409),
        needs=Need("change", "cases"),
    ),
)
