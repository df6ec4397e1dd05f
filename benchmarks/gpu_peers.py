"""Other ways to score on the same machine: nvForest, XGBoost, torch.compile, scikit-learn, our Numba engine.

Each takes the training rows, inputs on the device, our forest and a number of repeats, and returns million rows a
second. One that is missing raises ImportError.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import joblib
import mlx.core as mx
import numpy as np
from joblib import cpu_count
from numpy.typing import NDArray
from sklearn.ensemble import IsolationForest

from benchmarks.converted import booster
from mlx_iforest.backends import get_backend
from mlx_iforest.forest import Forest
from mlx_iforest.threads import run

CPU_ROWS = 200_000
WALKED_ROWS = 1 << 20


def _rate(n_rows: int, work: Callable[[int], Any], repeats: int) -> float:
    work(0)
    taken = []
    for i in range(repeats):
        began = time.perf_counter()
        work(i + 1)
        taken.append(time.perf_counter() - began)
    return n_rows / statistics.median(taken) / 1e6


def _sklearn_forest(training: NDArray[np.float32], forest: Forest) -> IsolationForest:
    model = IsolationForest(n_estimators=forest.n_trees, max_samples=forest.subsample_size, random_state=0)
    return model.fit(training)


def nvforest(training: NDArray[np.float32], inputs: list[mx.array], forest: Forest, repeats: int) -> float:
    """The best of what its own `optimize` chooses and of all layouts and some sizes of chunks, data on the device."""
    import cupy  # type: ignore[import-not-found]
    import nvforest as library  # type: ignore[import-not-found]
    import treelite  # type: ignore[import-not-found]

    rows = [cupy.asarray(np.array(X)) for X in inputs]
    model = treelite.sklearn.import_model(_sklearn_forest(training, forest))

    def rate(scorer: Any, chunk: int | None) -> float:
        def work(i: int) -> None:
            scorer.predict(rows[i % len(rows)], chunk_size=chunk)
            cupy.cuda.Device().synchronize()

        return _rate(len(rows[0]), work, repeats)

    rates: dict[str, float] = {}
    for layout in ("depth_first", "breadth_first", "layered"):
        scorer = library.load_from_treelite_model(model, device="gpu", precision="single", layout=layout)
        rates |= {f"{layout}, chunks of {chunk}": rate(scorer, chunk) for chunk in (4, 8, 16, 32)}
    best = scorer.optimize(data=rows[0], timeout=2.0)
    rates[f"optimize: {best.layout}, chunks of {best.default_chunk_size}"] = rate(best, None)
    print("nvForest:", {name: round(found) for name, found in rates.items()}, flush=True)
    return max(rates.values())


def xgboost(training: NDArray[np.float32], inputs: list[mx.array], forest: Forest, repeats: int) -> float:
    """The same shape of trees as XGBoost's own, predicted in place, data on the device."""
    import cupy

    model = booster(_sklearn_forest(training, forest), jobs=-1)
    model.set_param({"device": "cuda"})
    rows = [cupy.asarray(np.array(X)) for X in inputs]

    def work(i: int) -> None:
        model.inplace_predict(rows[i % len(rows)])
        cupy.cuda.Device().synchronize()

    return _rate(len(rows[0]), work, repeats)


def torch_compile(training: NDArray[np.float32], inputs: list[mx.array], forest: Forest, repeats: int) -> float:
    """Our forest walked level by level, compiled by PyTorch, data on the device."""
    import torch  # type: ignore[import-not-found]

    root = np.repeat(forest.tree_start[:-1], np.diff(forest.tree_start))
    is_split = forest.feature >= 0
    left = np.where(is_split, root + forest.left, np.arange(forest.n_nodes))
    device = "cuda"
    roots = torch.tensor(forest.tree_start[:-1].astype(np.int32), device=device)[None, :]
    feature = torch.tensor(np.maximum(forest.feature, 0), device=device)
    # A leaf is its own child: nothing is larger than its threshold.
    threshold = torch.tensor(np.where(is_split, forest.threshold, np.float32(np.inf)), device=device)
    child = torch.tensor(left.astype(np.int32), device=device)
    value = torch.tensor(forest.path_length, device=device)
    depth = forest.max_depth

    def walk(X: Any) -> Any:
        node = roots.expand(len(X), -1)
        for _ in range(depth):
            x = torch.gather(X, 1, feature[node].long())
            node = child[node] + (x > threshold[node]).int()
        return value[node].sum(dim=1)

    compiled = torch.compile(walk)
    rows = [torch.tensor(np.array(X[:WALKED_ROWS]), device=device) for X in inputs]

    def work(i: int) -> None:
        compiled(rows[i % len(rows)])
        torch.cuda.synchronize()

    return _rate(len(rows[0]), work, repeats)


def scikit_learn(training: NDArray[np.float32], inputs: list[mx.array], forest: Forest, repeats: int) -> float:
    """On all cores."""
    model = _sklearn_forest(training, forest)
    rows = np.array(inputs[0][:CPU_ROWS])
    with joblib.parallel_config("threading", n_jobs=-1):
        return _rate(len(rows), lambda i: model.score_samples(rows), 2)


def our_numba(training: NDArray[np.float32], inputs: list[mx.array], forest: Forest, repeats: int) -> float:
    """Our CPU engine on all cores, rows in host memory."""
    backend = get_backend("numba")
    rows = np.array(inputs[0])
    values = forest.path_length[:, None]
    size = backend.piece_rows(len(rows), rows.shape[1], cpu_count()) or len(rows)
    pieces = [rows[i : i + size] for i in range(0, len(rows), size)]
    return _rate(len(rows), lambda i: run(lambda p: backend.leaf_means(forest, values, p), pieces, cpu_count()), 3)


PEERS: dict[str, Callable[..., float]] = {
    "nvForest": nvforest,
    "XGBoost": xgboost,
    "torch.compile": torch_compile,
    "scikit-learn": scikit_learn,
    "our Numba engine": our_numba,
}
