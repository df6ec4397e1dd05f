"""How long until it is ready? Imports, and the first calls with and without Numba's cache of compiled code.

Everything runs in processes of its own: a first time happens once.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from benchmarks.harness import FOLDER, Result, Table, interleaved, machine, options, save, versions

IMPORTS = {
    "nothing": "",
    "numpy": "import numpy",
    "sklearn.ensemble": "import sklearn.ensemble",
    "isotree": "import isotree",
    "coniferest": "import coniferest.isoforest",
    "mlx_iforest": "import mlx_iforest",
}
YARDSTICK, OURS = "sklearn.ensemble", "mlx_iforest"
GOAL = 1.5
"""Times the yardstick's import that ours may take at most."""

STEPS = {
    "import mlx_iforest": "import mlx_iforest",
    "fit 1,000 x 8": "model = mlx_iforest.{model}(random_state=0).fit(X)",
    "score one row": "model.score_samples(X[:1])",
    "score 1,000 rows": "model.score_samples(X)",
    "score one row again": "model.score_samples(X[:1])",
    "score 1,000 rows again": "model.score_samples(X)",
}
"""What a fresh process does, in this order."""

MODELS = {"MLXIsolationForest": "", "BlendedIsolationForest": ", blended"}


def run(code: str, cache: Path | None = None) -> str:
    """What a process prints; with its compiled code kept in `cache`."""
    environment = dict(os.environ, PYTHONPATH=str(FOLDER.parent))
    # Who installs has modules as bytecode; else each process would compile all that it imports.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    if cache is not None:
        environment["NUMBA_CACHE_DIR"] = str(cache)
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return done.stdout


def first_calls(model: str, cache: Path) -> dict[str, float]:
    """Milliseconds of each of `STEPS` in a fresh process."""
    make = "X = numpy.random.default_rng(0).normal(size=(1000, 8)).astype('f')"
    lines = ["import json, time, numpy", make, "took = {}"]
    for name, step in STEPS.items():
        lines += ["began = time.perf_counter()", step.format(model=model)]
        lines.append(f"took[{name!r}] = 1000 * (time.perf_counter() - began)")
    measured: dict[str, float] = json.loads(run("\n".join([*lines, "print(json.dumps(took))"]), cache))
    return measured


def medians(runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Of each step over several processes."""
    return {name: statistics.median(took[name] for took in runs) for name in runs[0]}


def imports(repeats: int, only: Sequence[str]) -> dict[str, float]:
    """Median milliseconds of a process that imports something, less those of one that imports nothing."""
    wanted = [name for name in IMPORTS if name in ("nothing", YARDSTICK) or not only or any(o in name for o in only)]
    installed = {name: IMPORTS[name] for name in wanted if _works(IMPORTS[name])}
    timings = interleaved({name: partial(run, code) for name, code in installed.items()}, repeats=repeats)
    empty = timings.pop("nothing").median
    return {name: 1000 * (timing.median - empty) for name, timing in timings.items()}


def _works(code: str) -> bool:
    try:
        run(code)
    except subprocess.CalledProcessError:
        return False
    return True


def main(arguments: list[str] | None = None) -> None:
    """Run the benchmark."""
    chosen = options("startup", __doc__).parse_args(arguments)
    here = machine()
    took = imports(chosen.repeats, chosen.only)
    yardstick = took[YARDSTICK]
    tables = [
        Table(
            "Imports",
            ["import", f"times {YARDSTICK}", "ms"],
            [[name, f"{ms / yardstick:.2f} x", f"{ms:.0f}"] for name, ms in took.items()],
        )
    ]
    calls: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for model, kind in MODELS.items():
            cache = Path(folder, model)
            # One process compiles all; the others find what it left.
            calls[f"compiled now{kind}"] = first_calls(model, cache)
            calls[f"from the cache{kind}"] = medians([first_calls(model, cache) for _ in range(chosen.repeats)])
    rows = [[step, *(f"{of[step]:,.2f}" for of in calls.values())] for step in STEPS]
    tables.append(Table("First calls, ms", ["step", *calls], rows))
    for table in tables:
        print(table.markdown())
    about = (
        f"How long until it is ready? Medians of {chosen.repeats} fresh processes, less one that imports nothing; the "
        f"import should take at most {GOAL} times scikit-learn's. *Compiled now* is one process with an empty cache: "
        "what the first user of an installation waits for, once."
    )
    result = Result(
        "Startup",
        about,
        "python -m benchmarks.startup",
        tables,
        {"imports, ms": took, "first calls, ms": calls},
        here,
        versions(["numpy", "scipy", "numba", "scikit-learn", "isotree", "coniferest"]),
    )
    print(f"written to {save('startup', result, chosen.output)}")


if __name__ == "__main__":
    main()
