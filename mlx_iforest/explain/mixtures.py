"""Shapley values against a background by their definition: every mixture of two rows is scored.

A split on several features at once belongs to no single one of them, so the kernels have nothing to go by. The
definition does not ask how splits look: with the features S known, a row x is worth against b what the model says of
the row that has x's values in S and b's elsewhere. That is what `tables` computes for splits on single features, too.
"""

from __future__ import annotations

from collections.abc import Callable
from math import comb

import numpy as np
from numpy.typing import NDArray

__all__ = ["MOST_FEATURES", "add_by_mixtures"]

MOST_FEATURES = 16
"""Each more doubles the mixtures: 65,536 a row and row of the background."""

Columns = NDArray[np.float64]


def add_by_mixtures(
    X: NDArray[np.float32],
    background: NDArray[np.float32],
    columns: Callable[[NDArray[np.float32]], Columns],
    slopes: Callable[[Columns, Columns], Columns],
    out: NDArray[np.float64],
) -> None:
    """Add to `out` the means over the background of Shapley values of some columns, times slopes.

    Parameters
    ----------
    X, background : ndarray of float32, shape (n_rows, n_features) and (n_background, n_features)
    columns : callable
        Of rows, what is explained, shape (n_rows, n_columns).
    slopes : callable
        Of the background's columns and as many of rows, by how much each column counts.
    out : ndarray of float64, shape (n_rows, n_features)
    """
    n_features = X.shape[1]
    known = (np.arange(1 << n_features)[:, None] >> np.arange(n_features)) % 2 == 1
    # Of a set and a feature in it: how often, in all orders of the features, it completes the set.
    completes = np.array([1 / (n_features * comb(n_features - 1, size)) for size in range(n_features)])
    sizes = known.sum(axis=1)[:, None]
    weights = np.where(known, completes[sizes - 1], -completes[np.minimum(sizes, n_features - 1)])
    at_once = (1 << MOST_FEATURES) >> n_features
    for row, values in zip(X, out, strict=True):
        for first in range(0, len(background), at_once):
            some = background[first : first + at_once, None]
            worth = columns(np.where(known, row, some).reshape(-1, n_features)).reshape(len(some), len(known), -1)
            factors = slopes(worth[:, 0], worth[:, -1]) / len(background)
            for i in range(n_features):
                values[i] += ((worth * weights[:, i, None]).sum(axis=1) * factors).sum()
