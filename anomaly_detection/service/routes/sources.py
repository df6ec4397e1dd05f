"""Sources, of whatever kind, listed, made, changed and removed; what was taken of files, and messages not read."""

from __future__ import annotations

from typing import Any

import orjson
from sqlalchemy import Connection, RowMapping
from starlette.responses import Response

from anomaly_detection.service.access.rights import Need
from anomaly_detection.service.alerts.changes import SOURCE, change
from anomaly_detection.service.http.exports import FORMAT, KINDS
from anomaly_detection.service.http.operations import Call, Operation
from anomaly_detection.service.http.problems import Problem
from anomaly_detection.service.http.shapes import FLAG, array, record
from anomaly_detection.service.jobs.managed import Managed
from anomaly_detection.service.processes.service import Service
from anomaly_detection.service.sources.source_book import (
    FILES,
    MADE,
    SETTINGS,
    SOURCE_SHAPE,
    all_sources,
    checked_target,
    find_source,
    make_source,
    remove_source,
    rendered,
    settings_of,
)
from anomaly_detection.service.topics.letters import LETTERS
from anomaly_detection.texts.said import say

__all__ = ["OPERATIONS"]


_SOURCES = Managed("source", all_sources, find_source, rendered, SOURCE_SHAPE)


def list_sources(service: Service, call: Call) -> Response:
    """``GET /v1/sources``."""
    return _SOURCES.all(service, call)


def make_a_source(service: Service, call: Call) -> Response:
    """``POST /v1/sources``; its stream is made if need be."""
    kind, target, settings = checked_target(service.configuration.data_dir, call.content)
    stream_id = service.stream_id(call.content["stream"])
    return _SOURCES.made(
        service, lambda connection: make_source(connection, stream_id, call.who, kind, target, settings)
    )


def get_source(service: Service, call: Call) -> Response:
    """``GET /v1/sources/{id}``."""
    return _SOURCES.one(service, call)


def change_source(service: Service, call: Call) -> Response:
    """``PATCH /v1/sources/{id}``."""

    def change_it(connection: Connection, row: RowMapping) -> None:
        said = dict(call.content)
        after: dict[str, Any] = {"is_paused": said.pop("paused")} if "paused" in said else {}
        other = next((name for name in said if name not in settings_of(row)), None)
        if other is not None:
            raise Problem(
                422,
                say(
                    "A source of kind %(kind)s has no %(other)s; after and known are of folders.",
                    kind=row["kind"],
                    other=other,
                ),
            )
        if said:
            after["settings"] = {**orjson.loads(row["settings"]), **said}
        change(connection, SOURCE, call.id, after, call.who)

    return _SOURCES.changed(service, call, change_it)


def remove_a_source(service: Service, call: Call) -> Response:
    """``DELETE /v1/sources/{id}``."""

    def remove_it(connection: Connection, row: RowMapping) -> None:
        if row["by_option"]:
            raise Problem(
                409, say("This folder was given by --watch; pause it, or start the service without the option.")
            )
        remove_source(connection, call.id, call.who)

    return _SOURCES.removed(service, call, remove_it)


def list_files(service: Service, call: Call) -> Response:
    """``GET /v1/files``."""
    return FILES.answer(service.database, call)


def list_letters(service: Service, call: Call) -> Response:
    """``GET /v1/letters``."""
    return LETTERS.answer(service.database, call)


_MANAGE = Need("manage", "all")

OPERATIONS = (
    Operation(
        "GET",
        "/v1/sources",
        list_sources,
        "All sources: folders that are watched, queries of databases, and topics of Kafka and MQTT.",
        record({"sources": array(SOURCE_SHAPE)}),
        "The sources, without the secrets of their URLs.",
        (FORMAT,),
        kinds=KINDS,
        needs=_MANAGE,
    ),
    Operation(
        "POST",
        "/v1/sources",
        make_a_source,
        "Watch a folder, ask a database again and again, or read a topic, for the records of a stream.",
        SOURCE_SHAPE,
        "The source.",
        body=MADE,
        good=201,
        statuses=(409, 422),
        needs=_MANAGE,
    ),
    Operation(
        "GET",
        "/v1/sources/{id}",
        get_source,
        "One source with its history.",
        SOURCE_SHAPE,
        "The source.",
        needs=_MANAGE,
    ),
    Operation(
        "PATCH",
        "/v1/sources/{id}",
        change_source,
        "Pause a source, or change how often it is looked at and what becomes of files.",
        SOURCE_SHAPE,
        "The source as it is now.",
        body=record({}, {**SETTINGS, "paused": FLAG}),
        statuses=(409, 422),
        needs=_MANAGE,
    ),
    Operation(
        "DELETE",
        "/v1/sources/{id}",
        remove_a_source,
        "Remove a source. What it took stays, and is not taken again by another one of the stream.",
        SOURCE_SHAPE,
        "What it was.",
        statuses=(409,),
        needs=_MANAGE,
    ),
    Operation(
        "GET",
        "/v1/files",
        list_files,
        "The files that were taken out of folders, or rejected.",
        FILES.shape,
        "A page of files, or a file.",
        FILES.parameters,
        kinds=KINDS,
        needs=_MANAGE,
    ),
    Operation(
        "GET",
        "/v1/letters",
        list_letters,
        "The messages of topics that could not be read, with the reasons.",
        LETTERS.shape,
        "A page of messages, or a file.",
        LETTERS.parameters,
        kinds=KINDS,
        needs=_MANAGE,
    ),
)
