"""Bodies of ``/v1``: JSON, NDJSON, CSV, Parquet, Excel, Arrow, as records in their order, all at once or in parts."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.ipc

from anomaly_detection.data.chunks import read_chunks
from anomaly_detection.data.formats.arrow_tables import REFUSED, arrow_to_frame
from anomaly_detection.data.formats.unpacked_size import laid_out, refuse_bomb
from anomaly_detection.data.frames import refuse_duplicates
from anomaly_detection.errors import DataError, first_line
from anomaly_detection.service.http.limits import Limits
from anomaly_detection.service.http.problems import Problem
from anomaly_detection.service.http.shapes import OBJECT, Shape, array
from anomaly_detection.service.records.incoming import Incoming
from anomaly_detection.service.records.plain_records import records_of_frame
from anomaly_detection.texts.said import Figure, replaced, say

__all__ = ["JSON_BODY", "MEDIA", "kind_of", "parts_of", "records_of", "unpacked"]

MOST_JSON = 512 * 1024 * 1024
"""Bytes of a JSON file, which can only be read as a whole."""

JSON_BODY: Shape = {
    "anyOf": [array({}, 1), OBJECT],
    "description": "Records in a list, also under `records`, or one record; what is no object is refused by itself.",
}
_PART = 1000
"""Records of a part of a file. A job goes on by it after it was interrupted, so it stays."""

_OF_A_BODY = 5000
"""The same of a body: a table's part takes as long to begin with as 500 records."""

_ARROW_FILE = b"ARROW1"


def kind_of(content_type: str) -> str:
    """The kind of a body; `Problem` (415) for one that is not read."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind not in MEDIA:
        raise Problem(
            415,
            say(
                "%(kind)s is not read; send %(media)s.",
                kind=kind[:64] or "A body without a Content-Type",
                media=", ".join(MEDIA),
            ),
        )
    return MEDIA[kind]


def records_of(body: bytes, kind: str, limits: Limits) -> list[Incoming] | None:
    """The records of a body; `Problem` (400) for one that is not what it says.

    None where a packed one holds more than a request may: what a job reads some at a time is not all held here.
    """
    if kind in ("json", "ndjson"):
        return _of_json(body) if kind == "json" else list(map(_line, filter(bytes.strip, body.split(b"\n"))))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"body.{kind}"
        path.write_bytes(body)
        found: list[Incoming] = []
        size = 0
        for part in parts_of(path, kind, _OF_A_BODY):
            found += part
            size += unpacked(part)
            if len(found) > limits.records or size > limits.body:
                return None
        return found


def unpacked(records: list[Incoming]) -> int:
    """How much records take once they are kept: few bytes of a packed file may be many."""
    return sum(len(each.body) for each in records)


def parts_of(path: Path, kind: str, most: int | None = None) -> Iterator[list[Incoming]]:
    """The records of a file, some at a time, in the same parts whenever it is read; raises as `records_of`."""
    try:
        yield from _READERS[kind](path, most or _PART)
    except DataError as error:
        raise Problem(400, replaced(error.args[0], str(path), say("The body"))) from error


def _of_json(body: bytes) -> list[Incoming]:
    try:
        content: Any = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Problem(400, say("The body is no JSON: %(error)s.", error=error)) from error
    if isinstance(content, dict) and isinstance(content.get("records"), list):
        content = content["records"]
    return [Incoming.of(value) for value in (content if isinstance(content, list) else [content])]


def _json(path: Path, most: int) -> Iterator[list[Incoming]]:
    if path.stat().st_size > MOST_JSON:
        raise DataError(
            say(
                "JSON of more than %(most)s bytes cannot be read; send NDJSON, a record a line.",
                most=Figure(f"{MOST_JSON:,}"),
            )
        )
    records = _of_json(path.read_bytes())
    for first in range(0, len(records), most):
        yield records[first : first + most]


def _line(line: bytes) -> Incoming:
    try:
        return Incoming.of(orjson.loads(line))
    except orjson.JSONDecodeError as error:
        return Incoming({"line": line.decode("utf-8", "replace")}, say("The line is no JSON: %(error)s.", error=error))


def _ndjson(path: Path, most: int) -> Iterator[list[Incoming]]:
    with path.open("rb") as file:
        lines = filter(bytes.strip, file)
        while some := [_line(line) for line in islice(lines, most)]:
            yield some


def _table(path: Path, most: int) -> Iterator[list[Incoming]]:
    for frame in read_chunks(path, most, lambda remark: None):
        yield records_of_frame(frame)


def _arrow(path: Path, most: int) -> Iterator[list[Incoming]]:
    """Of a file or a stream of Arrow's IPC format."""
    try:
        with pa.memory_map(str(path)) as file:
            is_file = file.read(len(_ARROW_FILE)) == _ARROW_FILE
            file.seek(0)
            if is_file:
                reader = pyarrow.ipc.open_file(file)
                batches = (reader.get_batch(place) for place in range(reader.num_record_batches))
            else:
                reader = pyarrow.ipc.open_stream(file)
                batches = iter(reader)
            refuse_duplicates(reader.schema.names)
            for batch in batches:
                for first in range(0, batch.num_rows, most):
                    part = batch.slice(first, most)
                    for name, column in zip(part.schema.names, part.columns, strict=True):
                        refuse_bomb(name, laid_out(column), path.stat().st_size)
                    yield records_of_frame(arrow_to_frame(pa.Table.from_batches([part])))
    except DataError:
        raise
    except REFUSED as error:
        raise DataError(
            say("The body cannot be read as Arrow's IPC format: %(error)s.", error=first_line(error))
        ) from error


_READERS: dict[str, Callable[[Path, int], Iterator[list[Incoming]]]] = {
    "json": _json,
    "ndjson": _ndjson,
    "csv": _table,
    "parquet": _table,
    "xlsx": _table,
    "arrow": _arrow,
}
MEDIA = {
    "application/json": "json",
    "application/x-ndjson": "ndjson",
    "application/jsonl": "ndjson",
    "text/csv": "csv",
    "application/vnd.apache.parquet": "parquet",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "application/vnd.apache.arrow.stream": "arrow",
    "application/vnd.apache.arrow.file": "arrow",
}
"""The types of bodies, and the kind of each."""
