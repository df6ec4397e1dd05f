"""Page-locked memory of the host, which an NVIDIA GPU reads and writes itself, at the speed of the bus.

MLX hands arrays of the host over through CUDA's managed memory, which moves a page at a time as it is touched: 2 GB a
second. On Apple's chips host and GPU have one memory, and none of this is used.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from queue import Empty, LifoQueue
from threading import Lock
from typing import Any

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

__all__ = ["Buffer", "Buffers", "buffers"]

BUFFER_BYTES = 40 << 20
"""Of a buffer: 0.8 ms of a fast bus, many times what it takes to launch kernels."""

MOST_BUFFERS = 8
"""Threads that fill or empty one at a time; a core copies a tenth of what such a bus moves."""

PORTABLE, MAPPED = 1, 2
"""What CUDA's driver is asked for: memory for every device, at an address that devices know."""


class Buffer:
    """Some page-locked memory.

    Parameters
    ----------
    address : int
        The same for the host and for the device.
    n_bytes : int
    """

    def __init__(self, address: int, n_bytes: int) -> None:
        self.address = address
        self._bytes = np.ctypeslib.as_array((ctypes.c_uint8 * n_bytes).from_address(address))

    def array(self, start: int, shape: tuple[int, int], dtype: Any) -> NDArray[Any]:
        """The array that begins `start` bytes behind the beginning."""
        return np.ndarray(shape, dtype, self._bytes.data, start)


class Buffers:
    """Buffers that threads borrow: allocated when they are first asked for, kept as long as the process lives.

    Parameters
    ----------
    allocate : callable
        From a number of bytes to an address; raises OSError where there is no such memory.
    n_bytes : int
        Of a buffer.
    most : int
        Buffers that there may be.

    Raises
    ------
    OSError
        There is no memory for the first.
    """

    def __init__(self, allocate: Callable[[int], int], n_bytes: int = BUFFER_BYTES, most: int = MOST_BUFFERS) -> None:
        self.n_bytes = n_bytes
        self._allocate, self._left, self._lock = allocate, most - 1, Lock()
        self._free: LifoQueue[Buffer] = LifoQueue()
        self._free.put(Buffer(allocate(n_bytes), n_bytes))

    @contextmanager
    def lent(self) -> Iterator[Buffer]:
        """A buffer that nobody else has; waits for one where there are no more."""
        try:
            buffer = self._free.get_nowait()
        except Empty:
            buffer = self._another() or self._free.get()
        try:
            yield buffer
        finally:
            self._free.put(buffer)

    def _another(self) -> Buffer | None:
        with self._lock:
            if not self._left:
                return None
            try:
                self._left -= 1
                return Buffer(self._allocate(self.n_bytes), self.n_bytes)
            except OSError:
                self._left = 0
                return None


@cache
def buffers() -> Buffers | None:
    """Those of this process; None where no NVIDIA GPU is used, or its driver has no such memory."""
    if not mx.cuda.is_available():
        return None
    try:
        return Buffers(_allocator())
    except OSError:
        return None


def _allocator() -> Callable[[int], int]:
    """What allocates page-locked memory of CUDA's driver, which every device may use."""
    driver = ctypes.CDLL("libcuda.so.1")

    def call(name: str, *arguments: Any) -> None:
        status = getattr(driver, name)(*arguments)
        if status:
            raise OSError(status, f"CUDA's driver: {name} failed")

    device, context = ctypes.c_int(), ctypes.c_void_p()
    call("cuInit", 0)
    call("cuDeviceGet", ctypes.byref(device), 0)
    call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)

    def allocate(n_bytes: int) -> int:
        address, popped = ctypes.c_void_p(), ctypes.c_void_p()
        call("cuCtxPushCurrent_v2", context)
        try:
            call("cuMemHostAlloc", ctypes.byref(address), ctypes.c_size_t(n_bytes), PORTABLE | MAPPED)
        finally:
            call("cuCtxPopCurrent_v2", ctypes.byref(popped))
        return int(address.value or 0)

    return allocate
