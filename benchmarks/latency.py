"""How long does one row take, and how long a few? Time a row against the size of a batch, from one row up.

Single-threaded work ends somewhere, compiled tables begin to pay somewhere: a plot shows whether there is a cliff.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import Result, Table, interleaved, machine, options, save, table_of_numbers, versions
from benchmarks.peers import SEED, Contestant, Settings, contestants, skipping
from benchmarks.plots import Series, draw
from mlx_iforest import BlendedIsolationForest, MLXIsolationForest
from mlx_iforest.backends import get_backend

DRAWN = (1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000)
SIZES = tuple(sorted({*DRAWN, 2, 5, 20, 63, 64, 200, 500, 1_024, 1_025, 2_000, 5_000}))
"""With neighbours between which an engine may change its way."""

QUICK_SIZES = (1, 64, 1_025)
TABLED = (1, 10, 100, 1_000, 10_000)
FEATURES, TRAINED = 8, 10_000
CALL = 0.02
"""Seconds that the calls of one timing take together, about."""

CLIFF = 1.5
"""Times as long as a batch with a few rows less: no step should be higher."""

Data = NDArray[np.float32]
Score = Callable[[Data], Any]


def ours(X: Data, settings: Settings) -> dict[str, Score]:
    """The ways into our forests, the shortest first."""
    model = MLXIsolationForest(settings.trees, max_samples=settings.samples, n_jobs=settings.jobs, random_state=SEED)
    blended = BlendedIsolationForest(n_jobs=settings.jobs, random_state=SEED).fit(X)
    forest = model.fit(X).forest_
    engine = partial(get_backend(model.backend_.name).leaf_means, forest, forest.path_length[:, None])
    return {
        "mlx_iforest, engine alone": engine,
        "mlx_iforest, scorer": model.scorer(),
        "mlx_iforest, score_samples": model.score_samples,
        "mlx_iforest, blended, scorer": blended.scorer(),
        "mlx_iforest, blended, score_samples": blended.score_samples,
    }


def theirs(found: Sequence[Contestant], X: Data, settings: Settings) -> dict[str, Score]:
    """Other libraries, fitted."""
    models = {c.name: c.fit(X, settings) for c in found}
    return {c.name: partial(_score, c, models[c.name], settings) for c in found}


def _score(contestant: Contestant, model: Any, settings: Settings, rows: Data) -> Any:
    return contestant.score(model, rows, settings)


def latencies(score: Mapping[str, Score], rows: Data, repeats: int) -> dict[str, float]:
    """Median microseconds of a call with these rows, of several calls each time."""
    once = interleaved({name: partial(call, rows) for name, call in score.items()}, repeats=3)
    calls = {name: max(1, min(2000, int(CALL / timing.median))) for name, timing in once.items()}

    def several(name: str) -> None:
        for _ in range(calls[name]):
            score[name](rows)

    timings = interleaved({name: partial(several, name) for name in score}, repeats=repeats)
    return {name: 1e6 * timing.median / calls[name] for name, timing in timings.items()}


def cliffs(line: Sequence[tuple[int, float]]) -> list[str]:
    """Where a few more rows make a call take much longer: sizes within a factor of 1.3, times beyond `CLIFF`."""
    return [
        f"{n:,} to {more:,} rows: {took:.0f} to {longer:.0f} us"
        for (n, took), (more, longer) in pairwise(line)
        if more <= 1.3 * n and longer > CLIFF * took
    ]


def main(arguments: list[str] | None = None) -> None:
    """Run the benchmark."""
    chosen = options("latency", __doc__).parse_args(arguments)
    here, settings = machine(), Settings(jobs=chosen.jobs)
    X = table_of_numbers(TRAINED, FEATURES)
    found, skipped = contestants(settings, only=chosen.only or ["scikit-learn", "isotree", "coniferest"])
    found = [c for c in found if not c.name.startswith("mlx_iforest")]
    score = {**ours(X, settings), **theirs(found, X, settings)}
    sizes = QUICK_SIZES if chosen.quick else SIZES
    took: dict[str, list[tuple[int, float]]] = {name: [] for name in score}
    for size in sizes:
        for name, microseconds in latencies(score, X[:size].copy(), chosen.repeats).items():
            took[name].append((size, microseconds))
    tabled = [size for size in TABLED if size in sizes]
    rows = [[name, *(f"{dict(line)[size]:,.1f}" for size in tabled)] for name, line in took.items()]
    steep = {name: cliffs(line) for name, line in took.items() if name.startswith("mlx_iforest")}
    note = "; ".join(f"{name}: {', '.join(where)}" for name, where in steep.items() if where)
    table = Table(
        f"Microseconds of a call, {FEATURES} features, {settings.trees} trees of {settings.samples}",
        ["library", *(f"{size:,} row" + "s" * (size > 1) for size in tabled)],
        rows,
        f"Cliffs: {note}." if note else "No cliff.",
    )
    print(table.markdown())
    drawn: dict[str, Series] = {
        name: [(n, 1e6 * n / us) for n, us in line if n in DRAWN] for name, line in took.items() if "engine" not in name
    }
    picture = "results/rate_by_batch.png"
    draw(drawn, "rows in a call", f"{FEATURES} columns", chosen.output / picture)
    about = (
        "How long does one row take, and how long a few? Medians, in one process, with everything warm; calls of "
        f"{CALL:g} s together are timed at once. {settings.jobs} threads are allowed. *Engine alone* gives mean path "
        "lengths; a scorer takes float32 rows in C order as they are, `score_samples` checks them. A cliff is a call "
        f"that takes more than {CLIFF} times as long as one with at most a quarter fewer rows. {skipping(skipped)}"
    )
    result = Result(
        "Latency",
        about,
        "python -m benchmarks.latency",
        [table],
        {"microseconds a call": took},
        here,
        versions(["numpy", "numba", "scikit-learn", "isotree", "coniferest"]),
        {picture: "Rows scored a second against the rows of a call, both on log axes"},
    )
    print(f"written to {save('latency', result, chosen.output)}")


if __name__ == "__main__":
    main()
