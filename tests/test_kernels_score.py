"""The scoring kernel, run thread by thread on the CPU, gives Numba's sums bit for bit."""

from __future__ import annotations

import re
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlx_iforest import Forest, MLXIsolationForest, backends
from mlx_iforest.backends import get_backend
from mlx_iforest.backends.base import DeviceError
from mlx_iforest.backends.fixed_point import whole_numbers
from mlx_iforest.backends.mlx.device_forest import MISSING_CODE, RANK, DeviceForest, Layout, Ranking
from mlx_iforest.backends.reference import ReferenceBackend
from mlx_iforest.backends.scored_trees import DoesNotFitError, Trees
from mlx_iforest.compress.quantization import quantize_forest
from mlx_iforest.growth import GrowthPlan
from tests.dirty_data import dirty_data
from tests.kernel_checks import check_cuda, check_metal, compile_cuda
from tests.simulator import simulate

mlx_kernels = pytest.importorskip("mlx_iforest.backends.mlx.scoring")

SHARED = 32 << 10


def forest_of(X: np.ndarray, n_trees: int = 5, subsample: int = 64, extension: int = 0) -> Forest:
    n_samples, n_features = X.shape
    plan = GrowthPlan(7, 0, n_trees, n_samples, n_features, min(subsample, n_samples), n_features)
    plan = GrowthPlan(**{**plan.__dict__, "extension_level": extension})
    return get_backend("numba").grow(X, plan, n_threads=1)


def both_values(forest: Forest) -> np.ndarray:
    assert forest.log_density is not None
    return np.stack([forest.path_length, forest.log_density], axis=1)


def packed(forest: Forest, values: np.ndarray, shared: int = SHARED, threads: int = 64, **changes: Any) -> DeviceForest:
    trees = Trees.of(forest, whole_numbers(values)[1])
    device = DeviceForest.of(trees, Layout.of(trees, shared, threads, **changes))
    assert device.kernel.shared_bytes(**device.template) <= shared
    return device


def codes(ranking: Ranking, X: np.ndarray) -> np.ndarray:
    inputs = {"X": X, "sizes": np.array([len(X)], np.uint32), "thresholds": ranking.thresholds}
    return simulate(RANK, ranking.template(64), inputs, {"codes": (len(X), ranking.n_words)}, 2)["codes"]


def simulated(device: DeviceForest, X: np.ndarray, n_groups: int = 2) -> np.ndarray:
    rows = X if device.ranking is None else codes(device.ranking, X)
    sizes = np.array([len(X), device.n_chunks], np.uint32)
    inputs = {"X": rows, "sizes": sizes, **device.arrays}
    return simulate(device.kernel, device.template, inputs, {"totals": (len(X), device.n_values)}, n_groups)["totals"]


def check_languages(device: DeviceForest, X: np.ndarray) -> None:
    shape = X.shape if device.ranking is None else (len(X), device.ranking.n_words)
    rows = np.zeros(shape, device.kernel.inputs[0][1])
    inputs = {"X": rows, "sizes": np.zeros(2, np.uint32), **device.arrays}
    check_metal(device.kernel, device.template, inputs, {"totals": (len(X), device.n_values)})
    check_cuda(device.kernel, device.template)


def check(forest: Forest, values: np.ndarray, X: np.ndarray, **changes: Any) -> DeviceForest:
    device = packed(forest, values, **changes)
    unit, _ = whole_numbers(values)
    means = simulated(device, X) * (unit / forest.n_trees)
    assert np.array_equal(means, get_backend("numba").leaf_means(forest, values, X))
    few = ReferenceBackend().leaf_means(forest, values, X[:5])
    assert means[:5] == pytest.approx(few, rel=1e-6, abs=1e-5)
    return device


@pytest.mark.parametrize(
    ("n_features", "ranks"), [(1, False), (8, False), (64, False), (1, True), (4, True), (5, True), (8, True)]
)
@pytest.mark.parametrize("missing", [0, 0.1])
@pytest.mark.parametrize("n_values", [1, 2])
def test_sums_are_those_of_the_cpu(ranks, n_features, missing, n_values):
    X = dirty_data(150, n_features, missing)
    forest = forest_of(X)
    device = check(forest, both_values(forest)[:, :n_values], X, ranks=ranks, trees_side_by_side=2)
    assert device.template["STAGED"]
    assert device.template["TILED"] or ranks


@pytest.mark.parametrize(
    "changes",
    [
        {"threads": 128, "splits": 1, "trees_side_by_side": 1},
        {"threads": 128, "splits": 4, "trees_side_by_side": 1},
        {"threads": 64, "splits": 2, "trees_side_by_side": 4},
    ],
    ids=str,
)
@pytest.mark.parametrize("ranks", [False, True])
def test_however_the_work_is_cut_up(changes, ranks):
    X = dirty_data(140, 7)
    forest = forest_of(X, n_trees=7)
    check(forest, both_values(forest), X, ranks=ranks, **changes)


def test_wide_rows_leave_few_to_a_tile():
    X = dirty_data(70, 500)
    forest = forest_of(X, n_trees=6)
    device = check(forest, forest.path_length[:, None], X, shared=96 << 10, threads=128)
    assert device.template["SPLITS"] == 4
    assert device.template["TILED"]
    device = check(forest, forest.path_length[:, None], X, shared=SHARED)
    assert not device.template["TILED"]
    with pytest.raises(DoesNotFitError, match="500 features; registers hold the codes of 8"):
        packed(forest, forest.path_length[:, None], ranks=True)


@pytest.mark.parametrize("ranks", [False, True])
def test_trees_in_several_chunks_and_trees_too_large_for_any(ranks):
    X = dirty_data(130, 3)
    forest = forest_of(X, n_trees=9, subsample=128)
    values = both_values(forest)
    device = check(forest, values, X, ranks=ranks, shared=6 << 10)
    assert device.n_chunks > 1
    assert device.template["STAGED"]
    if ranks:
        with pytest.raises(DoesNotFitError, match="does not fit 1500 bytes"):
            packed(forest, values, ranks=True, shared=1500, threads=32)
    else:
        device = check(forest, values, X, shared=1500, threads=32)
        assert not device.template["STAGED"]


@pytest.mark.parametrize("ranks", [False, True])
def test_many_small_trees_fit(ranks):
    X = dirty_data(20, 2)
    forest = quantize_forest(forest_of(X, n_trees=600, subsample=4), 8)
    device = check(forest, both_values(forest), X, ranks=ranks, shared=12 << 10, threads=32)
    assert device.template["STAGED"]
    assert device.n_chunks > 2


@pytest.mark.parametrize("ranks", [False, True])
def test_more_trees_than_32_bits_hold(ranks):
    X = dirty_data(40, 4)
    forest = forest_of(X, n_trees=130, subsample=8)
    values = np.where(forest.feature < 0, np.float32(3.0), np.float32(0))[:, None]
    device = check(forest, values, X, ranks=ranks, splits=2, trees_side_by_side=2)
    assert device.kernel.outputs == (("totals", "int64"),)
    assert simulated(device, X).max() > 2**30


@pytest.mark.parametrize("extension", [1, 3])
@pytest.mark.parametrize("shared", [SHARED, 1500])
def test_oblique_splits(extension, shared):
    X = dirty_data(120, 5)
    forest = forest_of(X, extension=extension)
    check(forest, both_values(forest), X, shared=shared, threads=32)
    with pytest.raises(DoesNotFitError, match="oblique"):
        packed(forest, forest.path_length[:, None], ranks=True)


def test_only_quantised_forests_of_many_splits_have_codes():
    X = dirty_data(2000, 6)
    forest = forest_of(X, n_trees=30, subsample=200)
    with pytest.raises(DoesNotFitError, match="thresholds; codes of 8 bits number up to 254"):
        packed(forest, both_values(forest), threads=32, ranks=True)
    quantised = quantize_forest(forest, 8)
    check(quantised, both_values(quantised), X[:200], threads=32, ranks=True)


def test_trees_of_more_nodes_than_a_word_numbers_have_no_codes():
    X = np.random.default_rng(0).integers(0, 200, (2000, 6)).astype(np.float32)
    forest = forest_of(X, n_trees=2, subsample=2000)
    assert np.diff(forest.tree_start).max() > 1 << 10
    with pytest.raises(DoesNotFitError, match="a node beside its code numbers up to 1024"):
        packed(forest, forest.path_length[:, None], ranks=True)


@pytest.mark.parametrize(
    ("n_features", "changes"),
    [
        (8, {}),
        (8, {"ranks": True}),
        (3, {"ranks": True}),
        (20, {"shared": 1024}),
        (70, {"shared": SHARED, "threads": 128}),
        (3, {"splits": 2}),
    ],
    ids=str,
)
def test_kernels_are_well_formed_metal_and_cuda(n_features, changes):
    X = dirty_data(50, n_features)
    forest = quantize_forest(forest_of(X), 8)
    check_languages(packed(forest, both_values(forest), **changes), X)
    check_languages(packed(forest, forest.path_length[:, None], **changes), X)


def test_kernels_of_other_forests_are_well_formed_metal_and_cuda():
    X = dirty_data(50, 4)
    oblique = forest_of(X, extension=2)
    check_languages(packed(oblique, oblique.path_length[:, None]), X)
    many = forest_of(X, n_trees=130, subsample=8)
    check_languages(packed(many, many.path_length[:, None], splits=2), X)
    ranking = Ranking.of(Trees.of(few := forest_of(X), whole_numbers(both_values(few))[1]))
    inputs = {"X": X, "sizes": np.zeros(2, np.uint32), "thresholds": ranking.thresholds}
    check_metal(RANK, ranking.template(64), inputs, {"codes": (len(X), ranking.n_words)})
    check_cuda(RANK, ranking.template(64))


def test_codes_are_taken_where_they_pay():
    def best(n_features: int, n_trees: int, **changes: int) -> DeviceForest:
        forest = forest_of(dirty_data(400, n_features, missing=0), n_trees, 200, **changes)
        return DeviceForest.best(Trees.of(forest, whole_numbers(forest.path_length[:, None])[1]), SHARED, 64)

    assert best(4, 5).layout.ranks
    assert not best(4, 60).layout.ranks
    assert not best(100, 5).layout.ranks
    assert not best(4, 5, extension=1).layout.ranks


def test_codes_count_thresholds_below():
    X = dirty_data(300, 2, missing=0)
    forest = forest_of(X, n_trees=5)
    trees = Trees.of(
        forest, np.zeros((forest.n_nodes, 1), np.int32) + np.arange(forest.n_nodes, dtype=np.int32)[:, None]
    )
    ranking = Ranking.of(trees)
    X[3, 0] = np.nan
    X[4, 1] = np.inf
    X[5, 1] = -np.inf
    X[6, 0] = trees.feature_thresholds[0][5]
    expected = np.stack([np.searchsorted(t, X[:, f]) for f, t in enumerate(trees.feature_thresholds)], axis=1)
    expected[3, 0] = MISSING_CODE
    assert expected[6, 0] == 5
    assert expected[4, 1] == len(trees.feature_thresholds[1])
    assert expected[5, 1] == 0
    assert np.array_equal(codes(ranking, X).view(np.uint8)[:, :2], expected)


def test_splits_between_equal_leaves_are_left_out():
    X = dirty_data(100, 3)
    forest = forest_of(X)
    trees = Trees.of(forest, np.zeros((forest.n_nodes, 1), np.int32))
    assert np.array_equal(np.diff(trees.tree_start), np.ones(5))
    assert trees.depths.max() == 0
    check(forest, np.zeros((forest.n_nodes, 1), np.float32), X)
    all_different = np.arange(forest.n_nodes, dtype=np.int32)[:, None]
    trees = Trees.of(forest, all_different)
    assert np.array_equal(trees.left, forest.left)
    assert np.array_equal(trees.depths, forest.tree_depths)


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    n_rows=st.integers(1, 70),
    n_features=st.sampled_from([1, 3, 8]),
    n_trees=st.sampled_from([1, 4, 6]),
    subsample=st.sampled_from([1, 2, 16, 70]),
    missing=st.sampled_from([0, 0.3, 1]),
    ranks=st.booleans(),
    seed=st.integers(0, 99),
)
def test_any_rows_and_trees(n_rows, n_features, n_trees, subsample, missing, ranks, seed):
    X = dirty_data(n_rows, n_features, missing, seed)
    forest = forest_of(X, n_trees, subsample)
    check(forest, both_values(forest), X, ranks=ranks, threads=32)


@pytest.fixture
def simulated_gpu(monkeypatch):
    """MLX's kernels launched in the simulator; returns the rows of the launches of the scoring kernel."""
    mx = pytest.importorskip("mlx.core")
    rows = []

    def launch(kernel, template, inputs, shapes, n_groups):
        arrays = {name: np.asarray(inputs[name]) for name, _ in kernel.inputs}
        assert all(array.size >= 8 for name, array in arrays.items() if name != "sizes")
        if kernel.name == "score":
            rows.append(int(arrays["sizes"][0]))
        outputs = simulate(kernel, template, arrays, shapes, min(n_groups, 3))
        return [mx.array(outputs[name]) for name, _ in kernel.outputs]

    monkeypatch.setattr(mlx_kernels, "launch", launch)
    monkeypatch.setattr(mlx_kernels, "group_limits", lambda: (SHARED, 64))
    return rows


def expected_means(forest: Forest, X: np.ndarray) -> np.ndarray:
    return get_backend("numba").leaf_means(forest, both_values(forest), X)


@pytest.mark.parametrize("n_rows", [0, 1, 100])
@pytest.mark.parametrize("ranks", [False, True])
def test_scorer(simulated_gpu, n_rows, ranks):
    X = dirty_data(100, 3)
    forest = forest_of(X)
    values = both_values(forest)
    trees = Trees.of(forest, whole_numbers(values)[1])
    scorer = mlx_kernels.KernelScorer(forest, values, Layout.of(trees, SHARED, 64, ranks=ranks))
    assert (scorer.packed.ranking is not None) == ranks
    assert np.array_equal(scorer.means(X[:n_rows]), expected_means(forest, X[:n_rows]))


def test_scorer_takes_chunks_and_halves_them_where_memory_is_short(simulated_gpu, monkeypatch):
    X = dirty_data(5000, 1)
    forest = forest_of(X, n_trees=1, subsample=4)
    scorer = mlx_kernels.KernelScorer(forest, both_values(forest))
    monkeypatch.setattr(mlx_kernels, "CHUNK_BYTES", 4 * 2000)
    assert np.array_equal(scorer.means(X), expected_means(forest, X))
    assert simulated_gpu == [2000, 2000, 1000]
    monkeypatch.setattr(mlx_kernels, "CHUNK_BYTES", 4 * 4100)
    launch, failures = mlx_kernels.launch, iter([True, True])

    def short_of_memory(kernel, template, inputs, shapes, n_groups):
        if next(failures, False):
            raise RuntimeError("[malloc] Unable to allocate 17 bytes.")
        return launch(kernel, template, inputs, shapes, n_groups)

    monkeypatch.setattr(mlx_kernels, "launch", short_of_memory)
    simulated_gpu.clear()
    assert np.array_equal(scorer.means(X), expected_means(forest, X))
    assert simulated_gpu == [1025, 1025, 1025, 1025, 900]


def test_device_errors_are_told(simulated_gpu, monkeypatch):
    X = dirty_data(30, 2)
    forest = forest_of(X)
    scorer = mlx_kernels.KernelScorer(forest, both_values(forest))

    def lost(*arguments):
        raise RuntimeError("the device was lost")

    monkeypatch.setattr(mlx_kernels, "launch", lost)
    with pytest.raises(DeviceError, match=r"MLX's device failed while scoring \d+ rows: the device was lost"):
        scorer.means(X)


def test_scorers_are_kept_with_their_forest(simulated_gpu, monkeypatch):
    X = dirty_data(30, 2)
    forest = forest_of(X)
    values = both_values(forest)
    scorer = mlx_kernels.kernel_scorer(forest, values)
    assert scorer is not None
    assert mlx_kernels.kernel_scorer(forest, values) is scorer
    assert mlx_kernels.kernel_scorer(forest, values.copy()) is not scorer

    def too_large(*arguments):
        raise DoesNotFitError("too many nodes")

    monkeypatch.setattr(mlx_kernels.DeviceForest, "of", too_large)
    assert mlx_kernels.kernel_scorer(forest, values[:, :1]) is None


def test_threads_may_score_at_once(simulated_gpu):
    X = dirty_data(64, 2)
    forest = forest_of(X)
    scorer = mlx_kernels.KernelScorer(forest, both_values(forest))
    results: list[Any] = []
    threads = [threading.Thread(target=lambda: results.append(scorer.means(X))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 3
    assert all(np.array_equal(means, expected_means(forest, X)) for means in results)


class FailingBackend(ReferenceBackend):
    name = "mlx"

    def grow(self, X, plan, *, n_threads=1):
        raise DeviceError("the device was lost")

    def leaf_means(self, forest, values, X):
        raise DeviceError("the device was lost")


def test_auto_finishes_on_the_cpu(monkeypatch):
    load = backends._load
    monkeypatch.setattr(backends, "_load", lambda name: FailingBackend() if name == "mlx" else load(name))
    monkeypatch.setattr(backends, "_mlx_gpu", lambda: None)

    def judged(work: Any, n_threads: int, costs: Any) -> tuple[bool, str]:
        return (False, "there is so much of it")

    monkeypatch.setattr("mlx_iforest.backends.crossover.cpu_is_faster", judged)
    X = dirty_data(300, 3, missing=0)
    model = MLXIsolationForest(random_state=0, n_estimators=10)
    with pytest.warns(RuntimeWarning, match="the device was lost; numba does it on the CPU"):
        scores = model.fit(X).score_samples(X)
    assert model.backend_.name == "mlx"
    expected = MLXIsolationForest(random_state=0, n_estimators=10, backend="numba").fit(X).score_samples(X)
    assert np.array_equal(scores, expected)
    with pytest.raises(DeviceError, match="the device was lost"):
        MLXIsolationForest(backend="mlx").fit(X)


def test_batches_follow_the_devices_free_memory(monkeypatch):
    monkeypatch.setattr(mlx_kernels.mx, "get_active_memory", lambda: 1000)
    for told, free in [
        ({"total_memory": 1 << 36, "free_memory": 1 << 35}, 1 << 35),
        ({"memory_size": 1 << 33, "max_recommended_working_set_size": 8_001_000}, 8_001_000),
        ({}, 8 << 30),
    ]:
        mlx_kernels._memory.cache_clear()
        monkeypatch.setattr(mlx_kernels.mx, "device_info", lambda told=told: told)
        assert mlx_kernels._memory() == free
        expected = min(mlx_kernels.BATCH_BYTES, (free - 1000) // 8) // 40
        assert mlx_kernels.batch_rows(1 << 40, 10, 16) == expected
    assert mlx_kernels.batch_rows(1 << 40, 1 << 30, 16) == mlx_kernels.FEWEST_ROWS
    assert mlx_kernels.batch_rows(3 << 20, 10, 4) == 3 << 18
    assert mlx_kernels.batch_rows(1000, 10, 4) == mlx_kernels.LEAST_BATCH_BYTES // 40
    mlx_kernels._memory.cache_clear()


@pytest.mark.parametrize(
    ("n_features", "n_trees", "threads"), [(8, 100, 1024), (64, 100, 1024), (500, 100, 1024), (500, 40, 512)]
)
def test_threads_of_a_group_on_an_h100(n_features, n_trees, threads):
    X = dirty_data(100, n_features)
    trees = Trees.of(forest := forest_of(X, n_trees=n_trees), whole_numbers(both_values(forest)[:, :1])[1])
    assert DeviceForest.best(trees, 227 << 10, mlx_kernels.CUDA_THREADS).layout.threads == threads
    # 64 K registers for all threads of a group.
    layout = Layout.of(trees, 227 << 10, 1024)
    packed = DeviceForest.of(trees, layout)
    registers = re.search(r"Used (\d+) registers", compile_cuda(packed.kernel, packed.template, "cubin")[1])
    assert registers is not None
    assert int(registers[1]) <= 64
