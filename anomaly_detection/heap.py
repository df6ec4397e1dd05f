"""The C library's heap: what it keeps of memory that was freed."""

from __future__ import annotations

import ctypes

__all__ = ["trim"]


def trim() -> None:
    """Give what was freed back to the system, where the C library can be told to; else it keeps it for later."""
    try:
        trim_all = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # no glibc
        return
    trim_all(0)
