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

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

__all__ = ["HISTORIES", "TableSet", "Task", "half", "sets"]

HISTORIES = ("contaminated", "clean")
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
