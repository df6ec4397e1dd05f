"""Which features are kept: those that vary and say what no other says."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from anomaly_detection.features.group import FeatureSource
from anomaly_detection.features.kinds import KINDS

__all__ = ["kept_features"]

_SAMPLE = 5_000
_SAME = 0.999
_BLOCK = 1_024


def kept_features(found: npt.NDArray[np.float32], sources: Sequence[FeatureSource]) -> npt.NDArray[np.int64]:
    """Choose among features, shape (n, features), by their numbers; none where no feature varies."""
    telling = np.array([KINDS[source.kind].units[1] < np.inf for source in sources], dtype=bool)
    kept = _distinct(found, telling)
    return kept[~_foretold(sources)[kept]]


def _distinct(found: npt.NDArray[np.float32], telling: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Columns that vary or are `telling` once they do, each but the first of those that rise and fall together."""
    with np.errstate(invalid="ignore"):
        varies = np.array([_varies(column) for column in found.T], dtype=bool)
    candidates = np.flatnonzero(varies | telling) if varies.any() else np.flatnonzero(varies)
    sample = found[:: -(-len(found) // _SAMPLE), :][:, candidates].astype(np.float64)
    missing = np.isnan(sample)
    sample = np.where(missing, 0.0, sample)
    present = np.maximum((~missing).sum(axis=0), 1)
    sample = np.where(missing, 0.0, sample - sample.sum(axis=0) / present)
    length = np.sqrt((sample**2).sum(axis=0))
    with np.errstate(invalid="ignore", divide="ignore"):
        sample /= length
    kept = np.ones(len(candidates), dtype=bool)
    for start in range(0, len(candidates), _BLOCK):
        with np.errstate(invalid="ignore"):
            likeness = np.abs(sample[:, start : start + _BLOCK].T @ sample[:, : start + _BLOCK])
        for i, j in np.argwhere(likeness > _SAME):
            # Row by row, so it is settled whether an earlier column is kept.
            if j < start + i and kept[j]:
                kept[start + i] = False
    return candidates[kept]


def _foretold(sources: Sequence[FeatureSource]) -> npt.NDArray[np.bool_]:
    """Plain values of columns that are judged against their group or the rest of the record: their size says less."""
    judged = {source.columns for source in sources if KINDS[source.kind].beside}
    return np.array([KINDS[source.kind].plain and source.columns in judged for source in sources], dtype=bool)


def _varies(column: npt.NDArray[np.float32]) -> bool:
    present = column[~np.isnan(column)]
    return present.size > 0 and bool(present.min() != present.max() or present.size < column.size)
