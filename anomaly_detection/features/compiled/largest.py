"""The places of the largest values of each row, compiled."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlx_iforest.compiled_code import compiled

__all__ = ["largest"]


@compiled()
def largest(values: Any, count: int) -> Any:
    """``np.argsort(-values, axis=1, kind="stable")[:, :count]``: the first of equal values comes first.

    Parameters
    ----------
    values : ndarray of float32, shape (n, m)
        Without NaN.
    count : int
        At most m, else a ValueError is raised.
    """
    if count > values.shape[1]:
        raise ValueError("more places than columns are asked for")
    out = np.empty((len(values), count), np.int64)
    for i in range(len(values)):
        known = 0
        for j in range(values.shape[1]):
            value = values[i, j]
            if known == count and (count == 0 or not value > values[i, out[i, count - 1]]):
                continue
            place = min(known, count - 1)
            while place > 0 and value > values[i, out[i, place - 1]]:
                out[i, place] = out[i, place - 1]
                place -= 1
            out[i, place] = j
            known = min(known + 1, count)
    return out
