"""Sensors whose values repeat by chance only, for tests of what repeats prove."""

from __future__ import annotations

import numpy as np
import pandas as pd

NATS = 5.0
LIMIT = 1.5 * float(np.exp(-NATS))
"""At most such a share of clean records may have more than `NATS` of evidence."""


def sensors(n: int, seed: int, digits: int = 2, days: int = 300) -> pd.DataFrame:
    """Readings of 20 devices over some days, in time, with the four weeks that each falls into."""
    rng = np.random.default_rng(seed)
    device = rng.integers(0, 20, n)
    day = np.sort(rng.integers(0, days, n))
    return pd.DataFrame(
        {
            "device": pd.Categorical.from_codes(device, [f"device {i}" for i in range(20)]),
            "temperature": np.round(20 + 0.3 * device + rng.normal(0, 2, n), digits),
            "pressure": np.round(1_013 + rng.normal(0, 5, n), digits),
            "humidity": np.round(50 + rng.normal(0, 8, n), digits),
            "date": pd.Timestamp("2024-01-01") + pd.to_timedelta(day, "D"),
            "period": pd.Categorical((day // 28 + 700).astype(str)),
        }
    )
