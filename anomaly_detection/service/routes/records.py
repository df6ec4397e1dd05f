"""Records: taken in, listed, exported, looked at and explained."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from anomaly_detection.service.access.rights import Need
from anomaly_detection.service.alerts.reasons import kept_reasons, summary, worded_reasons
from anomaly_detection.service.http.bodies import JSON_BODY, MEDIA, kind_of, records_of
from anomaly_detection.service.http.exports import KINDS
from anomaly_detection.service.http.json_answer import answer, dumps
from anomaly_detection.service.http.operations import Call, Operation, Parameter
from anomaly_detection.service.http.problems import Problem
from anomaly_detection.service.http.replies import check_key
from anomaly_detection.service.http.shapes import COUNT, OBJECT, TEXT, Shape, array, choice, maybe, record, text
from anomaly_detection.service.jobs.uploads import digest_of, keep_body, receive
from anomaly_detection.service.processes.service import Service
from anomaly_detection.service.records.incoming import Incoming
from anomaly_detection.service.records.intake import Taken
from anomaly_detection.service.records.record_book import RECORD, RECORDS
from anomaly_detection.service.storage.tables import records
from anomaly_detection.texts.said import kept, say
from anomaly_detection.texts.viewer import worded

__all__ = ["JOB_ANSWER", "OPERATIONS"]

_TOLD = 1000
"""The most refusals that an answer lists; all are counted."""

JOB_ANSWER = "A job does it; the answer says where to look."

InTurn = Callable[..., Awaitable[Response]]


async def add_records(service: Service, call: Call, request: Request, in_turn: InTurn) -> Response:
    """``POST /v1/streams/{name}/records``."""
    key = call.headers.get("idempotency-key")
    if key is not None:
        check_key(key)
    kind = kind_of(call.headers.get("content-type", ""))
    body = await receive(request, service.limits, service.uploads_dir, kind)
    return await in_turn(_take, call, body, kind, key)


def _take(service: Service, call: Call, body: bytes | Path, kind: str, key: str | None) -> Response:
    if isinstance(body, Path):
        return _queue(service, call, body, kind, key)
    if call.query["known"] == "skip" or "respond-async" in call.headers.get("prefer", ""):
        return _queue(service, call, keep_body(body, service.uploads_dir, kind), kind, key)
    found = records_of(body, kind, service.limits)
    if found is not None and not found:
        raise Problem(400, say("The body holds no record."))
    for each in found or ():
        service.limits.check(each.fields)
    if found is None or len(found) > service.limits.records:
        return _queue(service, call, keep_body(body, service.uploads_dir, kind), kind, key)
    if key is None:
        return answer(_told(service.intake.take(call.name, found)))
    made, is_new = service.intake.take_once(call.name, found, key, digest_of(body), lambda taken: dumps(_told(taken)))
    return _again(made, is_new, 202 if b'"job_id":' in made[:20] else 200)


def _queue(service: Service, call: Call, path: Path, kind: str, key: str | None) -> Response:
    made, is_new = service.queue.take(call.name, path, kind, call.who, key, call.query["known"])
    return _again(made, is_new, 202 if b'"job_id":' in made[:20] else 200)


def _again(made: bytes, is_new: bool, status: int) -> Response:
    headers = {} if is_new else {"Idempotent-Replayed": "true"}
    if status == 202:
        headers |= {"Location": orjson.loads(made)["status_url"], "Preference-Applied": "respond-async"}
    return answer(orjson.loads(made), status, headers)


def _told(taken: Taken) -> dict[str, Any]:
    """How many records met which fate; rows are counted from 1."""
    found, record_ids, alert_ids = taken.found, taken.kept.record_ids, taken.kept.alert_ids
    refused = [
        {"row": place + 1, "record_id": record_ids[place], "reason": error}
        for place, error in sorted(found.errors.items())
    ]
    alerts = [
        {
            "row": place + 1,
            "record_id": record_ids[place],
            "alert_id": alert_ids[place],
            "severity": each.alert.severity,
            "risk_level": each.alert.risk_level,
            "reason": each.alert.sentence,
        }
        for place, each in found.alerting.items()
        if each.alert is not None
    ]
    return {
        "stream": taken.stream,
        "received": len(found),
        "judged": found.counts["judged"],
        "waiting": found.counts["waiting"],
        "refused": len(refused),
        "alerting": len(alerts),
        "alerts": alerts,
        "refusals": refused[:_TOLD],
        "first_record_id": record_ids[0],
        "last_record_id": record_ids[-1],
        "model_version": taken.version,
        "learning": taken.learning or None,
    }


def list_records(service: Service, call: Call) -> Response:
    """``GET /v1/records``."""
    return RECORDS.answer(service.database, call)


def get_record(service: Service, call: Call) -> Response:
    """``GET /v1/records/{id}``."""
    return answer(RECORDS.render(_row(service, call.id)))


def explain_record(service: Service, call: Call) -> Response:
    """``GET /v1/records/{id}/explanation``."""
    row = _row(service, call.id)
    judge = service.judge(row["stream"])
    if judge is None:
        raise Problem(
            409, say("There is no model to explain by yet; %(service)s.", service=service.progress(row["stream"]))
        )
    fields = orjson.loads(row["body"])
    found = judge.explain(Incoming(fields))
    alert = found.alert
    if alert is None:
        raise Problem(409, say("This record cannot be judged: %(error)s", error=found.error))
    reasons = worded_reasons(kept_reasons(alert))
    assert alert.threshold is not None
    return answer(
        {
            "record_id": call.id,
            "model_version": judge.version,
            "is_alert": alert.is_alert,
            "score": alert.score,
            "threshold": alert.threshold,
            "decision": alert.decision,
            "p_value": alert.p_value,
            "severity": alert.severity,
            "risk_level": alert.risk_level,
            "confidence": alert.confidence,
            "summary": summary(reasons, alert=alert.is_alert) if reasons else worded(kept(alert.sentence)),
            "reasons": reasons,
        },
        beside=fields,
    )


def _row(service: Service, number: int) -> Any:
    with service.database.reading() as connection:
        row = connection.execute(RECORDS.query.where(records.c.id == number)).mappings().first()
    if row is None:
        raise Problem(404, say("There is no record %(number)s.", number=number))
    return row


_TAKEN: Shape = record(
    dict.fromkeys(("received", "judged", "waiting", "refused", "alerting"), COUNT),
    {
        "stream": TEXT,
        "alerts": array(OBJECT),
        "refusals": array(record({"row": COUNT, "record_id": COUNT, "reason": TEXT})),
        "first_record_id": COUNT,
        "last_record_id": COUNT,
        "model_version": maybe(COUNT),
        "learning": maybe(TEXT),
    },
)
_NUMBER: Shape = {"type": "number"}
_EXPLAINED = record(
    {
        "record_id": COUNT,
        "model_version": COUNT,
        "is_alert": {"type": "boolean"},
        **dict.fromkeys(("score", "threshold", "decision", "p_value", "severity", "confidence"), _NUMBER),
        "risk_level": TEXT,
        "summary": TEXT,
        "reasons": array(OBJECT),
    }
)
_KEY = Parameter(
    "Idempotency-Key",
    "A request that comes again under its key gets its first answer and has no further effect.",
    text(255),
    where="header",
)
_KNOWN = Parameter(
    "known",
    "`skip`: a job takes only the records that the stream lacks, and counts the others as `known`.",
    choice("take", "skip"),
    "take",
)
_PREFER = Parameter("Prefer", "`respond-async`: a job takes the records, however few.", TEXT, where="header")

OPERATIONS: Sequence[Operation] = (
    Operation(
        "POST",
        "/v1/streams/{name}/records",
        add_records,
        "Judge records and keep them.",
        _TAKEN,
        "What became of them.",
        (_KNOWN, _KEY, _PREFER),
        JSON_BODY,
        {media: {} for media in MEDIA if media != "application/json"},
        statuses=(409, 422),
        also={202: JOB_ANSWER},
        turn="judging",
        takes_request=True,
        needs=Need("send", "path"),
    ),
    Operation(
        "GET",
        "/v1/records",
        list_records,
        "List records, or export all that are asked for.",
        RECORDS.shape,
        "A page of records, or a file.",
        RECORDS.parameters,
        kinds=KINDS,
        needs=Need("read", "query"),
    ),
    Operation(
        "GET",
        "/v1/records/{id}",
        get_record,
        "One record with its verdict.",
        RECORD,
        "The record.",
        needs=Need("read", "record"),
    ),
    Operation(
        "GET",
        "/v1/records/{id}/explanation",
        explain_record,
        "Why a record is an alert, or why not, by the model that judges now.",
        _EXPLAINED,
        "Its verdict by itself, with reasons.",
        statuses=(409,),
        turn="judging",
        needs=Need("read", "record"),
    ),
)
