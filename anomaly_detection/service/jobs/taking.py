"""The job that takes records out of a file: judged and kept some at a time, each once, whenever its worker ends."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import Connection, RowMapping

from anomaly_detection.errors import AnomalyDetectionError
from anomaly_detection.service.alerts.rules import rules_of
from anomaly_detection.service.http.bodies import parts_of, unpacked
from anomaly_detection.service.http.limits import Limits
from anomaly_detection.service.http.problems import Problem
from anomaly_detection.service.jobs import jobs
from anomaly_detection.service.jobs.uploads import MOST_BYTES
from anomaly_detection.service.learning.models import current_models
from anomaly_detection.service.records.in_effect import compare_with_recent, judge_in_effect
from anomaly_detection.service.records.incoming import Incoming
from anomaly_detection.service.records.judging import Judge
from anomaly_detection.service.records.keeping import Kept, keep
from anomaly_detection.service.records.seen import Occurrences, catch_up
from anomaly_detection.service.records.verdicts import Verdicts
from anomaly_detection.service.storage.database import Database
from anomaly_detection.service.streams.streams import find_stream
from anomaly_detection.texts.said import N_, Figure, say

__all__ = ["MOST_RECORDS", "current_judge", "keep_part", "new_ones", "nothing_taken", "take", "told_with"]

MOST_RECORDS = 1_000_000
"""Of a file."""

_TOLD = 100
_TOLD_FAULTS = 1000


def take(database: Database, models_dir: Path, uploads: Path, job: RowMapping, worker: str) -> None:
    """Do the job, or go on with it."""
    given, number = jobs.input_of(job), job["id"]
    path = uploads / given["file"]
    try:
        _take(database, models_dir, path, given, job, worker)
    except (AnomalyDetectionError, Problem) as failure:
        result = failure.more if isinstance(failure, Problem) and failure.more else None
        with database.writing() as connection:
            if jobs.renew(connection, number, worker):
                jobs.end(connection, number, result=result, error=failure.args[0])


def _take(
    database: Database, models_dir: Path, path: Path, given: dict[str, Any], job: RowMapping, worker: str
) -> None:
    number, stream_id, done = job["id"], job["stream_id"], job["done"]
    occurrences = Occurrences(stream_id) if given.get("known") == "skip" else None
    told = orjson.loads(job["result"]) if job["result"] else nothing_taken(occurrences is not None)
    if job["total"] is None:
        # All of it is read once before the first record is kept: of a file that breaks off nothing is.
        total = _checked(path, given["kind"], given.get("whole", False))
        with database.writing() as connection:
            if not jobs.advance(connection, number, worker, done, total):
                return
    judge: Judge | None = None
    row = 0
    for part in parts_of(path, given["kind"]):
        rows = range(row + 1, row + 1 + len(part))
        row += len(part)
        if row <= done:
            # Kept before the worker ended that began with this.
            if occurrences is not None:
                occurrences.met(part)
            continue
        is_new = [True] * len(part)
        if occurrences is not None:
            is_new = new_ones(database, stream_id, occurrences, part)
        fresh = [place for place, new in enumerate(is_new) if new]
        judge = current_judge(database, models_dir, stream_id, judge)
        # Those that are left out are judged with: a new row may be a copy of one of them.
        found = (Verdicts.unjudged(part) if judge is None else judge.judge(part if fresh else [])).at(fresh)
        with database.writing() as connection:
            kept = keep_part(connection, job, worker, found, judge)
            if kept is None:
                return
            told = told_with(told, found, kept, [rows[place] for place in fresh])
            if occurrences is not None:
                told["known"] += len(part) - len(fresh)
            jobs.advance(connection, number, worker, row, None, told)
    with database.writing() as connection:
        if jobs.renew(connection, number, worker):
            jobs.end(connection, number)


def new_ones(database: Database, stream_id: int, occurrences: Occurrences, part: Sequence[Incoming]) -> list[bool]:
    """Of each row, whether the stream lacks it."""
    catch_up(database, stream_id)
    with database.reading() as connection:
        return occurrences.new(connection, part)


def keep_part(
    connection: Connection, job: RowMapping, worker: str, found: Verdicts, judge: Judge | None
) -> Kept | None:
    """Keep records in the transaction of the connection; None where the job, or its stream, is no longer there."""
    owner = jobs.find_job(connection, job["id"])
    stream = None if owner is None else find_stream(connection, owner["stream"])
    # Another may have the job by now, or it was cancelled.
    if stream is None or not jobs.renew(connection, job["id"], worker):
        return None
    kept = keep(connection, stream, None if judge is None else judge.model_id, found, rules_of(connection, stream.id))
    if judge is not None:
        judge.recent.met(kept.record_ids)
    return kept


def _checked(path: Path, kind: str, whole: bool = False) -> int:
    """How many records there are; `Problem` where they cannot be read, or are too many.

    Of what is to be taken as a `whole`, or not at all, it also tells of all rows that are no records.
    """
    limits, count, size = Limits(), 0, 0
    faults: list[dict[str, Any]] = []
    for part in parts_of(path, kind):
        for place, each in enumerate(part, count + 1):
            limits.check(each.fields)
            if whole and each.fault:
                faults.append({"row": place, "reason": each.fault})
        count += len(part)
        size += unpacked(part)
        if count > MOST_RECORDS:
            raise Problem(
                413,
                say(
                    "The file has more than %(most_records)s records; send them in parts.",
                    most_records=Figure(f"{MOST_RECORDS:,}"),
                ),
            )
        if size > MOST_BYTES:
            raise Problem(
                413,
                say(
                    "The file unpacks to more than %(most_bytes)s bytes; send it in parts.",
                    most_bytes=Figure(f"{MOST_BYTES:,}"),
                ),
            )
    if not count:
        raise Problem(400, say("The body holds no record."))
    if faults:
        told = N_("%(count)s rows are no records, such as row %(row)s: %(reason)s")
        if len(faults) == 1:
            told = N_("%(count)s row is no record, such as row %(row)s: %(reason)s")
        numbers = {name: Figure(f"{value:,}") for name, value in (("count", len(faults)), ("row", faults[0]["row"]))}
        raise Problem(400, say(told, **numbers, reason=faults[0]["reason"]), refusals=faults[:_TOLD_FAULTS])
    return count


def current_judge(database: Database, models_dir: Path, stream_id: int, judge: Judge | None) -> Judge | None:
    """What judges now: a model may come, or another take its place, while the job goes on."""
    with database.reading() as connection:
        row = current_models(connection).get(stream_id)
    if row is None:
        return None
    return compare_with_recent(database, stream_id, judge_in_effect(database, models_dir, row, judge))


def nothing_taken(skips: bool = False) -> dict[str, Any]:
    """What is told before the first record; with ``known``, how many the stream had before, where these are skipped."""
    counts = dict.fromkeys(("received", "judged", "waiting", "refused", "alerting"), 0)
    return {
        **counts,
        **({"known": 0} if skips else {}),
        "refusals": [],
        "first_record_id": None,
        "last_record_id": None,
    }


def told_with(told: dict[str, Any], found: Verdicts, kept: Kept, rows: Sequence[int]) -> dict[str, Any]:
    """What there is to say after further records, which are these rows of their table."""
    refusals = [
        {"row": rows[place], "record_id": kept.record_ids[place], "reason": error}
        for place, error in sorted(found.errors.items())
    ]
    return {
        **told,
        "received": told["received"] + len(found),
        **{state: told[state] + found.counts[state] for state in ("judged", "waiting", "refused")},
        "alerting": told["alerting"] + sum(number is not None for number in kept.alert_ids),
        "refusals": [*told["refusals"], *refusals][:_TOLD],
        "first_record_id": told["first_record_id"] or (kept.record_ids[0] if len(found) else None),
        "last_record_id": kept.record_ids[-1] if len(found) else told["last_record_id"],
    }
