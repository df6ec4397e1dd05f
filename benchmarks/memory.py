"""How much memory does it take? What scoring, predicting and fitting add to their input and output.

Every case runs in a process of its own, which reads every millisecond how much memory is its own (and no mapped
file's).
"""

from __future__ import annotations

import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from benchmarks.harness import Result, Table, in_a_child, machine, options, save, table_of_numbers, versions
from mlx_iforest import BlendedIsolationForest, MLXIsolationForest

FEATURES = 8
FITTED_ROWS, WARM_ROWS = 10_000, 3_000
GOAL = 64
"""Megabytes that scoring may add at most."""

Array = NDArray[Any]


def _mapped(X: Array) -> Array:
    """The rows in a file, mapped into memory; nothing of it stays in ours."""
    with tempfile.NamedTemporaryFile(suffix=".npy") as file:
        np.save(file, X)
        file.flush()
        return np.load(file.name, mmap_mode="r")


def _columns(X: Array) -> Array:
    wide = np.zeros((len(X), X.shape[1] + 2), X.dtype)
    wide[:, 1:-1] = X
    return wide[:, 1:-1]


INPUTS: dict[str, Callable[[Array], Array]] = {
    "float32": lambda X: X,
    "float64": lambda X: X.astype(np.float64),
    "float32, Fortran order": np.asfortranarray,
    "float64, memory-mapped": lambda X: _mapped(X.astype(np.float64)),
    "int32": lambda X: (1000 * X).astype(np.int32),
    "float32, columns 1 to 8 of 10": _columns,
}


def _ours(X: Array, jobs: int) -> Any:
    return MLXIsolationForest(n_jobs=jobs, random_state=0).fit(X)


def _blended(X: Array, jobs: int) -> Any:
    return BlendedIsolationForest(n_jobs=jobs, random_state=0).fit(X)


def _sklearn(X: Array, jobs: int) -> Any:
    from sklearn.ensemble import IsolationForest

    return IsolationForest(n_jobs=jobs, random_state=0).fit(X)


MODELS = {"mlx_iforest": _ours, "mlx_iforest, blended": _blended, "scikit-learn": _sklearn}
WORK: dict[str, Callable[[Any, Array], Any]] = {
    "score_samples": lambda model, X: model.score_samples(X),
    "predict": lambda model, X: model.predict(X),
    "fit": lambda model, X: model.fit(X),
}
CASES = [
    *(("mlx_iforest", "score_samples", name) for name in INPUTS),
    ("mlx_iforest", "predict", "float32"),
    ("mlx_iforest", "fit", "float32"),
    ("mlx_iforest", "fit", "float64"),
    ("mlx_iforest", "fit", "float64, memory-mapped"),
    ("mlx_iforest, blended", "score_samples", "float32"),
    ("mlx_iforest, blended", "score_samples", "float64"),
    ("scikit-learn", "score_samples", "float32"),
    ("scikit-learn", "score_samples", "float64"),
]
"""Model, what it does, and with which input."""


def own_memory() -> int:
    """Bytes of this process that are no file's; all that are resident where the system does not tell them apart."""
    memory = psutil.Process().memory_info()
    return int(memory.rss - getattr(memory, "shared", 0))


def child(name: str, work: str, form: str, rows: int, jobs: int) -> dict[str, float]:
    """One case: megabytes over the level before, without the output, and seconds."""
    X = INPUTS[form](table_of_numbers(rows, FEATURES))
    model = MODELS[name](X[:FITTED_ROWS], jobs)
    # Few rows: what more would leave behind in the allocator's lists would be missing from the figure.
    WORK[work](model, X[:WARM_ROWS])
    before = peak = own_memory()
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.001):
            peak = max(peak, own_memory())

    watcher = threading.Thread(target=watch)
    watcher.start()
    began = time.perf_counter()
    output = WORK[work](model, X)
    seconds = time.perf_counter() - began
    done.set()
    watcher.join()
    size = output.nbytes if isinstance(output, np.ndarray) else 0
    return {"added": (max(peak, own_memory()) - before - size) / 1e6, "input": X.nbytes / 1e6, "seconds": seconds}


def main(arguments: list[str] | None = None) -> None:
    """Run the benchmark, or one case of it in a child."""
    given = sys.argv[1:] if arguments is None else arguments
    if given[:1] == ["--child"]:
        name, work, form, n_rows, n_jobs = given[1:]
        print(json.dumps(child(name, work, form, int(n_rows), int(n_jobs))))
        return
    parser = options("memory", __doc__)
    parser.add_argument("--rows", type=int, default=5_000_000, help="of 8 columns (%(default)s)")
    chosen = parser.parse_args(given)
    rows, here = 50_000 if chosen.quick else chosen.rows, machine()
    cases = [case for case in CASES if not chosen.only or any(part in case[0] for part in chosen.only)]
    measured = {case: in_a_child("memory", *case, rows, chosen.jobs) for case in cases}
    lines = [
        [f"{name}, {work}, {form}", f"{m['added']:.0f}", f"{m['input']:.0f}", f"{m['seconds']:.2f}"]
        for (name, work, form), m in measured.items()
    ]
    columns = ["what, of which input", "MB added", "MB of input", "s"]
    table = Table(f"{rows:,} rows x {FEATURES}, 100 trees of 256", columns, lines)
    print(table.markdown())
    about = (
        f"How much memory does it take? What is added, at its highest, to input and output ({8 * rows / 1e6:.0f} MB of "
        f"scores or labels); scoring may add {GOAL} MB. Each case in a process of its own, after a call with "
        f"{WARM_ROWS:,} rows; {chosen.jobs} threads. Pages of mapped files do not count. Blended: 200 trees."
    )
    result = Result(
        "Memory",
        about,
        "python -m benchmarks.memory",
        [table],
        {", ".join(case): m for case, m in measured.items()},
        here,
        versions(["numpy", "numba", "scikit-learn"]),
    )
    print(f"written to {save('memory', result, chosen.output)}")


if __name__ == "__main__":
    main()
