"""Which features make a row abnormal: how much the score changes when a few of them are made usual."""

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
    """Make each block of features usual in turn, then all blocks but one, and score again.

    Of several reasons each alone may suffice for the score, so that without one of them the row is as abnormal as
    before; of others only all together do. The mean of both changes (those of the first and the last step of a Shapley
    value) tells them from blocks that do not matter.

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
        By how much the score falls through the block; negative where it makes the row look more normal.
    blocks : list of int arrays
        Features of each block.
    """
    blocks = blocks_of(detector.preprocessor.feature_sources_)
    score = _score(detector, features)
    width = features.shape[1]
    base = np.full((1, width), np.nan, dtype=np.float32)
    base[:, : len(usual)] = usual
    plain = _score(detector, detector.preprocessor.summarise(base))[0]
    gains = np.empty((len(features), len(blocks)))
    per_call = max(1, _ROWS_A_CALL // max(1, 2 * len(features)))
    for start in range(0, len(blocks), per_call):
        some = blocks[start : start + per_call]
        without = np.repeat(features[None], len(some), axis=0)
        alone = np.broadcast_to(base, without.shape).copy()
        for i, block in enumerate(some):
            without[i][:, block] = usual[block]
            alone[i][:, block] = features[:, block]
        flat = detector.preprocessor.summarise(np.concatenate([without, alone]).reshape(-1, width))
        found = _score(detector, flat).reshape(2, len(some), -1)
        gains[:, start : start + per_call] = 0.5 * ((found[0] - score) + (plain - found[1])).T
    return score, gains, blocks


def _score(detector: Any, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    scaled = np.asarray(detector.scaler.transform(features), dtype=np.float32)
    return np.asarray(detector.model.score_samples(scaled), dtype=np.float64)
