"""Growing on a GPU: are the trees those of Numba, bit for bit, and how long do they take?

Every case stands alone: an error is printed in full and written down, and the others go on. Exit code 1 tells of any.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

from mlx_iforest.backends import get_backend
from mlx_iforest.backends.mlx import growth as mlx_growth
from mlx_iforest.forest import Forest
from mlx_iforest.growth import GrowthPlan

CORES = os.cpu_count() or 1

Data = NDArray[np.float32]
T = TypeVar("T")


def plan_of(X: Any, **changes: Any) -> GrowthPlan:
    n_samples, n_features = X.shape
    return replace(GrowthPlan(2**40 + 17, 0, 100, n_samples, n_features, min(256, n_samples), n_features), **changes)


def dirty(n_samples: int, n_features: int) -> Data:
    """Continuous, rounded, constant and missing values."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_samples, n_features)).astype(np.float32)
    X[:, 1::3] = np.round(X[:, 1::3])
    X[:, 2::4] = 7
    X[rng.random(X.shape) < 0.05] = np.nan
    return X


def plans(scale: int) -> Iterator[tuple[str, Data, GrowthPlan]]:
    """What is to be equal: names, data and plans; `scale` divides the number of rows."""
    X = dirty(100_000 // scale, 8)
    wide = np.zeros((5_000 // scale, 500), np.float32)
    wide[:, 123] = np.arange(len(wide))
    wide[::7, 400] = 1
    odd = np.array([0.0, -0.0, 1.0, 3.4e38, -3.4e38, 1e-45, -1e-45, np.nan], np.float32)
    yield "100 x 256", X, plan_of(X)
    yield "with replacement", X, plan_of(X, bootstrap=True)
    yield "3 of 8 columns a tree, later trees", X, plan_of(X, features_per_tree=3, first_tree=1_000)
    yield (
        "given rows",
        X,
        plan_of(X, n_trees=9, row_table=np.arange(1_800).reshape(9, 200) % len(X), subsample_size=200),
    )
    yield "1 sample", X, plan_of(X, subsample_size=1)
    yield "2 samples", X, plan_of(X, subsample_size=2)
    yield "3 samples", X, plan_of(X, subsample_size=3)
    yield "1 row of 1 column", X[:1, :1].copy(), plan_of(X[:1, :1])
    yield "1 column", X[:, :1].copy(), plan_of(X[:, :1])
    yield "500 columns, nearly all constant", wide, plan_of(wide)
    yield "500 columns, nearly all constant, large trees", wide, plan_of(wide, n_trees=8, subsample_size=len(wide))
    yield "500 columns", dirty(5_000 // scale, 500), plan_of(dirty(5_000 // scale, 500))
    few = np.random.default_rng(1).choice(odd, (5_000 // scale, 4))
    yield "zeros of both signs, subnormal and huge values", few, plan_of(few, subsample_size=len(few), n_trees=16)
    yield "100 x 4,096", X, plan_of(X, subsample_size=4_096 // scale)
    yield "16 x 65,536", X, plan_of(X, n_trees=16, subsample_size=65_536 // scale)
    yield "4 x all rows", X, plan_of(X, n_trees=4, subsample_size=len(X))


def difference(found: Forest, expected: Forest) -> str:
    """Nothing where two forests are equal, else the first node that differs, of each array that does."""
    if found.equals(expected):
        return ""
    if found.n_nodes != expected.n_nodes:
        tree = int(np.argmax(np.diff(found.tree_start) != np.diff(expected.tree_start)))
        return f"{found.n_nodes} nodes, {expected.n_nodes} expected; first in tree {tree}"
    faults = []
    ours = found.arrays()
    for name, theirs in expected.arrays().items():
        differ = np.flatnonzero(ours[name].view(np.uint8) != theirs.view(np.uint8)) // theirs.itemsize
        if len(differ):
            at = int(differ[0])
            places = len(set(differ.tolist()))
            faults.append(f"{name} at {places} places, first {at}: {ours[name][at]!r}, {theirs[at]!r} expected")
    return "; ".join(faults)


def median_ms(task: Callable[[], object], repeats: int, longest: float) -> dict[str, Any]:
    """Milliseconds of calls that end with their result in host memory, after one that does not count."""
    start = time.perf_counter()
    task()
    first = time.perf_counter() - start
    taken: list[float] = []
    while len(taken) < repeats and (len(taken) < 3 or sum(taken) < longest):
        start = time.perf_counter()
        task()
        taken.append((time.perf_counter() - start) * 1e3)
    return {
        "median_ms": statistics.median(taken),
        "fastest_ms": min(taken),
        "slowest_ms": max(taken),
        "first_ms": first * 1e3,
        "runs": len(taken),
    }


class Log:
    """What came out, case by case."""

    def __init__(self) -> None:
        self.cases: list[dict[str, Any]] = []
        self.failed = False

    def run(self, kind: str, name: str, case: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Run one case; what goes wrong is printed and written down."""
        entry: dict[str, Any] = {"kind": kind, "name": name}
        try:
            entry.update(case())
        except Exception:
            entry["error"] = traceback.format_exc()
        self.failed |= "error" in entry or bool(entry.get("difference"))
        self.cases.append(entry)
        facts = ", ".join(f"{k} {v:.3f}" if isinstance(v, float) else f"{k} {v}" for k, v in list(entry.items())[2:])
        print(f"{kind}: {name}: {facts}", flush=True)
        return entry


def with_threads(task: Callable[[], T], threads: int = 0, large: int = 0) -> T:
    """A task's outcome with kernels of so many threads, those of the backend if 0."""
    usual = {name: getattr(mlx_growth, name) for name in ("THREADS", "FEWEST_THREADS", "LARGE")}
    try:
        if threads:
            mlx_growth.THREADS = {"metal": min(threads, 256), "cuda": threads}
            mlx_growth.FEWEST_THREADS = threads
        mlx_growth.LARGE = large or mlx_growth.LARGE
        return task()
    finally:
        for name, value in usual.items():
            setattr(mlx_growth, name, value)


def on_device(X: Any, plan: GrowthPlan, threads: int = 0, large: int = 0) -> Forest:
    """Grow by kernels of so many threads, those of the backend if 0."""
    return with_threads(lambda: mlx_growth.grow_on_device(X, plan, n_threads=CORES), threads, large)


def host() -> dict[str, Any]:
    """The machine and what is installed there."""
    from benchmarks.harness import machine, versions

    return {**machine(), **versions(["mlx", "numpy", "numba", "scikit-learn"])}


def check_equal(log: Log, scale: int, groups: Sequence[tuple[int, int]]) -> None:
    """Every plan, by kernels of several sizes."""
    numba = get_backend("numba")
    for name, X, whole in plans(scale):
        plan = whole if scale == 1 else whole.slice(0, min(3, whole.n_trees))
        try:
            expected = numba.grow(X, plan, n_threads=CORES)
            there = mx.array(X)
        except Exception:
            log.run("equal", name, partial(dict, error=traceback.format_exc()))
            continue
        for threads, large in groups:
            log.run(
                "equal",
                f"{name}, {threads or 'usual'} threads",
                lambda there=there, plan=plan, expected=expected, t=threads, g=large: {  # type: ignore[misc]
                    "difference": difference(on_device(there, plan, t, g), expected)
                },
            )
        log.run(
            "equal",
            f"{name}, from NumPy",
            lambda X=X, plan=plan, expected=expected: {"difference": difference(mlx_growth.grow(X, plan), expected)},  # type: ignore[misc]
        )


def parts(there: mx.array, plan: GrowthPlan) -> dict[str, Any]:
    """Milliseconds of what growing consists of, each a median of 20: the device, by groups of each size; the usual and
    the copy back; packing on one thread and on all."""
    grown = mlx_growth.fetched(plan, *mlx_growth._launch(there, plan))

    def evaluated() -> None:
        mx.eval(*mlx_growth._launch(there, plan))

    def copied() -> Data:
        return np.array(mlx_growth.fetched(plan, *mlx_growth._launch(there, plan)).words)

    tasks: dict[str, Callable[[], object]] = {
        "evaluated_ms": evaluated,
        "evaluated_256_threads_ms": lambda: with_threads(evaluated, 256),
        "evaluated_512_threads_ms": lambda: with_threads(evaluated, 512),
        "evaluated_and_copied_ms": copied,
        "packing_ms": lambda: mlx_growth.packed(plan, grown),
        "packing_by_all_threads_ms": lambda: mlx_growth.packed(plan, grown, n_threads=CORES),
    }
    facts = {"nodes": int(grown.tree_start[-1]), "bytes": grown.words.nbytes}
    return {name: median_ms(task, 20, 10)["median_ms"] for name, task in tasks.items()} | facts


def contestants(X: Data, there: mx.array, plan: GrowthPlan) -> Iterator[tuple[str, Callable[[], object]]]:
    """Who grows the plan's trees, or trees of their size."""
    yield "kernel, rows on the device", lambda: mlx_growth.grow_on_device(there, plan, n_threads=CORES)
    yield "kernel, from NumPy", lambda: mlx_growth.grow(X, plan, n_threads=CORES)
    numba, mlx = get_backend("numba"), get_backend("mlx")
    yield f"numba, {CORES} threads", lambda: numba.grow(X, plan, n_threads=CORES)
    if plan.n_trees * plan.subsample_size * plan.n_features <= 1 << 25:
        yield "MLX operations", lambda: mlx.grow_by_operations(X, plan)  # type: ignore[attr-defined]

    def sklearn() -> object:
        from sklearn.ensemble import IsolationForest

        forest = IsolationForest(
            n_estimators=plan.n_trees, max_samples=plan.subsample_size, random_state=0, n_jobs=CORES
        )
        return forest.fit(X)

    yield f"scikit-learn, {CORES} jobs", sklearn


def time_all(log: Log, shapes: Sequence[tuple[int, int, int, int]], repeats: int, longest: float) -> None:
    """Every contestant on every shape: rows, columns, trees and samples a tree."""
    for n_samples, n_features, n_trees, subsample in shapes:
        name = f"{n_trees} x {subsample:,} from {n_samples:,} x {n_features}"
        there: Any = None
        try:
            X = np.random.default_rng(0).standard_normal((n_samples, n_features), np.float32)
            plan = plan_of(X, n_trees=n_trees, subsample_size=subsample)
            there = mx.array(X)
            mx.eval(there)
        except Exception:
            log.run("time", name, partial(dict, error=traceback.format_exc()))
            continue
        for who, task in contestants(X, there, plan):
            few = 3 if "scikit" in who or "operations" in who else repeats
            log.run("time", f"{name}: {who}", lambda task=task, few=few: median_ms(task, few, longest))  # type: ignore[misc]
        for threads, large in [(128, 1024), (256, 1024), (512, 1024), (512, 4096), (512, 1 << 30)]:
            log.run(
                "time",
                f"{name}: kernel of {threads} threads, large from {large}",
                lambda there=there, plan=plan, t=threads, g=large: median_ms(  # type: ignore[misc]
                    lambda: on_device(there, plan, t, g), repeats, longest
                ),
            )
        log.run("parts", name, lambda there=there, plan=plan: parts(there, plan))  # type: ignore[misc]
        log.run(
            "equal",
            f"{name}, as timed",
            lambda X=X, there=there, plan=plan: {  # type: ignore[misc]
                "difference": difference(
                    mlx_growth.grow_on_device(there, plan), get_backend("numba").grow(X, plan, n_threads=CORES)
                )
            },
        )
        del there
        mx.clear_cache()


def table(cases: Sequence[dict[str, Any]]) -> str:
    lines = ["| case | median, ms | fastest | slowest | first | runs |", "|---|---:|---:|---:|---:|---:|"]
    for case in cases:
        if case["kind"] == "time" and "median_ms" in case:
            numbers = (f"{case[k]:.3f}" for k in ("median_ms", "fastest_ms", "slowest_ms", "first_ms"))
            lines.append(f"| {case['name']} | {' | '.join(numbers)} | {case['runs']} |")
    return "\n".join(lines)


SHAPES = [
    (4_000_000, 64, 100, 256),
    (4_000_000, 8, 100, 256),
    (4_000_000, 8, 100, 4_096),
    (1_000_000, 8, 8, 1_000_000),
]
"""Rows, columns, trees and samples a tree."""


def main(arguments: list[str] | None = None) -> int:
    """Check and time; returns 1 where anything went wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_grow", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="tiny tables: whether it runs, not how fast")
    parser.add_argument("--output", type=Path, default=Path("gpu_grow.json"), help="file of results (%(default)s)")
    chosen = parser.parse_args(arguments)
    log = Log()
    log.run("machine", "device", lambda: {str(k): v for k, v in mx.device_info().items()})
    log.run("machine", "host", host)
    if chosen.quick:
        check_equal(log, 500, [(0, 0), (64, 20)])
        time_all(log, [(500, 3, 2, 50)], 3, 0.1)
    else:
        check_equal(log, 1, [(0, 0), (256, 0), (512, 100)])
        time_all(log, SHAPES, 25, 20)
    print("\n" + table(log.cases))
    wrong = [case["name"] for case in log.cases if "error" in case or case.get("difference")]
    print(f"\n{len(wrong)} of {len(log.cases)} cases went wrong" + "".join(f"\n- {name}" for name in wrong))
    chosen.output.write_text(json.dumps(log.cases, indent=1, default=str), "utf-8")
    return 1 if log.failed else 0


if __name__ == "__main__":
    sys.exit(main())
