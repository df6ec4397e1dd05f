"""What a backend makes of a forest and values of its nodes: once for each pair, and kept while the forest lives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from mlx_iforest.forest import Forest

__all__ = ["MadeOnce"]

Made = TypeVar("Made")

MOST = 8
"""Kinds of values of one forest for which what was made is kept."""


class MadeOnce(Generic[Made]):
    """`make`, which is called once for the same forest and the same values.

    Neither changes, so values are known by where they lie, and are kept, lest others come to lie there. What is made
    must not hold the forest, which would then live for ever. Calls from several threads at once may make the same
    twice, which does no harm.
    """

    def __init__(self, make: Callable[[Forest, NDArray[np.float32]], Made]) -> None:
        self._make = make
        self._kept: WeakKeyDictionary[Forest, dict[Any, tuple[NDArray[np.float32], Made]]] = WeakKeyDictionary()

    def __call__(self, forest: Forest, values: NDArray[np.float32]) -> Made:
        kept = self._kept.setdefault(forest, {})
        place = (values.ctypes.data, values.shape, values.strides)
        try:
            return kept[place][1]
        except KeyError:
            while len(kept) >= MOST:
                kept.pop(next(iter(kept)), None)
            made = self._make(forest, values)
            kept[place] = values, made
            return made
