"""Who does a piece of work where both could: the choice, what it rests on, and that nobody sees it but by the time."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from mlx_iforest import MLXIsolationForest, backends
from mlx_iforest.backends import crossover
from mlx_iforest.backends.calibration import Calibration
from mlx_iforest.backends.crossover import TABLE, Cost, Work, cpu_is_faster
from mlx_iforest.backends.reference import ReferenceBackend
from mlx_iforest.growth import GrowthPlan

X = np.random.default_rng(0).normal(size=(3000, 4)).astype(np.float32)


@cache
def by_numba() -> MLXIsolationForest:
    return MLXIsolationForest(n_estimators=20, random_state=0, backend="numba", batch_size=1000).fit(X)


class Pretended(ReferenceBackend):
    """A GPU: Numba, under another name, that counts and wants pieces."""

    name = "mlx"

    def __init__(self):
        self.rows, self.grown = [], 0

    def piece_rows(self, n_rows, n_features, n_threads):
        return 1700

    def grow(self, X, plan, *, n_threads=1):
        self.grown += plan.n_trees
        return backends.get_backend("numba").grow(X, plan, n_threads=n_threads)

    def leaf_means(self, forest, values, X):
        self.rows.append(len(X))
        return backends.get_backend("numba").leaf_means(forest, values, X)


@pytest.fixture
def gpu(monkeypatch):
    pretended, load = Pretended(), backends._load
    monkeypatch.setattr(backends, "_load", lambda name: pretended if name == "mlx" else load(name))
    monkeypatch.setattr(backends, "_mlx_gpu", lambda: None)
    monkeypatch.setattr(Calibration, "is_at_hand", lambda *_: True)
    return pretended


def test_costs_by_hand(monkeypatch):
    cpu, gpu = Cost(1, 0, 0.5, 2), Cost(10, 3, 0.25, 0.125)
    work = Work("growing", 4, 8, 40, 64, 5, "a thing")
    assert work.cpu_seconds(cpu, 1) == 1 + 4 + 80
    assert work.cpu_seconds(cpu, 4) == 4 + 84 / 4
    assert work.cpu_seconds(cpu, 8) == 5 + 84 / 5
    assert work.gpu_seconds(gpu) == 10 + 12 + 8  # the transfer's 2 s pass meanwhile
    monkeypatch.setattr(crossover, "gpu_place", lambda: "cuda")
    costs = {"growing": {"cpu": cpu, "cuda": gpu}}
    expected = (True, "a thing is expected to take 25 s on 4 CPU threads, 30 s on the GPU")
    assert cpu_is_faster(work, 4, costs) == expected
    assert not cpu_is_faster(work, 2, costs)[0]


def test_work_is_counted():
    forest = by_numba().forest_
    work = Work.scoring(forest, 10_000)
    assert (work.values, work.most_threads) == (40_000, 4)
    assert (work.cpu_steps, work.gpu_steps) == (10_000 * forest.n_nodes, 10_000 * int(forest.tree_depths.sum()))
    assert Work.scoring(forest, 3).most_threads == 1
    few = Work.growing(GrowthPlan(1, 0, 10, 1_000_000, 4, 256, 4))
    assert (few.moved_rows, few.values, few.cpu_steps) == (2560, 4 * 2560, 2560 * 8)
    most = Work.growing(GrowthPlan(1, 0, 10, 1000, 4, 256, 4))
    assert (most.moved_rows, most.values) == (0, 4000)


@pytest.mark.parametrize("place", ["cuda", "metal"])
def test_the_figures_send_little_work_to_the_cpu_and_much_to_a_gpu(monkeypatch, place):
    monkeypatch.setattr(crossover, "gpu_place", lambda: place)
    assert cpu_is_faster(Work.scoring(by_numba().forest_, 1), 1, TABLE)[0]
    assert not cpu_is_faster(Work.scoring(by_numba().forest_, 10**8), 1, TABLE)[0]
    assert cpu_is_faster(Work.growing(GrowthPlan(1, 0, 100, 10**6, 8, 256, 8)), 16, TABLE)[0]


def test_large_growing_goes_to_a_large_gpu(monkeypatch):
    monkeypatch.setattr(crossover, "gpu_place", lambda: "cuda")
    assert not cpu_is_faster(Work.growing(GrowthPlan(1, 0, 8, 10**6, 8, 10**6, 8)), 16, TABLE)[0]


def test_auto_goes_by_the_work(gpu, monkeypatch):
    def judged(work, n_threads, costs):
        return ("3,000" not in work.what, "so it is")

    monkeypatch.setattr("mlx_iforest.backends.crossover.cpu_is_faster", judged)
    model = MLXIsolationForest(n_estimators=20, random_state=0).fit(X)
    assert gpu.grown == 0
    assert model.backend_.name == "mlx"
    assert (model.performance_.grown_by.name, model.performance_.grown_by.reason) == ("numba", "so it is")
    for rows in (X[:10], X):
        assert model.score_samples(rows).tolist() == by_numba().score_samples(rows).tolist()
    assert sorted(gpu.rows) == [1300, 1700]
    figures = model.measure_scoring(X).to_dict()
    gpu.rows.clear()
    assert figures["scored_by"] == {"name": "mlx", "reason": "so it is"}
    assert figures["batch_rows"] == 1700
    model.scorer().score(X[0])
    figures = model.measure_scoring(X[:10])
    assert (figures.scored_by.name, figures.batch_rows) == ("numba", 10)
    assert not gpu.rows


def test_a_backend_asked_for_by_name_does_everything(gpu):
    model = MLXIsolationForest(n_estimators=20, random_state=0, backend="mlx").fit(X)
    figures = model.measure_scoring(X[:1])
    assert (gpu.grown, gpu.rows) == (20, [1])
    assert figures.scored_by.reason == "asked for by name"


def test_without_numba_the_gpu_does_everything(gpu, monkeypatch):
    load = backends._load
    model = MLXIsolationForest(n_estimators=20, random_state=0).fit(X)
    monkeypatch.setattr(backends, "_load", lambda name: "no numba here" if name == "numba" else load(name))
    monkeypatch.setattr(backends, "get_backend", lambda name: gpu)
    choice = backends.backend_for(model.backend_, "auto", lambda: Work.scoring(model.forest_, 1), 1)[1]
    assert choice.name == "mlx"


def test_without_a_gpu_nothing_is_weighed():
    model = MLXIsolationForest(n_estimators=20, random_state=0, backend="numba").fit(X)

    def work():
        raise AssertionError("asked for the work")

    backend, choice = backends.backend_for(model.backend_, "numba", work, 1)
    assert (backend.name, choice) == ("numba", model.backend_)
