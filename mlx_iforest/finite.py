"""Looking through a table for infinities, and for numbers that float32 cannot hold."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_iforest.batches import as_float32
from mlx_iforest.threads import run

__all__ = ["check_finite"]

CHUNK = 1 << 17
"""Values checked at a time: half a megabyte of float32 stays in the second-level cache for NumPy's second pass."""

COMPILED_CHUNK = 1 << 20
"""Values that one thread checks at a time where compiled: few enough to share a table out, too many to notice."""

OVERFLOW = 2.0**128 - 2.0**103
"""From here on numbers become infinite as float32."""

Flat = NDArray[np.floating[Any]]


def check_finite(X: NDArray[Any], n_threads: int = 1) -> None:
    """Refuse infinities, and numbers that float32 cannot hold; NaN is welcome. Needs no memory to speak of.

    Nothing is checked under scikit-learn's ``assume_finite=True``.

    Parameters
    ----------
    X : ndarray, shape (n_rows, n_features)
    n_threads : int, default=1
        At most so many look through a large table.

    Raises
    ------
    ValueError
        In scikit-learn's words.
    """
    if X.dtype.kind != "f" or _assumes_finite():
        return
    # Kernels would be compiled anew for other types of numbers, read-only arrays and steps.
    compiled = _compiled() if X.flags.forc and X.flags.writeable and X.dtype in (np.float32, np.float64) else None
    reaches = compiled or reaches_plainly
    limit = _limit(X.dtype)

    def check(chunk: Flat) -> None:
        if reaches(chunk, limit):
            from sklearn.utils import assert_all_finite

            assert_all_finite(as_float32(chunk), allow_nan=True, input_name="X")

    run(check, list(_chunks(X, CHUNK if compiled is None else COMPILED_CHUNK)), n_threads)


def _assumes_finite() -> bool:
    """scikit-learn's setting; where nobody has loaded it, nobody but its environment variable has set it."""
    get_config = getattr(sys.modules.get("sklearn"), "get_config", None)
    if get_config is not None:
        return bool(get_config()["assume_finite"])
    return bool(os.environ.get("SKLEARN_ASSUME_FINITE"))


def reaches_plainly(values: Flat, limit: float) -> bool:
    """Whether any of the values is `limit` or more, or its opposite or less; missing ones are not."""
    low, high = float(values.min()), float(values.max())
    if low != low:
        low, high = float(np.fmin.reduce(values, axis=None)), float(np.fmax.reduce(values, axis=None))
    return low <= -limit or high >= limit


@cache
def _limit(dtype: np.dtype[Any]) -> Any:
    """`OVERFLOW` in this type: infinity, where it holds no larger numbers than float32."""
    with np.errstate(over="ignore"):
        return dtype.type(OVERFLOW)


@cache
def _compiled() -> Callable[[Flat, Any], bool] | None:
    """`reaches_plainly` by Numba, which reads as fast as the memory gives; None where it is missing."""
    try:
        from mlx_iforest.backends.numba.finite_kernels import reaches
    except ImportError:
        return None
    return reaches


def _chunks(X: NDArray[Any], size: int) -> Iterator[NDArray[Any]]:
    """All values, `size` at a time, as views."""
    flat, rows = (X.ravel("K"), size) if X.flags.forc else (X, max(1, size // X.shape[1]))
    for start in range(0, len(flat), rows):
        yield flat[start : start + rows]
