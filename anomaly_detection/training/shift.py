"""Which columns look different in later records: the reason to look for when alerts are not as many as asked for."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from anomaly_detection.data.columns.schema import Role, Schema

__all__ = ["column_shifts", "rate_changed"]

_FEW = 10


def column_shifts(schema: Schema, before: pd.DataFrame, after: pd.DataFrame) -> dict[str, float]:
    """How much each number and category differs between two sets of records, the most first.

    Parameters
    ----------
    schema : Schema
        Says what the columns are; dates are left out, since later records always have others.
    before, after : DataFrame
        Raw records.

    Returns
    -------
    dict of str to float
        In [0, 1]: the share of records that would have to have other values for the two to agree. For numbers it is the
        Kolmogorov-Smirnov distance, for categories the total variation; missing is a value like any other.
    """
    ours, theirs = schema.clean(before)[0], schema.clean(after)[0]
    found = {name: _numbers(ours[name], theirs[name]) for name in schema.names(Role.NUMERIC)}
    found |= {name: _levels(ours[name], theirs[name]) for name in schema.names(Role.CATEGORICAL)}
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def _numbers(before: pd.Series, after: pd.Series) -> float:  # type: ignore[type-arg]
    # Missing values sort last, so they count as one value above all others.
    ours, theirs = (np.sort(np.nan_to_num(column.to_numpy(np.float64), nan=np.inf)) for column in (before, after))
    places = np.concatenate((ours, theirs))
    below = [np.searchsorted(values, places, side="right") / len(values) for values in (ours, theirs)]
    return float(np.abs(below[0] - below[1]).max())


def _levels(before: pd.Series, after: pd.Series) -> float:  # type: ignore[type-arg]
    counts = pd.DataFrame({"before": before.value_counts(dropna=False), "after": after.value_counts(dropna=False)})
    counts = counts.fillna(0.0)
    # Many rare levels differ by chance alone, so they are taken as one.
    rare = (counts.sum(axis=1) < _FEW).to_numpy()
    levels = counts.to_numpy()
    levels = np.vstack([levels[~rare], levels[rare].sum(axis=0)])
    shares = levels / levels.sum(axis=0)
    return float(np.abs(shares[:, 0] - shares[:, 1]).sum() / 2.0)


def rate_changed(expected: int, expected_rows: int, found: int, rows: int) -> bool:
    """Whether the share of alerts is another one: less than half or more than twice, and no chance (three sigmas)."""
    before, after = expected / expected_rows, found / rows
    pooled = (expected + found) / (expected_rows + rows)
    sigma = math.sqrt(pooled * (1.0 - pooled) * (1.0 / expected_rows + 1.0 / rows))
    return not before / 2.0 <= after <= 2.0 * before and abs(after - before) > 3.0 * sigma
