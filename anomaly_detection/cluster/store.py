"""`Store`: a folder of files, on this machine or, by fsspec, in S3, Google Cloud Storage, Azure and others."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import pyarrow.fs as fs

from anomaly_detection.data.databases.sql_location import is_database
from anomaly_detection.errors import DataError, first_line

__all__ = ["Entry", "Store", "absolute", "is_url", "is_whole_table", "matching"]

_PARQUET = (".parquet", ".pq")
_MAGIC = frozenset("*?[")
_UNFINISHED = ".unfinished-"
_TAG = "ETag "


def is_url(location: str) -> bool:
    """Whether a location is a URL such as ``s3://bucket/folder``, and no path and no database."""
    return "://" in location and not is_database(location)


def is_whole_table(location: str) -> bool:
    """Whether a location is one file on this machine, or a database, and no folder, pattern or URL of files."""
    if is_database(location):
        return True
    if is_url(location) or os.path.isdir(location):
        return False
    return os.path.isfile(location) or not _MAGIC & set(location)


def absolute(location: str) -> str:
    """The location as processes in other folders find it."""
    return location if is_url(location) else os.path.abspath(location).replace(os.sep, "/")


@dataclass(frozen=True)
class Entry:
    """A file of a store.

    Attributes
    ----------
    name : str
        Its path from the store's folder, with ``/``.
    version : str
        Changes when the file does: size and time of change, or what the store says, such as an ETag.
    """

    name: str
    version: str


class Store:
    """The files below a folder.

    Parameters
    ----------
    location : str
        A path, or a URL that fsspec knows.

    Raises
    ------
    DataError
        For a URL where fsspec, or its package for this kind of store, is not installed.
    """

    def __init__(self, location: str) -> None:
        self.location = location.rstrip("/") or "/"
        self._remote: Any = None
        if is_url(location):
            self._remote, folder = _remote(location)
            self._files: Any = fs.PyFileSystem(fs.FSSpecHandler(self._remote))
        else:
            self._files, folder = fs.LocalFileSystem(), absolute(location)
        self._folder = folder.rstrip("/")

    def entries(self, *, recursive: bool = False) -> list[Entry]:
        """All files in the folder, or `recursive` in those in it too, by name; none where it is not there."""
        return self._listed(fs.FileSelector(self._folder or "/", recursive=recursive, allow_not_found=True))

    def entry(self, name: str) -> list[Entry]:
        """One file, if it is there."""
        return self._listed([self._path(name)])

    def _listed(self, what: Any) -> list[Entry]:
        with _explained(self.location):
            found = [info for info in self._files.get_file_info(what) if info.type == fs.FileType.File]
            # A store's paths may begin with a slash that was not asked for.
            start = len(f"{self._folder}/".lstrip("/"))
            listed = [Entry(info.path.lstrip("/")[start:], self._version(info)) for info in found]
        return sorted(listed, key=lambda entry: entry.name)

    def has_changed(self, entry: Entry) -> bool:
        """Whether a file is surely another one than it was when it was listed.

        Stores may tell other things of a file in a list than of it alone, but for its tag.
        """
        found = self.entry(entry.name)
        is_told = self._remote is None or entry.version.startswith(_TAG)
        return not found or (is_told and found != [entry])

    def opened(self, name: str) -> Any:
        """A file of Arrow's, open for reading at any place; raises `OSError`."""
        return self._files.open_input_file(self._path(name))

    def read(self, name: str) -> bytes:
        """A whole file; raises `OSError`."""
        with self.opened(name) as file:
            return bytes(file.read())

    @contextmanager
    def writing(self, name: str) -> Iterator[Any]:
        """Give a file of Arrow's, which gets its name when the block ends well; raises `OSError`."""
        temporary = self._path(f"{_UNFINISHED}{uuid.uuid4().hex}")
        self._files.create_dir(self._folder, recursive=True)
        try:
            with self._files.open_output_stream(temporary) as file:
                yield file
            self._files.move(temporary, self._path(name))
        except BaseException:
            if self._files.get_file_info(temporary).type == fs.FileType.File:
                self._files.delete_file(temporary)
            raise

    def remove(self, names: Sequence[str]) -> None:
        """Delete files; raises `OSError`."""
        for name in names:
            self._files.delete_file(self._path(name))

    def remove_unfinished(self) -> None:
        """Delete what killed processes had not finished; raises `OSError`."""
        self.remove([entry.name for entry in self.entries() if entry.name.startswith(_UNFINISHED)])

    def _path(self, name: str) -> str:
        return f"{self._folder}/{name}"

    def _version(self, info: Any) -> str:
        if self._remote is None:
            return f"{info.size} {info.mtime_ns}"
        known = self._remote.info(info.path)
        tag = str(known.get("ETag") or known.get("etag") or "").strip('"')
        return f"{_TAG}{tag} {known['size']}" if tag else str(self._remote.ukey(info.path))


def matching(location: str) -> tuple[Store, list[Entry]]:
    """The Parquet files of a folder, or those that a pattern names, by name; and the store of the folder they are in.

    In a pattern ``*``, ``?`` and ``[...]`` stand for parts of one name and ``**`` for any folders. Of a folder, files
    and folders are left out whose names begin with ``.`` or ``_``.

    Raises
    ------
    DataError
        Where there is none.
    """
    location = absolute(location)
    parts = location.split("/")
    fixed = next((place for place, part in enumerate(parts) if _MAGIC & set(part)), len(parts))
    if os.path.isfile(location):
        fixed = len(parts)
    if fixed < len(parts):
        store = Store("/".join(parts[:fixed]) or "/")
        listed = store.entries(recursive=len(parts) - fixed > 1)
        found = [entry for entry in listed if _fits(entry.name.split("/"), parts[fixed:])]
    else:
        folder, _, name = location.rpartition("/")
        store = Store(folder or "/")
        found = store.entry(name)
        if not found:
            store = Store(location)
            listed = store.entries(recursive=True)
            found = [entry for entry in listed if not any(part[:1] in "._" for part in entry.name.split("/"))]
    found = [entry for entry in found if entry.name.endswith(_PARQUET)]
    if not found:
        raise DataError(f"{location} holds no Parquet files; give a folder, or a pattern such as 'folder/*.parquet'.")
    return store, found


def _fits(names: Sequence[str], pattern: Sequence[str]) -> bool:
    if not pattern:
        return not names
    if pattern[0] == "**":
        return _fits(names, pattern[1:]) or (bool(names) and _fits(names[1:], pattern))
    return bool(names) and fnmatchcase(names[0], pattern[0]) and _fits(names[1:], pattern[1:])


def _remote(location: str) -> tuple[Any, str]:
    try:
        from fsspec.core import url_to_fs
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "fsspec":
            raise
        raise DataError(
            f"{location} needs fsspec, which is not installed; run pip install 'mlx-iforest[cluster]'."
        ) from error
    try:
        found: tuple[Any, str] = url_to_fs(location)
    except (ImportError, ValueError) as error:
        raise DataError(
            f"{location} cannot be opened ({first_line(error)}); install what fsspec needs for it, such as s3fs, gcsfs"
            " or adlfs, here and where the workers run."
        ) from error
    except Exception as error:
        raise DataError(f"{location} cannot be opened: {first_line(error)}.") from error
    return found


@contextmanager
def _explained(location: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        # Packages of stores have errors of their own, for credentials that are missing, say.
        raise DataError(f"{location} cannot be listed: {first_line(error)}.") from error
