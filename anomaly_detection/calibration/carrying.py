"""Scores of one model on the scale of another, by their places among scores of the same records."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from anomaly_detection.features.numbers.quantiles import Places

__all__ = ["Carrying", "carried_over"]

Floats = npt.NDArray[np.float64]

_SHARES = np.linspace(0.0, 1.0, 10_001)


class Carrying:
    """Brings scores from the scale of one model to that of another, by their places among scores of learned records.

    Parameters
    ----------
    before, after : ndarray of float64
        Scores of the records that the first and the second model learned from, at least one.
    """

    def __init__(self, before: Floats, after: Floats) -> None:
        # In order first: so many quantiles of what is in none take a hundred times as long.
        self._old, self._new = (Places(len(scores), _SHARES).of(np.sort(scores)) for scores in (before, after))

    def __call__(self, scores: Floats) -> Floats:
        """Scores by the second model, in [-1, 0), shape (n,), of those by the first; the order stays.

        Beyond the lowest learned score, what is left down to -1 is shared out alike.
        """
        lowest, new = self._old[0], self._new[0]
        found = np.interp(scores, self._old, self._new)
        room = (1.0 + new) / max(1.0 + lowest, np.finfo(np.float64).tiny)
        below = -1.0 + np.maximum(1.0 + scores, 0.0) * room
        return np.asarray(np.where(scores < lowest, np.minimum(below, new), found))


def carried_over(scores: Floats, before: Floats, after: Floats) -> Floats:
    """`Carrying` of scores of which there is one lot."""
    return Carrying(before, after)(scores)
