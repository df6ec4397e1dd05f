"""What stands for the functions and arrays that a model file names: code of ours that looks at every argument."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from .schema import Role

__all__ = [
    "ATOMS",
    "LEAVES",
    "MAKERS",
    "Name",
    "RefusedError",
    "StoredArray",
    "described",
    "printable",
    "set_state",
]

ATOMS = frozenset({type(None), bool, int, float, str, bytes})
"""Types of values that hold no others and whose hash and text take no longer than they do."""

LEAVES = (
    ATOMS
    | {slice, Role, pd.Index, np.ndarray, np.random.RandomState, np.str_}
    | {np.dtype(code).type for code in "?efd" + np.typecodes["AllInteger"]}
)
"""Types of values that are checked when they are made and hold none that are not."""

_ARRAY_TYPE = re.compile(r"b1|[iu][1248]|f[248]|O8|U[1-9]\d{0,2}")
_MOST_DIMENSIONS = 32
_KEY_WORDS = 624
"""Of the Mersenne twister."""


class RefusedError(Exception):
    """What a file wants and may not: the end of a sentence that begins with the file's name."""


class Name(NamedTuple):
    """A module's member that a file names. It is never looked up by that."""

    module: str
    name: str


class StoredType:
    """An array's type as a file describes it."""

    def __init__(self, code: object = None, align: object = False, copy: object = True) -> None:
        if type(code) is not str or not _ARRAY_TYPE.fullmatch(code):
            raise RefusedError(f"has an array of type {printable(code)}, which no model has")
        self.dtype = np.dtype(code)

    def set_state(self, state: Any) -> None:
        """Take the byte order; the rest must be what NumPy says of this type, for NumPy itself would believe it."""
        known: Any = self.dtype.__reduce__()[2]
        if type(state) is not tuple or len(state) > len(known) or not all(type(part) in ATOMS for part in state):
            raise RefusedError("describes the type of an array in another way than NumPy")
        if (*state[:1], *state[2:]) != (*known[:1], *known[2:]) or state[1] not in ("<", ">", "|"):
            raise RefusedError(f"describes the array type {self.dtype} as it is not")
        self.dtype = self.dtype.newbyteorder(state[1])


class StoredArray:
    """An array before its shape and values are known."""

    def __init__(self, *arguments: Any) -> None:
        if arguments and not (len(arguments) == 3 and _is(arguments[0], _NDARRAY)):
            raise RefusedError("makes an array in another way than NumPy does")

    @staticmethod
    def from_joblib(state: Any, file: io.BytesIO, n_bytes: int, texts: Callable[[], object]) -> npt.NDArray[Any]:
        """The array whose values stand next in `file`, of `n_bytes` bytes; `texts` reads a pickle that stands there."""
        if type(state) is not dict or not _is(state.get("subclass"), _NDARRAY):
            raise RefusedError("has an array that joblib did not write")
        shape, dtype = _shape(state["shape"]), _dtype(state["dtype"])
        if dtype.hasobject:
            array = texts()
            if not isinstance(array, np.ndarray) or array.shape != shape:
                raise RefusedError("has an array that joblib did not write")
            return array
        # Before joblib 1.2 values were not aligned.
        if state.get("numpy_array_alignment_bytes") is not None:
            file.seek(file.read(1)[0], io.SEEK_CUR)
        size, left = math.prod(shape) * dtype.itemsize, n_bytes - file.tell()
        if size > left:
            raise EOFError(f"an array has {left:,} of its {size:,} bytes")
        return _array(file.read(size), dtype, shape, state["order"])

    @staticmethod
    def from_list(state: Any) -> npt.NDArray[Any]:
        """The array of texts that NumPy pickles as a list."""
        if type(state) is not tuple or len(state) != 5 or type(state[4]) is not list:
            raise RefusedError("has an array that NumPy did not write")
        shape, dtype, values = _shape(state[1]), _dtype(state[2]), state[4]
        if not dtype.hasobject or math.prod(shape) != len(values) or not set(map(type, values)) <= {str, np.str_}:
            raise RefusedError("has an array of objects that are no texts")
        return np.array(values, dtype=object).reshape(shape, order="F" if state[3] else "C")


class Ignored:
    """What a file says of how the generator within a `RandomState` came about, and classes that are arguments."""

    def __init__(self, *arguments: Any) -> None:
        pass


def set_state(thing: object, state: Any) -> None:
    """Give what one of the `MAKERS` made its state.

    Raises
    ------
    RefusedError
        `thing` has none, or not this one.
    """
    if isinstance(thing, StoredType):
        thing.set_state(state)
    elif isinstance(thing, np.random.RandomState):
        key, place = state["state"]["key"], state["state"]["pos"]
        if state["bit_generator"] != "MT19937" or not isinstance(key, np.ndarray):
            raise RefusedError("has the state of another random generator than MT19937")
        # NumPy does not look whether the next word lies within the key.
        if key.dtype != np.uint32 or key.shape != (_KEY_WORDS,) or not 0 <= int(place) <= _KEY_WORDS:
            raise RefusedError("has the state of another random generator than MT19937")
        thing.set_state(("MT19937", key, int(place), int(state["has_gauss"]), float(state["gauss"])))
    elif type(thing) is list and type(state) is dict and type(state.get("data")) is list:
        thing[:] = state["data"]
    elif not isinstance(thing, Ignored):
        raise RefusedError(f"sets the state of {described(thing)}, which has none")


def described(thing: object) -> str:
    """A thing out of a file, for a message; hostile ones too."""
    return f"{printable(thing.module)}.{printable(thing.name)}" if type(thing) is Name else f"a {type(thing).__name__}"


def printable(text: object) -> str:
    """A name out of a file, short and without what a terminal might obey."""
    return re.sub(r"[^\w.]", "?", text[:80]) if isinstance(text, str) else f"of {type(text).__name__}"


def _is(thing: object, name: Name) -> bool:
    return type(thing) is Name and thing == name


def _dtype(stored: object) -> np.dtype[Any]:
    if type(stored) is not StoredType:
        raise RefusedError("has an array without a type")
    return stored.dtype


def _shape(shape: object) -> tuple[int, ...]:
    if (
        type(shape) is not tuple
        or len(shape) > _MOST_DIMENSIONS
        or not all(type(length) is int and length >= 0 for length in shape)
    ):
        raise RefusedError("has an array without a shape")
    return shape


def _array(data: bytes, dtype: np.dtype[Any], shape: tuple[int, ...], order: object) -> npt.NDArray[Any]:
    flat = np.frombuffer(data, dtype).astype(dtype.newbyteorder("="), copy=True)
    # A byte that is neither 0 nor 1 is true, and counts as what it is.
    if dtype.kind == "b" and flat.size and flat.view(np.uint8).max() > 1:
        raise ValueError("a truth value is neither true nor false")
    return flat.reshape(shape, order="F" if order == "F" else "C")


def _scalar(*arguments: Any) -> Any:
    stored, data = arguments
    dtype = _dtype(stored)
    if dtype.hasobject or type(data) is not bytes or len(data) != dtype.itemsize:
        raise RefusedError("has a number in another way than NumPy writes it")
    return _array(data, dtype, (1,), "C")[0]


def _index(*arguments: Any) -> pd.Index[Any]:
    kind, state = arguments
    data = state.get("data") if type(state) is dict else None
    if not any(_is(kind, name) for name in _INDEXES) or not isinstance(data, np.ndarray) or data.dtype != object:
        raise RefusedError("has another index of pandas than one of texts")
    return pd.Index(data, dtype=object, copy=False)


def _encoded(*arguments: Any) -> bytes:
    """Bytes, in a pickle protocol that has none."""
    text, encoding = arguments
    if type(text) is not str or type(encoding) is not str or encoding != "latin1":
        raise RefusedError("has bytes in another way than Python writes them")
    return text.encode("latin1")


def _slice(*arguments: Any) -> slice:
    if len(arguments) != 3 or any(type(end) not in (int, type(None)) for end in arguments):
        raise RefusedError("has a slice that does not go from number to number")
    return slice(*arguments)


def _role(*arguments: Any) -> Role:
    if len(arguments) != 1 or type(arguments[0]) is not str:
        raise RefusedError("has a column whose role is no text")
    return Role(arguments[0])


_NDARRAY = Name("numpy", "ndarray")
# pandas 3 calls itself by its public name.
_INDEXES = (Name("pandas", "Index"), Name("pandas.core.indexes.base", "Index"))

MAKERS: dict[Name, Callable[..., Any]] = {
    Name("_codecs", "encode"): _encoded,
    Name("anomaly_detection.schema", "Role"): _role,
    Name("builtins", "slice"): _slice,
    Name("joblib.numpy_pickle", "NumpyArrayWrapper"): StoredArray,
    _NDARRAY: Ignored,
    Name("numpy", "dtype"): StoredType,
    # NumPy 1 has its core in `numpy.core`.
    **{Name(f"numpy.{core}.multiarray", "_reconstruct"): StoredArray for core in ("core", "_core")},
    **{Name(f"numpy.{core}.multiarray", "scalar"): _scalar for core in ("core", "_core")},
    Name("numpy.random._mt19937", "MT19937"): Ignored,
    Name("numpy.random._pickle", "__bit_generator_ctor"): Ignored,
    Name("numpy.random._pickle", "__randomstate_ctor"): lambda *_: np.random.RandomState(0),
    Name("numpy.random.bit_generator", "SeedSequence"): Ignored,
    Name("numpy.random.bit_generator", "__pyx_unpickle_SeedSequence"): Ignored,
    Name("pandas.core.indexes.base", "_new_Index"): _index,
    **dict.fromkeys(_INDEXES, Ignored),
    # The list of columns that scikit-learn had to itself up to 1.8; it takes any other as well.
    Name("sklearn.compose._column_transformer", "_RemainderColsList"): list,
}
"""What is called in place of each function, or class, that a file may name."""
