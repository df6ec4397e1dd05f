"""Scoring rows that lie on the GPU, or in NumPy's arrays, by the public calls; on a machine with a GPU of MLX's.

``python -m benchmarks.gpu_arrays [--rows N]``. Needs MLX with a GPU; PyTorch and CuPy where they are installed. Each
rate is the median of 20 runs, in turns, each ended by its result. Beside them are the kernel alone, and for rows of
NumPy's what Numba does on all cores, and how fast all of them copy such rows in memory.
"""

from __future__ import annotations

import argparse
import importlib
import json
import statistics
import time
from collections.abc import Callable
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np

from mlx_iforest import MLXIsolationForest
from mlx_iforest.backends.mlx.scoring import kernel_scorer
from mlx_iforest.cores import cores
from mlx_iforest.threads import run

SHAPES = ((4_000_000, 8), (1_000_000, 64), (1_000_000, 500))
REPEATS = 20


def runs(model: MLXIsolationForest, X: np.ndarray) -> dict[str, Callable[[], object]]:
    """What is timed, by name."""
    mx = importlib.import_module("mlx.core")
    there = mx.array(X)
    mx.eval(there)
    (table,) = model._fitted().scored.tables
    scorer = kernel_scorer(*table)
    assert scorer is not None
    found: dict[str, Callable[[], object]] = {
        "kernel alone": lambda: mx.eval(scorer.totals(there)),
        "mlx": lambda: model.score_samples(there),
        "mlx, scorer": lambda: model.scorer().score(there),
        "numpy": lambda: model.score_samples(X),
    }
    found |= on_all_cores(model, X)
    try:
        torch = importlib.import_module("torch")
        tensor = torch.from_numpy(X).cuda()
        found["torch"] = lambda: (model.score_samples(tensor), torch.cuda.synchronize())
    except ImportError:
        print("skipped: no PyTorch")
    try:
        cupy = importlib.import_module("cupy")
        array = cupy.asarray(X)
        found["cupy"] = lambda: (model.score_samples(array), cupy.cuda.Device().synchronize())
    except ImportError:
        print("skipped: no CuPy")
    return found


def on_all_cores(model: MLXIsolationForest, X: np.ndarray) -> dict[str, Callable[[], object]]:
    """Rows of NumPy's by the GPU and by the host, and copied."""
    on_gpu, on_host = (copy(model).set_params(n_jobs=-1, backend=backend) for backend in ("mlx", "numba"))
    target = np.empty_like(X)
    parts = np.array_split(np.arange(len(X)), 4 * cores())
    slices = [slice(int(part[0]), int(part[-1]) + 1) for part in parts if len(part)]
    return {
        "numpy, all threads": lambda: on_gpu.score_samples(X),
        "numba, all cores": lambda: on_host.score_samples(X),
        "copied, all cores": lambda: run(lambda part: np.copyto(target[part], X[part]), slices, cores()),
    }


def measure(n_rows: int, n_features: int) -> dict[str, float]:
    """Million rows a second by name."""
    X = np.random.default_rng(0).normal(size=(n_rows, n_features)).astype(np.float32)
    model = MLXIsolationForest(random_state=0).fit(X[:100_000])
    expected = model.score_samples(X[:1000])
    taken: dict[str, list[float]] = {}
    timed = runs(model, X)
    for name, timed_run in timed.items():
        scores: Any = timed_run()
        if name in ("mlx", "torch", "cupy"):
            first = (scores[0] if isinstance(scores, tuple) else scores)[:1000]
            got = first.cpu().numpy() if name == "torch" else first.get() if name == "cupy" else np.asarray(first)
            assert np.abs(got - expected).max() <= 1e-6, f"{name}'s scores are not NumPy's"
    for _ in range(REPEATS):
        for name, timed_run in timed.items():
            began = time.perf_counter()
            timed_run()
            taken.setdefault(name, []).append(time.perf_counter() - began)
    return {name: round(n_rows / statistics.median(times) / 1e6, 1) for name, times in taken.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, help="of each shape, in place of millions")
    parser.add_argument("--output", type=Path, help="a JSON file for the rates")
    options = parser.parse_args()
    rates = {}
    for n_rows, n_features in SHAPES:
        rates[f"{n_features} features"] = measure(options.rows or n_rows, n_features)
        print(n_features, "features, million rows a second:", rates[f"{n_features} features"], flush=True)
    if options.output:
        options.output.write_text(json.dumps(rates, indent=1))


if __name__ == "__main__":
    main()
