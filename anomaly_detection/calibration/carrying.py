"""Scores of one model on the scale of another, by their places among scores of the same records."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["carried_over"]


def carried_over(
    scores: npt.NDArray[np.float64], before: npt.NDArray[np.float64], after: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Bring scores from the scale of one model to that of another, by their places among the scores of learned records.

    Parameters
    ----------
    scores : ndarray of float64, shape (n,)
        By the first model, in [-1, 0).
    before, after : ndarray of float64
        Scores of the records that the first and the second model learned from.

    Returns
    -------
    ndarray of float64, shape (n,)
        In [-1, 0); the order stays. Beyond the lowest learned score, what is left down to -1 is shared out alike.
    """
    shares = np.linspace(0.0, 1.0, 10_001)
    old, new = np.quantile(before, shares), np.quantile(after, shares)
    found = np.interp(scores, old, new)
    room = (1.0 + new[0]) / max(1.0 + old[0], np.finfo(np.float64).tiny)
    below = -1.0 + np.maximum(1.0 + scores, 0.0) * room
    return np.asarray(np.where(scores < old[0], np.minimum(below, new[0]), found))
