"""The job that takes rows of a database from a watermark on, each once, whenever its worker ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import RowMapping, select, update

from anomaly_detection.errors import AnomalyDetectionError
from anomaly_detection.service.jobs import jobs
from anomaly_detection.service.jobs.taking import current_judge, keep_part, new_ones, nothing_taken, told_with
from anomaly_detection.service.records.incoming import Incoming
from anomaly_detection.service.records.judging import Judge
from anomaly_detection.service.records.seen import Occurrences
from anomaly_detection.service.records.verdicts import Verdicts
from anomaly_detection.service.sources.querying import Position
from anomaly_detection.service.sources.source_book import query_of
from anomaly_detection.service.storage.database import Database
from anomaly_detection.service.storage.tables import sources

__all__ = ["position_of", "take_rows"]


def position_of(row: RowMapping) -> Position | None:
    """How far a source has come."""
    return Position.of(None if row["position"] is None else orjson.loads(row["position"]))


def take_rows(database: Database, models_dir: Path, uploads: Path, job: RowMapping, worker: str) -> None:
    """Do the job, or go on with it: what was kept, and how far that is, is kept at once."""
    with database.reading() as connection:
        query = select(sources).where(sources.c.id == jobs.input_of(job)["source"])
        source = connection.execute(query).mappings().first()
    error = None
    try:
        if source is None:
            error = "The source was removed."
        elif not _take_rows(database, models_dir, source, job, worker):
            return
    except AnomalyDetectionError as failure:
        error = str(failure)
    with database.writing() as connection:
        if jobs.renew(connection, job["id"], worker):
            jobs.end(connection, job["id"], error=error)


def _take_rows(database: Database, models_dir: Path, source: RowMapping, job: RowMapping, worker: str) -> bool:
    """False where the job is another's by now."""
    start = position_of(source)
    stream_id: int = job["stream_id"]
    occurrences = Occurrences(stream_id)
    told = orjson.loads(job["result"]) if job["result"] else nothing_taken(skips=True)
    judge: Judge | None = None
    done: int = job["done"]
    value: Any = None if start is None else start.value
    count = 0
    for part in query_of(source).parts(start):
        fresh = _fresh(database, stream_id, occurrences, start, part)
        for watermark, _ in part:
            value, count = watermark, count + 1 if watermark == value else 1
        judge = current_judge(database, models_dir, stream_id, judge)
        found = Verdicts.unjudged(fresh) if judge is None else judge.judge(fresh)
        with database.writing() as connection:
            kept = keep_part(connection, job, worker, found, judge)
            if kept is None:
                return False
            position = orjson.dumps(Position(value, count).written()).decode()
            connection.execute(update(sources).where(sources.c.id == source["id"]).values(position=position))
            told = told_with(told, found, kept, range(done + 1, done + 1 + len(fresh)))
            told["known"] += len(part) - len(fresh)
            done += len(fresh)
            jobs.advance(connection, job["id"], worker, done, None, told)
    return True


def _fresh(
    database: Database,
    stream_id: int,
    occurrences: Occurrences,
    start: Position | None,
    part: list[tuple[Any, Incoming]],
) -> list[Incoming]:
    """Those that were not taken: of rows of the watermark that was reached before, the ones that the stream lacks."""
    # They come first.
    same = [each for watermark, each in part if start is not None and watermark == start.value]
    is_new = new_ones(database, stream_id, occurrences, same) if same else []
    return [
        *(each for each, new in zip(same, is_new, strict=True) if new),
        *(each for _, each in part[len(same) :]),
    ]
