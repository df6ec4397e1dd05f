"""Streams: prequential AUROC and rows a second of processor time, with and without drift, against streaming detectors.

    python -m benchmarks.streaming FOLDER [--nab FOLDER] [--seeds 2] [--rows 2000]

FOLDER holds ADBench's sets (`benchmarks.adbench`), each a stream in its own order, of larger sets evenly spaced rows;
then once more with a shift of a third of the features, by three deviations, half way, or with a rotation of all of them
there. Each learner begins with the first block of 256 rows. Every further block is scored, then learned from.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score

from benchmarks import adbench
from benchmarks.harness import FOLDER, Result, Table, machine, save, versions
from mlx_iforest import MLXIsolationForest
from mlx_iforest.stream import WINDOW

BLOCK = 256
CHOSE = ("cover", "landsat", "shuttle")
"""Sets that chose the window and, to be tried, density; they count in no mean."""

LONG = 300_000
"""Rows of the stream that is followed in one call."""

Rows = NDArray[np.float32]


class Learner(Protocol):
    """Scores rows, higher for the more abnormal, and learns from them."""

    def begin(self, X: Rows) -> None: ...

    def next(self, X: Rows) -> Any: ...


class Ours:
    def __init__(self, seed: int, window: int = WINDOW, scoring: str = "depth") -> None:
        self.model = MLXIsolationForest(random_state=seed, window=window, scoring=scoring)

    def begin(self, X: Rows) -> None:
        self.model.partial_fit(X)

    def next(self, X: Rows) -> Any:
        return -self.model.score_update(X)


class Refit:
    """Scikit-learn's forest, fitted again after every block on the last rows."""

    def __init__(self, seed: int, window: int = 2048) -> None:
        self.seed, self.window = seed, window

    def begin(self, X: Rows) -> None:
        self.rows = X[-self.window :]
        self.model = IsolationForest(random_state=self.seed).fit(self.rows)

    def next(self, X: Rows) -> Any:
        scores = -self.model.score_samples(X)
        self.begin(np.concatenate([self.rows, X]))
        return scores


class River:
    """Half-space trees, behind the scaling that they need."""

    def __init__(self, seed: int) -> None:
        # An extra, so imported where it is used.
        from river import anomaly, compose, preprocessing

        self.model = compose.Pipeline(preprocessing.MinMaxScaler(), anomaly.HalfSpaceTrees(seed=seed))

    def begin(self, X: Rows) -> None:
        self.next(X)

    def next(self, X: Rows) -> Any:
        found = []
        for row in X.tolist():
            named = dict(enumerate(row))
            found.append(self.model.score_one(named))
            self.model.learn_one(named)
        return found


class Pysad:
    """One of pysad's models, with its defaults."""

    def __init__(self, name: str, seed: int) -> None:
        from pysad import models

        np.random.seed(seed)  # noqa: NPY002  (what pysad draws from)
        self.model = getattr(models, name)()

    def begin(self, X: Rows) -> None:
        self.model.fit(X)

    def next(self, X: Rows) -> Any:
        return [float(np.squeeze(self.model.fit_score_partial(row))) for row in X.astype(np.float64)]


LEARNERS: Mapping[str, Callable[[int], Learner]] = {
    "mlx_iforest": Ours,
    "mlx_iforest, density": lambda seed: Ours(seed, scoring="density"),
    "scikit-learn, refit": Refit,
    "half-space trees (river)": River,
    "xStream (pysad)": lambda seed: Pysad("xStream", seed),
    "LODA (pysad)": lambda seed: Pysad("LODA", seed),
}


def drifted(X: Rows, kind: str) -> Rows:
    """The stream with a change half way; draws do not depend on the seed of the learners."""
    half, rng, d = len(X) // 2, np.random.default_rng(0), X.shape[1]
    X = X.copy()
    if kind == "shift":
        moved = rng.permutation(d)[: max(1, d // 3)]
        X[half:, moved] += 3 * X[:half, moved].std(axis=0)
    if kind == "rotation":
        rotation, _ = np.linalg.qr(rng.normal(size=(d, d)))
        mean, deviation = X.mean(axis=0), X.std(axis=0) + 1e-9
        X[half:] = (X[half:] - mean) / deviation @ rotation.T * deviation + mean
    return X


def _thinned(X: Any, y: Any, rows: int) -> tuple[Rows, NDArray[np.int64]]:
    kept = np.linspace(0, len(X) - 1, min(rows, len(X))).astype(np.int64)
    return np.ascontiguousarray(X[kept], np.float32), y[kept]


def _series(folder: Path) -> Iterator[tuple[str, Any, NDArray[np.int64]]]:
    """NAB's series: each value, and its distance from the mean of the twelve before; 1 within the labelled windows."""
    windows = json.loads((folder / "windows.json").read_text())
    for path in sorted(folder.glob("*.csv")):
        frame = pd.read_csv(path, parse_dates=["timestamp"])
        before = frame["value"].rolling(12, min_periods=1).mean().shift(1).fillna(frame["value"])
        ours = next(value for key, value in windows.items() if key.endswith(path.name))
        y = np.zeros(len(frame), np.int64)
        for start, end in ours:
            y[frame["timestamp"].between(pd.Timestamp(start), pd.Timestamp(end)).to_numpy()] = 1
        yield path.stem, np.stack([frame["value"], frame["value"] - before], axis=1), y


def streams(folder: Path, nab: Path | None, rows: int) -> Iterator[tuple[str, Rows, NDArray[np.int64]]]:
    """Name, rows and labels of each stream; those are left out that lack anomalies behind the first block."""
    for name, whole, labels in adbench.sets(folder):
        X, y = _thinned(whole, labels, rows)
        if len(X) >= 1500 and 5 <= y[BLOCK:].sum() < len(y) - BLOCK:
            for kind in ("", "shift", "rotation"):
                yield f"{name}, {kind}".rstrip(", "), drifted(X, kind), y
    if nab is not None:
        for name, whole, labels in _series(nab):
            yield (name, *_thinned(whole, labels, rows))


def follow(learner: Learner, X: Rows, y: NDArray[np.int64]) -> tuple[float, float]:
    """AUROC behind the first block, and rows a second of processor time, the first block's left out."""
    learner.begin(X[:BLOCK])
    began, found = time.process_time(), []
    for first in range(BLOCK, len(X), BLOCK):
        found.append(np.asarray(learner.next(X[first : first + BLOCK])))
    seconds = time.process_time() - began
    return float(roc_auc_score(y[BLOCK:], np.concatenate(found))), (len(X) - BLOCK) / seconds


def measure(folder: Path, nab: Path | None, n_seeds: int, rows: int, who: list[str]) -> dict[str, Any]:
    """By stream and learner: pairs of AUROC and rows a second, one a seed."""
    measured: dict[str, Any] = {}
    for name, X, y in streams(folder, nab, rows):
        measured[name] = {one: [follow(LEARNERS[one](seed), X, y) for seed in range(n_seeds)] for one in who}
        print(name, {one: np.round(pairs, 3).tolist() for one, pairs in measured[name].items()}, flush=True)
    return measured


def at_once(seed: int = 0, rows: int = LONG) -> dict[str, float]:
    """Rows a second of processor time of our forest, given a long stream in one call, by `window`."""
    X = np.random.default_rng(seed).normal(size=(rows, 8)).astype(np.float32)
    rates = {}
    for window in (1024, 4096, 8192, 16384):
        learner = Ours(seed, window)
        learner.begin(X[:BLOCK])
        learner.next(X)  # pays for compilation
        began = time.process_time()
        learner.next(X)
        rates[str(window)] = rows / (time.process_time() - began)
    return rates


def tables(measured: Mapping[str, Any], rates: Mapping[str, float]) -> list[Table]:
    """Means over the streams whose sets chose nothing, rates, and stream by stream."""
    who = list(next(iter(measured.values())))
    held_out = [one for name, one in measured.items() if name.split(",")[0] not in CHOSE]
    lines = []
    for one in who:
        aucs = [np.mean([auc for auc, _ in stream[one]]) for stream in held_out]
        best = [max(np.mean([auc for auc, _ in stream[other]]) for other in who) for stream in held_out]
        near = sum(a >= b - 0.01 for a, b in zip(aucs, best, strict=True))
        speed = np.median([rate for stream in held_out for _, rate in stream[one]])
        lines.append([one, f"{np.mean(aucs):.3f}", f"{near} of {len(held_out)}", f"{speed:,.0f}"])
    columns = ["", "mean AUROC", "within .01 of the best", "rows a CPU second, median"]
    note = f"Sets that chose the window count in no mean: {', '.join(CHOSE)}. Blocks of {BLOCK} rows."
    means = Table(f"Means of {len(held_out)} streams", columns, lines, note)
    long = Table(
        f"mlx_iforest, {LONG:,} rows of 8 features in one call",
        ["window", "rows a CPU second"],
        [[window, f"{rate:,.0f}"] for window, rate in rates.items()],
    )
    rows = [
        [name, *(f"{np.mean([auc for auc, _ in stream[one]]):.3f}" for one in who)] for name, stream in measured.items()
    ]
    return [means, *([long] if rates else []), Table("AUROC by stream", ["stream", *who], rows)]


def main(arguments: list[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="ADBench's sets, as .npz files")
    parser.add_argument("--nab", type=Path, help="folder of NAB's series and windows.json")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--rows", type=int, default=2000, help="of each stream at most (%(default)s)")
    parser.add_argument("--only", nargs="+", default=list(LEARNERS), choices=LEARNERS, metavar="NAME")
    parser.add_argument("--output", type=Path, default=FOLDER, help="folder for RESULTS.md and results/ (%(default)s)")
    chosen = parser.parse_args(arguments)
    here = machine()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        measured = measure(chosen.folder, chosen.nab, chosen.seeds, chosen.rows, chosen.only)
    rates = at_once()
    result = Result(
        "Streams",
        f"A forest that moves with its stream, against detectors made for streams and scikit-learn's forest, fitted "
        f"again after every block on the last 2,048 rows. {chosen.seeds} seeds, at most {chosen.rows:,} rows a stream. "
        "Online-iForest has no package to install, and random cut trees (rrcf) are too slow to run here.",
        "python -m benchmarks.streaming FOLDER --nab FOLDER",
        tables(measured, rates),
        {"streams": measured, "at_once": rates},
        here,
        versions(["numpy", "numba", "scikit-learn", "river", "pysad"]),
    )
    print(f"written to {save('streaming', result, chosen.output)}")


if __name__ == "__main__":
    main()
