"""Streams as pages: how many alerts another threshold would give, the versions of the model, columns and rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

from starlette.responses import Response

from anomaly_detection.service.http.problems import Problem
from anomaly_detection.service.http.shapes import number_of
from anomaly_detection.service.pages.done import went_to
from anomaly_detection.service.pages.rendering import as_files, html
from anomaly_detection.service.pages.visit import Visit
from anomaly_detection.service.routes.alerts import get_alert
from anomaly_detection.service.routes.jobs import list_jobs
from anomaly_detection.service.routes.learning import get_learning, get_questions
from anomaly_detection.service.routes.models import list_models, promote_model, queue_training, roll_back_model
from anomaly_detection.service.routes.rules import list_rules
from anomaly_detection.service.routes.sources import list_sources
from anomaly_detection.service.routes.streams import (
    change_stream,
    decide_drift,
    get_columns,
    get_drift,
    get_stream,
    get_threshold,
    list_streams,
)
from anomaly_detection.texts.viewer import retold

__all__ = ["change_stream_page", "stream_page", "streams_page"]

_LISTED = 20
_DAYS, _RECORDS = 30, 100_000
"""Of the records that say what another threshold would have done."""


def streams_page(visit: Visit) -> Response:
    """``GET /streams``."""
    return html("streams", visit=visit, said=None, here="streams", streams=visit.get(list_streams)["streams"])


def stream_page(visit: Visit) -> Response:
    """``GET /streams/{name}``; ``percent`` in the address asks what another threshold would have done."""
    name = visit.path["name"]
    percent = dict(visit.query).get("percent", "")
    asked = [("days", str(_DAYS)), ("records", str(_RECORDS))]
    asked += [("anomaly_ratio", repr(_ratio(percent)))] if percent else []
    columns: list[dict[str, Any]] = []
    hindrance = ""
    try:
        columns = visit.get(get_columns, name=name)["columns"]
    except Problem as problem:
        if problem.status != 409:
            raise
        hindrance = retold(problem.detail)
    newest = visit.get(list_jobs, [("stream", name), ("limit", "10")])["jobs"]
    return html(
        "stream",
        visit=visit,
        said=None,
        here="streams",
        stream=visit.get(get_stream, name=name),
        threshold=visit.get(get_threshold, asked, name=name),
        percent=percent,
        days=_DAYS,
        rule_files=as_files("/v1/rules", [("stream", name)]),
        models=visit.get(list_models, name=name)["models"],
        training=next((job for job in newest if job["kind"] == "train"), None),
        columns=columns,
        hindrance=hindrance,
        drift=visit.get(get_drift, name=name),
        sources=[each for each in visit.get(list_sources)["sources"] if each["stream"] == name]
        if visit.caller.may("manage")
        else None,
        rules=visit.get(list_rules, [("stream", name), ("limit", "500")])["rules"],
        **_learned(visit, name),
    )


def _learned(visit: Visit, name: str) -> dict[str, Any]:
    """What verdicts have taught, and which would teach most; nothing where there is no model."""
    try:
        learned = visit.get(get_learning, name=name)
        below = [visit.get(get_alert, id=each) for each in learned["alerts_below"][:_LISTED]]
        for each in learned["rules"]:
            each["address"] = _address(each)
        return {"learned": learned, "below": below, "questions": visit.get(get_questions, name=name)["questions"]}
    except Problem as problem:
        if problem.status != 409:
            raise
        return {"learned": None}


def _address(rule: Mapping[str, Any]) -> str:
    """The page that makes a rule that is proposed."""
    said = [part for name, value in rule["where"].items() for part in (("name", name), ("how", "is"), ("value", value))]
    return f"/alerts/{rule['alert_id']}/rule?" + urlencode([("asked", "1"), ("about", "1"), *said])


def change_stream_page(visit: Visit) -> Response:
    """``POST /streams/{name}``: do one thing with a stream, and show it again."""
    do, name = visit.button(_DOING, "A stream can"), visit.path["name"]
    _DOING[do](visit, name)
    return went_to(visit, f"/start/{name}" if do == "learn" else f"/streams/{name}")


def _ratio(percent: str) -> float:
    return number_of(percent, "percent", whole=False) / 100


def _set_threshold(visit: Visit, name: str) -> None:
    visit.change(change_stream, {"anomaly_ratio": _ratio(visit.said("percent"))}, name=name)


def _promote(visit: Visit, name: str) -> None:
    visit.change(promote_model, {}, name=name, version=visit.whole("number"))


def _decide(visit: Visit, name: str) -> None:
    visit.change(decide_drift, {"column": visit.said("column"), "action": visit.said("action")}, name=name)


_DOING: dict[str, Callable[[Visit, str], object]] = {
    "threshold": _set_threshold,
    "learn": lambda visit, name: queue_training(visit.service, name, {"who": visit.caller.name, "promote": True}),
    "challenge": lambda visit, name: queue_training(
        visit.service, name, {"who": visit.caller.name, "promote": False, "challenge": True}
    ),
    "promote": _promote,
    "roll back": lambda visit, name: visit.change(roll_back_model, {}, name=name),
    "decide": _decide,
    "learn from verdicts": lambda visit, name: visit.change(change_stream, {"learns": True}, name=name),
    "ignore verdicts": lambda visit, name: visit.change(change_stream, {"learns": False}, name=name),
}
"""By the button's value."""
