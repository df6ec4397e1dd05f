"""The job that trains: a model of a stream's kept records, or of those of a file."""

from __future__ import annotations

from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pandas as pd
from sqlalchemy import RowMapping

from anomaly_detection.anomaly_detection_api import AnomalyDetectionAPI
from anomaly_detection.data.cells.number_texts import parse_numbers
from anomaly_detection.data.files import prepare_folder
from anomaly_detection.errors import AnomalyDetectionError, DataError
from anomaly_detection.evaluation.comparison import Comparison
from anomaly_detection.service.http.bodies import parts_of
from anomaly_detection.service.http.problems import Problem
from anomaly_detection.service.jobs import jobs
from anomaly_detection.service.learning.challenging import challenged
from anomaly_detection.service.learning.models import add_model, new_file
from anomaly_detection.service.records.incoming import Incoming, table
from anomaly_detection.service.records.keeping import recent_records
from anomaly_detection.service.storage.database import Database
from anomaly_detection.service.streams.stream_settings import StreamSettings
from anomaly_detection.service.streams.streams import find_stream

__all__ = ["MOST_LEARNED", "learn", "train"]

MOST_LEARNED = 50_000
"""The records that a model learns from at most, of kept ones the newest: as many fit any machine."""

_RATIO = 0.05


def train(database: Database, models_dir: Path, uploads: Path, job: RowMapping, worker: str) -> None:
    """Do the job."""
    number, stream_id, given = job["id"], job["stream_id"], jobs.input_of(job)
    with database.reading() as connection:
        row = jobs.find_job(connection, number)
        stream = None if row is None else find_stream(connection, row["stream"])
    if stream is None:
        return
    error, path, count = "", new_file(models_dir, stream_id), 0
    comparison: Comparison | None = None
    try:
        prepare_folder(models_dir)
        settings = StreamSettings.of(stream.settings)
        challenge = challenged(database, models_dir, stream_id) if given.get("challenge") else None
        records = challenge.learned if challenge else _records(database, uploads, stream_id, given)
        try:
            model = learn(records, settings)
        except DataError:
            finite = _finite(records)
            if "file" in given or len(finite) == len(records):
                raise
            # Whoever sent what waits for a model was not told that it cannot be judged.
            records, model = finite, learn(finite, settings)
        if challenge is not None:
            comparison = challenge.compared(model.detector)
            records = challenge.every
            model = learn(records, settings)
        count = len(records)
        model.save_model(path)
    except (AnomalyDetectionError, Problem) as failure:
        error = failure.args[0]
    with database.writing() as connection:
        if not jobs.renew(connection, number, worker):
            # Another has the job by now, or it was cancelled.
            path.unlink(missing_ok=True)
            return
        if error:
            jobs.end(connection, number, error=error)
            return
        who = given.get("who", "service")
        promote = given.get("promote", True)
        if comparison is not None:
            promote = settings.promote == "not worse" and comparison.is_not_worse
        told = None if comparison is None else orjson.dumps(comparison.plain).decode()
        version = add_model(connection, stream_id, path, f"job {number}", count, who, promote=promote, comparison=told)
        jobs.end(connection, number, result={"version": version, "records": count})


def learn(records: list[Incoming], settings: StreamSettings) -> AnomalyDetectionAPI:
    """A model of records; raises `DataError` for what nothing can be learned from."""
    rows = table([each.judgeable for each in records])
    api = AnomalyDetectionAPI(anomaly_ratio=settings.anomaly_ratio or _RATIO)
    return api.fit(rows, declarations=settings.declarations(rows[0]))


def _finite(records: list[Incoming]) -> list[Incoming]:
    """Those without a text that is an infinite number, which no model takes."""
    texts = list({value for each in records for value in each.judgeable.values() if isinstance(value, str)})
    numbers = parse_numbers(pd.Series(texts, dtype=object))
    infinite = {text for text, number in zip(texts, numbers, strict=True) if np.isinf(number)}
    return [each for each in records if infinite.isdisjoint(filter(_is_text, each.judgeable.values()))]


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _records(database: Database, uploads: Path, stream_id: int, given: dict[str, Any]) -> list[Incoming]:
    if "file" in given:
        sound = (
            each for each in chain.from_iterable(parts_of(uploads / given["file"], given["kind"])) if not each.fault
        )
        return list(islice(sound, MOST_LEARNED))
    with database.reading() as connection:
        bodies = recent_records(connection, stream_id, min(given.get("records") or MOST_LEARNED, MOST_LEARNED))
    return [Incoming(orjson.loads(body)) for body in bodies]
