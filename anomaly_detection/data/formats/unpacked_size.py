"""How many bytes the cells of Arrow and Parquet columns take once each stands by itself: many rows may share one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from anomaly_detection.errors import DataError
from anomaly_detection.texts.said import Figure, say

__all__ = ["USUAL", "laid_out", "refuse_bomb"]

USUAL = 256 * 1024 * 1024
"""Bytes of a column in a part of a table that nobody asks about."""

_FOLD = 100
"""How many times as many bytes as in its file a column beyond `USUAL` may have: texts that somebody wrote pack to a
twentieth at best."""

_Array = Any  # pyarrow has no types


def refuse_bomb(name: str, unpacked: int, packed: int) -> None:
    """Raise `DataError` for a column that takes far more bytes than its file has of it, and more than usual."""
    if unpacked > max(USUAL, _FOLD * packed):
        raise DataError(
            say(
                "Column %(name)s unpacks from %(packed)s to %(unpacked)s bytes; at most %(usual)s, or %(fold)s times"
                " what it takes in the file, are read at once. Leave the column out, or give it shorter texts.",
                name=repr(name),
                packed=Figure(f"{packed:,}"),
                unpacked=Figure(f"{unpacked:,}"),
                usual=Figure(f"{USUAL:,}"),
                fold=_FOLD,
            )
        )


def laid_out(array: _Array) -> int:
    """The bytes of an array's cells if none shared its text with another, without making them.

    Of an array that is none, 0: what reads it says so.
    """
    try:
        array.validate()
    except pa.ArrowInvalid:
        return 0
    return int(_sizes(array).sum())


def _sizes(array: _Array) -> Any:
    """The bytes of each cell, (cells,) int64. Places that a damaged array tells are not trusted."""
    kind = array.type
    if isinstance(array, pa.ExtensionArray):
        return _sizes(array.storage)
    if pa.types.is_dictionary(kind):
        # A missing cell has the place before the first, which is the last: that of nothing.
        places = array.indices.cast(pa.int64()).fill_null(-1).to_numpy()
        return np.append(_sizes(array.dictionary), 0)[places]
    if pa.types.is_struct(kind):
        return sum(map(_sizes, array.flatten()), np.zeros(len(array), np.int64))
    if pa.types.is_map(kind):
        return _of_lists(array, array.keys, array.items)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _of_lists(array, array.values)
    if str(kind).startswith("run_end_encoded"):
        first, count = array.find_physical_offset(), array.find_physical_length()
        ends = array.run_ends.slice(first, count).cast(pa.int64()).to_numpy() - array.offset
        return _sizes(array.values.slice(first, count)) * np.diff(np.minimum(ends, len(array)), prepend=0)
    if str(kind) in ("string_view", "binary_view"):
        lengths = np.frombuffer(array.buffers()[1], np.int32)[::4][array.offset : array.offset + len(array)]
        return np.where(array.is_valid().to_numpy(zero_copy_only=False), lengths, 0).astype(np.int64)
    if pa.types.is_fixed_size_binary(kind):
        return np.full(len(array), kind.byte_width, np.int64)
    if str(kind) in ("string", "large_string", "binary", "large_binary"):
        return pc.binary_length(array).fill_null(0).cast(pa.int64()).to_numpy()
    return np.full(len(array), array.nbytes // max(1, len(array)), np.int64)


def _of_lists(array: _Array, *parts: _Array) -> Any:
    places = array.offsets.cast(pa.int64()).to_numpy()
    first, last = int(places[0]), int(places[-1])
    inner = sum((_sizes(part.slice(first, last - first)) for part in parts), np.zeros(last - first, np.int64))
    upto = np.concatenate([np.zeros(1, np.int64), np.cumsum(inner)])
    return upto[places[1:] - first] - upto[places[:-1] - first]
