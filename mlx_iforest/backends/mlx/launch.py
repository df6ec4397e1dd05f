"""Launching a kernel on MLX's GPU."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from threading import RLock
from typing import Any

import mlx.core as mx

from mlx_iforest.backends.mlx.kernel_source import Kernel, Language

__all__ = ["LOCK", "launch"]

LOCK = RLock()
"""MLX's streams belong to threads: one thread at a time talks to the device."""


@cache
def _built(kernel: Kernel, language: Language, values: tuple[tuple[str, int], ...]) -> Any:
    template = dict(values)
    arguments: dict[str, Any] = {
        "name": kernel.identifier(language, **template),
        "input_names": [name for name, _ in kernel.inputs],
        "output_names": [name for name, _ in kernel.outputs],
        "header": kernel.header(language, **template),
        "source": kernel.source(language, **template),
    }
    if language == "metal":
        return mx.fast.metal_kernel(**arguments)
    return mx.fast.cuda_kernel(**arguments, shared_memory=kernel.dynamic_shared_bytes(**template))


def launch(
    kernel: Kernel,
    template: Mapping[str, int],
    inputs: Mapping[str, mx.array],
    shapes: Mapping[str, Any],
    n_groups: int,
) -> list[mx.array]:
    """The outputs of a kernel, which the device computes when they are asked for."""
    language: Language = "cuda" if mx.cuda.is_available() else "metal"
    threads = template["THREADS"]
    built = _built(kernel, language, tuple(sorted(template.items())))
    outputs: list[mx.array] = built(
        inputs=[inputs[name] for name, _ in kernel.inputs],
        grid=(n_groups * threads, 1, 1),
        threadgroup=(threads, 1, 1),
        output_shapes=[shapes[name] for name, _ in kernel.outputs],
        output_dtypes=[getattr(mx, dtype) for _, dtype in kernel.outputs],
    )
    return outputs
