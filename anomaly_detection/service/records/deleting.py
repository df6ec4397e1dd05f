"""The job that deletes what a stream had, some rows at a time, so that nobody waits for it."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, RowMapping, delete, func, select, update

from anomaly_detection.service.jobs import jobs
from anomaly_detection.service.storage.database import Database
from anomaly_detection.service.storage.tables import (
    alerts,
    cases,
    drift,
    files,
    idempotency,
    letters,
    marks,
    models,
    quarters,
    records,
    rules,
    seen,
    sources,
)

__all__ = ["delete_all"]

_AT_ONCE = 2000


def delete_all(database: Database, models_dir: Path, uploads: Path, job: RowMapping, worker: str) -> None:
    """Do the job, or go on with it. The stream's own row, its jobs and the audit stay."""
    number, stream_id, done = job["id"], job["stream_id"], job["done"]
    if job["total"] is None:
        with database.writing() as connection:
            if not jobs.advance(connection, number, worker, done, _rows(connection, stream_id)):
                return
    for table in (records, alerts):
        while True:
            some = select(table.c.id).where(table.c.stream_id == stream_id).limit(_AT_ONCE)
            with database.writing() as connection:
                if not jobs.renew(connection, number, worker):
                    return
                gone = connection.execute(delete(table).where(table.c.id.in_(some))).rowcount
                jobs.advance(connection, number, worker, done + gone)
            done += gone
            if gone < _AT_ONCE:
                break
    with database.reading() as connection:
        gone_with = list(connection.execute(select(models.c.file).where(models.c.stream_id == stream_id)).scalars())
    with database.writing() as connection:
        if not jobs.renew(connection, number, worker):
            return
        connection.execute(update(cases).where(cases.c.stream_id == stream_id).values(follows=None, merged_into=None))
        mine = select(sources.c.id).where(sources.c.stream_id == stream_id)
        connection.execute(delete(marks).where(marks.c.source_id.in_(mine)))
        for table in (drift, cases, rules, models, idempotency, quarters, files, letters, sources, seen):
            connection.execute(delete(table).where(table.c.stream_id == stream_id))
        jobs.end(connection, number, result={"rows": done, "models": len(gone_with)})
    for file in gone_with:
        (models_dir / file).unlink(missing_ok=True)


def _rows(connection: Connection, stream_id: int) -> int:
    tables = (records, alerts)
    counts = (select(func.count()).select_from(each).where(each.c.stream_id == stream_id) for each in tables)
    return sum(int(connection.execute(count).scalar_one()) for count in counts)
