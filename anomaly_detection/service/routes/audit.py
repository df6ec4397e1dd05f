"""The audit: listed, exported, and what it tells of undone."""

from __future__ import annotations

from starlette.responses import Response

from anomaly_detection.service.access.rights import Need
from anomaly_detection.service.alerts.alert_book import COMMENT, kept_text
from anomaly_detection.service.alerts.audit import AUDIT
from anomaly_detection.service.alerts.undoing import undo
from anomaly_detection.service.http.exports import KINDS
from anomaly_detection.service.http.json_answer import answer
from anomaly_detection.service.http.operations import Call, Operation
from anomaly_detection.service.http.shapes import COUNT, TEXT, record
from anomaly_detection.service.processes.service import Service

__all__ = ["OPERATIONS"]


def list_audit(service: Service, call: Call) -> Response:
    """``GET /v1/audit``."""
    return AUDIT.answer(service.database, call)


def undo_change(service: Service, call: Call) -> Response:
    """``POST /v1/audit/{id}/undo``."""
    said = (call.content or {}).get("comment")
    comment = None if said is None else kept_text(said, 10_000)
    line = service.writer.run(lambda connection: undo(connection, call.id, call.who, comment))
    service.reload()
    return answer({"subject": line["subject"], "subject_id": line["subject_id"]})


OPERATIONS = (
    Operation(
        "GET",
        "/v1/audit",
        list_audit,
        "List who changed what and when, or export it.",
        AUDIT.shape,
        "A page of lines, or a file.",
        AUDIT.parameters,
        kinds=KINDS,
        needs=Need("manage", "all"),
    ),
    Operation(
        "POST",
        "/v1/audit/{id}/undo",
        undo_change,
        "Take back a change and all that was a part of it; that is a line of the audit too.",
        record({"subject": TEXT, "subject_id": COUNT}),
        "Whose change was undone.",
        body=record({}, {"comment": COMMENT}),
        needs_body=False,
        statuses=(409,),
        needs=Need("manage", "all"),
    ),
)
