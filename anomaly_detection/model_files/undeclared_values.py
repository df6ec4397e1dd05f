"""Values that nobody declared, such as a training summary, as arrays and JSON, and back."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from mlx_iforest.convert.declared import Arrays, Kind, StateError, place, refuse_other_keys, shown
from mlx_iforest.convert.declared_values import Array, Number, Whole, refuse_hollow

__all__ = ["Free"]

_TAG = "$"
_TENSORS = tuple(np.dtype(code).name for code in "?bBhHiIlLefd")
_TIMES = re.compile(r"<[mM]8(\[\d{0,9}(Y|M|W|D|h|m|s|ms|us|ns|ps|fs|as)\])?")
_AS_IT_IS = (str, bool, type(None))
_WIDEST = 64
"""So many times the characters that it holds may an array of texts take: numpy gives all the room of the longest."""

_LONGEST = 64
"""Characters of a number or time written as text. Reading one takes time that goes with the square of its length."""

_DEEPEST = 60
"""Lists and objects in each other; code that walks them recurses."""

_MOST_ALIKE = 100
"""Members of a set, or keys, that may share a hash: as many as there are others with it are compared with each."""

_TEXTS: dict[str, tuple[type, Callable[[Any], str], Callable[[str], Any]]] = {
    "datetime": (datetime, datetime.isoformat, datetime.fromisoformat),
    "date": (date, date.isoformat, date.fromisoformat),
    "timestamp": (pd.Timestamp, pd.Timestamp.isoformat, pd.Timestamp),
    "float": (float, lambda value: str(float(value)), float),
}
_CONSTANTS = {"NaT": pd.NaT, "NA": pd.NA}
_SEQUENCES: dict[str, Callable[[list[Any]], Any]] = {"tuple": tuple, "set": set, "frozenset": frozenset}


class Free(Kind):
    """None, numbers, texts, lists and dicts as JSON has them, and as tagged objects what JSON lacks.

    That is NaN and infinities, tuples, sets, dicts with other keys than texts, dates, times and spans of them, and
    numpy's numbers and arrays (of numbers, texts, times or objects of these kinds). Nothing else: no class is named,
    and no whole number lies beyond all floats.
    """

    def encode(self, value: Any, at: str, arrays: Arrays) -> Any:
        if _is_plain(value) or type(value) is int:
            return value if _is_plain(value) else Number().encode(value, at, arrays)
        _refuse_deep(at)
        if type(value) is float and np.isfinite(value):
            return value
        if isinstance(value, (np.generic, np.ndarray)):
            return self._encode_array(value, at, arrays)
        if type(value) is list:
            return [self.encode(one, place(at, i), arrays) for i, one in enumerate(value)]
        if type(value) is dict:
            return self._encode_dict(value, at, arrays)
        for tag, (kind, write, read) in _TEXTS.items():
            # A time zone's name does not survive; its value does, but is another one.
            if type(value) is kind and repr(read(write(value))) == repr(value):
                return {_TAG: tag, "value": write(value)}
        for tag, constant in _CONSTANTS.items():
            if value is constant:
                return {_TAG: tag}
        if type(value) is timedelta:
            return {_TAG: "timedelta", "value": [value.days, value.seconds, value.microseconds]}
        for tag, make in _SEQUENCES.items():
            if type(value) is make:
                # Sets have no order of their own that the next process would repeat.
                items = list(value) if tag == "tuple" else sorted(value, key=repr)
                return {_TAG: tag, "items": [self.encode(one, place(at, i), arrays) for i, one in enumerate(items)]}
        raise StateError(
            f"{at}: {shown(value)} cannot be kept; expected plain values (numbers, texts, dates, lists, dicts, arrays)"
        )

    def _encode_dict(self, value: dict[Any, Any], at: str, arrays: Arrays) -> Any:
        if all(type(key) is str for key in value) and _TAG not in value:
            return {key: self.encode(one, place(at, key), arrays) for key, one in value.items()}
        pairs = [
            [self.encode(key, place(at, f"key {i}"), arrays), self.encode(one, place(at, i), arrays)]
            for i, (key, one) in enumerate(value.items())
        ]
        return {_TAG: "dict", "items": pairs}

    def _encode_array(self, value: Any, at: str, arrays: Arrays) -> Any:
        array = np.asarray(value)
        kind = array.dtype.kind
        if array.dtype.byteorder == ">":
            array = array.astype(array.dtype.newbyteorder("<"))
        told = {_TAG: "array", "dtype": array.dtype.str, "scalar": isinstance(value, np.generic)}
        if kind in "mM":
            array = array.view(np.int64)
        if array.dtype.name in _TENSORS:
            return {**told, "values": Array(_TENSORS, array.ndim, special=True).encode(array, at, arrays)}
        if kind not in "UO":
            raise StateError(f"{at}: an array of {array.dtype} cannot be kept")
        listed = [self.encode(one, place(at, i), arrays) for i, one in enumerate(array.ravel().tolist())]
        if kind == "U":
            _refuse_wide(array.dtype.itemsize // 4, listed, at)
        return {**told, "shape": list(array.shape), "values": listed}

    def decode(self, found: Any, at: str, arrays: Arrays) -> Any:
        if _is_plain(found) or isinstance(found, (int, float)):
            return found if _is_plain(found) else Number().decode(found, at, arrays)
        _refuse_deep(at)
        if isinstance(found, list):
            return self._decode_each(found, at, arrays)
        if _TAG not in found:
            return {key: self.decode(one, place(at, key), arrays) for key, one in found.items()}
        try:
            return self._decode_tagged(found, at, arrays)
        except StateError:
            raise
        except (TypeError, ValueError, OverflowError) as error:
            raise StateError(
                f"{at}: {shown(found[_TAG])} cannot be read ({str(error).splitlines()[0][:80]})"
            ) from error

    def _decode_each(self, found: list[Any], at: str, arrays: Arrays) -> list[Any]:
        # Most values are what they are: to name the place of each would take most of the time.
        return [one if _is_plain(one) else self.decode(one, place(at, i), arrays) for i, one in enumerate(found)]

    def _decode_tagged(self, found: dict[str, Any], at: str, arrays: Arrays) -> Any:
        tag = found[_TAG]
        if tag == "array":
            return self._decode_array(found, at, arrays)
        if isinstance(tag, str) and tag in _CONSTANTS and len(found) == 1:
            return _CONSTANTS[tag]
        held = "value" if tag in (*_TEXTS, "timedelta") else "items"
        value = refuse_other_keys(found, (_TAG, held), at)[held]
        if tag in _TEXTS:
            kind, write, read = _TEXTS[tag]
            made = read(value) if type(value) is str and len(value) <= _LONGEST else None
            # Only what is written: pandas reads "now" as well.
            if type(made) is not kind or write(made) != value:
                raise StateError(f"{at}: expected a {tag}, found {shown(value)}")
            return made
        if tag == "timedelta":
            return timedelta(*(Whole(-(10**9), 10**9).decode(one, at, arrays) for one in _listed(value, at)))
        if tag in _SEQUENCES:
            items = self._decode_each(_listed(value, at), at, arrays)
            if tag != "tuple":
                _refuse_alike(items, at)
            return _SEQUENCES[tag](items)
        if tag == "dict":
            pairs = [
                (self.decode(key, place(at, f"key {i}"), arrays), self.decode(one, place(at, i), arrays))
                for i, (key, one) in enumerate(_listed(value, at))
            ]
            _refuse_alike([key for key, _ in pairs], at)
            return dict(pairs)
        raise StateError(f"{at}: {shown(tag)} is no kind of value")

    def _decode_array(self, found: dict[str, Any], at: str, arrays: Arrays) -> Any:
        listed = isinstance(found.get("values"), list)
        names = (_TAG, "dtype", "scalar", "values", "shape")
        refuse_other_keys(found, names if listed else names[:-1], at)
        dtype, scalar = found["dtype"], found["scalar"]
        if not listed:
            stored = arrays.get(at)
            array = Array(_TENSORS, 0 if stored is None else stored.ndim, special=True).decode(
                found["values"], at, arrays
            )
            if isinstance(dtype, str) and _TIMES.fullmatch(dtype) and array.dtype == np.int64:
                array = array.view(dtype)
        else:
            array = self._array_of(found, at, arrays)
        if array.dtype.str != dtype or type(scalar) is not bool or (scalar and array.ndim):
            raise StateError(f"{at}: expected an array of {shown(dtype)}, found {array.dtype.str}")
        return array[()] if scalar else array

    def _array_of(self, found: dict[str, Any], at: str, arrays: Arrays) -> Any:
        values = self._decode_each(found["values"], at, arrays)
        shape = tuple(Whole().decode(size, at, arrays) for size in _listed(found["shape"], at))
        refuse_hollow(shape, at)
        if found["dtype"] == "|O":
            array = np.empty(len(values), dtype=object)
            for i, one in enumerate(values):
                array[i] = one
            return array.reshape(shape)
        width = re.fullmatch(r"<U(\d{1,9})", str(found["dtype"]))
        if width is None or not all(type(one) is str for one in values):
            raise StateError(f"{at}: {shown(found['dtype'])} is no dtype of an array of texts")
        _refuse_wide(int(width[1]), values, at)
        return np.array(values, dtype=found["dtype"]).reshape(shape)


def _is_plain(value: Any) -> bool:
    """Whether a value is written as it is. Whole numbers beyond floats are not: who computes with them fails."""
    return type(value) in _AS_IT_IS or (type(value) is int and -(2**63) <= value < 2**63)


def _refuse_wide(width: int, texts: list[str], at: str) -> None:
    if width * len(texts) > _WIDEST * (1 + sum(map(len, texts))):
        raise StateError(f"{at}: as an array its texts would take {_WIDEST} times the room of their characters")


def _refuse_deep(at: str) -> None:
    if at.count("/") > _DEEPEST:
        raise StateError(f"{at[:36]}...: values lie more than {_DEEPEST} deep in each other")


def _refuse_alike(keys: list[Any], at: str) -> None:
    """Refuse what is no set of keys, or one made so that most of them share a hash."""
    _, counts = np.unique(np.fromiter(map(hash, keys), np.int64, len(keys)), return_counts=True)
    if counts.max(initial=0) > _MOST_ALIKE:
        raise StateError(f"{at}: more than {_MOST_ALIKE} members of a set, or keys, have one hash")


def _listed(found: Any, at: str) -> list[Any]:
    if not isinstance(found, list):
        raise StateError(f"{at}: expected a list, found {shown(found)}")
    return found
