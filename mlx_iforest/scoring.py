"""From path lengths to scores.

References
----------
.. [1] Liu, Ting and Zhou. Isolation Forest. ICDM 2008.
.. [2] Liu, Ting and Zhou. Isolation-Based Anomaly Detection. ACM TKDD 6(1), 2012.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "ALERT_DEVIATIONS",
    "Spread",
    "average_path_length",
    "density_score",
    "density_slope",
    "depth_limit",
    "depth_score",
    "depth_slope",
    "soft_minimum",
    "soft_minimum_and_slopes",
]

ALERT_DEVIATIONS = 3.0
"""How far below the training rows' median, in robust standard deviations, a blended score of -0.5 lies."""

LARGEST_EXPONENT = 700.0
"""Beyond it `exp` overflows; a score so near to 0 says all there is to say."""

QUARTILE_DISTANCE = 1.3489795003921634
"""Between the quartiles of a standard normal distribution."""

RESOLUTION = 1e-6
"""Relative; values closer together than float32 sums can tell count as equal."""


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


def depth_score(path_length: NDArray[Any], subsample_size: int) -> NDArray[np.float64]:
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
    c = _average(subsample_size)
    if c == 0.0:
        return np.full(np.shape(path_length), -0.5)
    # In place: memory that is touched for the first time takes longer than the powers.
    scores = np.asarray(np.asarray(path_length, dtype=np.float64) / -c)
    return np.negative(np.exp2(scores, out=scores), out=scores)


def depth_slope(path_length: NDArray[Any], subsample_size: int) -> NDArray[np.float64]:
    """The derivative of `depth_score` by the path length; never negative."""
    c = _average(subsample_size)
    return np.zeros(np.shape(path_length)) if c == 0.0 else depth_score(path_length, subsample_size) * -math.log(2) / c


@cache
def _average(subsample_size: int) -> float:
    # Leaves hold float32: a row of average path length scores -0.5 exactly only against the same rounding.
    return float(np.float32(average_path_length(subsample_size)))


def density_score(log_density: NDArray[Any]) -> NDArray[np.float64]:
    """-1 / (1 + density), where density 1 is that of rows spread evenly over the space they fill.

    Parameters
    ----------
    log_density : ndarray, shape (n_samples,)
        Mean over the trees of the logarithm of the density of each row's leaf.

    Returns
    -------
    ndarray of float64, shape (n_samples,)
        In [-1, 0); lower is more abnormal, -0.5 is an even spread.
    """
    return -1.0 / (1.0 + np.exp(np.minimum(np.asarray(log_density, dtype=np.float64), LARGEST_EXPONENT)))


def density_slope(log_density: NDArray[Any]) -> NDArray[np.float64]:
    """The derivative of `density_score` by the logarithm of the density; never negative."""
    score = density_score(log_density)
    return -score * (1.0 + score)


def soft_minimum(normality: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """-log of the weighted mean of exp(-normality): a row is as normal as the view says that finds it least normal.

    Parameters
    ----------
    normality : ndarray of float64, shape (n_samples, n_views)
    weights : ndarray of float64, shape (n_views,)
        Positive.

    Returns
    -------
    ndarray of float64, shape (n_samples,)
        Between the smallest of the views and their weighted mean.
    """
    # View by view, each contiguous: so a row's result does not depend on the rows beside it, by a single bit.
    views = np.ascontiguousarray(normality.T)
    least = views.min(axis=0)
    total = np.zeros_like(least)
    for view, share in zip(views, (weights / weights.sum()).tolist(), strict=True):
        total += share * np.exp(least - view)
    return least - np.log(total)


def soft_minimum_and_slopes(
    normality: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """`soft_minimum`, and its derivatives by each view, which are positive and add up to 1.

    Returns
    -------
    minimum : ndarray of float64, shape (n_samples,)
    slopes : ndarray of float64, shape (n_samples, n_views)
    """
    views = np.ascontiguousarray(normality.T)
    least = views.min(axis=0)
    shares = np.exp(least - views)
    shares *= (weights / weights.sum())[:, None]
    total = np.zeros_like(least)
    for share in shares:
        total += share
    shares /= total
    return least - np.log(total), shares.T


@dataclass(frozen=True)
class Spread:
    """The bulk of some values: its median, and the standard deviation of a normal bulk with its quartiles."""

    median: float
    deviation: float

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> Spread:
        low, median, high = np.percentile(values, [25, 50, 75])
        deviation = (high - low) / QUARTILE_DISTANCE
        if deviation <= RESOLUTION * max(1.0, abs(median)):
            deviation = float(np.std(values))
        if deviation <= RESOLUTION * max(1.0, abs(median)):
            deviation = 1.0
        return cls(float(median), float(deviation))

    def standardise(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Values in deviations above the median."""
        return (np.asarray(values, dtype=np.float64) - self.median) / self.deviation
