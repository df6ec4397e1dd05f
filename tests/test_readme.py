"""Every command in the README works, every file it lists exists, and the examples run."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

# A full training takes longer than a test may; here the same way with less of everything.
SHORTENED = {
    "python train_model_mlx.py": "--samples 800 --time-budget 1",
    "python -m mlx_iforest.selftest": "--quick",
    "anomaly-detection generate --profile realistic --samples 2000 shipments.csv": "--samples 400",
    "anomaly-detection train --data shipments.csv --output models": "--time-budget 1",
    "anomaly-detection generate --profile realistic --samples 2000 --labels known.csv": "--samples 700",
    **{
        f"anomaly-detection train --data known.csv --label label {way}": "--time-budget 0"
        for way in (
            "--timestamp order_date --alerts-per-day 0.2 --output by_day",
            "--false-alarm-cost 1 --miss-cost 20 --output by_cost",
            "--false-discovery-rate 0.2 --output by_rate",
            "--quantize --output small",
            "--prune 0.01 --quantize --output smaller",
        )
    },
}


def blocks(language: str) -> list[str]:
    return [body for kind, body in BLOCK.findall(README) if kind == language]


def commands() -> list[str]:
    """The lines of the README's shell blocks, without comments."""
    lines = [line.partition(" #")[0].strip() for block in blocks("sh") for line in block.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's files in a folder where commands may leave what they like."""
    folder = tmp_path_factory.mktemp("clone")
    for name in ("mlx_iforest", "anomaly_detection", "examples", "benchmarks"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("*.pyc*", "*.bin.*"))
    for name in ("train_model_mlx.py", "pyproject.toml", "requirements_mlx.txt", "Makefile", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    return folder


def run(arguments: list[str], folder: Path) -> str:
    environment = dict(os.environ, PYTHONPATH=str(folder), PYTHONWARNINGS="error", MPLBACKEND="Agg")
    done = subprocess.run(arguments, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{shlex.join(arguments)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_shell_commands(clone: Path) -> None:
    """In the README's order, since one command reads what an earlier one wrote."""
    python = [sys.executable]
    ran = set()
    for line in commands():
        words = shlex.split(line)
        less = SHORTENED.get(line, "").split()
        ran.add(words[0])
        if words[0] == "make":
            if shutil.which("make"):
                run(["make", "-n", *words[1:]], clone)
        elif words[:3] == ["pip", "install", "-r"]:
            assert (clone / words[3]).is_file()
        elif words[:2] == ["pip", "install"]:
            extra = re.search(r"\[(\w+)\]", words[-1])
            assert extra is not None
            assert re.search(rf"^{extra[1]} = \[", (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE)
        elif words[0] == "python":
            run(python + words[1:] + less, clone)
        elif words[0] == "anomaly-detection":
            run([*python, "-m", "anomaly_detection", *words[1:], *less], clone)
        else:
            pytest.fail(f"the README has a command that no test knows how to run: {line}")
    assert {"make", "pip", "python", "anomaly-detection"} <= ran
    assert set(SHORTENED) <= set(commands())


@pytest.mark.parametrize("number", range(len(blocks("python"))))
def test_the_python_blocks(number: int, clone: Path) -> None:
    run([sys.executable, "-c", blocks("python")[number]], clone)


@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.name)
def test_the_examples(example: Path, clone: Path) -> None:
    assert run([sys.executable, f"examples/{example.name}"], clone).strip()


def test_the_links_and_pictures_exist() -> None:
    targets = re.findall(r"\]\((?!https?://|#)([^)#]+)", README)
    assert targets
    for target in targets:
        assert (ROOT / target).exists(), target


def test_every_module_is_listed_in_one_sentence() -> None:
    listed = set(re.findall(r"^\| `([\w/]+\.py)` \|", README, re.MULTILINE))
    modules = {
        str(file.relative_to(ROOT))
        for package in ("mlx_iforest", "anomaly_detection")
        for file in (ROOT / package).rglob("*.py")
        if file.name != "__init__.py"
    }
    assert modules - listed == set()
    for path in listed:
        assert (ROOT / path).exists(), path
