"""The bounds that numbers are computed within."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["LARGEST", "bounded"]

LARGEST = 1e100
"""Numbers are computed with as if none were larger, or nearer to 0 than its reciprocal, without being 0."""


def bounded(values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Give numbers whose squares, products and quotients float64 holds: within 1e100, and 0 below 1e-100; NaN stays."""
    x = np.asarray(values, dtype=np.float64)
    size = np.abs(x)
    if not ((size > LARGEST) | ((size < 1.0 / LARGEST) & (size > 0))).any():
        return x
    return np.where(size < 1.0 / LARGEST, 0.0, np.clip(x, -LARGEST, LARGEST))
