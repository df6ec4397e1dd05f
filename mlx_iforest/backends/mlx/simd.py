"""Whether this machine's GPU has the SIMD operations that growing uses; where it has none, shared memory does."""

from __future__ import annotations

from functools import cache

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

from mlx_iforest.backends.mlx.kernel_source import LANES, Kernel
from mlx_iforest.backends.mlx.launch import LOCK, launch

__all__ = ["PROBE", "expected", "has_simd"]

THREADS = 64

PROBE = Kernel(
    "simd_probe",
    """
    const uint32_t mine = seed[THREAD];
    found[THREAD] = SIMD_MIN(mine);
    found[THREADS + THREAD] = SIMD_MAX(mine);
    found[2u * THREADS + THREAD] = SIMD_SUM(mine);
    found[3u * THREADS + THREAD] = SIMD_BALLOT((mine & 1u) == 1u);
    found[4u * THREADS + THREAD] = SIMD_SHUFFLE(mine, 31u - LANE);
    """,
    inputs=(("seed", "uint32"),),
    outputs=(("found", "uint32"),),
    shared=(LANES,),
)
"""One of each operation, whose answers are known."""


def expected(seed: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """What the probe finds of `seed`, shape (64,), where the operations are right: shape (5 * 64,)."""
    groups = seed.reshape(-1, 32)
    ballot = ((groups & 1).astype(np.uint64) << np.arange(32, dtype=np.uint64)).sum(axis=1)
    each = [groups.min(axis=1), groups.max(axis=1), groups.sum(axis=1, dtype=np.uint32), ballot.astype(np.uint32)]
    return np.concatenate([*(np.repeat(of_group, 32) for of_group in each), groups[:, ::-1].reshape(-1)])


@cache
def has_simd() -> bool:
    """Ask the device once, by the probe.

    Metal's family Apple5, which a hosted Mac's "Paravirtual device" says it is, has no reductions over a SIMD group:
    there the kernel fails to compile, or answers wrong.
    """
    seed = (np.arange(THREADS, dtype=np.uint32) * np.uint32(2654435761)) >> np.uint32(7)
    try:
        with LOCK:
            (found,) = launch(
                PROBE, {"THREADS": THREADS, "SIMD": 1}, {"seed": mx.array(seed)}, {"found": (5 * THREADS,)}, 1
            )
            answer = np.array(found)
    except RuntimeError:
        return False
    return bool(np.array_equal(answer, expected(seed)))
