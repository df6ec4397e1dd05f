"""Values without parts, declared: numbers, texts and arrays, as JSON and tensors hold them."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from enum import Enum
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_iforest.convert.declared import Arrays, Kind, StateError, shown

__all__ = ["ARRAY", "Array", "Chosen", "Flag", "Number", "Strings", "Text", "Unkept", "Whole", "refuse_hollow"]

ARRAY = "array"
"""What JSON holds in the place of an array."""

SPECIAL = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
"""What JSON has no number for."""

_MOST_HOLLOW = 64
"""Of an array without entries, the product of its other sizes: no byte stands for them, and lists of it have them."""


@dataclass(frozen=True)
class Unkept(Kind):
    """A setting of a run, such as a number of threads: no part of a model, so that a file has no say in it.

    Parameters
    ----------
    value : None, bool, int or str
        What is written in place of any, and what comes back whatever a file says.
    """

    value: bool | int | str | None

    def encode(self, value: Any, at: str, arrays: Arrays) -> Any:
        return self.value

    def decode(self, found: Any, at: str, arrays: Arrays) -> Any:
        return self.value


@dataclass(frozen=True)
class Flag(Kind):
    """True or False."""

    def encode(self, value: Any, at: str, arrays: Arrays) -> Any:
        return self.decode(bool(value) if isinstance(value, np.bool_) else value, at, arrays)

    def decode(self, found: Any, at: str, arrays: Arrays) -> Any:
        if not isinstance(found, bool):
            raise StateError(f"{at}: expected true or false, found {shown(found)}")
        return found


@dataclass(frozen=True)
class Whole(Kind):
    """A whole number from `least` to `most`."""

    least: int = 0
    most: int = 2**63 - 1

    def encode(self, value: Any, at: str, arrays: Arrays) -> Any:
        whole = isinstance(value, Integral) and not isinstance(value, bool)
        return self.decode(int(value) if whole else value, at, arrays)

    def decode(self, found: Any, at: str, arrays: Arrays) -> Any:
        if type(found) is not int or not self.least <= found <= self.most:
            raise StateError(f"{at}: expected a whole number in [{self.least}, {self.most}], found {shown(found)}")
        return found


@dataclass(frozen=True)
class Number(Kind):
    """A number from `least` to `most`, whole or not; NaN and infinities only where they are `special`, or NaN alone."""

    least: float = -math.inf
    most: float = math.inf
    special: bool = False
    nan: bool = False

    def encode(self, value: Any, at: str, arrays: Arrays) -> Any:
        if isinstance(value, Real) and not isinstance(value, (bool, np.bool_)):
            value = int(value) if isinstance(value, Integral) else float(value)
            if isinstance(value, float) and not math.isfinite(value):
                value = "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
        self.decode(value, at, arrays)
        return value

    def decode(self, found: Any, at: str, arrays: Arrays) -> Any:
        if isinstance(found, str) and ((self.special and found in SPECIAL) or (self.nan and found == "nan")):
            return SPECIAL[found]
        # JSON's 1e999 is infinite to Python, and a whole number beyond all floats cannot be computed with.
        finite = type(found) is float and math.isfinite(found)
        computable = finite or (type(found) is int and abs(found) < 2**1023)
        if not computable or not self.least <= found <= self.most:
            raise StateError(f"{at}: expected a number in [{self.least}, {self.most}], found {shown(found)}")
        return found


@dataclass(frozen=True)
class Text(Kind):
    """A string, of `choices` where there are any."""

    choices: Collection[str] | None = None

    def encode(self, value: Any, at: str, arrays: Arrays) -> Any:
        return self.decode(str(value) if isinstance(value, np.str_) else value, at, arrays)

    def decode(self, found: Any, at: str, arrays: Arrays) -> Any:
        if type(found) is not str or (self.choices is not None and found not in self.choices):
            expected = "text" if self.choices is None else f"one of {', '.join(map(str, self.choices))}"
            raise StateError(f"{at}: expected {expected}, found {shown(found)}")
        return found


@dataclass(frozen=True)
class Chosen(Kind):
    """A member of an enumeration, written as its value."""

    of: type[Enum]

    def encode(self, value: Any, at: str, arrays: Arrays) -> Any:
        if not isinstance(value, self.of):
            raise StateError(f"{at}: expected a {self.of.__name__}, found {shown(value)}")
        return value.value

    def decode(self, found: Any, at: str, arrays: Arrays) -> Any:
        try:
            return self.of(found)
        except (TypeError, ValueError):
            known = ", ".join(str(member.value) for member in self.of)
            raise StateError(f"{at}: expected one of {known}, found {shown(found)}") from None


@dataclass(frozen=True)
class Strings(Kind):
    """A one-dimensional array of Python strings (dtype object), or what `make` makes of it."""

    make: Callable[[NDArray[np.object_]], Any] = lambda array: array

    def encode(self, value: Any, at: str, arrays: Arrays) -> Any:
        strings = np.asarray(value, dtype=object).tolist()
        if not isinstance(strings, list) or not all(isinstance(one, str) for one in strings):
            raise StateError(f"{at}: expected texts, found {shown(value)}")
        return [str(one) for one in strings]

    def decode(self, found: Any, at: str, arrays: Arrays) -> Any:
        if not isinstance(found, list) or not all(type(one) is str for one in found):
            raise StateError(f"{at}: expected a list of texts, found {shown(found)}")
        array = np.empty(len(found), dtype=object)
        array[:] = found
        return self.make(array)


@dataclass(frozen=True)
class Array(Kind):
    """An array of one of `dtypes` with so many `dimensions`, its entries from `least` to `most`.

    Floats are finite unless `special`; then they may be NaN as well, and infinite as far as the bounds let them.
    """

    dtypes: str | tuple[str, ...]
    dimensions: int = 1
    special: bool = False
    least: float = -math.inf
    most: float = math.inf

    def encode(self, value: Any, at: str, arrays: Arrays) -> Any:
        self._check(value, at)
        arrays[at] = np.array(value, order="C")
        return ARRAY

    def decode(self, found: Any, at: str, arrays: Arrays) -> Any:
        if found != ARRAY or at not in arrays:
            raise StateError(f"{at}: expected the array of this name, found {shown(found)}")
        return self._check(arrays.pop(at), at)

    def _check(self, array: Any, at: str) -> NDArray[Any]:
        dtypes = (self.dtypes,) if isinstance(self.dtypes, str) else self.dtypes
        if not isinstance(array, np.ndarray) or array.dtype.name not in dtypes or array.ndim != self.dimensions:
            found = f"{array.dtype} of shape {array.shape}" if isinstance(array, np.ndarray) else shown(array)
            raise StateError(f"{at}: expected {' or '.join(dtypes)} in {self.dimensions} dimension(s), found {found}")
        refuse_hollow(array.shape, at)
        if array.dtype.kind == "f" and not self.special and not np.isfinite(array).all():
            raise StateError(f"{at}: expected finite numbers, found NaN or infinity")
        told = array[~np.isnan(array)] if array.dtype.kind == "f" else array
        # As Python's numbers, which compare exactly whatever their types.
        if told.size and not (self.least <= told.min().item() and told.max().item() <= self.most):
            raise StateError(f"{at}: expected numbers in [{self.least}, {self.most}], found others")
        if array.dtype.kind == "b" and array.view(np.uint8).max(initial=0) > 1:
            raise StateError(f"{at}: expected bytes 0 and 1 for false and true")
        return array


def refuse_hollow(shape: Sequence[int], at: str) -> None:
    """Refuse the shape of an array that has no entries and is large all the same."""
    if 0 in shape and math.prod(size for size in shape if size) > _MOST_HOLLOW:
        raise StateError(f"{at}: expected an array as large as its entries, found none in the shape {list(shape)[:9]}")
