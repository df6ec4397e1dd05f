"""What do conversions cost and gain? scikit-learn's forest taken over, and ours through onnxruntime."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from joblib import parallel_config
from numpy.typing import NDArray
from sklearn.ensemble import IsolationForest

from benchmarks.harness import Result, Table, interleaved, machine, options, save, table_of_numbers, versions
from mlx_iforest import BlendedIsolationForest, MLXIsolationForest
from mlx_iforest.convert.probes import probing_rows

Data = NDArray[np.float32]

TRAINING_ROWS = 5_000

KINDS: dict[str, Callable[[], Any]] = {
    "depth": lambda: MLXIsolationForest(random_state=0),
    "depth, 1,000 trees": lambda: MLXIsolationForest(1000, random_state=0),
    "density, 300 trees of 128": lambda: MLXIsolationForest(300, max_samples=128, scoring="density", random_state=0),
    "blended": lambda: BlendedIsolationForest(random_state=0),
    "oblique": lambda: MLXIsolationForest(extension_level=1, random_state=0),
}

SHORTEST = 0.2
"""Seconds that a timed run takes at least, by scoring again."""

BATCH = 2_000
"""Rows at a time through onnxruntime: oblique splits take 4 bytes a row and split."""

PROBES = 20_000
"""Rows on thresholds, next to them and with gaps, half of which have missing values."""


def session(content: bytes, jobs: int) -> Callable[[Data], NDArray[Any]]:
    """What scores by an ONNX model; `scores` is what it calls its output."""
    import onnxruntime

    chosen = onnxruntime.SessionOptions()
    chosen.intra_op_num_threads = jobs
    opened = onnxruntime.InferenceSession(content, chosen, providers=["CPUExecutionProvider"])
    name = opened.get_inputs()[0].name

    def score(X: Data) -> NDArray[Any]:
        parts = [X[first : first + BATCH] for first in range(0, len(X), BATCH)]
        return np.concatenate([opened.run(["scores"], {name: part})[0].ravel() for part in parts])

    return score


def taken_over(n_rows: int, repeats: int, jobs: int) -> tuple[Table, dict[str, Any]]:
    """scikit-learn's forest, by scikit-learn and converted."""
    X = table_of_numbers(n_rows, 8)
    theirs = IsolationForest(random_state=0, n_jobs=jobs).fit(X[:TRAINING_ROWS])
    ours = MLXIsolationForest.from_sklearn(theirs).set_params(n_jobs=jobs)

    def in_threads(rows: Data) -> NDArray[Any]:
        with parallel_config("threading", n_jobs=jobs):
            return np.asarray(theirs.score_samples(rows))

    ways = {
        "scikit-learn": in_threads,
        "from_sklearn": ours.score_samples,
        "from_sklearn, to_onnx, onnxruntime": session(ours.to_onnx().SerializeToString(), jobs),
    }
    timings = interleaved({way: partial(score, X) for way, score in ways.items()}, repeats=repeats, shortest=SHORTEST)
    converting = interleaved(
        {"from_sklearn": partial(MLXIsolationForest.from_sklearn, theirs), "to_onnx": ours.to_onnx}, repeats=repeats
    )
    rows = np.vstack([X, probing_rows(ours.forest_, PROBES, seed=1)])
    expected = theirs.score_samples(rows)
    slow = timings["scikit-learn"].median
    lines, measurements = [], {}
    for way, score in ways.items():
        median, change = timings[way].median, float(np.abs(score(rows) - expected).max())
        lines.append([way, f"{slow / median:.1f}", f"{n_rows / median / 1e6:.2f} M", f"{change:.0e}"])
        measurements[way] = {"seconds": timings[way].seconds, "largest_difference": change}
    took = ", ".join(f"{way} {1000 * timing.median:.0f} ms" for way, timing in converting.items())
    columns = ["way", "times as fast", "rows a second", "largest difference of a score"]
    return Table(f"scikit-learn's forest on {n_rows:,} rows x 8", columns, lines, f"Conversion: {took}."), measurements


def exported(n_rows: int, repeats: int, jobs: int) -> tuple[Table, dict[str, Any]]:
    """Each kind of forest as an ONNX model."""
    X = table_of_numbers(n_rows, 8)
    lines, measurements = [], {}
    for kind, make in KINDS.items():
        model = make().set_params(n_jobs=jobs).fit(X[:TRAINING_ROWS])
        content = model.to_onnx().SerializeToString()
        score = session(content, jobs)
        tasks = {"ours": partial(model.score_samples, X), "onnxruntime": partial(score, X)}
        timings = interleaved(tasks, repeats=repeats, shortest=SHORTEST)
        rows = np.vstack([X, probing_rows(model.forest_, PROBES, seed=1)])
        change = float(np.abs(score(rows) - model.score_samples(rows)).max())
        rates = [f"{n_rows / timings[way].median / 1e6:.3g} M" for way in tasks]
        lines.append([kind, *rates, f"{len(content) / 1e6:.2f} MB", f"{change:.0e}"])
        measurements[kind] = {way: timing.seconds for way, timing in timings.items()} | {"largest_difference": change}
        print(f"{kind}: {change:.0e}", flush=True)
    columns = ["forest", "rows a second, here", "onnxruntime", "file", "largest difference of a score"]
    return Table(f"As ONNX models: {n_rows:,} rows x 8", columns, lines), measurements


def main(arguments: list[str] | None = None) -> None:
    """Run the benchmark."""
    chosen = options("interop", __doc__).parse_args(arguments)
    here = machine()
    n_rows = 2_000 if chosen.quick else 100_000
    from_theirs, taken = taken_over(n_rows, chosen.repeats, chosen.jobs)
    as_onnx, sent = exported(n_rows // 5, chosen.repeats, chosen.jobs)
    result = Result(
        "To and from other libraries",
        "What do conversions cost and gain? The largest difference is among all rows and "
        f"{PROBES:,} more that lie on thresholds or right beside them, half of them with missing values. onnxruntime "
        f"gets {BATCH:,} rows at a time. Medians of {chosen.repeats} runs of at least {SHORTEST:g} s after a warm-up; "
        f"{chosen.jobs} threads.",
        "python -m benchmarks.interop",
        [from_theirs, as_onnx],
        {"taken over": taken, "as ONNX models": sent},
        here,
        versions(["numpy", "numba", "scikit-learn", "onnx", "onnxruntime"]),
    )
    print(f"written to {save('interop', result, chosen.output)}")


if __name__ == "__main__":
    main()
