"""Which features are kept: those that vary and say what no other says."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from anomaly_detection.features.group import FeatureSource
from anomaly_detection.features.kinds import EVIDENCE_GROUPS, KINDS

__all__ = ["for_the_forest", "foretold", "kept_features", "take_kept"]

Floats32 = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

_SAMPLE = 5_000
_SAME = 0.999
_BLOCK = 1_024
_ROWS = 4_096


def kept_features(blocks: Sequence[Floats32], sources: Sequence[FeatureSource], weighed: bool) -> npt.NDArray[np.int64]:
    """Choose among features, blocks of shape (n, features) side by side, by their numbers; none where none varies.

    Where evidence is `weighed`, columns that are `foretold` stay, as evidence alone; and what is evidence stays beside
    what says the same to the forest alone.
    """
    telling = np.array([KINDS[source.kind].units[1] < np.inf for source in sources], dtype=bool)
    evidence = np.array([weighed and KINDS[source.kind].weighed for source in sources], dtype=bool)
    several = np.array([len(source.columns) > 1 for source in sources], dtype=bool)
    kept = _distinct(blocks, telling, evidence, evidence & several)
    columns = np.array([weighed and len(source.columns) == 1 for source in sources], dtype=bool)
    return kept[(columns | ~foretold(sources))[kept]]


def foretold(sources: Sequence[FeatureSource]) -> npt.NDArray[np.bool_]:
    """Plain values of what is judged against its group or the rest of the record: their size says less."""
    judged = {source.columns for source in sources if KINDS[source.kind].beside}
    return np.array([KINDS[source.kind].plain and source.columns in judged for source in sources], dtype=bool)


def take_kept(blocks: list[Floats32], kept: npt.NDArray[np.int64], more: int) -> Floats32:
    """The kept features side by side, and so many columns more of anything; each block goes when it has been copied.

    Two tables of all features would be in memory at once, else.
    """
    out = np.empty((len(blocks[0]), len(kept) + more), dtype=np.float32)
    start = 0
    for i in range(len(blocks)):
        block = blocks[i]
        first, last = np.searchsorted(kept, [start, start + block.shape[1]])
        for row in range(0, len(block) if last > first else 0, _ROWS):
            rows = slice(row, row + _ROWS)
            out[rows, first:last] = block[rows][:, kept[first:last] - start]
        start += block.shape[1]
        # A slice of it would hold it.
        blocks[i] = np.empty((0, block.shape[1]), dtype=np.float32)
    return out


def _distinct(blocks: Sequence[Floats32], telling: Bools, evidence: Bools, last: Bools) -> npt.NDArray[np.int64]:
    """Columns that vary or are `telling` once they do, each but the first of those that rise and fall together.

    What is `evidence` is compared with its like alone, and so are the others. Those that are to come `last` do: a price
    says more than the quantity for each unit of value.
    """
    varies = np.concatenate([np.zeros(0, dtype=bool), *map(_vary, blocks)])
    candidates = np.flatnonzero(varies | telling) if varies.any() else np.flatnonzero(varies)
    candidates = candidates[np.argsort(last[candidates], kind="stable")]
    sample = np.hstack([block[:: -(-len(block) // _SAMPLE)] for block in blocks])[:, candidates].astype(np.float64)
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
            alike = evidence[candidates[start + i]] == evidence[candidates[j]]
            if alike and j < start + i and kept[j]:
                kept[start + i] = False
    return np.sort(candidates[kept])


def for_the_forest(sources: Sequence[FeatureSource]) -> npt.NDArray[np.bool_]:
    """Which of the kept features a forest looks at; the others are evidence only."""
    plain = np.array([source.kind not in EVIDENCE_GROUPS for source in sources], dtype=bool)
    return plain & ~foretold(sources)


def _vary(block: Floats32) -> npt.NDArray[np.bool_]:
    """Which columns have values, and two that differ or a gap; a gap differs from anything."""
    found = np.zeros(block.shape[1], dtype=bool)
    for start in range(0, len(block), _ROWS):
        left = np.flatnonzero(~found)
        found[left] = (block[start : start + _ROWS, left] != block[0, left]).any(axis=0)
    left = np.flatnonzero(found & np.isnan(block[0]))
    # The first row is a gap: is there any value?
    found[left] = [not np.isnan(block[:, i]).all() for i in left.tolist()]
    return found
