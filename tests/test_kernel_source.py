"""The frame of the GPU kernels: one text means the same everywhere, and the simulator sees what a GPU lets pass."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_checks import check_cuda, check_metal, compile_cuda, metal_text
from simulator import SimulatorError, simulate

from mlx_iforest.backends.mlx.kernel_source import BODY, Kernel, kernel_text

FUNCTIONS = """
FUNCTION uint2 swapped(uint2 pair) { return UINT2(pair.y, pair.x); }
"""

# Every name that a kernel may use.
EVERYTHING = Kernel(
    "everything",
    FUNCTIONS
    + BODY
    + """
    const uint32_t at = GROUP * THREADS + THREAD;
    SHARED_POINTER(float) mine = tile + THREAD;
    POINTER(const float) row = x + GROUP * THREADS;
    mine[0] = LOAD(row, THREAD);
    BARRIER();
    float sum = 0.0f;
    UNROLL
    for (uint32_t i = 0; i < TERMS; i++) {
        const float term = BYTES_AT(float, tile, 4u * ((THREAD + i) % THREADS));
        sum = SUB(ADD(MUL(term, factor[0]), sum), 1.0f);
    }
    rounded[at] = sum;

    const float value = mine[0];
    const uint32_t bits = FLOAT_TO_BITS(value);
    const uint32_t mask = SIMD_BALLOT(value > 0.5f);
    const uint2 pair = swapped(LOAD(VIEW(uint2, words), THREAD));
    whole[at] = POPCOUNT(mask) + MULHI(bits, 1000u) + pair.x - pair.y;
    whole[N_GROUPS * THREADS + at] = SIMD_MIN(bits) ^ SIMD_MAX(bits ^ LANE) ^ SIMD_SUM(bits);
    const int32_t from = SIMD_SHUFFLE(static_cast<int32_t>(SIMD_GROUP) - 1, LANE / 2u);
    const float neighbour = SIMD_SHUFFLE(value, (LANE + 1u) % 32u);
    shuffled[at] = MIN(neighbour, value) + MAX(static_cast<float>(from), BITS_TO_FLOAT(0x3f800000u));

    queue[THREAD] = static_cast<uint16_t>(THREAD);
    SIMD_BARRIER();
    const uint32_t last = queue[THREAD | 31u];
    scratch[at] = last;
    DEVICE_BARRIER();
    const uint32_t other = scratch[GROUP * THREADS + THREADS - 1u - THREAD];
    result[at] = static_cast<int64_t>(other) << 32;
""",
    inputs=(("x", "float32"), ("factor", "float32"), ("words", "uint32")),
    outputs=(
        ("rounded", "float32"),
        ("whole", "uint32"),
        ("shuffled", "float32"),
        ("scratch", "uint32"),
        ("result", "int64"),
    ),
    shared=(("float", "tile", "THREADS"), ("uint16_t", "queue", "THREADS"), ("uint8_t", "unused", "max(0, TERMS - 9)")),
)


def shapes(n: int) -> dict[str, tuple[int, ...]]:
    return {"rounded": (n,), "whole": (2, n), "shuffled": (n,), "scratch": (n,), "result": (n,)}


def arguments(threads: int, n_groups: int, seed: int = 0) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    return {
        "x": generator.random(threads * n_groups, dtype=np.float32),
        "factor": np.array([0.1], np.float32),
        "words": generator.integers(0, 2**32, 2 * threads, dtype=np.uint32),
    }


@settings(max_examples=10, deadline=None)
@given(threads=st.sampled_from([32, 96, 256]), n_groups=st.integers(1, 3), seed=st.integers(0, 99))
def test_every_name_computes_what_it_says(threads: int, n_groups: int, seed: int) -> None:
    inputs = arguments(threads, n_groups, seed)
    n = threads * n_groups
    got = simulate(EVERYTHING, {"THREADS": threads, "TERMS": 5}, inputs, shapes(n), n_groups)

    x = inputs["x"].reshape(n_groups, threads)
    expected = np.zeros_like(x)
    for i in range(5):
        expected = (np.roll(x, -i, axis=1) * inputs["factor"][0] + expected) - np.float32(1)
    np.testing.assert_array_equal(got["rounded"], expected.ravel())

    bits = inputs["x"].view(np.uint32)
    simd = bits.reshape(-1, 32)
    lanes = np.arange(32, dtype=np.uint32)
    words = np.tile(inputs["words"].reshape(threads, 2), (n_groups, 1))
    above = np.repeat((inputs["x"].reshape(-1, 32) > 0.5).sum(axis=1), 32).astype(np.uint32)
    upper = ((bits.astype(np.uint64) * np.uint64(1000)) >> np.uint64(32)).astype(np.uint32)
    np.testing.assert_array_equal(got["whole"][0], above + upper + words[:, 1] - words[:, 0])
    crossed = simd.min(axis=1) ^ (simd ^ lanes).max(axis=1) ^ simd.sum(axis=1, dtype=np.uint32)
    np.testing.assert_array_equal(got["whole"][1], np.repeat(crossed, 32))

    neighbours = np.roll(inputs["x"].reshape(-1, 32), -1, axis=1).ravel()
    groups = np.tile(np.arange(threads) // 32 - 1, n_groups).astype(np.float32)
    np.testing.assert_array_equal(got["shuffled"], np.minimum(neighbours, inputs["x"]) + np.maximum(groups, 1))

    last = np.arange(threads) | 31
    np.testing.assert_array_equal(got["scratch"].reshape(n_groups, threads), np.tile(last, (n_groups, 1)))
    np.testing.assert_array_equal(got["result"].reshape(n_groups, threads)[0], last[::-1] << 32)


def test_a_fused_product_would_be_seen() -> None:
    a = np.float32(1 + 2**-12)
    numbers = np.array([a, a * a], np.float32)
    assert float(a) * float(a) - float(a * a) == 2**-24  # what fusing would leave
    kernel = Kernel("fused", "y[THREAD] = SUB(MUL(x[0], x[0]), x[1]);", (("x", "float32"),), (("y", "float32"),))
    got = simulate(kernel, {"THREADS": 32}, {"x": numbers}, {"y": (32,)}, 1)
    assert not got["y"].any()


def test_the_languages_define_the_same_names() -> None:
    simulator = (Path(__file__).parent / "simulator" / "host.h").read_text("utf-8")
    names = [set(re.findall(r"#define (\w+)", text)) for text in (kernel_text("metal"), kernel_text("cuda"), simulator)]
    # On Metal no address is the host's.
    assert names[0] == names[1] - {"SIMD_REDUCTION", "AT_ADDRESS"} == names[2] - {"AT_ADDRESS"}
    used = set(re.findall(r"\w+", EVERYTHING.text)) | {"SHARED", "DEVICE"}  # these two are the Kernel's own
    assert names[0] <= used


def test_everything_is_good_metal() -> None:
    check_metal(EVERYTHING, {"THREADS": 64, "TERMS": 5}, arguments(64, 1), shapes(64))


def test_what_metal_gets_is_what_mlx_makes_of_the_text() -> None:
    text = metal_text(EVERYTHING, {"THREADS": 64, "TERMS": 5}, arguments(64, 1), shapes(64))
    assert "const constant float* factor [[buffer(1)]]" in text
    assert "uint thread_index_in_simdgroup [[thread_index_in_simdgroup]]" in text
    assert "#define TERMS 5" in text
    assert "SHARED(float, tile, 64);" in text
    assert "unused" not in text


def test_everything_is_good_cuda() -> None:
    check_cuda(EVERYTHING, {"THREADS": 64, "TERMS": 5})


@pytest.mark.parametrize("arch", ["sm_75", "sm_90"])  # the former has no reductions of its own
def test_everything_compiles_for_cuda_and_nothing_is_fused(arch: str) -> None:
    ptx, _ = compile_cuda(EVERYTHING, {"THREADS": 64, "TERMS": 5}, arch=arch)
    assert ("redux.sync.min.u32" in ptx) == (arch == "sm_90")
    assert "mul.rn.f32" in ptx
    assert "fma" not in ptx


def small(body: str, functions: str = "", shared: tuple[tuple[str, str, str], ...] = ()) -> Kernel:
    """A kernel of one input of 64 numbers and one output of 64."""
    inputs, outputs = (("x", "float32"), ("n", "int32")), (("y", "float32"),)
    return Kernel("small", functions + BODY + body, inputs, outputs, shared)


SMALL = {"x": np.arange(64, dtype=np.float32), "n": np.array([64], np.int32)}


def run_small(body: str, initial: dict[str, float] | None = None) -> np.ndarray:
    kernel = small(body, shared=(("float", "tile", "64"),))
    options = {"initial": initial, "max_accesses": 100_000}
    return simulate(kernel, {"THREADS": 64}, SMALL, {"y": (64,)}, 2, **options)["y"]


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("y[THREAD] = x[THREAD + 1];", r"thread 63: x\[64\], which has 64 elements"),
        ("POINTER(const float) p = x + THREAD; y[THREAD] = p[-1];", r"thread 0: x\[-1\]"),
        ("y[THREAD + 1] = 1.0f;", r"y\[64\]"),
        ("y[0 - 1u] = 1.0f;", r"y\[4294967295\]"),
        ("tile[64] = 1.0f;", r"tile\[64\]"),
        ("const uint2 pair = VIEW(uint2, x)[32]; y[0] = BITS_TO_FLOAT(pair.x);", r"x\[64\]"),
        ("const uint2 pair = VIEW(uint2, x + 1)[0]; y[0] = BITS_TO_FLOAT(pair.x);", "no multiple of 8"),
        ("const uint2 pair = VIEW(uint2, y)[0]; y[0] = BITS_TO_FLOAT(pair.x);", "VIEW of y, which can be written"),
        ("y[THREAD] = tile[THREAD];", r"reads tile\[0\] before"),
        ("y[THREAD] += 1.0f;", r"reads y\[0\] before"),
        ("if (THREAD < 40) { BARRIER(); }", "thread 0 waits at BARRIER in line 2, thread 40 has ended"),
        ("if (THREAD < 40) { BARRIER();\n} else { BARRIER(); }", "in line 2, thread 40 waits at BARRIER in line 3"),
        ("if (LANE < 3) { SIMD_SUM(1u); }", "waits at SIMD_SUM in line 2, thread 3 has ended"),
        ("if (THREAD < 32) { SIMD_SUM(1u); } else { BARRIER(); }", "thread 32 waits at BARRIER"),
        ("SIMD_SHUFFLE(1.0f, LANE + 1);", "from lane 32"),
        ("tile[THREAD] = 1.0f; y[THREAD] = tile[63 - THREAD];", r"reads tile\[63\] before"),
        ("tile[THREAD / 2] = THREAD;", r"thread 1: writes tile\[0\], which thread 0 of group 0 wrote"),
        ("tile[THREAD] = 1.0f; BARRIER(); tile[THREAD] = tile[0] + 2.0f;", r"tile\[0\], which thread 0 .* wrote"),
        ("tile[THREAD] = 1.0f; SIMD_BARRIER(); y[THREAD] = tile[THREAD ^ 32];", r"reads tile\[32\] before"),
        ("tile[THREAD] = 1.0f; SIMD_SUM(1u); y[THREAD] = tile[THREAD ^ 1];", r"tile\[1\], which thread 1 .* wrote"),
        (
            "y[THREAD] = 1.0f; BARRIER(); y[THREAD] = y[63 - THREAD];",
            r"which thread 63 .* wrote with no DEVICE_BARRIER",
        ),
        ("y[THREAD] = THREAD + GROUP;", r"group 1, thread 0: writes y\[0\], which thread 0 of group 0 wrote"),
        ("if (GROUP == 0) { y[THREAD] = 1.0f; } else { tile[THREAD] = y[THREAD]; }", "thread 0 of group 0 wrote"),
        ("while (x[0] == 0.0f) {}", "100000 accesses and no end"),
    ],
)
def test_the_simulator_sees(body: str, complaint: str) -> None:
    with pytest.raises(SimulatorError, match=complaint):
        run_small(body)


@pytest.mark.parametrize(
    "body",
    [
        "tile[THREAD] = x[THREAD]; BARRIER(); if (GROUP == 0) { y[THREAD] = tile[63 - THREAD]; }",
        "tile[THREAD] = x[THREAD]; SIMD_BARRIER(); if (GROUP == 0) { y[THREAD] = tile[THREAD ^ 1]; }",
        "if (GROUP == 0) { y[THREAD] = 1.0f; DEVICE_BARRIER(); y[63 - THREAD] = x[THREAD]; }",
        "tile[0] = 1.0f;",  # all the same value
        "for (int i = 0; i < 3; i++) { tile[THREAD] = x[i]; BARRIER(); float z = tile[0]; BARRIER(); }",
        "if (THREAD < 32) { SIMD_SUM(1u); } BARRIER();",
    ],
)
def test_the_simulator_lets_pass_what_is_in_order(body: str) -> None:
    run_small(body)


def test_an_output_may_begin_with_a_value() -> None:
    got = run_small("if (GROUP == 1) { y[THREAD] += x[THREAD]; }", {"y": 3})
    np.testing.assert_array_equal(got, SMALL["x"] + 3)


@pytest.mark.parametrize(
    ("body", "functions", "complaint"),
    [
        ("y[THREAD] = x[THREAD] + missing;", "", "undeclared identifier 'missing'"),
        ("x[THREAD] = 1.0f;", "", "not assignable|read-only|const"),
        ("POINTER(const float) p = tile;", "", "cannot initialize"),
        ("POINTER(const int32_t) p = n;", "", "cannot initialize"),
        ("y[THREAD] = x[THREAD] * 0.5;", "", "a double"),
        ("const uint32_t thread = THREAD; y[thread] = 1.0f;", "", "error"),
        ("y[THREAD] = f(1u);", "FUNCTION float f(const float& v) { return v; }", "no address space"),
        ("y[THREAD] = f(2.0f);", "FUNCTION float f(float v) { return MUL(v, v); }", "NEGATIVE_ZERO"),
    ],
)
def test_what_metal_would_refuse(body: str, functions: str, complaint: str) -> None:
    kernel = small(body, functions, shared=(("float", "tile", "64"),))
    with pytest.raises(AssertionError, match=complaint):
        check_metal(kernel, {"THREADS": 64}, SMALL, {"y": (64,)})


@pytest.mark.parametrize(
    ("body", "functions", "complaint"),
    [
        ("y[THREAD] = x[THREAD] + missing;", "", "undeclared identifier 'missing'"),
        ("x[THREAD] = 1.0f;", "", "not assignable|read-only|const"),
        ("y[THREAD] = f(1.0f);", "inline float f(float v) { return v; }", "not declared FUNCTION"),
        ("float inf = 1.0f; y[THREAD] = inf;", "", "error"),
    ],
)
def test_what_cuda_would_refuse(body: str, functions: str, complaint: str) -> None:
    with pytest.raises(AssertionError, match=complaint):
        check_cuda(small(body, functions), {"THREADS": 64})


def test_limits() -> None:
    kernel = small(
        "y[THREAD] = 1.0f;", shared=(("float", "tile", "N"), ("uint2", "nodes", "N // 4"), ("int8_t", "a", "1"))
    )
    assert kernel.shared_bytes(N=10) == 48 + 16 + 16
    assert kernel.dynamic_shared_bytes(N=7_997) == 32_000 + 15_992 + 8 + 16
    assert kernel.dynamic_shared_bytes(N=7_992) == 0
    kernel.source("metal", THREADS=256, N=5_456)
    with pytest.raises(ValueError, match=r"32784 bytes .* metal has 32768"):
        kernel.source("metal", THREADS=256, N=5_460)
    with pytest.raises(ValueError, match=r"cuda has 232448"):
        kernel.header("cuda", THREADS=256, N=50_000)
    for threads in (0, 16, 48, 512):
        with pytest.raises(ValueError, match="multiple of 32 up to 256"):
            kernel.source("metal", THREADS=threads, N=1)
    kernel.source("cuda", THREADS=512, N=1)
    with pytest.raises(ValueError, match=r"\['n', 'tile'\] is both"):
        kernel.source("metal", THREADS=32, N=1, n=2, tile=3)
    many = replace(kernel, inputs=tuple((f"x{i}", "float32") for i in range(31)))
    with pytest.raises(ValueError, match="32 inputs and outputs; at most 31"):
        many.source("metal", THREADS=32, N=1)


def test_much_shared_memory_is_cut_from_one_pool_on_cuda() -> None:
    kernel = small("tile[THREAD] = x[0]; pairs[THREAD] = UINT2(1, 2); BARRIER(); y[THREAD] = tile[0];")
    kernel = replace(kernel, shared=(("uint8_t", "bytes", "40"), ("float", "tile", "N"), ("uint2", "pairs", "N")))
    text = kernel.source("cuda", THREADS=64, N=8_000)
    assert "float* const tile = reinterpret_cast<float*>(shared_pool + 3);" in text
    assert "uint2* const pairs = reinterpret_cast<uint2*>(shared_pool + 2003);" in text
    check_cuda(kernel, {"THREADS": 64, "N": 8_000})
    compile_cuda(kernel, {"THREADS": 64, "N": 8_000})
    check_metal(kernel, {"THREADS": 64, "N": 64}, SMALL, {"y": (64,)})


def test_each_text_has_its_own_name() -> None:
    kernel = small("y[THREAD] = 1.0f;")
    names = {
        kernel.identifier("metal", THREADS=64),
        kernel.identifier("cuda", THREADS=64),
        kernel.identifier("metal", THREADS=32),
        kernel.identifier("metal", THREADS=64, SHIFT=-1),
        small("y[THREAD] = 2.0f;").identifier("metal", THREADS=64),
        small("y[THREAD] = 1.0f;", "FUNCTION int f() { return 1; }").identifier("metal", THREADS=64),
    }
    assert len(names) == 6
    assert all(name.isidentifier() for name in names)
    assert kernel.identifier("metal", THREADS=64) == small("y[THREAD] = 1.0f;").identifier("metal", THREADS=64)
