"""What an installation from this tree contains and promises."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

import mlx_iforest

ROOT = Path(__file__).parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PROJECT = PYPROJECT["project"]
RUNTIME = [Requirement(text) for text in PROJECT["dependencies"]]
EXTRAS = {name: [Requirement(text) for text in texts] for name, texts in PROJECT["optional-dependencies"].items()}

# Where the name to import is not the name to install.
IMPORT_NAMES = {
    "adbc-driver-postgresql": "adbc_driver_postgresql",
    "confluent-kafka": "confluent_kafka",
    "dask": "distributed",
    "paho-mqtt": "paho",
    "python-calamine": "python_calamine",
    "scikit-learn": "sklearn",
}


def mlx_on(system: str, machine: str) -> list[str]:
    environment = dict(default_environment(), sys_platform=system, platform_machine=machine)
    return [
        f"{r.name}{sorted(r.extras)}"
        for r in RUNTIME
        if r.name == "mlx" and r.marker and r.marker.evaluate(environment)
    ]


def third_party_imports(package: str, *, on_import: bool = False, but: str = "") -> set[str]:
    """What a package's modules import anywhere, or only as soon as they are imported themselves, `but` a room's."""
    names: set[str] = set()
    for file in (ROOT / package).rglob("*.py"):
        if file.relative_to(ROOT).parts[1] == but:
            continue
        module = ast.parse(file.read_text("utf-8"))
        for node in module.body if on_import else ast.walk(module):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names.add(node.module.partition(".")[0])
    return names - set(sys.stdlib_module_names) - {"anomaly_detection", "mlx_iforest"}


@pytest.mark.parametrize(
    ("system", "machine", "expected"),
    [
        ("darwin", "arm64", ["mlx[]"]),
        ("darwin", "x86_64", []),
        ("linux", "x86_64", ["mlx['cpu']"]),
        ("linux", "aarch64", ["mlx['cpu']"]),
        ("linux", "ppc64le", []),
        ("win32", "AMD64", []),
    ],
)
def test_each_machine_gets_its_own_mlx(system: str, machine: str, expected: list[str]) -> None:
    assert mlx_on(system, machine) == expected


def test_what_is_required_has_a_lower_bound_and_no_upper_one() -> None:
    for requirement in [*RUNTIME, *(r for rs in EXTRAS.values() for r in rs)]:
        assert [clause.operator for clause in requirement.specifier] == [">="], str(requirement)


@pytest.mark.parametrize("package", ["mlx_iforest", "anomaly_detection"])
def test_what_is_imported_is_required(package: str) -> None:
    required = {IMPORT_NAMES.get(r.name, r.name) for r in RUNTIME}
    assert third_party_imports(package, on_import=True, but="service") <= required
    # What an extra brings is imported by what needs it, which says how to get it.
    asked = [r for name in ("cluster", "excel", "onnx", "sql") for r in EXTRAS[name]]
    # The manager comes with ADBC's drivers.
    extra = {IMPORT_NAMES.get(r.name, r.name) for r in asked} | {"adbc_driver_manager"}
    assert third_party_imports(package, but="service") <= required | extra


def test_only_the_service_imports_what_it_brings() -> None:
    """Its room does so when it is imported: nobody imports it but a command, which says what is missing."""
    from anomaly_detection.cli.serve import NEEDED

    required = {IMPORT_NAMES.get(r.name, r.name) for r in RUNTIME}
    brought = {r.name for r in EXTRAS["service"]}
    assert third_party_imports("anomaly_detection/service", on_import=True) <= required | brought
    asked = {IMPORT_NAMES.get(r.name, r.name) for name in ("kafka", "mqtt", "notifications") for r in EXTRAS[name]}
    assert third_party_imports("anomaly_detection/service") <= required | brought | asked
    # uvicorn imports httptools, in the module that the service takes its connections from.
    assert third_party_imports("anomaly_detection/service") >= brought - {"httptools"}
    assert set(NEEDED) == brought


def test_what_is_required_is_imported() -> None:
    # pyarrow is used through pandas, which reads and writes Parquet with it; numpy types are everywhere.
    used = third_party_imports("mlx_iforest") | third_party_imports("anomaly_detection") | {"pyarrow"}
    assert {IMPORT_NAMES.get(r.name, r.name) for r in RUNTIME} <= used


def test_the_version_is_the_same_everywhere() -> None:
    assert PYPROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "mlx_iforest.version.__version__"}
    newest = re.search(r"^## (\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert newest is not None
    assert newest[1] == mlx_iforest.__version__


def test_the_console_command_exists() -> None:
    module, _, function = PROJECT["scripts"]["anomaly-detection"].partition(":")
    assert module == "anomaly_detection.cli"
    from anomaly_detection import cli

    assert callable(getattr(cli, function))


def test_requirements_file_installs_this_project_and_nothing_else() -> None:
    lines = (ROOT / "requirements_mlx.txt").read_text("utf-8").splitlines()
    assert [line for line in lines if line and not line.startswith("#")] == ["-e ."]


def test_every_folder_with_code_is_a_package_that_is_installed() -> None:
    patterns = PYPROJECT["tool"]["setuptools"]["packages"]["find"]["include"]
    folders = {f.parent for package in ("mlx_iforest", "anomaly_detection") for f in (ROOT / package).rglob("*.py")}
    assert {folder.name for folder in folders} >= {"mlx_iforest", "anomaly_detection"}
    for folder in folders:
        name = ".".join(folder.relative_to(ROOT).parts)
        assert any(fnmatch(name, pattern) for pattern in patterns)
        assert (folder / "__init__.py").is_file()


def test_every_file_that_is_not_code_is_package_data() -> None:
    data = PYPROJECT["tool"]["setuptools"]["package-data"]
    for package in ("mlx_iforest", "anomaly_detection"):
        folder = ROOT / package
        covered = {file for pattern in data[package] for file in folder.glob(pattern)}
        others = {f for f in folder.rglob("*") if f.is_file() and f.suffix != ".py" and "__pycache__" not in f.parts}
        assert others <= covered
        assert folder / "py.typed" in covered


def test_the_licence_is_the_whole_apache_text() -> None:
    text = (ROOT / "LICENSE").read_text("utf-8")
    assert PROJECT["license"] == "Apache-2.0"
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_says_which_python_it_needs(tmp_path: Path) -> None:
    old = tmp_path / "python3.9"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.9.0\nexit 1\n')
    old.chmod(0o755)
    done = subprocess.run(
        ["make", "train", f"PYTHON={old}", f"VENV={tmp_path / 'venv'}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "Python 3.10 or newer is needed" in done.stderr
    assert "Python 3.9.0" in done.stderr
    assert not (tmp_path / "venv").exists()
