"""The vector forms of growing's two inner loops against the plain ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from mlx_iforest.backends.numba.growing_kernels import _find_splittable, _pick, part_plainly, read_plainly
from mlx_iforest.backends.numba.growth_vectors import PADDING, find_varying, part_rows, read_values
from mlx_iforest.backends.numba.vectors import HAS_VECTORS_OF_16

pytestmark = pytest.mark.skipif(not HAS_VECTORS_OF_16, reason="this processor has no vectors of 16 values")


@njit
def read_in_vectors(X, feature, order, first, size, values):
    return read_values(X, X.shape[1], feature, order, first, size, values)


@njit
def part_in_vectors(values, order, spare, first, size, threshold, missing_left):
    return part_rows(values, order, spare, first, size, threshold, missing_left)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_vectors_do_what_the_plain_loops_do(data):
    n_rows = data.draw(st.integers(1, 90))
    first = data.draw(st.integers(0, n_rows - 1))
    size = data.draw(st.integers(1, n_rows - first))
    feature, missing_left = data.draw(st.integers(0, 2)), data.draw(st.booleans())
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    X = rng.choice(np.array([-1e38, -1.5, -0.0, 0.0, 2.0, 3e38, np.nan], np.float32), size=(n_rows, 3))
    threshold = np.float32(data.draw(st.sampled_from([-1e38, -1.5, 0.0, 2.0])))
    outcomes = []
    for read, part in ((read_plainly, part_plainly), (read_in_vectors, part_in_vectors)):
        order = np.zeros(n_rows + PADDING, np.uint32)
        order[:n_rows] = np.random.default_rng(0).permutation(n_rows)
        values, spare = np.zeros(n_rows + PADDING, np.float32), np.zeros(n_rows + PADDING, np.uint32)
        found = read(X, feature, order, first, size, values)
        n_left = part(values, order, spare, first, size, threshold, missing_left)
        outcomes.append((tuple(found), values[:size].tobytes(), n_left, order.tolist()))
    assert outcomes[0] == outcomes[1]


@njit
def find_in_vectors(X, order, first, size, varies):
    return find_varying(X, X.shape[1], order, first, size, varies)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 70), st.integers(1, 12), st.integers(0, 2**32))
def test_columns_that_vary_are_found_either_way(n_features, size, seed):
    rng = np.random.default_rng(seed)
    X = rng.choice(np.array([0, -0.0, 0, 0, 1, np.nan], np.float32), size=(20, n_features))
    order = np.append(rng.permutation(20), np.zeros(PADDING)).astype(np.uint32)
    ranges = tuple(np.zeros((3, n_features), np.float32))
    plainly, in_vectors = np.zeros((2, n_features + PADDING), np.bool_)
    count = _find_splittable(X, np.arange(n_features), order[3 : 3 + size], plainly, ranges)
    assert find_in_vectors(X, order, 3, size, in_vectors) == count == plainly.sum()
    assert np.array_equal(in_vectors[:n_features], plainly[:n_features])
    for target in range(count):
        assert _pick(target, n_features, plainly) == np.flatnonzero(plainly)[target]


def test_a_part_is_stable_and_leaves_the_rows_around_it_alone():
    order = np.array([9, 8, 0, 1, 2, 3, 7, *[0] * PADDING], np.uint32)
    values = np.array([5, 1, 6, 0, *[0] * PADDING], np.float32)
    spare = np.zeros(4 + PADDING, np.uint32)
    assert part_in_vectors(values, order, spare, 2, 4, np.float32(1), False) == 2
    assert order[:7].tolist() == [9, 8, 1, 3, 0, 2, 7]
