"""How fast does it grow? Against other libraries, with and without a threshold, on large samples and odd columns.

With `contamination` set a threshold is sought, so growing plus scoring the training rows is the time. We and
scikit-learn look for infinities in the input first, others do not: so we run a second time without.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import ceil, log2
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import config_context

from benchmarks.harness import Result, Table, Timing, interleaved, machine, options, save, table_of_numbers, versions
from benchmarks.peers import PEERS, SEED, YARDSTICK, Contestant, Settings, contestants, ours, skipping

CONIFEREST = "coniferest"
LIBRARIES = ["numpy", "numba", "mlx", "scikit-learn", "isotree", "coniferest", "ydf"]
CONTAMINATION = 0.01
SHORTEST = 0.1
"""Seconds of the shortest run, which grows the same forest again until they are over."""

Data = NDArray[np.float32]


@dataclass(frozen=True)
class Sizes:
    """What is grown: shapes of tables, and (trees, samples) of forests on a large one."""

    tables: tuple[tuple[int, int], ...] = ((500_000, 8), (500_000, 64))
    large: tuple[int, int] = (1_000_000, 8)
    forests: tuple[tuple[int, int], ...] = ((400, 256), (40, 4_096), (8, 65_536), (2, 1_000_000))
    odd: tuple[int, int] = (20_000, 1_000)


QUICK = Sizes(tables=((2_000, 4),), large=(2_000, 4), forests=((8, 64), (2, 2_000)), odd=(500, 40))


def growers(settings: Settings, only: Sequence[str]) -> tuple[list[Contestant], str]:
    """All that grow trees of their own, us a second time without looking for infinities; and who is skipped."""
    found, skipped = contestants(settings, only=only)
    grow = {c.name for c in (*ours(), *PEERS) if c.grows}
    fast = [unchecked(c) for c in found if c.name in {c.name for c in ours()}]
    return (
        [*(c for c in found if c.name in grow), *fast],
        skipping({name: why for name, why in skipped.items() if name in grow}),
    )


def unchecked(contestant: Contestant) -> Contestant:
    """The same, with scikit-learn's `assume_finite`."""

    def fit(X: Data, settings: Settings) -> Any:
        with config_context(assume_finite=True):
            return contestant.fit(X, settings)

    return replace(contestant, name=f"{contestant.name}, unchecked input", fit=fit)


def fit_with_threshold(contestant: Contestant, X: Data, settings: Settings) -> Any:
    """Grow, and find the score below which the share of the training rows lies that is to alert."""
    model = contestant.fit(X, settings)
    if contestant.contaminates:
        return model
    return model, np.percentile(contestant.score(model, X, settings), 100 * CONTAMINATION)


def best(timings: Mapping[str, Timing], library: str) -> float | None:
    """Seconds of the fastest of a library's contestants, None where none took part."""
    return min((t.median for name, t in timings.items() if name.startswith(library)), default=None)


def times(base: float | None, seconds: float) -> str:
    return "-" if base is None else f"{base / seconds:.2f} x"


def ratios(timings: Mapping[str, Timing], name: str) -> list[str]:
    """How many times faster than coniferest and than scikit-learn."""
    return [times(best(timings, library), timings[name].median) for library in (CONIFEREST, YARDSTICK)]


def timed(
    tasks: Callable[[Contestant], Callable[[], object]], found: Sequence[Contestant], repeats: int
) -> dict[str, Timing]:
    return interleaved({c.name: tasks(c) for c in found}, repeats=repeats, shortest=SHORTEST)


def plain(timings: Mapping[str, Timing]) -> dict[str, Any]:
    return {name: timing.seconds for name, timing in timings.items()}


def growth(shape: tuple[int, int], jobs: int, repeats: int, only: Sequence[str]) -> tuple[Table, dict[str, Any]]:
    """100 trees of 256, alone and with a threshold."""
    X = table_of_numbers(*shape)
    settings = Settings(jobs=jobs)
    sought = replace(settings, contamination=CONTAMINATION)
    found, skipped = growers(settings, only)
    grow = timed(lambda c: partial(c.fit, X, settings), found, repeats)
    whole = timed(lambda c: partial(fit_with_threshold, c, X, sought), found, repeats)
    rows = [
        [
            name,
            *ratios(grow, name),
            *ratios(whole, name),
            f"{grow[name].median * 1e3:.1f}",
            f"{whole[name].median * 1e3:.1f}",
            f"{grow[name].spread():.0%}, {whole[name].spread():.0%}",
        ]
        for name in sorted(grow, key=lambda name: grow[name].median)
    ]
    columns = ["library", "growing, times coniferest", "times scikit-learn"]
    columns += ["with a threshold, times coniferest", "times scikit-learn", "growing, ms", "with a threshold, ms"]
    title = f"{shape[0]:,} rows x {shape[1]}, 100 trees of 256"
    return Table(title, [*columns, "spread"], rows, skipped), {"grow": plain(grow), "with threshold": plain(whole)}


def large_samples(sizes: Sizes, jobs: int, repeats: int, only: Sequence[str]) -> tuple[Table, dict[str, Any]]:
    """What a sample costs at each level of a tree, from small trees to trees of all rows."""
    X = table_of_numbers(*sizes.large)
    found, skipped = growers(Settings(jobs=jobs), only)
    found = [c for c in found if c.name != f"{YARDSTICK}, in threads"]  # the same growth
    by_forest = {}
    for trees, samples in sizes.forests:
        settings = Settings(trees, samples, jobs)
        by_forest[trees, samples] = timed(lambda c, s=settings: partial(c.fit, X, s), found, repeats)  # type: ignore[misc]
    last = by_forest[sizes.forests[-1]]
    rows = [
        [
            c.name,
            *ratios(last, c.name),
            *(
                f"{timings[c.name].median * 1e9 / (trees * samples * ceil(log2(samples))):.2f}"
                for (trees, samples), timings in by_forest.items()
            ),
            f"{last[c.name].median:.2f}",
        ]
        for c in sorted(found, key=lambda c: last[c.name].median)
    ]
    columns = ["library", "largest, times coniferest", "times scikit-learn"]
    columns += [f"{trees} trees of {samples:,}: ns" for trees, samples in sizes.forests]
    note = "Nanoseconds a sample, tree and level (log2 of the samples): the same in all columns is linear growth."
    table = Table(
        f"Large samples: {sizes.large[0]:,} rows x {sizes.large[1]}",
        [*columns, "largest, s"],
        rows,
        f"{note} {skipped}".strip(),
    )
    return table, {f"{trees} x {samples}": plain(timings) for (trees, samples), timings in by_forest.items()}


def few_values(shape: tuple[int, int]) -> Data:
    """Columns of zeros with a one in every hundredth row on average: most are constant in most nodes."""
    return (np.random.default_rng(SEED).random(shape, dtype=np.float32) < 0.01).astype(np.float32)


def odd_columns(shape: tuple[int, int], jobs: int, repeats: int, only: Sequence[str]) -> tuple[Table, dict[str, Any]]:
    """Columns of few distinct values against continuous ones."""
    settings = Settings(jobs=jobs)
    found, skipped = growers(settings, only)
    found = [c for c in found if c.name != f"{YARDSTICK}, in threads"]
    few, many = few_values(shape), table_of_numbers(*shape)
    on_few = timed(lambda c: partial(c.fit, few, settings), found, repeats)
    on_many = timed(lambda c: partial(c.fit, many, settings), found, repeats)
    rows = [
        [
            name,
            f"{on_few[name].median / on_many[name].median:.2f} x",
            *ratios(on_few, name),
            f"{on_few[name].median * 1e3:.1f}",
            f"{on_many[name].median * 1e3:.1f}",
            f"{on_few[name].spread():.0%}, {on_many[name].spread():.0%}",
        ]
        for name in sorted(on_few, key=lambda name: on_few[name].median)
    ]
    columns = ["library", "time on few values, times that on continuous", "on few values, times coniferest"]
    columns += ["times scikit-learn", "few values, ms", "continuous, ms", "spread"]
    title = f"Columns of two values, one of them rare: {shape[0]:,} rows x {shape[1]:,}, 100 trees of 256"
    return Table(title, columns, rows, skipped), {"few values": plain(on_few), "continuous": plain(on_many)}


def main(arguments: list[str] | None = None) -> None:
    """Run the benchmark."""
    chosen = options("fit", __doc__).parse_args(arguments)
    here = machine()
    sizes = QUICK if chosen.quick else Sizes()
    how = (chosen.jobs, chosen.repeats, chosen.only)
    tables: list[Table] = []
    measurements: dict[str, Any] = {}
    measures = [partial(growth, shape, *how) for shape in sizes.tables]
    measures += [partial(large_samples, sizes, *how), partial(odd_columns, sizes.odd, *how)]
    for measure in measures:
        table, values = measure()
        tables.append(table)
        measurements[table.title] = values
        print(table.markdown(), flush=True)
    about = (
        f"How fast does it grow? Float32 rows in C order, {chosen.jobs} threads each. Medians of {chosen.repeats} runs "
        f"after a warm-up, all contestants once a round, each growing again until {SHORTEST:g} s are over. *With a "
        "threshold* is `contamination=0.01`: growing, scoring the training rows and taking their percentile; by hand "
        "where there is no such parameter. *Unchecked input* is `sklearn.config_context(assume_finite=True)`: we and "
        "scikit-learn look for infinities first, which is a pass over the table that other libraries do not make. "
        "Spread is (slowest - fastest) / median."
    )
    result = Result("Fit", about, "python -m benchmarks.fit", tables, measurements, here, versions(LIBRARIES))
    print(f"written to {save('fit', result, chosen.output)}")


if __name__ == "__main__":
    main()
