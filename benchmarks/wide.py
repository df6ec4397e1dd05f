"""How does training grow with the number of columns? Seconds and memory of a whole run over those of the narrowest.

Every case runs in a process of its own, in processor time, which other programs on the machine disturb less.
"""

from __future__ import annotations

import json
import resource
import sys
import time

import numpy as np
import pandas as pd

from benchmarks.harness import Result, Table, in_a_child, machine, options, save, versions

COLUMNS = (50, 100, 200, 500, 1_000, 2_000, 5_000)
QUICK_COLUMNS = (10, 20)
KINDS = ("numbers", "mixed")
ROWS = 300


def table(kind: str, columns: int, *, rows: int = ROWS, seed: int = 0) -> pd.DataFrame:
    """Numbers that eight hidden ones drive; of `mixed` half are categories, dates and free text in their places."""
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(rows, 8))
    mixing = rng.normal(size=(8, columns)) * (rng.random((8, columns)) < 0.3)
    values = hidden @ mixing + rng.normal(size=(rows, columns))
    values[:, ::3] = np.exp(values[:, ::3])
    made: dict[str, object] = {}
    for i in range(columns):
        own = values[:, i]
        if kind == "mixed" and i % 10 in (4, 5, 6):
            made[f"x{i}"] = np.array(list("ABCDEF"))[np.clip(3 + own, 0, 5).astype(int)]
        elif kind == "mixed" and i % 10 == 7:
            made[f"x{i}"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(rows) + np.round(5 * own), "D")
        elif kind == "mixed" and i % 10 == 8:
            made[f"x{i}"] = [f"order {n} was sent on {value:.3f}" for n, value in enumerate(own)]
        else:
            made[f"x{i}"] = np.where(rng.random(rows) < 0.02, np.nan, own)
    return pd.DataFrame(made)


def child(kind: str, columns: int) -> dict[str, float]:
    """Train once; processor and wall-clock seconds, and megabytes at the highest."""
    from anomaly_detection.training.train import train

    frame = table(kind, columns)
    began, used = time.perf_counter(), time.process_time()
    train(frame, time_budget=0)
    return {
        "seconds": time.process_time() - used,
        "wall": time.perf_counter() - began,
        "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def main(arguments: list[str] | None = None) -> None:
    """Run the benchmark, or one case of it in a child."""
    given = sys.argv[1:] if arguments is None else arguments
    if given[:1] == ["--child"]:
        print(json.dumps(child(given[1], int(given[2]))))
        return
    chosen, here = options("wide", __doc__).parse_args(given), machine()
    widths = QUICK_COLUMNS if chosen.quick else COLUMNS
    kinds = [kind for kind in KINDS if not chosen.only or any(part in kind for part in chosen.only)]
    measured = {kind: {columns: in_a_child("wide", kind, columns) for columns in widths} for kind in kinds}
    tables = []
    for kind, by_columns in measured.items():
        least = by_columns[widths[0]]["seconds"]
        rows = [
            [f"{columns:,}", f"{m['seconds'] / least:.1f} x", *(f"{m[key]:.0f}" for key in ("seconds", "megabytes"))]
            for columns, m in by_columns.items()
        ]
        tables.append(Table(f"{ROWS} rows, {kind}", ["columns", f"times {widths[0]}", "s", "MB"], rows))
    for one in tables:
        print(one.markdown())
    result = Result(
        "Wide tables",
        f"{(__doc__ or '').splitlines()[0]} Each case once, in a process of its own; seconds are the processor's.",
        "python -m benchmarks.wide",
        tables,
        measured,
        here,
        versions(["numpy", "pandas", "scikit-learn"]),
    )
    print(f"written to {save('wide', result, chosen.output)}")


if __name__ == "__main__":
    main()
