"""Compiled code that Numba keeps beside the sources goes when any of them has changed.

Numba looks only at the file that a function stands in. Constants and functions of other files are compiled into it, so
after an update of some files the code of the others would read arrays by a layout that is no more.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

__all__ = ["drop_stale"]


def drop_stale(package: Path) -> None:
    """Remove what Numba compiled in a package's ``__pycache__`` if its sources are not those of last time."""
    stats = [(source.name, source.stat()) for source in sorted(package.rglob("*.py"))]
    state = "\n".join(f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in stats)
    known = package / "__pycache__" / "sources.txt"
    # Where the folder is not ours to write, whoever installed the package wrote all of its files.
    with suppress(OSError):
        if known.is_file() and known.read_text("utf-8") == state:
            return
        for compiled in package.rglob("__pycache__/*.nb[ic]"):
            compiled.unlink()
        known.parent.mkdir(exist_ok=True)
        known.write_text(state, "utf-8")
