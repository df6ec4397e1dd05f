"""`python -m anomaly_detection.service.jobs.worker FOLDER NAME RETENTION`: does the jobs that are there, then ends.

The URL of the database is in the environment, ``DATABASE_URL``: arguments of a process are for all to see.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import orjson
from sqlalchemy import RowMapping, select

from anomaly_detection.errors import AnomalyDetectionError
from anomaly_detection.service.alerts.rules import rules_of
from anomaly_detection.service.jobs import jobs
from anomaly_detection.service.jobs.query_job import take_rows
from anomaly_detection.service.jobs.supervisor import LEASE_LOST
from anomaly_detection.service.jobs.taking import take
from anomaly_detection.service.jobs.uploads import uploads_of
from anomaly_detection.service.learning.drifting import look
from anomaly_detection.service.learning.models import current_models
from anomaly_detection.service.learning.training import train
from anomaly_detection.service.records.deleting import delete_all
from anomaly_detection.service.records.in_effect import compare_with_recent, judge_in_effect
from anomaly_detection.service.records.incoming import Incoming
from anomaly_detection.service.records.keeping import next_waiting, settle
from anomaly_detection.service.records.retention import Retention, forget
from anomaly_detection.service.storage.database import Database
from anomaly_detection.service.storage.tables import streams
from anomaly_detection.service.streams.stream_settings import StreamSettings

__all__ = ["work"]

_JUDGED_AT_ONCE = 1000
_NICE = 10
_ALL = Retention()
_BETWEEN = 0.01
"""Seconds between transactions in which requests take their turn."""


def work(database: Database, models_dir: Path, worker: str, retention: Retention = _ALL) -> None:
    """Do all jobs that are free, one after the other."""
    uploads = uploads_of(models_dir)
    kinds: dict[str, Callable[..., None]] = {**_KINDS, "forget": partial(_forget, retention=retention)}
    while True:
        with database.writing() as connection:
            job = jobs.claim(connection, worker)
        if job is None:
            return
        done = threading.Event()
        renewing = threading.Thread(target=_hold, args=(database, job["id"], worker, done), daemon=True)
        renewing.start()
        try:
            kinds[job["kind"]](database, models_dir, uploads, job, worker)
        finally:
            done.set()
            renewing.join()
        with database.reading() as connection:
            needed = jobs.needed_uploads(connection)
        file = jobs.input_of(job).get("file")
        if file is not None and file not in needed:
            (uploads / file).unlink(missing_ok=True)


def _judge(database: Database, models_dir: Path, uploads: Path, job: RowMapping, worker: str) -> None:
    """Judge the records that came before there was a model, some at a time."""
    number, stream_id, done = job["id"], job["stream_id"], 0
    with database.reading() as connection:
        row = current_models(connection).get(stream_id)
    if row is None:
        with database.writing() as connection:
            if jobs.renew(connection, number, worker):
                # None is in effect any more; once one is there is another such job.
                jobs.end(connection, number, result={"records": 0})
        return
    try:
        judge = compare_with_recent(database, stream_id, judge_in_effect(database, models_dir, row))
    except AnomalyDetectionError as failure:
        with database.writing() as connection:
            jobs.end(connection, number, error=str(failure))
        return
    while True:
        with database.reading() as connection:
            waiting = next_waiting(connection, stream_id, _JUDGED_AT_ONCE)
        found = judge.judge([Incoming(orjson.loads(body)) for _, body in waiting])
        with database.writing() as connection:
            if not jobs.renew(connection, number, worker):
                return
            if not waiting:
                jobs.end(connection, number, result={"records": done})
                return
            done += len(waiting)
            jobs.advance(connection, number, worker, done)
            ids = [record_id for record_id, _ in waiting]
            settle(connection, stream_id, judge.model_id, ids, found, rules_of(connection, stream_id))


def _forget(
    database: Database, models_dir: Path, uploads: Path, job: RowMapping, worker: str, *, retention: Retention
) -> None:
    """Delete what of a stream need not be kept."""
    number, gone = job["id"], 0
    with database.reading() as connection:
        mine = select(streams.c.settings).where(streams.c.id == job["stream_id"])
        settings = StreamSettings.of(connection.execute(mine).scalar_one())
    for count in forget(database, job["stream_id"], retention.of(settings)):
        gone += count
        with database.writing() as connection:
            if not jobs.advance(connection, number, worker, gone):
                # Another has the job by now, or it was cancelled.
                return
        time.sleep(_BETWEEN)
    with database.writing() as connection:
        if jobs.renew(connection, number, worker):
            jobs.end(connection, number, result={"records": gone})


_KINDS = {"train": train, "judge": _judge, "take": take, "query": take_rows, "delete": delete_all, "watch": look}


def _hold(database: Database, number: int, worker: str, done: threading.Event) -> None:
    """Renew the lease until the job is done; end the process where it is no longer its own, or nobody waits for it."""
    parent = os.getppid()
    renewed = time.monotonic()
    while not done.wait(1.0):
        if os.getppid() != parent:
            os._exit(LEASE_LOST)
        if time.monotonic() - renewed < jobs.LEASE / 3:
            continue
        renewed = time.monotonic()
        with database.writing() as connection:
            mine = jobs.renew(connection, number, worker)
        # Where the job has just ended, this is told in a moment.
        if not mine and not done.wait(1.0):
            os._exit(LEASE_LOST)


if __name__ == "__main__":
    folder, name, kept = sys.argv[1:]
    # Requests come first.
    os.nice(_NICE)
    work(Database(os.environ["DATABASE_URL"]), Path(folder), name, Retention.read(kept))
