"""The `classic` synthetic profile: independent normal columns, six kinds of anomaly, each in one column."""

from __future__ import annotations

import numpy as np
import pandas as pd

__all__ = ["ANOMALIES", "NORMALS", "SEASONAL", "SEASON_FACTOR", "SEASON_MONTHS", "draw_classic"]

START = np.datetime64("2023-01-01", "s")
YEAR_SECONDS = 365 * 24 * 3600

# column -> (mean, standard deviation)
NORMALS: dict[str, tuple[float, float]] = {
    "order_quantity": (500.0, 50.0),
    "lead_time": (14.0, 2.0),
    "transportation_cost": (1000.0, 100.0),
    "inventory_level": (5000.0, 500.0),
    "supplier_reliability": (0.95, 0.02),
    "demand_forecast": (450.0, 40.0),
    "production_capacity": (600.0, 50.0),
    "quality_rating": (0.92, 0.03),
}
CLIPPED = ("supplier_reliability", "quality_rating")  # shares: clipped to [0, 1]
NAMES: dict[str, tuple[str, ...]] = {
    "supplier": ("Supplier A", "Supplier B", "Supplier C", "Supplier D"),
    "product_category": ("Electronics", "Clothing", "Food", "Furniture", "Pharmaceuticals"),
    "shipping_method": ("Air", "Sea", "Road", "Rail"),
}
SEASONAL = ("order_quantity", "demand_forecast")
SEASON_MONTHS = (11, 12)
SEASON_FACTOR = (1.2, 1.5)

# type -> (column, equally likely lists of uniform factors; all factors of the list drawn multiply the value)
Factor = tuple[float, float]
ANOMALIES: dict[str, tuple[str, tuple[tuple[Factor, ...], ...]]] = {
    "quantity_spike": ("order_quantity", (((3.0, 5.0),),)),
    "lead_time_delay": ("lead_time", (((2.0, 4.0),),)),
    "cost_anomaly": ("transportation_cost", (((2.0, 3.0),),)),
    "inventory_shortage": ("inventory_level", (((0.1, 0.3),),)),
    "quality_issue": ("quality_rating", (((0.3, 0.6),),)),
    "forecast_error": ("demand_forecast", (((0.2, 0.4),), ((0.2, 0.4), (2.5, 4.0)))),
}


def draw_classic(n_samples: int, n_anomalies: int, rng: np.random.Generator) -> tuple[pd.DataFrame, np.ndarray]:
    """Draw the profile's rows.

    Parameters
    ----------
    n_samples : int
        Rows, at least 1.
    n_anomalies : int
        How many of them are anomalies, 0 to `n_samples`.
    rng : numpy.random.Generator
        The source of all draws.

    Returns
    -------
    frame : pandas.DataFrame
        `n_samples` rows, in the order of their timestamps.
    types : numpy.ndarray of str, shape (n_samples,)
        'normal' or a key of `ANOMALIES`.
    """
    seconds = np.sort(rng.integers(YEAR_SECONDS, size=n_samples))
    timestamp = pd.DatetimeIndex((START + seconds.astype("timedelta64[s]")).astype("datetime64[ns]"))
    month = timestamp.month.to_numpy()
    values = {column: rng.normal(mean, deviation, n_samples) for column, (mean, deviation) in NORMALS.items()}
    for column in CLIPPED:
        np.clip(values[column], 0.0, 1.0, out=values[column])
    season = np.flatnonzero(np.isin(month, SEASON_MONTHS))
    for column in SEASONAL:
        values[column][season] *= rng.uniform(*SEASON_FACTOR, season.size)
    names = {column: pd.Series(choices).take(rng.integers(len(choices), size=n_samples)).array
             for column, choices in NAMES.items()}  # fmt: skip

    code = np.zeros(n_samples, dtype=np.intp)
    code[rng.choice(n_samples, n_anomalies, replace=False)] = 1 + rng.integers(len(ANOMALIES), size=n_anomalies)
    for number, (column, variants) in enumerate(ANOMALIES.values(), start=1):
        rows = np.flatnonzero(code == number)
        variant = rng.integers(len(variants), size=rows.size)
        for which, factors in enumerate(variants):
            chosen = rows[variant == which]
            for low, high in factors:
                values[column][chosen] *= rng.uniform(low, high, chosen.size)

    frame = pd.DataFrame({"timestamp": timestamp, **values, **names, "month": month})
    return frame, np.array(["normal", *ANOMALIES])[code]
