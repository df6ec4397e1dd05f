"""Compiled code goes when a source has changed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mlx_iforest.compiled_code import drop_stale


@pytest.fixture
def package(tmp_path: Path) -> Path:
    for folder in (tmp_path, tmp_path / "part"):
        (folder / "__pycache__").mkdir(parents=True)
        (folder / "source.py").write_text("A = 1")
    drop_stale(tmp_path)
    for folder in (tmp_path, tmp_path / "part"):
        for name in ("kernel.nbi", "kernel.1.nbc", "source.cpython-311.pyc"):
            (folder / "__pycache__" / name).write_text("compiled")
    return tmp_path


def indices(package: Path) -> int:
    return len(list(package.rglob("*.nbi")))


def test_code_of_the_same_sources_stays(package):
    drop_stale(package)
    assert indices(package) == 2


@pytest.mark.parametrize("how", ["another text", "another date", "a new file", "one file less"])
def test_code_goes_when_any_source_has_changed(package, how):
    source = package / "source.py"
    if how == "another text":
        source.write_text("A = 22")
    elif how == "another date":
        os.utime(source, (0, 0))
    elif how == "a new file":
        (package / "part" / "new.py").write_text("")
    else:
        source.unlink()
    drop_stale(package)
    assert indices(package) == 0
    assert len(list(package.rglob("*.pyc"))) == 2
    (package / "__pycache__" / "kernel.nbi").write_text("compiled")
    drop_stale(package)
    assert indices(package) == 1


def test_a_folder_that_cannot_be_written_is_no_error(package, monkeypatch):
    (package / "new.py").write_text("")

    def refuse(*_: object) -> None:
        raise PermissionError("read-only")

    monkeypatch.setattr(Path, "unlink", refuse)
    drop_stale(package)
    assert indices(package) == 2
