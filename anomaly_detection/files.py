"""Writing files so that each is whole or not there, and finding out early that a folder cannot be written."""

from __future__ import annotations

import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import DataError

__all__ = ["prepare_folder", "reason", "replacing", "replacing_all"]


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path beside `path`; what the block writes there takes `path`'s place when the block ends well.

    Until then `path` holds what it held before, whatever fails. Missing folders are made. The temporary path has the
    same ending, for writers that choose a format by it.

    Raises
    ------
    DataError
        If the file cannot be written there.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(None, "it is a folder")
        yield temporary
        _sync(temporary)
        os.replace(temporary, path)
        _sync(path.parent)
    except OSError as error:
        raise DataError(f"Cannot write {path}: {reason(error)}. Give a file in a folder that you may write.") from error
    finally:
        # Also after an interrupt; there is nothing to remove once it has been moved.
        with suppress(OSError):
            temporary.unlink()


def prepare_folder(path: str | os.PathLike[str]) -> None:
    """Make the folder `path` if it is missing, and try that a file can be made in it; leaves no trace in it.

    Raises
    ------
    DataError
        If it cannot be made or written.
    """
    folder = Path(path)
    trial = folder / f".{secrets.token_hex(8)}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        trial.touch()
        trial.unlink()
    except OSError as error:
        raise DataError(f"Cannot write into the folder {folder}: {reason(error)}; give another one.") from error


@contextmanager
def replacing_all(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """Give an empty folder inside `folder`; when the block ends well, its files move to `folder`, each in one step.

    Until then `folder` holds what it held before, whatever fails.

    Raises
    ------
    DataError
        If `folder` cannot be written.
    """
    folder = Path(folder)
    prepare_folder(folder)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".new-") as name:
        temporary = Path(name)
        yield temporary
        try:
            for file in sorted(temporary.iterdir()):
                _sync(file)
                os.replace(file, folder / file.name)
            _sync(folder)
        except OSError as error:
            raise DataError(f"Cannot write into the folder {folder}: {reason(error)}; give another one.") from error


def _sync(path: Path) -> None:
    """Wait until `path` is on the disk, so that a power cut cannot leave a new name on old or no bytes."""
    # Windows cannot open a folder, and needs no sync of one.
    if path.is_dir() and os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def reason(error: OSError) -> str:
    """Why the system refused, without the number and the path."""
    return (error.strerror or str(error) or type(error).__name__).lower()
