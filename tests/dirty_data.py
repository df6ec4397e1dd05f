"""A table with what growers and scorers may meet."""

from __future__ import annotations

import numpy as np


def dirty_data(n_samples: int, n_features: int, missing: float = 0.1, seed: int = 0) -> np.ndarray:
    """Continuous, rounded, constant and missing values."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_samples, n_features)).astype(np.float32)
    X[:, 1::3] = np.round(X[:, 1::3])
    X[:, 2::4] = 7
    X[rng.random(X.shape) < missing] = np.nan
    return X
