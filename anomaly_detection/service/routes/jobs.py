"""Jobs: listed, looked at, followed and cancelled."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anyio
from sqlalchemy import Connection
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from anomaly_detection.service.access.masking import masked
from anomaly_detection.service.access.rights import Need
from anomaly_detection.service.alerts.audit import write_line
from anomaly_detection.service.http.exports import KINDS
from anomaly_detection.service.http.json_answer import answer, dumps
from anomaly_detection.service.http.operations import Call, Operation
from anomaly_detection.service.http.problems import Problem
from anomaly_detection.service.jobs.jobs import JOB, JOBS, cancel, find_job, input_of, rendered
from anomaly_detection.service.processes.service import Service
from anomaly_detection.texts.said import say

__all__ = ["OPERATIONS"]

_OPEN = ("queued", "running")
_PAUSE = 0.25
_SILENCE = 15.0


def list_jobs(service: Service, call: Call) -> Response:
    """``GET /v1/jobs``."""
    return JOBS.answer(service.database, call)


def get_job(service: Service, call: Call) -> Response:
    """``GET /v1/jobs/{id}``."""
    return answer(_job(service, call.id))


async def follow_job(
    service: Service, call: Call, request: Request, in_turn: Callable[..., Awaitable[Any]]
) -> Response:
    """``GET /v1/jobs/{id}/events``."""
    # With what it is masked by, the answer may begin.
    first = masked(await run_in_threadpool(_job, service, call.id))
    headers = {"X-Accel-Buffering": "no"}
    return StreamingResponse(_events(service, first), 200, headers, "text/event-stream")


async def _events(service: Service, job: dict[str, Any]) -> AsyncIterator[bytes]:
    """An event for each change, and a comment where nothing changes for long, so that nobody thinks it broke off.

    It ends with the job, or with the service: browsers then ask again.
    """
    told, silence = b"", 0.0
    while True:
        said = dumps(masked(job))
        if said != told:
            name = "progress" if job["state"] in _OPEN else job["state"]
            yield b"event: " + name.encode() + b"\ndata: " + said + b"\n\n"
            told, silence = said, 0.0
        elif silence >= _SILENCE:
            yield b": still here\n\n"
            silence = 0.0
        if job["state"] not in _OPEN or service.ending.is_set():
            return
        await anyio.sleep(_PAUSE)
        silence += _PAUSE
        job = await run_in_threadpool(_job, service, job["id"])


def cancel_job(service: Service, call: Call) -> Response:
    """``DELETE /v1/jobs/{id}``."""

    def work(connection: Connection) -> str | None:
        row = find_job(connection, call.id)
        if row is None:
            raise Problem(404, say("There is no job %(id)s.", id=call.id))
        if row["kind"] == "delete":
            raise Problem(409, say("The deletion of a stream cannot be stopped."))
        if not cancel(connection, call.id):
            raise Problem(409, say("Job %(id)s has ended already: it is %(state)s.", id=call.id, state=row["state"]))
        write_line(connection, call.who, "cancel", "job", (call.id, {"state": row["state"]}, {"state": "cancelled"}))
        return input_of(row).get("file") if row["state"] == "queued" else None

    file = service.writer.run(work)
    if file is not None:
        # Of one that runs its worker removes it.
        (service.uploads_dir / file).unlink(missing_ok=True)
    return answer(_job(service, call.id))


def _job(service: Service, number: int) -> dict[str, Any]:
    with service.database.reading() as connection:
        row = find_job(connection, number)
    if row is None:
        raise Problem(404, say("There is no job %(number)s.", number=number))
    return rendered(row)


OPERATIONS = (
    Operation(
        "GET",
        "/v1/jobs",
        list_jobs,
        "List jobs, or export them.",
        JOBS.shape,
        "A page of jobs, or a file.",
        JOBS.parameters,
        kinds=KINDS,
        needs=Need("read", "query"),
    ),
    Operation("GET", "/v1/jobs/{id}", get_job, "How a job is.", JOB, "The job.", needs=Need("read", "job")),
    Operation(
        "GET",
        "/v1/jobs/{id}/events",
        follow_job,
        "How a job goes on, as server-sent events: `progress`, and at the end its state; each with the job as data.",
        {},
        "The events, until the job has ended.",
        kinds=("text/event-stream",),
        takes_request=True,
        needs=Need("read", "job"),
    ),
    Operation(
        "DELETE",
        "/v1/jobs/{id}",
        cancel_job,
        "Cancel a job; what it has done until then stays.",
        JOB,
        "The job.",
        statuses=(409,),
        needs=Need("manage", "job"),
    ),
)
