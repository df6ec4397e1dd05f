"""Jobs: long work as rows, which worker processes take on lease; a lease that runs out sets its job free."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import Connection, RowMapping, and_, func, insert, or_, select, update

from anomaly_detection.service.http.listing import OF_STREAM, Filter, Listing
from anomaly_detection.service.http.operations import Parameter
from anomaly_detection.service.http.shapes import COUNT, OBJECT, TEXT, choice, maybe, record
from anomaly_detection.service.records.incoming import without_nul
from anomaly_detection.service.storage.clock import now
from anomaly_detection.service.storage.tables import jobs, streams
from anomaly_detection.texts.said import written
from anomaly_detection.texts.viewer import reread

__all__ = [
    "ASKED_FOR",
    "JOB",
    "JOBS",
    "LEASE",
    "MOST_ATTEMPTS",
    "OPEN",
    "add_job",
    "advance",
    "cancel",
    "claim",
    "end",
    "find_job",
    "input_of",
    "is_training",
    "needed_uploads",
    "open_jobs",
    "open_of",
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

ASKED_FOR = ("train", "take")
"""The kinds of jobs that requests ask for, and of which only so many may wait."""

_KINDS = (*ASKED_FOR, "query", "judge", "delete", "forget", "watch")
OPEN = ("queued", "running")


def add_job(connection: Connection, kind: str, stream_id: int, given: Mapping[str, Any] | None = None) -> int:
    """Queue a job for a stream; gives its id.

    `kind` is ``train`` its model, ``judge`` the records that waited for one, ``take`` those of a file, ``query`` the
    new rows of a database, ``delete`` all that it had, ``forget`` what need not be kept any longer, or ``watch`` for
    drift. `given` is what the job has to know besides, such as the name of its file.
    """
    values = {
        "kind": kind,
        "stream_id": stream_id,
        "state": "queued",
        "attempts": 0,
        "created": now(),
        "input": None if given is None else orjson.dumps(dict(given)).decode(),
        "done": 0,
    }
    made = connection.execute(insert(jobs).values(values).returning(jobs.c.id))
    return int(made.scalar_one())


def is_training(connection: Connection, stream_id: int) -> bool:
    """Whether a training of the stream waits or runs."""
    mine = (jobs.c.stream_id == stream_id, jobs.c.kind == "train", jobs.c.state.in_(OPEN))
    return connection.execute(select(jobs.c.id).where(*mine).limit(1)).first() is not None


def unjudged(connection: Connection) -> list[int]:
    """The ids of streams with a model in effect and records from before it, and no job for these, open or failed."""
    has_model = streams.c.model_version.is_not(None) & streams.c.deleted.is_(None)
    mine = (jobs.c.stream_id == streams.c.id, jobs.c.kind == "judge", jobs.c.state.in_(("queued", "running", "failed")))
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


def advance(
    connection: Connection,
    number: int,
    worker: str,
    done: int,
    total: int | None = None,
    result: Mapping[str, Any] | None = None,
) -> bool:
    """Write how far a job has come, in the transaction that brings it there; False where it is no longer this worker's.

    Whoever takes the job up goes on from there: nothing is done twice.
    """
    values: dict[str, Any] = {"done": done, "lease_until": time.time() + LEASE}
    if total is not None:
        values["total"] = total
    if result is not None:
        values["result"] = orjson.dumps(dict(result)).decode()
    mine = and_(jobs.c.id == number, jobs.c.worker == worker, jobs.c.state == "running")
    return connection.execute(update(jobs).where(mine).values(values)).rowcount == 1


def cancel(connection: Connection, number: int) -> bool:
    """End a job before it is done; its worker finds out when it renews its lease. False where it had ended already."""
    values = {"state": "cancelled", "ended": now(), "lease_until": None}
    return (
        connection.execute(update(jobs).where(jobs.c.id == number, jobs.c.state.in_(OPEN)).values(values)).rowcount == 1
    )


def open_of(connection: Connection, stream_id: int) -> list[int]:
    """The open jobs of a stream."""
    mine = select(jobs.c.id).where(jobs.c.stream_id == stream_id, jobs.c.state.in_(OPEN))
    return list(connection.execute(mine).scalars())


def input_of(row: RowMapping) -> dict[str, Any]:
    """What a job was given."""
    return dict(orjson.loads(row["input"])) if row["input"] else {}


def needed_uploads(connection: Connection) -> set[str]:
    """The names of the files that open jobs have not done with."""
    rows = connection.execute(select(jobs.c.input).where(jobs.c.state.in_(OPEN), jobs.c.input.is_not(None))).scalars()
    return {orjson.loads(given).get("file", "") for given in rows}


def end(connection: Connection, number: int, result: dict[str, Any] | None = None, error: str | None = None) -> None:
    """Write that a job is done, or why it failed; a stream that has no model then waits for more records."""
    values = {
        "state": "done" if error is None else "failed",
        "ended": now(),
        **({} if result is None else {"result": orjson.dumps(result).decode()}),
        "error": None if error is None else without_nul(written(error)),
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


def open_jobs(connection: Connection, kinds: Sequence[str] = _KINDS) -> int:
    """How many of some kinds wait or run."""
    mine = (jobs.c.state.in_(OPEN), jobs.c.kind.in_(kinds))
    return int(connection.execute(select(func.count()).select_from(jobs).where(*mine)).scalar_one())


def find_job(connection: Connection, number: int) -> RowMapping | None:
    """A job's row, with the name of its stream."""
    return connection.execute(_ALL.where(jobs.c.id == number)).mappings().first()


def rendered(row: RowMapping) -> dict[str, Any]:
    """A job for people and programs."""
    result = row["result"]
    made = {name: row[name] for name in JOB["properties"] if name != "result"}
    return {**made, "error": reread(row["error"]), "result": None if result is None else orjson.loads(result)}


JOB = record(
    {
        "id": COUNT,
        "kind": choice(*_KINDS),
        "stream": TEXT,
        "state": choice("queued", "running", "done", "failed", "cancelled"),
        "done": COUNT,
        "total": maybe(COUNT),
        "attempts": COUNT,
        "created": TEXT,
        "started": maybe(TEXT),
        "ended": maybe(TEXT),
        "error": maybe(TEXT),
        "result": maybe(OBJECT),
    },
    closed=False,
)
"""The shape of a job."""

_ALL = select(jobs, streams.c.name.label("stream")).join(streams)

JOBS = Listing(
    "jobs",
    _ALL,
    jobs.c.id,
    {"newest": (jobs.c.id, True), "oldest": (jobs.c.id, False)},
    (
        OF_STREAM,
        Filter(
            Parameter("kind", "Only those of this kind.", JOB["properties"]["kind"]),
            lambda _, value: jobs.c.kind == value,
        ),
        Filter(
            Parameter("state", "Only those in this state.", JOB["properties"]["state"]),
            lambda _, value: jobs.c.state == value,
        ),
    ),
    rendered,
    JOB,
)
"""All jobs."""
