"""How training records look to features that were learned without them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

__all__ = ["BELOW", "FEWEST", "as_unseen", "held_out"]

FEWEST, BELOW = 100, 2_000
"""Of so many records each is left out once: fewer tell too little without a part, and many learn little from one."""

_FOLDS = 4

Floats32 = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]


def held_out(count: int, judge: Callable[[Rows, Rows], Floats32]) -> Floats32:
    """What records come to by what was learned from the others, a part of them at a time; shape (count, m).

    Parameters
    ----------
    count : int
        Records; the parts are drawn at random, always the same.
    judge : callable
        Called with the rows to learn from and the rows to judge, both ascending; gives (rows judged, m).
    """
    parts = [np.sort(part) for part in np.array_split(np.random.default_rng(0).permutation(count), _FOLDS)]
    found = [judge(np.setdiff1d(np.arange(count), part), part) for part in parts]
    return np.vstack(found)[np.argsort(np.concatenate(parts))]


def as_unseen(learned: Floats32, unseen: Floats32) -> Floats32:
    """Bring each column of `learned` (n, m) to the values that `unseen` (n, m) has at the same ranks.

    A record's place among the others stays, also where its neighbours make it, as in a run of equal readings. Equal
    values stay equal: theirs is the middle one of their places.
    """
    found = np.empty_like(learned)
    for column, (values, others) in enumerate(zip(learned.T, np.sort(unseen, axis=0).T, strict=True)):
        ordered = np.sort(values)
        first, last = (ordered.searchsorted(values, side) for side in ("left", "right"))
        found[:, column] = others[(first + last - 1) // 2]
    return found
