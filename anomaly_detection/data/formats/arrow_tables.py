"""Arrow tables as pandas frames, also those with columns that pandas cannot take as they are."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from anomaly_detection.errors import DataError, first_line
from anomaly_detection.texts.said import N_, say

__all__ = ["REFUSED", "arrow_to_frame"]

REFUSED = (pa.ArrowException, ValueError, LookupError, TypeError, ArithmeticError, OSError, AttributeError)
"""What Arrow and pandas raise for a column that pandas cannot take."""

_NULLABLE: dict[Any, Any] = {
    kind: getattr(pd, f"{'U' if str(kind).startswith('u') else ''}Int{kind.bit_width}Dtype")()
    for kind in (pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64())
}
"""Pandas' types for whole numbers some of which are missing."""

_BYTES: dict[str, Callable[[], Any]] = {
    "string": pa.binary,
    "large_string": pa.large_binary,
    "string_view": lambda: pa.binary_view(),
}
"""The type of bytes that each type of text is, by its name: older versions of Arrow have no views."""

_Column = Any  # pyarrow has no types


def arrow_to_frame(table: pa.Table, gaps: Collection[str] = ()) -> pd.DataFrame:
    """Make a pandas frame of an Arrow table, by what pandas noted in it about its types.

    All columns come as columns, also those that were an index. Whole numbers some of which are missing stay whole
    (Int64 and the like). Where pandas cannot take a column, it comes as what says the same: dates beyond its years in
    seconds, times in an unknown zone in UTC, text that is not UTF-8 with escapes, anything else as text.

    Parameters
    ----------
    table : pyarrow.Table
    gaps : collection of str
        Columns of whole numbers or truth values that are missing in other parts of the same table: they come in the
        types that they have there.

    Returns
    -------
    pandas.DataFrame

    Raises
    ------
    DataError
        If a column can be taken in no way.
    ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RecursionError, pyarrow.ArrowException
        If the notes of pandas are damaged.
    """
    try:
        # Pandas takes texts on trust, and trips over what is no UTF-8 later.
        table.validate(full=True)
        return _to_pandas(table, (), gaps)
    except REFUSED:
        odd = [name for name in dict.fromkeys(table.column_names) if not _is_taken(table.column(name))]
        if not odd:
            raise
    for name in odd:
        table = table.set_column(table.column_names.index(name), name, _taken(name, table.column(name)))
    return _to_pandas(table, odd, gaps)


def _to_pandas(table: pa.Table, odd: Any, gaps: Collection[str]) -> pd.DataFrame:
    frame: pd.DataFrame = table.replace_schema_metadata(_understood(table.schema.metadata, odd)).to_pandas()
    changed = {}
    for place, field in enumerate(table.schema):
        if field.name not in gaps and table.column(place).null_count == 0:
            continue
        if pa.types.is_integer(field.type) and frame.dtypes.iloc[place].kind == "f":
            # A float would change what is beyond 2**53.
            changed[field.name] = table.column(place).to_pandas(types_mapper=_NULLABLE.get)
        elif pa.types.is_integer(field.type) and isinstance(frame.dtypes.iloc[place], np.dtype):
            changed[field.name] = frame.iloc[:, place].astype(_NULLABLE[field.type])
        elif pa.types.is_boolean(field.type) and frame.dtypes.iloc[place].kind == "b":
            changed[field.name] = frame.iloc[:, place].astype(object)
    return frame.assign(**changed) if changed else frame


def _understood(metadata: dict[bytes, bytes] | None, odd: Any) -> dict[bytes, bytes] | None:
    """What pandas noted about the columns' types, less those of `odd` columns and of types that it does not know."""
    if metadata is None or b"pandas" not in metadata:
        return metadata
    notes = json.loads(metadata[b"pandas"])
    # An index would be lost with the first frame that is put together from others.
    notes["index_columns"] = []
    notes["columns"] = [column for column in notes["columns"] if column.get("field_name") not in odd]
    for column in notes["columns"]:
        if column.get("name") is None:
            # An index without a name has one as a column.
            column["name"] = column.get("field_name")
        try:
            pd.api.types.pandas_dtype(column["numpy_type"])
        except (TypeError, LookupError):
            column["numpy_type"] = "object"
    return {**metadata, b"pandas": json.dumps(notes).encode()}


def _is_taken(column: _Column) -> bool:
    try:
        column.validate(full=True)
        column.to_pandas()
    except REFUSED:
        return False
    return True


def _refuse_damage(name: str, column: _Column) -> None:
    """Raise `DataError` where cells lie outside their buffers: whoever reads such a column reads other memory.

    That a text is no UTF-8 is no such damage, nor that a time is none, for these have their places.
    """
    has_places = pa.types.is_primitive(column.type) or pa.types.is_decimal(column.type)
    try:
        column.validate(full=not has_places)
    except REFUSED:
        try:
            for chunk in column.chunks:
                _as_bytes(chunk).validate(full=True)
        except REFUSED as error:
            told = N_("Column %(name)s of type %(kind)s is damaged (%(error)s); write the table again.")
            raise DataError(say(told, name=repr(name), kind=column.type, error=first_line(error))) from error


def _as_bytes(array: Any) -> Any:
    """An array of texts, plain or coded, as one of bytes in the same buffers."""
    if pa.types.is_dictionary(array.type):
        # This looks at the codes.
        return pa.DictionaryArray.from_arrays(array.indices, _as_bytes(array.dictionary))
    kind = _BYTES.get(str(array.type))
    return array if kind is None else array.view(kind())


def _taken(name: str, column: _Column) -> _Column:
    _refuse_damage(name, column)
    kind = column.type
    ways: list[Callable[[_Column], _Column]] = [_as_text, _by_value]
    if pa.types.is_timestamp(kind):
        ways.insert(0, lambda column: column.cast(pa.timestamp(kind.unit, "UTC")))
    elif pa.types.is_date(kind):
        ways.insert(0, lambda column: column.cast(pa.timestamp("s")))
    for way in ways:
        try:
            found = way(column)
        except REFUSED as error:
            reason = error
        else:
            if _is_taken(found):
                return found
    raise DataError(
        say(
            "Column %(name)s of type %(kind)s cannot be read (%(reason)s); leave it out or store it as text.",
            name=repr(name),
            kind=kind,
            reason=first_line(reason),
        )
    ) from reason


def _as_text(column: _Column) -> _Column:
    if pa.types.is_dictionary(column.type):
        column = pa.chunked_array([chunk.dictionary_decode() for chunk in column.chunks], column.type.value_type)
    if str(column.type) not in ("string", "large_string", "string_view"):
        return column.cast(pa.string())
    # A view of the same bytes, of which some are no UTF-8.
    raw = column.cast(pa.large_binary()).to_pylist()
    return pa.array([None if cell is None else cell.decode("utf-8", "backslashreplace") for cell in raw], pa.string())


def _by_value(column: _Column) -> _Column:
    return pa.array([None if cell is None else str(cell) for cell in column.to_pylist()], pa.string())
