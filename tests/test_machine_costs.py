"""What work costs on a machine: measured by a clock that is made up, kept in a file, and no matter for any result."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mlx_iforest import MLXIsolationForest, backends
from mlx_iforest.backends import calibration as module
from mlx_iforest.backends import crossover, get_backend
from mlx_iforest.backends.base import DeviceError
from mlx_iforest.backends.calibration import LEAST, PATIENCE, Calibration, gpu_pays_from, measure
from mlx_iforest.backends.crossover import TABLE, Cost, Work
from mlx_iforest.growth import GrowthPlan

X = np.random.default_rng(0).normal(size=(2000, 4)).astype(np.float32)


class Clocked:
    """A backend whose work takes what it is told to; it scores nothing, and grows only what is scored."""

    now = 0.0

    def __init__(self, place: str, scoring: Cost, growing: Cost) -> None:
        self._place, self._scoring, self._growing = place, scoring, growing

    def _pass(self, work: Work, cost: Cost) -> None:
        Clocked.now += work.cpu_seconds(cost, 1) if self._place == "cpu" else work.gpu_seconds(cost)

    def leaf_means(self, forest, values, X):
        self._pass(Work.scoring(forest, len(X)), self._scoring)

    def grow(self, X, plan, *, n_threads):
        self._pass(Work.growing(plan), self._growing)
        if plan.subsample_size == 256:
            return backends.get_backend("numba").grow(X, plan, n_threads=1)
        return None


def measured(scoring: Cost, growing: Cost):
    cpu = Clocked("cpu", Cost(2e-4, 0, 3e-9, 5e-11), Cost(1e-5, 0, 0, 2e-8))
    return measure(cpu, Clocked("cuda", scoring, growing), 1, "cuda", lambda: Clocked.now)


def test_costs_are_found_where_the_transfer_takes_longest():
    costs = measured(Cost(1e-3, 0, 2e-9, 1e-14), Cost(2e-3, 1.5e-7, 2e-9, 6e-10))
    cpu, gpu = costs["scoring"]["cpu"], costs["scoring"]["cuda"]
    assert (cpu.call, cpu.value, cpu.step) == pytest.approx((2e-4, 3e-9, 5e-11), rel=0.01)
    assert (gpu.call, gpu.value, gpu.step) == pytest.approx((1e-3, 2e-9, LEAST), rel=0.01)
    grown = costs["growing"]["cuda"]
    assert (grown.call, grown.row, grown.value, grown.step) == pytest.approx((2e-3, 1.5e-7, 2e-9, 6e-10), rel=0.1)
    assert costs["growing"]["cpu"].step == pytest.approx(2e-8, rel=0.02)


def test_costs_are_found_where_the_steps_take_longest():
    gpu = measured(Cost(1e-3, 0, 1e-12, 1e-11), Cost(2e-3, 1.5e-7, 1e-12, 6e-10))["scoring"]["cuda"]
    assert (gpu.call, gpu.step) == pytest.approx((1e-3, 1e-11), rel=0.01)
    assert gpu.value < 1e-11


def own() -> crossover.Costs:
    of_kind = {"cpu": Cost(1.0, 0.0, 0.0, 1.0), crossover.gpu_place(): Cost(2.0, 0.0, 0.0, 1.0)}
    return {"scoring": of_kind, "growing": of_kind}


class Counted:
    """Measures, and counts how often."""

    def __init__(self, fails: bool = False) -> None:
        self.times, self._fails = 0, fails

    def __call__(self) -> crossover.Costs:
        self.times += 1
        if self._fails:
            raise DeviceError("the device was lost")
        return own()


def scoring(rows: int) -> Work:
    """By 20 trees of 256 samples."""
    return Work("scoring", 0, 4 * rows, 20 * 380 * rows, 20 * 8 * rows, 1, "scoring")


LITTLE, MUCH = scoring(10), scoring(10**12)


def test_the_table_holds_until_there_was_enough_work(tmp_path: Path):
    measures = Counted()
    calibration = Calibration(measures, lambda: tmp_path / "a" / "costs.json")
    assert calibration.costs(LITTLE, 1) is TABLE
    assert not measures.times
    assert not list(tmp_path.iterdir())
    assert calibration.costs(MUCH, 1) == calibration.costs(LITTLE, 1) == calibration.now() == own()
    assert measures.times == 1


def test_work_adds_up():
    measures = Counted()
    calibration = Calibration(measures, lambda: None)
    work = scoring(100_000)
    of_kind = TABLE["scoring"]
    each = min(work.cpu_seconds(of_kind["cpu"], 1), work.gpu_seconds(of_kind[crossover.gpu_place()]))
    for _ in range(int(PATIENCE / each)):
        assert calibration.costs(work, 1) is TABLE
    calibration.costs(work, 1)
    assert calibration.costs(work, 1) == own()
    assert measures.times == 1


def test_the_gpu_is_loaded_once_it_would_have_saved_as_much():
    loaded: list[bool] = []
    calibration = Calibration(Counted(), lambda: None, lambda: bool(loaded))
    work, place = scoring(10**7), crossover.gpu_place()
    of_kind = TABLE["scoring"]
    saves = work.cpu_seconds(of_kind["cpu"], 1) - work.gpu_seconds(of_kind[place])
    for _ in range(int(module.LOADING[place] / saves)):
        assert not calibration.is_at_hand(work, 1, TABLE)
    assert calibration.is_at_hand(work, 1, TABLE)
    calibration = Calibration(Counted(), lambda: None, lambda: bool(loaded))
    assert not calibration.is_at_hand(LITTLE, 1, TABLE)
    loaded.append(True)
    assert calibration.is_at_hand(LITTLE, 1, TABLE)


def test_what_was_measured_is_kept(tmp_path: Path):
    file, measures = tmp_path / "costs.json", Counted()
    Calibration(measures, lambda: file).now()
    assert Calibration(measures, lambda: file).costs(LITTLE, 1) == own()
    assert measures.times == 1
    for damaged in ("", "{}", "[1]", file.read_text().replace("1.0", "NaN"), file.read_text().replace("1.0", '"1"')):
        file.write_text(damaged)
        assert Calibration(measures, lambda: file).costs(LITTLE, 1) is TABLE
    assert Calibration(measures, lambda: file).now() == own()
    assert measures.times == 2
    assert Calibration(measures, lambda: file).costs(LITTLE, 1) == own()


def test_a_folder_that_takes_nothing_is_no_error(tmp_path: Path):
    (tmp_path / "file").write_text("")
    assert Calibration(Counted(), lambda: tmp_path / "file" / "costs.json").now() == own()


def test_a_gpu_that_fails_leaves_the_table():
    measures = Counted(fails=True)
    calibration = Calibration(measures, lambda: None)
    assert calibration.now() is TABLE
    assert calibration.costs(MUCH, 1) is TABLE
    assert measures.times == 1


def test_the_file_is_named_after_machine_and_versions(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(module, "users_cache", lambda name: tmp_path / name)
    here = module.file_here()
    assert here == module.file_here()
    monkeypatch.setattr(module, "version", lambda package: "another")
    assert module.file_here() != here
    monkeypatch.setattr(module, "users_cache", lambda name: None)
    assert module.file_here() is None


def test_without_a_gpu_nothing_is_measured_or_looked_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(backends, "_mlx_gpu", lambda: "no GPU")

    def fail(*_: object) -> None:
        raise AssertionError("asked for costs")

    monkeypatch.setattr(Calibration, "costs", fail)
    monkeypatch.setattr(Calibration, "now", fail)
    assert len(MLXIsolationForest(5, random_state=0).fit(X).score_samples(X)) == len(X)
    assert backends.describe_system()["gpu_pays"] is None


class Pretended:
    """A GPU: Numba under another name."""

    name = "mlx"

    def __getattr__(self, name: str):
        return getattr(backends.get_backend("numba"), name)


def test_no_result_depends_on_what_was_measured(monkeypatch: pytest.MonkeyPatch):
    load = backends._load
    monkeypatch.setattr(backends, "_load", lambda name: Pretended() if name == "mlx" else load(name))
    monkeypatch.setattr(backends, "_mlx_gpu", lambda: None)
    place = crossover.gpu_place()
    scores, names = [], []
    for call in (1e-9, 10.0):
        of_kind = {"cpu": Cost(1e-3, 0.0, 0.0, 0.0), place: Cost(call, 0.0, 0.0, 0.0)}
        costs = {"scoring": of_kind, "growing": of_kind}
        machine = Calibration(lambda costs=costs: costs, lambda: None)
        machine.now()
        monkeypatch.setattr(backends, "_machine", lambda machine=machine: machine)
        model = MLXIsolationForest(20, random_state=0).fit(X)
        names.append((model.performance_.grown_by.name, model.measure_scoring(X).scored_by.name))
        scores.append(model.score_samples(X))
    assert names == [("mlx", "mlx"), ("numba", "numba")]
    assert np.array_equal(*scores)


def test_what_is_shown():
    place = crossover.gpu_place()
    cpu = Cost(1e-3, 0.0, 0.0, 1e-9)
    for gpu, told in ((Cost(1e-6, 0, 0, 0), "scoring 1 rows"), (Cost(1e9, 0, 0, 0), "scoring no number of rows")):
        shown = gpu_pays_from({"scoring": {"cpu": cpu, place: gpu}, "growing": {}}, get_backend("numba"))
        assert shown.startswith(told)
        assert shown.endswith("(measured)")
    assert gpu_pays_from(TABLE, get_backend("numba")).endswith("(a guess)")


def test_plans_of_the_measurement_gather_and_do_not():
    few = GrowthPlan(0, 0, module.GROWN_TREES, module.GROWN_ROWS, 8, module.GROWN_SAMPLES, 8)
    many = GrowthPlan(0, 0, module.GROWN_TREES, module.MANY_ROWS, 8, module.GROWN_SAMPLES, 8)
    assert (Work.growing(few).moved_rows, Work.growing(many).moved_rows) == (
        0,
        module.GROWN_TREES * module.GROWN_SAMPLES,
    )
