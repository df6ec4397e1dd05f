"""The column whose levels name transactions of several records, such as an order's number that its lines share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from anomaly_detection.data.columns.table import Coded, Table
from anomaly_detection.features.categories.companions import new_later

__all__ = ["Transactions", "find_transactions"]

Codes = npt.NDArray[np.int64]
Transactions = tuple[str, Codes]
"""The column, and each record's transaction, shape (n,); a record without one is its own."""

_FEWEST = 100  # levels, or they may be years
_COMES_AND_GOES = 0.9  # of the last fifth of the records have a level that none before has
_LARGEST_SHARE, _LARGEST = 0.01, 20  # of the records; what more have, such as "none yet", is no transaction


def find_transactions(X: Table, names: Sequence[str], dates: Sequence[str]) -> Transactions | None:
    """Find the column with fewest levels that name transactions; None where there is none.

    Each has few records, some have several, and later records have others: later in the table, or by one of its
    dates, so that a table may be in any order. A customer or a product comes again.

    Parameters
    ----------
    X : Table
    names : sequence of str
        Columns that may name transactions: categories and identifiers.
    dates : sequence of str
        Columns of dates.
    """
    found: tuple[int, Transactions] | None = None
    orders: list[npt.NDArray[np.intp]] = []
    for name in names:
        codes = _codes(X[name])
        given = codes >= 0
        counts = np.bincount(codes[given])
        levels, largest = int(np.count_nonzero(counts)), int(counts.max(initial=0))
        fits = levels > _FEWEST and 1 < largest <= max(_LARGEST, _LARGEST_SHARE * len(X))
        if not fits or (found is not None and found[0] <= levels):
            continue
        orders = orders or [*_orders(X, dates)]
        if any(new_later(codes[order][given[order]], len(counts)) > _COMES_AND_GOES for order in orders):
            own = codes.copy()
            own[~given] = len(counts) + np.arange(int((~given).sum()))
            found = levels, (name, own)
    return None if found is None else found[1]


def _codes(column: Any) -> Codes:
    """Each record's level, -1 where it is missing."""
    if isinstance(column, Coded):
        return column.codes
    return pd.factorize(np.asarray(column, dtype=object))[0].astype(np.int64)


def _orders(X: Table, dates: Sequence[str]) -> Iterator[npt.NDArray[np.intp]]:
    yield np.arange(len(X))
    for name in dates:
        yield np.argsort(X.dates(name), kind="stable")
