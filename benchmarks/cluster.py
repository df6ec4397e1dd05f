"""What judging by partitions costs over one process that judges the same row groups one after the other.

The same warm worker processes do both, in pairs that change sides from round to round: their share of the row groups in
a plain loop around `score_parts`, as one task each; and by `judge`, a task a row group, which opens stores, counts,
writes notes and is sent and answered. What is compared is processor time of all processes, with the client's and, of
Dask, the scheduler's. So other work on the machine, the start of workers and the loading of the model change neither
side alone. Workers of one row are as many as side by side make the same processor slower: both sides have them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from anomaly_detection.alerts.renderings import as_columns
from anomaly_detection.alerts.scoring import score_parts
from anomaly_detection.anomaly_detection_api import AnomalyDetectionAPI
from anomaly_detection.cluster.judging import Job, judge, model_of
from anomaly_detection.cluster.partition import Failure, Partition, RowGroup, look_at
from anomaly_detection.cluster.running import Workers, dask_cluster, local_workers, outcomes
from anomaly_detection.cluster.store import Store, matching
from anomaly_detection.data.table_writer import table_writer
from anomaly_detection.synthetic import generate
from benchmarks.harness import Result, Table, machine, options, save, versions

GOAL = 0.05
"""The share of the plain loop's time that the cluster may cost."""

COUNTS = (1, 2)
"""Of workers."""


def plain(job: Job, output: str, partitions: Sequence[Partition]) -> int:
    """What one process does with row groups."""
    detector = job.detector()
    threshold = float(detector.model.offset_)
    for one in partitions:
        group = RowGroup(Store(job.data), one)
        with table_writer(Path(output) / f"plain-{one.part}", group.types) as write:
            for batch in score_parts(detector, group, threshold=threshold, first=one.first):
                write(as_columns(batch, batch.at(np.flatnonzero(batch.is_alert)), whole=True))
    return len(partitions)


def processor_seconds() -> float:
    """Of this process and of those that it began and that are still there."""
    ours = psutil.Process()
    times = [one.cpu_times() for one in (ours, *ours.children(recursive=True))]
    return sum(one.user + one.system for one in times)


def done(task: Callable[..., object], items: Sequence[object], workers: Workers) -> float:
    """Processor seconds of all processes until all items are done."""
    before = processor_seconds()
    for _, outcome in outcomes(task, items, workers, str):
        if isinstance(outcome, Failure):
            raise SystemExit(outcome.message)
    return processor_seconds() - before


def ways() -> Iterator[tuple[str, int, Workers, Callable[[], object]]]:
    """Workers of each kind, by name and number; and what ends them."""
    import distributed

    for count in COUNTS:
        yield f"local processes, {count}", count, local_workers(count), lambda: None
    for count in COUNTS:
        cluster = distributed.LocalCluster(count, threads_per_worker=1, dashboard_address=None)
        yield f"Dask, {count}", count, dask_cluster(cluster.scheduler_address), cluster.close


def pairs(job: Job, partitions: Sequence[Partition], count: int, workers: Workers, rounds: int) -> list[list[float]]:
    """Processor seconds of the plain loop and of tasks, a pair for each round."""
    with workers.opened() as executor:

        @contextmanager
        def opened() -> Iterator[Executor]:
            yield executor

        warm = replace(workers, opened=opened)
        shares = [tuple(partitions[number::count]) for number in range(count)]
        sides = (
            lambda: done(partial(plain, job, job.output), shares, warm),
            lambda: done(partial(judge, job), partitions, warm),
        )
        found = []
        for turn in range(rounds + 1):
            first = turn % 2
            times = [0.0, 0.0]
            for side in (first, 1 - first):
                times[side] = sides[side]()
            found.append(times)
    return found[1:]  # the first loads the model


def main() -> None:
    """Measure, and write the page."""
    arguments = options("cluster", __doc__).parse_args()
    rows, groups, rounds = (200, 2, 2) if arguments.quick else (5_000, 4, 2 * arguments.repeats + 1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = str(folder / "model.safetensors")
        AnomalyDetectionAPI().fit(generate("realistic", 400 if arguments.quick else 2000, seed=1).frame).save_model(
            model
        )
        for part in ("data", "out"):
            (folder / part).mkdir()
        table = pa.Table.from_pandas(generate("realistic", rows * groups, seed=2).frame, preserve_index=False)
        pq.write_table(table, folder / "data" / "a.parquet", row_group_size=rows)
        store, entries = matching(str(folder / "data"))
        partitions = look_at(store, entries)[0][0].partitions
        job = Job(model, model_of(model)[1], store.location, str(folder / "out"))
        measured = {}
        for way, count, workers, close in ways():
            measured[way] = pairs(job, partitions, count, workers, rounds)
            close()
    found = Table(
        f"{groups} row groups of {rows:,} records of {table.num_columns} columns",
        ["workers", "a record, the plain loop", "a record, by tasks", "over the plain loop", "half of the pairs"],
        [line(way, np.array(times), rows * groups) for way, times in measured.items()],
        f"Processor time; medians of {rounds} pairs. Goal: below {GOAL:.0%}.",
    )
    result = Result(
        "Many files, on a cluster",
        (__doc__ or "").partition("\n\n")[2],
        "python -m benchmarks.cluster",
        [found],
        {"rows": rows, "groups": groups, "pairs": measured},
        machine(),
        versions(["distributed", "pyarrow", "numpy"]),
    )
    print(found.markdown())
    save("cluster", result, arguments.output)


def line(way: str, times: np.ndarray, records: int) -> list[str]:
    """A row of the table, of pairs (rounds, 2)."""
    plainly, by_tasks = np.median(times, axis=0) / records
    low, middle, high = np.quantile(times[:, 1] / times[:, 0] - 1.0, (0.25, 0.5, 0.75))
    return [
        way,
        f"{1e6 * plainly:,.0f} us",
        f"{1e6 * by_tasks:,.0f} us",
        f"{middle:+.1%}",
        f"{low:+.1%} to {high:+.1%}",
    ]


if __name__ == "__main__":
    main()
