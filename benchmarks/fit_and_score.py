"""Time growing and scoring: every backend of ours against scikit-learn, isotree and coniferest.

Run as `python -m benchmarks.fit_and_score` from the project's folder. A library that is not installed, or a backend
that this machine lacks, is named as skipped.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from joblib import parallel_config
from numpy.typing import NDArray
from scipy.stats import spearmanr

from benchmarks.harness import FOLDER, Result, Table, Timing, interleaved, machine, save, versions
from mlx_iforest import MLXIsolationForest
from mlx_iforest.backends import available_backends

YARDSTICK = "scikit-learn"
SLOW_ROWS = 50_000  # what MLX without a GPU scores of a larger table; it exists to be tested there, not to be fast
SEED = 0

Data = NDArray[np.float32]


@dataclass(frozen=True)
class Settings:
    features: int = 8
    trees: int = 100
    samples: int = 256
    jobs: int = 2


@dataclass(frozen=True)
class Contestant:
    """A library under test. `fit(X)` gives a model, `score(model, X)` one number a row, higher for more normal."""

    name: str
    fit: Callable[[Data], Any]
    score: Callable[[Any, Data], NDArray[np.floating[Any]]]
    most_rows: int | None = None


def contestants(settings: Settings) -> tuple[list[Contestant], dict[str, str]]:
    """All that can run here, and why the others cannot."""
    found: list[Contestant] = []
    skipped: dict[str, str] = {}
    for backend, missing in available_backends().items():
        if missing is None:
            found.append(_ours(backend, settings))
        else:
            skipped[f"mlx_iforest ({backend})"] = missing
    found.append(_scikit_learn(settings))
    for package, make in {"isotree": _isotree, "coniferest": _coniferest}.items():
        if find_spec(package) is None:
            skipped[package] = "not installed; the extra `bench` brings it"
        else:
            found.append(make(settings))
    return found, skipped


def _ours(backend: str, settings: Settings) -> Contestant:
    def fit(X: Data) -> Any:
        return MLXIsolationForest(
            settings.trees, max_samples=settings.samples, n_jobs=settings.jobs, random_state=SEED, backend=backend
        ).fit(X)

    slow = backend == "mlx" and not _mlx_has_gpu()
    return Contestant(
        f"mlx_iforest ({backend})", fit, lambda model, X: model.score_samples(X), SLOW_ROWS if slow else None
    )


def _mlx_has_gpu() -> bool:
    import mlx.core as mx

    return bool(mx.is_available(mx.gpu))


def _scikit_learn(settings: Settings) -> Contestant:
    from sklearn.ensemble import IsolationForest

    def fit(X: Data) -> Any:
        return IsolationForest(
            n_estimators=settings.trees, max_samples=settings.samples, n_jobs=settings.jobs, random_state=SEED
        ).fit(X)

    def score(model: Any, X: Data) -> NDArray[np.floating[Any]]:
        # Its `n_jobs` counts for fitting only; scoring takes its threads from here.
        with parallel_config("threading", n_jobs=settings.jobs):
            return model.score_samples(X)

    return Contestant(YARDSTICK, fit, score)


def _isotree(settings: Settings) -> Contestant:
    from isotree import IsolationForest

    def fit(X: Data) -> Any:
        return IsolationForest(
            ntrees=settings.trees,
            sample_size=settings.samples,
            ndim=1,  # axis-parallel splits, as everyone else here
            missing_action="fail",
            nthreads=settings.jobs,
            random_seed=SEED + 1,
        ).fit(X)

    return Contestant("isotree", fit, lambda model, X: -model.decision_function(X))


def _coniferest(settings: Settings) -> Contestant:
    from coniferest.isoforest import IsolationForest

    def fit(X: Data) -> Any:
        return IsolationForest(
            n_trees=settings.trees, n_subsamples=settings.samples, n_jobs=settings.jobs, random_seed=SEED
        ).fit(X)

    return Contestant("coniferest", fit, lambda model, X: model.score_samples(X))


def data(rows: int, features: int) -> Data:
    """Correlated normal columns, every hundredth row five times as far out; float32, which all take as it is."""
    rng = np.random.default_rng(SEED)
    X = rng.normal(size=(rows, features)) @ (np.eye(features) + 0.3 * rng.normal(size=(features, features)))
    X[::100] *= 5
    return np.ascontiguousarray(X, dtype=np.float32)


def measure(found: list[Contestant], X: Data, repeats: int) -> dict[str, dict[str, Any]]:
    """For each contestant: timings of fitting `X` and of scoring it, and how its scores agree with the yardstick's."""
    fits = interleaved({c.name: partial(c.fit, X) for c in found}, repeats=repeats)
    models = {c.name: c.fit(X) for c in found}
    parts = {c.name: X[: c.most_rows] for c in found}
    scores = interleaved({c.name: partial(c.score, models[c.name], parts[c.name]) for c in found}, repeats=repeats)
    yardstick = next(c for c in found if c.name == YARDSTICK)
    expected = yardstick.score(models[YARDSTICK], X)
    measured = {}
    for c in found:
        part = parts[c.name]
        agreement = spearmanr(c.score(models[c.name], part), expected[: len(part)]).statistic
        measured[c.name] = {
            "fit": fits[c.name],
            "score": scores[c.name],
            "rows_scored": len(part),
            "rows_per_second": len(part) / scores[c.name].median,
            "rank_correlation": float(agreement),
        }
    return measured


def table(measured: dict[str, dict[str, Any]], rows: int, features: int) -> Table:
    base = measured[YARDSTICK]
    lines = []
    for name, m in sorted(measured.items(), key=lambda item: -item[1]["rows_per_second"]):
        fewer = "" if m["rows_scored"] == rows else f" ({m['rows_scored']:,} rows)"
        lines.append(
            [
                name,
                f"{m['rows_per_second'] / base['rows_per_second']:.2f} x{fewer}",
                f"{base['fit'].median / m['fit'].median:.2f} x",
                f"{m['rows_per_second'] / 1e6:.3f}",
                f"{m['fit'].median * 1e3:.1f}",
                f"{m['score'].spread():.0%}, {m['fit'].spread():.0%}",
                f"{m['fit'].first:.2f}, {m['score'].first:.2f}",
                f"{m['rank_correlation']:.3f}",
            ]
        )
    columns = [
        "library",
        "scoring, times scikit-learn",
        "fitting, times scikit-learn",
        "million rows scored a second",
        "fit, ms",
        "spread (score, fit)",
        "first call, s (fit, score)",
        "rank correlation",
    ]
    return Table(f"{rows:,} rows x {features}", columns, lines)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fit_and_score", description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 500_000], help="table sizes (%(default)s)")
    parser.add_argument("--features", type=int, default=8, help="columns (%(default)s)")
    parser.add_argument("--trees", type=int, default=100, help="trees (%(default)s)")
    parser.add_argument("--samples", type=int, default=256, help="rows that each tree sees (%(default)s)")
    parser.add_argument("--jobs", type=int, default=2, help="threads for everyone (%(default)s)")
    parser.add_argument("--repeats", type=int, default=9, help="runs that count, after a warm-up (%(default)s)")
    parser.add_argument("--output", type=Path, default=FOLDER, help="folder for RESULTS.md and results/ (%(default)s)")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    settings = Settings(options.features, options.trees, options.samples, options.jobs)
    here = machine()
    found, skipped = contestants(settings)
    for name, reason in skipped.items():
        print(f"skipped: {name}: {reason}")
    tables = []
    measurements = {}
    for rows in options.rows:
        measured = measure(found, data(rows, settings.features), options.repeats)
        tables.append(table(measured, rows, settings.features))
        print("\n" + tables[-1].markdown())
        measurements[str(rows)] = {name: {k: _plain(v) for k, v in values.items()} for name, values in measured.items()}
    about = (
        f"{settings.trees} trees of {settings.samples} rows, {settings.jobs} threads each, float32 input. Medians of "
        f"{options.repeats} runs after a warm-up, all contestants once a round. Spread is (slowest - fastest) / "
        "median; the first call may compile; rank correlation is that of the scores with scikit-learn's, to show that "
        "all do the same work."
    )
    if skipped:
        about += " Skipped: " + "; ".join(f"{name} ({reason})" for name, reason in skipped.items()) + "."
    result = Result(
        title="Fit and score",
        about=about,
        command="make bench",
        tables=tables,
        measurements=measurements,
        machine=here,
        versions=versions(["numpy", "numba", "mlx", "scikit-learn", "isotree", "coniferest"]),
    )
    print(f"written to {save('fit_and_score', result, options.output)}")


def _plain(value: object) -> object:
    return {"first": value.first, "seconds": value.seconds} if isinstance(value, Timing) else value


if __name__ == "__main__":
    main()
