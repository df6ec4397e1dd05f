"""Tables that a recipe was not chosen on: how they are halved, split into rows to learn from and rows to judge, and
compared.

The protocol, written down before any result:

- Two collections, ADBench's classical sets and OddBench's tables, are put together. `half` of a set's name (a hash)
  says whether it is for development or held out. Whatever is chosen is chosen on the development half, by leaving sets
  out; the held-out half is reported once, for the recipe chosen.
- **Contaminated**: anomalies are among the rows to learn from. ADBench: a stratified 70/30 split, of sets beyond 10,000
  rows 10,000 are drawn. OddBench: `train` and `test` put together, 6,000 drawn, the same split.
- **Clean**: none is. ADBench: the same split without the anomalies of the 70 %. OddBench: up to 3,000 rows of `train`,
  and the whole of `test`.
- What counts is the difference to scikit-learn's `IsolationForest` (its defaults) on the same rows and with the same
  seed, in AUROC and average precision, as the mean over seeds of each set: their mean, spread (standard deviation) over
  sets, 95 % interval of the mean (bootstrap over sets), and how many sets lose more than 0.05 AUROC.
"""

from __future__ import annotations

import argparse
import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import NDArray
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.model_selection import train_test_split

from benchmarks.harness import Result, Table, machine, save, versions
from mlx_iforest import BlendedIsolationForest, MLXIsolationForest

__all__ = ["DETECTORS", "HALVES", "HISTORIES", "TableSet", "Task", "half", "run", "sets", "summary"]

DETECTORS: dict[str, Callable[[int], Any]] = {
    "scikit-learn": lambda seed: IsolationForest(random_state=seed),
    "MLXIsolationForest": lambda seed: MLXIsolationForest(random_state=seed),
    "MLXIsolationForest, scoring='density'": lambda seed: MLXIsolationForest(scoring="density", random_state=seed),
    "BlendedIsolationForest": lambda seed: BlendedIsolationForest(random_state=seed),
    "BlendedIsolationForest, history='clean'": lambda seed: BlendedIsolationForest(history="clean", random_state=seed),
}
YARDSTICK = "scikit-learn"

HISTORIES = ("contaminated", "clean")
HALVES = ("held out", "development")
MOST_LOST = 0.05
"""AUROC; a set that loses more counts as lost."""

Found = dict[str, dict[str, dict[str, list[tuple[float, float]]]]]
"""AUROC and average precision of each seed, by history, detector and set."""

LARGEST = {"adbench": 10_000, "oddbench": 6_000}
"""Rows drawn of a set, contaminated."""
MOST_CLEAN = 3_000
"""Rows of OddBench's `train` to learn from."""

Rows = NDArray[np.float64]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Task:
    """Rows to learn from, rows to judge, and the labels of these (1 is an anomaly)."""

    train: Rows
    test: Rows
    truth: Labels


@dataclass(frozen=True)
class TableSet:
    """One set of a collection.

    Parameters
    ----------
    collection : {'adbench', 'oddbench'}
    name : str
    normal : ndarray or None
        OddBench's `train`.
    rows, labels : ndarray
        OddBench's `test`, or all of an ADBench set.
    """

    collection: str
    name: str
    normal: Rows | None
    rows: Rows
    labels: Labels

    def task(self, history: str, seed: int) -> Task:
        """The rows of a protocol."""
        if history == "clean" and self.normal is not None:
            drawn = np.random.default_rng(seed).permutation(len(self.normal))[:MOST_CLEAN]
            return Task(self.normal[drawn], self.rows, self.labels)
        X, y = self.rows, self.labels
        if self.normal is not None:
            X, y = np.concatenate([self.normal, X]), np.concatenate([np.zeros(len(self.normal), np.int64), y])
        if len(X) > LARGEST[self.collection]:
            drawn = np.random.default_rng(seed).choice(len(X), LARGEST[self.collection], replace=False)
            X, y = X[drawn], y[drawn]
        train, test, learned, truth = train_test_split(X, y, test_size=0.3, stratify=y, random_state=seed)
        return Task(train if history == "contaminated" else train[learned == 0], test, truth)


def half(name: str) -> str:
    """'development' or 'held out': by the first byte of the name's SHA-256."""
    return "held out" if hashlib.sha256(name.lower().encode()).digest()[0] % 2 else "development"


def sets(folder: Path) -> Iterator[TableSet]:
    """The sets of a folder of .npz files: ADBench's with X and y, OddBench's with train, test and test_labels."""
    for path in sorted(folder.glob("*.npz")):
        with np.load(path) as data:
            if "X" in data.files:
                name = path.stem.split("_", 1)[-1]
                yield TableSet("adbench", name, None, data["X"].astype(np.float64), data["y"].astype(np.int64))
            else:
                normal, rows = data["train"].astype(np.float64), data["test"].astype(np.float64)
                yield TableSet("oddbench", path.stem, normal, rows, data["test_labels"].astype(np.int64))


def measure(table: TableSet, history: str, n_seeds: int) -> dict[str, list[tuple[float, float]]]:
    """AUROC and average precision of each detector, one pair a seed."""
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for seed in range(n_seeds):
        task = table.task(history, seed)
        for detector, make in DETECTORS.items():
            abnormality = -make(seed).fit(task.train).score_samples(task.test)
            pair = roc_auc_score(task.truth, abnormality), average_precision_score(task.truth, abnormality)
            found[detector].append((float(pair[0]), float(pair[1])))
    return dict(found)


def differences(by_set: dict[str, list[tuple[float, float]]], to: dict[str, list[tuple[float, float]]]) -> Rows:
    """The mean difference of each set, shape (n_sets, 2)."""
    return np.array([np.mean(np.subtract(pairs, to[name]), axis=0) for name, pairs in by_set.items()])


def summary(found: Found, which: str) -> Table:
    """What is reported of one half of a collection."""
    lines = []
    for history in HISTORIES:
        by_detector = {
            detector: {name: pairs for name, pairs in by_set.items() if half(name) == which}
            for detector, by_set in found[history].items()
        }
        for detector, by_set in by_detector.items():
            means = np.mean([np.mean(pairs, axis=0) for pairs in by_set.values()], axis=0)
            apart = differences(by_set, by_detector[YARDSTICK])
            drawn = np.random.default_rng(0).integers(0, len(apart), (10_000, len(apart)))
            low, high = np.percentile(apart[drawn].mean(axis=1), [2.5, 97.5], axis=0)
            cells = [f"{means[0]:.3f} / {means[1]:.3f}"]
            if detector != YARDSTICK:
                cells += [
                    f"{apart[:, k].mean():+.3f} ({low[k]:+.3f} to {high[k]:+.3f}), {apart[:, k].std():.3f}"
                    for k in (0, 1)
                ]
                cells.append(f"{int((apart[:, 0] < -MOST_LOST).sum())} of {len(apart)}")
            lines.append([f"{history}: {detector}", *cells, *[""] * (4 - len(cells))])
    columns = [
        "history: detector",
        "mean AUROC / average precision",
        "AUROC against scikit-learn: mean (95 % interval), spread over sets",
        "the same of average precision",
        f"sets that lose more than {MOST_LOST}",
    ]
    return Table(f"Sets {which}" if which == "held out" else "Sets for development", columns, lines)


def run(
    collection: str, title: str, about: str, where: str, others: Callable[[Path, int], list[Table]] | None = None
) -> None:
    """Run the benchmark of a collection and keep its results."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{collection}", description=title)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=-1, help="sets that are measured at a time")
    parser.add_argument("--output", type=Path, default=None, help="folder to write results to in place of benchmarks")
    chosen = parser.parse_args()
    tables = [table for table in sets(chosen.folder) if table.collection == collection]
    if not tables:
        parser.error(f"no .npz files of {collection} in {chosen.folder}; {where}")
    tasks = [(history, table) for history in HISTORIES for table in sorted(tables, key=lambda table: -table.rows.size)]
    measured = Parallel(n_jobs=chosen.jobs, batch_size=1)(
        delayed(measure)(table, history, chosen.seeds) for history, table in tasks
    )
    found: Found = {history: {detector: {} for detector in DETECTORS} for history in HISTORIES}
    for (history, table), by_detector in zip(tasks, measured, strict=True):
        for detector, pairs in by_detector.items():
            found[history][detector][table.name] = pairs
    shown = [summary(found, which) for which in HALVES if any(half(table.name) == which for table in tables)]
    result = Result(
        title,
        about
        + f" Means over {chosen.seeds} seeds. The protocol is in `benchmarks/unseen.py`; recipes were chosen on the"
        " sets for development alone.",
        f"python -m benchmarks.{collection} FOLDER",
        [*shown, *(others(chosen.folder, chosen.seeds) if others else [])],
        {"found": found},
        machine(),
        versions(["numpy", "scikit-learn"]),
    )
    save(collection, result, *([chosen.output] if chosen.output else []))
