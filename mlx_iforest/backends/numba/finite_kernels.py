"""What Numba compiles to look through a table for infinities as fast as memory is read."""

# Numba infers types from the arguments; annotations would only repeat them.
# mypy: allow-untyped-defs

from __future__ import annotations

from mlx_iforest.backends.numba.vectors import prefetch
from mlx_iforest.compiled_code import compiled

__all__ = ["reaches"]

BLOCK = 64
"""Values looked at together."""

LINE = 64
"""Bytes that come from memory at once."""

AHEAD = 1 << 14
"""Bytes between what is looked at and what is asked for: alone, processors ask for less, and read half as fast."""


@compiled()
def reaches(values, limit):
    """`finite.reaches_plainly`."""
    found = 0
    blocks = len(values) // BLOCK * BLOCK
    for first in range(0, blocks, BLOCK):
        for k in range(0, BLOCK, LINE // values.itemsize):
            prefetch(values, first + AHEAD // values.itemsize + k)  # type: ignore[call-arg]
        for i in range(first, first + BLOCK):
            found += abs(values[i]) >= limit
    for i in range(blocks, len(values)):
        found += abs(values[i]) >= limit
    return found > 0
