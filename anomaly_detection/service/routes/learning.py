"""What verdicts have taught a stream's model, what rules they speak for, and which verdicts would teach most."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from anomaly_detection.features.evidence.lessons import ANOMALY, Lessons
from anomaly_detection.service.access.rights import Need
from anomaly_detection.service.alerts.proposals import proposed
from anomaly_detection.service.http.json_answer import answer
from anomaly_detection.service.http.operations import Call, Operation
from anomaly_detection.service.http.problems import Problem
from anomaly_detection.service.http.shapes import COUNT, OBJECT, TEXT, array, maybe, record
from anomaly_detection.service.learning.effects import effect
from anomaly_detection.service.learning.questions import questions
from anomaly_detection.service.processes.service import Service
from anomaly_detection.service.records.judging import Judge
from anomaly_detection.service.routes.rules import counted
from anomaly_detection.service.streams.stream_settings import StreamSettings
from anomaly_detection.service.streams.streams import need_stream
from anomaly_detection.texts.said import say

__all__ = ["OPERATIONS"]

_NUMBER = {"type": "number"}


def get_learning(service: Service, call: Call) -> Response:
    """``GET /v1/streams/{name}/learning``."""
    judge = _judge(service, call.name)
    with service.database.reading() as connection:
        stream = need_stream(connection, call.name)
        rules = [
            {
                "column": rule.column,
                "where": dict(rule.where),
                "alert_id": numbers[0],
                "false_alarms": len(numbers),
                **counted(connection, stream.id, rule)[0],
            }
            for rule, numbers in proposed(connection, stream.id, judge)
        ]
    moved: dict[str, Any] = {"alerts_below": [], "records_up": []}
    if judge.lessons:
        moved = effect(service, stream.id, judge.again(Lessons(), 0, judge.ratio), judge)
    return answer(
        {
            "learns": StreamSettings.of(stream.settings).learns,
            "real": sum(verdict == ANOMALY for verdict in judge.lessons.verdicts),
            "false_alarms": sum(verdict != ANOMALY for verdict in judge.lessons.verdicts),
            "features": _features(judge),
            **moved,
            "rules": rules,
        }
    )


def _features(judge: Judge) -> list[dict[str, Any]]:
    """Those that verdicts are about, the one that is least believed first."""
    found, led = [], judge.lessons.counts()
    weights = judge.lessons.weights(list(led))
    for place, (name, (real, false)) in enumerate(led.items()):
        source, weight = judge.source_of(name), 1.0 if weights is None else float(weights[place])
        columns = [] if source is None else list(source.columns)
        counts = {"real": real, "false_alarms": false}
        found.append({"feature": name, "columns": columns, **counts, "weight": weight})
    return sorted(found, key=lambda each: (each["weight"], each["feature"]))


def get_questions(service: Service, call: Call) -> Response:
    """``GET /v1/streams/{name}/questions``."""
    judge = _judge(service, call.name)
    with service.database.reading() as connection:
        stream = need_stream(connection, call.name)
        return answer({"questions": questions(connection, stream.id, judge)})


def _judge(service: Service, name: str) -> Judge:
    with service.database.reading() as connection:
        need_stream(connection, name)
    judge = service.judge_of(name)
    if judge is None:
        raise Problem(409, say("The stream %(name)s has no model yet that verdicts could teach.", name=f"{name!r}"))
    return judge


_RULE = {
    "column": TEXT,
    "where": OBJECT,
    **dict.fromkeys(("alert_id", "false_alarms", "days", "alerts", "hidden", "open"), COUNT),
}
_FEATURE = {"feature": TEXT, "columns": array(TEXT), "real": COUNT, "false_alarms": COUNT, "weight": _NUMBER}
_QUESTION = {
    "record_id": COUNT,
    "alert_id": maybe(COUNT),
    "feature": TEXT,
    "verdicts": COUNT,
    "decision": _NUMBER,
}

OPERATIONS = (
    Operation(
        "GET",
        "/v1/streams/{name}/learning",
        get_learning,
        "What verdicts have taught the model: how much the evidence of each feature counts, which open alerts lie below"
        " the line by now and which records came up, and rules that would hide systematic false alarms.",
        record(
            {
                "learns": {"type": "boolean"},
                "real": COUNT,
                "false_alarms": COUNT,
                "features": array(record(_FEATURE)),
                "alerts_below": array(COUNT),
                "records_up": array(COUNT),
                "rules": array(record(_RULE)),
            }
        ),
        "What was learned.",
        statuses=(409,),
        turn="judging",
        needs=Need("read", "path"),
    ),
    Operation(
        "GET",
        "/v1/streams/{name}/questions",
        get_questions,
        "A few records whose verdict would teach most: next to the line, and unlike those that have one.",
        record({"questions": array(record(_QUESTION))}),
        "The records, the one that would teach most first.",
        statuses=(409,),
        turn="judging",
        needs=Need("read", "path"),
    ),
)
