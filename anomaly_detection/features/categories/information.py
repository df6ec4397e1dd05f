"""How much categories tell of each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from anomaly_detection.data.columns.levels import Levels
from anomaly_detection.data.columns.table import as_table
from anomaly_detection.features.categories.pairing import most_related
from anomaly_detection.progress import steps

__all__ = ["SAMPLE", "determined", "mutual_information"]

SAMPLE = 50_000
"""Rows that mutual information is counted on, at most."""


def determined(records: Any, levels: dict[str, Levels]) -> list[str]:
    """Name the columns of which a finer one leaves at most a tenth of the entropy open.

    Of more than `MOST_PARTNERS` columns only those that have most to do with all others are asked about the rest.
    """
    X = as_table(records)
    sample = X.take(slice(None, None, -(-len(X) // SAMPLE)))
    codes = {name: found.codes(sample[name]) for name, found in levels.items() if len(found) <= 0.2 * len(X)}
    found = []
    asked = most_related({name: (own, len(levels[name])) for name, own in codes.items()})
    for name, own in steps([*codes.items()], "comparing categories"):
        size = len(levels[name])
        entropy = mutual_information(own, own, size, size, corrected=False)
        for other in asked:
            finer, other_size = codes[other], len(levels[other])
            if other_size > size and other not in found:
                known = mutual_information(own, finer, size, other_size, corrected=False)
                if known >= 0.9 * entropy:
                    found.append(name)
                    break
    return found


def mutual_information(
    first: npt.NDArray[np.int64],
    second: npt.NDArray[np.int64],
    first_size: int,
    second_size: int,
    corrected: bool = True,
) -> float:
    """Mutual information in nats, less what independent columns show on average (Miller and Madow, 1955)."""
    n = len(first)
    joint = np.bincount(first * second_size + second, minlength=first_size * second_size)
    p = joint[joint > 0] / n
    a, b = np.bincount(first) / n, np.bincount(second) / n
    a, b = a[a > 0], b[b > 0]
    information = float((p * np.log(p)).sum() - (a * np.log(a)).sum() - (b * np.log(b)).sum())
    if not corrected:
        return information
    return information - (len(p) - len(a) - len(b) + 1) / (2 * n)
