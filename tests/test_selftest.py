"""The self-test finds what is wrong, and reports what it did."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mlx_iforest import selftest
from mlx_iforest.backends import get_backend


class Wrong:
    """A backend that spoils what another one found."""

    def __init__(self, **spoiled: str) -> None:
        self.spoiled = spoiled

    def grow(self, X, plan, *, n_threads):
        forest = get_backend("numba").grow(X, plan, n_threads=n_threads)
        if "threshold" in self.spoiled:
            further = np.nextafter(forest.threshold, np.float32(9))
            return dataclasses.replace(forest, threshold=np.where(forest.feature >= 0, further, forest.threshold))
        return forest

    def leaf_means(self, forest, values, X):
        if "error" in self.spoiled:
            raise RuntimeError("the device is gone")
        means = get_backend("numba").leaf_means(forest, values, X)
        means[0] += {"a little": 1e-7, "much": 1e-3, "nan": np.nan}[self.spoiled.get("means", "a little")]
        return means


@pytest.mark.parametrize(
    ("spoiled", "fault"),
    [
        ({}, ""),
        ({"threshold": "all"}, "grown trees differ in threshold"),
        ({"means": "much"}, "means over trees differ"),
        ({"means": "nan"}, "means over trees differ"),
        ({"error": "raised"}, "the device is gone"),
    ],
)
def test_it_finds_what_is_wrong(spoiled, fault):
    (outcome,) = selftest.check({"wrong": Wrong(**spoiled)}, [next(selftest.cases())])
    assert fault in outcome.fault
    assert bool(fault) == bool(outcome.fault)


def test_the_report(capsys):
    assert selftest.main(["--quick"]) == 0
    report = capsys.readouterr().out
    n_cases = len(list(selftest.cases()))
    for name, n_own in (("mlx", n_cases), ("numba", n_cases + 12)):
        why = selftest.available_backends()[name]
        assert f"- {name}: {n_own} of {n_own} cases agree" in report or f"- {name}: {why}" in report
    assert f"- sklearn: {n_cases - 1} of {n_cases - 1} cases agree; skipped 'oblique splits'" in report
    assert "million rows/s" in report
    assert "failed" not in report
    assert "All agree" in report


def test_a_disagreement_is_an_exit_code(monkeypatch, capsys):
    monkeypatch.setattr(selftest, "_backends", lambda: {"wrong": Wrong(means="much")})
    monkeypatch.setattr(selftest, "_scoring", lambda names, shapes, budget: [["scoring"]])
    monkeypatch.setattr(selftest, "cases", lambda: iter([selftest._case("one", np.eye(9, dtype=np.float32))]))
    assert selftest.main(["--quick"]) == 1
    report = capsys.readouterr().out
    assert "DISAGREES: wrong, one: means over trees differ" in report
    assert "FAILED" in report


def test_the_crossover():
    assert "rows x trees" in selftest._crossover(4, 0.001)


def test_what_fails_while_timed_is_reported():
    gone = Wrong(error="raised")
    assert selftest._text(lambda: gone.leaf_means(None, None, None), 0.001, str) == "failed: the device is gone"


def test_what_takes_long_is_not_timed(monkeypatch):
    monkeypatch.setattr(selftest, "LONGEST", 0.0)
    rows = selftest._scoring(["numba"], [(1, 2), (2, 2)], 0.001)
    assert float(rows[1][1]) >= 0
    assert rows[2] == ["2 x 2", "skipped: slow"]
