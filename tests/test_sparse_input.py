"""Sparse matrices whose parts do not go together, which compiled code would follow out of its arrays, are refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from mlx_iforest import MLXIsolationForest

X = np.eye(40, 4, dtype=np.float32) + 1


def broken(container: Callable[[Any], Any], attribute: str, at: int, value: int) -> Any:
    matrix = container(X)
    array = getattr(matrix, attribute).copy()
    array[at] = value
    setattr(matrix, attribute, array)
    return matrix


def emptied() -> Any:
    """SciPy's own check takes a matrix for empty whose last pointer is 0."""
    matrix = broken(sp.csr_matrix, "indptr", 1, 10**6)
    matrix.indptr[2:] = 0
    return matrix


def far_lists() -> Any:
    matrix = sp.lil_matrix(X)
    matrix.rows[0] = [0, 1, 2, 10**6]
    return matrix


BROKEN = {
    "far index": lambda: broken(sp.csr_matrix, "indices", 3, 999_999),
    "negative index": lambda: broken(sp.csr_array, "indices", 0, -999_999),
    "falling pointers": lambda: broken(sp.csr_matrix, "indptr", 5, 10**6),
    "no entries": emptied,
    "far row": lambda: broken(sp.csc_matrix, "indices", 3, 999_999),
    "far block": lambda: broken(sp.bsr_matrix, "indices", 0, 999_999),
    "far column": lambda: broken(sp.coo_matrix, "col", 3, 999_999),
    "far lists": far_lists,
}


@pytest.mark.parametrize("make", BROKEN.values(), ids=BROKEN)
def test_a_broken_sparse_matrix_is_refused(make: Callable[[], Any]) -> None:
    model = MLXIsolationForest(5, random_state=0).fit(X)
    for call in (model.score_samples, model.predict, model.explain, MLXIsolationForest(5).fit):
        with pytest.raises(ValueError, match="matrix whose parts do not go together") as caught:
            call(make())
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("format", ["csr", "csc", "bsr", "coo", "dia", "lil", "dok"])
def test_every_format_scores_as_dense_rows_do_and_stays_as_it_is(format: str) -> None:
    model = MLXIsolationForest(5, random_state=0).fit(X)
    matrix = sp.csr_matrix(X).asformat(format)
    parts = dict(vars(matrix))
    np.testing.assert_allclose(model.score_samples(matrix), model.score_samples(X), atol=1e-9)
    assert {name: id(part) for name, part in vars(matrix).items()} == {name: id(part) for name, part in parts.items()}
