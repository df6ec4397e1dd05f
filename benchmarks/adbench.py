"""Detection on ADBench's classical sets: the classic forest, the blended one and scikit-learn's, on the same splits.

    python -m benchmarks.adbench FOLDER [--seeds 5]

FOLDER holds the sets as .npz files with arrays X and y (1 is an anomaly), as ADBench publishes them. Its protocol: a
stratified 70/30 split, scores on the 30 %, means over seeds; of sets beyond 10,000 rows, 10,000 are drawn.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.model_selection import train_test_split

from benchmarks.harness import Result, Table, machine, save, versions
from mlx_iforest import BlendedIsolationForest, MLXIsolationForest

DETECTORS: dict[str, Callable[[int], Any]] = {
    "scikit-learn": lambda seed: IsolationForest(random_state=seed),
    "MLXIsolationForest": lambda seed: MLXIsolationForest(random_state=seed),
    "MLXIsolationForest, extension_level=1": lambda seed: MLXIsolationForest(extension_level=1, random_state=seed),
    "MLXIsolationForest, scoring='density'": lambda seed: MLXIsolationForest(scoring="density", random_state=seed),
    "BlendedIsolationForest": lambda seed: BlendedIsolationForest(random_state=seed),
}
YARDSTICK = "scikit-learn"
LARGEST = 10_000
ANCHORS = {
    "mammography": 0.865,
    "shuttle": 0.997,
    "annthyroid": 0.813,
    "cardio": 0.928,
    "satellite": 0.717,
    "breastw": 0.986,
    "ionosphere": 0.844,
    "pima": 0.668,
}
"""AUROC that LinkedIn's isolation forest publishes for 100 trees of 256 samples, scored on the training data."""


def sets(folder: Path) -> Iterator[tuple[str, NDArray[np.float64], NDArray[np.int64]]]:
    """Name, rows and labels of each set."""
    for path in sorted(folder.glob("*.npz")):
        with np.load(path) as data:
            yield path.stem.split("_", 1)[-1], data["X"].astype(np.float64), data["y"].astype(np.int64)


def split(
    X: NDArray[np.float64], y: NDArray[np.int64], seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Rows to fit on, rows to score, and the labels of these, by ADBench's protocol."""
    if len(X) > LARGEST:
        rows = np.random.default_rng(seed).choice(len(X), LARGEST, replace=False)
        X, y = X[rows], y[rows]
    train, test, _, truth = train_test_split(X, y, test_size=0.3, stratify=y, random_state=seed)
    return train, test, truth


def measure(folder: Path, n_seeds: int) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """AUROC and average precision of each detector on each set, one pair a seed."""
    found: dict[str, dict[str, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
    for name, X, y in sets(folder):
        for seed in range(n_seeds):
            train, test, truth = split(X, y, seed)
            for detector, make in DETECTORS.items():
                abnormality = -make(seed).set_params(n_jobs=-1).fit(train).score_samples(test)
                pair = (roc_auc_score(truth, abnormality), average_precision_score(truth, abnormality))
                found[detector][name].append((float(pair[0]), float(pair[1])))
        print(f"{name}: " + ", ".join(f"{d} {np.mean(found[d][name], axis=0).round(3)}" for d in DETECTORS), flush=True)
    return {detector: dict(by_set) for detector, by_set in found.items()}


def anchor_table(folder: Path, n_seeds: int) -> tuple[Table, dict[str, float]]:
    """The classic forest on whole sets against published figures."""
    rows, found = [], {}
    for name, X, y in sets(folder):
        published = ANCHORS.get(name.lower())
        if published is not None:
            models = [MLXIsolationForest(n_jobs=-1, random_state=seed).fit(X) for seed in range(n_seeds)]
            found[name] = float(np.mean([roc_auc_score(y, -model.score_samples(X)) for model in models]))
            rows.append([name, f"{published:.3f}", f"{found[name]:.3f}", f"{found[name] - published:+.3f}"])
    note = "Published by LinkedIn for its isolation forest, 100 trees of 256 samples, scored on the training data."
    return Table("Against published figures: AUROC", ["set", "published", "ours", "difference"], rows, note), found


def tables(found: dict[str, dict[str, list[tuple[float, float]]]]) -> list[Table]:
    means = {d: {s: np.mean(pairs, axis=0) for s, pairs in by_set.items()} for d, by_set in found.items()}
    summary = []
    for detector, by_set in means.items():
        overall = np.mean(list(by_set.values()), axis=0)
        losses = {name: float(pair[0] - means[YARDSTICK][name][0]) for name, pair in by_set.items()}
        worst = min(losses, key=lambda name: losses[name])
        better = sum(loss > 0 for loss in losses.values())
        summary.append(
            [detector, f"{overall[0]:.4f}", f"{overall[1]:.4f}", f"{losses[worst]:+.3f} ({worst})", f"{better}"]
        )
    columns = ["detector", "mean AUROC", "mean average precision", "worst AUROC against scikit-learn", "sets better"]
    names = list(means[YARDSTICK])
    shown = [YARDSTICK, "MLXIsolationForest", "BlendedIsolationForest"]
    each = [[name, *(f"{means[d][name][0]:.3f} / {means[d][name][1]:.3f}" for d in shown)] for name in names]
    return [
        Table(f"Means over {len(names)} sets", columns, summary),
        Table("Each set: AUROC / average precision", ["set", *shown], each),
    ]


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description="Detection on ADBench's classical sets")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    if not list(arguments.folder.glob("*.npz")):
        parser.error(f"no .npz files in {arguments.folder}; they come with ADBench (adbench/datasets/Classical)")
    found = measure(arguments.folder, arguments.seeds)
    anchors, anchored = anchor_table(arguments.folder, arguments.seeds)
    save(
        "adbench",
        Result(
            "Detection on ADBench",
            "A stratified 70/30 split, scores on the 30 %, means over "
            f"{arguments.seeds} seeds; of sets beyond 10,000 rows, 10,000 are drawn. Higher is better; "
            "no setting is tuned to a set.",
            "python -m benchmarks.adbench FOLDER",
            [*tables(found), anchors],
            {"found": found, "anchors": anchored},
            machine(),
            versions(["numpy", "scikit-learn"]),
        ),
    )


if __name__ == "__main__":
    main()
