"""Bodies of ``/v1``: JSON, NDJSON and CSV, as records in their order."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from anomaly_detection.data.chunks import read_table
from anomaly_detection.errors import DataError
from anomaly_detection.service.incoming import Incoming
from anomaly_detection.service.problems import Problem

__all__ = ["records_of"]


def records_of(body: bytes, content_type: str) -> list[Incoming]:
    """The records of a body.

    Raises
    ------
    Problem
        400 for a body that is not what it says, 415 for another kind.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind not in _READERS:
        raise Problem(415, f"{kind or 'A body without a Content-Type'} is not read; send {', '.join(_READERS)}.")
    return _READERS[kind](body)


def _json(body: bytes) -> list[Incoming]:
    try:
        content: Any = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Problem(400, f"The body is no JSON: {error}.") from error
    if isinstance(content, dict) and isinstance(content.get("records"), list):
        content = content["records"]
    return [Incoming.of(value) for value in (content if isinstance(content, list) else [content])]


def _ndjson(body: bytes) -> list[Incoming]:
    return [_line(line) for line in body.split(b"\n") if line.strip()]


def _line(line: bytes) -> Incoming:
    try:
        return Incoming.of(orjson.loads(line))
    except orjson.JSONDecodeError as error:
        return Incoming({"line": line.decode("utf-8", "replace")}, f"The line is no JSON: {error}.")


def _csv(body: bytes) -> list[Incoming]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "body.csv"
        path.write_bytes(body)
        try:
            frame = read_table(path, say=lambda remark: None)
        except DataError as error:
            raise Problem(400, str(error).replace(str(path), "The body")) from error
    return [Incoming.of({str(name): value for name, value in row.items()}) for row in frame.to_dict("records")]


_READERS: dict[str, Callable[[bytes], list[Incoming]]] = {
    "application/json": _json,
    "application/x-ndjson": _ndjson,
    "application/jsonl": _ndjson,
    "text/csv": _csv,
}
