"""How long does training without labels take on large tables, and how much memory?

Each contestant trains in a process of its own, which says its processor seconds and its highest memory. scikit-learn's
pipeline is given categories and numbers that were read already, and YDF the same frame; neither says why, or how rare.
"""

from __future__ import annotations

import importlib.util
import json
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import pandas as pd

from anomaly_detection.synthetic import generate
from benchmarks.harness import Result, Table, in_a_child, machine, options, save, versions
from benchmarks.records import for_peer, peer
from benchmarks.wide import table as wide_table

CASES = {"long": (1_000_000, 24), "wide": (3_000, 400)}
QUICK_CASES = {"long": (600, 24), "wide": (300, 40)}
GOALS = {"long": "45 s, below 3 GB", "wide": "8 s"}


def frame_of(case: str, rows: int, columns: int) -> pd.DataFrame:
    """`realistic` records, or numbers, categories, dates and texts that hidden numbers drive."""
    if case == "long":
        return generate("realistic", rows, seed=1).frame
    return wide_table("mixed", columns, rows=rows)


def ours(frame: pd.DataFrame) -> Callable[[], object]:
    """What trains our model."""
    from anomaly_detection.anomaly_detection_api import AnomalyDetectionAPI

    # Compiled code is loaded, and a first time compiled, on another table.
    AnomalyDetectionAPI(seed=0).fit(generate("classic", 600, seed=0).frame)
    return lambda: AnomalyDetectionAPI(seed=0).fit(frame)


def scikit_learn(frame: pd.DataFrame) -> Callable[[], object]:
    """What trains scikit-learn's pipeline."""
    read = for_peer(frame)
    return lambda: peer(*read)


def ydf(frame: pd.DataFrame) -> Callable[[], object]:
    """What trains YDF's isolation forest."""
    import ydf as library

    read = for_peer(frame)[0]
    learner: Any = library.IsolationForestLearner(num_trees=100, subsample_count=256)
    return lambda: learner.train(read, verbose=0)


CONTESTANTS: dict[str, Callable[[pd.DataFrame], Callable[[], object]]] = {
    "ours": ours,
    "scikit-learn": scikit_learn,
    "YDF": ydf,
}


def child(name: str, case: str, rows: int, columns: int) -> dict[str, float]:
    """Train once; processor and wall-clock seconds, and megabytes at the highest, before and in all."""
    task = CONTESTANTS[name](frame_of(case, rows, columns))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    began, used = time.perf_counter(), time.process_time()
    task()
    return {
        "seconds": time.process_time() - used,
        "wall": time.perf_counter() - began,
        "before": before,
        "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def main(arguments: list[str] | None = None) -> None:
    """Run the benchmark, or one case of it in a child."""
    given = sys.argv[1:] if arguments is None else arguments
    if given[:1] == ["--child"]:
        print(json.dumps(child(given[1], given[2], int(given[3]), int(given[4]))))
        return
    chosen, here = options("training", __doc__).parse_args(given), machine()
    names = [name for name in CONTESTANTS if name != "YDF" or importlib.util.find_spec("ydf") is not None]
    measured: dict[str, dict[str, dict[str, float]]] = {}
    lines = []
    for case, (rows, columns) in (QUICK_CASES if chosen.quick else CASES).items():
        shown = f"{rows:,} x {columns}"
        if chosen.only and not any(part in case for part in chosen.only):
            continue
        measured[case] = {name: in_a_child("training", name, case, rows, columns) for name in names}
        for name, one in measured[case].items():
            figures = (f"{one[key]:,.{digits}f}" for key, digits in (("seconds", 1), ("wall", 1), ("megabytes", 0)))
            lines.append([shown, name, *figures])
            print(lines[-1], flush=True)
    goals = "; ".join(f"{case}: {goal}" for case, goal in GOALS.items())
    headings = ["table", "who", "processor, s", "wall clock, s", "highest memory, MB"]
    result = Result(
        "Training on large tables",
        "Training without labels, each in a process of its own, once, warm. Memory is that of the process, the table's"
        " too. scikit-learn and YDF are given categories and numbers that were read already, and learn a forest and no"
        " more.",
        "python -m benchmarks.training",
        [Table("Training", headings, lines, f"Goals: {goals}.")],
        measured,
        here,
        versions(["numpy", "pandas", "numba", "scikit-learn", *(["ydf"] if "YDF" in names else [])]),
    )
    print(f"written to {save('training', result, chosen.output)}")


if __name__ == "__main__":
    main()
