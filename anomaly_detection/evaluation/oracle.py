"""The best that any detector can do on the `classic` profile: the likelihood ratio of who knows the generator.

Columns are independent and an anomaly touches one column, so everything else cancels: the ratio of a row is the mean,
over the six equally likely types, of (density of the type's column under the type) / (density of that column in a
normal row), given the month. In particular supplier_reliability, production_capacity and the names tell nothing.

A value under a type is X * F: X normal, F a product of independent uniforms on intervals [a, b]. With c the product of
the (b - a), T = log F has the density exp(t) * B(t) / c, where B is the convolution of the indicator functions of the
intervals [log a, log b]. Hence

    density(y) = 1 / c * integral of B(t) * f_X(y * exp(-t)) dt,

one integral, whatever the number of factors. B is a polynomial between the sums of the intervals' ends; each of those
pieces is integrated by Gauss-Legendre quadrature.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.special import log_ndtr, logsumexp

from anomaly_detection.errors import DataError
from anomaly_detection.evaluation.metrics import Metrics, evaluate
from anomaly_detection.synthetic import SyntheticData
from anomaly_detection.synthetic.classic import ANOMALIES, CLIPPED, NORMALS, SEASON_FACTOR, SEASON_MONTHS, SEASONAL

__all__ = ["classic_log_likelihood_ratio", "classic_oracle"]

_BLOCK = 16_384  # rows a time: a block times the quadrature's nodes stays in the cache's reach
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)


def classic_oracle(data: SyntheticData, *, anomaly_ratio: float = 0.05) -> Metrics:
    """Measure the Bayes-optimal detector on rows of the `classic` profile.

    Parameters
    ----------
    data : SyntheticData
        All rows of `generate('classic', ...)` or any of them (`data.take(test_rows)`).
    anomaly_ratio : float
        The generator's share of anomalies, between 0 and 1. A row whose posterior probability exceeds one half is
        called an anomaly.

    Returns
    -------
    Metrics
        Without recall by type.

    Raises
    ------
    DataError
        The frame is not from the classic profile, or the ratio is out of range.
    """
    ratio = classic_log_likelihood_ratio(data.frame, anomaly_ratio)
    return evaluate(data.labels, np.where(ratio > 0, -1, 1), -ratio)


def classic_log_likelihood_ratio(frame: pd.DataFrame, anomaly_ratio: float) -> np.ndarray:
    """Compute log(p f1(row) / ((1 - p) f0(row))): how much better 'anomaly' explains a row than 'normal'.

    Parameters
    ----------
    frame : pandas.DataFrame
        Rows of the classic profile: at least the anomalies' columns and `month`, without missing values.
    anomaly_ratio : float
        p, the share of anomalies, between 0 and 1.

    Returns
    -------
    numpy.ndarray of float64, shape (rows,)
        Natural logarithm of the posterior odds: above 0 'anomaly' is the likelier; 1 / (1 + exp(-value)) is the
        probability of an anomaly. Higher is the more abnormal, unlike a detector's scores.

    Raises
    ------
    DataError
        A column is absent or holds other than finite numbers, or the ratio is out of range.
    """
    if not 0 < anomaly_ratio < 1:
        raise DataError(f"anomaly_ratio is {anomaly_ratio!r}; give a share between 0 and 1, both excluded")
    month = _column(frame, "month")
    in_season = np.isin(month, SEASON_MONTHS)
    log_ratio = np.empty((len(ANOMALIES), len(frame)))
    for row, (column, variants) in zip(log_ratio, ANOMALIES.values(), strict=True):
        values = _column(frame, column)
        for season in (False, True) if column in SEASONAL else (None,):
            chosen = slice(None) if season is None else np.flatnonzero(in_season == season)
            base = [SEASON_FACTOR] if season else []
            normal = _log_density(values[chosen], column, base)
            changed = [_log_density(values[chosen], column, [*base, *factors]) for factors in variants]
            row[chosen] = logsumexp(changed, axis=0) - math.log(len(variants)) - normal
    prior = math.log(anomaly_ratio) - math.log1p(-anomaly_ratio)
    result: np.ndarray = logsumexp(log_ratio, axis=0) - math.log(len(ANOMALIES)) + prior
    return result


def _log_density(y: np.ndarray, column: str, factors: Sequence[tuple[float, float]]) -> np.ndarray:
    """Log density of the column's own normal times these uniform factors; at the clipping point 1, log of its mass.

    The clipping point 0 is left out: its mass is below 1e-200.
    """
    mean, deviation = NORMALS[column]
    clipped = column in CLIPPED
    log_mass = float(log_ndtr((mean - 1.0) / deviation)) if clipped else -math.inf
    if not factors:
        density = _log_normal(y, mean, deviation)
        return np.where(y == 1.0, log_mass, density) if clipped else density

    upper = 1.0 if clipped else math.inf
    density = np.empty(len(y))
    for start in range(0, len(y), _BLOCK):
        block = slice(start, start + _BLOCK)
        density[block] = _log_product_density(y[block], mean, deviation, factors, upper)
    if clipped:  # the mass at 1, spread by the factor: one factor here, so a uniform density
        ((low, high),) = factors
        spread = np.where((y >= low) & (y <= high), log_mass - math.log(high - low), -math.inf)
        density = np.logaddexp(density, spread)
    return density


def _log_product_density(
    y: np.ndarray, mean: float, deviation: float, factors: Sequence[tuple[float, float]], upper: float
) -> np.ndarray:
    """Log density of X * F at y, where X is normal below `upper` and absent above, F the product of the factors."""
    lows = np.log([low for low, _ in factors])
    lengths = np.log([high for _, high in factors]) - lows
    log_c = math.log(math.prod(high - low for low, high in factors))
    subsets = np.array(list(itertools.product((0, 1), repeat=len(factors))))
    knots = lows.sum() + subsets @ lengths
    signs = (-1.0) ** subsets.sum(axis=1)
    power = len(factors) - 1

    start = np.array([-math.inf])  # X <= upper asks for t >= log(y / upper)
    if upper < math.inf:
        start = np.log(np.maximum(y, np.finfo(float).tiny) / upper)
    edges = np.sort(knots)
    pieces = []
    for left, right in itertools.pairwise(edges):
        begin = np.clip(start, left, right)[:, None]
        half = (right - begin) / 2
        t = begin + half * (1 + _NODES)
        box = np.ones_like(t)
        if power:  # the truncated powers of a B-spline
            box = (signs * np.maximum(t[..., None] - knots, 0.0) ** power).sum(axis=-1) / math.factorial(power)
        with np.errstate(divide="ignore"):
            weights = np.log(np.maximum(box, 0.0) * half * _WEIGHTS)
        pieces.append(logsumexp(_log_normal(y[:, None] * np.exp(-t), mean, deviation) + weights, axis=1))
    density: np.ndarray = logsumexp(pieces, axis=0) - log_c
    return density


def _log_normal(x: np.ndarray, mean: float, deviation: float) -> np.ndarray:
    return -0.5 * ((x - mean) / deviation) ** 2 - math.log(deviation * math.sqrt(2 * math.pi))


def _column(frame: pd.DataFrame, name: str) -> np.ndarray:
    if name not in frame.columns:
        raise DataError(f"column {name!r} is missing: the oracle needs the rows of generate('classic') as they are")
    needs = "the oracle needs the rows of generate('classic') as they are"
    try:
        values = frame[name].to_numpy(dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"column {name!r} is not numeric: {needs}") from error
    if not np.isfinite(values).all():
        raise DataError(f"column {name!r} has missing or infinite values: {needs}")
    return values
