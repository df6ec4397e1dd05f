"""Rows of the host on their way to the GPU, and the sums of their leaves' values on their way back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

from mlx_iforest.backends.mlx.kernel_source import Kernel, kernel_text
from mlx_iforest.backends.mlx.launch import LOCK, launch
from mlx_iforest.backends.mlx.page_locked import Buffer, buffers

__all__ = ["DELIVER", "FETCH", "Transfer", "place", "transfer", "transfer_parts"]

FETCH = Kernel("fetch", kernel_text("fetch"), (("place", "uint32"),), (("rows", "float32"),))
DELIVER = Kernel(
    "deliver", kernel_text("deliver"), (("words", "uint32"), ("place", "uint32")), (("delivered", "uint32"),)
)

THREADS, GROUPS = 1024, 264
"""Of a launch: enough loads under way to fill the bus."""


class Transfer(Protocol):
    """How rows get to the device and sums back; all but `totals` while no other thread talks to the device."""

    totals: NDArray[Any]
    """Shape (n_rows, n_values); filled where parts have been received."""

    def rows(self, part: slice) -> mx.array:
        """Some rows on the device."""

    def send(self, part: slice, totals: mx.array) -> mx.array:
        """Their sums, under way: what is to be evaluated."""

    def receive(self, part: slice, sent: mx.array) -> None:
        """Wait for what was sent."""


def transfer_parts(n_rows: int, n_features: int, n_values: int) -> Iterator[slice]:
    """Rows that are transferred together."""
    lent = buffers()
    size = max(1, n_rows if lent is None else lent.n_bytes // _row_bytes(n_features, n_values))
    for start in range(0, n_rows, size):
        yield slice(start, min(start + size, n_rows))


@contextmanager
def transfer(X: NDArray[np.float32], n_values: int, dtype: str) -> Iterator[Transfer]:
    """The way of some rows: page-locked memory where the device reads that, MLX's own where it does not.

    Parameters
    ----------
    X : ndarray of float32, shape (n_rows, n_features)
        One of `transfer_parts`.
    n_values : int
    dtype : "int32" or "int64"
        Of the sums.
    """
    lent = buffers()
    if lent is None or _row_bytes(X.shape[1], n_values) > lent.n_bytes:
        yield ByMLX(X, n_values, dtype)
    else:
        with lent.lent() as buffer:
            try:
                yield ByBus(X, n_values, dtype, buffer)
            except BaseException:
                # The buffer's next user must not meet kernels that still read or write it.
                with LOCK:
                    mx.synchronize()
                raise


def _row_bytes(n_features: int, n_values: int) -> int:
    return 4 * n_features + 8 * n_values


class ByMLX:
    """Arrays of MLX: on Apple's chips the same memory, where rows are aligned to pages."""

    def __init__(self, X: NDArray[np.float32], n_values: int, dtype: str) -> None:
        self.X, self.totals = X, np.empty((len(X), n_values), dtype)

    def rows(self, part: slice) -> mx.array:
        return mx.asarray(self.X[part], copy=None) if hasattr(mx, "asarray") else mx.array(self.X[part])

    def send(self, part: slice, totals: mx.array) -> mx.array:
        return totals

    def receive(self, part: slice, sent: mx.array) -> None:
        self.totals[part] = np.asarray(sent)


class ByBus:
    """Page-locked memory, which kernels read and write.

    Sums lie in front of the rows, at a multiple of their size.
    """

    def __init__(self, X: NDArray[np.float32], n_values: int, dtype: str, buffer: Buffer) -> None:
        n_rows, n_features = X.shape
        self.address = buffer.address
        self.totals = buffer.array(0, (n_rows, n_values), dtype)
        self.first_row, self.n_features = 8 * n_rows * n_values, n_features
        buffer.array(self.first_row, X.shape, np.float32)[...] = X

    def rows(self, part: slice) -> mx.array:
        shape = (part.stop - part.start, self.n_features)
        where = place(self.address + self.first_row + 4 * self.n_features * part.start, shape[0] * shape[1])
        return launch(FETCH, {"THREADS": THREADS}, {"place": where}, {"rows": shape}, GROUPS)[0]

    def send(self, part: slice, totals: mx.array) -> mx.array:
        words = totals.view(mx.uint32)
        where = place(self.address + self.totals.strides[0] * part.start, words.size)
        return launch(DELIVER, {"THREADS": THREADS}, {"words": words, "place": where}, {"delivered": (8,)}, GROUPS)[0]

    def receive(self, part: slice, sent: mx.array) -> None:
        mx.eval(sent)


def place(address: int, n_words: int) -> mx.array:
    """An address of the host and how much lies there, as kernels take it."""
    return mx.array([address & 0xFFFFFFFF, address >> 32, n_words, 0, 0, 0, 0, 0], mx.uint32)
