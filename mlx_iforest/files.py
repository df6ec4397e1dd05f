"""Writing files so that each is whole or not there, whatever ends the process.

New files are made in a folder of their own beside their targets, the staging folder. Its owner holds a lock on a file
in it for as long as the process lives, so that whoever writes or reads there next can tell what a killed process left.

- ``lock``: locked by the owner; it goes last.
- ``new``: what is being written. It gets the name ``complete`` in one step, and from then on the files will be put in
  place, if not by the owner then by whoever finds them.
- ``last.json``: which of the names that `replacing_all` was given as `last` were written, and which were not.

A staging folder may also have come in an archive, made to look like one that was left. What does not carry this
machine's name is put in place only where the archive itself could have put it: plain files, in the folder around.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import socket
import stat
import sys
import time
import uuid
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

if sys.platform != "win32":
    import fcntl

__all__ = ["destination", "lock_file", "prepare", "reason", "replacing", "replacing_all", "settle_left", "settle_open"]

_NAME = re.compile(r"\.mlx-iforest-([0-9a-f]{8})-[0-9a-f]{16}")
_LOCK, _LAST, _NEW, _COMPLETE = "lock", "last.json", "new", "complete"
_TRIES = 100
_PAUSE = 0.02
_DAY = 86_400.0

_open: set[_Staging] = set()


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a path of the same name elsewhere; what the block writes there takes `path`'s place when it ends well.

    Until then `path` holds what it held before, whatever fails. Missing folders are made. A file that is replaced hands
    on its mode and, where the system allows, its owner; a link stays, and the file that it leads to is replaced.

    Raises
    ------
    OSError
        If the file cannot be written there, or something that is no regular file is there.
    """
    target = destination(path)
    with replacing_all(target.parent) as folder:
        yield folder / target.name
        (folder / target.name).stat()


@contextmanager
def replacing_all(folder: str | os.PathLike[str], last: Sequence[str] = ()) -> Iterator[Path]:
    """Give an empty folder; when the block ends well, its files take their places in `folder`, all or none of them.

    A process that is killed meanwhile leaves the old files, or new ones that the next one to write or read there
    (`settle_left`) puts in place first.

    Parameters
    ----------
    folder : path
        Made if missing; removed again if nothing came of it.
    last : sequence of str
        Names of files that tell of the others: they are removed before the others change and put in place after them,
        in this order. One that the block did not write stays removed.

    Raises
    ------
    OSError
        If `folder` or a file in it cannot be written, or something that is no regular file is there.
    """
    staging = _Staging(Path(os.path.realpath(folder)))
    try:
        staging.open()
        yield staging.new
        staging.complete(last)
    finally:
        staging.settle()


def prepare(path: str | os.PathLike[str]) -> None:
    """Try that a file `path` can be written; leaves no trace.

    Raises
    ------
    OSError
        If it cannot.
    """
    target = destination(path)
    staging = _Staging(target.parent)
    try:
        staging.open()
        (staging.new / target.name).touch()
    finally:
        staging.settle()


def destination(path: str | os.PathLike[str]) -> Path:
    """Where a file `path` would be written: where links lead.

    Raises
    ------
    OSError
        If something else than a regular file is there, or nothing can be there.
    """
    target = Path(os.path.realpath(path))
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return target
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(None, "it is a folder")
    if not stat.S_ISREG(mode):
        raise OSError(None, "it is no regular file")
    return target


def settle_open() -> None:
    """End all writing of this process that is under way: for the end of a process whose blocks were not left."""
    for staging in tuple(_open):
        # What cannot be settled is left to the next process there.
        with suppress(OSError):
            staging.settle()


def settle_left(folder: str | os.PathLike[str]) -> None:
    """Put in place what killed processes of this machine had completed in `folder`, and remove what they had not.

    Does nothing where that is not this user's to do.
    """
    folder = Path(os.path.realpath(folder))
    if _left(folder):
        with suppress(OSError), _alone(folder):
            _settle_left(folder, 0.0)


def reason(error: OSError) -> str:
    """Why the system refused, in one line, without the number and the path."""
    text = error.strerror or str(error).partition("\n")[0].rstrip(".") or type(error).__name__
    return text.lower()


class _Staging:
    """A staging folder of this process in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._place = folder
        self._made: list[Path] = []
        self._lock = -1
        self._process = os.getpid()

    @property
    def new(self) -> Path:
        return self._place / _NEW

    def open(self) -> None:
        """Make it, and settle what others left beside it."""
        _open.add(self)
        for tried in range(1, _TRIES + 1):
            self._made += [one for one in (self.folder, *self.folder.parents) if not one.exists()]
            self.folder.mkdir(parents=True, exist_ok=True)
            self._place = self.folder / f".mlx-iforest-{_machine()}-{secrets.token_hex(8)}"
            try:
                self._place.mkdir(0o700)
                self._lock = os.open(self._place / _LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
                if lock_file(self._lock) is not False and (self._place / _LOCK).exists():
                    break
            except FileNotFoundError:
                if tried == _TRIES:
                    raise
            # Before it was locked, another process took it for left, and removes it.
            self._close()
        self.new.mkdir()
        with _alone(self.folder):
            _settle_left(self.folder, self._place.stat().st_mtime)

    def complete(self, last: Sequence[str]) -> None:
        """Say that all is there; from here on it will be put in place."""
        files = {file.name: file for file in self.new.iterdir()}
        for name, file in files.items():
            _sync(file)
            _keep(file, destination(self.folder / name))
        told = {
            "written": [name for name in last if name in files],
            "gone": [name for name in last if name not in files],
        }
        (self._place / _LAST).write_text(json.dumps(told), "utf-8")
        _sync(self._place / _LAST)
        self.new.rename(self._place / _COMPLETE)
        _sync(self._place)

    def settle(self) -> None:
        """Put in place what is complete, and remove the rest; can be done again where it was cut short."""
        # A forked process has a copy of this, and no business with it.
        if os.getpid() != self._process:
            return
        try:
            if self._place != self.folder and self._place.is_dir():
                if (self._place / _COMPLETE).is_dir():
                    with _alone(self.folder):
                        # What is older must not come over this one later.
                        _settle_left(self.folder, 0.0)
                        _publish(self._place)
                _remove(self._place)
        except OSError:
            # The next process there settles what is left.
            self._close()
            _open.discard(self)
            raise
        self._close()
        for made in self._made:
            # Those that hold something by now stay.
            with suppress(OSError):
                made.rmdir()
        _open.discard(self)

    def _close(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def _left(folder: Path) -> list[tuple[Path, bool]]:
    """The staging folders in `folder`, and whether they are of this machine."""
    # A folder that cannot be listed, or is not there, shows none; using it will say why.
    with suppress(OSError), os.scandir(folder) as entries:
        found = [(entry.name, _NAME.fullmatch(entry.name)) for entry in entries]
        return [(folder / name, match[1] == _machine()) for name, match in found if match]
    return []


def _settle_left(folder: Path, now: float) -> None:
    """Settle what nobody owns any more.

    A lock says so for processes of this machine. Not every shared folder tells one machine of another's locks: what
    comes from others, or from before this one's last start, must also not have changed for a day before `now`.
    """
    for place, ours in _left(folder):
        # What another process settles at this moment is gone.
        with suppress(OSError, ValueError):
            if ours or _changed(place) < now - _DAY:
                _settle_unless_owned(place, ours)


def _settle_unless_owned(place: Path, ours: bool) -> None:
    facts = place.lstat()
    # Nobody else can make a folder of this user's, by which to have removed what is not his.
    if sys.platform == "win32" or not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.geteuid():
        return
    try:
        lock = os.open(place / _LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        # It ends, or has yet to begin, and then begins anew.
        place.rmdir()
        return
    try:
        if lock_file(lock):
            if _is(stat.S_ISDIR, place / _COMPLETE) and (ours or _stays_inside(place)):
                _publish(place)
            _remove(place)
    finally:
        os.close(lock)


def _stays_inside(place: Path) -> bool:
    """Whether all that `_publish` would change are plain files in the folder around, reached by no link."""
    files = list((place / _COMPLETE).iterdir())
    try:
        names = {file.name for file in files}.union(*_told(place).values())
    except ValueError:
        return False
    here = [place.parent / name for name in names if os.path.lexists(place.parent / name)]
    return all(_is(stat.S_ISREG, path) for path in (*files, *here))


def _is(kind: Callable[[int], bool], path: Path) -> bool:
    """Whether a path is of a kind itself, not by a link."""
    return os.path.lexists(path) and kind(path.lstat().st_mode)


def _told(place: Path) -> dict[str, list[str]]:
    """What ``last.json`` says.

    Raises
    ------
    ValueError
        If it is no list of names in one folder.
    """
    told = json.loads((place / _LAST).read_text("utf-8"))
    if not isinstance(told, dict) or told.keys() != {"written", "gone"}:
        raise ValueError("expected the names of files that were written and of those that are gone")
    for names in told.values():
        if not isinstance(names, list) or not all(isinstance(name, str) and _is_name(name) for name in names):
            raise ValueError("expected names of files in one folder")
    return told


def _is_name(text: str) -> bool:
    return text not in ("", ".", "..") and "\0" not in text and os.path.basename(text) == text


def _publish(place: Path) -> None:
    """Put complete files into the folder around; does the rest where it was cut short."""
    folder = place.parent
    last = _told(place)
    files = {file.name: file for file in sorted((place / _COMPLETE).iterdir())}
    for name in (*reversed(last["written"]), *last["gone"]):
        if name in files or name in last["gone"]:
            destination(folder / name).unlink(missing_ok=True)
    # By whether it is one of the last, and which one; others in the order of their names.
    for name in sorted(files, key=lambda name: last["written"].index(name) if name in last["written"] else -1):
        target = destination(folder / name)
        if target.parent == folder:
            os.replace(files[name], target)
        else:
            with replacing(target) as copy:
                shutil.copy(files[name], copy)
            files[name].unlink()
    _sync(folder)


def _remove(place: Path) -> None:
    for name in (_NEW, _COMPLETE):
        if (place / name).exists():
            shutil.rmtree(place / name)
    # What is complete needs the list, and the sign that somebody owns it, or must settle it, goes last.
    (place / _LAST).unlink(missing_ok=True)
    (place / _LOCK).unlink(missing_ok=True)
    place.rmdir()


def _keep(file: Path, target: Path) -> None:
    """Give `file` the owner and the mode of `target`, which it will replace."""
    try:
        before = target.stat()
    except FileNotFoundError:
        return
    if os.name == "posix":
        for owner, group in ((-1, before.st_gid), (before.st_uid, -1)):
            # Only the superuser may give files away.
            with suppress(OSError):
                os.chown(file, owner, group)
    file.chmod(stat.S_IMODE(before.st_mode))


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


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep others from putting files into `folder` meanwhile, so that two sets do not mix."""
    if sys.platform == "win32":
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        # Putting files in place takes no time; whoever else holds a lock on a folder is not waited for any longer.
        for _ in range(_TRIES):
            if lock_file(descriptor) is not False:
                break
            time.sleep(_PAUSE)
        yield
    finally:
        os.close(descriptor)


def lock_file(descriptor: int) -> bool | None:
    """Lock a file until it is closed; False where another one holds it, None where there are no locks."""
    if sys.platform == "win32":
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _changed(place: Path) -> float:
    """When something in a folder changed last."""
    return max(path.lstat().st_mtime for path in (place, *place.rglob("*")))


@cache
def _machine() -> str:
    """Eight digits that tell this machine, until it starts again, from others, and that others cannot guess."""
    try:
        name = Path("/proc/sys/kernel/random/boot_id").read_text("ascii")
    except OSError:
        name = f"{socket.gethostname()} {uuid.getnode()}"
    return f"{zlib.crc32(name.encode()):08x}"
