"""Drift of streams: the job that looks at the records since it last did, and what people say of what it found."""

from __future__ import annotations

import io
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from sqlalchemy import Connection, RowMapping, delete, insert, select, update

from anomaly_detection.alerts.batch import Batch
from anomaly_detection.alerts.observing import Watch, can_watch
from anomaly_detection.calibration.column_drift import ALERTS, Change, Drift, find_drifts
from anomaly_detection.calibration.drift_test import BLOCK, LEVEL, DriftTest, Observed
from anomaly_detection.errors import AnomalyDetectionError
from anomaly_detection.features.column_reference import MISSING, NEW, UNREADABLE
from anomaly_detection.service.alerts.audit import write_line
from anomaly_detection.service.alerts.case_book import change_case
from anomaly_detection.service.alerts.drift_cases import about_drift, drift_cause
from anomaly_detection.service.http.problems import Problem
from anomaly_detection.service.jobs import jobs
from anomaly_detection.service.learning.models import current_models, learned_until
from anomaly_detection.service.records.incoming import Incoming
from anomaly_detection.service.records.judging import Judge
from anomaly_detection.service.storage.clock import as_text, now
from anomaly_detection.service.storage.database import Database
from anomaly_detection.service.storage.tables import cases, drift, records, streams
from anomaly_detection.service.storage.tables import jobs as job_rows
from anomaly_detection.service.streams.stream_settings import StreamSettings
from anomaly_detection.texts.said import kept, say, spoken
from anomaly_detection.texts.viewer import worded

__all__ = ["ACTIONS", "decide", "find_drift", "look", "to_look"]

ACTIONS = ("normal", "wrong", "wait")
_AT_ONCE = 1000
_ENOUGH = 500
_SOONER = timedelta(hours=1)
_WAITS = timedelta(days=7)
_ARRAYS = ("reference", "usual", "counts", "started", "capital", "peaks", "periods", "sums", "starts")
_NUMBERS = ("records", "blocks", "per_period")


def to_look(connection: Connection) -> list[int]:
    """The streams with 500 new judged records since the last look, or a block's an hour after it, and no such job."""
    before = as_text(datetime.now(timezone.utc) - _SOONER)
    waits = select(job_rows.c.stream_id).where(job_rows.c.kind == "watch", job_rows.c.state.in_(jobs.OPEN))
    query = (
        select(streams.c.id, streams.c.judged, drift.c.judged.label("seen"), drift.c.looked)
        .outerjoin(drift, drift.c.stream_id == streams.c.id)
        .where(streams.c.model_version.is_not(None), streams.c.deleted.is_(None), streams.c.id.not_in(waits))
    )
    due = []
    for number, judged, seen, looked in connection.execute(query).all():
        new = judged - (seen or 0)
        if new >= _ENOUGH or (new >= BLOCK and (looked is None or looked < before)):
            due.append(number)
    return due


def look(database: Database, models_dir: Path, uploads: Path, job: RowMapping, worker: str) -> None:
    """Do the job: go on with the test by all records that the stream's model has judged since."""
    number, stream_id = job["id"], job["stream_id"]
    with database.reading() as connection:
        row = current_models(connection).get(stream_id)
    judge: Judge | None = None
    error = ""
    if row is not None:
        try:
            ratio = StreamSettings.of(row["settings"]).anomaly_ratio
            judge = Judge.load(models_dir / row["file"], row["id"], row["version"], ratio)
        except AnomalyDetectionError as failure:
            error = str(failure)
    done = 0
    while judge is not None and can_watch(judge.detector):
        with database.writing() as connection:
            if not jobs.renew(connection, number, worker):
                return
            found = _advance(connection, stream_id, judge)
        done += found
        if found < _AT_ONCE:
            break
    with database.writing() as connection:
        if not jobs.renew(connection, number, worker):
            return
        if judge is not None and not can_watch(judge.detector):
            _keep(connection, stream_id, {"model_id": judge.model_id, "last_record": 0, "state": None, "found": "[]"})
        jobs.end(connection, number, **({"error": error} if error else {"result": {"records": done}}))


def _advance(connection: Connection, stream_id: int, judge: Judge) -> int:
    """Go on by some records; gives their number."""
    before = connection.execute(select(drift).where(drift.c.stream_id == stream_id)).mappings().first()
    watch = Watch(judge.detector)
    test, last = watch.start(), 0
    if before is not None and before["model_id"] == judge.model_id and before["state"] is not None:
        test, last = _read(watch, before["state"]), before["last_record"]
    mine = (records.c.stream_id == stream_id, records.c.model_id == judge.model_id, records.c.id > last)
    # What the model learned from is its reference, and may be sorted by anything: it changes nothing.
    query = (
        select(records.c.id, records.c.received, records.c.body, records.c.alert_id)
        .where(*mine, records.c.state == "judged", records.c.received > learned_until(connection, judge.model_id))
        .order_by(records.c.id)
        .limit(_AT_ONCE)
    )
    rows = connection.execute(query).all()
    if rows:
        test.update(_observed(watch, judge, rows))
        last = rows[-1].id
    _keep(connection, stream_id, {"model_id": judge.model_id, "last_record": last, **_state(watch, test)})
    return len(rows)


def _observed(watch: Watch, judge: Judge, rows: Any) -> Observed:
    table = judge.table([Incoming(orjson.loads(row.body)) for row in rows])
    # As parts of a larger table are read: no record by those that happen to come with it.
    extended, cleaning = judge.detector.preprocessor.prepare(table, 0)
    is_alert = np.array([row.alert_id is not None for row in rows])
    nothing = np.empty((len(rows), 0), dtype=np.float32)
    scores = np.zeros(len(rows))
    places = np.arange(len(rows))
    moments = np.array([datetime.fromisoformat(row.received.replace("Z", "+00:00")).timestamp() for row in rows])
    batch = Batch(judge.detector, places, table, extended, nothing, scores, None, scores, is_alert, cleaning)
    return watch.observe(batch, moments)


def _state(watch: Watch, test: DriftTest) -> dict[str, Any]:
    """The columns of the row that follow from a test."""
    found = find_drifts(test, watch.references, watch.examples)
    held = io.BytesIO()
    arrays: dict[str, Any] = {name: getattr(test, name) for name in _ARRAYS}
    arrays |= {f"rest {name}": getattr(test.rest, name) for name in ("codes", "residuals", "moments")}
    arrays |= {name: np.array(getattr(test, name)) for name in _NUMBERS}
    examples = np.frombuffer(orjson.dumps(watch.examples), dtype=np.uint8)
    np.savez_compressed(held, **arrays, examples=examples)
    places = {each.column: place for place, each in enumerate(watch.references)} | {ALERTS: len(watch.references)}
    levels = {each.column: each.own_of for each in watch.references}
    told = []
    for each in found:
        # A level, or the share of alerts, which is the first bin of its own.
        own = levels[each.column](each.examples[0]) if each.change is Change.MIX else 0
        told.append({**_plain(each), "chart": _chart(test, places[each.column], each, NEW + 1 + own)})
    return {
        "state": held.getvalue(),
        "found": orjson.dumps(told).decode(),
        "log_e_value": test.log_e_value if test.blocks else 0.0,
    }


def _read(watch: Watch, state: bytes) -> DriftTest:
    """The test that was kept; the watch gets its examples."""
    with np.load(io.BytesIO(state), allow_pickle=False) as held:
        test = DriftTest(held["reference"], held["usual"])
        for name in _ARRAYS:
            setattr(test, name, held[name])
        for name in _NUMBERS:
            setattr(test, name, int(held[name]))
        watch.examples = orjson.loads(held["examples"].tobytes())
        test.rest = Observed(*(held[f"rest {name}"] for name in ("codes", "residuals", "moments")))
    return test


def _plain(found: Drift) -> dict[str, Any]:
    return {
        "column": found.column,
        "change": found.change.value,
        "since": None if found.since is None else as_text(found.since),
        "period": found.period,
        "records": found.records,
        "before": found.before,
        "after": found.after,
        "factor": found.factor,
        "shift": found.shift,
        "within": found.context,
        "log_e_value": found.log_e_value,
        "text": kept(found.text),
    }


def _chart(test: DriftTest, place: int, found: Drift, bin_: int) -> dict[str, Any]:
    """By period: what the numbers are to what they were, or the share that the change is about, that of a bin or so."""
    counts, sums = test.periods[:, place], test.sums[:, place]
    if found.change.value == "numbers":
        usual = test.usual[place, 1] / max(test.usual[place, 0], 1.0)
        known = np.maximum(sums[:, 0], 1.0)
        values = np.where(sums[:, 0] > 0, np.exp(sums[:, 1] / known - usual), np.nan)
        label = "times what it was" if found.factor is not None else "spreads, as a factor of e"
    else:
        code = {"format": UNREADABLE, "missing": MISSING, "levels": NEW}.get(found.change.value, bin_)
        total = np.maximum(counts.sum(axis=1), 1)
        values, label = counts[:, code] / total, "share of records"
    shown = [None if np.isnan(value) else round(float(value), 5) for value in values]
    return {"x": [float(start) for start in test.starts], "series": [{"label": label, "values": shown}]}


def _keep(connection: Connection, stream_id: int, values: dict[str, Any]) -> None:
    judged = connection.execute(select(streams.c.judged).where(streams.c.id == stream_id)).scalar_one()
    before = connection.execute(select(drift.c.found, drift.c.grown).where(drift.c.stream_id == stream_id)).first()
    known = set() if before is None else {each["column"] for each in orjson.loads(before.found)}
    has_grown = not {each["column"] for each in orjson.loads(values["found"])} <= known
    grown = now() if has_grown else None if before is None else before.grown
    values = {"log_e_value": 0.0, **values, "judged": judged, "looked": now(), "grown": grown}
    connection.execute(delete(drift).where(drift.c.stream_id == stream_id))
    connection.execute(insert(drift).values(stream_id=stream_id, **values))
    for each in orjson.loads(values["found"]):
        mine = (cases.c.stream_id == stream_id, cases.c.cause == drift_cause(each["column"]))
        connection.execute(update(cases).where(*mine, cases.c.state != "resolved").values(about_drift(each["text"])))


def find_drift(connection: Connection, stream_id: int) -> dict[str, Any]:
    """What is known of a stream's drift."""
    row = connection.execute(select(drift).where(drift.c.stream_id == stream_id)).mappings().first()
    if row is None:
        return {"looked": None, "level": LEVEL, "log_e_value": 0.0, "is_watched": False, "changes": []}
    changes = orjson.loads(row["found"])
    for each in changes:
        mine = (cases.c.stream_id == stream_id, cases.c.cause == drift_cause(each["column"]))
        newest = select(cases.c.id).where(*mine, cases.c.state != "resolved").order_by(cases.c.id.desc()).limit(1)
        each |= {"case_id": connection.execute(newest).scalar(), "text": worded(each["text"])}
    return {
        "looked": row["looked"],
        "level": LEVEL,
        "log_e_value": row["log_e_value"],
        "is_watched": row["state"] is not None,
        "changes": changes,
    }


def decide(connection: Connection, stream_id: int, judge: Judge | None, who: str, said: dict[str, Any]) -> None:
    """Say of a changed column that it is the new normal from its change on, that it is wrong, or wait a week.

    Its case is closed with the verdict *expected*, closed as *real*, or snoozed. The new normal begins the test anew;
    the model learns it by a training only.

    Raises
    ------
    Problem
        404 where the column has not changed; 409 where another model judges by now.
    """
    column, action = said["column"], said["action"]
    known = find_drift(connection, stream_id)["changes"]
    mine = [each for each in known if each["column"] == column]
    if not mine:
        raise Problem(404, say("The column %(column)s has not changed, as far as is known.", column=f"{column[:64]!r}"))
    row = connection.execute(select(drift).where(drift.c.stream_id == stream_id)).mappings().one()
    if action == "normal":
        if judge is None or judge.model_id != row["model_id"]:
            raise Problem(409, say("Another model judges by now; wait for the next look."))
        watch = Watch(judge.detector)
        test = _read(watch, row["state"])
        names = [each.column for each in watch.references] + [ALERTS]
        watch.examples.pop(column, None)
        test.settle(names.index(column), mine[0]["period"])
        values = {"model_id": row["model_id"], "last_record": row["last_record"], **_state(watch, test)}
        _keep(connection, stream_id, values)
    case = mine[0]["case_id"]
    if case is not None:
        until = as_text(datetime.now(timezone.utc) + _WAITS)
        change_case(
            connection,
            case,
            who,
            {
                "normal": {"state": "resolved", "verdict": "expected"},
                "wrong": {"state": "resolved", "verdict": "real: accepted"},
                "wait": {"snooze_until": until},
            }[action],
        )
    # The audit has no language.
    texts = {each["column"]: spoken(each["text"]) for each in orjson.loads(row["found"])}
    line = (stream_id, {"drift": texts[column]}, {"column": column, "drift": action})
    write_line(connection, who, "drift", "stream", line)
