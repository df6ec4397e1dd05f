"""`python -m mlx_iforest.selftest`: do this machine's backends agree with the reference, and how fast are they?

The report is text to be pasted into a mail. Exit code 1 says that a backend disagreed or failed.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlx_iforest.backends import available_backends, choose_backend, describe_system, get_backend
from mlx_iforest.backends.reference import ReferenceBackend
from mlx_iforest.cores import cores
from mlx_iforest.estimator import MLXIsolationForest
from mlx_iforest.forest import Forest
from mlx_iforest.growth import GrowthPlan

__all__ = ["Case", "Outcome", "cases", "check", "check_ways", "main"]

TOLERANCE = 1e-6
"""Of means over trees, relative to the largest: leaf values are float32."""

LONGEST = 1.0
"""Seconds of timing some rows after which no more of them are timed."""

PACKAGES = ("mlx-iforest", "numpy", "numba", "scikit-learn", "mlx")


GROWING = [(100_000, 8, 100, 256), (100_000, 64, 100, 256), (20_000, 8, 100, 4096)]
"""Rows, columns, trees and samples of each, as growing is timed."""

QUICK_GROWING = [(2_000, 8, 10, 256)]

SCORING = [(1, 8), (1_000, 8), (100_000, 8), (1_000_000, 8), (100_000, 64)]
"""Rows and columns, as scoring is timed."""

QUICK_SCORING = [(1, 8), (1_000, 8)]


@dataclass(frozen=True)
class Case:
    """Data and a plan; all backends must make the same of them."""

    name: str
    X: NDArray[np.float32] = field(repr=False)
    plan: GrowthPlan = field(repr=False)


@dataclass(frozen=True)
class Outcome:
    """What a backend made of a case; `fault` is empty where it agreed, `skipped` where it was asked."""

    backend: str
    case: str
    fault: str = ""
    skipped: str = ""


def _case(name: str, X: NDArray[np.float32], **changes: Any) -> Case:
    n_samples, n_features = X.shape
    plan = GrowthPlan(2**40 + 17, 0, 4, n_samples, n_features, min(64, n_samples), n_features)
    return Case(name, X, replace(plan, **changes))


def cases() -> Iterator[Case]:
    """Ordinary ones and odd ones; a few hundred rows each, since the reference is slow."""
    rng = np.random.default_rng(0)
    clean = rng.normal(size=(300, 6)).astype(np.float32)
    dirty = clean.copy()
    dirty[:, 1] = np.round(dirty[:, 1])
    dirty[:, 2] = 7
    dirty[rng.random(dirty.shape) < 0.1] = np.nan
    wide = np.zeros((60, 500), np.float32)
    wide[:, 123] = np.arange(60)
    wide[::7, 400] = 1
    odd = np.array([0.0, -0.0, 1.0, 3.4e38, -3.4e38, np.nan], np.float32)
    yield _case("continuous values", clean)
    yield _case("rounded, constant and missing values", dirty)
    yield _case("zeros of both signs, huge values", rng.choice(odd, (150, 4)))
    yield _case("500 columns, nearly all constant", wide, n_trees=1)
    yield _case("1 row", clean[:1])
    yield _case("2 rows, 1 tree", clean[:2], n_trees=1)
    yield _case("1 column", clean[:, :1].copy())
    yield _case("all missing", np.full((20, 3), np.nan, np.float32))
    yield _case("with replacement", dirty, bootstrap=True)
    yield _case("2 of 6 columns a tree, later trees", dirty, features_per_tree=2, first_tree=1000)
    yield _case("given rows", clean, subsample_size=30, row_table=np.arange(120).reshape(4, 30))
    yield _case("oblique splits", dirty, extension_level=2)
    yield _case("deep trees", rng.normal(size=(2000, 3)).astype(np.float32), n_trees=2, subsample_size=2000)


class _WithoutKernels:
    """MLX's plain operations, on its CPU, where the GPU has kernels of ours."""

    def __init__(self) -> None:
        self.mlx = importlib.import_module("mlx.core")

    def grow(self, X: NDArray[np.float32], plan: GrowthPlan, *, n_threads: int) -> Forest:
        with self.mlx.stream(self.mlx.cpu):
            return get_backend("mlx").grow(X, plan, n_threads=n_threads)

    def leaf_means(self, forest: Forest, values: NDArray[np.float32], X: NDArray[np.float32]) -> NDArray[np.float64]:
        with self.mlx.stream(self.mlx.cpu):
            return get_backend("mlx").leaf_means(forest, values, X)


def _backends() -> dict[str, Any]:
    """What is there to be checked, by name."""
    found: dict[str, Any] = {name: get_backend(name) for name, why in available_backends().items() if why is None}
    if choose_backend("auto").name == "mlx":
        found["mlx without kernels"] = _WithoutKernels()
    return found


def check(backends: Mapping[str, Any], chosen: Sequence[Case]) -> Iterator[Outcome]:
    """Grow and score each case by each backend, and compare with the reference."""
    for case in chosen:
        expected = ReferenceBackend().grow(case.X, case.plan)
        values = np.stack([expected.arrays()[name] for name in ("path_length", "log_density")], axis=1)
        rows = np.concatenate([case.X[:60], np.full((1, case.X.shape[1]), np.nan, np.float32)])
        means = ReferenceBackend().leaf_means(expected, values, rows)
        for name, backend in backends.items():
            if name == "sklearn" and expected.direction_feature is not None:
                yield Outcome(name, case.name, skipped="scikit-learn has no oblique splits")
                continue
            try:
                fault = _fault(backend, case, expected, values, rows, means, grows_alike=name != "sklearn")
            except Exception:
                fault = traceback.format_exc()
            yield Outcome(name, case.name, fault)


def check_ways() -> Iterator[Outcome]:
    """Each way in which Numba scores blocks of rows, in this processor's vectors, against plain loops, bit for bit."""
    from mlx_iforest.backends.fixed_point import whole_numbers
    from mlx_iforest.backends.numba.answers import AnsweredForest
    from mlx_iforest.backends.numba.codes import CodedForest
    from mlx_iforest.backends.numba.walking_kernels import add_leaf_values
    from mlx_iforest.backends.numba.walks import WalkedForest

    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 19)).astype(np.float32)
    X[rng.random(X.shape) < 0.05] = np.nan
    # Leaves of few and of many different values, which are looked up in other ways.
    for subsample in (30, 90, 150, 600):
        forest = get_backend("numba").grow(X, _case("", X, subsample_size=subsample).plan, n_threads=1)
        numbers = whole_numbers(forest.arrays()["log_density"])[1][:, None]
        arrays = (forest.tree_start, forest.feature, forest.threshold, forest.left, forest.missing_left)
        expected = np.zeros((len(X), 1))
        add_leaf_values(*arrays, numbers, forest.tree_depths, X, expected)
        for kind in (AnsweredForest, CodedForest, WalkedForest):
            found, blocks = np.zeros((len(X), 1)), kind.of(forest, numbers)
            assert blocks is not None
            blocks.add_leaf_values(X, found)
            fault = "" if np.array_equal(found, expected) else "sums differ from those of plain loops"
            yield Outcome("numba", f"{kind.__name__}, trees of {subsample}", fault)


def _fault(
    backend: Any,
    case: Case,
    expected: Forest,
    values: NDArray[np.float32],
    rows: NDArray[np.float32],
    means: NDArray[np.float64],
    *,
    grows_alike: bool,
) -> str:
    if grows_alike:
        forest = backend.grow(case.X, case.plan, n_threads=2).validate()
        if not forest.equals(expected):
            ours, theirs = forest.arrays(), expected.arrays()
            where = [n for n in theirs if n not in ours or ours[n].tobytes() != theirs[n].tobytes()]
            return f"grown trees differ in {', '.join(where)}: {forest.n_nodes} nodes, {expected.n_nodes} expected"
    found = backend.leaf_means(expected, values, rows)
    error = np.abs(found - means).max() / max(1.0, np.abs(means).max())
    # Not `error > TOLERANCE`: a NaN is a fault.
    return "" if error <= TOLERANCE else f"means over trees differ by up to {error:.2g}, relative to the largest"


def _seconds(task: Callable[[], object], budget: float) -> float:
    """Median of the calls that the budget allows, at least three, after one that counts for nothing."""
    task()
    taken: list[float] = []
    while len(taken) < 3 or (sum(taken) < budget and len(taken) < 50):
        start = time.perf_counter()
        task()
        taken.append(time.perf_counter() - start)
        if taken[-1] > budget:
            break
    return float(np.median(taken))


def _growing(
    backends: Mapping[str, Any], shapes: Sequence[tuple[int, int, int, int]], budget: float
) -> list[list[str]]:
    """Milliseconds by backend of trees of so many samples from so many rows and columns of NumPy."""
    rows = [["growing, ms", *backends]]
    for n_samples, n_features, n_trees, subsample in shapes:
        X = np.random.default_rng(0).normal(size=(n_samples, n_features)).astype(np.float32)
        plan = GrowthPlan(1, 0, n_trees, n_samples, n_features, subsample, n_features)
        row = [f"{n_trees} trees of {subsample:,} from {n_samples:,} x {n_features}"]
        for backend in backends.values():
            grow = partial(backend.grow, X, plan, n_threads=cores())
            row.append(_text(grow, budget, lambda seconds: f"{seconds * 1e3:.2f}"))
        rows.append(row)
    return rows


def _text(task: Callable[[], object], budget: float, written: Callable[[float], str]) -> str:
    """What is written of a task's seconds, or what went wrong."""
    try:
        return written(_seconds(task, budget))
    except Exception as error:
        return f"failed: {error}".splitlines()[0]


def _models(names: Iterable[str], n_features: int) -> dict[str, MLXIsolationForest]:
    """100 trees of 256 samples by each backend, with all cores of the machine."""
    X = np.random.default_rng(0).normal(size=(2_000, n_features)).astype(np.float32)
    return {name: MLXIsolationForest(backend=name, n_jobs=-1, random_state=0).fit(X) for name in names}


def _scoring(names: Sequence[str], shapes: Sequence[tuple[int, int]], budget: float) -> list[list[str]]:
    """Millions of rows a second by backend, 100 trees of 256, from NumPy to scores."""
    rows = [["scoring, million rows/s", *names]]
    slow: set[str] = set()
    for n_samples, n_features in shapes:
        X = np.random.default_rng(1).normal(size=(n_samples, n_features)).astype(np.float32)
        row = [f"{n_samples:,} x {n_features}"]
        for name, model in _models(names, n_features).items():
            if name in slow:
                row.append("skipped: slow")
                continue
            try:
                # The first call may compile, which says nothing of the others.
                model.score_samples(X)
                start = time.perf_counter()
                row.append(f"{n_samples / _seconds(partial(model.score_samples, X), budget) / 1e6:.3f}")
            except Exception as error:
                row.append(f"failed: {error}".splitlines()[0])
                continue
            if time.perf_counter() - start > LONGEST:
                slow.add(name)
        rows.append(row)
    return rows


def _crossover(largest: int, budget: float) -> str:
    """From how much work on MLX is faster than Numba on all cores, measured: rows times trees."""
    models = _models(("mlx", "numba"), 8)
    X = np.random.default_rng(1).normal(size=(largest, 8)).astype(np.float32)
    n_rows, won = 1, 0
    while n_rows <= largest:
        seconds = {name: _seconds(partial(model.score_samples, X[:n_rows]), budget) for name, model in models.items()}
        won = (won or n_rows) if seconds["mlx"] < seconds["numba"] else 0
        n_rows *= 4
    n_trees = models["mlx"].n_estimators
    if not won:
        return f"none up to {largest * n_trees:,} rows x trees"
    return f"{won * n_trees:,} rows x trees ({won:,} rows, {n_trees} trees, 8 columns)"


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    lines = ["| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *lines[1:]])


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def _listed(facts: Mapping[str, object]) -> str:
    return "\n".join(f"- {name}: {fact}" for name, fact in facts.items())


def main(arguments: list[str] | None = None) -> int:
    """Check, time and report; returns 1 where a backend disagreed or failed."""
    parser = argparse.ArgumentParser(prog="python -m mlx_iforest.selftest", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="check only; time a little")
    quick = parser.parse_args(arguments).quick
    started = time.perf_counter()
    system = describe_system()
    print("# Self-test of mlx_iforest\n")
    print(_listed({**_versions(), **{k: system[k] for k in ("python", "machine", "auto")}, "cores": cores()}))
    missing = available_backends()
    print("\n## Backends\n\n" + _listed({name: why or system["backends"][name] for name, why in missing.items()}))

    backends = _backends()
    outcomes = []
    for outcome in chain(check(backends, list(cases())), check_ways() if "numba" in backends else ()):
        outcomes.append(outcome)
        if sys.stderr.isatty():
            print(f"{outcome.backend}: {outcome.case}", file=sys.stderr, flush=True)
    print("\n## Against the reference\n\n" + _listed({name: _counted(name, outcomes) for name in backends}))
    faults = [outcome for outcome in outcomes if outcome.fault]
    print("".join(f"\nDISAGREES: {o.backend}, {o.case}: {o.fault}\n" for o in faults), end="", flush=True)

    print("\n## Speed\n")
    budget = 0.02 if quick else 0.3
    growers = {name: backend for name, backend in backends.items() if name != "sklearn"}
    print(_table(_growing(growers, QUICK_GROWING if quick else GROWING, budget)) + "\n", flush=True)
    present = [name for name, why in missing.items() if why is None]
    print(_table(_scoring(present, QUICK_SCORING if quick else SCORING, budget)) + "\n", flush=True)
    has_gpu = system["auto"]["name"] == "mlx"
    crossover = _crossover(1 << 8 if quick else 1 << 18, budget) if has_gpu else f"skipped: {system['auto']['reason']}"
    print(f"MLX scores faster than Numba on all cores from: {crossover}")
    print(f"'auto' expects that from: {system['gpu_pays'] or 'no work, without a GPU'}")
    print(f"\n{'FAILED' if faults else 'All agree'}; {time.perf_counter() - started:.0f} s")
    return 1 if faults else 0


def _counted(name: str, outcomes: Sequence[Outcome]) -> str:
    own = [outcome for outcome in outcomes if outcome.backend == name]
    asked = [outcome for outcome in own if not outcome.skipped]
    skipped = "".join(f"; skipped '{o.case}': {o.skipped}" for o in own if o.skipped)
    return f"{sum(not o.fault for o in asked)} of {len(asked)} cases agree{skipped}"


if __name__ == "__main__":
    sys.exit(main())
