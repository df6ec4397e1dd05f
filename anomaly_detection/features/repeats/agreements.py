"""In which columns records agree with one and the same other record, and with which."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from math import comb

import numpy as np
import numpy.typing as npt
import pandas as pd

from anomaly_detection.features.repeats.coincidences import first_other, mixed, repeats_of

__all__ = ["agreeing", "few_agreeing", "near_others", "partners"]

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]

_FEWEST_NEAR = 5
_FEW = 32  # rows: so many are compared with all sooner than all are counted


def agreeing(cells: Sequence[Keys], n: int) -> tuple[Codes, Codes]:
    """In how many columns, from two up, each row agrees with one and the same other; and in which; both (n,).

    The columns are the bits of a number. Rows that agree in some columns agree in all but one of them, so few are left
    to be looked at as more columns are (Agrawal and Srikant, 1994).
    """
    agreed, which = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
    spread = _apart(cells)
    alike: dict[tuple[int, ...], npt.NDArray[np.bool_]] = {
        (i,): (keys > 0) & pd.Series(keys).duplicated(keep=False).to_numpy() for i, keys in enumerate(cells)
    }
    for size in range(2, len(cells) + 1):
        for columns in combinations(range(len(cells)), size):
            parts = [alike.get(part) for part in combinations(columns, size - 1)]
            if any(part is None for part in parts):
                continue
            at = np.flatnonzero(np.logical_and.reduce([part for part in parts if part is not None]))
            keys = np.sum([spread[column][at] for column in columns], axis=0, dtype=np.uint64)
            at = at[pd.Series(keys).duplicated(keep=False).to_numpy()]
            if len(at):
                alike[columns] = np.zeros(n, dtype=bool)
                alike[columns][at] = True
                which[at] = np.where(agreed[at] < size, sum(1 << column for column in columns), which[at])
                agreed[at] = size
    return agreed, which


def few_agreeing(cells: Sequence[Keys], n: int, few: int) -> tuple[Codes, Codes]:
    """`agreeing` of the first `few` rows, 0 for the others: each is compared with all."""
    agreed, which = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
    every = np.array(cells, dtype=np.uint64).reshape(-1, n)
    for row in range(few):
        own = every[:, row : row + 1]
        alike = (every == own) & (own > 0)
        alike[:, row] = False
        count = np.count_nonzero(alike, axis=0)
        most = int(count.max(initial=0))
        if most > 1:
            # The first of as many, in the order in which `agreeing` looks at them.
            columns = min(np.flatnonzero(alike[:, other]).tolist() for other in np.flatnonzero(count == most))
            agreed[row], which[row] = most, sum(1 << column for column in columns)
    return agreed, which


def _apart(cells: Sequence[Keys]) -> list[Keys]:
    """Keys of which a sum tells from which column each comes."""
    return [mixed(keys + np.uint64(i)) for i, keys in enumerate(cells)]


def _repeats_at(keys: Keys, places: Codes) -> Codes:
    """`repeats_of` the keys at some places."""
    if len(places) > _FEW:
        return repeats_of(keys)[places]
    return np.array([np.count_nonzero(keys == key) - 1 for key in keys[places]], dtype=np.int64)


def near_others(cells: Sequence[Keys], wide: Sequence[Keys], which: Codes, width: int) -> Floats:
    """How many others would agree with each row in as many columns as `which` has, were they spread as those near it.

    Near are those of the same wide cells, of `width` cells each, that do not agree in all of these columns; fewer than
    five are none. Other columns, as many of them, are taken to agree as often. Shape (n,); 0 where `which` is.
    """
    found, exact, near = np.zeros(len(which)), _apart(cells), _apart(wide)
    for columns in np.unique(which[which > 0]).tolist():
        own = [i for i in range(len(cells)) if columns >> i & 1]
        at = np.flatnonzero(which == columns)
        alike, beside = (
            _repeats_at(np.sum([keys[i] for i in own], axis=0, dtype=np.uint64), at) for keys in (exact, near)
        )
        others = beside - alike
        found[at] = np.where(
            others >= _FEWEST_NEAR, comb(len(cells), len(own)) * others / float(width) ** len(own), 0.0
        )
    return found


def partners(cells: Sequence[Keys], which: Codes, places: Codes) -> Codes:
    """The first other row that agrees with those at `places` in the columns of `which`, -1 for none; of its shape."""
    spread, found = _apart(cells), np.full(len(places), -1, dtype=np.int64)
    for columns in np.unique(which[places][which[places] > 0]):
        keys: Keys = np.sum([keys for i, keys in enumerate(spread) if columns >> i & 1], axis=0, dtype=np.uint64)
        asked = np.flatnonzero(which[places] == columns)
        near = np.flatnonzero(np.isin(keys, keys[places[asked]]))
        other = first_other(keys[near])[np.searchsorted(near, places[asked])]
        found[asked] = np.where(other >= 0, near[other], -1)
    return found
