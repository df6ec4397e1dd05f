"""Writing files: whole or not at all, whatever ends the process, and as links, mode and owner of the old ones say."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from anomaly_detection.data.files import prepare_file
from anomaly_detection.errors import DataError
from mlx_iforest import files
from mlx_iforest.files import replacing, replacing_all, settle_left, settle_open

OLD = {"a": "old", "b": "old", "picture": "old", "report": "old"}
NEW = {"a": "new", "b": "new", "report": "new"}


def steps(tmp_path: Path, how: str) -> list[dict[str, dict[str, str]]]:
    command = [sys.executable, str(Path(__file__).with_name("killed.py")), str(tmp_path), how]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("how", ["kill", "interrupt"])
def test_a_set_that_is_cut_short_anywhere_is_the_old_one_or_the_new(how: str, tmp_path: Path) -> None:
    told = steps(tmp_path, how)
    assert len(told) > 30
    for step in told:
        assert step["settled"] in (OLD, NEW)
        assert sorted(step["left"]) == sorted(step["settled"])
        # Before anybody settles it, a report is that of the files beside it.
        at_once = step["at_once"]
        if "report" in at_once:
            assert at_once in (OLD, NEW)
        if how == "interrupt":
            assert at_once in (OLD, NEW)
    assert told[0]["settled"] == OLD
    assert told[-1]["settled"] == NEW
    if how == "kill":
        assert any("report" not in step["at_once"] for step in told)


def leftover(folder: Path, machine: str | None = None) -> Path:
    """What a process that was killed in mid-write leaves."""
    place = folder / f".mlx-iforest-{machine or files._machine()}-{'0' * 16}"
    (place / "new").mkdir(parents=True)
    (place / "new" / "a").write_text("half of i")
    (place / "lock").touch()
    return place


def test_what_a_killed_process_left_goes_with_the_next_write(tmp_path: Path) -> None:
    left = leftover(tmp_path)
    alike = [tmp_path / name for name in (".mlx-iforest-notes", ".mlx-iforest-0-0", f"{left.name}.txt", left.name[1:])]
    for name in alike:
        name.mkdir()
    with replacing(tmp_path / "other") as new:
        new.write_text("x")
        assert not left.exists()
    assert sorted(tmp_path.iterdir()) == sorted([*alike, tmp_path / "other"])


def test_what_is_owned_stays(tmp_path: Path) -> None:
    left = leftover(tmp_path)
    with (left / "lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        settle_left(tmp_path)
        with replacing(tmp_path / "other") as new:
            new.write_text("x")
        assert (left / "new" / "a").exists()
    settle_left(tmp_path)
    assert not left.exists()


def test_what_another_machine_left_must_be_a_day_old(tmp_path: Path) -> None:
    left = leftover(tmp_path, "0" * 8)
    for days, there in ((0, True), (2, False)):
        then = left.stat().st_mtime - days * 86_400
        for path in (left, *left.rglob("*")):
            os.utime(path, (then, then))
        with replacing(tmp_path / "other") as new:
            new.write_text("x")
        assert left.exists() == there


def test_a_folder_of_another_user_or_a_link_is_not_gone_into(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "lock").touch()
    (mine / "precious").write_text("x")
    link = tmp_path / f".mlx-iforest-{files._machine()}-{'1' * 16}"
    link.symlink_to(mine)
    settle_left(tmp_path)
    assert (mine / "precious").exists()
    if os.geteuid() == 0:
        left = leftover(tmp_path)
        os.chown(left, 65534, 65534)
        settle_left(tmp_path)
        assert left.exists()


def forged(folder: Path, told: object) -> Path:
    """A complete set as an archive could bring it: of another machine, years old."""
    place = folder / f".mlx-iforest-00000000-{'1' * 16}"
    (place / "complete").mkdir(parents=True)
    (place / "lock").touch()
    (place / "complete" / "notes").write_text("of the archive")
    (place / "last.json").write_text(json.dumps(told))
    return place


def settled(folder: Path, place: Path) -> list[str]:
    """The names in a folder after something else has been written there, years after what lies in `place`."""
    for path in (*place.rglob("*"), place):
        os.utime(path, (1e9, 1e9), follow_symlinks=False)
    with replacing(folder / "other") as new:
        new.write_text("x")
    return sorted(path.name for path in folder.iterdir())


def test_a_set_of_another_machine_is_put_into_its_folder(tmp_path: Path) -> None:
    place = forged(tmp_path, {"written": ["notes"], "gone": ["old"]})
    (tmp_path / "old").write_text("of an earlier set")
    assert settled(tmp_path, place) == ["notes", "other"]


@pytest.mark.parametrize(
    "told",
    [
        {"written": [], "gone": ["PRECIOUS"]},
        {"written": [], "gone": ["../home/precious"]},
        {"written": ["../home/precious"], "gone": []},
        {"written": [], "gone": [".."]},
        {"written": []},
        ["notes"],
        {"written": [], "gone": [1]},
    ],
)
def test_a_forged_set_changes_nothing_outside_its_folder(told: object, tmp_path: Path) -> None:
    home, package = tmp_path / "home", tmp_path / "package"
    home.mkdir()
    precious = home / "precious"
    precious.write_text("mine")
    place = forged(package, json.loads(json.dumps(told).replace("PRECIOUS", str(precious))))
    assert settled(package, place) == ["other"]
    assert precious.read_text() == "mine"


@pytest.mark.parametrize("link", ["target", "complete", "file", "gone"])
def test_a_forged_set_follows_no_link(link: str, tmp_path: Path) -> None:
    home, package = tmp_path / "home", tmp_path / "package"
    home.mkdir()
    precious = home / "notes"
    precious.write_text("mine")
    place = forged(package, {"written": [], "gone": ["gone"] if link == "gone" else []})
    if link == "complete":
        shutil.rmtree(place / "complete")
        (place / "complete").symlink_to(home)
    elif link == "file":
        (place / "complete" / "notes").unlink()
        (place / "complete" / "notes").symlink_to(precious)
    else:
        (package / ("notes" if link == "target" else "gone")).symlink_to(precious)
    settled(package, place)
    assert precious.read_text() == "mine"
    assert not (package / "notes").exists() or (package / "notes").is_symlink()


def test_one_that_began_but_did_not_lock_yet_begins_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = os.open

    def late(path: str, flags: int, mode: int = 0o777) -> int:
        # Another process comes just between.
        if flags & os.O_CREAT and str(path).endswith("/lock"):
            monkeypatch.setattr(os, "open", opened)
            settle_left(tmp_path)
        return opened(path, flags, mode)

    monkeypatch.setattr(os, "open", late)
    with replacing(tmp_path / "a") as new:
        new.write_text("x")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_two_that_write_the_same_file_at_once(tmp_path: Path) -> None:
    with replacing(tmp_path / "a") as one:
        one.write_text("one")
        with replacing(tmp_path / "a") as other:
            other.write_text("other")
        assert (tmp_path / "a").read_text() == "other"
    assert (tmp_path / "a").read_text() == "one"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_the_end_of_a_process_ends_what_is_open(tmp_path: Path) -> None:
    block = replacing(tmp_path / "new" / "a")
    block.__enter__().write_text("half of i")
    settle_open()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OSError, match="No such file"):
        block.__exit__(None, None, None)


def test_a_forked_process_leaves_what_is_not_its_own(tmp_path: Path) -> None:
    script = """
import os, sys
sys.argv = ["", "", ""]
sys.path.insert(0, {tests!r})
from killed import files
with files.replacing({path!r}) as new:
    new.write_text("x")
    if (child := os.fork()) == 0:
        files.settle_open()
        os._exit(0)
    os.waitpid(child, 0)
    assert new.exists()
"""
    script = script.format(tests=str(Path(__file__).parent), path=str(tmp_path / "a"))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "a").read_text() == "x"


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o755])
def test_a_file_that_is_replaced_hands_on_its_mode_and_owner(mode: int, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("old")
    path.chmod(mode)
    if os.geteuid() == 0:
        os.chown(path, 65534, 65533)
    before = path.stat()
    with replacing(path) as new:
        new.write_text("new")
        # Nobody else reads it meanwhile, whatever the mode of the file.
        assert stat.S_IMODE(new.parent.parent.stat().st_mode) == 0o700
    after = path.stat()
    assert path.read_text() == "new"
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_a_new_file_goes_by_the_umask(mask: int, tmp_path: Path) -> None:
    before = os.umask(mask)
    try:
        with replacing(tmp_path / "a") as new:
            new.write_text("x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o666 & ~mask


def test_a_link_stays_and_leads_to_the_new_file(tmp_path: Path) -> None:
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    target, link, chain = tmp_path / "there" / "target", tmp_path / "here" / "link", tmp_path / "here" / "chain"
    link.symlink_to("../there/target")
    chain.symlink_to("link")
    for text in ("made", "replaced"):
        with replacing(chain) as new:
            new.write_text(text)
            assert new.parent.parent.parent == target.parent
        assert target.read_text() == text
    target.chmod(0o600)
    with replacing_all(link.parent, ["other", "link"]) as folder:
        (folder / "link").write_text("as one of many")
        (folder / "other").write_text("x")
    assert target.read_text() == "as one of many"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert link.is_symlink()
    assert chain.is_symlink()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["chain", "here", "link", "other", "target", "there"]


def test_what_is_no_file_is_neither_replaced_nor_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "null").symlink_to("/dev/null")
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    before = sorted(tmp_path.iterdir())
    for name in ("pipe", "null", "folder", "loop", "x" * 300, "loop/x", "new/" + "x" * 300):
        with pytest.raises(DataError, match=r"^Cannot write [^\n]*$"):
            prepare_file(tmp_path / name)
        with pytest.raises(OSError), replacing(tmp_path / name) as new:  # noqa: PT011 - each has its own
            new.write_text("x")
        assert sorted(tmp_path.iterdir()) == before
    with pytest.raises(OSError, match="it is a folder"), replacing_all(tmp_path) as folder:  # noqa: PT012
        (folder / "a").write_text("x")
        (folder / "folder").write_text("x")
    assert sorted(tmp_path.iterdir()) == before


def test_a_name_may_be_as_long_as_the_system_allows(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 251 + ".csv")
    prepare_file(path)
    with replacing(path) as new:
        new.write_text("x")
    assert list(tmp_path.iterdir()) == [path]
