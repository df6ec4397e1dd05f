"""Which features make a row abnormal: how much the score gains when a few of them are made usual."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from anomaly_detection.features import FeatureSource

__all__ = ["blocks_of", "occlusion"]

_ROWS_A_CALL = 100_000


def blocks_of(sources: Sequence[FeatureSource]) -> list[npt.NDArray[np.int64]]:
    """Group the features that judge the same columns; they tell the same story and are made usual together.

    The row-level summary is in no block: it follows from the other features.
    """
    members: dict[frozenset[str], list[int]] = {}
    for i, source in enumerate(sources):
        if source.columns:
            members.setdefault(frozenset(source.columns), []).append(i)
    return [np.array(block) for block in members.values()]


def occlusion(
    detector: Any, features: npt.NDArray[np.float32], usual: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], list[npt.NDArray[np.int64]]]:
    """Make each block of features usual in turn, and score again.

    Parameters
    ----------
    detector : object
        With `preprocessor` (`feature_sources_` and `summarise`), `scaler` and `model`.
    features : ndarray of shape (n, n_features)
        As the preprocessor gives them.
    usual : ndarray of shape (n_features,)
        The value of each feature that makes it usual.

    Returns
    -------
    score : ndarray of shape (n,)
        Scores as they are, lower for the more abnormal.
    gains : ndarray of shape (n, n_blocks)
        By how much the score rises; negative where the block makes the row look more normal.
    blocks : list of int arrays
        Features of each block.
    """
    blocks = blocks_of(detector.preprocessor.feature_sources_)
    score = _score(detector, features)
    gains = np.empty((len(features), len(blocks)))
    per_call = max(1, _ROWS_A_CALL // max(1, len(features)))
    for start in range(0, len(blocks), per_call):
        some = blocks[start : start + per_call]
        changed = np.repeat(features[None], len(some), axis=0)
        for i, block in enumerate(some):
            changed[i][:, block] = usual[block]
        flat = detector.preprocessor.summarise(changed.reshape(-1, features.shape[1]))
        gains[:, start : start + per_call] = (_score(detector, flat).reshape(len(some), -1) - score).T
    return score, gains, blocks


def _score(detector: Any, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    scaled = np.asarray(detector.scaler.transform(features), dtype=np.float32)
    return np.asarray(detector.model.score_samples(scaled), dtype=np.float64)
