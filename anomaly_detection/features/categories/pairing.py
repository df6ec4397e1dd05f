"""How many columns a search over pairs looks at, and which they are where a table has more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from anomaly_detection.data.columns.table import as_table

__all__ = ["MOST_PARTNERS", "most_related", "paired_dates"]

MOST_PARTNERS = 64
"""Columns that each column is paired with, at most: pairs then grow in number as columns do, not as their square."""

_ROWS = 500
_COLUMNS_A_BLOCK = 256

Codes = npt.NDArray[np.int64]


def most_related(codes: Mapping[str, tuple[Codes, int]], most: int = MOST_PARTNERS) -> list[str]:
    """Name the categorical columns that have most to do with all others; all of them where they are few.

    What a column has to do with another is Pearson's mean square contingency, less what chance gives. Its sum over all
    others takes no look at pairs: it follows from how many columns, each by its levels' sizes, say of two rows that
    they are alike. So the time grows with the number of columns.

    Parameters
    ----------
    codes : mapping of str to (ndarray of int64, shape (n,), int)
        Each column's levels, from 0, and their number.
    most : int
        Columns to name.

    Returns
    -------
    list of str
        At most `most` names, in the order of `codes`.
    """
    if len(codes) <= most:
        return list(codes)
    names = list(codes)
    blocks = [_indicators(codes, names[i : i + _COLUMNS_A_BLOCK]) for i in range(0, len(names), _COLUMNS_A_BLOCK)]
    n = blocks[0][0].shape[0]
    alike = np.full((n, n), -len(names) / n)
    for levels, _ in blocks:
        alike += levels @ levels.T
    sizes, sums = [], []
    for levels, first in blocks:
        by_level = np.einsum("ij,ij->j", levels, alike @ levels)
        sums.append(np.add.reduceat(by_level, first))
        sizes.append(np.diff(np.append(first, levels.shape[1])) - 1.0)
    free, related = np.concatenate(sizes), np.concatenate(sums)
    excess = related - free - free * (free.sum() - free) / (n - 1)
    # Rounded: sums of matrices may differ in their last bits from machine to machine.
    best = np.argsort(-np.round(excess, 6), kind="stable")[:most]
    return [names[i] for i in sorted(best.tolist())]


def paired_dates(records: Any, dates: Sequence[str]) -> list[str]:
    """Name the dates that are compared with each other: all, or of many those that are missing least, in order."""
    if len(dates) <= MOST_PARTNERS:
        return list(dates)
    table = as_table(records)
    missing = [int(table.isna(name).sum()) for name in dates]
    best = np.argsort(missing, kind="stable")[:MOST_PARTNERS]
    return [dates[i] for i in sorted(best.tolist())]


def _indicators(codes: Mapping[str, tuple[Codes, int]], names: list[str]) -> tuple[npt.NDArray[np.float64], Codes]:
    """The levels of some columns as orthonormal vectors over a sample of rows, and where each column's begin."""
    parts, first, width = [], [], 0
    for name in names:
        own = codes[name][0]
        used, own = np.unique(own[:: -(-len(own) // _ROWS)], return_inverse=True)
        part = np.zeros((len(own), len(used)))
        part[np.arange(len(own)), own] = 1.0
        parts.append(part / np.sqrt(part.sum(axis=0)))
        first.append(width)
        width += len(used)
    return np.hstack(parts), np.array(first, dtype=np.int64)
