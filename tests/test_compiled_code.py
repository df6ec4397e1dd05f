"""Compiled code is that of the sources as they are, wherever it is kept; importing touches nothing."""

from __future__ import annotations

import ast
import atexit
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from ready_numba import ReadyNumba

import mlx_iforest
from mlx_iforest import compiled_code

PACKAGE = Path(mlx_iforest.__file__).parent

ADD = """
from mlx_iforest.caller import add
print(add({value}), *add.stats.cache_hits.values())
"""
ADD_1 = ADD.format(value=1)
"""Prints what the function computes; behind it, if the code was not compiled now, a 1."""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package as small as can be: a function, and in another file a constant that is compiled into it."""
    package = tmp_path / "site" / "mlx_iforest"
    package.mkdir(parents=True)
    shutil.copy(compiled_code.__file__, package)
    (package / "__init__.py").write_text("from mlx_iforest import compiled_code\n")
    (package / "helper.py").write_text("STEP = 1\n")
    (package / "caller.py").write_text(
        "from mlx_iforest.compiled_code import compiled\n"
        "from mlx_iforest.helper import STEP\n"
        "@compiled()\n"
        "def add(x):\n"
        "    return x + STEP\n"
    )
    return package


@pytest.fixture(params=["named", "beside the sources", "the user's"])
def place(request: pytest.FixtureRequest, package: Path, tmp_path: Path) -> dict[str, str]:
    """The environment that leaves one place for compiled code."""
    if request.param == "named":
        return {"NUMBA_CACHE_DIR": str(tmp_path / "named")}
    if request.param == "beside the sources":
        return {"HOME": os.devnull}
    (package / "__pycache__").write_text("in the way")
    return {"HOME": str(tmp_path / "home")}


def environment(package: Path, place: Mapping[str, str]) -> dict[str, str]:
    ours = ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME")
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    return {**kept, "PYTHONPATH": str(package.parent), "PYTHONDONTWRITEBYTECODE": "1", "HOME": os.devnull, **place}


@cache
def _ready() -> ReadyNumba:
    made = ReadyNumba()
    atexit.register(made.close)
    return made


def run(package: Path, place: Mapping[str, str], code: str = ADD_1, become: Sequence[str] = ()) -> list[str]:
    """What a fresh process prints, in words."""
    variables, command = environment(package, place), [*become, sys.executable, "-W", "error", "-c", code]
    if become:
        done = subprocess.run(command, env=variables, cwd=package.parent, capture_output=True, text=True, check=False)
        status, out, err = done.returncode, done.stdout, done.stderr
    else:
        status, out, err = _ready().run(code, variables, package.parent)
    assert status == 0, err
    return out.split()


def files(folder: Path) -> dict[str, int]:
    """All files and folders below a folder, with the times at which they were written."""
    return {str(file): file.lstat().st_mtime_ns for file in folder.rglob("*")}


def kept(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.bin"))


def test_code_follows_a_constant_of_another_file_in_every_place(package: Path, place: dict[str, str]) -> None:
    assert run(package, place) == ["2"]
    (package / "helper.py").write_text("STEP = 5\n")
    assert run(package, place) == ["6"]
    (package / "helper.py").write_text("STEP = 1\n")
    assert run(package, place) == ["2", "1"], "code is kept, and that of other sources stays beside it"


def test_code_of_another_package_follows_the_files_of_its_folder_and_the_engine(package: Path, tmp_path: Path) -> None:
    other = package.parent / "other" / "room"
    other.mkdir(parents=True)
    (other / "helper.py").write_text("STEP = 1\n")
    (other / "caller.py").write_text(
        (package / "caller.py").read_text().replace("mlx_iforest.helper", "other.room.helper")
    )
    place = {"NUMBA_CACHE_DIR": str(tmp_path / "named")}
    code = (
        "from mlx_iforest.compiled_code import is_compiled\nfrom other.room.caller import add\nprint(is_compiled(add))"
    )
    code += ADD_1.replace("mlx_iforest.caller", "other.room.caller")
    assert run(package, place, code) == ["False", "2"]
    assert run(package, place, code) == ["True", "2", "1"]
    (other / "helper.py").write_text("STEP = 5\n")
    assert run(package, place, code) == ["False", "6"]
    (package / "helper.py").write_text("STEP = 7\n")
    assert run(package, place, code) == ["False", "6"], "compiled anew, for the engine is another"


def test_importing_writes_and_deletes_nothing(tmp_path: Path) -> None:
    package = tmp_path / "site" / "mlx_iforest"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "other.nbi").write_text("not ours to judge")
    (tmp_path / "home").mkdir()
    before = files(tmp_path)
    modules = ["mlx_iforest", "mlx_iforest.backends.numba.backend", "mlx_iforest.explain.kernels"]
    assert run(package, {"HOME": str(tmp_path / "home")}, f"import {', '.join(modules)}") == []
    assert files(tmp_path) == before


def test_works_where_nothing_can_be_written_and_says_so_in_the_log(package: Path, tmp_path: Path) -> None:
    (package / "__pycache__").write_text("in the way")
    before = files(tmp_path)
    log = "import logging, sys; logging.basicConfig(level='INFO', stream=sys.stdout, format='%(name)s')\n"
    assert run(package, {"HOME": os.devnull}) == ["2"]
    assert run(package, {"NUMBA_CACHE_DIR": os.devnull}, log + ADD_1) == [
        "mlx_iforest.compiled_code",
        "2",
    ]
    assert files(tmp_path) == before


def test_no_folder_is_made_of_a_home_that_is_not_known(package: Path) -> None:
    (package / "__pycache__").write_text("in the way")
    nobody = "import os, pwd\ndel os.environ['HOME']\ndef unknown(number): raise KeyError\npwd.getpwuid = unknown\n"
    before = files(package.parent)
    assert run(package, {}, nobody + ADD_1) == ["2"]
    assert files(package.parent) == before


@pytest.fixture
def reader() -> list[str]:
    """What begins a command of another user, who may read everything and write nothing."""
    capability = "+dac_read_search"  # Python itself may lie in a home that only its owner can enter
    words = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    words += [f"--inh-caps={capability}", f"--ambient-caps={capability}"]
    if not shutil.which("setpriv") or subprocess.run([*words, "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs root's right to become another user, and setpriv")
    return words


def test_another_user_reads_code_and_needs_no_folder_to_write(package: Path, tmp_path: Path, reader: list[str]) -> None:
    home = {"HOME": "/nonexistent"}
    before = files(tmp_path)
    assert run(package, home, become=reader) == ["2"]
    assert files(tmp_path) == before
    assert run(package, home) == ["2"]
    assert run(package, home, become=reader) == ["2", "1"], "what root compiled"


def test_a_damaged_file_is_compiled_again(package: Path, tmp_path: Path) -> None:
    run(package, {})
    (file,) = kept(tmp_path)
    content = file.read_bytes()
    assert compiled_code._read(file) is not None
    for damaged in (b"", b"\0" * 100, content[:-1] + b"?", content[: len(content) // 2]):
        file.write_bytes(damaged)
        assert compiled_code._read(file) is None
    assert run(package, {}) == ["2"]
    assert compiled_code._read(file) is not None


def test_first_runs_side_by_side(package: Path, tmp_path: Path) -> None:
    """For two types at once: neither is handed the other's code."""
    place = environment(package, {"NUMBA_CACHE_DIR": str(tmp_path / "named")})
    values = ["1", "1.5", "1"]
    commands = [[sys.executable, "-c", ADD.format(value=value)] for value in values]
    running = [
        subprocess.Popen(command, env=place, cwd=tmp_path, stdout=subprocess.PIPE, text=True) for command in commands
    ]
    firsts = [process.communicate()[0].split()[0] for process in running]
    assert firsts == ["2", "2.5", "2"]
    both = "from mlx_iforest.caller import add\nprint(add(1), add(1.5), *add.stats.cache_hits.values())"
    assert run(package, place, both) == ["2", "2.5", "1", "1"]
    assert len(kept(tmp_path)) == len(list((tmp_path / "named").rglob("*.*"))) == 2


def test_code_of_sources_that_were_replaced_since_the_import_is_not_kept(package: Path, tmp_path: Path) -> None:
    """It may be made of both."""
    replaced = f"import mlx_iforest; open({str(package / 'helper.py')!r}, 'w').write('STEP = 5')"
    assert run(package, {}, replaced + ADD_1) == ["6"]
    assert kept(tmp_path) == []


def test_sources_that_cannot_be_read_keep_nothing(package: Path, tmp_path: Path) -> None:
    archive = shutil.make_archive(str(tmp_path / "archive"), "zip", package.parent)
    shutil.rmtree(package.parent)
    code = f"import sys; sys.path.insert(0, {archive!r})" + ADD_1
    package.parent.mkdir()
    assert run(package, {"NUMBA_CACHE_DIR": str(tmp_path / "named")}, code) == ["2"]
    assert kept(tmp_path) == []


def test_compiling_again_forgets_what_was_kept(package: Path, tmp_path: Path) -> None:
    code = "from mlx_iforest.caller import add; add(1); add._cache.flush()"
    run(package, {}, code)
    assert kept(tmp_path) == []


def test_only_the_newest_folders_stay(tmp_path: Path) -> None:
    place = tmp_path / "place"
    for number in range(compiled_code.KEPT + 3):
        compiled_code._write(place / f"{number}" / "add.bin", b"code")
        os.utime(place / f"{number}", (number, number))
    left = {int(folder.name) for folder in place.iterdir()}
    assert left == set(range(3, compiled_code.KEPT + 3))


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "folder" / "add.bin"
    compiled_code._write(file, b"code")

    def full(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(compiled_code.os, "replace", full)
    with pytest.raises(OSError, match="no space"):
        compiled_code._write(file, b"other")
    assert compiled_code._read(file) == b"code"
    assert list(file.parent.iterdir()) == [file]


def test_the_digest_is_that_of_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "part").mkdir()
    source = tmp_path / "part" / "source.py"
    source.write_text("A = 1")
    seen = {compiled_code.digest_of(tmp_path)}
    os.utime(source, (0, 0))
    seen.add(compiled_code.digest_of(tmp_path))
    assert len(seen) == 1, "dates do not count"
    source.write_text("A = 2")
    seen.add(compiled_code.digest_of(tmp_path))
    source.rename(tmp_path / "source.py")
    seen.add(compiled_code.digest_of(tmp_path))
    (tmp_path / "new.py").write_text("")
    seen.add(compiled_code.digest_of(tmp_path))
    assert len(seen) == 4
    assert compiled_code.digest_of(tmp_path / "part") is None


def test_no_kernel_goes_by_numbas_own_cache() -> None:
    for source in PACKAGE.rglob("*.py"):
        if source.name != "compiled_code.py":
            for node in ast.walk(ast.parse(source.read_text("utf-8"))):
                if isinstance(node, ast.ImportFrom) and node.module == "numba":
                    assert {alias.name for alias in node.names}.isdisjoint({"njit", "jit", "vectorize", "guvectorize"})


def test_all_that_the_engine_compiles_can_be_kept() -> None:
    from numba.core.dispatcher import Dispatcher

    for n_features in (3, 64):
        X = np.random.default_rng(0).normal(size=(300, n_features)).astype(np.float32)
        model = mlx_iforest.MLXIsolationForest(n_estimators=5, backend="numba", random_state=0).fit(X)
        model.score_samples(X)
        model.score_samples(X[:1])
        model.explain(X[:9])
    modules = [module for name, module in sys.modules.items() if name.startswith("mlx_iforest.")]
    kernels = {kernel for module in modules for kernel in vars(module).values() if isinstance(kernel, Dispatcher)}
    results = [result for kernel in kernels for result in kernel.overloads.values()]
    assert len(results) >= 10
    assert all(isinstance(kernel._cache, compiled_code.CompiledCode) for kernel in kernels)
    assert not any(result.library.has_dynamic_globals for result in results)


def test_a_service_compiles_at_the_first_use(monkeypatch: pytest.MonkeyPatch) -> None:
    def add(x: int) -> int:
        return x + 1

    function = compiled_code.compiled()(add)
    monkeypatch.setattr(compiled_code.CompiledCode, "at_once", False)
    assert not compiled_code.is_compiled(function)
    compiled_code.compile_at_once()
    assert compiled_code.is_compiled(function)
