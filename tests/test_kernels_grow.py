"""The growing kernel, run thread by thread on the CPU, grows the trees of Numba bit for bit."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlx_iforest import Forest
from mlx_iforest.backends import get_backend
from mlx_iforest.backends.base import DeviceError
from mlx_iforest.growth import GrowthPlan
from tests.dirty_data import dirty_data
from tests.kernel_checks import check_cuda, check_metal, compile_cuda
from tests.simulator import simulate

growth = pytest.importorskip("mlx_iforest.backends.mlx.growth")


def plan_for(X: np.ndarray, **changes: object) -> GrowthPlan:
    n_samples, n_features = X.shape
    plan = GrowthPlan(2**40 + 17, 0, 3, n_samples, n_features, min(64, n_samples), n_features)
    return replace(plan, **changes)  # type: ignore[arg-type]


def launched(
    X: np.ndarray, plan: GrowthPlan, threads: int = 64, large: int = 1024, simd: int = 1
) -> tuple[growth.mx.array, ...]:
    outputs = simulate(
        growth.KERNEL,
        {"THREADS": threads, "LARGE": large, "SIMD": simd},
        {"X": X, "plan": growth.plan_words(plan)},
        {name: (size,) for name, size in growth.output_sizes(plan).items()},
        plan.n_trees,
    )
    return growth.mx.array(outputs["sizes"]), growth.mx.array(outputs["nodes"])


def simulated(X: np.ndarray, plan: GrowthPlan, threads: int = 64, large: int = 1024, simd: int = 1) -> Forest:
    return growth.packed(plan, growth.fetched(plan, *launched(X, plan, threads, large, simd))).validate()


def numba(X: np.ndarray, plan: GrowthPlan) -> Forest:
    return get_backend("numba").grow(X, plan, n_threads=1)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"bootstrap": True},
        {"features_per_tree": 1},
        {"features_per_tree": 3},
        {"subsample_size": 1},
        {"subsample_size": 2},
        {"subsample_size": 3},
        {"subsample_size": 256},
        {"subsample_size": 299},
        {"subsample_size": 300},
        {"first_tree": 2**31 + 7},
        {"seed": 0},
        {"n_trees": 1},
        {"row_table": np.arange(3 * 30).reshape(3, 30), "subsample_size": 30},
        {"row_table": np.zeros((3, 2), np.int64), "subsample_size": 2},
    ],
    ids=str,
)
@pytest.mark.parametrize("large", [1024, 20])
def test_the_trees_of_numba(changes, large):
    """Where nodes of 20 rows are large, all SIMD groups grow them together."""
    X = dirty_data(300, 6)
    plan = plan_for(X, **changes)
    assert simulated(X, plan, large=large).equals(numba(X, plan))


@pytest.mark.parametrize(
    ("n_samples", "threads", "large"),
    [(1000, 32, 1024), (1000, 32, 100), (1000, 256, 1024), (1000, 512, 10), (1000, 1024, 200), (3000, 128, 1024)],
)
def test_deep_trees_and_any_number_of_threads(n_samples, threads, large):
    X = dirty_data(n_samples, 5)
    plan = plan_for(X, subsample_size=n_samples, n_trees=1)
    assert simulated(X, plan, threads, large).equals(numba(X, plan))


@pytest.mark.parametrize(("n_samples", "threads", "large"), [(1000, 256, 1024), (1000, 64, 20), (300, 32, 1024)])
def test_a_gpu_without_simd_operations(n_samples, threads, large):
    X = dirty_data(n_samples, 5)
    plan = plan_for(X, subsample_size=n_samples, n_trees=1)
    assert simulated(X, plan, threads, large, simd=0).equals(numba(X, plan))


@pytest.mark.parametrize("n_features", [1, 33, 500])
@pytest.mark.parametrize("features_per_tree", [None, 40])
def test_columns_nearly_all_constant(n_features, features_per_tree):
    """Four draws rarely find a column that varies: the exact choice does, among blocks of columns."""
    X = np.zeros((200, n_features), np.float32)
    X[:, n_features // 2] = np.arange(200)
    X[::7, -1] = 1
    X[::5, -1] = np.nan
    plan = plan_for(X, features_per_tree=min(features_per_tree or n_features, n_features), n_trees=2)
    assert simulated(X, plan).equals(numba(X, plan))
    assert simulated(X, plan, large=10).equals(numba(X, plan))


VALUES = st.one_of(
    st.sampled_from([0.0, -0.0, 1.0, float("nan"), 3.4028234e38, -3.4028234e38, 1e-45, -1e-45]),
    st.floats(width=32, allow_nan=False, allow_infinity=False),
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_the_trees_of_numba_from_any_data(data):
    n_samples, n_features = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 5))
    row = st.lists(VALUES, min_size=n_features, max_size=n_features)
    X = np.array(data.draw(st.lists(row, min_size=n_samples, max_size=n_samples)), np.float32)
    plan = plan_for(
        X,
        seed=data.draw(st.integers(0, 2**64 - 1)),
        bootstrap=data.draw(st.booleans()),
        subsample_size=data.draw(st.integers(1, n_samples)),
        features_per_tree=data.draw(st.integers(1, n_features)),
    )
    assert simulated(X, plan, large=data.draw(st.sampled_from([2, 8, 1024]))).equals(numba(X, plan))


@pytest.mark.parametrize("simd", [0, 1])
@pytest.mark.parametrize("changes", [{}, {"features_per_tree": 3}], ids=str)
def test_it_compiles_for_metal(changes, simd):
    X = dirty_data(300, 6)
    plan = plan_for(X, **changes)
    shapes = {name: (size,) for name, size in growth.output_sizes(plan).items()}
    template = {"THREADS": 256, "LARGE": 1024, "SIMD": simd}
    check_metal(growth.KERNEL, template, {"X": X.reshape(-1), "plan": growth.plan_words(plan)}, shapes)


def test_it_compiles_for_cuda():
    template = {"THREADS": 512, "LARGE": 1024, "SIMD": 1}
    check_cuda(growth.KERNEL, template)
    compile_cuda(growth.KERNEL, template)


@pytest.fixture
def device(monkeypatch):
    """MLX's part on its CPU, with the simulator in the place of the GPU; the plans that were launched."""
    plans = []

    def launch(X, plan):
        plans.append(plan)
        assert X.size >= growth.SHORTEST
        return launched(np.array(X), plan)

    monkeypatch.setattr(growth, "_launch", launch)
    return plans


def test_all_rows_move_where_trees_take_many(device):
    X = dirty_data(300, 6)
    plan = plan_for(X, n_trees=5)
    assert growth.grow(X, plan).equals(numba(X, plan))
    assert [(p.n_samples, p.n_trees) for p in device] == [(300, 5)]


@pytest.mark.parametrize("bootstrap", [False, True])
def test_rows_taken_move_where_trees_take_few(device, bootstrap):
    X = dirty_data(3000, 3)
    plan = plan_for(X, subsample_size=20, bootstrap=bootstrap, first_tree=9, features_per_tree=2)
    assert growth.grow(X, plan).equals(numba(X, plan))
    assert [p.n_samples for p in device] == [60]


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (7, 1)])
def test_less_data_than_a_kernel_takes(device, shape):
    X = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    plan = plan_for(X)
    assert growth.grow(X, plan).equals(numba(X, plan))


@pytest.mark.parametrize("bound", ["LAUNCH_WORK", "MEMORY_SHARE", "LARGEST"])
def test_more_trees_than_one_launch_takes(device, monkeypatch, bound):
    X = dirty_data(300, 6)
    plan = plan_for(X, n_trees=5, row_table=np.arange(100).reshape(5, 20), subsample_size=20)
    monkeypatch.setattr(growth, "_memory", lambda: 80_000 if bound != "MEMORY_SHARE" else 40_000)
    monkeypatch.setattr(
        growth, bound, {"LAUNCH_WORK": {"metal": 200, "cuda": 200}, "MEMORY_SHARE": 0.1, "LARGEST": 400}[bound]
    )
    assert growth.grow(X, plan).equals(numba(X, plan))
    assert len(device) > 1
    assert sum(p.n_trees for p in device) == 5


def test_out_of_memory_halves_the_launch(monkeypatch):
    X = dirty_data(300, 6)
    plan = plan_for(X, n_trees=5)
    tried = []

    def launch(X, plan):
        tried.append(plan.n_trees)
        if plan.n_trees > 2:
            raise RuntimeError("[malloc] Unable to allocate 123 bytes.")
        return launched(np.array(X), plan)

    monkeypatch.setattr(growth, "_launch", launch)
    assert growth.grow(X, plan).equals(numba(X, plan))
    assert tried == [5, 2, 3, 1, 2]


@pytest.mark.parametrize("language", ["metal", "cuda"])
@pytest.mark.parametrize("n_threads", [1, 3])
def test_packing_with_and_without_numba(monkeypatch, n_threads, language):
    """From CUDA's memory only the words of nodes are copied; NumPy packs where Numba is missing."""
    X = dirty_data(300, 6)
    plan = plan_for(X, n_trees=7)
    monkeypatch.setattr(growth, "_language", lambda: language)
    monkeypatch.setattr(growth, "NODES_PER_TASK", 30)
    grown = growth.fetched(plan, *launched(X, plan))
    assert grown.words.shape == (4, grown.tree_start[-1] if language == "cuda" else 7 * 127)
    expected = numba(X, plan)
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "mlx_iforest.backends.mlx.grown_arrays", None)
        growth._compiled_unpack.cache_clear()
        assert growth.packed(plan, grown).validate().equals(expected)
    growth._compiled_unpack.cache_clear()
    monkeypatch.setattr(growth.Families, "of", None)
    assert growth.packed(plan, grown, n_threads=n_threads).validate().equals(expected)


def test_threads_of_a_group(monkeypatch):
    X = dirty_data(3000, 2)
    for language, threads in (("metal", [256, 256]), ("cuda", [256, 512])):
        monkeypatch.setattr(growth, "_language", lambda language=language: language)
        assert [growth._threads(plan_for(X, subsample_size=size)) for size in (1024, 1025)] == threads


def test_rows_that_cannot_be_moved(monkeypatch):
    def array(X):
        raise RuntimeError("[malloc] Unable to allocate 72 bytes.")

    monkeypatch.setattr(growth.mx, "array", array)
    X = dirty_data(3, 6)
    with pytest.raises(DeviceError, match=r"while moving 3 rows: \[malloc\] Unable"):
        growth.grow(X, plan_for(X))


def test_other_errors_of_the_device_are_not_hidden(monkeypatch):
    def launch(X, plan):
        raise RuntimeError("an illegal instruction")

    monkeypatch.setattr(growth, "_launch", launch)
    X = dirty_data(300, 6)
    with pytest.raises(DeviceError, match="while growing 3 trees: an illegal"):
        growth.grow(X, plan_for(X))


def test_errors_of_plain_operations_are_the_device_s_too(monkeypatch):
    """So that the CPU does the work where the choice of a backend was left to us."""
    from mlx_iforest.backends.mlx import ops as mlx_ops

    def broken(*_):
        raise RuntimeError("an illegal instruction")

    monkeypatch.setattr(mlx_ops, "_grow", broken)
    monkeypatch.setattr(mlx_ops, "_walk", broken)
    X = dirty_data(300, 6)
    plan = plan_for(X, extension_level=1)
    with pytest.raises(DeviceError, match="while growing 3 trees: an illegal"):
        get_backend("mlx").grow(X, plan, n_threads=1)
    forest = numba(X, plan)
    with pytest.raises(DeviceError, match="while scoring 300 rows: an illegal"):
        get_backend("mlx").leaf_means(forest, forest.path_length[:, None], X)


def test_which_plans_the_kernel_takes():
    X = dirty_data(300, 6)
    assert growth.is_grown_by_kernel(plan_for(X))
    assert not growth.is_grown_by_kernel(plan_for(X, extension_level=1))
    assert not growth.is_grown_by_kernel(plan_for(X, n_samples=2**32))
    assert not growth.is_grown_by_kernel(plan_for(X, n_samples=2**30, subsample_size=2**28))


@pytest.mark.parametrize(("changes", "n_launches"), [({}, 1), ({"extension_level": 1}, 0)], ids=str)
def test_the_backend_takes_the_kernel_where_it_can(device, monkeypatch, changes, n_launches):
    X = dirty_data(300, 6)
    plan = plan_for(X, **changes)
    monkeypatch.setattr("mlx_iforest.backends.mlx.ops.uses_gpu", lambda: True)
    assert get_backend("mlx").grow(X, plan, n_threads=1).equals(numba(X, plan))
    assert len(device) == n_launches


@pytest.mark.slow
def test_the_benchmark(monkeypatch, tmp_path, capsys):
    from benchmarks import gpu_grow

    def launch(X, plan):
        assert growth.THREADS["metal"] <= 256
        return launched(np.array(X), plan, min(growth.THREADS["cuda"], 64), growth.LARGE)

    monkeypatch.setattr(growth, "_launch", launch)
    assert gpu_grow.main(["--quick", "--output", str(tmp_path / "grow.json")]) == 0
    cases = json.loads((tmp_path / "grow.json").read_text("utf-8"))
    assert sum(case["kind"] == "equal" for case in cases) == 3 * 16 + 1
    assert sum(case["kind"] == "time" for case in cases) == 10
    assert "0 of" in capsys.readouterr().out


def test_the_benchmark_tells_of_what_is_wrong_and_goes_on(monkeypatch, tmp_path, capsys):
    from benchmarks import gpu_grow

    def launch(X, plan):
        if plan.bootstrap:
            raise RuntimeError("the device is gone")
        sizes, nodes = map(np.array, launched(np.array(X), plan))
        nodes[plan.n_trees * (2 * plan.subsample_size - 1)] ^= 1  # the first threshold
        return growth.mx.array(sizes), growth.mx.array(nodes)

    monkeypatch.setattr(growth, "_launch", launch)
    monkeypatch.setattr(gpu_grow, "time_all", lambda *_: None)
    monkeypatch.setattr(gpu_grow, "plans", lambda scale, plans=gpu_grow.plans: list(plans(scale))[:2])
    assert gpu_grow.main(["--quick", "--output", str(tmp_path / "grow.json")]) == 1
    cases = {case["name"]: case for case in json.loads((tmp_path / "grow.json").read_text("utf-8"))}
    assert "threshold at 1 places, first 0" in cases["100 x 256, usual threads"]["difference"]
    assert "the device is gone" in cases["with replacement, 64 threads"]["error"]
    assert "Traceback" in capsys.readouterr().out
