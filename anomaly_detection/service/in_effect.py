"""What judges a stream now: the model in effect, at the ratio that was asked for, by what verdicts have taught."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import RowMapping

from anomaly_detection.features.lessons import Lessons
from anomaly_detection.service.database import Database
from anomaly_detection.service.judging import Judge
from anomaly_detection.service.lessons import lessons_of
from anomaly_detection.service.stream_settings import StreamSettings

__all__ = ["judge_in_effect"]


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
            lessons = lessons_of(connection, row["stream_id"])
    return before.again(lessons, taught, ratio)
