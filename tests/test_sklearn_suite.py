"""scikit-learn's own tests of its IsolationForest, run with ours in its place."""

from __future__ import annotations

import pytest
import sklearn.ensemble.tests.test_iforest as suite

from mlx_iforest import MLXIsolationForest
from mlx_iforest.scoring import average_path_length

NOT_OURS = {
    "test_recalculate_max_depth": "reads estimators_, scikit-learn's tree objects; ours are arrays (forest_)",
    "test_iforest_warm_start": "reads estimators_; test_estimator.py holds the same promise on forest_",
    "test_max_samples_consistency": "reads the private _max_samples of a base class that ours has not",
    "test_iforest_chunks_works1": "counts calls of a private helper of scikit-learn's module",
    "test_iforest_chunks_works2": "counts calls of a private helper of scikit-learn's module",
}
"""Tests that cannot hold for another implementation, and why."""


@pytest.fixture(autouse=True)
def ours_in_place_of_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suite, "IsolationForest", MLXIsolationForest)
    monkeypatch.setattr(suite, "_average_path_length", average_path_length)


@pytest.fixture
def global_random_seed() -> int:
    """The one that scikit-learn's own runs take."""
    return 42


for name in dir(suite):
    if name.startswith("test_") and name not in NOT_OURS:
        globals()[name] = getattr(suite, name)


def test_the_exceptions_still_exist() -> None:
    assert set(NOT_OURS) <= set(dir(suite))
