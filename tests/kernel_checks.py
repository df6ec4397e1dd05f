"""What can be known of a GPU kernel's text where neither Metal nor CUDA runs: whether it would compile there."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike

from mlx_iforest.backends.mlx.kernel_source import C_TYPES, Kernel

SHIMS = Path(__file__).parent / "simulator"


def metal_text(
    kernel: Kernel,
    template: Mapping[str, int],
    inputs: Mapping[str, ArrayLike],
    output_shapes: Mapping[str, Sequence[int]],
) -> str:
    """The very text that MLX would have Metal compile: tracing a function is enough for MLX to write it."""
    mx = pytest.importorskip("mlx.core")
    built = mx.fast.metal_kernel(
        name=kernel.identifier("metal", **template),
        input_names=[name for name, _ in kernel.inputs],
        output_names=[name for name, _ in kernel.outputs],
        header=kernel.header("metal", **template),
        source=kernel.source("metal", **template),
    )

    def launch(*arrays: Any) -> Any:
        return built(
            inputs=list(arrays),
            grid=(template["THREADS"], 1, 1),
            threadgroup=(template["THREADS"], 1, 1),
            output_shapes=[tuple(output_shapes[name]) for name, _ in kernel.outputs],
            output_dtypes=[getattr(mx, dtype) for _, dtype in kernel.outputs],
            verbose=True,
        )

    arrays = [mx.array(np.asarray(inputs[name], dtype)) for name, dtype in kernel.inputs]
    with tempfile.TemporaryDirectory() as folder:
        text = _printed(lambda: mx.export_function(f"{folder}/kernel.mlxfn", launch, *arrays))
    return text.partition("```\n")[2].rpartition("```")[0]


def check_metal(
    kernel: Kernel,
    template: Mapping[str, int],
    inputs: Mapping[str, ArrayLike],
    output_shapes: Mapping[str, Sequence[int]],
) -> None:
    """Fail unless a C++ parser finds what MLX would have Metal compile well formed, address spaces included.

    `inputs` are of the real sizes, since MLX puts arrays of fewer than 8 elements into another address space.
    """
    text = metal_text(kernel, template, inputs, output_shapes)
    # In C++ no automatic variable has an address space, but a static one may.
    text = text.replace("threadgroup T name[n]", "static threadgroup T name[n]")
    faults = _faults("metal_shim.h", text, "c++14", address_spaces=True)
    assert not faults, f"{kernel.name} is no good Metal:\n" + "\n".join(faults[:20])


def cuda_text(kernel: Kernel, template: Mapping[str, int]) -> str:
    """A whole kernel of CUDA as MLX puts it together, without MLX's own header."""
    parameters = [f"const {C_TYPES[dtype]}* {name}" for name, dtype in kernel.inputs]
    parameters += [f"{C_TYPES[dtype]}* {name}" for name, dtype in kernel.outputs]
    return (
        kernel.header("cuda", **template)
        + "namespace mlx::core::cu {\n"
        + f"__global__ void {kernel.identifier('cuda', **template)}({', '.join(parameters)}) {{\n"
        + kernel.source("cuda", **template)
        + "}\n}\n"
    )


def check_cuda(kernel: Kernel, template: Mapping[str, int]) -> None:
    """Fail unless a C++ parser finds the kernel's CUDA well formed."""
    faults = _faults("cuda_shim.h", cuda_text(kernel, template), "c++17", address_spaces=False)
    assert not faults, f"{kernel.name} is no good CUDA:\n" + "\n".join(faults[:20])


def compile_cuda(
    kernel: Kernel, template: Mapping[str, int], kind: str = "ptx", arch: str = "sm_90"
) -> tuple[str, str]:
    """The kernel's PTX, or with kind "cubin" nothing, and what the compiler says of registers and memory."""
    if shutil.which("nvcc") is None:
        pytest.skip("nvcc, the compiler of CUDA, is not installed")
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "kernel.cu"
        source.write_text("#include <cstdint>\n" + cuda_text(kernel, template), "utf-8")
        command = ["nvcc", "-std=c++17", f"-arch={arch}", "-Xptxas=-v", f"-{kind}", str(source), "-o", f"{folder}/out"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{kernel.name} does not compile for CUDA:\n{done.stderr[:4000]}"
        return (Path(folder) / "out").read_text("utf-8") if kind == "ptx" else "", done.stderr


@functools.cache
def _faults(shim: str, text: str, standard: str, *, address_spaces: bool) -> list[str]:
    cindex = pytest.importorskip("clang.cindex", reason="libclang is not installed")
    text = f'#include "{shim}"\n' + text
    tree = cindex.Index.create().parse(
        "kernel.cpp",
        args=[f"-std={standard}", "-nostdinc", "-ffreestanding", "-Wall", f"-I{SHIMS}", "-Wno-unknown-attributes"],
        unsaved_files=[("kernel.cpp", text)],
    )
    ignored = ("unused variable", "#pragma once")
    faults = [str(d) for d in tree.diagnostics if not any(words in d.spelling for words in ignored)]
    for cursor in tree.cursor.walk_preorder():
        if str(cursor.location.file) == str(SHIMS / shim):
            continue
        kinds = cindex.TypeKind
        place = f"{cursor.location.file}:{cursor.location.line}: "
        if cursor.type.kind == kinds.DOUBLE:
            faults.append(f"{place}a double (a number without f?)")
        marked = any(child.kind == cindex.CursorKind.ANNOTATE_ATTR for child in cursor.get_children())
        if not address_spaces and cursor.kind == cindex.CursorKind.FUNCTION_DECL and not marked:
            faults.append(f"{place}{cursor.spelling} is not declared FUNCTION")
        declares = cursor.kind in (cindex.CursorKind.VAR_DECL, cindex.CursorKind.PARM_DECL)
        points = cursor.type.kind in (kinds.POINTER, kinds.LVALUEREFERENCE)
        if address_spaces and declares and points and not cursor.type.get_pointee().get_address_space():
            faults.append(f"{place}{cursor.spelling} of type {cursor.type.spelling} has no address space")
    return faults


def _printed(function: Any) -> str:
    """What a function in another language writes to standard output."""
    sys.stdout.flush()
    kept = os.dup(1)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 1)
        try:
            function()
        finally:
            os.dup2(kept, 1)
            os.close(kept)
        file.seek(0)
        return file.read().decode()
