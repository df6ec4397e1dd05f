"""Models: listed, trained, uploaded, downloaded, put into effect and rolled back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import Connection, RowMapping, select
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from anomaly_detection.errors import AnomalyDetectionError
from anomaly_detection.model_files.persistence import load_detector, save_detector
from anomaly_detection.service.access.rights import Need
from anomaly_detection.service.alerts.alert_book import COMMENT, kept_text
from anomaly_detection.service.alerts.changes import STREAM
from anomaly_detection.service.alerts.undoing import last_change, undo
from anomaly_detection.service.http.bodies import JSON_BODY, MEDIA, kind_of
from anomaly_detection.service.http.exports import FORMAT, KINDS, whole
from anomaly_detection.service.http.json_answer import answer
from anomaly_detection.service.http.operations import Call, Operation, Parameter
from anomaly_detection.service.http.problems import Problem
from anomaly_detection.service.http.shapes import COUNT, FLAG, OBJECT, QUEUED, TEXT, array, maybe, record
from anomaly_detection.service.jobs.uploads import keep_body, receive
from anomaly_detection.service.learning.models import add_model, digest_of, find_model, new_file, put_into_effect
from anomaly_detection.service.learning.training import MOST_LEARNED
from anomaly_detection.service.processes.service import Service
from anomaly_detection.service.records.judging import Judge
from anomaly_detection.service.storage.tables import models
from anomaly_detection.service.streams.streams import Stream, need_stream
from anomaly_detection.texts.said import say

__all__ = ["OPERATIONS", "queue_training"]

_BINARY = "application/octet-stream"
_GIVEN = "given"
_MODEL = record(
    {
        "version": COUNT,
        "is_current": FLAG,
        "created": TEXT,
        "source": TEXT,
        "records": COUNT,
        "digest": TEXT,
        "comparison": maybe(OBJECT),
    }
)


def list_models(service: Service, call: Call) -> Response:
    """``GET /v1/streams/{name}/models``."""
    with service.database.reading() as connection:
        stream = need_stream(connection, call.name)
        query = select(models).where(models.c.stream_id == stream.id).order_by(models.c.version.desc())
        rows = [_rendered(row, stream) for row in connection.execute(query).mappings()]
    return whole(call, "models", rows, _MODEL)


def get_model(service: Service, call: Call) -> Response:
    """``GET /v1/streams/{name}/models/{version}``."""
    with service.database.reading() as connection:
        stream = need_stream(connection, call.name)
        return answer(_rendered(_need(connection, stream, call.path["version"]), stream))


def download_model(service: Service, call: Call) -> Response:
    """``GET /v1/streams/{name}/models/{version}/file``."""
    with service.database.reading() as connection:
        stream = need_stream(connection, call.name)
        row = _need(connection, stream, call.path["version"])
    path = service.configuration.models_dir / row["file"]
    if not path.is_file():
        raise Problem(
            404,
            say("The file of version %(version)s is not in the folder of models any more.", version=row["version"]),
        )
    return FileResponse(path, media_type=_BINARY, filename=f"{stream.name}-{row['version']}.safetensors")


async def upload_model(
    service: Service, call: Call, request: Request, in_turn: Callable[..., Awaitable[Response]]
) -> Response:
    """``POST /v1/streams/{name}/models``: a native file, or a .joblib one, of which the native part is kept."""
    most, hint = service.limits.model, "make the model smaller, with fewer trees"
    return await in_turn(_keep, call, await receive(request, service.limits, service.uploads_dir, _GIVEN, most, hint))


def _keep(service: Service, call: Call, body: bytes | Path) -> Response:
    given = body if isinstance(body, Path) else keep_body(body, service.uploads_dir, _GIVEN)
    path: Path | None = None
    try:
        stream_id = service.stream_id(call.name)
        path = new_file(service.configuration.models_dir, stream_id)
        try:
            # What is kept is what was read: nothing else that a file holds comes here.
            save_detector(load_detector(given), path)
            Judge.load(path, 0, 0).prepare()
            source = f"upload {digest_of(given)}"
        except AnomalyDetectionError as error:
            raise Problem(400, str(error).replace(str(given), "The body")) from error
        version = service.writer.run(
            lambda connection: add_model(
                connection, stream_id, path, source, 0, call.who, promote=call.query["promote"]
            )
        )
    except BaseException:
        if path is not None:
            path.unlink(missing_ok=True)
        raise
    finally:
        given.unlink(missing_ok=True)
    service.reload()
    return _answered(service, call.name, version, 201)


def promote_model(service: Service, call: Call) -> Response:
    """``POST /v1/streams/{name}/models/{version}/promote``."""
    version, comment = call.path["version"], _comment(call)

    def work(connection: Connection) -> None:
        stream = need_stream(connection, call.name)
        _need(connection, stream, version)
        put_into_effect(connection, stream.id, version, call.who, comment)

    service.writer.run(work)
    service.reload()
    return _answered(service, call.name, version)


def roll_back_model(service: Service, call: Call) -> Response:
    """``POST /v1/streams/{name}/rollback``."""
    comment = _comment(call)

    def work(connection: Connection) -> int:
        stream = need_stream(connection, call.name)
        number = last_change(connection, STREAM, stream.id, ("promote",))
        undo(connection, number, call.who, comment)
        before = need_stream(connection, call.name).model_version
        if before is None:
            raise Problem(409, say("The model that judges is the first; there is none to go back to."))
        return before

    version = service.writer.run(work)
    service.reload()
    return _answered(service, call.name, version)


_NOTHING = (b"", b"{}")
"""Bodies that programs send where they have nothing to say: no records."""


async def train_model(
    service: Service, call: Call, request: Request, in_turn: Callable[..., Awaitable[Any]]
) -> Response:
    """``POST /v1/streams/{name}/train``: of the kept records, or of those of the body, which are not kept."""
    with_body = int(call.headers.get("content-length") or 0) > 0 or "transfer-encoding" in call.headers
    file: Path | None = None
    kind = ""
    if with_body:
        kind = kind_of(call.headers.get("content-type", ""))
        body = await receive(request, service.limits, service.uploads_dir, kind)
        if isinstance(body, Path):
            file = body
        elif body.strip() not in _NOTHING:
            file = await run_in_threadpool(keep_body, body, service.uploads_dir, kind)
    given = {"who": call.who, "promote": call.query["promote"], "records": call.query["records"]}
    given["challenge"] = call.query["challenge"]
    if file is not None:
        given |= {"file": file.name, "kind": kind}
    try:
        number = await run_in_threadpool(queue_training, service, call.name, given)
    except BaseException:
        if file is not None:
            file.unlink(missing_ok=True)
        raise
    where = f"/v1/jobs/{number}"
    return answer({"job_id": number, "status_url": where}, 202, {"Location": where})


def queue_training(service: Service, name: str, given: dict[str, Any]) -> int:
    """Queue a training of a stream that is there; gives the job's id."""
    if "file" not in given:
        with service.database.reading() as connection:
            need_stream(connection, name)
    return service.queue.train(name, given)


def _answered(service: Service, name: str, version: int, status: int = 200) -> Response:
    with service.database.reading() as connection:
        stream = need_stream(connection, name)
        return answer(_rendered(_need(connection, stream, version), stream), status)


def _need(connection: Connection, stream: Stream, version: int) -> RowMapping:
    row = find_model(connection, stream.id, version) if version < 2**31 else None
    if row is None:
        raise Problem(
            404,
            say(
                "The stream %(name)s has no version %(version)s of its model.",
                name=f"{stream.name!r}",
                version=version,
            ),
        )
    return row


def _rendered(row: RowMapping, stream: Stream) -> dict[str, Any]:
    names = ("version", "created", "source", "records", "digest")
    comparison = None if row["comparison"] is None else orjson.loads(row["comparison"])
    is_current = row["version"] == stream.model_version
    return {**{name: row[name] for name in names}, "is_current": is_current, "comparison": comparison}


def _comment(call: Call) -> str | None:
    said = (call.content or {}).get("comment")
    return None if said is None else kept_text(said, 10_000)


_COMMENT = record({}, {"comment": COMMENT})

OPERATIONS = (
    Operation(
        "GET",
        "/v1/streams/{name}/models",
        list_models,
        "The versions of a stream's model, the newest first.",
        record({"models": array(_MODEL)}),
        "The versions.",
        (FORMAT,),
        kinds=KINDS,
        needs=Need("read", "path"),
    ),
    Operation(
        "POST",
        "/v1/streams/{name}/models",
        upload_model,
        "Upload a model file that train or save_model wrote; it is checked, and no pickle in it is run.",
        _MODEL,
        "The new version.",
        (Parameter("promote", "Whether it judges from now on.", FLAG, False),),
        media={_BINARY: {}},
        statuses=(409,),
        good=201,
        turn="judging",
        takes_request=True,
        needs=Need("manage", "path"),
    ),
    Operation(
        "GET",
        "/v1/streams/{name}/models/{version}",
        get_model,
        "One version.",
        _MODEL,
        "The version.",
        needs=Need("read", "path"),
    ),
    Operation(
        "GET",
        "/v1/streams/{name}/models/{version}/file",
        download_model,
        "A version's native model file.",
        {},
        "The file.",
        kinds=(_BINARY,),
        needs=Need("manage", "path"),
    ),
    Operation(
        "POST",
        "/v1/streams/{name}/models/{version}/promote",
        promote_model,
        "Have a version judge from now on.",
        _MODEL,
        "The version.",
        body=_COMMENT,
        needs_body=False,
        turn="judging",
        needs=Need("manage", "path"),
    ),
    Operation(
        "POST",
        "/v1/streams/{name}/rollback",
        roll_back_model,
        "Have the version judge again that did before the last one was put into effect.",
        _MODEL,
        "The version that judges now.",
        body=_COMMENT,
        needs_body=False,
        statuses=(409,),
        turn="judging",
        needs=Need("manage", "path"),
    ),
    Operation(
        "POST",
        "/v1/streams/{name}/train",
        train_model,
        "Train a model of the kept records or, where there is a body, of the records in it, which are not kept.",
        QUEUED,
        "A job trains.",
        (
            Parameter("promote", "Whether the model judges once it is there.", FLAG, True),
            Parameter(
                "challenge",
                "Learn from all but the newest, at most a fifth, compare on these with the model that judges, learn"
                " from them too, and judge from now on only if the stream's settings say so.",
                FLAG,
                False,
            ),
            Parameter(
                "records",
                "Of the newest so many kept ones.",
                {"type": "integer", "minimum": 2, "maximum": MOST_LEARNED},
            ),
        ),
        JSON_BODY,
        {media: {} for media in MEDIA if media != "application/json"},
        needs_body=False,
        statuses=(409,),
        good=202,
        takes_request=True,
        needs=Need("manage", "path"),
    ),
)
