"""The kept cases: found, closed with their alerts, snoozed, split and merged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, func, insert, literal_column, or_, select

from anomaly_detection.service.access.masking import withheld
from anomaly_detection.service.alerts.alert_book import (
    ALERTS,
    COMMENT,
    RISKS,
    STATES,
    VERDICTS,
    change_of,
    filters_of_seen,
    kept_text,
    wanted,
)
from anomaly_detection.service.alerts.audit import LINE, history, write_line
from anomaly_detection.service.alerts.case_totals import recount
from anomaly_detection.service.alerts.changes import ALERT, CASE, change, change_many
from anomaly_detection.service.alerts.reasons import about_of
from anomaly_detection.service.alerts.undoing import last_change, undo
from anomaly_detection.service.http.fields import has_fields, has_text
from anomaly_detection.service.http.listing import OF_STREAM, Filter, Listing
from anomaly_detection.service.http.operations import Parameter
from anomaly_detection.service.http.problems import Problem
from anomaly_detection.service.http.shapes import (
    COUNT,
    MOMENT,
    OBJECT,
    TEXT,
    Shape,
    array,
    choice,
    maybe,
    moment_of,
    record,
    text,
)
from anomaly_detection.service.storage.clock import now
from anomaly_detection.service.storage.tables import alerts, audit, cases, streams
from anomaly_detection.texts.said import say

__all__ = [
    "CASES",
    "CASE_SHAPE",
    "NEVER",
    "case_change",
    "change_case",
    "find_case",
    "merge_cases",
    "split_case",
    "worst_alerts",
]

_SHOWN = 100
"""The most alerts that a case shows itself; `GET /v1/alerts?case=` lists all."""

NEVER = "9999-12-31T00:00:00.000Z"
"""Until when a case is snoozed that only gets back when it gets worse."""

_MOST_SEVERE = 100.0
_STEP: Shape = {"type": "number", "exclusiveMinimum": 0, "maximum": 100}
_ROW = {
    "id": COUNT,
    "stream": TEXT,
    "column": TEXT,
    "about": TEXT,
    "state": choice(*STATES),
    "verdict": maybe(choice(*VERDICTS)),
    "assignee": maybe(TEXT),
    "first_seen": TEXT,
    "last_seen": TEXT,
    "alerts": COUNT,
    "count": COUNT,
    "severity": {"type": "number", "minimum": 0, "maximum": 100},
    "risk_level": choice(*RISKS),
    "amount": maybe({"type": "number"}),
    "snoozed_until": maybe(TEXT),
    "snoozed_below": maybe({"type": "number"}),
    "follows": maybe(COUNT),
    "merged_into": maybe(COUNT),
}
CASE_SHAPE = record(
    _ROW, {"alerts_shown": array(OBJECT), "history": array(LINE), "related": array(OBJECT)}, closed=False
)


def case_change(more: Mapping[str, Shape] | None = None) -> Shape:
    """As `change_of`, and snoozing."""
    needed = dict(more or {})
    snooze = record({**needed, "snooze_until": maybe(MOMENT)}, {"or_worse_by": _STEP, "comment": COMMENT})
    until_worse = record({**needed, "or_worse_by": _STEP}, {"comment": COMMENT})
    changed = change_of(more)
    told = f"{changed['description']}; or snooze_until, or_worse_by, or both"
    return {"anyOf": [*changed["anyOf"], snooze, until_worse], "description": told}


def _rendered(row: RowMapping) -> dict[str, Any]:
    other = {"column": row["lead_column"], "about": withheld(about_of(row))}
    return {name: other[name] if name in other else row[name] for name in _ROW}


def _snoozed(connection: Connection, value: str) -> Any:
    asleep = cases.c.snoozed_until.is_not(None) & (cases.c.snoozed_until > now())
    asleep &= or_(cases.c.snoozed_below.is_(None), cases.c.severity < cases.c.snoozed_below)
    awake = or_(
        cases.c.snoozed_until.is_(None),
        cases.c.snoozed_until <= now(),
        cases.c.severity >= cases.c.snoozed_below,
    )
    return {"no": awake, "only": asleep}.get(value)


def _assigned(connection: Connection, value: str) -> Any:
    return cases.c.assignee == value if value else cases.c.assignee.is_(None)


def _text(connection: Connection, value: str) -> Any:
    mine = select(alerts.c.id).where(alerts.c.case_id == cases.c.id, alerts.c.hidden_by.is_(None))
    told = (has_text(connection, each, value) for each in (alerts.c.reason, alerts.c.record, alerts.c.sent_id))
    return has_text(connection, cases.c.about, value) | mine.where(or_(*told)).exists()


_UNRESOLVED = literal_column("cases.state") != literal_column("'resolved'")
"""In the words of the index of those."""


_FIELDS = has_fields(alerts.c.record)


def _has(connection: Connection, wanted: list[str]) -> Any:
    mine = select(alerts.c.id).where(alerts.c.case_id == cases.c.id, alerts.c.hidden_by.is_(None))
    holds: Any = _FIELDS.condition(connection, wanted)
    return mine.where(holds).exists()


def _states(connection: Connection, value: str) -> Any:
    return _UNRESOLVED if value == "unresolved" else cases.c.state == value


CASES = Listing(
    "cases",
    select(cases, streams.c.name.label("stream"))
    .join(streams)
    .where(streams.c.deleted.is_(None), cases.c.merged_into.is_(None), cases.c.alerts > 0),
    cases.c.id,
    {
        "severity": (cases.c.severity, True),
        "newest": (cases.c.id, True),
        "last_seen": (cases.c.last_seen, True),
        "count": (cases.c.count, True),
    },
    (
        OF_STREAM,
        Filter(Parameter("state", "Only those in this state.", choice(*STATES, "unresolved")), _states),
        *filters_of_seen(cases, "Only those whose alerts are about this column."),
        Filter(
            Parameter("text", "Only those that are about this text, or whose records have it.", text(200)),
            _text,
            looks_inside=True,
        ),
        Filter(Parameter("assignee", "Only those of this one; of nobody where it is empty.", text(255, 0)), _assigned),
        Filter(_FIELDS.parameter, _has, looks_inside=True),
        Filter(
            Parameter("snoozed", "Those that are snoozed too, or only those.", choice("no", "too", "only"), "no"),
            _snoozed,
        ),
    ),
    _rendered,
    record(_ROW, closed=False),
)
"""All cases that are to be looked at."""


def find_case(connection: Connection, number: int) -> dict[str, Any]:
    """A case with its worst alerts, the other cases of its cause, and its history; `Problem` (404) for none."""
    query = select(cases, streams.c.name.label("stream")).join(streams).where(streams.c.deleted.is_(None))
    row = connection.execute(query.where(cases.c.id == number)).mappings().first()
    if row is None:
        raise Problem(404, say("There is no case %(number)s.", number=number))
    worst = ALERTS.query.where(alerts.c.case_id == number).order_by(alerts.c.severity.desc(), alerts.c.id.desc())
    same = query.where(cases.c.stream_id == row["stream_id"], cases.c.cause == row["cause"], cases.c.id != number)
    related = connection.execute(same.order_by(cases.c.id.desc()).limit(20)).mappings()
    return {
        **_rendered(row),
        "alerts_shown": [ALERTS.render(each) for each in connection.execute(worst.limit(_SHOWN)).mappings()],
        "related": [_rendered(each) for each in related],
        "history": history(connection, "case", number),
    }


def worst_alerts(connection: Connection, numbers: Sequence[int]) -> list[dict[str, Any]]:
    """Of each of some cases the worst alert that no rule hides, the newest of equal ones."""
    place = func.row_number().over(
        partition_by=alerts.c.case_id, order_by=(alerts.c.severity.desc(), alerts.c.id.desc())
    )
    ranked = select(alerts.c.id, place.label("place")).where(
        alerts.c.case_id.in_(numbers), alerts.c.hidden_by.is_(None)
    )
    first = ranked.subquery()
    query = ALERTS.query.join(first, first.c.id == alerts.c.id).where(first.c.place == 1)
    return [ALERTS.render(row) for row in connection.execute(query).mappings()]


def change_case(connection: Connection, number: int, who: str, said: Mapping[str, Any]) -> int:
    """Change a case, and with its state that of its alerts; gives how many of those.

    Raises
    ------
    Problem
        404 where there is none, 400 for what cannot be read, 422 for a moment that is past, 409 where there is nothing
        to undo.
    """
    before = CASE.now(connection, number, {"state": "", "merged_into": None, "severity": 0.0})
    if before["merged_into"] is not None and "undo" not in said:
        raise Problem(
            409,
            say(
                "Case %(number)s was merged into case %(merged_into)s; change that one.",
                number=number,
                merged_into=before["merged_into"],
            ),
        )
    if {"snooze_until", "or_worse_by"} & said.keys():
        _snooze(connection, number, who, said, before["severity"])
        return 0
    after, comment = wanted(said)
    if "undo" in said:
        return _count_parts(connection, undo(connection, last_change(connection, CASE, number), who, comment)["id"])
    line = change(connection, CASE, number, after, who, "change", comment)
    moved: dict[str, Any] = {name: after[name] for name in ("state", "verdict") if name in after}
    if line is None or "state" not in moved:
        return 0
    return _with_alerts(connection, number, who, {"verdict": None, **moved}, line)


def _snooze(connection: Connection, number: int, who: str, said: Mapping[str, Any], severity: float) -> None:
    asked, step = said.get("snooze_until", NEVER), said.get("or_worse_by")
    until = None if asked is None else moment_of(asked, "snooze_until")
    if until is not None and until <= now():
        raise Problem(422, say("snooze_until is past; give a later moment, or null for the case to come back now."))
    if until == NEVER and severity >= _MOST_SEVERE:
        raise Problem(422, say("Case %(number)s cannot get worse; give a moment.", number=number))
    comment = kept_text(said["comment"], 10_000) if "comment" in said else None
    # What is as severe as can be does not get worse, and stays away until its moment.
    is_watched = step is not None and until is not None and severity < _MOST_SEVERE
    below = min(_MOST_SEVERE, severity + (step or 0.0)) if is_watched else None
    change(connection, CASE, number, {"snoozed_until": until, "snoozed_below": below}, who, "change", comment)


def _with_alerts(connection: Connection, number: int, who: str, after: Mapping[str, Any], line: int) -> int:
    """Give the alerts of a case its state, each with a line of its own; gives how many had another."""
    others = select(alerts.c.id).where(alerts.c.case_id == number, alerts.c.state != after["state"])
    ids = list(connection.execute(others.order_by(alerts.c.id)).scalars())
    return change_many(connection, ALERT, ids, after, who, None, line)


def _count_parts(connection: Connection, line: int) -> int:
    undoing = select(audit.c.id).where(audit.c.undoes == line)
    subjects = connection.execute(select(audit.c.subject).where(audit.c.part_of.in_(undoing))).scalars()
    return sum(each == ALERT.name for each in subjects)


def split_case(connection: Connection, number: int, who: str, ids: Sequence[int]) -> int:
    """Put some alerts of a case into a new one; gives its id."""
    row = _open_case(connection, number)
    mine = set(connection.execute(select(alerts.c.id).where(alerts.c.case_id == number)).scalars())
    strange = [each for each in ids if each not in mine]
    if strange:
        raise Problem(409, say("Alert %(strange)s is not in case %(number)s.", strange=strange[0], number=number))
    if len(set(ids)) == len(mine):
        raise Problem(409, say("These are all alerts of case %(number)s; leave some in it.", number=number))
    names = (
        "stream_id",
        "cause",
        "about",
        "said",
        "lead_column",
        "state",
        "verdict",
        "assignee",
        "first_seen",
        "last_seen",
    )
    copied = {name: row[name] for name in (*names, "severity", "risk_level")}
    values = {**copied, "alerts": 0, "count": 0, "follows": number}
    made = int(connection.execute(insert(cases).values(values).returning(cases.c.id)).scalar_one())
    line = write_line(connection, who, "split", "case", (number, None, {"into": made, "alerts": len(ids)}))
    write_line(connection, who, "split", "case", (made, None, {"split from": number}), None, line)
    change_many(connection, ALERT, ids, {"case_id": made}, who, None, line)
    for each in (number, made):
        recount(connection, each)
    return made


def merge_cases(connection: Connection, ids: Sequence[int], who: str) -> int:
    """Put the alerts of all into the oldest of some cases of one stream; gives its id."""
    into, *others = sorted(ids)
    kept = _open_case(connection, into)
    for number in others:
        row = _open_case(connection, number)
        if row["stream_id"] != kept["stream_id"]:
            raise Problem(
                409, say("Case %(number)s is of another stream than case %(into)s.", number=number, into=into)
            )
        moved = list(connection.execute(select(alerts.c.id).where(alerts.c.case_id == number)).scalars())
        line = write_line(connection, who, "merge", "case", (into, None, {"merged": number, "alerts": len(moved)}))
        change(connection, CASE, number, {"merged_into": into}, who, part_of=line)
        change_many(connection, ALERT, moved, {"case_id": into}, who, None, line)
        recount(connection, number)
    recount(connection, into)
    return into


def _open_case(connection: Connection, number: int) -> RowMapping:
    row = connection.execute(select(cases).where(cases.c.id == number)).mappings().first()
    if row is None:
        raise Problem(404, say("There is no case %(number)s.", number=number))
    if row["merged_into"] is not None:
        raise Problem(
            409,
            say(
                "Case %(number)s was merged into case %(merged_into)s.",
                number=number,
                merged_into=row["merged_into"],
            ),
        )
    return row
