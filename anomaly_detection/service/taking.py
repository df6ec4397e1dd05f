"""The job that takes records out of a file: judged and kept some at a time, each once, whenever its worker ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import RowMapping

from anomaly_detection.errors import AnomalyDetectionError
from anomaly_detection.service import jobs
from anomaly_detection.service.bodies import parts_of, unpacked
from anomaly_detection.service.database import Database
from anomaly_detection.service.in_effect import judge_in_effect
from anomaly_detection.service.judging import Judge
from anomaly_detection.service.keeping import Kept, keep
from anomaly_detection.service.limits import Limits
from anomaly_detection.service.models import current_models
from anomaly_detection.service.problems import Problem
from anomaly_detection.service.rules import rules_of
from anomaly_detection.service.streams import find_stream
from anomaly_detection.service.uploads import MOST_BYTES
from anomaly_detection.service.verdicts import Verdicts

__all__ = ["MOST_RECORDS", "take"]

MOST_RECORDS = 1_000_000
"""Of a file."""

_TOLD = 100


def take(database: Database, models_dir: Path, uploads: Path, job: RowMapping, worker: str) -> None:
    """Do the job, or go on with it."""
    given, number = jobs.input_of(job), job["id"]
    path = uploads / given["file"]
    try:
        _take(database, models_dir, path, given, job, worker)
    except (AnomalyDetectionError, Problem) as failure:
        with database.writing() as connection:
            if jobs.renew(connection, number, worker):
                jobs.end(connection, number, error=str(failure))


def _take(
    database: Database, models_dir: Path, path: Path, given: dict[str, Any], job: RowMapping, worker: str
) -> None:
    number = job["id"]
    done = job["done"]
    told = orjson.loads(job["result"]) if job["result"] else _nothing()
    if job["total"] is None:
        # All of it is read once before the first record is kept: of a file that breaks off nothing is.
        total = _checked(path, given["kind"])
        with database.writing() as connection:
            if not jobs.advance(connection, number, worker, done, total):
                return
    judge: Judge | None = None
    row = 0
    for part in parts_of(path, given["kind"]):
        row += len(part)
        if row <= done:
            # Kept before the worker ended that began with this.
            continue
        judge = _current(database, models_dir, job["stream_id"], judge)
        found = Verdicts.unjudged(part) if judge is None else judge.judge(part)
        with database.writing() as connection:
            owner = jobs.find_job(connection, number)
            stream = None if owner is None else find_stream(connection, owner["stream"])
            if stream is None:
                return
            if not jobs.renew(connection, number, worker):
                # Another has the job by now, or it was cancelled.
                return
            rules = rules_of(connection, stream.id)
            kept = keep(connection, stream, None if judge is None else judge.model_id, found, rules)
            told = _with(told, found, kept, row - len(part))
            jobs.advance(connection, number, worker, row, None, told)
    with database.writing() as connection:
        if jobs.renew(connection, number, worker):
            jobs.end(connection, number)


def _checked(path: Path, kind: str) -> int:
    """How many records there are; `Problem` where they cannot be read, or are too many."""
    limits, count, size = Limits(), 0, 0
    for part in parts_of(path, kind):
        for each in part:
            limits.check(each.fields)
        count += len(part)
        size += unpacked(part)
        if count > MOST_RECORDS:
            raise Problem(413, f"The file has more than {MOST_RECORDS:,} records; send them in parts.")
        if size > MOST_BYTES:
            raise Problem(413, f"The file unpacks to more than {MOST_BYTES:,} bytes; send it in parts.")
    if not count:
        raise Problem(400, "The body holds no record.")
    return count


def _current(database: Database, models_dir: Path, stream_id: int, judge: Judge | None) -> Judge | None:
    """What judges now: a model may come, or another take its place, while the job goes on."""
    with database.reading() as connection:
        row = current_models(connection).get(stream_id)
    return None if row is None else judge_in_effect(database, models_dir, row, judge)


def _nothing() -> dict[str, Any]:
    counts = dict.fromkeys(("received", "judged", "waiting", "refused", "alerting"), 0)
    return {**counts, "refusals": [], "first_record_id": None, "last_record_id": None}


def _with(told: dict[str, Any], found: Verdicts, kept: Kept, before: int) -> dict[str, Any]:
    """What there is to say after a further part, which begins after so many records."""
    refusals = [
        {"row": before + place + 1, "record_id": kept.record_ids[place], "reason": error}
        for place, error in sorted(found.errors.items())
    ]
    return {
        "received": told["received"] + len(found),
        **{state: told[state] + found.counts[state] for state in ("judged", "waiting", "refused")},
        "alerting": told["alerting"] + sum(number is not None for number in kept.alert_ids),
        "refusals": [*told["refusals"], *refusals][:_TOLD],
        "first_record_id": told["first_record_id"] or kept.record_ids[0],
        "last_record_id": kept.record_ids[-1],
    }
