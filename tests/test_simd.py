"""The GPU is asked whether it has SIMD operations, and their stand-ins through shared memory give the same."""

from __future__ import annotations

import numpy as np
import pytest

from tests.kernel_checks import check_cuda, check_metal
from tests.simulator import simulate

simd = pytest.importorskip("mlx_iforest.backends.mlx.simd")

SIZE = 5 * simd.THREADS


@pytest.fixture
def asked(monkeypatch):
    """A device that answers by `launch`; what was asked before is forgotten, before and after."""

    def answer(launch):
        monkeypatch.setattr(simd, "launch", launch)
        simd.has_simd.cache_clear()
        return simd.has_simd()

    yield answer
    simd.has_simd.cache_clear()


def on_the_simulator(kernel, template, inputs, shapes, n_groups):
    found = simulate(kernel, template, {name: np.array(array) for name, array in inputs.items()}, shapes, n_groups)
    return [simd.mx.array(found["found"])]


@pytest.mark.parametrize("has", [0, 1])
def test_each_operation_says_what_numpy_says(has):
    seed = np.random.default_rng(0).integers(0, 2**27, simd.THREADS).astype(np.uint32)
    template = {"THREADS": simd.THREADS, "SIMD": has}
    found = simulate(simd.PROBE, template, {"seed": seed}, {"found": (SIZE,)}, 1)["found"]
    np.testing.assert_array_equal(found, simd.expected(seed))


@pytest.mark.parametrize("has", [0, 1])
def test_the_probe_compiles(has):
    template = {"THREADS": simd.THREADS, "SIMD": has}
    check_metal(simd.PROBE, template, {"seed": np.zeros(simd.THREADS, np.uint32)}, {"found": (SIZE,)})
    check_cuda(simd.PROBE, template)


def test_a_device_that_has_them(asked):
    assert asked(on_the_simulator)


def test_a_device_that_answers_wrong(asked):
    assert not asked(lambda *arguments: [on_the_simulator(*arguments)[0] + 1])


def test_a_device_that_does_not_compile_them(asked):
    def launch(*_):
        raise RuntimeError("[metal::Device] Unable to load kernel: Compiler encountered an internal error")

    assert not asked(launch)
