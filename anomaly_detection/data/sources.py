"""`Source`: the bytes of a table, in a file or archive, from standard input or a database, and which kind they are."""

from __future__ import annotations

import copy
import gzip
import io
import os
import sys
import tempfile
import weakref
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

from anomaly_detection.data.databases.sql_location import SqlLocation, is_database
from anomaly_detection.data.files import require_file
from anomaly_detection.errors import DataError, first_line
from anomaly_detection.texts.said import say

__all__ = ["KINDS", "READABLE", "STDIN", "Source", "kind_of_name"]

STDIN = "-"

KINDS = {
    "csv": (".csv", ".tsv", ".txt"),
    "parquet": (".parquet", ".pq"),
    "json": (".jsonl", ".ndjson", ".json"),
    "excel": (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods"),
}
READABLE = ", ".join(suffix for suffixes in KINDS.values() for suffix in suffixes)

BOMB_BYTES = 4 * 10**9
BOMB_RATIO = 100
BLOCK = 1 << 20

_DROPPINGS = ("__MACOSX/", ".DS_Store", "Thumbs.db", "desktop.ini")
"""What systems put into archives unasked."""

_BROKEN = (gzip.BadGzipFile, zipfile.BadZipFile, EOFError, zlib.error, NotImplementedError)
"""What reading a damaged archive raises, or one that is compressed in a way that Python does not know."""

_PARQUET, _GZIP, _ZIP, _OLE = b"PAR1", b"\x1f\x8b", b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"


class Source:
    """The bytes of a table.

    Parameters
    ----------
    path : Path or str
        A file of one of the `KINDS`; one that is compressed, ``.gz`` after its name or alone in a ``.zip``; or `STDIN`,
        which is copied to a temporary file, since tables are read several times over, and whose kind its first bytes
        tell. Or a URL of a database (`SqlLocation.of`), whose rows are copied as Parquet.

    Attributes
    ----------
    label : str
        What to call it in messages.
    kind : str
        One of the `KINDS`.

    Raises
    ------
    DataError
        If the kind is unknown, an archive is damaged or does not hold exactly one file, or a database cannot be asked.
    OSError
        If it cannot be read.
    """

    def __init__(self, path: Path | str) -> None:
        self._path = path
        self._input: int | None = None
        self._member: zipfile.ZipInfo | None = None
        self._packing = ""
        if is_database(path):
            location = SqlLocation.of(str(path))
            self.label, self.kind = location.label, "parquet"
            from anomaly_detection.data.databases.sql_reading import copy_rows

            with tempfile.TemporaryFile() as copied:
                copy_rows(location, copied)
                self._hold(copied)
            return
        path = Path(path)
        self.label = str(path)
        if str(path) == STDIN:
            self.label = "standard input"
            with _copied(_standard_input()) as copied:
                self._hold(copied)
            start = self.start()
            self._packing = "gzip" if start.startswith(_GZIP) else "zip" if _is_archive(self) else ""
            name = ""
        else:
            name = path.name.lower()
            self._packing = "gzip" if name.endswith(".gz") else "zip" if name.endswith(".zip") else ""
            name = name.removesuffix(".gz")
            if self._packing != "zip":
                self.kind = kind_of_name(name, path)
            require_file(path)
        if self._packing == "zip":
            self._member = self._only_member()
            name = self._member.filename.lower()
            self.label = f"{self.label} ({self._member.filename})"
            self.kind = kind_of_name(name, Path(self.label))
        elif not name:
            self.kind = _kind_of_bytes(self.start())

    def _hold(self, copied: IO[bytes]) -> None:
        """Keep a temporary file as long as this is there."""
        copied.flush()
        self._input = os.dup(copied.fileno())
        weakref.finalize(self, os.close, self._input)

    def start(self) -> bytes:
        """The first bytes, at most 512."""
        with self.opened() as file:
            return file.read(512)

    @contextmanager
    def opened(self) -> Iterator[IO[bytes]]:
        """A file of the bytes, decompressed, to be read once; raises `DataError` where an archive is broken."""
        packing = self._packing
        with ExitStack() as stack:
            raw = stack.enter_context(self._raw())
            try:
                if packing == "gzip":
                    packed = os.fstat(raw.fileno()).st_size
                    yield self._bounded(stack.enter_context(gzip.GzipFile(fileobj=raw, mode="rb")), packed)
                elif packing == "zip":
                    archive = stack.enter_context(zipfile.ZipFile(raw))
                    assert self._member is not None
                    yield self._bounded(_whole_member(archive, self._member), self._member.compress_size)
                else:
                    yield raw
            except _BROKEN as error:
                if not packing:
                    raise
                raise self._broken(packing) from error

    @contextmanager
    def random_access(self) -> Iterator[IO[bytes]]:
        """A file of the bytes, decompressed, that can be gone back in."""
        with self.opened() as file:
            if self._packing:
                with _copied(file) as copied:
                    yield copied
            else:
                yield file

    def refuse_bomb(self) -> None:
        """Refuse a workbook, which is an archive itself, that would grow beyond all bounds; others pass.

        Raises
        ------
        DataError
            If it would, or is damaged.
        """
        with self.random_access() as file:
            if not zipfile.is_zipfile(file):
                return
            try:
                with zipfile.ZipFile(file) as archive:
                    members = archive.infolist()
                    packed, size = sum(member.compress_size for member in members), 0
                    for member in members:
                        with _whole_member(archive, member) as content:
                            while block := content.read(BLOCK):
                                size += len(block)
                                self._refuse_size(size, packed)
            except (*_BROKEN, RuntimeError) as error:
                raise DataError(
                    say(
                        "%(label)s is a damaged or encrypted workbook (%(error)s); save it again.",
                        label=self.label,
                        error=first_line(error),
                    )
                ) from error

    @contextmanager
    def _raw(self) -> Iterator[IO[bytes]]:
        if self._input is None:
            with open(self._path, "rb") as file:
                yield file
        else:
            with io.BufferedReader(_View(self._input), BLOCK) as view:
                yield view

    def _only_member(self) -> zipfile.ZipInfo:
        try:
            with self._raw() as raw, zipfile.ZipFile(raw) as archive:
                members = [member for member in archive.infolist() if not _is_dropping(member)]
        except _BROKEN as error:
            raise self._broken("zip") from error
        if len(members) != 1:
            names = ", ".join(member.filename for member in members[:5]) + (", ..." if len(members) > 5 else "")
            some = say("%(count)s files (%(names)s)", count=len(members), names=names)
            holds = some if members else say("no file")
            raise DataError(
                say(
                    "%(label)s holds %(holds)s; expected one table. Unpack it, and give the one to read.",
                    label=self.label,
                    holds=holds,
                )
            )
        member = members[0]
        if member.flag_bits & 1:
            raise DataError(say("%(label)s is encrypted; unpack it, and give the file in it.", label=self.label))
        return member

    def _broken(self, packing: str) -> DataError:
        return DataError(
            say("%(label)s is not a complete %(packing)s file; compress it again.", label=self.label, packing=packing)
        )

    def _bounded(self, file: Any, packed: int) -> IO[bytes]:
        bounded: Any = io.BufferedReader(_Bounded(file, lambda size: self._refuse_size(size, packed)), BLOCK)
        return bounded

    def _refuse_size(self, size: int, packed: int) -> None:
        if size > BOMB_BYTES and size > BOMB_RATIO * packed:
            raise DataError(
                say(
                    "%(label)s grows to more than %(size)s GB and %(ratio)s times its size when it is decompressed,"
                    " as files do that are made to fill a machine; if you trust it, decompress it yourself.",
                    label=self.label,
                    size=f"{BOMB_BYTES / 1e9:g}",
                    ratio=BOMB_RATIO,
                )
            )


def kind_of_name(name: str, path: Path) -> str:
    """The one of `KINDS` that a name in lower case ends for; raises `DataError`, which names `path`, for others."""
    for kind, suffixes in KINDS.items():
        if name.endswith(suffixes):
            return kind
    what = "is a folder" if os.path.isdir(path) else "has an unknown extension"
    raise DataError(f"{path} {what}; expected one of {READABLE}, each also with .gz, or one of them in a .zip.")


def _kind_of_bytes(start: bytes) -> str:
    if start.startswith(_PARQUET):
        return "parquet"
    if start.startswith((_ZIP, _OLE)):
        return "excel"
    return "json" if start.removeprefix(b"\xef\xbb\xbf").lstrip().startswith((b"{", b"[")) else "csv"


def _is_archive(source: Source) -> bool:
    """Whether the bytes are a .zip and not a workbook, which is one as well."""
    if not source.start().startswith(_ZIP):
        return False
    with source.opened() as file:
        try:
            names = set(zipfile.ZipFile(file).namelist())
        except zipfile.BadZipFile:
            return True
    return not names & {"[Content_Types].xml", "mimetype"}


def _is_dropping(member: zipfile.ZipInfo) -> bool:
    return member.is_dir() or member.filename.startswith(_DROPPINGS[0]) or member.filename.endswith(_DROPPINGS[1:])


def _whole_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Any:
    """What is in the archive, not the part of it that the archive says it was: that may be a lie."""
    member = copy.copy(member)
    member.file_size = sys.maxsize
    return archive.open(member)


def _standard_input() -> IO[bytes]:
    if sys.stdin is None or sys.stdin.closed:
        raise OSError(None, "it is closed")
    return sys.stdin.buffer


def _copied(file: IO[bytes]) -> IO[bytes]:
    """A temporary file, which nobody else sees and which ends with the process, of the rest of another."""
    copied = tempfile.TemporaryFile()  # noqa: SIM115 - who asked for it closes it
    while block := file.read(BLOCK):
        copied.write(block)
    copied.flush()
    copied.seek(0)
    return copied


class _View(io.RawIOBase):
    """A file that others read as well, from its start, with a place of its own."""

    def __init__(self, number: int) -> None:
        self._number, self._place = number, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._number

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = (0, self._place, os.fstat(self._number).st_size)[whence]
        self._place = start + offset
        return self._place

    def tell(self) -> int:
        return self._place

    def readinto(self, buffer: Any) -> int:
        block = os.pread(self._number, len(buffer), self._place)
        buffer[: len(block)] = block
        self._place += len(block)
        return len(block)


class _Bounded(io.RawIOBase):
    """A file of which `check` is told how much has been read."""

    def __init__(self, file: Any, check: Any) -> None:
        self._file, self._check, self._size = file, check, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        block = self._file.read(len(buffer))
        buffer[: len(block)] = block
        self._size += len(block)
        self._check(self._size)
        return len(block)
