"""From path lengths to scores.

References
----------
.. [1] Liu, Ting and Zhou. Isolation Forest. ICDM 2008.
.. [2] Liu, Ting and Zhou. Isolation-Based Anomaly Detection. ACM TKDD 6(1), 2012.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["average_path_length", "depth_limit", "score_from_path_length"]


def average_path_length(n: ArrayLike) -> NDArray[np.float64]:
    """c(n): the average path length of an unsuccessful search in a binary search tree of n samples ([1]_, equation 1).

    ``c(n) = 2 H(n - 1) - 2 (n - 1) / n`` with ``H(i) = ln(i) + 0.5772156649`` for n > 2; c(2) = 1; c(n) = 0 for n < 2,
    as in [2]_.

    Parameters
    ----------
    n : array-like of int, any shape
        Numbers of samples, >= 0.

    Returns
    -------
    ndarray of float64, same shape
    """
    n = np.asarray(n, dtype=np.float64)
    large = np.maximum(n, 3.0)
    c = 2.0 * (np.log(large - 1.0) + np.euler_gamma) - 2.0 * (large - 1.0) / large
    return np.where(n > 2, c, np.where(n == 2, 1.0, 0.0))


def depth_limit(subsample_size: int) -> int:
    """The height limit of a tree, ceil(log2(subsample size)), about the average height ([1]_, algorithm 1); at least
    1."""
    return max(math.ceil(math.log2(max(subsample_size, 2))), 1)


def score_from_path_length(path_length: NDArray[Any], subsample_size: int) -> NDArray[np.float64]:
    """The opposite of the anomaly score of the paper, -2 ** (-E[h(x)] / c(subsample size)) ([1]_, equation 2).

    Parameters
    ----------
    path_length : ndarray, shape (n_samples,)
        Mean over the trees of the path length of each row.
    subsample_size : int
        Samples a tree was grown on. A tree of one sample says nothing: its score is -0.5.

    Returns
    -------
    ndarray of float64, shape (n_samples,)
        In [-1, 0); lower is more abnormal.
    """
    # Leaves hold float32: a row of average path length scores -0.5 exactly only against the same rounding.
    c = float(np.float32(average_path_length(subsample_size)))
    if c == 0.0:
        return np.full(np.shape(path_length), -0.5)
    return -np.exp2(np.asarray(path_length, dtype=np.float64) / -c)
