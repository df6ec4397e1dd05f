"""What every benchmark here shares: fair timing, the machine's description, and one page of results.

A benchmark is a script that times named tasks with `interleaved` and hands a `Result` to `save`, which writes
`results/<name>.json` and builds `RESULTS.md` anew from all the files in `results`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray

__all__ = [
    "FOLDER",
    "Result",
    "Table",
    "Timing",
    "in_a_child",
    "interleaved",
    "machine",
    "options",
    "save",
    "table_of_numbers",
    "versions",
]

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Timing:
    """Wall-clock seconds of one task.

    `first` is the warm-up run, which pays for compilation and caches; `seconds` are the runs that count.
    """

    first: float
    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    def spread(self) -> float:
        """(slowest - fastest) / median: near 0 on a calm machine."""
        return (max(self.seconds) - min(self.seconds)) / self.median


@dataclass(frozen=True)
class Table:
    """Rows of text under headings, printed as they are; `note` stands below."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""

    def markdown(self) -> str:
        lines = [f"### {self.title}", "", "| " + " | ".join(self.columns) + " |"]
        lines.append("|---|" + "---:|" * (len(self.columns) - 1))
        lines += ["| " + " | ".join(row) + " |" for row in self.rows]
        if self.note:
            lines += ["", self.note]
        return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Result:
    """One benchmark's outcome: tables for people, `measurements` (plain JSON values) for everything else.

    `pictures` are paths from the page's folder, each with what is to be seen there.
    """

    title: str
    about: str
    command: str
    tables: Sequence[Table]
    measurements: object
    machine: Mapping[str, object] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    pictures: Mapping[str, str] = field(default_factory=dict)

    def markdown(self) -> str:
        facts = ", ".join(f"{name} {value}" for name, value in self.versions.items())
        about_machine = "; ".join(f"{name} {value}" for name, value in self.machine.items())
        head = f"## {self.title}\n\n{self.about}\n\n`{self.command}`: {about_machine}. {facts}.\n"
        pictures = [f"![{shown}]({path})\n" for path, shown in self.pictures.items()]
        return "\n".join([head, *pictures, *(table.markdown() for table in self.tables)])


def interleaved(
    tasks: Mapping[str, Callable[[], object]],
    *,
    repeats: int = 5,
    seed: int = 0,
    shortest: float = 0.0,
    clock: Callable[[], float] | None = None,
) -> dict[str, Timing]:
    """Time each task `repeats` times after one warm-up, all of them once a round.

    Rounds, not one task after the other, let every task meet the same state of the machine; each round has an order of
    its own, so that no task always runs in the shadow of the same neighbour. A run calls its task until `shortest`
    seconds are over, and counts the mean of a call.
    """
    if repeats < 1:
        raise ValueError(f"repeats must be at least 1, got {repeats}")
    now = clock or time.perf_counter

    def run(task: Callable[[], object], least: float) -> float:
        start = now()
        calls, elapsed = 0, 0.0
        while not calls or elapsed < least:
            task()
            calls, elapsed = calls + 1, now() - start
        return elapsed / calls

    first = {name: run(task, 0.0) for name, task in tasks.items()}
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    order = list(tasks)
    shuffle = random.Random(seed).shuffle
    for _ in range(repeats):
        shuffle(order)
        for name in order:
            seconds[name].append(run(tasks[name], shortest))
    return {name: Timing(first[name], tuple(seconds[name])) for name in tasks}


def options(name: str, about: str | None) -> argparse.ArgumentParser:
    """A parser with what every script takes; `about` is the script's docstring."""
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{name}", description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="tiny tables: whether it runs, not how fast")
    parser.add_argument("--repeats", type=int, default=5, help="runs that count, after a warm-up (%(default)s)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="threads for everyone (%(default)s)")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="contestants, by parts of their names")
    parser.add_argument("--output", type=Path, default=FOLDER, help="folder for RESULTS.md and results/ (%(default)s)")
    return parser


def table_of_numbers(rows: int, features: int, *, seed: int = 0) -> NDArray[np.float32]:
    """Correlated normal columns, each row stretched by a factor of its own, every hundredth five times as far out.

    Float32 in C order, which every library takes. Some rows are farther out than others in all columns, so that
    isolation forests agree on their order however many columns there are.
    """
    rng = np.random.default_rng(seed)
    mixing = np.eye(features) + 0.3 * rng.normal(size=(features, features))
    X = rng.normal(size=(rows, features)) @ mixing
    X *= np.exp(0.3 * rng.normal(size=(rows, 1)))
    X[::100] *= 5
    return np.ascontiguousarray(X, dtype=np.float32)


def machine() -> dict[str, object]:
    """Where and when, and how busy the machine was before the benchmark began."""
    return {
        "date": date.today().isoformat(),
        "CPU": _cpu_name(),
        "cores": os.cpu_count(),
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.machine()}",
        "load before": f"{psutil.getloadavg()[0]:.2f}",
    }


def _cpu_name() -> str:
    try:
        info = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in info.splitlines() if line.startswith("model name")]
    return names[0] if names else platform.machine()


def versions(packages: Iterable[str]) -> dict[str, str]:
    """The installed version of each distribution, or "not installed"."""
    found = {"Python": platform.python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def in_a_child(module: str, *arguments: object) -> dict[str, float]:
    """What ``python -m benchmarks.MODULE --child ARGUMENTS`` measures in a process of its own: its last line."""
    command = [sys.executable, "-m", f"benchmarks.{module}", "--child", *map(str, arguments)]
    done = subprocess.run(command, cwd=FOLDER.parent, capture_output=True, text=True, check=True)
    measured: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return measured


def save(name: str, result: Result, folder: Path = FOLDER) -> Path:
    """Write `results/<name>.json` under `folder` and `RESULTS.md` from all that are there; return the page's path."""
    results = folder / "results"
    results.mkdir(parents=True, exist_ok=True)
    (results / f"{name}.json").write_text(json.dumps(asdict(result), indent=1) + "\n", "utf-8")
    page = folder / "RESULTS.md"
    sections = [_load(file).markdown() for file in sorted(results.glob("*.json"))]
    page.write_text("# Results\n\nWritten by the benchmarks; do not edit.\n\n" + "\n".join(sections), "utf-8")
    return page


def _load(file: Path) -> Result:
    data = json.loads(file.read_text("utf-8"))
    return Result(**{**data, "tables": [Table(**table) for table in data["tables"]]})
