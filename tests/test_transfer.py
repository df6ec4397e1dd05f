"""Rows on their way to the GPU: by page-locked memory, which kernels read and write themselves."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from mlx_iforest import Forest
from mlx_iforest.backends import get_backend
from mlx_iforest.backends.base import DeviceError
from mlx_iforest.growth import GrowthPlan
from tests.dirty_data import dirty_data
from tests.kernel_checks import check_cuda
from tests.simulator import simulate

mx = pytest.importorskip("mlx.core")
page_locked = pytest.importorskip("mlx_iforest.backends.mlx.page_locked")
scoring = pytest.importorskip("mlx_iforest.backends.mlx.scoring")
ways = pytest.importorskip("mlx_iforest.backends.mlx.transfer")


def forest_of(X: np.ndarray, n_trees: int = 5, subsample: int = 16) -> Forest:
    n_samples, n_features = X.shape
    plan = GrowthPlan(7, 0, n_trees, n_samples, n_features, min(subsample, n_samples), n_features)
    return get_backend("numba").grow(X, plan, n_threads=1)


class Host:
    """Memory of the host in the place of page-locked memory."""

    def __init__(self, most: int = 8) -> None:
        self.arrays: list[np.ndarray] = []
        self.most = most

    def allocate(self, n_bytes: int) -> int:
        if len(self.arrays) == self.most:
            raise OSError(2, "CUDA's driver: cuMemHostAlloc failed")
        self.arrays.append(np.empty(n_bytes + 16, np.uint8))
        return -(-self.arrays[-1].ctypes.data // 16) * 16


@pytest.fixture
def launched(monkeypatch):
    """MLX's kernels in the simulator, rows by way of 4 kB of page-locked memory; the kernels that were launched."""
    names = []

    def launch(kernel, template, inputs, shapes, n_groups):
        names.append(kernel.name)
        given = {name: np.asarray(inputs[name]) for name, _ in kernel.inputs}
        outputs = simulate(kernel, {**template, "THREADS": 64}, given, shapes, min(n_groups, 3))
        return [mx.array(outputs[name]) for name, _ in kernel.outputs]

    pool = page_locked.Buffers(Host().allocate, 4096, most=2)
    for module in (scoring, ways):
        monkeypatch.setattr(module, "launch", launch)
    monkeypatch.setattr(ways, "buffers", lambda: pool)
    monkeypatch.setattr(scoring, "group_limits", lambda: (32 << 10, 64))
    return names


@pytest.mark.parametrize("n_rows", [0, 1, 300])
@pytest.mark.parametrize(("n_features", "n_trees"), [(1, 3), (3, 130)])
def test_means_are_those_of_the_cpu(launched, monkeypatch, n_rows, n_features, n_trees):
    X = dirty_data(300, n_features)
    forest = forest_of(X, n_trees=n_trees, subsample=16)
    values = np.stack([forest.path_length, forest.path_length[::-1]], axis=1)
    monkeypatch.setattr(scoring, "CHUNK_BYTES", 4 * n_features * 40)
    means = scoring.KernelScorer(forest, values).means(X[:n_rows])
    assert np.array_equal(means, get_backend("numba").leaf_means(forest, values, X[:n_rows]))
    assert launched.count("fetch") == launched.count("deliver") == launched.count("score") >= n_rows // 40


def test_rows_too_wide_for_a_buffer_go_by_mlx(launched):
    X = np.random.default_rng(0).normal(size=(3, 2000)).astype(np.float32)
    forest = forest_of(X, n_trees=2)
    values = forest.path_length[:, None]
    means = scoring.KernelScorer(forest, values).means(X)
    assert np.array_equal(means, get_backend("numba").leaf_means(forest, values, X))
    assert "fetch" not in launched


def test_an_error_gives_the_buffer_back(launched, monkeypatch):
    X = dirty_data(30, 2)
    forest = forest_of(X)
    scorer = scoring.KernelScorer(forest, forest.path_length[:, None])
    expected, launch, waited = scorer.means(X), ways.launch, []

    def lost(*arguments):
        raise RuntimeError("the device was lost")

    monkeypatch.setattr(mx, "synchronize", lambda: waited.append(1))
    monkeypatch.setattr(ways, "launch", lost)
    for _ in range(3):
        with pytest.raises(DeviceError, match="the device was lost"):
            scorer.means(X)
    assert len(waited) == 3
    monkeypatch.setattr(ways, "launch", launch)
    assert np.array_equal(scorer.means(X), expected)


def test_no_more_buffers_than_there_may_be():
    host = Host()
    pool = page_locked.Buffers(host.allocate, 64, most=2)
    with pool.lent() as first, pool.lent() as second:
        assert first.address != second.address
        waiting = threading.Event()

        def borrow() -> None:
            waiting.set()
            with pool.lent() as third:
                got.append(third.address)

        got: list[int] = []
        thread = threading.Thread(target=borrow)
        thread.start()
        waiting.wait()
        assert not got
    thread.join()
    assert got[0] in (first.address, second.address)
    assert len(host.arrays) == 2


def test_less_memory_than_asked_for_is_enough():
    pool = page_locked.Buffers(Host(most=1).allocate, 64, most=8)
    with pool.lent() as first:
        thread = threading.Thread(target=lambda: pool.lent().__enter__())
        thread.start()
        thread.join(0.05)
        assert thread.is_alive()
    thread.join()
    assert first.array(8, (2, 3), np.float32).shape == (2, 3)
    with pytest.raises(OSError, match="cuMemHostAlloc failed"):
        page_locked.Buffers(Host(most=0).allocate)


def test_without_an_nvidia_gpu_there_are_none():
    if mx.cuda.is_available():
        pytest.skip("an NVIDIA GPU is there")
    assert page_locked.buffers() is None


@pytest.mark.parametrize("kernel", [ways.FETCH, ways.DELIVER], ids=lambda kernel: kernel.name)
def test_kernels_are_good_cuda(kernel):
    check_cuda(kernel, {"THREADS": ways.THREADS})
