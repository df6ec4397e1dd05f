"""Quantiles of values in order are NumPy's."""

from __future__ import annotations

import numpy as np
import pytest

from anomaly_detection.features.numbers.quantiles import Places, columns_in_order

SHARES = [0.0, 0.001, 0.05, 0.1, 0.25, 0.3, 0.5, 0.7, 0.9, 0.99, 1.0]


@pytest.mark.parametrize("n", [1, 2, 3, 5, 10, 101, 1000, 4097])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_they_are_numpys_bit_for_bit(n: int, dtype: type) -> None:
    values = np.random.default_rng(n).normal(size=n).astype(dtype)
    np.testing.assert_array_equal(Places(n, SHARES).of(np.sort(values)), np.quantile(values.astype(np.float64), SHARES))


def test_columns_come_in_order_and_without_what_is_missing() -> None:
    X = np.random.default_rng(0).normal(size=(50, 35)).astype(np.float32)
    X[X > 1.0] = np.nan
    X[:, 3] = np.nan
    found = [*columns_in_order(X)]
    assert len(found) == 35
    for own, column in zip(found, X.T, strict=True):
        np.testing.assert_array_equal(own, np.sort(column[~np.isnan(column)]))
