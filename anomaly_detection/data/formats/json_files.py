"""JSON files: one object a line, or an array of objects."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pandas as pd

from anomaly_detection.data.cells.typed_columns import typed_frame
from anomaly_detection.data.cells.well_formed_text import well_formed_cells
from anomaly_detection.data.formats.layout import Layout
from anomaly_detection.data.sources import Source
from anomaly_detection.errors import DataError, first_line
from anomaly_detection.texts.said import say

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
        raise DataError(say("%(label)s is empty; expected at least one record.", label=source.label))
    try:
        text = raw.decode(json.detect_encoding(raw)).removeprefix("\ufeff")
        values = _values(text)
    except (ValueError, RecursionError) as error:
        if isinstance(error, DataError):
            raise DataError(
                say("%(label)s cannot be read: %(error)s", label=source.label, error=error.args[0])
            ) from error
        raise DataError(
            say(
                "%(label)s is no complete JSON (%(error)s); expected an object a line, or an array of them.",
                label=source.label,
                error=first_line(error),
            )
        ) from error
    if len(values) == 1 and isinstance(values[0], list):
        values = values[0]
    odd = next((place for place, value in enumerate(values, 1) if not isinstance(value, dict)), None)
    if odd is not None:
        kind = type(values[odd - 1]).__name__
        raise DataError(
            say(
                "%(label)s: value %(odd)s is of type %(kind)s; expected objects, one a record.",
                label=source.label,
                odd=odd,
                kind=kind,
            )
        )
    if len(values) == 1:
        _refuse_wrapping(source.label, values[0])
    if len(values) == 1 and _are_columns(values[0]):
        return typed_frame({name: [*cells.values()] for name, cells in values[0].items()})
    if len(values) == 1 and values[0] and all(isinstance(value, list) for value in values[0].values()):
        lengths = {len(column) for column in values[0].values()}
        if len(lengths) > 1:
            raise DataError(
                say(
                    "%(label)s holds one object, whose lists are not of one length; expected columns.",
                    label=source.label,
                )
            )
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
        raise DataError(say("an object names %(twice)s twice; give each value a name of its own.", twice=repr(twice)))
    return found


def _refuse_wrapping(label: str, value: Mapping[str, Any]) -> None:
    for name, inner in value.items():
        if isinstance(inner, list) and inner and all(isinstance(one, dict) for one in inner):
            raise DataError(
                say(
                    "%(label)s holds one object, with a list of objects as %(name)s; give that list as the file.",
                    label=label,
                    name=repr(name),
                )
            )
