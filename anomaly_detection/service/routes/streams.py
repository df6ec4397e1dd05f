"""Streams: listed, made, set, looked at and deleted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, update
from starlette.responses import Response

from anomaly_detection.service.access.rights import Need
from anomaly_detection.service.alerts.audit import history, write_line
from anomaly_detection.service.alerts.changes import STREAM, change
from anomaly_detection.service.http.exports import EXPORTS, FORMAT, KINDS, whole
from anomaly_detection.service.http.json_answer import answer
from anomaly_detection.service.http.operations import NAME, Call, Operation, Parameter
from anomaly_detection.service.http.problems import Problem
from anomaly_detection.service.http.shapes import COUNT, FLAG, OBJECT, QUEUED, TEXT, array, check, choice, maybe, record
from anomaly_detection.service.jobs import jobs
from anomaly_detection.service.learning.drifting import ACTIONS, decide, find_drift
from anomaly_detection.service.processes.service import Service
from anomaly_detection.service.records.thresholds import consequence
from anomaly_detection.service.storage.clock import now
from anomaly_detection.service.storage.tables import streams
from anomaly_detection.service.streams.stream_columns import columns_toml, read_columns
from anomaly_detection.service.streams.stream_settings import COLUMNS, RATIO, SETTINGS, StreamSettings, columns_of_toml
from anomaly_detection.service.streams.streams import (
    DEFAULT,
    Stream,
    all_streams,
    find_stream,
    need_stream,
    open_stream,
)
from anomaly_detection.texts.said import say

__all__ = ["OPERATIONS"]

_LEARN_FROM = {"type": "integer", "minimum": 2, "maximum": 50_000}
_TOML = "application/toml"

_STREAM = record(
    {
        "name": TEXT,
        "created": TEXT,
        **dict.fromkeys(("judged", "waiting", "refused", "alerting"), COUNT),
        "model": maybe(record({"version": COUNT, "created": TEXT})),
        "learning": maybe(TEXT),
        "learn_from": COUNT,
        "settings": OBJECT,
    },
    {"history": array(OBJECT)},
    closed=False,
)


def list_streams(service: Service, call: Call) -> Response:
    """``GET /v1/streams``: all, for there are few."""
    with service.database.reading() as connection:
        rows = [_described(service, connection, each) for each in all_streams(connection)]
    return whole(call, "streams", rows, _STREAM)


def get_stream(service: Service, call: Call) -> Response:
    """``GET /v1/streams/{name}``."""
    with service.database.reading() as connection:
        return answer(_with_history(service, connection, call.name))


def make_stream(service: Service, call: Call) -> Response:
    """``POST /v1/streams``."""
    content = dict(call.content)
    name, learn_from = content.pop("name"), content.pop("learn_from", service.configuration.learn_from)
    settings = StreamSettings().with_changes(content)

    def work(connection: Connection) -> None:
        if find_stream(connection, name) is not None:
            raise Problem(
                409,
                say(
                    "There is a stream %(name)s already; PATCH /v1/streams/%(name2)s changes it.",
                    name=f"{name!r}",
                    name2=name,
                ),
            )
        made = open_stream(connection, name, learn_from, service.limits.streams)
        STREAM.put(connection, made.id, {"settings": settings.plain})
        write_line(connection, call.who, "make", "stream", (made.id, None, {"name": name, "settings": settings.plain}))

    service.writer.run(work)
    service.reload()
    with service.database.reading() as connection:
        made = _with_history(service, connection, name)
    return answer(made, 201, {"Location": f"/v1/streams/{name}"})


def change_stream(service: Service, call: Call) -> Response:
    """``PATCH /v1/streams/{name}``."""
    return _change(service, call, call.content)


def set_columns(service: Service, call: Call) -> Response:
    """``PUT /v1/streams/{name}/columns``: all that is said of columns, as JSON or as ``columns.toml``."""
    columns = call.content
    if columns is None:
        if call.headers.get("content-type", "").partition(";")[0].strip().lower() != _TOML:
            raise Problem(415, say("Send JSON, or %(toml)s.", toml=_TOML))
        columns = check(columns_of_toml(call.body), COLUMNS, "The body")
    return _change(service, call, {"columns": columns})


def _change(service: Service, call: Call, content: Mapping[str, Any]) -> Response:
    said = dict(content)
    learn_from = said.pop("learn_from", None)

    def work(connection: Connection) -> None:
        stream = need_stream(connection, call.name)
        after: dict[str, Any] = {"settings": StreamSettings.of(stream.settings).with_changes(said).plain}
        if learn_from is not None:
            after["learn_at"] = learn_from
        change(connection, STREAM, stream.id, after, call.who)

    service.writer.run(work)
    service.reload()
    return get_stream(service, call)


def get_columns(service: Service, call: Call) -> Response:
    """``GET /v1/streams/{name}/columns``."""
    judge = service.judge_of(call.name)
    with service.database.reading() as connection:
        stream = need_stream(connection, call.name)
        if call.query["format"] == "toml":
            return Response(columns_toml(connection, stream, judge), media_type=_TOML)
        columns = read_columns(connection, stream, judge)
    return whole(call, "columns", columns, _COLUMN)


def get_threshold(service: Service, call: Call) -> Response:
    """``GET /v1/streams/{name}/threshold``."""
    with service.database.reading() as connection:
        stream = need_stream(connection, call.name)
        return answer(
            consequence(connection, stream, *(call.query[name] for name in ("anomaly_ratio", "records", "days")))
        )


def get_drift(service: Service, call: Call) -> Response:
    """``GET /v1/streams/{name}/drift``."""
    with service.database.reading() as connection:
        return answer(find_drift(connection, need_stream(connection, call.name).id))


def decide_drift(service: Service, call: Call) -> Response:
    """``POST /v1/streams/{name}/drift``."""
    judge = service.judge_of(call.name)

    def work(connection: Connection) -> dict[str, Any]:
        stream = need_stream(connection, call.name)
        decide(connection, stream.id, judge, call.who, call.content)
        return find_drift(connection, stream.id)

    return answer(service.writer.run(work))


def delete_stream(service: Service, call: Call) -> Response:
    """``DELETE /v1/streams/{name}``: it is gone at once; what it had goes in a job."""
    name = call.name
    if name == DEFAULT:
        raise Problem(409, say("The stream %(default)s is the one of /detect and stays.", default=f"{DEFAULT!r}"))
    if call.query["confirm"] != name:
        raise Problem(
            409,
            say(
                "All records, alerts and models of %(name)s would go; say so by ?confirm=%(name2)s.",
                name=f"{name!r}",
                name2=name,
            ),
        )

    def work(connection: Connection) -> int:
        stream = need_stream(connection, name)
        for job in jobs.open_of(connection, stream.id):
            jobs.cancel(connection, job)
        # The name is free for a new one.
        gone = {"name": f"~{stream.id}~{name}"[:64], "deleted": now()}
        connection.execute(update(streams).where(streams.c.id == stream.id).values(gone))
        counts = {each: getattr(stream, each) for each in ("judged", "waiting", "refused", "alerting")}
        write_line(connection, call.who, "delete", "stream", (stream.id, {"name": name, **counts}, None))
        return jobs.add_job(connection, "delete", stream.id)

    number = service.writer.run(work)
    service.ids.forget(name)
    service.reload()
    where = f"/v1/jobs/{number}"
    return answer({"job_id": number, "status_url": where}, 202, {"Location": where})


def _with_history(service: Service, connection: Connection, name: str) -> dict[str, Any]:
    stream = need_stream(connection, name)
    return {**_described(service, connection, stream), "history": history(connection, "stream", stream.id)}


def _described(service: Service, connection: Connection, stream: Stream) -> dict[str, Any]:
    settings = StreamSettings.of(stream.settings)
    more = {"created": stream.created, "learn_from": stream.learn_at, "settings": settings.plain}
    return {**service.described(connection, stream), **more}


_SAID = SETTINGS["properties"]
_COLUMN = record(dict.fromkeys(("name", "kind", "missing", "examples", "reason"), TEXT))
"""Of a file; lists are JSON there."""

_DRIFT = record(
    {
        "looked": maybe(TEXT),
        "level": {"type": "number"},
        "log_e_value": {"type": "number"},
        "is_watched": FLAG,
        "changes": array(OBJECT),
    }
)

OPERATIONS = (
    Operation(
        "GET",
        "/v1/streams",
        list_streams,
        "All streams.",
        record({"streams": array(_STREAM)}),
        "The streams.",
        (FORMAT,),
        kinds=KINDS,
        needs=Need("read", "all"),
    ),
    Operation(
        "POST",
        "/v1/streams",
        make_stream,
        "Make a stream before its first records come, and say how its columns are read.",
        _STREAM,
        "The stream.",
        body=record({"name": NAME}, {**_SAID, "learn_from": _LEARN_FROM}),
        statuses=(409,),
        good=201,
        needs=Need("manage", "all"),
    ),
    Operation(
        "GET",
        "/v1/streams/{name}",
        get_stream,
        "One stream with its settings and its history.",
        _STREAM,
        "It.",
        needs=Need("read", "path"),
    ),
    Operation(
        "PATCH",
        "/v1/streams/{name}",
        change_stream,
        "Change settings: the anomaly ratio, what is personal and what is kept at once, what is said of columns for the"
        " next training.",
        _STREAM,
        "The stream as it is now.",
        body=record({}, {**_SAID, "learn_from": _LEARN_FROM}),
        statuses=(409,),
        needs=Need("manage", "path"),
    ),
    Operation(
        "DELETE",
        "/v1/streams/{name}",
        delete_stream,
        "Delete a stream with all its records, alerts and models.",
        QUEUED,
        "It is gone; a job removes what it had.",
        (Parameter("confirm", "The stream's name once more.", TEXT),),
        statuses=(409,),
        good=202,
        needs=Need("manage", "path"),
    ),
    Operation(
        "GET",
        "/v1/streams/{name}/columns",
        get_columns,
        "How each column is read, why, and examples: by the model, or before there is one by the newest records.",
        record({"columns": array(OBJECT)}),
        "The columns, or a file columns.toml.",
        (Parameter("format", "JSON, or as a file, columns.toml too.", choice("json", "toml", *EXPORTS), "json"),),
        statuses=(409,),
        kinds=(_TOML, *KINDS),
        needs=Need("read", "path"),
    ),
    Operation(
        "PUT",
        "/v1/streams/{name}/columns",
        set_columns,
        "Say how columns are read, for the next training; what was said before is gone.",
        _STREAM,
        "The stream as it is now.",
        body=COLUMNS,
        media={_TOML: {}},
        statuses=(409,),
        needs=Need("manage", "path"),
    ),
    Operation(
        "GET",
        "/v1/streams/{name}/threshold",
        get_threshold,
        "How many of the last records would have been alerts under another anomaly ratio.",
        record(
            {
                "anomaly_ratio": maybe(RATIO),
                "records": COUNT,
                "since": maybe(TEXT),
                "alerts": COUNT,
                "alerts_per_day": maybe({"type": "number"}),
                "alerts_then": maybe(COUNT),
                "alerts_per_day_then": maybe({"type": "number"}),
            }
        ),
        "Alerts as they were, and as they would have been.",
        (
            Parameter("anomaly_ratio", "The other one.", RATIO),
            Parameter("records", "Of so many.", {"type": "integer", "minimum": 1, "maximum": 100_000}, 10_000),
            Parameter("days", "Of so many days until now.", {"type": "integer", "minimum": 1, "maximum": 3650}),
        ),
        needs=Need("read", "path"),
    ),
    Operation(
        "GET",
        "/v1/streams/{name}/drift",
        get_drift,
        "Columns that are no longer what they were: what, since when, by how much, and each one's case.",
        _DRIFT,
        "The changes, the largest first; alerts as a whole have no column.",
        needs=Need("read", "path"),
    ),
    Operation(
        "POST",
        "/v1/streams/{name}/drift",
        decide_drift,
        "Say of a changed column that it is the new normal from then on, that it is wrong, or wait a week.",
        _DRIFT,
        "What is left.",
        body=record({"column": {"type": "string", "maxLength": 255}, "action": choice(*ACTIONS)}),
        statuses=(409,),
        needs=Need("manage", "path"),
    ),
)
