"""What compiled code is given besides a forest: rows and values, checked, since it does not look where arrays end."""

from __future__ import annotations

from copy import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_iforest.forest import Forest

__all__ = ["check_numbers", "check_rows", "check_sparse", "check_values", "shown"]


def check_rows(X: NDArray[np.float32], n_features: int) -> NDArray[np.float32]:
    """Rows as kernels read them: `X` itself where it is in C order, else a copy.

    Raises
    ------
    ValueError
        Not float32 of shape (n_rows, n_features).
    """
    if not isinstance(X, np.ndarray) or X.dtype != np.float32 or X.ndim != 2 or X.shape[1] != n_features:
        raise ValueError(f"X is {shown(X)}; expected float32 of shape (n_rows, {n_features})")
    return np.ascontiguousarray(X)


def check_sparse(X: Any) -> None:
    """Refuse a sparse matrix whose entries lie outside of it: SciPy's compiled code and ours would follow them there.

    Raises
    ------
    ValueError
        Indices, pointers or offsets do not go with each other or with the shape.
    """
    if X.ndim != 2:
        return
    try:
        if X.format in ("csr", "csc", "bsr"):
            # Of a copy, which shares the arrays: the check casts and cuts what it is given.
            copy(X).check_format(full_check=True)
            # SciPy does not look at these where the last one is 0.
            if np.any(np.diff(X.indptr) < 0):
                raise ValueError("index pointers must not decrease")
        elif X.format == "coo":
            # Making one checks it.
            _ = type(X)((X.data, (X.row, X.col)), shape=X.shape).nnz
        elif X.format == "dia":
            type(X)((X.data, X.offsets), shape=X.shape)
    except (IndexError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(
            f"X is a {X.format.upper()} matrix whose parts do not go together ({reason}); build it again"
        ) from error


def check_values(forest: Forest, values: NDArray[np.float32]) -> None:
    """Refuse values of a forest's nodes that are not finite float32 of shape (n_nodes, n_values)."""
    if not _is_table(values, np.float32, forest.n_nodes) or not np.isfinite(values).all():
        raise ValueError(f"values are {shown(values)}; expected finite float32 of shape ({forest.n_nodes}, n_values)")


def check_numbers(forest: Forest, numbers: NDArray[np.int32], largest: int) -> None:
    """Refuse whole numbers of a forest's nodes that are not int32 of shape (n_nodes, n_values), up to `largest`."""
    if not _is_table(numbers, np.int32, forest.n_nodes) or np.any(np.abs(numbers.astype(np.int64)) > largest):
        raise ValueError(
            f"values are {shown(numbers)}; expected int32 of shape ({forest.n_nodes}, n_values), none above {largest}"
        )


def _is_table(values: Any, dtype: Any, n_nodes: int) -> bool:
    is_table = isinstance(values, np.ndarray) and values.dtype == dtype and values.ndim == 2
    return is_table and len(values) == n_nodes and values.shape[1] > 0


def shown(array: Any) -> str:
    """Type and shape of an array, for a message."""
    return f"{array.dtype} of shape {array.shape}" if isinstance(array, np.ndarray) else f"a {type(array).__name__}"
