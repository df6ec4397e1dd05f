"""Our own API, ``/v1``: what each route does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from starlette.responses import Response

from anomaly_detection.service.alert_book import Wanted, change_alert, find_alert, list_alerts
from anomaly_detection.service.bodies import records_of
from anomaly_detection.service.contract import parsed
from anomaly_detection.service.jobs import find_job, rendered
from anomaly_detection.service.json_answer import answer, dumps
from anomaly_detection.service.keeping import find_record
from anomaly_detection.service.problems import Problem
from anomaly_detection.service.replies import check_key
from anomaly_detection.service.service import Service, Taken

__all__ = ["add_records", "change", "get_alert", "get_alerts", "get_job", "get_record"]

_TOLD = 1000
"""The most refusals that an answer lists; all are counted."""


def add_records(service: Service, stream: str, body: bytes, content_type: str, key: str | None) -> Response:
    """``POST /v1/streams/{name}/records``."""
    if key is not None:
        check_key(key)
    records = records_of(body, content_type)
    if not records:
        raise Problem(400, "The body holds no record.")
    if len(records) > service.limits.records:
        most = service.limits.records
        raise Problem(413, f"{len(records):,} records are too many; send at most {most:,} at a time.")
    for each in records:
        service.limits.check(dict(each.fields))
    if key is None:
        return answer(_told(service.take(stream, records)))
    made, is_new = service.take_once(stream, records, key, body, lambda taken: dumps(_told(taken)))
    return Response(made, 200, {} if is_new else {"Idempotent-Replayed": "true"}, "application/json")


def _told(taken: Taken) -> dict[str, Any]:
    """How many records met which fate; rows are counted from 1."""
    rows = list(zip(taken.found, taken.kept.record_ids, taken.kept.alert_ids, strict=True))
    refused = [
        {"row": row, "record_id": record_id, "reason": each.error}
        for row, (each, record_id, _) in enumerate(rows, 1)
        if each.state == "refused"
    ]
    alerts = [
        {
            "row": row,
            "record_id": record_id,
            "alert_id": alert_id,
            "severity": each.alert.severity,
            "risk_level": each.alert.risk_level,
            "reason": each.alert.sentence,
        }
        for row, (each, record_id, alert_id) in enumerate(rows, 1)
        if each.alert is not None and alert_id is not None
    ]
    return {
        "stream": taken.stream,
        "received": len(rows),
        "judged": sum(each.state == "judged" for each, _, _ in rows),
        "waiting": sum(each.state == "waiting" for each, _, _ in rows),
        "refused": len(refused),
        "alerting": len(alerts),
        "alerts": alerts,
        "refusals": refused[:_TOLD],
        "first_record_id": rows[0][1],
        "last_record_id": rows[-1][1],
        "model_version": taken.version,
        "learning": taken.learning or None,
    }


def get_alerts(service: Service, query: Mapping[str, str]) -> Response:
    """``GET /v1/alerts``."""
    with service.database.reading() as connection:
        return answer(list_alerts(connection, Wanted.of(query)))


def get_alert(service: Service, number: int) -> Response:
    """``GET /v1/alerts/{id}``."""
    with service.database.reading() as connection:
        found = find_alert(connection, number)
    if found is None:
        raise Problem(404, f"There is no alert {number}.")
    return answer(found)


def change(service: Service, number: int, who: str, body: bytes) -> Response:
    """``POST /v1/alerts/{id}``."""
    content = parsed(body)
    if not isinstance(content, dict):
        raise Problem(400, "A change is an object.")
    return answer(service.writer.run(lambda connection: change_alert(connection, number, who, content)))


def get_record(service: Service, number: int) -> Response:
    """``GET /v1/records/{id}``."""
    with service.database.reading() as connection:
        row = find_record(connection, number)
    if row is None:
        raise Problem(404, f"There is no record {number}.")
    left_out = ("body", "stream_id", "model_id")
    made = {str(name): value for name, value in row.items() if name not in left_out}
    return answer({**made, "record": orjson.loads(row["body"])})


def get_job(service: Service, number: int) -> Response:
    """``GET /v1/jobs/{id}``."""
    with service.database.reading() as connection:
        row = find_job(connection, number)
    if row is None:
        raise Problem(404, f"There is no job {number}.")
    return answer(rendered(row))
