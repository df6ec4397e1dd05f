"""What judges a stream now: the model in effect, at the ratio that was asked for, by what verdicts have taught."""

from __future__ import annotations

from pathlib import Path

import orjson
from sqlalchemy import RowMapping

from anomaly_detection.features.evidence.lessons import Lessons
from anomaly_detection.service.learning.lessons import lessons_of
from anomaly_detection.service.records.incoming import Incoming
from anomaly_detection.service.records.judging import Judge
from anomaly_detection.service.storage.database import Database
from anomaly_detection.service.streams.stream_settings import StreamSettings

__all__ = ["compare_with_recent", "judge_in_effect"]


def judge_in_effect(database: Database, models_dir: Path, row: RowMapping, before: Judge | None = None) -> Judge:
    """That of a row of `current_models`; `before` itself where nothing has changed. Raises as `Judge.load`."""
    settings = StreamSettings.of(row["settings"])
    taught, ratio = row["taught"] if settings.learns else 0, settings.anomaly_ratio
    if before is None or before.model_id != row["id"]:
        before = Judge.load(models_dir / row["file"], row["id"], row["version"])
    elif (before.taught, before.ratio) == (taught, ratio):
        return before
    lessons = Lessons()
    if taught:
        with database.reading() as connection:
            lessons = lessons_of(connection, row["stream_id"], before.led)
    return before.again(lessons, taught, ratio)


def compare_with_recent(database: Database, stream_id: int, judge: Judge) -> Judge:
    """Have a judge compare with what its stream has got since its model was made, from other processes too."""
    with database.reading() as connection:
        missing = judge.recent.missing(connection, stream_id, judge.model_id)
    judge.remember([Incoming(orjson.loads(body)) for body in missing])
    return judge
