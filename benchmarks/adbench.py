"""Detection on ADBench's classical sets: the classic forest, the blended one and scikit-learn's, on the same rows.

    python -m benchmarks.adbench FOLDER [--seeds 5]

FOLDER holds the sets as .npz files with arrays X and y (1 is an anomaly), as ADBench publishes them. What is chosen on
which of them, and what is reported, is said in `benchmarks.unseen`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from benchmarks import unseen
from benchmarks.harness import Table
from mlx_iforest import MLXIsolationForest

LARGEST = unseen.LARGEST["adbench"]
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
    return ((table.name, table.rows, table.labels) for table in unseen.sets(folder))


def split(
    X: NDArray[np.float64], y: NDArray[np.int64], seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Rows to fit on, rows to score, and the labels of these, by ADBench's protocol."""
    task = unseen.TableSet("adbench", "", None, X, y).task("contaminated", seed)
    return task.train, task.test, task.truth


def anchor_table(folder: Path, n_seeds: int) -> list[Table]:
    """The classic forest on whole sets against published figures."""
    rows = []
    for name, X, y in sets(folder):
        published = ANCHORS.get(name.lower())
        if published is not None:
            models = [MLXIsolationForest(n_jobs=-1, random_state=seed).fit(X) for seed in range(n_seeds)]
            found = float(np.mean([roc_auc_score(y, -model.score_samples(X)) for model in models]))
            rows.append([name, f"{published:.3f}", f"{found:.3f}", f"{found - published:+.3f}"])
    note = "Published by LinkedIn for its isolation forest, 100 trees of 256 samples, scored on the training data."
    return [Table("Against published figures: AUROC", ["set", "published", "ours", "difference"], rows, note)]


def main() -> None:
    """Run the benchmark."""
    unseen.run(
        "adbench",
        "Detection on ADBench",
        "Classical sets with labels; of sets beyond 10,000 rows, 10,000 are drawn.",
        "they come with ADBench (adbench/datasets/Classical)",
        anchor_table,
    )


if __name__ == "__main__":
    main()
