"""What judging by partitions costs over one process that judges the same row groups one after the other.

In a worker: processor time of `judge`, which opens stores, counts and writes notes, against the plain loop around
`score_parts`, in pairs. Between workers: processor time of all processes for a task that does nothing, through local
processes and through a Dask scheduler, and the bytes that a task and its answer take. Starting a worker and loading the
model is paid once a worker and is left out.

Whole commands: processor time of `score` on one file, and with `--workers`, for few row groups and for many. A record
costs what more of them add. The start of a command, and of each worker, is in both: there are two row groups or more.
"""

from __future__ import annotations

import os
import pickle
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
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
from anomaly_detection.cluster.partition import Partition, RowGroup, look_at
from anomaly_detection.cluster.running import Workers, dask_cluster, local_workers, outcomes
from anomaly_detection.cluster.store import matching
from anomaly_detection.data.table_writer import table_writer
from anomaly_detection.synthetic import generate
from benchmarks.harness import Result, Table, interleaved, machine, options, save, versions

GOAL = 0.05
"""The share of the plain loop's time that the cluster may cost."""


def plain(job: Job, partition: Partition, output: Path) -> None:
    """What one process does with a row group."""
    detector = job.detector()
    group = RowGroup(matching(job.data)[0], partition)
    with table_writer(output / "plain.parquet", group.types) as write:
        threshold = float(detector.model.offset_)
        for batch in score_parts(detector, group, threshold=threshold, first=partition.first):
            write(as_columns(batch, batch.at(np.flatnonzero(batch.is_alert)), whole=True))


def nothing(job: Job, partition: Partition) -> None:
    """A task that is sent and answered."""


def processor_seconds() -> float:
    """Of this process and of those that it began and that are still there."""
    ours = psutil.Process()
    times = [one.cpu_times() for one in (ours, *ours.children(recursive=True))]
    return sum(one.user + one.system for one in times)


def per_task(job: Job, one: Partition, workers: Workers, tasks: int) -> float:
    """Processor seconds of all processes for a task that does nothing, of workers that are warm."""
    with workers.opened() as executor:

        @contextmanager
        def opened() -> Iterator[Executor]:
            yield executor

        def send(count: int) -> None:
            items = [replace(one, part=f"{number}") for number in range(count)]
            assert len(list(outcomes(partial(nothing, job), items, replace(workers, opened=opened), str))) == count

        send(max(20, tasks // 10))
        before = processor_seconds()
        send(tasks)
        return (processor_seconds() - before) / tasks


def ways(counts: tuple[int, ...]) -> Iterator[tuple[str, Callable[[], Workers], Callable[[], object]]]:
    """Workers of each kind, by name; and what ends them."""
    import distributed

    for count in counts:
        yield f"local processes, {count}", partial(local_workers, count), lambda: None
    for count in counts:
        cluster = distributed.LocalCluster(count, threads_per_worker=1, dashboard_address=None)
        yield f"Dask, {count}", partial(dask_cluster, cluster.scheduler_address), cluster.close


def command(*words: str) -> float:
    """Processor seconds of a command of ours with one thread a process, and of the processes that it began."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "LOKY_MAX_CPU_COUNT"), "1")
    subprocess.run(
        [sys.executable, "-m", "anomaly_detection", *words],
        check=True,
        capture_output=True,
        env={**os.environ, **one_thread},
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime - before.ru_utime) + (after.ru_stime - before.ru_stime)


def whole_commands(
    folder: Path, model: str, sizes: tuple[int, int], group: int, repeats: int
) -> dict[str, list[float]]:
    """By the command: the least processor seconds for the fewer row groups of `group` records, and for the more."""
    records = pa.Table.from_pandas(generate("realistic", group * max(sizes), seed=3).frame, preserve_index=False)
    tasks: dict[str, Callable[[], float]] = {}
    for count in sizes:
        data = folder / f"groups-{count}"
        data.mkdir()
        file = data / "a.parquet"
        pq.write_table(records.slice(0, group * count), file, row_group_size=group)
        alone = ("score", model, str(file), "--chunk-rows", f"{group}", "--output", str(folder / "alone.parquet"))
        tasks[f"one process {count}"] = partial(command, *alone)
        for workers in (1, 2):

            def among(workers: int = workers, data: Path = data) -> float:
                shutil.rmtree(folder / "parts", ignore_errors=True)
                return command("score", model, str(data), "--workers", f"{workers}", "--output", str(folder / "parts"))

            tasks[f"--workers {workers} {count}"] = among
    found: dict[str, list[float]] = {name: [] for name in tasks}
    for turn in range(repeats):
        # Each way at both ends of a round, as machines change.
        for name in list(tasks)[:: 1 if turn % 2 else -1]:
            found[name].append(tasks[name]())
    ways = ("one process", "--workers 1", "--workers 2")
    return {way: [min(found[f"{way} {count}"]) for count in sizes] for way in ways}


def commands_table(found: dict[str, list[float]], sizes: tuple[int, int], group: int) -> Table:
    """What a record costs by each way, over one process."""
    more = (sizes[1] - sizes[0]) * group
    cost = {way: (many - few) / more for way, (few, many) in found.items()}
    alone = cost["one process"]
    return Table(
        f"Whole commands, {sizes[0]} and {sizes[1]} row groups of {group:,} records",
        ["what", "fewer", "more", "a record", "over one process"],
        [
            [
                f"`score {way}`" if way.startswith("--") else way,
                *(f"{seconds:.1f} s" for seconds in found[way]),
                f"{1e6 * cost[way]:,.0f} us",
                "" if way == "one process" else f"{cost[way] / alone - 1:+.1%}",
            ]
            for way in found
        ],
        "Processor time of all processes, one thread in each; the least of the runs.",
    )


def main() -> None:
    """Measure, and write the page."""
    arguments = options("cluster", __doc__).parse_args()
    rows, tasks, counts = (400, 20, (1,)) if arguments.quick else (5_000, 300, (1, 2))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        AnomalyDetectionAPI().fit(generate("realistic", 400 if arguments.quick else 2000, seed=1).frame).save_model(
            folder / "model.safetensors"
        )
        (folder / "data").mkdir()
        (folder / "out").mkdir()
        table = pa.Table.from_pandas(generate("realistic", rows, seed=2).frame, preserve_index=False)
        pq.write_table(table, folder / "data" / "a.parquet")
        store, entries = matching(str(folder / "data"))
        (one,) = look_at(store, entries)[0][0].partitions
        model = str(folder / "model.safetensors")
        job = Job(model, model_of(model)[1], store.location, str(folder / "out"))
        timings = interleaved(
            {"plain": lambda: plain(job, one, folder), "judge": lambda: judge(job, one)},
            repeats=arguments.repeats,
            clock=time.process_time,
        )
        alone, judging = (min(timings[name].seconds) for name in ("plain", "judge"))
        resident = psutil.Process().memory_info().rss
        sent, answered = len(pickle.dumps((partial(judge, job), one))), len(pickle.dumps(judge(job, one)))
        sizes, group = ((2, 4), 200) if arguments.quick else ((2, 6), 5_000)
        commands = whole_commands(folder, model, sizes, group, 1 if arguments.quick else min(3, arguments.repeats))
        each: dict[str, float] = {}
        for way, workers, close in ways(counts):
            each[way] = per_task(job, one, workers(), tasks)
            close()
    cost = {way: (judging + seconds) / alone - 1 for way, seconds in each.items()}
    found = Table(
        f"A row group of {rows:,} records of {table.num_columns} columns",
        ["what", "processor time", "over the plain loop"],
        [
            ["the plain loop", f"{1000 * alone:,.0f} ms ({rows / alone:,.0f} records a second)", ""],
            ["a worker's judge", f"{1000 * judging:,.0f} ms", f"{judging / alone - 1:+.1%}"],
            *([f"and a task through {way}", f"{1000 * each[way]:.2f} ms", f"{cost[way]:+.1%}"] for way in each),
        ],
        f"Goal: below {GOAL:.0%}. The least of {arguments.repeats} runs. A task takes {sent:,} bytes pickled, its"
        f" answer {answered:,}. This process holds {resident / 2**20:,.0f} MiB after it.",
    )
    whole = commands_table(commands, sizes, group)
    measurements = {
        "rows": rows,
        "plain_seconds": timings["plain"].seconds,
        "judge_seconds": timings["judge"].seconds,
        "task_seconds": each,
        "task_bytes": sent,
        "answer_bytes": answered,
        "resident_bytes": resident,
        "command_seconds": commands,
    }
    result = Result(
        "Many files, on a cluster",
        (__doc__ or "").partition("\n\n")[2],
        "python -m benchmarks.cluster",
        [found, whole],
        measurements,
        machine(),
        versions(["distributed", "pyarrow", "numpy"]),
    )
    print(found.markdown(), whole.markdown(), sep="\n")
    save("cluster", result, arguments.output)


if __name__ == "__main__":
    main()
