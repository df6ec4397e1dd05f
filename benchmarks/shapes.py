"""Who scores fastest where? Random shapes of rows, features, trees and samples, each forest in all hands.

Every shape is drawn by itself, evenly on log scales: features 1 to 5,000, trees 10 to 1,000, samples 64 to 65,536,
rows 1 to 10,000,000, and one of three kinds of columns. It is cut back to what memory and minutes allow (`MOST_VALUES`
and the next two). The same trees are scored by us, oneDAL and XGBoost, one thread each, in processor time.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.util import find_spec
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.converted import onedal, xgboost
from benchmarks.harness import Result, Table, interleaved, machine, options, save, versions
from benchmarks.peers import TIED
from mlx_iforest import MLXIsolationForest
from mlx_iforest.compiled_code import compile_at_once

KINDS = ("normal", "uniform", "counts")
OURS = "mlx_iforest"
OTHERS = {"oneDAL": onedal, "XGBoost": xgboost}
NEEDS = {"oneDAL": ("daal4py", "treelite"), "XGBoost": ("xgboost",)}

MOST_VALUES, MOST_WALKS, MOST_SAMPLED = 1 << 24, 50_000_000, 400_000
"""Values of a table; rows times trees; and rows in all trees together, which others take long to convert."""

SHORTEST, TOLERANCE = 0.02, 2e-5
"""Processor seconds of the shortest run, and the largest difference of a score."""

FEATURES = (16, 128, 5_000)
"""Bounds of the groups in the first table."""


@dataclass(frozen=True)
class Shape:
    """What is scored by what."""

    rows: int
    features: int
    trees: int
    samples: int
    kind: str

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Shape:
        """A shape within the bounds."""

        def between(low: int, high: float) -> int:
            return round(float(np.exp(rng.uniform(np.log(low), np.log(max(low, high))))))

        features, trees = between(1, 5_000), between(10, 1_000)
        samples = between(64, 65_536)
        samples = max(64, min(samples, MOST_SAMPLED // trees, MOST_VALUES // features))
        rows = max(1, min(between(1, 10_000_000), MOST_VALUES // features, MOST_WALKS // trees))
        return cls(rows, features, trees, samples, KINDS[rng.integers(len(KINDS))])

    def table(self, rows: int, seed: int) -> NDArray[np.float32]:
        """Rows of such columns; every hundredth far out."""
        rng = np.random.default_rng(seed)
        size = rows, self.features
        if self.kind == "counts":
            X = rng.poisson(3.0, size).astype(np.float32)
        elif self.kind == "uniform":
            X = rng.random(size, dtype=np.float32)
        else:
            X = rng.standard_normal(size, dtype=np.float32)
            X *= np.exp(0.3 * rng.standard_normal((rows, 1), dtype=np.float32))
        X[::100] *= 5
        return X


def measured(shape: Shape, repeats: int) -> dict[str, float]:
    """Rows a second of processor time of everyone who is installed.

    Raises
    ------
    ValueError
        Someone's scores are not ours.
    """
    model = MLXIsolationForest(shape.trees, max_samples=shape.samples, random_state=0, n_jobs=1, backend="numba").fit(
        shape.table(shape.samples, 0)
    )
    X = shape.table(shape.rows, 1)
    tasks: dict[str, Any] = {OURS: partial(model.score_samples, X)}
    for name, convert in OTHERS.items():
        if all(map(find_spec, NEEDS[name])):
            tasks[name] = partial(convert(model.to_sklearn(), 1).score_samples, X)
    expected = model.score_samples(X[:1000])
    for name in list(tasks)[1:]:
        apart = np.abs(tasks[name].func(X[:1000]) - expected)
        if np.count_nonzero(apart > TOLERANCE) > max(2, TIED * len(apart)):
            raise ValueError(f"{name} scores {shape} {apart.max():.1e} off; expected at most {TOLERANCE:.0e}")
    timings = interleaved(tasks, repeats=repeats, shortest=SHORTEST, clock=time.process_time)
    return {name: shape.rows / timing.median for name, timing in timings.items()}


def ratios(rates: Sequence[Mapping[str, float]], name: str) -> list[float]:
    """Our rate in times of another's, of each shape."""
    return [each[OURS] / each[name] for each in rates]


def summary(shapes: Sequence[Shape], rates: Sequence[Mapping[str, float]], names: Sequence[str]) -> Table:
    """By the number of features: how often we were faster, and by how much."""
    lines, low = [], 0
    for high in FEATURES:
        inside = [each for shape, each in zip(shapes, rates, strict=True) if low < shape.features <= high]
        line = [f"{low + 1:,} to {high:,}", str(len(inside))]
        for name in names:
            found = ratios(inside, name)
            won = sum(ratio > 1 for ratio in found)
            line += [f"{won} of {len(found)}", f"{min(found):.2f} / {median(found):.1f}"] if found else ["-", "-"]
        lines.append(line)
        low = high
    columns = ["features", "shapes"]
    for name in names:
        columns += [f"faster than {name}", "times it: least / median"]
    return Table("Who wins where", columns, lines)


def listed(shapes: Sequence[Shape], rates: Sequence[Mapping[str, float]], names: Sequence[str]) -> Table:
    """Every shape, the worst first."""

    def worst(k: int) -> float:
        return min(ratios([rates[k]], name)[0] for name in names)

    lines = [
        [
            f"{shapes[k].rows:,} x {shapes[k].features:,}, {shapes[k].kind}",
            f"{shapes[k].trees:,} x {shapes[k].samples:,}",
            f"{rates[k][OURS] / 1e6:.3g}",
            *(f"{ratios([rates[k]], name)[0]:.2f}" for name in names),
        ]
        for k in sorted(range(len(shapes)), key=worst)
    ]
    columns = ["rows x features", "trees x samples", "our million rows a second"]
    return Table("Each shape", [*columns, *(f"times {name}" for name in names)], lines)


def main(arguments: list[str] | None = None) -> None:
    """Run the benchmark."""
    parser = options("shapes", __doc__)
    parser.add_argument("--shapes", type=int, default=60, help="shapes at most (%(default)s)")
    parser.add_argument("--seed", type=int, default=19, help="of the shapes (%(default)s)")
    parser.add_argument("--budget", type=float, default=500.0, help="seconds after which none begins (%(default)s)")
    parser.set_defaults(repeats=3)
    chosen, here = parser.parse_args(arguments), machine()
    compile_at_once()
    rng = np.random.default_rng(chosen.seed)
    shapes = [Shape.draw(rng) for _ in range(3 if chosen.quick else chosen.shapes)]
    if chosen.quick:
        shapes = [replace(shape, rows=min(shape.rows, 50), features=7, trees=10, samples=64) for shape in shapes]
    names = [name for name in OTHERS if all(map(find_spec, NEEDS[name]))]
    if not names:
        raise SystemExit("nobody to compare with; `pip install -e .[bench]` brings oneDAL and XGBoost")
    began = time.perf_counter()
    rates: list[dict[str, float]] = []
    for shape in shapes:
        if rates and time.perf_counter() - began > chosen.budget:
            break
        rates.append(measured(shape, chosen.repeats))
        print(shape, {name: f"{rate:.4g}" for name, rate in rates[-1].items()}, flush=True)
    shapes = shapes[: len(rates)]
    tables = [summary(shapes, rates, names), listed(shapes, rates, names)]
    print(tables[0].markdown())
    about = (
        f"Who scores fastest where? {len(shapes)} random shapes (seed {chosen.seed}), each forest grown by us and "
        "scored by all, with the same results: features 1 to 5,000, trees 10 to 1,000, samples 64 to 65,536, rows 1 to "
        f"10,000,000, evenly on log scales, cut back to {MOST_VALUES:,} values, {MOST_WALKS:,} rows times trees and "
        f"{MOST_SAMPLED:,} rows in all trees. Processor time of one thread, medians of {chosen.repeats} runs, all "
        "contestants once a round. Normal columns, uniform ones, and counts of few values."
    )
    measurements = [{**asdict(shape), "rows_per_second": each} for shape, each in zip(shapes, rates, strict=True)]
    found = versions(["numpy", "numba", "scikit-learn-intelex", "treelite", "xgboost"])
    result = Result("Shapes", about, "python -m benchmarks.shapes", tables, measurements, here, found)
    print(f"written to {save('shapes', result, chosen.output)}")


if __name__ == "__main__":
    main()
