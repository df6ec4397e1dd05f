"""Lists as files: CSV, Excel and Parquet, written while they are sent."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet
from starlette.responses import Response, StreamingResponse

from anomaly_detection.service.access.masking import masked
from anomaly_detection.service.http.json_answer import answer
from anomaly_detection.service.http.operations import Call, Parameter
from anomaly_detection.service.http.outgoing import Outgoing
from anomaly_detection.service.http.shapes import Shape, choice
from anomaly_detection.service.http.workbook import Workbook

__all__ = ["EXPORTS", "FORMAT", "KINDS", "export", "neutral", "whole"]

Rows = Iterator[list[dict[str, Any]]]

_FIELDS = "record"
"""The member of a row whose own members become columns."""

_MOST_FIELDS = 300
_ARROW = {"integer": pa.int64(), "number": pa.float64(), "boolean": pa.bool_()}
# Wide forms too: spreadsheets of East Asia take them for the same.
_FORMULA = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")


def export(parts: Rows, kind: str, name: str, shape: Shape) -> Response:
    """An answer that is a file of rows, which come some at a time; nothing more of them is held.

    Parameters
    ----------
    parts : iterator of lists of dicts
    kind : str
        One of `EXPORTS`.
    name : str
        Of the file.
    shape : dict
        Of a row: its members are the columns, and those of its ``record`` too.
    """
    media, ending, write = EXPORTS[kind]
    headers = {"Content-Disposition": f'attachment; filename="{name}.{ending}"'}
    # The first part is had now: what is wrong with the question is answered as a problem.
    parts = (masked(rows) for rows in parts)
    first = next(parts, [])
    return StreamingResponse(write(_Columns(shape, first), chain([first], parts)), 200, headers, media)


class _Columns:
    """The columns of a file: the members of its rows, and the fields of their records beside them.

    A file's header comes first, so that the fields are those of the first rows; what later records have besides is in
    the column ``more``, as JSON.
    """

    def __init__(self, shape: Shape, first: Sequence[Mapping[str, Any]]) -> None:
        members = shape["properties"]
        self.has_records = _FIELDS in members
        self._plain = [name for name in members if name != _FIELDS]
        fields = dict.fromkeys(name for row in first for name in (row.get(_FIELDS) or {}))
        self._fields = list(fields)[:_MOST_FIELDS]
        self._known = frozenset(self._fields)
        others = [*(f"{_FIELDS}.{name}" for name in self._fields), *(["more"] if self.has_records else [])]
        # What records hold may be anything: text.
        kinds = [*((name, _kind(members[name])) for name in self._plain), *((name, pa.string()) for name in others)]
        self.schema = pa.schema(kinds)
        self.names = self.schema.names

    def cells(self, row: Mapping[str, Any]) -> list[Any]:
        """The values of a row, plain ones alone: lists and objects as JSON."""
        record = row.get(_FIELDS) or {}
        made = [*(_plain(row.get(name)) for name in self._plain), *(_plain(record.get(name)) for name in self._fields)]
        if self.has_records:
            more = {name: value for name, value in record.items() if name not in self._known}
            made.append(_plain(more) if more else None)
        return made


def _kind(shape: Shape) -> Any:
    kinds = shape.get("type", "string")
    names = [kinds] if isinstance(kinds, str) else kinds
    return next((_ARROW[name] for name in names if name in _ARROW), pa.string())


def _plain(value: Any) -> Any:
    return orjson.dumps(value).decode() if isinstance(value, (dict, list)) else value


def neutral(value: Any) -> Any:
    """A text that a spreadsheet takes for a formula, as one that it does not; anything else itself."""
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return value


def _csv(columns: _Columns, parts: Rows) -> Iterator[bytes]:
    text = io.StringIO()
    lines = csv.writer(text)
    lines.writerow([neutral(name) for name in columns.names])
    for rows in parts:
        for row in rows:
            lines.writerow([_written(neutral(cell)) for cell in columns.cells(row)])
        yield text.getvalue().encode("utf-8", "backslashreplace")
        text.seek(0)
        text.truncate()


def _written(cell: Any) -> Any:
    return str(cell).lower() if isinstance(cell, bool) else cell


def _excel(columns: _Columns, parts: Rows) -> Iterator[bytes]:
    book = Workbook([neutral(name) for name in columns.names])
    for rows in parts:
        for row in rows:
            book.add([neutral(cell) for cell in columns.cells(row)])
        yield book.taken()
    book.close()
    yield book.taken()


def _parquet(columns: _Columns, parts: Rows) -> Iterator[bytes]:
    out = Outgoing()
    with pyarrow.parquet.ParquetWriter(out, columns.schema) as writer:
        for rows in parts:
            cells = zip(*map(columns.cells, rows), strict=True) if rows else [() for _ in columns.schema]
            arrays = [
                pa.array([_as(field.type, cell) for cell in column], field.type)
                for field, column in zip(columns.schema, cells, strict=True)
            ]
            writer.write_table(pa.table(arrays, schema=columns.schema))
            yield out.taken()
    yield out.taken()


def _as(kind: Any, value: Any) -> Any:
    if value is None or kind != pa.string() or isinstance(value, str):
        return value
    return str(value).lower() if isinstance(value, bool) else str(value)


EXPORTS: dict[str, tuple[str, str, Callable[[_Columns, Any], Iterator[bytes]]]] = {
    "csv": ("text/csv; charset=utf-8", "csv", _csv),
    "xlsx": ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "xlsx", _excel),
    "parquet": ("application/vnd.apache.parquet", "parquet", _parquet),
}
"""By name: the type of the file, how its name ends, and what writes it."""

KINDS = tuple(media for media, _, _ in EXPORTS.values())
"""Types of files of a list."""

FORMAT = Parameter("format", "All rows as a file, or JSON.", choice("json", *EXPORTS), "json")


def whole(call: Call, name: str, rows: list[dict[str, Any]], shape: Shape) -> Response:
    """A list without pages, as JSON or as the file that is asked for."""
    kind = call.query["format"]
    return answer({name: rows}) if kind == "json" else export(iter([rows]), kind, name, shape)
