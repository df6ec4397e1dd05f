"""What is made of a forest and arrays of its nodes: once for each choice of them, and kept while the forest lives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

from numpy.typing import NDArray

from mlx_iforest.forest import Forest

__all__ = ["MadeOnce"]

Made = TypeVar("Made")

MOST = 8
"""Choices of arrays of one forest for which what was made is kept."""


class MadeOnce(Generic[Made]):
    """`make`, which is called once for the same forest and the same arrays.

    None of them change, so arrays are known by where they lie, and are kept, lest others come to lie there. What is
    made must not hold the forest, which would then live for ever. Calls from several threads at once may make the same
    twice, which does no harm.
    """

    def __init__(self, make: Callable[..., Made]) -> None:
        self._make = make
        self._kept: WeakKeyDictionary[Forest, dict[Any, tuple[tuple[NDArray[Any], ...], Made]]] = WeakKeyDictionary()

    def __call__(self, forest: Forest, *arrays: NDArray[Any]) -> Made:
        kept = self._kept.setdefault(forest, {})
        place = tuple((array.ctypes.data, array.shape, array.strides) for array in arrays)
        try:
            return kept[place][1]
        except KeyError:
            while len(kept) >= MOST:
                kept.pop(next(iter(kept)), None)
            made = self._make(forest, *arrays)
            kept[place] = arrays, made
            return made
