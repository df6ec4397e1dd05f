"""Offsets: numbers below which a score is an anomaly's, each kept away from the scores that it parts.

Scores often tie, on whole-numbered data nearly all. An offset that is a score decides over all rows with it, and other
programs, which round otherwise, decide otherwise. So an offset lies between two scores.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["AUTO", "HIGHEST", "LOWEST", "STEP", "carried_over", "offset_below", "offset_of_share", "wrong_labels"]

AUTO = -0.5
"""What ``contamination="auto"`` means, here and in scikit-learn."""

STEP = 1e-4
"""At most so far an offset lies beyond the lowest or the highest score."""

LOWEST, HIGHEST = -1.0 - STEP, STEP
"""Of all offsets that scores, which lie in [-1, 0), can give."""


def offset_below(ordered: NDArray[np.float64], cut: int) -> float:
    """The offset with exactly `cut` scores strictly below it, half way to the next score.

    Parameters
    ----------
    ordered : ndarray of float64, shape (n_scores,)
        Scores, increasing; at least one.
    cut : int
        In [0, n_scores], and between two different scores where it is between two.

    Returns
    -------
    float
        Below all scores, or above all, by half the distance to the next different one, or `STEP` if that is less.
    """
    if 0 < cut < len(ordered):
        below, above = float(ordered[cut - 1]), float(ordered[cut])
        middle = below + (above - below) / 2.0
        # Neighbouring floats have no middle: rounding down would lose the row at `below`.
        return middle if middle > below else above
    end, way = (float(ordered[0]), -1.0) if cut == 0 else (float(ordered[-1]), 1.0)
    others = ordered[ordered != end]
    apart = np.abs(others - end).min() / 2 if len(others) else STEP
    beyond = end + way * min(STEP, float(apart))
    return beyond if beyond != end else float(np.nextafter(end, way * np.inf))


def offset_of_share(scores: NDArray[np.float64], share: float, rows: int | None = None) -> float:
    """The offset that calls as many of these scores anomalies as scikit-learn's rule: those below the percentile.

    Parameters
    ----------
    scores : ndarray of float64, shape (n_scores,)
        In any order; at least one.
    share : float
        Of anomalies, in (0, 0.5]. Of rows that tie at the percentile none is called one.
    rows : int, optional
        Of how many scores these are the lowest, with all that tie and one beyond the share; of these alone, if not
        given.
    """
    ordered = np.sort(scores)
    return offset_below(ordered, int(np.searchsorted(ordered, _quantile(ordered, share, rows or len(ordered)))))


def _quantile(ordered: NDArray[np.float64], share: float, rows: int) -> float:
    """What ``np.percentile(scores, 100 * share)`` gives of so many scores, to the bit, by the lowest of them."""
    place = (rows - 1) * (100.0 * share / 100.0)
    low = int(place)
    below, above = float(ordered[low]), float(ordered[min(low + 1, len(ordered) - 1)])
    beyond = place - low
    return above - (above - below) * (1.0 - beyond) if beyond >= 0.5 else below + (above - below) * beyond


def carried_over(
    offset: float, scores: NDArray[np.float64], others: NDArray[np.floating[Any]], resolution: float = 0.0
) -> float:
    """The offset for scores that are the same but for rounding, so that labels stay the same.

    An offset may be exactly a score, as those of scikit-learn's ``contamination`` are: rows with that score are normal,
    and rounding must not make them anomalies. So the offset moves below them, by twice as much as rounding is seen to
    do. `AUTO` stays where it is no score.

    Parameters
    ----------
    offset : float
        Of `scores`.
    scores, others : ndarray of float64, shape (n_rows,)
        Of the same rows, as they were and as they are worked out now.
    resolution : float
        What the others' rounding may do besides to other rows.

    Returns
    -------
    float
        By which `others` have the labels of `scores`, as far as any number can part them so.
    """
    rounding = max(resolution, 2.0 * float(np.abs(scores - others).max(initial=0.0)))
    if offset == AUTO and np.all(np.abs(scores - offset) > rounding):
        return offset
    anomalies = scores < offset
    highest = float(others[anomalies].max(initial=-np.inf))
    lowest = float(others[~anomalies].min(initial=np.inf))
    room = min(rounding, (lowest - highest) / 2)
    # Where rounding has mixed them up, no number parts them.
    return float(np.clip(offset - rounding, highest + room, lowest - room)) if room > 0 else offset - rounding


def wrong_labels(
    scores: NDArray[np.float64], offset: float, called_anomalies: NDArray[np.bool_], rounding: float
) -> int:
    """How many rows are labelled otherwise than by their scores, where these are further than `rounding` from the
    offset."""
    return int(np.sum((np.abs(scores - offset) > rounding) & (called_anomalies != (scores < offset))))
