"""`Folder`: a watched folder: which files have settled, a copy of one, and where it goes when it is done."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from anomaly_detection.data.sources import KINDS
from anomaly_detection.errors import DataError
from anomaly_detection.texts.said import N_, say
from mlx_iforest.files import reason, replacing

__all__ = ["DONE", "REJECTED", "Folder", "Found", "copy_of", "digest_of_settled", "kind_of", "put_away", "signature_at"]

DONE, REJECTED = "done", "rejected"

_EMPTY = 60.0
"""Seconds for which a file may stay empty: some programs make a file, and write it later."""

_IGNORED = ("~", ".tmp", ".part", ".partial", ".filepart", ".crdownload", ".swp")
"""Ends of names of files that are being written."""

_BLOCK = 1 << 20
_ENDS: dict[str, str] = {
    **dict.fromkeys((*KINDS["csv"], *KINDS["parquet"], *KINDS["excel"]), "csv"),
    ".json": "json",
    **dict.fromkeys((".jsonl", ".ndjson"), "ndjson"),
    **dict.fromkeys((".arrow", ".feather"), "arrow"),
}
"""By the end of a name, as what a file is read; tables are told apart by their names again."""


@dataclass(frozen=True)
class Found:
    """A file of the folder.

    Attributes
    ----------
    path : Path
    signature : str
        Which file it is, as it is: device, inode, size, and when it was changed. Another content has another one.
    size : int
        Bytes.
    """

    path: Path
    signature: str
    size: int


class Folder:
    """What is remembered of a watched folder from look to look.

    Parameters
    ----------
    path : Path
    settle : float
        Seconds for which neither size nor time of a file may change before it is taken.
    """

    def __init__(self, path: Path, settle: float) -> None:
        self.path, self.settle = path, settle
        self._since: dict[tuple[str, str], float] = {}

    def look(self) -> tuple[list[Found], list[str]]:
        """Files that have settled, those that were changed first ahead; and what hinders, in sentences."""
        hindrances: list[str] = []
        try:
            with os.scandir(self.path) as entries:
                seen = list(_files(sorted(entries, key=lambda entry: entry.name), hindrances))
        except OSError as error:
            # What was seen is not forgotten: the folder may come back.
            return [], [say("The folder %(path)s cannot be read: %(error)s.", path=self.path, error=reason(error))]
        moment = time.monotonic()
        self._since = {
            key: self._since.get(key, moment) for key in ((each.path.name, each.signature) for each, _ in seen)
        }
        settled = [
            (changed, each)
            for each, changed in seen
            if moment - self._since[each.path.name, each.signature]
            >= (self.settle if each.size else max(self.settle, _EMPTY))
        ]
        return [each for _, each in sorted(settled, key=lambda one: (one[0], one[1].path.name))], hindrances


def _files(entries: list[os.DirEntry[str]], hindrances: list[str]) -> Iterator[tuple[Found, int]]:
    for entry in entries:
        if entry.name.startswith(".") or entry.name.lower().endswith(_IGNORED) or entry.is_dir(follow_symlinks=False):
            continue
        if entry.is_symlink():
            told = N_("%(name)s is a link, and links are not followed: put the file itself here.")
            hindrances.append(say(told, name=entry.name))
            continue
        if not _is_text(entry.name):
            hindrances.append(say("The name of %(name)s is no UTF-8; call it otherwise.", name=repr(entry.name)))
            continue
        try:
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            # It went in this moment.
            continue
        if not stat.S_ISREG(status.st_mode):
            hindrances.append(say("%(name)s is no file.", name=entry.name))
            continue
        yield Found(Path(entry.path), _signature(status), status.st_size), status.st_mtime_ns


def _is_text(name: str) -> bool:
    return not any("\udc80" <= letter <= "\udcff" for letter in name)


def _signature(status: os.stat_result) -> str:
    return f"{status.st_dev}:{status.st_ino}:{status.st_size}:{status.st_mtime_ns}"


def signature_at(path: Path) -> str:
    """Of what is at a path now; empty where nothing is."""
    try:
        return _signature(os.stat(path, follow_symlinks=False))
    except FileNotFoundError:
        return ""


def kind_of(name: str) -> tuple[str, str]:
    """As what a file of this name is read, and the end that tells it; `DataError` for what is not read."""
    lower = name.lower()
    packing = next((end for end in (".gz", ".zip") if lower.endswith(end)), "")
    end = Path(lower.removesuffix(packing)).suffix
    if end not in _ENDS and packing != ".zip":
        raise DataError(
            say(
                "Files that end in %(end)s are not read; give %(ends)s, or such as .gz or .zip.",
                end=end or "nothing",
                ends=", ".join(_ENDS),
            )
        )
    if not packing:
        return _ENDS[end], end[1:]
    if end == ".arrow" or end == ".feather":
        raise DataError(say("Arrow files are read as they are, not packed."))
    # Tables are unpacked by who reads them.
    return "csv", f"{end}{packing}"[1:]


def digest_of_settled(found: Found) -> str | None:
    """SHA-256 of a file; None where it was changed or replaced meanwhile, or went. Raises `OSError`."""
    return _read(found, None)


def copy_of(found: Found, target: Path) -> str | None:
    """The same, with a copy that outlives a power cut; none is left where the digest is None, or this raises."""
    digest = None
    try:
        digest = _read(found, target)
    finally:
        if digest is None:
            target.unlink(missing_ok=True)
    return digest


def _read(found: Found, target: Path | None) -> str | None:
    digest = hashlib.sha256()
    try:
        # Whatever has been put in its place, no link is followed, and no pipe is waited for.
        descriptor = os.open(found.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP):
            return None
        raise
    with open(descriptor, "rb") as file:
        if _signature(os.fstat(descriptor)) != found.signature:
            return None
        with open(os.devnull if target is None else target, "wb" if target is None else "xb") as copy:
            while block := file.read(_BLOCK):
                digest.update(block)
                copy.write(block)
            copy.flush()
            if target is not None:
                os.fsync(copy.fileno())
        is_same = _signature(os.fstat(descriptor)) == signature_at(found.path) == found.signature
    return digest.hexdigest() if is_same else None


def put_away(path: Path, room: str, told: str) -> Path:
    """Move a file into a folder beside it, with what is told of it as a text; nothing that is there is overwritten.

    Raises
    ------
    DataError
        Where it cannot be moved.
    """
    folder = path.parent / room
    try:
        if folder.is_symlink():
            raise DataError(say("%(folder)s is a link; files are moved into a folder itself.", folder=folder))
        folder.mkdir(exist_ok=True)
        target = _free(folder, path.name)
        if told:
            # First: whatever ends this, the file is still where it is looked for.
            with replacing(folder / f"{target.name}.txt") as new:
                new.write_text(told, "utf-8", "replace")
        path.rename(target)
    except OSError as error:
        raise DataError(
            say("%(name)s cannot be moved to %(room)s/: %(error)s.", name=path.name, room=room, error=reason(error))
        ) from error
    return target


def _free(folder: Path, name: str) -> Path:
    stem, dot, end = name.partition(".")
    number = 1
    while True:
        target = folder / (name if number == 1 else f"{stem}-{number}{dot}{end}")
        if not os.path.lexists(target) and not os.path.lexists(f"{target}.txt"):
            return target
        number += 1
