"""Reading a ``.joblib`` model file as data: what would run code, or is no part of a model, is refused.

A pickle is a program, and its instructions to call things are the danger. Here a name stays a name while a file is
read: none is looked up, imported or called. In place of the functions that model files name, code of ours looks at the
arguments (`pickled_parts.MAKERS`); of the classes in `CLASSES` a bare instance is made, and its attributes are set.
When the whole file has been read and holds nothing but data, classes with a ``__setstate__`` complete themselves.
"""

from __future__ import annotations

import io
import os
import pickle
import pickletools
from collections.abc import Callable, Iterable
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from mlx_iforest.base import BaseIsolationForest
from mlx_iforest.persistence import checked_state

from .errors import ModelFileError, first_line
from .pickled_parts import (
    ATOMS,
    LEAVES,
    MAKERS,
    Name,
    RefusedError,
    StoredArray,
    described,
    printable,
    set_state,
)

__all__ = ["CLASSES", "read_joblib"]

CLASSES: dict[str, tuple[str, ...]] = {
    "anomaly_detection.calibration": ("Calibration",),
    "anomaly_detection.derived": ("CalendarPart", "Duration", "MissingPattern", "MissingState", "Product", "Ratio"),
    "anomaly_detection.expectation": ("Expectation", "_Target"),
    "anomaly_detection.features": ("FeatureSource", "SupplyChainFeatures"),
    "anomaly_detection.group_deviation": ("GroupDeviation", "_Deviation", "_Usual"),
    "anomaly_detection.levels": ("CombinedLevels", "Levels"),
    "anomaly_detection.numeric_values": ("NumericValues", "Scale"),
    "anomaly_detection.rarity": ("CategoryRarity", "PairRarity"),
    "anomaly_detection.repeats": ("Repeats", "_Counter", "_Records"),
    "anomaly_detection.rules": ("Rules",),
    "anomaly_detection.schema": ("CleaningReport", "Column", "ColumnCleaning", "Schema"),
    "anomaly_detection.tails": ("TailSummary",),
    "anomaly_detection.thresholds": (
        "AlertBudget",
        "BestAccuracy",
        "BestF1",
        "Conformal",
        "Contamination",
        "LowestCost",
    ),
    "mlx_iforest.backends.base": ("BackendChoice",),
    "mlx_iforest.blended": ("BlendedIsolationForest",),
    "mlx_iforest.estimator": ("MLXIsolationForest",),
    "mlx_iforest.forest": ("Forest",),
    "mlx_iforest.performance": ("Performance",),
    "mlx_iforest.quantization": ("Levels", "PackedForest"),
    "mlx_iforest.scoring": ("Spread",),
    "sklearn.compose._column_transformer": ("ColumnTransformer",),
    "sklearn.preprocessing._data": (
        "MaxAbsScaler",
        "MinMaxScaler",
        "PowerTransformer",
        "QuantileTransformer",
        "RobustScaler",
        "StandardScaler",
    ),
}
"""Module and names of the classes whose instances a model may hold. Their attributes are data or such instances."""

_MOST_NESTED = 60
"""Containers in containers. A model has about a dozen levels, and code that walks them recurses."""

_MOST_EXPANDED = 4
"""Characters and values for each byte of a file, counting twice what is named twice. A model has about a tenth."""

_EFFORT, _CALL, _ATTRIBUTE = 4, 64, 16
"""What may be done for each byte of a file, and what one call or one attribute counts. A model takes less than 1."""


def read_joblib(path: str | os.PathLike[str]) -> object:
    """Read what `joblib.dump` wrote, uncompressed, of the parts of a model. Nothing that the file names is run.

    Lengths are compared with the bytes that are left before room is made for them, and a file that refers to its own
    parts over and over is refused.

    Parameters
    ----------
    path : path

    Returns
    -------
    object
        Of numbers, texts, lists, tuples, dicts, arrays and instances of `CLASSES`; forests in it are valid.

    Raises
    ------
    ModelFileError
        The file asks for what is no part of a model (the message says for what), is damaged or was cut off.
    OSError
        It cannot be read.
    """
    data = Path(path).read_bytes()
    try:
        reader = _Reader(io.BytesIO(data), len(data))
        content = reader.load()
        # Also what the file made and then dropped, since it is completed as well.
        unfinished = list(reader.unfinished.values())
        _measure([content, unfinished], _MOST_EXPANDED * len(data))
        if sum(isinstance(thing, BaseIsolationForest) for thing in unfinished) > 1:
            raise RefusedError("holds several forests, and a model holds one")
        for thing in unfinished:
            _finish(thing)
    except RefusedError as refused:
        raise ModelFileError(
            f"{path} {refused}; nothing was run. Give a .joblib file as train or save_model wrote it."
        ) from None
    except Exception as error:  # a damaged file can lead anywhere in Python
        raise ModelFileError(
            f"{path} is damaged or was cut off ({first_line(error)}); copy the file again or train the model again."
        ) from error
    return content


class _Instructions(dict[int, Callable[[Any], None]]):
    """Those of a pickle that are followed."""

    def __missing__(self, code: int) -> NoReturn:
        known = [instruction.name for instruction in pickletools.opcodes if ord(instruction.code) == code]
        if not known:
            raise pickle.UnpicklingError(f"{code} is no instruction of a pickle")
        raise RefusedError(f"has the pickle instruction {known[0]}, which no model has")


class _Reader(pickle._Unpickler):  # the base of joblib's too: the one in C cannot stop where an array's values stand
    """Follows a pickle with joblib's arrays in it."""

    stack: list[Any]
    pop_mark: Callable[[], list[Any]]
    dispatch = _Instructions(
        {
            code[0]: pickle._Unpickler.dispatch[code[0]]
            for code in (
                *(pickle.PROTO, pickle.FRAME, pickle.STOP, pickle.MARK),
                *(pickle.MEMOIZE, pickle.BINPUT, pickle.LONG_BINPUT, pickle.BINGET, pickle.LONG_BINGET),
                *(pickle.NONE, pickle.NEWTRUE, pickle.NEWFALSE, pickle.BINFLOAT),
                *(pickle.BININT, pickle.BININT1, pickle.BININT2, pickle.LONG1),
                *(pickle.BINUNICODE, pickle.SHORT_BINUNICODE, pickle.BINBYTES, pickle.SHORT_BINBYTES),
                *(pickle.EMPTY_TUPLE, pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3),
                *(pickle.EMPTY_LIST, pickle.EMPTY_DICT, pickle.GLOBAL, pickle.STACK_GLOBAL),
            )
        }
    )

    def __init__(self, file: io.BytesIO, n_bytes: int, outer: _Reader | None = None) -> None:
        super().__init__(file)
        self.file = file
        self.n_bytes = n_bytes
        self.outer = outer
        self.effort = _EFFORT * n_bytes + 1000
        self.unfinished: dict[int, Any] = {}
        """Instances whose class has a `__setstate__`, inner ones before outer ones."""

    def spend(self, effort: int) -> None:
        """Count work that may be asked for by fewer bytes than it takes: a part is made once and named many times."""
        if self.outer is not None:
            self.outer.spend(effort)
            return
        self.effort -= effort
        if self.effort < 0:
            raise RefusedError("names its own parts over and over, which makes it far larger than it looks")

    def find_class(self, module: str, name: str) -> Name:  # type: ignore[override]
        """The name itself, if it is one that a model has."""
        found = Name(module, name)
        if found not in MAKERS and name not in CLASSES.get(module, ()):
            raise RefusedError(f"wants to call {described(found)}, which no model needs")
        return found

    def load_reduce(self) -> None:
        arguments, what = self.stack.pop(), self.stack.pop()
        if type(what) is not Name or what not in MAKERS or type(arguments) is not tuple:
            raise RefusedError(f"wants to call {described(what)}, which no model needs")
        self.spend(_CALL + sum(len(part) for part in arguments if isinstance(part, (str, bytes))))
        self.stack.append(MAKERS[what](*arguments))

    def load_newobj(self) -> None:
        arguments, what = self.stack.pop(), self.stack.pop()
        if type(what) is not Name or type(arguments) is not tuple or arguments:
            raise RefusedError(f"wants to make {described(what)} with arguments, which no model needs")
        if what in MAKERS:
            self.stack.append(MAKERS[what]())
        else:
            self.stack.append(object.__new__(getattr(import_module(what.module), what.name)))

    def load_build(self) -> None:
        state, thing = self.stack.pop(), self.stack[-1]
        if type(thing) in _classes():
            self._set_attributes(thing, state)
        elif isinstance(thing, StoredArray):
            # An array's values stand in a list within a pickle of texts, and else behind it.
            self.stack[-1] = self._array(state) if self.outer is None else self._texts(state)
        else:
            self.spend(_CALL)
            set_state(thing, state)

    def _array(self, state: Any) -> Any:
        return StoredArray.from_joblib(
            state, self.file, self.n_bytes, lambda: _Reader(self.file, self.n_bytes, self).load()
        )

    def _texts(self, state: Any) -> Any:
        array = StoredArray.from_list(state)
        self.spend(_CALL + array.size)
        return array

    def _set_attributes(self, thing: Any, state: Any) -> None:
        cls = type(thing)
        if type(state) is not dict:
            raise RefusedError(f"gives a {cls.__name__} other things than attributes")
        for key in state:
            if type(key) is not str or callable(getattr(cls, key, None)):
                raise RefusedError(f"sets {printable(key)} of a {cls.__name__}, which holds no data")
        self.spend(_ATTRIBUTE * len(state))
        thing.__dict__.update(state)
        if hasattr(cls, "__setstate__"):
            self.unfinished.setdefault(id(thing), thing)

    def load_append(self) -> None:
        self._extend([self.stack.pop()])

    def load_appends(self) -> None:
        self._extend(self.pop_mark())

    def _extend(self, values: list[Any]) -> None:
        if type(self.stack[-1]) is not list:
            raise RefusedError(f"appends to {described(self.stack[-1])}")
        self.stack[-1].extend(values)

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._update([key, value])

    def load_setitems(self) -> None:
        self._update(self.pop_mark())

    def _update(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not dict:
            raise RefusedError(f"sets items of {described(self.stack[-1])}")
        for key, value in zip(items[::2], items[1::2], strict=True):
            # Of tuples in tuples the hash may take forever.
            if type(key) not in ATOMS:
                raise RefusedError(f"has {described(key)} for a key")
            self.stack[-1][key] = value

    dispatch.update(
        {
            pickle.REDUCE[0]: load_reduce,
            pickle.NEWOBJ[0]: load_newobj,
            pickle.BUILD[0]: load_build,
            pickle.APPEND[0]: load_append,
            pickle.APPENDS[0]: load_appends,
            pickle.SETITEM[0]: load_setitem,
            pickle.SETITEMS[0]: load_setitems,
        }
    )


@cache
def _classes() -> frozenset[type]:
    return frozenset(getattr(import_module(module), name) for module, names in CLASSES.items() for name in names)


def _measure(content: object, most: int) -> None:
    """Refuse values of other types, circles, deep nests, and parts named so often that walking them takes forever."""
    known: dict[int, tuple[int, int]] = {}

    def measured(thing: Any, depth: int) -> tuple[int, int]:
        """Characters and values, and levels of containers."""
        kind = type(thing)
        if kind in LEAVES:
            return 1 + (len(thing) if kind in (str, bytes) else 0), 0
        if id(thing) in known:
            return known[id(thing)]
        parts: Iterable[Any]
        if kind in (list, tuple):
            parts = thing
        elif kind is dict:
            parts = [*thing, *thing.values()]
        elif kind in _classes():
            parts = thing.__dict__.values()
        else:
            raise RefusedError(f"holds {described(thing)} where a model holds data")
        if depth > _MOST_NESTED:
            raise RefusedError("holds containers in containers, deeper than any model or in a circle")
        size, height = 1, 0
        for part in parts:
            part_size, part_height = measured(part, depth + 1)
            size, height = size + part_size, max(height, part_height + 1)
        if size > most or height > _MOST_NESTED:
            raise RefusedError("names its own parts over and over, which makes it far larger than it looks")
        known[id(thing)] = size, height
        return size, height

    measured(content, 0)


def _finish(thing: Any) -> None:
    """Give `thing` its attributes in the way of its class."""
    state = dict(thing.__dict__)
    thing.__dict__.clear()
    if isinstance(thing, BaseIsolationForest) and "forest_" in state:
        state = checked_state(state)
    thing.__setstate__(state)
