"""What judging by partitions costs beside judging and writing the records, which a single process does as well.

Warm worker processes judge row groups, a task each. A clock in each task counts the processor time of judging its
records and of writing them as columns; all other processor time of all processes counts as the cluster's: finding the
task, opening stores, counts, notes, the part's footer, answers, the client, and, of Dask, the scheduler. Both come from
the same seconds of the same processes, so other work on the machine changes both alike. The start of workers and the
loading of the model are left out.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from anomaly_detection.alerts.scoring import score_parts
from anomaly_detection.anomaly_detection_api import AnomalyDetectionAPI
from anomaly_detection.cluster import judging
from anomaly_detection.cluster.judging import Job, model_of
from anomaly_detection.cluster.partition import Failure, Partition, look_at
from anomaly_detection.cluster.running import Workers, dask_cluster, local_workers, outcomes
from anomaly_detection.cluster.store import matching
from anomaly_detection.data.formats.parquet_files import ParquetWriter
from anomaly_detection.synthetic import generate
from benchmarks.harness import Result, Table, machine, options, save, versions

GOAL = 0.05
"""The share of judging's time that the cluster may cost."""

COUNTS = (1, 2)
"""Of workers."""


class Clock:
    """Processor seconds of this process within what is `timed`."""

    def __init__(self) -> None:
        self.seconds = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        began = time.process_time()
        try:
            yield
        finally:
            self.seconds += time.process_time() - began

    def timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            with self.running():
                return function(*args, **named)

        return call

    def timed_parts(self, function: Callable[..., Iterable[Any]]) -> Callable[..., Iterator[Any]]:
        def call(*args: Any, **named: Any) -> Iterator[Any]:
            parts = iter(function(*args, **named))
            while (part := self.timed(next)(parts, None)) is not None:
                yield part

        return call


def judged_by_the_clock(job: Job, partition: Partition) -> float:
    """Judge a partition as a task does; the processor seconds of judging its records and writing them."""
    clock = Clock()
    with (
        patch.object(judging, "score_parts", clock.timed_parts(score_parts)),
        patch.object(judging, "_columns", clock.timed(judging._columns)),
        patch.object(ParquetWriter, "write", clock.timed(ParquetWriter.write)),
    ):
        outcome = judging.judge(job, partition)
    if isinstance(outcome, Failure):
        raise SystemExit(outcome.message)
    return clock.seconds


def processor_seconds() -> float:
    """Of this process and of those that it began and that are still there."""
    ours = psutil.Process()
    times = [one.cpu_times() for one in (ours, *ours.children(recursive=True))]
    return sum(one.user + one.system for one in times)


def ways() -> Iterator[tuple[str, Workers, Callable[[], object]]]:
    """Workers of each kind, by name and number; and what ends them."""
    import distributed

    for count in COUNTS:
        yield f"local processes, {count}", local_workers(count), lambda: None
    for count in COUNTS:
        cluster = distributed.LocalCluster(count, threads_per_worker=1, dashboard_address=None)
        yield f"Dask, {count}", dask_cluster(cluster.scheduler_address), cluster.close


def rounds_of(job: Job, partitions: Sequence[Partition], workers: Workers, rounds: int) -> list[list[float]]:
    """Of each round the processor seconds of judging and writing, and of all else that all processes do."""
    with workers.opened() as executor:

        @contextmanager
        def opened() -> Iterator[Executor]:
            yield executor

        warm = replace(workers, opened=opened)
        found = []
        for _ in range(rounds + 1):
            before = processor_seconds()
            done = [seconds for _, seconds in outcomes(partial(judged_by_the_clock, job), partitions, warm, str)]
            whole = processor_seconds() - before
            own = sum(one for one in done if isinstance(one, float))
            found.append([own, whole - own])
    return found[1:]  # the first loads the model


def main() -> None:
    """Measure, and write the page."""
    arguments = options("cluster", __doc__).parse_args()
    rows, groups, rounds = (200, 2, 2) if arguments.quick else (10_000, 4, arguments.repeats)
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
        for way, workers, close in ways():
            measured[way] = rounds_of(job, partitions, workers, rounds)
            close()
    found = Table(
        f"{groups} row groups of {rows:,} records of {table.num_columns} columns",
        ["workers", "a record, judging and writing", "a record, all else", "all else, of judging", "least and most"],
        [line(way, np.array(times), rows * groups) for way, times in measured.items()],
        f"Processor time; medians of {rounds} rounds. Goal: below {GOAL:.0%}.",
    )
    result = Result(
        "Many files, on a cluster",
        (__doc__ or "").partition("\n\n")[2],
        "python -m benchmarks.cluster",
        [found],
        {"rows": rows, "groups": groups, "rounds": measured},
        machine(),
        versions(["distributed", "pyarrow", "numpy"]),
    )
    print(found.markdown())
    save("cluster", result, arguments.output)


def line(way: str, times: np.ndarray, records: int) -> list[str]:
    """A row of the table, of rounds (rounds, 2)."""
    own, other = np.median(times, axis=0) / records
    shares = times[:, 1] / times[:, 0]
    return [
        way,
        f"{1e6 * own:,.0f} us",
        f"{1e6 * other:,.1f} us",
        f"{np.median(shares):.1%}",
        f"{shares.min():.1%} to {shares.max():.1%}",
    ]


if __name__ == "__main__":
    main()
