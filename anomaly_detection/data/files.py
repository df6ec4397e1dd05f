"""Files, with errors that say what to do; `mlx_iforest.files` has how they are written whole or not at all."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from anomaly_detection.errors import DataError

__all__ = [
    "prepare_file",
    "prepare_folder",
    "reason",
    "refuse_impossible",
    "refuse_same",
    "replacing",
    "replacing_all",
    "require_file",
]

_ANOTHER_FILE = "Give a file in a folder that you may write."
_ANOTHER_FOLDER = "Give another one."


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """`mlx_iforest.files.replacing`.

    Raises
    ------
    DataError
        If the file cannot be written there.
    """
    from mlx_iforest import files  # who only reads tables must not pay for this import

    with _explained("Cannot write", path, _ANOTHER_FILE), files.replacing(path) as new:
        yield new


@contextmanager
def replacing_all(folder: str | os.PathLike[str], last: Sequence[str] = ()) -> Iterator[Path]:
    """`mlx_iforest.files.replacing_all`.

    Raises
    ------
    DataError
        If `folder`, or a file in it, cannot be written.
    """
    from mlx_iforest import files

    with (
        _explained("Cannot write into the folder", folder, _ANOTHER_FOLDER),
        files.replacing_all(folder, last) as new,
    ):
        yield new


def prepare_file(path: str | os.PathLike[str]) -> None:
    """Try that a file `path` can be written, folders included; leaves no trace.

    Raises
    ------
    DataError
        If it cannot.
    """
    from mlx_iforest import files

    with _explained("Cannot write", path, _ANOTHER_FILE):
        files.prepare(path)


def prepare_folder(path: str | os.PathLike[str]) -> None:
    """Try that the folder `path` is there or can be made, and that files can be made in it; leaves no trace.

    Raises
    ------
    DataError
        If it cannot be made or written.
    """
    from mlx_iforest import files

    with _explained("Cannot write into the folder", path, _ANOTHER_FOLDER):
        files.prepare(Path(path) / "file")


def require_file(path: Path) -> None:
    """Make sure that reading `path` comes to an end.

    Raises
    ------
    OSError
        If it is missing, a folder, a pipe or a device, or cannot be looked at.
    """
    refuse_impossible(path)
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(None, "it is a folder")
    if not stat.S_ISREG(mode):
        raise OSError(None, "it is a pipe or a device, not a file")


def refuse_impossible(path: str | os.PathLike[str]) -> None:
    """Refuse what no file can be called: for it the system's calls raise other errors than for all else.

    Raises
    ------
    OSError
        The path holds a NUL, or half a character.
    """
    try:
        possible = b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        possible = False
    if not possible:
        raise OSError(None, "no file can have this name")


def refuse_same(target: Path, sources: Mapping[str, Path]) -> None:
    """Refuse to write what is being read, by whatever name.

    Raises
    ------
    DataError
        If `target` is one of the `sources`, which are named by what they are; ``-`` is standard input.
    """
    for what, source in sources.items():
        try:
            read = os.fstat(sys.stdin.fileno()) if str(source) == "-" and sys.stdin else os.stat(source)
            same = os.path.samestat(os.stat(target), read)
        except (OSError, ValueError):
            # One of them is not there, is no file, or cannot be looked at: opening it will say so.
            continue
        if same:
            raise DataError(f"{target} is {what}, which would be lost; give another file to write.")


def reason(error: OSError) -> str:
    """`mlx_iforest.files.reason`."""
    from mlx_iforest import files

    return files.reason(error)


@contextmanager
def _explained(what: str, path: str | os.PathLike[str], advice: str) -> Iterator[None]:
    try:
        refuse_impossible(path)
        yield
    except OSError as error:
        # Half a character could not be printed.
        place = str(path).encode("utf-8", "backslashreplace").decode()
        raise DataError(f"{what} {place}: {reason(error)}. {advice}") from error
