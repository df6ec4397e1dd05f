"""How the columns of a stream are read: by its model, or before there is one by what it would learn from."""

from __future__ import annotations

from typing import Any

import orjson
from sqlalchemy import Connection

from anomaly_detection.data.columns.declarations import described, toml_of
from anomaly_detection.data.columns.schema import Schema, infer_schema
from anomaly_detection.data.frames import to_frame
from anomaly_detection.errors import DataError
from anomaly_detection.service.http.problems import Problem
from anomaly_detection.service.learning.training import MOST_LEARNED
from anomaly_detection.service.records.incoming import Incoming, table
from anomaly_detection.service.records.judging import Judge
from anomaly_detection.service.records.keeping import recent_records
from anomaly_detection.service.streams.stream_settings import StreamSettings
from anomaly_detection.service.streams.streams import Stream
from anomaly_detection.texts.said import say
from anomaly_detection.texts.viewer import retold

__all__ = ["columns_toml", "read_columns"]

_LOOKED_AT = 2000
"""Records that examples come from where there is a model."""

_EXAMPLES, _LONGEST = 3, 100


def read_columns(connection: Connection, stream: Stream, judge: Judge | None) -> list[dict[str, Any]]:
    """Each column with its kind, why, what else is known of it, and examples."""
    rows = _rows(connection, stream, judge)
    return [
        {
            "name": column.name,
            **described(column),
            "reason": retold(column.reason),
            "examples": _examples(rows, column.name),
        }
        for column in _schema(rows, stream, judge).columns
    ]


def columns_toml(connection: Connection, stream: Stream, judge: Judge | None) -> str:
    """The same as ``columns.toml``."""
    return toml_of(_schema(_rows(connection, stream, judge), stream, judge).columns)


def _rows(connection: Connection, stream: Stream, judge: Judge | None) -> list[dict[str, Any]]:
    # Of fewer than a training takes, a column of products may look like one of numbers that name a record.
    most = MOST_LEARNED if judge is None else _LOOKED_AT
    return [Incoming(orjson.loads(body)).judgeable for body in recent_records(connection, stream.id, most)]


def _schema(rows: list[dict[str, Any]], stream: Stream, judge: Judge | None) -> Schema:
    if judge is not None:
        schema: Schema = judge.detector.preprocessor.schema_
        return schema
    try:
        made = table(rows)
        return infer_schema(to_frame(made), StreamSettings.of(stream.settings).declarations(made[0]))
    except DataError as error:
        raise Problem(409, say("The columns cannot be told yet: %(error)s", error=error)) from error


def _examples(rows: list[dict[str, Any]], name: str) -> list[str]:
    found: dict[str, None] = {}
    for row in reversed(rows):
        value = row.get(name)
        if value is not None and str(value).strip():
            found[str(value)[:_LONGEST]] = None
            if len(found) == _EXAMPLES:
                break
    return list(found)
