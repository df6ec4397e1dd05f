"""Rows of any input as float32, converted a batch at a time; batches that fit the free memory."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["as_float32", "batches", "free_memory", "is_plain", "issparse", "rows_in_memory"]

LARGEST_BATCH = 32 << 20
"""Bytes that a batch takes, its share of temporaries included; larger ones are no faster."""

SHARE = 8
"""One part in so many of the free memory goes to a batch where that is less."""

ROW_BYTES = 256
"""Temporaries of one row, besides its values: means of a few kinds of trees, their exponentials, the score."""

FEWEST_ROWS = 1024
"""Rows of a batch, however little memory there is."""


def issparse(X: Any) -> bool:
    """`scipy.sparse.issparse`, which takes a tenth of a second to import: who has such a matrix has done so."""
    known = getattr(sys.modules.get("scipy.sparse"), "issparse", None)
    return known is not None and bool(known(X))


def is_plain(X: Any) -> bool:
    """Whether `X` can be scored as it is: float32 in C order. Kernels would be compiled anew for read-only arrays."""
    return bool(isinstance(X, np.ndarray) and X.dtype == np.float32 and X.flags.carray)


def as_float32(X: Any) -> NDArray[np.float32]:
    """Dense, writable float32 rows in C order; `X` itself where it is so already.

    Parameters
    ----------
    X : ndarray of numbers or sparse matrix, shape (n_rows, n_features)
    """
    if is_plain(X):
        return X
    dense = X.toarray() if issparse(X) else X
    # Whether values are too large is the check's business.
    with np.errstate(over="ignore"):
        return np.array(dense, dtype=np.float32, order="C")


def batches(X: Any, batch_size: int | None = None) -> Iterator[slice]:
    """Slices that cover the rows of `X` in order.

    Parameters
    ----------
    X : ndarray or sparse matrix, shape (n_rows, n_features)
    batch_size : int or None
        Rows of each but the last; None takes as many as fit `LARGEST_BATCH` and an eighth of the free memory.

    Raises
    ------
    ValueError
        `batch_size` is less than 1.
    """
    n_rows, n_features = X.shape
    rows = _rows_that_fit(n_rows, 4 * n_features + ROW_BYTES) if batch_size is None else batch_size
    if rows < 1:
        raise ValueError(f"batch_size is {rows}; a batch must have a row at least")
    for start in range(0, n_rows, rows):
        yield slice(start, min(start + rows, n_rows))


def _rows_that_fit(n_rows: int, row_bytes: int) -> int:
    needed = n_rows * row_bytes
    if n_rows <= FEWEST_ROWS or needed <= LARGEST_BATCH // SHARE:
        return max(n_rows, 1)
    free = free_memory()
    most = LARGEST_BATCH if free is None else min(LARGEST_BATCH, free // SHARE)
    return max(FEWEST_ROWS, most // row_bytes)


def rows_in_memory(rows: int, n_features: int, n_threads: int) -> int:
    """So many rows, or fewer where the free memory is too small for so many in each thread."""
    row_bytes = 4 * n_features + ROW_BYTES
    if rows * row_bytes <= LARGEST_BATCH:
        return rows
    free = free_memory()
    return rows if free is None else min(rows, max(FEWEST_ROWS, free // SHARE // (n_threads * row_bytes)))


def free_memory(root: Path = Path("/")) -> int | None:
    """Bytes that can still be taken without swapping, under the limit of the container where there is one.

    None where the system does not tell (it tells on Linux).
    """
    try:
        lines = (root / "proc/meminfo").read_text("ascii").splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return None
    group = root / "sys/fs/cgroup"
    try:
        limit = int((group / "memory.max").read_text("ascii"))
        used = int((group / "memory.current").read_text("ascii"))
        counts = dict(line.split() for line in (group / "memory.stat").read_text("ascii").splitlines())
    except (OSError, ValueError):
        # No container, or one without a limit ("max").
        return free
    # What is kept of files is given up when memory runs out.
    return max(0, min(free, limit - used + int(counts.get("active_file", 0)) + int(counts.get("inactive_file", 0))))
