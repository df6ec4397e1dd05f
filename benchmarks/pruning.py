"""What does pruning save, and what does it change? Nodes, bytes, speed and detection at several tolerances.

With `--adbench FOLDER` on ADBench's sets too (see `benchmarks.adbench`), beside the synthetic supply-chain records.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from anomaly_detection.features.features import SupplyChainFeatures
from anomaly_detection.synthetic import generate
from benchmarks import adbench
from benchmarks.harness import Result, Table, Timing, interleaved, machine, options, save, table_of_numbers, versions
from mlx_iforest import BlendedIsolationForest, MLXIsolationForest

Data = NDArray[np.float32]

TOLERANCES = (0.0, 1e-4, 1e-3, 1e-2)
KINDS: dict[str, Callable[[int], Any]] = {
    "depth": lambda rows: MLXIsolationForest(random_state=0),
    "depth, 300 trees of 4,096": lambda rows: MLXIsolationForest(300, max_samples=min(4096, rows), random_state=0),
    "density": lambda rows: MLXIsolationForest(scoring="density", random_state=0),
    "depth, oblique": lambda rows: MLXIsolationForest(extension_level=1, random_state=0),
    "blended": lambda rows: BlendedIsolationForest(random_state=0),
}
"""Models for a number of rows."""

SHORTEST = 0.1
"""Seconds that a timed run takes at least, by scoring again."""


@dataclass(frozen=True)
class Pruned:
    """One model pruned in one way; `change` is the largest among rows that no part of it has seen."""

    kind: str
    tolerance: float
    with_rows: bool
    nodes: float
    trees: float
    bytes: float
    bound: float
    change: float
    auroc_change: float | None = None

    @property
    def way(self) -> list[str]:
        return [self.kind, f"{self.tolerance:g}", "nodes, trees" if self.with_rows else "nodes"]

    @property
    def sizes(self) -> list[str]:
        return [f"{share:.0%}" for share in (self.nodes, self.trees, self.bytes)]


def prune(
    kind: str, train: Data, rows: Data, test: Data, jobs: int, truth: Any = None
) -> Iterator[tuple[Pruned, Any, Any]]:
    """A model of `kind` pruned in every way, by `rows` where trees go too; the outcome, the model, the pruned model."""
    model = KINDS[kind](len(train)).set_params(n_jobs=jobs).fit(train)
    before = model.score_samples(test)
    for tolerance in TOLERANCES:
        for with_rows in (False, True):
            pruned = model.prune(tolerance, rows if with_rows else None)
            report = pruned.pruning_
            after = pruned.score_samples(test)
            yield (
                Pruned(
                    kind,
                    tolerance,
                    with_rows,
                    report.nodes_after / report.nodes_before,
                    report.trees_after / report.trees_before,
                    report.bytes_after / report.bytes_before,
                    report.bound,
                    float(np.abs(after - before).max()),
                    None if truth is None else float(roc_auc_score(truth, -after) - roc_auc_score(truth, -before)),
                ),
                model,
                pruned,
            )


def speed_table(n_rows: int, kinds: list[str], repeats: int, jobs: int) -> tuple[Table, list[dict[str, Any]]]:
    """Sizes, and how fast `n_rows` are scored, on a table of numbers."""
    train, rows, X = np.split(table_of_numbers(2 * n_rows, 8), [n_rows // 2, n_rows])
    lines, measurements = [], []
    for kind in kinds:
        tasks: dict[str, Callable[[], object]] = {}
        found: list[Pruned] = []
        for outcome, model, pruned in prune(kind, train, rows, X, jobs):
            tasks["whole"] = partial(model.score_samples, X)
            tasks[str(len(found))] = partial(pruned.score_samples, X)
            found.append(outcome)
        timings: dict[str, Timing] = interleaved(tasks, repeats=repeats, shortest=SHORTEST)
        whole = timings["whole"].median
        for number, outcome in enumerate(found):
            median = timings[str(number)].median
            ratios = [f"{whole / median:.2f}", f"{n_rows / median / 1e6:.2f} M"]
            lines.append([*outcome.way, *ratios, *outcome.sizes, f"{outcome.bound:.2g}", f"{outcome.change:.2g}"])
            measurements.append({**asdict(outcome), "seconds": timings[str(number)].seconds, "whole": whole})
        print(f"{kind}: {whole:.3f} s whole", flush=True)
    columns = ["model", "tolerance", "what goes", "times as fast", "rows a second", "nodes left", "trees left"]
    columns += ["bytes left", "proven bound", "largest change"]
    title = f"Speed and size: {n_rows:,} rows x 8, trees by {n_rows // 2:,} further rows"
    return Table(title, columns, lines), measurements


def sets(folder: Path | None, n_rows: int) -> Iterator[tuple[str, NDArray[Any], NDArray[np.bool_]]]:
    """Name, rows and whether each is an anomaly."""
    for profile in ("classic", "realistic"):
        data = generate(profile, n_rows, seed=0)
        features = StandardScaler().fit_transform(SupplyChainFeatures().fit_transform(data.frame))
        yield profile, features, np.asarray(data.labels) == -1
    for name, X, y in adbench.sets(folder) if folder is not None else ():
        rows = np.random.default_rng(0).permutation(len(X))[: adbench.LARGEST]
        yield name, X[rows], y[rows] == 1


def quality_table(folder: Path | None, n_rows: int, kinds: list[str], jobs: int) -> tuple[Table, dict[str, Any]]:
    """What pruning does to scores and to detection; each set in thirds: to grow on, to choose trees by, to measure."""
    found: dict[tuple[str, ...], list[Pruned]] = {}
    measurements: dict[str, Any] = {}
    for name, X, truth in sets(folder, n_rows):
        train, others, _, rest = train_test_split(
            X.astype(np.float32), truth, test_size=2 / 3, stratify=truth, random_state=0
        )
        rows, test, _, test_truth = train_test_split(others, rest, test_size=0.5, stratify=rest, random_state=0)
        for kind in kinds:
            for outcome, _, _ in prune(kind, train, rows, test, jobs, test_truth):
                found.setdefault(tuple(outcome.way), []).append(outcome)
                measurements.setdefault(name, []).append(asdict(outcome))
        print(name, flush=True)
    lines = []
    for way, outcomes in found.items():
        table = np.array([[o.nodes, o.trees, o.bytes, o.bound, o.change, o.auroc_change] for o in outcomes], float)
        means, most = table.mean(axis=0), table.max(axis=0)
        worst = table[np.abs(table[:, 5]).argmax(), 5]
        sizes = [f"{mean:.0%}" for mean in means[:3]]
        lines.append([*way, *sizes, f"{most[3]:.2g}", f"{most[4]:.2g}", f"{means[5]:+.4f}", f"{worst:+.4f}"])
    columns = ["model", "tolerance", "what goes", "nodes left", "trees left", "bytes left", "largest proven bound"]
    columns += ["largest change", "mean AUROC change", "largest AUROC change"]
    note = "Means over the sets, or the largest of them; a third of each grows the forest, a third says which trees go."
    return Table(f"Detection: {', '.join(measurements)}", columns, lines, note), measurements


def main(arguments: list[str] | None = None) -> None:
    """Run the benchmark."""
    parser = options("pruning", __doc__)
    parser.add_argument("--adbench", type=Path, metavar="FOLDER", help="ADBench's sets, as .npz files")
    parser.add_argument("--rows", type=int, default=200_000, help="rows scored for the speed (%(default)s)")
    chosen = parser.parse_args(arguments)
    kinds = [kind for kind in KINDS if not chosen.only or any(part in kind for part in chosen.only)]
    if not kinds:
        parser.error(f"--only {' '.join(chosen.only)} names no model; there are {', '.join(KINDS)}")
    here = machine()
    speed, speeds = speed_table(2_000 if chosen.quick else chosen.rows, kinds, chosen.repeats, chosen.jobs)
    quality, qualities = quality_table(chosen.adbench, 1_000 if chosen.quick else 6_000, kinds, chosen.jobs)
    result = Result(
        "Pruning",
        "What does pruning save, and what does it change? Without rows, nodes go, and the bound holds for any row; "
        "with rows, trees go too, as long as the scores of those rows stay within the tolerance. The largest change is "
        f"that among rows that no part has seen. Medians of {chosen.repeats} runs of at least {SHORTEST:g} s after a "
        f"warm-up; {chosen.jobs} threads.",
        "python -m benchmarks.pruning --adbench FOLDER" if chosen.adbench else "python -m benchmarks.pruning",
        [speed, quality],
        {"speed": speeds, "detection": qualities},
        here,
        versions(["numpy", "numba", "scikit-learn"]),
    )
    print(f"written to {save('pruning', result, chosen.output)}")


if __name__ == "__main__":
    main()
