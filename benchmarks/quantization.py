"""What does quantising cost and gain? Bytes, rows a second, how far scores move, and what that does to detection.

    python -m benchmarks.quantization [--adbench FOLDER]

FOLDER holds ADBench's sets, as `benchmarks.adbench` takes them; without it only synthetic records are judged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from anomaly_detection.settings import RECIPE, Settings, make_detector, make_forest
from anomaly_detection.synthetic import PROFILES, generate
from benchmarks import adbench, peers
from benchmarks.harness import Result, Table, interleaved, machine, options, save, table_of_numbers, versions
from mlx_iforest import BlendedIsolationForest, MLXIsolationForest
from mlx_iforest.base import BaseIsolationForest

MODELS: dict[str, Callable[[int], BaseIsolationForest]] = {
    "depth": lambda seed: MLXIsolationForest(n_jobs=-1, random_state=seed),
    "density": lambda seed: MLXIsolationForest(scoring="density", n_jobs=-1, random_state=seed),
    "blended": lambda seed: BlendedIsolationForest(n_jobs=-1, random_state=seed),
}
BITS = (16, 8)
CONIFEREST = "coniferest"

Table2D = NDArray[np.floating[Any]]
Labelled = tuple[str, Table2D, Table2D, NDArray[np.int64], int]
"""A set's name, rows to fit on, rows to score, their labels (1 is an anomaly), and the seed."""


def effect(model: BaseIsolationForest, bits: int, rows: Table2D, truth: NDArray[np.int64]) -> dict[str, float]:
    """What quantising a fitted model does to it."""
    before = model.score_samples(rows)
    small = model.quantize(bits)
    after = small.score_samples(rows)
    change = np.abs(after - before)
    return {
        "bytes": small.model_bytes(),
        "share of the bytes": small.model_bytes() / model.model_bytes(),
        "largest change": float(change.max()),
        "mean change": float(change.mean()),
        "AUROC": float(roc_auc_score(truth, -before)),
        "AUROC change": float(roc_auc_score(truth, -after) - roc_auc_score(truth, -before)),
    }


def judge(data: Iterator[Labelled], models: Mapping[str, Callable[[int], BaseIsolationForest]]) -> list[dict[str, Any]]:
    """The effect of each number of bits on each model, one entry a set, model, number of bits and seed."""
    found = []
    for name, train, rows, truth, seed in data:
        for kind, make in models.items():
            model = make(seed).fit(train)
            for bits in BITS:
                found.append(
                    {"set": name, "model": kind, "bits": bits, "seed": seed, **effect(model, bits, rows, truth)}
                )
        print(f"{name}, seed {seed}", flush=True)
    return found


def adbench_sets(folder: Path, n_seeds: int, most: int | None) -> Iterator[Labelled]:
    for name, X, y in islice(adbench.sets(folder), most):
        for seed in range(n_seeds):
            yield name, *adbench.split(X, y, seed), seed


def profiles(n_seeds: int, rows: int) -> Iterator[tuple[str, Settings, Labelled]]:
    """The features of synthetic records, for the base's forests and for the recipe's."""
    for profile in PROFILES:
        for seed in range(n_seeds):
            data = generate(profile, rows, seed=seed)
            training = np.random.default_rng(seed).permutation(rows) < 0.7 * rows
            for kind, settings in (("all features", Settings()), ("surprises", RECIPE)):
                detector = make_detector(settings, None, make_forest(settings, seed=seed))
                scaled = detector.preprocessor.fit(data.frame[training])
                prepare = detector.scaler.fit(scaled.transform(data.frame[training])).transform
                fit, rest = (prepare(scaled.transform(data.frame[part])) for part in (training, ~training))
                truth = (data.labels[~training] == -1).astype(np.int64)
                yield kind, settings, (f"{profile}, {kind}", fit, rest, truth, seed)


def judge_profiles(n_seeds: int, rows: int) -> list[dict[str, Any]]:
    found = []
    for kind, settings, labelled in profiles(n_seeds, rows):
        recipe = {"recipe": lambda seed, settings=settings: make_forest(settings, seed=seed)}
        found += judge(iter([labelled]), MODELS if kind == "all features" else recipe)
    return found


def summary(found: Sequence[Mapping[str, Any]], title: str, note: str = "") -> Table:
    """One row a model and number of bits; AUROC of a set is the mean over its seeds."""
    rows = []
    for kind in dict.fromkeys(entry["model"] for entry in found):
        for bits in BITS:
            entries = [entry for entry in found if (entry["model"], entry["bits"]) == (kind, bits)]
            by_set = {
                name: float(np.mean([entry["AUROC change"] for entry in entries if entry["set"] == name]))
                for name in dict.fromkeys(entry["set"] for entry in entries)
            }
            worst = max(by_set, key=lambda name: abs(by_set[name]))
            shares = [entry["share of the bytes"] for entry in entries]
            rows.append(
                [
                    f"{kind}, {bits} bits",
                    f"{min(shares):.1%} to {max(shares):.1%}",
                    f"{max(entry['largest change'] for entry in entries):.4f}",
                    f"{np.mean([entry['mean change'] for entry in entries]):.5f}",
                    f"{np.mean(list(by_set.values())):+.5f}",
                    f"{np.mean(np.abs(list(by_set.values()))):.5f}",
                    f"{by_set[worst]:+.4f} ({worst})",
                ]
            )
    columns = ["model", "share of the bytes", "largest score change", "mean score change", "AUROC change, mean"]
    return Table(title, [*columns, "its size, mean", "at worst"], rows, note)


def each(found: Sequence[Mapping[str, Any]], title: str) -> Table:
    """AUROC and its change by 8 bits of each set."""
    kinds = list(dict.fromkeys(entry["model"] for entry in found))
    rows = []
    for name in dict.fromkeys(entry["set"] for entry in found):
        cells = []
        for kind in kinds:
            entries = [e for e in found if (e["set"], e["model"], e["bits"]) == (name, kind, 8)]
            mean = {key: np.mean([e[key] for e in entries]) if entries else None for key in ("AUROC", "AUROC change")}
            cells.append("-" if mean["AUROC"] is None else f"{mean['AUROC']:.4f} {mean['AUROC change']:+.4f}")
        rows.append([name, *cells])
    return Table(title, ["set", *kinds], rows)


def speed(rows: int, features: int, jobs: int, repeats: int) -> tuple[Table, dict[str, Any]]:
    """Rows a second of the classic forest, whole and quantised, and of coniferest."""
    X = table_of_numbers(rows, features)
    settings = peers.Settings(jobs=jobs)
    model = MLXIsolationForest(n_jobs=jobs, random_state=peers.SEED).fit(X)
    small = {f"{bits} bits": model.quantize(bits) for bits in BITS}
    tasks: dict[str, Callable[[], object]] = {
        name: partial(each_model.score_samples, X) for name, each_model in {"exact": model, **small}.items()
    }
    sizes = {"exact": model.model_bytes(), **{name: each_model.model_bytes() for name, each_model in small.items()}}
    found, skipped = peers.contestants(settings, only=[CONIFEREST])
    tasks |= {other.name: partial(other.score, other.fit(X, settings), X, settings) for other in found}
    timings = interleaved(tasks, repeats=repeats)
    base = timings[CONIFEREST].median if CONIFEREST in timings else None
    table = [
        [
            name,
            f"{rows / timing.median / 1e6:.2f}",
            "-" if base is None else f"{base / timing.median:.2f} x",
            f"{sizes[name]:,}" if name in sizes else "-",
            f"{timing.spread():.0%}",
        ]
        for name, timing in timings.items()
    ]
    columns = ["forest", "million rows a second", "times coniferest", "bytes", "spread"]
    seconds = {name: timing.seconds for name, timing in timings.items()}
    title = f"{rows:,} rows x {features}, 100 trees of 256"
    return Table(title, columns, table, peers.skipping(skipped)), {"seconds": seconds, "bytes": sizes}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = options("quantization", __doc__)
    parser.add_argument("--adbench", type=Path, metavar="FOLDER", help="ADBench's sets as .npz files")
    parser.add_argument("--seeds", type=int, default=3, help="forests and splits of each set (%(default)s)")
    given = parser.parse_args(arguments)
    if given.adbench is not None and not list(given.adbench.glob("*.npz")):
        parser.error(f"no .npz files in {given.adbench}; they come with ADBench (adbench/datasets/Classical)")
    shapes, rows, seeds, most = [(500_000, 8), (100_000, 64)], 10_000, given.seeds, None
    if given.quick:
        shapes, rows, seeds, most = [(2_000, 4)], 300, 1, 1
    tables: list[Table] = []
    measurements: dict[str, Any] = {}
    for shape in shapes:
        table, timings = speed(*shape, given.jobs, given.repeats)
        tables.append(table)
        measurements[f"{shape[0]} x {shape[1]}"] = timings
    found = judge_profiles(seeds, rows)
    note = "'all features' for the three forests, 'surprises' for the recipe: 300 trees of 128, judged by density."
    tables.append(summary(found, f"Synthetic records ({rows:,}; 30 % scored)", note))
    measurements["profiles"] = found
    if given.adbench is not None:
        found = judge(adbench_sets(given.adbench, seeds, most), MODELS)
        tables.append(summary(found, f"ADBench ({len({entry['set'] for entry in found})} sets)"))
        tables.append(each(found, "Each set: AUROC, and its change by 8 bits"))
        measurements["adbench"] = found
    save(
        "quantization",
        Result(
            "Quantisation",
            "Bytes are those of the forest's arrays as stored, in percent of the whole model's. Scores lie in [-1, 0). "
            f"AUROC changes are means over {seeds} seeds.",
            "python -m benchmarks.quantization" + ("" if given.adbench is None else " --adbench FOLDER"),
            tables,
            measurements,
            machine(),
            versions(["numpy", "numba", "scikit-learn", "coniferest"]),
        ),
        given.output,
    )


if __name__ == "__main__":
    main()
