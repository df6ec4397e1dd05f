"""How many of the errors put into real tables are found? By kind and by table, against simple baselines.

Each model trains without labels on a random half of a table. One error is put into 2 % of the rows of the other half
(`anomaly_detection.evaluation.record_errors`, each kind as often), that half is ranked, and counted is how many of the
errors are among the most abnormal rows, as many as there are errors: recall at an alert budget equal to their number.
What was odd before competes for the same places. Real tables come from a folder that is no part of this project
(--data); one that is not there is skipped, and the page says so. --repeats is the number of seeds.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from anomaly_detection.anomaly_detection_api import AnomalyDetectionAPI
from anomaly_detection.data.chunks import read_table
from anomaly_detection.data.columns.schema import infer_schema
from anomaly_detection.evaluation.injection import inject
from anomaly_detection.evaluation.record_errors import RECORD_ERRORS
from anomaly_detection.synthetic import PROFILES, generate
from benchmarks.baselines import isolation_forest, largest_robust_z, prototype
from benchmarks.harness import FOLDER, Result, Table, machine, options, save, versions

Scores = npt.NDArray[np.float64]
SHARE = 0.02
DATA = FOLDER.parent.parent / "shared" / "data"
FILES = {
    "scms": "scms/SCMS_Delivery_History_Dataset_20150929.csv",
    "superstore": "superstore/superstore.csv",
    "airquality": "airquality/AirQualityUCI.csv",
}
ROWS = 6_000
QUICK_ROWS = 1_000


def recipe(train: pd.DataFrame, test: pd.DataFrame, seed: int) -> Scores:
    """What a user without labels gets; higher is odder."""
    return -AnomalyDetectionAPI(seed=seed).fit(train).detector.score_samples(test)


MODELS: Mapping[str, Callable[[pd.DataFrame, pd.DataFrame, int], Scores]] = {
    "recipe": recipe,
    "scikit-learn, numbers and frequencies": isolation_forest,
    "largest robust z": largest_robust_z,
    "prototype without a forest": prototype,
}


def tables(folder: Path, names: Iterable[str], rows: int) -> tuple[dict[str, pd.DataFrame], dict[str, str]]:
    """The tables by name, and why others are skipped."""
    found, skipped = {}, {}
    for name in names:
        if name in PROFILES:
            found[name] = generate(name, rows, seed=11, anomaly_ratio=0.02).frame
        elif (folder / FILES[name]).is_file():
            frame = read_table(folder / FILES[name], print)
            found[name] = frame.loc[:, frame.notna().any()]
        else:
            skipped[name] = f"{FILES[name]} is not in the folder of data"
    return found, skipped


def case(frame: pd.DataFrame, seed: int) -> tuple[pd.DataFrame, pd.DataFrame, npt.NDArray[np.object_]]:
    """A random half, the other with errors, and the kind of error of each of its rows; both in the table's order."""
    order = np.random.default_rng(seed).permutation(len(frame))
    train, test = (
        frame.iloc[np.sort(half)].reset_index(drop=True)
        for half in (order[: len(order) // 2], order[len(order) // 2 :])
    )
    made = inject(test, infer_schema(train), kinds=tuple(RECORD_ERRORS), share=SHARE, seed=seed)
    return train, made.frame, made.anomaly_types


def recall(scores: Scores, kinds: npt.NDArray[np.object_]) -> dict[str, tuple[int, int]]:
    """Of each kind, how many are among as many rows as there are errors, and how many there are."""
    wrong = kinds != "normal"
    top = np.zeros(len(scores), dtype=bool)
    top[np.argsort(-scores, kind="stable")[: int(wrong.sum())]] = True
    return {str(kind): (int(top[kinds == kind].sum()), int((kinds == kind).sum())) for kind in np.unique(kinds[wrong])}


def measure(frames: Mapping[str, pd.DataFrame], models: Sequence[str], seeds: int) -> list[dict[str, Any]]:
    """What each model finds: an entry a table, seed and model."""
    found = []
    for name, frame in frames.items():
        for seed in range(seeds):
            train, test, kinds = case(frame, seed)
            for model in models:
                began = time.perf_counter()
                counts = recall(MODELS[model](train, test, seed), kinds)
                entry = {"table": name, "seed": seed, "model": model, "seconds": time.perf_counter() - began}
                found.append({**entry, "recall": _share(counts.values()), "kinds": counts})
                print(f"{name}, seed {seed}, {model}: {found[-1]['recall']:.3f}", flush=True)
    return found


def _share(counts: Iterable[tuple[int, int]]) -> float:
    hits, every = (sum(column) for column in zip(*counts, strict=True))
    return hits / every


def by_table(found: Sequence[Mapping[str, Any]]) -> Table:
    """Recall of each model on each table: the mean over seeds, the least and the most."""
    names = list(dict.fromkeys(entry["table"] for entry in found))
    rows = []
    for model in dict.fromkeys(entry["model"] for entry in found):
        cells, means = [], []
        for name in names:
            values = [entry["recall"] for entry in found if (entry["model"], entry["table"]) == (model, name)]
            means.append(float(np.mean(values)))
            cells.append(f"{means[-1]:.3f} ({min(values):.3f} to {max(values):.3f})")
        rows.append([model, *cells, f"{np.mean(means):.3f}"])
    return Table(
        "By table", ["model", *names, "mean"], rows, "Mean over the seeds; in brackets the least and the most."
    )


def by_kind(found: Sequence[Mapping[str, Any]], title: str, key: str, note: str = "") -> Table:
    """Recall of each kind, a column for each `key`: the mean over tables, of each the errors of all seeds at once."""
    counts: dict[tuple[str, str], dict[str, list[tuple[int, int]]]] = defaultdict(lambda: defaultdict(list))
    for entry in found:
        for kind, count in entry["kinds"].items():
            counts[kind, entry[key]][entry["table"]].append(count)
    heads = list(dict.fromkeys(entry[key] for entry in found))

    def cell(kind: str, head: str) -> str:
        of_tables = counts.get((kind, head))
        return f"{np.mean([_share(one) for one in of_tables.values()]):.2f}" if of_tables else "-"

    kinds = [kind for kind in RECORD_ERRORS if any((kind, head) in counts for head in heads)]
    rows = [[kind, *(cell(kind, head) for head in heads)] for kind in kinds]
    return Table(title, ["kind", *heads], rows, note)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = options("real_tables", __doc__)
    names = [*FILES, *PROFILES]
    parser.add_argument("--data", type=Path, default=DATA, help="folder of real tables (%(default)s)")
    parser.add_argument("--tables", nargs="+", choices=names, default=names, help="which tables (all)")
    given = parser.parse_args(arguments)
    models = [model for model in MODELS if not given.only or any(part in model for part in given.only)]
    seeds, rows = (1, QUICK_ROWS) if given.quick else (given.repeats, ROWS)
    facts = machine()
    frames, skipped = tables(given.data, given.tables, rows)
    for name, why in skipped.items():
        print(f"{name} skipped: {why}", flush=True)
    if not frames or not models:
        print("no table or no model is left to measure", flush=True)
        return
    found = measure(frames, models, seeds)
    note = "Skipped: " + "; ".join(f"{name} ({why})" for name, why in skipped.items()) + "." if skipped else ""
    about = (
        f"Trained without labels on a random half; one error in {SHARE:.0%} of the rows of the other; the share of the "
        f"errors among as many most abnormal rows. Seeds 0 to {seeds - 1}; a seed splits the table, puts the errors in "
        f"and starts the models. The profiles have {rows:,} rows, 2 % anomalies of their own."
    )
    shown = [
        by_table(found),
        by_kind(found, "By kind, mean over the tables", "model", "Of each table the errors of all seeds together."),
        *(
            by_kind([entry for entry in found if entry["model"] == model], f"By kind and table: {model}", "table")
            for model in models[:1]
        ),
    ]
    shown[0] = Table(shown[0].title, shown[0].columns, shown[0].rows, f"{shown[0].note} {note}".strip())
    packages = ["numpy", "pandas", "scikit-learn"]
    command = "python -m benchmarks.real_tables"
    result = Result("Errors in real tables", about, command, shown, found, facts, versions(packages))
    print(result.markdown())
    save("real_tables", result, given.output)


if __name__ == "__main__":
    main()
