"""Rows in arrays of MLX, PyTorch and CuPy: the scores of NumPy's rows, in an array of the same library."""

from __future__ import annotations

import numpy as np
import pytest

from mlx_iforest import BlendedIsolationForest, MLXIsolationForest
from mlx_iforest import device_arrays as arrays
from tests.kernel_checks import check_cuda, check_metal
from tests.simulator import simulate

mx = pytest.importorskip("mlx.core")
kernels = pytest.importorskip("mlx_iforest.backends.mlx.scoring")
ops = pytest.importorskip("mlx_iforest.backends.mlx.ops")
device_scores = pytest.importorskip("mlx_iforest.device_scores")


def rows(n_rows: int = 300, n_features: int = 4) -> np.ndarray:
    X = np.random.default_rng(0).normal(size=(n_rows, n_features)).astype(np.float32)
    X[::9, 1] = np.nan
    X[7] = 40
    return X


MODELS = {
    "depth": lambda: MLXIsolationForest(n_estimators=20, random_state=0),
    "density": lambda: MLXIsolationForest(n_estimators=20, random_state=0, scoring="density"),
    "evidence": lambda: MLXIsolationForest(n_estimators=20, random_state=0, evidence=2),
    "blended": lambda: BlendedIsolationForest(n_estimators=20, random_state=0),
}


@pytest.fixture(scope="module")
def models():
    return {name: make().fit(rows()) for name, make in MODELS.items()}


@pytest.fixture
def gpu(monkeypatch):
    """MLX's kernels in the simulator of a GPU; the names of those that were launched."""
    launched = []

    def launch(kernel, template, inputs, shapes, n_groups):
        launched.append(kernel.name)
        given = {name: np.asarray(inputs[name]) for name, _ in kernel.inputs}
        outputs = simulate(kernel, template, given, shapes, min(n_groups, 3))
        return [mx.array(outputs[name]) for name, _ in kernel.outputs]

    monkeypatch.setattr(kernels, "launch", launch)
    monkeypatch.setattr(device_scores, "launch", launch)
    monkeypatch.setattr(kernels, "group_limits", lambda: (32 << 10, 64))
    monkeypatch.setattr(ops, "uses_gpu", lambda: True)
    return launched


@pytest.mark.parametrize("name", MODELS)
def test_rows_on_the_gpu_stay_there(models, gpu, monkeypatch, name):
    model, X = models[name], rows(40)
    expected = model.score_samples(X)
    monkeypatch.setattr(arrays.MLX, "to_host", None)
    monkeypatch.setattr(arrays.MLX, "from_host", None)
    for scores in (model.score_samples(mx.array(X)), model.scorer().score(mx.array(X))):
        assert isinstance(scores, mx.array)
        assert scores.dtype == mx.float32
        np.testing.assert_allclose(np.asarray(scores), expected, atol=1e-6)
    assert "score" in gpu


def test_chunks_of_rows_on_the_gpu(models, gpu, monkeypatch):
    monkeypatch.setattr(kernels.KernelScorer, "launch_rows", 17, raising=False)
    monkeypatch.setattr(kernels, "FEWEST_ROWS", 1)
    X = rows(40)
    scores = models["depth"].score_samples(mx.array(X))
    np.testing.assert_allclose(np.asarray(scores), models["depth"].score_samples(X), atol=1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_without_a_gpu_the_host_scores(models, name):
    model, X = models[name], rows()
    scores = model.score_samples(mx.array(X))
    assert isinstance(scores, mx.array)
    assert np.array_equal(np.asarray(scores), model.score_samples(X).astype(np.float32))


def test_decisions_and_labels(models):
    model, X = models["depth"], rows()
    decisions, labels = model.decision_function(mx.array(X)), model.predict(mx.array(X))
    np.testing.assert_allclose(np.asarray(decisions), model.decision_function(X), atol=1e-6)
    assert isinstance(labels, mx.array)
    assert np.asarray(labels).tolist() == model.predict(X).tolist()


def test_another_backend_by_name_scores_on_the_host(gpu):
    model = MLXIsolationForest(n_estimators=5, random_state=0, backend="numba").fit(rows())
    gpu.clear()
    model.score_samples(mx.array(rows(20)))
    assert not gpu


def test_trees_that_the_kernel_cannot_hold_are_scored_on_the_host(models, gpu, monkeypatch):
    monkeypatch.setattr(device_scores, "kernel_scorer", lambda *_: None)
    X = rows(20)
    scores = models["depth"].score_samples(mx.array(X))
    assert np.array_equal(np.asarray(scores), models["depth"].score_samples(X).astype(np.float32))
    assert not gpu


@pytest.mark.parametrize("on_gpu", [False, True])
def test_bad_rows(models, request, on_gpu):
    if on_gpu:
        request.getfixturevalue("gpu")
    model = models["depth"]
    with pytest.raises(ValueError, match=r"X has shape \(3, 5\); expected \(n_samples, 4\)"):
        model.score_samples(mx.zeros((3, 5)))
    with pytest.raises(ValueError, match=r"X has shape \(4,\); expected"):
        model.score_samples(mx.zeros(4))
    with pytest.raises(ValueError, match=r"X has shape \(0, 4\)"):
        model.score_samples(mx.zeros((0, 4)))
    with pytest.raises(ValueError, match="infinity"):
        model.score_samples(mx.full((3, 4), float("inf")))


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 3e38])
@pytest.mark.parametrize("place", [(0, 0), (699, 3)])
def test_an_infinity_anywhere_is_found_and_nothing_else(models, gpu, value, place):
    X = np.zeros((700, 4), np.float32)
    X[place] = value
    template = {"THREADS": 256}
    found = simulate(device_scores.INFINITE, template, {"X": X, "size": np.uint32([X.size])}, {"found": (768,)}, 3)
    assert found["found"].sum() == np.isinf(value)
    check_metal(device_scores.INFINITE, template, {"X": X, "size": np.uint32([X.size])}, {"found": (768,)})
    check_cuda(device_scores.INFINITE, template)


def test_a_scorer_does_not_look_for_infinities(models, gpu):
    X = rows(10)
    X[0] = np.inf
    model = models["depth"]
    np.testing.assert_allclose(np.asarray(model.scorer().score(mx.array(X))), model.scorer().score(X), atol=1e-6)
    assert "infinite" not in gpu


@pytest.mark.parametrize("dtype", ["float16", "int32", "uint8"])
def test_other_numbers(models, gpu, dtype):
    X = (np.nan_to_num(rows(30)) * 3).clip(0, 200).astype(dtype)
    scores = models["depth"].score_samples(mx.array(X))
    np.testing.assert_allclose(np.asarray(scores), models["depth"].score_samples(X.astype(np.float32)), atol=1e-6)


@pytest.mark.parametrize("on_gpu", [False, True])
def test_short_floats_are_numbers_and_complex_ones_are_none(models, request, on_gpu):
    if on_gpu:
        request.getfixturevalue("gpu")
    model, X = models["depth"], mx.array(rows(30)).astype(mx.bfloat16)
    expected = model.score_samples(np.asarray(X.astype(mx.float32)))
    np.testing.assert_allclose(np.asarray(model.score_samples(X)), expected, atol=1e-6)
    with pytest.raises(ValueError, match="complex numbers"):
        model.score_samples(X.astype(mx.complex64))


def test_tensors_of_the_host(models):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    model, X = models["depth"], rows()
    scores = model.score_samples(torch.from_numpy(X))
    assert scores.dtype == torch.float64
    assert np.array_equal(scores.numpy(), model.score_samples(X))
    assert model.predict(torch.from_numpy(X)).tolist() == model.predict(X).tolist()
