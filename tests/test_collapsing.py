"""The budget of deviation: kept, and spent where it removes most."""

from __future__ import annotations

from itertools import product

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mlx_iforest.compress.collapsing import share_budget


def test_the_budget_is_shared_where_it_removes_most():
    cost = np.array([1.0, 1.0, 1.0, 5.0, 2.0, 0.0])
    tree = np.array([0, 0, 0, 0, 1, 2])
    assert share_budget(cost, tree, 4, 0).tolist() == [0, 0, 0, 0]
    assert share_budget(cost, tree, 4, 0.9).tolist() == [0, 0, 0, 0]
    assert share_budget(cost, tree, 4, 1.5).tolist() == [1, 0, 0, 0]
    assert share_budget(cost, tree, 4, 3).tolist() == [1, 2, 0, 0]
    assert share_budget(cost, tree, 4, 7).tolist() == [5, 2, 0, 0]
    assert share_budget(cost, tree, 4, np.inf).tolist() == [5, 2, 0, 0]
    assert share_budget(np.empty(0), np.empty(0, np.int64), 2, 1.0).tolist() == [0, 0]


@settings(max_examples=50, deadline=None)
@given(
    cost=st.lists(st.floats(0, 10, allow_subnormal=False), min_size=1, max_size=9), seed=st.integers(0, 99),
    budget=st.floats(0, 20),
)  # fmt: skip
def test_the_budget_is_kept_and_well_spent(cost, seed, budget):
    costs = np.array(cost)
    tree = np.sort(np.random.default_rng(seed).integers(0, 3, len(costs)))
    allowed = share_budget(costs, tree, 3, budget)
    removed = int((costs <= allowed[tree]).sum())
    assert allowed.sum() <= budget * (1 + 1e-9)
    choices = [np.append(costs[tree == t], 0.0) for t in range(3)]
    every = [np.array(choice) for choice in product(*choices) if sum(choice) <= budget]
    best = max(int((costs <= each[tree]).sum()) for each in every)
    # Greedy on the concave envelope misses less than one of its segments.
    assert removed >= best - max(np.bincount(tree))
