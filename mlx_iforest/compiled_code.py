"""Functions that Numba compiles, and what keeps their machine code from one process to the next.

Numba's own cache asks whether the file has changed that a function stands in. Constants and functions of other files
are compiled into it, so after an update of those it would hand out code that computes something else. Here the code
lies in a folder that is named after all that it was made of; other sources have another folder.
"""

from __future__ import annotations

import hashlib
import logging
import os
import pickle
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache, cached_property
from pathlib import Path
from typing import Any
from uuid import uuid4

__all__ = ["CompiledCode", "compile_at_once", "compiled", "is_compiled", "users_cache"]

PACKAGE = Path(__file__).parent

KEPT = 8
"""Folders that stay in one place, about 4 MB each: installations that share it do not take each other's code away."""


def digest_of(*packages: Path) -> str | None:
    """SHA-256 of all sources of some packages; None where they cannot be read, as in an archive."""
    digest, empty = hashlib.sha256(), False
    try:
        for package in packages:
            sources = sorted(package.rglob("*.py"))
            empty |= not sources
            for source in sources:
                content = source.read_bytes()
                digest.update(f"{source.relative_to(package).as_posix()}\0{len(content)}\0".encode())
                digest.update(content)
    except OSError:
        return None
    return None if empty else digest.hexdigest()


SOURCES = digest_of(PACKAGE)
"""Taken before the first kernel is imported. Content and not dates, which packers of containers and archives reset."""


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Let Numba compile a function, without Python's lock, and keep its machine code for later processes.

    A function of another package is made of this one and of the files in its own folder, from which alone it may take
    constants and functions.

    Parameters
    ----------
    **options
        Of `numba.njit`.
    """
    from numba import njit

    def decorate(function: Callable[..., Any]) -> Any:
        dispatcher = njit(nogil=True, **options)(function)
        folder = Path(function.__code__.co_filename).parent
        packages = (PACKAGE,) if folder.is_relative_to(PACKAGE) else (PACKAGE, folder)
        sources = SOURCES if len(packages) == 1 or SOURCES is None else _digest_once(packages)
        if sources is not None:
            dispatcher._cache = CompiledCode(function, sources, packages)
        return dispatcher

    return decorate


@cache
def _digest_once(packages: tuple[Path, ...]) -> str | None:
    """As the sources were when the first of their kernels was imported."""
    return digest_of(*packages)


def compile_at_once() -> None:
    """Compile in this process what is used at its first use, and not once enough has been asked of it.

    For a service: whoever asked next would wait for the compiler.
    """
    CompiledCode.at_once = True


def is_compiled(function: Any) -> bool:
    """Whether code of what `compiled` gave is there, in this process or an earlier one, or is not to be waited for."""
    if CompiledCode.at_once or function.overloads:
        return True
    return isinstance(function._cache, CompiledCode) and function._cache.is_kept()


class CompiledCode:
    """A function's machine code, one file a signature: what Numba's dispatchers call their cache.

    Nothing is touched before the first call. Code is read wherever it lies, so also where nothing can be written; it is
    written to the first place that can be, and to none if there is none. Numba keeps numbered files and an index; two
    processes that write at once can make it point to code for other types, so here a file's name says what it is for.

    Parameters
    ----------
    function : callable
        What is compiled.
    sources : str
        The digest of the sources that it was imported from.
    packages : tuple of Path
        Where these lie.

    Attributes
    ----------
    at_once : bool
        Whether `compile_at_once` was called.
    """

    at_once = False

    def __init__(self, function: Callable[..., Any], sources: str, packages: tuple[Path, ...] = (PACKAGE,)) -> None:
        self._function = function
        self._sources = sources
        self._packages = packages

    @cached_property
    def _folder(self) -> str:
        """The folder's name: the sources, and what else decides whether code can be read."""
        import numba

        emulated = os.environ.get("MLX_IFOREST_EMULATE_VECTORS")
        made_of = (self._sources, numba.__version__, sys.implementation.cache_tag, emulated)
        return hashlib.sha256(repr(made_of).encode()).hexdigest()[:32]

    @property
    def cache_path(self) -> str:
        """The first choice of a place, for Numba's statistics."""
        return str(next(places()))

    @property
    def _stem(self) -> str:
        """How the names of the function's files begin; functions of several modules may have one name."""
        return f"{self._function.__module__.rpartition('.')[2]}.{self._function.__qualname__}"

    def _name(self, signature: Any, codegen: Any) -> str:
        """The file's name: the function, the types of its arguments and the processor."""
        function = self._function
        made_of = (function.__module__, function.__code__.co_firstlineno, signature, codegen.magic_tuple())
        return f"{self._stem}-{hashlib.sha256(repr(made_of).encode()).hexdigest()[:32]}.bin"

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        """Return what was compiled for these types, or None."""
        from numba.core.compiler import CompileResult
        from numba.core.runtime.nrt import rtsys

        # What only a compiler needs, it loads itself; `refresh` would load it here, in a third of a second.
        rtsys.initialize(target_context)
        name = self._name(signature, target_context.codegen())
        for place in places():
            content = _read(place / self._folder / name)
            if content is not None:
                return CompileResult._rebuild(target_context, *pickle.loads(content))
        return None

    def save_overload(self, signature: Any, result: Any) -> None:
        """Keep what was compiled for these types."""
        from numba.core.serialize import dumps

        # Sources that were replaced since the import may have been imported in part: what is this code made of?
        if result.library.has_dynamic_globals or digest_of(*self._packages) != self._sources:
            return
        name = self._name(signature, result.library.codegen)
        content = dumps(result._reduce())
        for place in places():
            with suppress(OSError):
                _write(place / self._folder / name, content)
                return
        logging.getLogger(__name__).info(
            "No folder takes compiled code, so each process compiles anew; NUMBA_CACHE_DIR can name one that does."
        )

    def is_kept(self) -> bool:
        """Whether code of any types is kept somewhere."""
        pattern = f"{self._stem}-*.bin"
        return any(True for place in places() for _ in (place / self._folder).glob(pattern))

    def flush(self) -> None:
        """Forget the code of all types, as Numba asks before it compiles a function again."""
        for place in places():
            for file in (place / self._folder).glob(f"{self._stem}-*.bin"):
                with suppress(OSError):
                    file.unlink()


def places() -> Iterator[Path]:
    """Where compiled code may lie: in ``NUMBA_CACHE_DIR`` if set, else beside the sources or in the user's cache."""
    from numba.core import config

    if config.CACHE_DIR:  # type: ignore[attr-defined]
        yield Path(config.CACHE_DIR, PACKAGE.name)  # type: ignore[attr-defined]
        return
    yield PACKAGE / "__pycache__" / "compiled"
    users = users_cache(PACKAGE.name)
    if users is not None:
        yield users


def users_cache(name: str) -> Path | None:
    """The folder of the user's cache that has a name, there or not; None where there is no home."""
    from numba.misc.appdirs import AppDirs

    folder = Path(AppDirs(name, appauthor=False).user_cache_dir)
    return folder if folder.is_absolute() else None  # else "~" would become a folder's name


def _read(file: Path) -> bytes | None:
    """What `_write` wrote; None if it is not there, not for us, or damaged."""
    try:
        content = file.read_bytes()
    except OSError:
        return None
    digest, content = content[:32], content[32:]
    return content if hashlib.sha256(content).digest() == digest else None


def _write(file: Path, content: bytes) -> None:
    """Write a file whole or not at all; if that begins a folder, the oldest of those beside it go."""
    try:
        file.parent.mkdir(parents=True)
    except FileExistsError:
        pass
    else:
        _clear(file.parent.parent)
    temporary = file.with_name(f"{file.name}.{uuid4().hex}")
    try:
        temporary.write_bytes(hashlib.sha256(content).digest() + content)
        os.replace(temporary, file)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def _clear(place: Path) -> None:
    """Remove all but the newest folders; another process may do so at the same time."""
    with suppress(OSError):
        newest_last = sorted(place.iterdir(), key=lambda folder: folder.stat().st_mtime_ns)
        for folder in newest_last[:-KEPT]:
            shutil.rmtree(folder, ignore_errors=True)
