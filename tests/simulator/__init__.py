"""A GPU's threadgroups on the CPU: a kernel's own text, compiled by the machine's C++ compiler (see simulator.h)."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

from mlx_iforest.backends.mlx.kernel_source import C_TYPES, Kernel

HEADERS = sorted(Path(__file__).parent.glob("*.h"))
FLAGS = ("-O1", "-std=c++17", "-ffp-contract=off", "-fPIC", "-shared", "-fvisibility=hidden", "-w", "-U_FORTIFY_SOURCE")
MESSAGE = 1000

ENTRY = """
static simulator::Array arrays[{n}];
static void launch() {{ kernel({pointers}); }}
extern "C" __attribute__((visibility("default")))
bool run(void** data, const int64_t* sizes, const uint8_t* initial, uint32_t n_groups,
         int64_t max_accesses, char* message) {{
    static const char* const names[{n}] = {{{names}}};
    for (int i = 0; i < {n}; i++) {{
        arrays[i] = {{names[i], static_cast<char*>(data[i]), sizes[i], nullptr, false}};
        if (i < {n_inputs}) continue;
        arrays[i].shadow = new simulator::Shadow[sizes[i]];
        for (int64_t k = 0; k < sizes[i]; k++) arrays[i].shadow[k].written = initial[i];
    }}
    const bool well = simulator::run_groups(launch, THREADS, n_groups, max_accesses, message);
    for (int i = {n_inputs}; i < {n}; i++) delete[] arrays[i].shadow;
    return well;
}}
"""


class SimulatorError(Exception):
    """What a GPU would have let pass."""


def simulate(
    kernel: Kernel,
    template: Mapping[str, int],
    inputs: Mapping[str, ArrayLike],
    output_shapes: Mapping[str, Sequence[int]],
    n_groups: int,
    *,
    initial: Mapping[str, float] | None = None,
    max_accesses: int = 10**9,
) -> dict[str, NDArray[Any]]:
    """Run `n_groups` groups of ``template["THREADS"]`` threads, one after another; returns the outputs by name.

    Parameters
    ----------
    inputs : arrays by name, of the kernel's dtypes
    initial : values by the output's name that it begins with; reading any other output before it is written fails
    max_accesses : how often all threads together may read and write arrays, to find a loop without end

    Raises
    ------
    SimulatorError
        If the threads go apart, leave an array, read what was not written or touch an element in no certain order.
    """
    initial = initial or {}
    arrays = []
    for name, dtype in kernel.inputs:
        array = np.ascontiguousarray(inputs[name])
        assert array.dtype == dtype, f"{name} is of {array.dtype}, not of {dtype}"
        arrays.append(array)
    outputs = {}
    for name, dtype in kernel.outputs:
        outputs[name] = np.empty(output_shapes[name], dtype)
        outputs[name].view(np.uint8)[...] = 0xA5
        if name in initial:
            outputs[name][...] = initial[name]
        arrays.append(outputs[name])
    message = ctypes.create_string_buffer(MESSAGE)
    well = _compiled(kernel, **template)(
        (ctypes.c_void_p * len(arrays))(*(array.ctypes.data for array in arrays)),
        (ctypes.c_int64 * len(arrays))(*(array.size for array in arrays)),
        bytes([0] * len(kernel.inputs) + [name in initial for name, _ in kernel.outputs]),
        ctypes.c_uint32(n_groups),
        ctypes.c_int64(max_accesses),
        message,
    )
    if not well:
        raise SimulatorError(f"{kernel.name}: {message.value.decode()}")
    return outputs


def host_text(kernel: Kernel, **template: int) -> str:
    """The whole of the C++ that the simulator compiles."""
    parameters = [f"POINTER(const {C_TYPES[dtype]}) {name}" for name, dtype in kernel.inputs]
    parameters += [f"POINTER({C_TYPES[dtype]}) {name}" for name, dtype in kernel.outputs]
    names = [name for name, _ in (*kernel.inputs, *kernel.outputs)]
    return (
        kernel.header("host", **template)
        + f"static void kernel({', '.join(parameters)}) {{\n{kernel.source('host', **template)}}}\n"
        + '#line 1 "entry"'
        + ENTRY.format(
            n=len(names),
            n_inputs=len(kernel.inputs),
            names=", ".join(f'"{name}"' for name in names),
            pointers=", ".join(f"{{&arrays[{i}], 0}}" for i in range(len(names))),
        )
    )


@functools.cache
def _compiled(kernel: Kernel, **template: int) -> Any:
    """The compiled kernel, from a folder of earlier compilations where it is there."""
    compiler = next((name for name in ("c++", "g++", "clang++") if shutil.which(name)), None)
    if compiler is None:
        pytest.skip("no C++ compiler for the simulator")
    text = host_text(kernel, **template)
    parts = [compiler, *FLAGS, *(header.read_text("utf-8") for header in HEADERS), text]
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
    folder = Path(tempfile.gettempdir()) / f"mlx-iforest-simulator-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    assert folder.stat().st_uid == os.getuid(), f"{folder} is another user's"
    library = folder / f"{key}.so"
    if not library.exists():
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            (source := Path(scratch) / "kernel.cpp").write_text(text, "utf-8")
            command = [compiler, *FLAGS, f"-I{HEADERS[0].parent}", str(source), "-o", f"{scratch}/kernel.so"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{kernel.name} does not compile for the simulator:\n{done.stderr[:4000]}"
            os.replace(f"{scratch}/kernel.so", library)  # whole or not at all, whoever else compiles it
    run = ctypes.CDLL(str(library)).run
    run.restype = ctypes.c_bool
    return run
