"""Guards: where rows leave a tree, by hand, and one version against the other."""

from __future__ import annotations

import numpy as np
import pytest

from mlx_iforest import BlendedIsolationForest
from mlx_iforest.backends import get_backend
from mlx_iforest.backends.reference import leaf
from mlx_iforest.forest import Forest
from mlx_iforest.growth import GrowthPlan
from mlx_iforest.guards import guarded, limits, reachable, spans, with_guards

ROWS = np.array([[0, 1, 2, 3]])
X = np.array([[0.0], [1.0], [4.0], [10.0]], np.float32)


def stump() -> Forest:
    """One split, at 2."""
    return Forest.from_growth(
        1, np.array([0, 3]), np.array([0, -1, -1], np.int32), np.array([2, 0, 0], np.float32),
        np.array([True, False, False]), np.array([4, 2, 2], np.int32),
    )  # fmt: skip


def depth_of(forest: Forest, value: float) -> float:
    return float(forest.path_length[leaf(forest, 0, np.array([value], np.float32))])


@pytest.mark.parametrize(("margin", "low", "high"), [(0.0, 0.0, 10.0), (0.5, -5.0, 15.0)])
def test_rows_leave_beyond_the_range(margin, low, high):
    forest = guarded(stump(), X, ROWS, margin).validate()
    inside = depth_of(stump(), 0.0)
    assert inside == 2.0
    for value in (low, 2.0, 5.0, high, np.nan):
        assert depth_of(forest, value) == inside
    for value in (np.nextafter(np.float32(low), np.float32(-99)), np.nextafter(np.float32(high), np.float32(99))):
        assert depth_of(forest, value) == 0.0
    # A split, two guards, two leaves and two exits, each of which counts as a row.
    assert forest.n_nodes == 7
    assert forest.n_samples[0] == 6


def test_what_no_row_comes_to_has_no_guard():
    plan = GrowthPlan(
        seed=1, first_tree=0, n_trees=30, n_samples=500, n_features=2, subsample_size=64, features_per_tree=2
    )
    X = np.random.default_rng(0).normal(size=(500, 2)).astype(np.float32)
    forest = get_backend("numba").grow(X, plan, n_threads=1)
    guards = limits(*spans(forest, X, plan.rows()), 0.0)
    fewer, all_of_them = with_guards(forest, reachable(forest, guards)), with_guards(forest, guards)
    assert fewer.n_nodes < all_of_them.n_nodes
    new = np.random.default_rng(1).normal(0, 3, (400, 2)).astype(np.float32)
    ours, theirs = (
        [[one.path_length[leaf(one, tree, row)] for tree in range(5)] for row in new] for one in (fewer, all_of_them)
    )
    assert ours == theirs


@pytest.mark.parametrize("margin", [0.0, 0.3, 1.0])
def test_the_compiled_version_equals_the_other_bit_for_bit(margin):
    rng = np.random.default_rng(2)
    X = np.c_[rng.normal(size=700), rng.lognormal(0, 3, 700), rng.integers(0, 3, 700), np.full(700, 3.0e38)]
    X = X.astype(np.float32)
    X[::5, 0] = np.nan
    X[::2, 3] = -3.0e38
    plan = GrowthPlan(
        seed=9, first_tree=0, n_trees=40, n_samples=700, n_features=4, subsample_size=200, features_per_tree=4
    )
    forest = get_backend("numba").grow(X, plan, n_threads=1)
    compiled = guarded(forest, X, plan.rows(), margin).validate()
    assert compiled.equals(with_guards(forest, reachable(forest, limits(*spans(forest, X, plan.rows()), margin))))
    # A tree's own rows never leave it.
    for tree in range(5):
        for row in X[plan.rows()[tree][:40]]:
            place, before = leaf(compiled, tree, row), leaf(forest, tree, row)
            assert compiled.path_length[place] == forest.path_length[before]


def test_trees_of_one_leaf_stay_as_they_are():
    X = np.ones((10, 2), np.float32)
    plan = GrowthPlan(
        seed=1, first_tree=0, n_trees=3, n_samples=10, n_features=2, subsample_size=4, features_per_tree=2
    )
    forest = get_backend("numba").grow(X, plan, n_threads=1)
    ours = guarded(forest, X, plan.rows(), 0.0)
    assert ours.n_nodes == 3
    assert np.array_equal(ours.path_length, forest.path_length)


@pytest.mark.parametrize("history", ["contaminated", "clean"])
def test_few_levels_let_no_row_leave_that_stayed(history):
    # Whole numbers: a guard that moved inwards would let many rows leave at once.
    X = np.random.default_rng(3).poisson(6, size=(900, 6)).astype(np.float32) + np.random.default_rng(4).random(
        (900, 1)
    )
    model = BlendedIsolationForest(history=history, random_state=0).fit(X)
    before, after = model.score_samples(X), model.quantize(8).score_samples(X)
    assert np.abs(after - before).mean() < 0.02
    assert abs((after < -0.5).mean() - (before < -0.5).mean()) < 0.01
