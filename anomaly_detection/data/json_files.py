"""JSON files: one object a line, or an array of objects."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pandas as pd

from anomaly_detection.data.layout import Layout
from anomaly_detection.data.sources import Source
from anomaly_detection.data.typed_columns import typed_frame
from anomaly_detection.data.well_formed_text import well_formed_cells
from anomaly_detection.errors import DataError, first_line

__all__ = ["read_json"]


def read_json(source: Source, layout: Layout) -> pd.DataFrame:
    """Read objects, one a record, whether they stand in lines or in an array; one object of lists, or
    of objects with the same keys, is read as columns.

    Parameters
    ----------
    source : Source
    layout : Layout
        That of a file whose records name their columns.

    Returns
    -------
    pandas.DataFrame
        A column for each key, in the order in which they first come; a key that a record lacks is missing there. Lists
        and objects within records are kept as they are.

    Raises
    ------
    DataError
        If the text is no JSON, or holds other things than objects.
    OSError
        If it cannot be read.
    """
    layout.refuse(source.label)
    with source.opened() as file:
        raw = file.read()
    if not raw.strip():
        raise DataError(f"{source.label} is empty; expected at least one record.")
    try:
        text = raw.decode(json.detect_encoding(raw)).removeprefix("\ufeff")
        values = _values(text)
    except (ValueError, RecursionError) as error:
        if isinstance(error, DataError):
            raise DataError(f"{source.label} cannot be read: {error}") from error
        raise DataError(
            f"{source.label} is no complete JSON ({first_line(error)}); expected an object a line, or an array of them."
        ) from error
    if len(values) == 1 and isinstance(values[0], list):
        values = values[0]
    odd = next((place for place, value in enumerate(values, 1) if not isinstance(value, dict)), None)
    if odd is not None:
        kind = type(values[odd - 1]).__name__
        raise DataError(f"{source.label}: value {odd} is of type {kind}; expected objects, one a record.")
    if len(values) == 1:
        _refuse_wrapping(source.label, values[0])
    if len(values) == 1 and _are_columns(values[0]):
        return typed_frame({name: [*cells.values()] for name, cells in values[0].items()})
    if len(values) == 1 and values[0] and all(isinstance(value, list) for value in values[0].values()):
        lengths = {len(column) for column in values[0].values()}
        if len(lengths) > 1:
            raise DataError(f"{source.label} holds one object, whose lists are not of one length; expected columns.")
        return typed_frame(values[0])
    names = dict.fromkeys(name for value in values for name in value)
    return typed_frame({name: [value.get(name) for value in values] for name in names})


def _are_columns(value: Mapping[str, Any]) -> bool:
    """Whether an object holds columns, and in each the rows by the same names, as pandas writes a frame."""
    columns = list(value.values())
    return bool(columns) and all(isinstance(one, dict) and one and list(one) == list(columns[0]) for one in columns)


def _values(text: str) -> list[Any]:
    """The values that stand one after the other."""
    decoder = json.JSONDecoder(object_pairs_hook=_object)
    values, place = [], _after_blanks(text, 0)
    while place < len(text):
        value, place = decoder.raw_decode(text, place)
        values.append(well_formed_cells(value))
        place = _after_blanks(text, place)
    return values


def _after_blanks(text: str, place: int) -> int:
    while place < len(text) and text[place] in " \t\r\n":
        place += 1
    return place


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise DataError(f"an object names {twice!r} twice; give each value a name of its own.")
    return found


def _refuse_wrapping(label: str, value: Mapping[str, Any]) -> None:
    for name, inner in value.items():
        if isinstance(inner, list) and inner and all(isinstance(one, dict) for one in inner):
            raise DataError(
                f"{label} holds one object, with a list of objects as {name!r}; give that list as the file."
            )
