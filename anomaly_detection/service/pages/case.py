"""The page of a case, and that of any record: what is odd about it, why, and what came before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from starlette.responses import Response

from anomaly_detection.service.http.problems import Problem
from anomaly_detection.service.pages.context import is_drawn
from anomaly_detection.service.pages.heading import heading, told, with_heading
from anomaly_detection.service.pages.inbox import beside, view_of
from anomaly_detection.service.pages.rendering import as_files, html
from anomaly_detection.service.pages.visit import Visit
from anomaly_detection.service.routes.alerts import get_alert
from anomaly_detection.service.routes.cases import get_case
from anomaly_detection.service.routes.records import explain_record, get_record, list_records
from anomaly_detection.service.routes.streams import list_streams
from anomaly_detection.texts.viewer import retold

__all__ = ["case_after", "case_before", "case_page", "record_page", "records_page"]

_LISTED = 25


def case_page(visit: Visit, said: Any = None) -> Response:
    """``GET /cases/{id}``: the case by its worst alert, or by the one that the address asks for."""
    case = visit.get(get_case, id=visit.path["id"])
    asked = dict(visit.query).get("alert", "")
    shown = {str(each["id"]): each for each in case["alerts_shown"]}
    seen = [each for each in case["alerts_shown"] if each["hidden_by"] is None] or case["alerts_shown"]
    first = shown.get(asked, seen[0] if seen else None)
    alert = None if first is None else visit.get(get_alert, id=first["id"])
    return html(
        "case",
        visit=visit,
        said=said,
        here="inbox",
        case=case,
        view=view_of(visit),
        alert=alert,
        heading=None if alert is None else heading(visit.service, case["stream"], alert["record"], alert["sent_id"]),
        cells=[] if alert is None else _cells(alert["record"], alert["reasons"]),
        pictures=[] if alert is None else [i for i, each in enumerate(alert["reasons"]) if is_drawn(each)],
        others=[with_heading(visit.service, each) for each in case["alerts_shown"][:_LISTED]],
        more=max(0, case["alerts"] - _LISTED),
    )


def case_after(visit: Visit) -> Response:
    """``GET /cases/{id}/after``: to the next case of the view that the address names, or back to that view."""
    return _beside(visit, "after")


def case_before(visit: Visit) -> Response:
    """``GET /cases/{id}/before``: the other way."""
    return _beside(visit, "before")


def _beside(visit: Visit, which: str) -> Response:
    number, view = beside(visit, visit.get(get_case, id=visit.path["id"]), which), view_of(visit)
    where = "/" if number is None else f"/cases/{number}"
    return Response(status_code=303, headers={"Location": f"{where}?{view}" if view else where})


def records_page(visit: Visit) -> Response:
    """``GET /records``: the newest records, or those that are called as the address asks."""
    asked = {name: value.strip() for name, value in visit.query if value.strip()}
    wanted = asked.pop("id", "")
    query = [*asked.items(), *([("sent_id", wanted)] if wanted else [])]
    found = visit.get(list_records, query)
    rows = found["records"]
    if wanted.isascii() and wanted.isdigit() and len(wanted) < 19:
        rows = [*_by_number(visit, wanted), *rows]
    return html(
        "records",
        visit=visit,
        said=None,
        here="records",
        wanted=wanted,
        stream=asked.get("stream", ""),
        streams=visit.get(list_streams)["streams"],
        next=None
        if found["next"] is None
        else "/records?" + urlencode({**asked, "id": wanted, "after": found["next"]}),
        files=as_files("/v1/records", [pair for pair in query if pair[0] != "after"]),
        records=[with_heading(visit.service, each) for each in rows],
    )


def _by_number(visit: Visit, wanted: str) -> list[dict[str, Any]]:
    try:
        return [visit.get(get_record, id=int(wanted))]
    except Problem as problem:
        if problem.status != 404:
            raise
        return []


def record_page(visit: Visit) -> Response:
    """``GET /records/{id}``: why a record is an alert, or why not."""
    record = visit.get(get_record, id=visit.path["id"])
    explained, hindrance = None, ""
    try:
        explained = visit.get(explain_record, id=visit.path["id"])
    except Problem as problem:
        if problem.status != 409:
            raise
        hindrance = retold(problem.detail)
    return html(
        "record",
        visit=visit,
        said=None,
        here="records",
        record=record,
        explained=explained,
        hindrance=hindrance,
        heading=heading(visit.service, record["stream"], record["record"], record["sent_id"]),
        cells=_cells(record["record"], [] if explained is None else explained["reasons"]),
    )


def _cells(record: Mapping[str, Any], reasons: list[dict[str, Any]]) -> list[tuple[str, str, bool]]:
    """Name, value and whether it is odd; the odd ones first, each as the record has them."""
    odd = {name for reason in reasons for name in reason["columns"]}
    cells = [(name, told(value), name in odd) for name, value in record.items()]
    return sorted(cells, key=lambda cell: not cell[2])
