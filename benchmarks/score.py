"""How fast does it score? Rows a second, against other libraries, by kind of forest, by rows and by features.

A contestant scores as many of the rows as take it `--seconds`, which the tables show where they are not all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from benchmarks.harness import Result, Table, Timing, interleaved, machine, options, save, table_of_numbers, versions
from benchmarks.peers import PEERS, SEED, YARDSTICK, Contestant, Settings, agreement, contestants, skipping
from benchmarks.plots import Series, draw
from mlx_iforest import BlendedIsolationForest, MLXIsolationForest

LIBRARIES = ["numpy", "numba", "mlx", "scikit-learn", "isotree", "coniferest", "ydf", "treelite", "tl2cgen"]
LIBRARIES += ["skl2onnx", "onnxruntime", "scikit-learn-intelex", "xgboost"]
PROBE, FEWEST, CHECKED = 2_000, 10_000, 10_000
"""Rows that tell how many to time, the fewest that are timed, and those whose scores are compared."""

SHORTEST = 0.05
"""Seconds of the shortest run, which scores the same rows again until they are over."""

ONEDAL, ISOTREE = "oneDAL", "isotree"
Data = NDArray[np.float32]


@dataclass(frozen=True)
class Case:
    """One table: what is scored, and the libraries that it is compared with in the first columns."""

    rows: int
    features: int
    trees: int = 100
    samples: int = 256
    oblique: bool = False
    fallbacks: bool = False
    against: tuple[str, ...] = (ONEDAL, YARDSTICK)

    @property
    def title(self) -> str:
        cuts = ", cuts along two features" if self.oblique else ""
        return f"{self.rows:,} rows x {self.features}, {self.trees} trees of {self.samples:,}{cuts}"

    def settings(self, jobs: int) -> Settings:
        return Settings(self.trees, self.samples, jobs, self.oblique)


CASES = (
    Case(500_000, 8, fallbacks=True),
    Case(100_000, 64),
    Case(10_000, 500),
    Case(4_000, 2_000),
    Case(1_000_000, 8, trees=300, samples=4096),
    Case(500_000, 8, oblique=True, against=(ISOTREE,)),
)
KINDS: dict[str, Callable[[], Any]] = {
    "100 trees of 256, by depth": lambda: MLXIsolationForest(),
    "100 trees of 256, scoring='density'": lambda: MLXIsolationForest(scoring="density"),
    "100 trees of 256, extension_level=1": lambda: MLXIsolationForest(extension_level=1),
    "the system's recipe: 300 trees of 128, density": lambda: MLXIsolationForest(
        300, max_samples=128, scoring="density"
    ),
    "BlendedIsolationForest: 200 trees": lambda: BlendedIsolationForest(),
}
"""Our own ways to score, the first of which the others are compared with."""

BY_ROWS = (1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000)
BY_FEATURES = (2, 4, 8, 16, 32, 64, 128, 256)


@dataclass(frozen=True)
class Measured:
    """How one contestant scored."""

    rows: int
    timing: Timing
    agreement: float

    @property
    def rate(self) -> float:
        """Rows a second."""
        return self.rows / self.timing.median

    def plain(self) -> dict[str, Any]:
        return {
            "rows_scored": self.rows,
            "seconds": self.timing.seconds,
            "rows_per_second": self.rate,
            "rank_correlation": self.agreement,
        }


def grown(found: Sequence[Contestant], X: Data, settings: Settings) -> dict[str, tuple[Any, float]]:
    """The model of each contestant, and how its scores agree with scikit-learn's."""
    yardstick = next(peer for peer in PEERS if peer.name == YARDSTICK)
    plain = replace(settings, oblique=False)
    rows = X[:CHECKED]
    expected = yardstick.score(yardstick.fit(X, plain), rows, plain)
    models = {c.name: c.fit(X, settings) for c in found}
    return {c.name: (models[c.name], agreement(c, c.score(models[c.name], rows, settings), expected)) for c in found}


def scorer(contestant: Contestant, model: Any, settings: Settings) -> Callable[[Data], object]:
    return lambda rows: contestant.score(model, rows, settings)


def rows_within(seconds: float, score: Callable[[Data], object], X: Data) -> int:
    """How many of the rows can be scored in so many seconds, by a probe of a few."""
    score(X[:PROBE])  # compiles, and fills caches
    began = time.perf_counter()
    score(X[:FEWEST])
    rate = min(FEWEST, len(X)) / (time.perf_counter() - began)
    return min(len(X), max(FEWEST, int(rate * seconds)))


def measure(
    found: Sequence[Contestant],
    models: Mapping[str, tuple[Any, float]],
    X: Data,
    settings: Settings,
    repeats: int,
    seconds: float,
    *,
    whole: bool = False,
) -> dict[str, Measured]:
    """Time each contestant; `whole` leaves out those that cannot score all rows in time, and gives no one fewer."""
    tasks, rows = {}, {}
    for c in found:
        score = scorer(c, models[c.name][0], settings)
        within = rows_within(seconds, score, X)
        if not (whole and within < len(X)):
            rows[c.name] = within
            tasks[c.name] = partial(score, X[:within])
    timings = interleaved(tasks, repeats=repeats, shortest=SHORTEST)
    return {name: Measured(rows[name], timing, models[name][1]) for name, timing in timings.items()}


def fastest(measured: Mapping[str, Measured], library: str) -> float | None:
    """The best rate of a library's contestants, None where none took part."""
    return max((m.rate for name, m in measured.items() if name.startswith(library)), default=None)


def times(rate: float, base: float | None) -> str:
    return "-" if base is None else f"{rate / base:.2f} x"


def case_table(case: Case, measured: Mapping[str, Measured], skipped: Mapping[str, str]) -> Table:
    bases = {library: fastest(measured, library) for library in case.against}
    lines = [
        [
            name,
            *(times(m.rate, base) for base in bases.values()),
            f"{m.rate / 1e6:.3f}",
            "all" if m.rows == case.rows else f"{m.rows:,}",
            f"{m.timing.spread():.0%}",
            f"{m.agreement:.3f}",
        ]
        for name, m in sorted(measured.items(), key=lambda item: -item[1].rate)
    ]
    columns = ["library", *(f"times {library}" for library in bases), "million rows a second", "rows", "spread"]
    return Table(case.title, [*columns, "rank correlation"], lines, skipping(skipped))


def kinds_table(X: Data, jobs: int, repeats: int, seconds: float) -> tuple[Table, dict[str, Any]]:
    """What our other ways to score cost, in times of the plain one."""
    models = {name: clone(make()).set_params(n_jobs=jobs, random_state=SEED).fit(X) for name, make in KINDS.items()}
    rows = {name: rows_within(seconds, model.score_samples, X) for name, model in models.items()}
    timings = interleaved(
        {name: partial(model.score_samples, X[: rows[name]]) for name, model in models.items()},
        repeats=repeats,
        shortest=SHORTEST,
    )
    rates = {name: rows[name] / timing.median for name, timing in timings.items()}
    plain = rates[next(iter(KINDS))]
    lines = [
        [name, f"{plain / rate:.2f} x", f"{rate / 1e6:.3f}", f"{timings[name].spread():.0%}"]
        for name, rate in rates.items()
    ]
    table = Table(
        f"What other ways to score cost: {len(X):,} rows x {X.shape[1]}",
        ["ours", "time, times the first", "million rows a second", "spread"],
        lines,
    )
    plain_values = {
        name: {"rows_scored": rows[name], "seconds": timing.seconds, "rows_per_second": rates[name]}
        for name, timing in timings.items()
    }
    return table, plain_values


def by_rows(counts: Sequence[int], jobs: int, repeats: int, seconds: float, only: Sequence[str]) -> dict[str, Series]:
    """Rates of a forest on the first so many rows of a table; a line ends where a run would take too long."""
    settings = Settings(jobs=jobs)
    X = table_of_numbers(max(counts), 8)
    found, _ = contestants(settings, only=only)
    models = grown(found, X, settings)
    lines: dict[str, Series] = {c.name: [] for c in found}
    for rows in counts:
        running = [c for c in found if len(lines[c.name]) == counts.index(rows)]
        for name, m in measure(running, models, X[:rows], settings, repeats, seconds, whole=True).items():
            lines[name].append((rows, m.rate))
    return lines


def by_features(
    counts: Sequence[int], rows: int, jobs: int, repeats: int, seconds: float, only: Sequence[str]
) -> dict[str, Series]:
    """Rates on tables of so many columns."""
    settings = Settings(jobs=jobs)
    lines: dict[str, Series] = {}
    for features in counts:
        X = table_of_numbers(rows, features)
        found, _ = contestants(settings, only=only)
        for name, m in measure(found, grown(found, X, settings), X, settings, repeats, seconds).items():
            lines.setdefault(name, []).append((features, m.rate))
    return lines


def main(arguments: list[str] | None = None) -> None:
    """Run the benchmark."""
    parser = options("score", __doc__)
    parser.add_argument("--seconds", type=float, default=1.0, help="a contestant's longest run (%(default)s)")
    chosen = parser.parse_args(arguments)
    here = machine()
    shared = {"jobs": chosen.jobs, "repeats": chosen.repeats}
    cases = [replace(c, rows=3_000, trees=c.trees // 2, samples=64) for c in CASES] if chosen.quick else CASES
    tables: list[Table] = []
    measurements: dict[str, Any] = {}
    for case in cases:
        settings = case.settings(chosen.jobs)
        X = table_of_numbers(case.rows, case.features)
        found, skipped = contestants(settings, only=chosen.only, fallbacks=case.fallbacks)
        measured = measure(found, grown(found, X, settings), X, settings, chosen.repeats, chosen.seconds)
        tables.append(case_table(case, measured, skipped))
        measurements[case.title] = {name: m.plain() for name, m in measured.items()}
        print(tables[-1].markdown(), flush=True)
    X = table_of_numbers(3_000 if chosen.quick else 500_000, 8)
    table, measurements["kinds"] = kinds_table(X, chosen.jobs, chosen.repeats, chosen.seconds)
    tables.append(table)
    print(table.markdown(), flush=True)

    row_counts = (1_000, 3_000) if chosen.quick else BY_ROWS
    feature_counts = (2, 4) if chosen.quick else BY_FEATURES
    pictures = {
        "rows": by_rows(row_counts, seconds=3 * chosen.seconds, only=chosen.only, **shared),
        "features": by_features(
            feature_counts, min(len(X), 100_000), seconds=chosen.seconds / 4, only=chosen.only, **shared
        ),
    }
    measurements["rate by"] = pictures
    titles = {"rows": "8 columns", "features": f"{min(len(X), 100_000):,} rows"}
    for name, lines in pictures.items():
        draw(lines, name, f"100 trees of 256, {titles[name]}", chosen.output / "results" / f"rate_by_{name}.png")
    about = (
        f"How fast does it score? Float32 rows in C order, ranking or binning them included; {chosen.jobs} threads "
        f"each. Medians of {chosen.repeats} runs after a warm-up, all contestants once a round; each scores as many of "
        f"the rows as take it about {chosen.seconds:g} s, and again where they take less than {SHORTEST:g} s. *Times "
        "scikit-learn* is times the faster of its two ways: as it is, where scoring uses one thread, and inside "
        "`joblib.parallel_config`. Spread is (slowest - fastest) / median. Rank correlation is that of the scores with "
        "scikit-learn's, to show that all do the same work; tl2cgen and onnxruntime score scikit-learn's own forest, "
        "and agree within 0.00001. In the plots a line ends where a run would take too long."
    )
    result = Result(
        "Score",
        about,
        "python -m benchmarks.score",
        tables,
        measurements,
        here,
        versions(LIBRARIES),
        {f"results/rate_by_{name}.png": f"Rows scored a second against {name}, both on log axes" for name in pictures},
    )
    print(f"written to {save('score', result, chosen.output)}")


if __name__ == "__main__":
    main()
