"""Leaf values as whole numbers: their sums are exact, so every way to add them up gives the same bits."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["LARGEST", "whole_numbers"]

LARGEST = 1 << 24
"""No number is larger in size: as exact as float32 is near the largest value."""


def whole_numbers(values: NDArray[Any], unit: float | None = None) -> tuple[float, NDArray[np.int32]]:
    """Values as multiples of a power of two, rounded once.

    Parameters
    ----------
    values : ndarray of float32, any shape
    unit : float, optional
        That of more values than these; found from these where it is not given.

    Returns
    -------
    unit : float
    numbers : ndarray of int32, same shape
        ``unit * numbers`` are the values.
    """
    if unit is None:
        unit = float(2.0 ** (np.frexp(np.abs(values).max(initial=0.0))[1] - 24))
    return unit, np.rint(values / unit).astype(np.int32)
