"""Jobs: long work as rows, which worker processes take on lease; a lease that runs out sets its job free."""

from __future__ import annotations

import time
from typing import Any

import orjson
from sqlalchemy import Connection, RowMapping, and_, func, insert, or_, select, update

from anomaly_detection.service.clock import now
from anomaly_detection.service.incoming import without_nul
from anomaly_detection.service.tables import jobs, models, streams

__all__ = [
    "LEASE",
    "MOST_ATTEMPTS",
    "add_job",
    "claim",
    "end",
    "find_job",
    "is_training",
    "open_jobs",
    "rendered",
    "renew",
    "set_free",
    "unjudged",
    "waits_for_worker",
]

LEASE = 15.0
"""Seconds for which a worker has a job unless it renews the lease."""

MOST_ATTEMPTS = 3
"""A job that has ended so many workers is given up: it would end the next one too."""

_OPEN = ("queued", "running")


def add_job(connection: Connection, kind: str, stream_id: int) -> int:
    """Queue a job for a stream, ``train`` its model or ``judge`` the records that waited for one; gives its id."""
    values = {"kind": kind, "stream_id": stream_id, "state": "queued", "attempts": 0, "created": now()}
    made = connection.execute(insert(jobs).values(values).returning(jobs.c.id))
    return int(made.scalar_one())


def is_training(connection: Connection, stream_id: int) -> bool:
    """Whether a training of the stream waits or runs."""
    mine = (jobs.c.stream_id == stream_id, jobs.c.kind == "train", jobs.c.state.in_(_OPEN))
    return connection.execute(select(jobs.c.id).where(*mine).limit(1)).first() is not None


def unjudged(connection: Connection) -> list[int]:
    """The ids of streams that have a model and records from before it, and no job for these, open or failed."""
    has_model = select(models.c.id).where(models.c.stream_id == streams.c.id).exists()
    mine = (jobs.c.stream_id == streams.c.id, jobs.c.kind == "judge", jobs.c.state != "done")
    query = select(streams.c.id).where(streams.c.waiting > 0, has_model, ~select(jobs.c.id).where(*mine).exists())
    return list(connection.execute(query).scalars())


def _free(moment: float) -> Any:
    return or_(jobs.c.state == "queued", and_(jobs.c.state == "running", jobs.c.lease_until < moment))


def waits_for_worker(connection: Connection) -> bool:
    """Whether a job is there that nobody works on."""
    return connection.execute(select(jobs.c.id).where(_free(time.time())).limit(1)).first() is not None


def claim(connection: Connection, worker: str) -> RowMapping | None:
    """Take the oldest free job on lease; None where there is none. One with too many attempts fails instead."""
    moment = time.time()
    while True:
        row = connection.execute(select(jobs).where(_free(moment)).order_by(jobs.c.id).limit(1)).mappings().first()
        if row is None:
            return None
        if row["attempts"] < MOST_ATTEMPTS:
            break
        end(connection, row["id"], error=f"The work on it ended {MOST_ATTEMPTS} times before it was done.")
    values = {
        "state": "running",
        "worker": worker,
        "attempts": row["attempts"] + 1,
        "lease_until": moment + LEASE,
        "started": now(),
    }
    connection.execute(update(jobs).where(jobs.c.id == row["id"]).values(values))
    return row


def renew(connection: Connection, number: int, worker: str) -> bool:
    """Go on with a lease; False where the job is no longer this worker's."""
    mine = and_(jobs.c.id == number, jobs.c.worker == worker, jobs.c.state == "running")
    return connection.execute(update(jobs).where(mine).values(lease_until=time.time() + LEASE)).rowcount == 1


def end(connection: Connection, number: int, result: dict[str, Any] | None = None, error: str | None = None) -> None:
    """Write that a job is done, or why it failed; a stream that has no model then waits for more records."""
    values = {
        "state": "done" if error is None else "failed",
        "ended": now(),
        "result": None if result is None else orjson.dumps(result).decode(),
        "error": None if error is None else without_nul(error),
        "lease_until": None,
    }
    connection.execute(update(jobs).where(jobs.c.id == number).values(values))
    if error is not None:
        mine = select(jobs.c.stream_id).where(jobs.c.id == number, jobs.c.kind == "train").scalar_subquery()
        # Twice as many records may have what these lacked.
        more = {"learn_at": 2 * (streams.c.judged + streams.c.waiting)}
        connection.execute(update(streams).where(streams.c.id == mine).values(more))


def set_free(connection: Connection, worker: str) -> None:
    """Give back what a worker had that was told to end: no attempt that counts."""
    mine = and_(jobs.c.worker == worker, jobs.c.state == "running")
    values = {"state": "queued", "attempts": jobs.c.attempts - 1, "lease_until": None, "worker": None}
    connection.execute(update(jobs).where(mine).values(values))


def open_jobs(connection: Connection) -> int:
    """How many wait or run."""
    return int(connection.execute(select(func.count()).select_from(jobs).where(jobs.c.state.in_(_OPEN))).scalar_one())


def find_job(connection: Connection, number: int) -> RowMapping | None:
    """A job's row, with the name of its stream."""
    query = select(jobs, streams.c.name.label("stream")).join(streams).where(jobs.c.id == number)
    return connection.execute(query).mappings().first()


def rendered(row: RowMapping) -> dict[str, Any]:
    """A job for people and programs."""
    names = ("id", "kind", "stream", "state", "attempts", "created", "started", "ended", "error")
    result = row["result"]
    return {**{name: row[name] for name in names}, "result": None if result is None else orjson.loads(result)}
