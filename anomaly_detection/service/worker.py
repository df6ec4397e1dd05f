"""`python -m anomaly_detection.service.worker FOLDER NAME RETENTION`: does the jobs that are there, then ends.

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
from sqlalchemy import RowMapping

from anomaly_detection.anomaly_detection_api import AnomalyDetectionAPI
from anomaly_detection.data.files import prepare_folder
from anomaly_detection.errors import AnomalyDetectionError
from anomaly_detection.service import jobs
from anomaly_detection.service.database import Database
from anomaly_detection.service.incoming import Incoming, table
from anomaly_detection.service.judging import Judge
from anomaly_detection.service.keeping import next_waiting, recent_records, settle
from anomaly_detection.service.models import add_model, current_models, digest_of, new_file
from anomaly_detection.service.retention import Retention, forget

__all__ = ["MOST_LEARNED", "work"]

MOST_LEARNED = 50_000
"""The newest records that a model learns from: as many fit any machine."""

_JUDGED_AT_ONCE = 1000
_NICE = 10
_LEASE_LOST = 3
_ALL = Retention()
_BETWEEN = 0.01
"""Seconds between transactions in which requests take their turn."""


def work(database: Database, models_dir: Path, worker: str, retention: Retention = _ALL) -> None:
    """Do all jobs that are free, one after the other."""
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
            kinds[job["kind"]](database, models_dir, job, worker)
        finally:
            done.set()
            renewing.join()


def _train(database: Database, models_dir: Path, job: RowMapping, worker: str) -> None:
    number, stream_id = job["id"], job["stream_id"]
    with database.reading() as connection:
        bodies = recent_records(connection, stream_id, MOST_LEARNED)
    error, path = "", new_file(models_dir, stream_id)
    try:
        prepare_folder(models_dir)
        api = AnomalyDetectionAPI().fit(table([Incoming(orjson.loads(body)).judgeable for body in bodies]))
        api.save_model(path)
    except AnomalyDetectionError as failure:
        error = str(failure)
    with database.writing() as connection:
        if not jobs.renew(connection, number, worker):
            # Another has the job by now.
            return
        if error:
            jobs.end(connection, number, error=error)
            return
        version = add_model(connection, stream_id, path, digest_of(path), f"job {number}", len(bodies))
        jobs.end(connection, number, result={"version": version, "records": len(bodies)})


def _judge(database: Database, models_dir: Path, job: RowMapping, worker: str) -> None:
    """Judge the records that came before there was a model, some at a time."""
    number, stream_id, done = job["id"], job["stream_id"], 0
    with database.reading() as connection:
        row = current_models(connection)[stream_id]
    try:
        judge = Judge.load(models_dir / row["file"], row["id"], row["version"])
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
            settle(connection, stream_id, judge.model_id, [record_id for record_id, _ in waiting], found)
        done += len(waiting)


def _forget(database: Database, models_dir: Path, job: RowMapping, worker: str, *, retention: Retention) -> None:
    """Delete what of a stream need not be kept."""
    gone = 0
    for count in forget(database, job["stream_id"], retention):
        gone += count
        time.sleep(_BETWEEN)
    with database.writing() as connection:
        if jobs.renew(connection, job["id"], worker):
            jobs.end(connection, job["id"], result={"records": gone})


_KINDS = {"train": _train, "judge": _judge}


def _hold(database: Database, number: int, worker: str, done: threading.Event) -> None:
    """Renew the lease until the job is done; end the process where it is no longer its own, or nobody waits for it."""
    parent = os.getppid()
    renewed = time.monotonic()
    while not done.wait(1.0):
        if os.getppid() != parent:
            os._exit(_LEASE_LOST)
        if time.monotonic() - renewed < jobs.LEASE / 3:
            continue
        renewed = time.monotonic()
        with database.writing() as connection:
            mine = jobs.renew(connection, number, worker)
        # Where the job has just ended, this is told in a moment.
        if not mine and not done.wait(1.0):
            os._exit(_LEASE_LOST)


if __name__ == "__main__":
    folder, name, kept = sys.argv[1:]
    # Requests come first.
    os.nice(_NICE)
    work(Database(os.environ["DATABASE_URL"]), Path(folder), name, Retention.read(kept))
