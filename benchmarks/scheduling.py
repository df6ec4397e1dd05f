"""A thousand cores and a billion records: what a Dask scheduler has to do for a task, and what then limits how many.

First a real scheduler, client and workers, each a process, do many tasks that do nothing: messages, bytes and processor
time of each are counted. Then a discrete simulation plays judging with them: a client that hands in all row groups, a
scheduler that does one thing at a time, and workers that hold two tasks each, as Dask's do, and of which each has to be
started. Assumed: a task costs the scheduler the same however many workers there are, a network that is never full, and
times of row groups that scatter by a fifth (log-normally).
"""

from __future__ import annotations

import heapq
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from anomaly_detection.cluster.judging import Job
from anomaly_detection.cluster.partition import Partition
from anomaly_detection.cluster.running import dask_cluster, outcomes
from anomaly_detection.cluster.tally import Tally
from benchmarks.harness import Result, Table, machine, options, save, versions

SPREAD, HELD, RATE, PRICE = 0.2, 2, 10_000.0, 0.05
"""Of the times of row groups; tasks that a worker holds; records a second and core; dollars a core and hour."""

START = 5.0
"""Seconds for a worker to load libraries and model."""

_COLUMNS = (
    *("cores", "row groups of", "tasks", "takes", "cores judge"),
    *("scheduler busy", "client busy", "messages", "bytes", "cost"),
)


@dataclass
class Counted:
    """Messages through the scheduler, their bytes, and seconds of processors."""

    messages: float = 0.0
    bytes: float = 0.0
    scheduler: float = 0.0
    client: float = 0.0
    workers: float = 0.0


@dataclass
class Traffic:
    """What goes through the scheduler's connections."""

    messages: int = 0
    bytes: int = 0


_traffic = Traffic()


def begin_counting() -> None:
    """In the scheduler's process: count what it reads and writes."""
    import distributed.comm.tcp

    tcp: Any = distributed.comm.tcp

    def counting(function: Callable[..., Any], size: Callable[[tuple[Any, ...], Any], int]) -> Callable[..., Any]:
        async def counted(*given: Any, **options: Any) -> Any:
            found = await function(*given, **options)
            _traffic.messages += 1
            _traffic.bytes += size(given, found)
            return found

        return counted

    def length(frames: Sequence[Any]) -> int:
        return sum(memoryview(frame).nbytes for frame in frames)

    tcp.from_frames = counting(tcp.from_frames, lambda given, found: length(given[0]))
    tcp.to_frames = counting(tcp.to_frames, lambda given, found: length(found))


def told() -> tuple[int, int, float]:
    """Messages and bytes so far, and the processor seconds of this process."""
    return _traffic.messages, _traffic.bytes, time.process_time()


def answer(job: Job, partition: Partition) -> Tally:
    """A task that only answers, as much as of a row group: scores in 400 thousandths."""
    tally = Tally(records=50_000, alerts=2500)
    tally.scores.update({-step: 100 + step for step in range(300, 700)})
    return tally


def counted(tasks: int, workers: int) -> Counted:
    """What a task comes to between processes."""
    import distributed
    from distributed.deploy.subprocess import SubprocessCluster

    job = Job("s3://bucket/models/model.safetensors", "0" * 64, "s3://bucket/orders", "s3://bucket/scored")
    one = Partition("2024/orders-000.parquet", 0, 0, 50_000, "etag", "part-000000-00000.parquet")
    with (
        SubprocessCluster(
            n_workers=workers, threads_per_worker=1, dashboard_address=":0", worker_class="distributed.Worker"
        ) as cluster,
        distributed.Client(cluster.scheduler_address) as client,
    ):
        client.wait_for_workers(workers)
        client.run_on_scheduler(begin_counting)
        dask = dask_cluster(cluster.scheduler_address)
        with dask.opened() as executor:

            @contextmanager
            def opened() -> Any:
                yield executor

            def look() -> np.ndarray:
                spent = sum(client.run(time.process_time).values())
                return np.array([*client.run_on_scheduler(told), time.process_time(), spent])

            def send(count: int) -> None:
                items = [replace(one, row_group=number) for number in range(count)]
                assert len(list(outcomes(partial(answer, job), items, replace(dask, opened=opened), str))) == count

            send(tasks // 10)
            before = look()
            send(tasks)
            return Counted(*((look() - before) / tasks).tolist())


@dataclass
class Served:
    """A process that does one thing at a time, in the order in which they come."""

    free: float = 0.0
    busy: float = 0.0

    def serve(self, now: float, seconds: float) -> float:
        """When it is done with something that comes now."""
        self.free = max(self.free, now) + seconds
        self.busy += seconds
        return self.free


@dataclass
class Played:
    """What became of a simulated run; seconds."""

    makespan: float
    judging: float
    scheduler: Served = field(default_factory=Served)
    client: Served = field(default_factory=Served)


def play(seconds: Sequence[float], workers: int, cost: Counted, start: float = START) -> Played:
    """Simulate a run of tasks that take so many seconds each.

    Half of what a task costs client and scheduler is for handing it out, half for its answer.
    """
    scheduler, client = Served(), Served()
    waiting: deque[float] = deque()
    room = deque([*range(workers)] * HELD)
    free = [start] * workers
    events: list[tuple[float, int, int]] = []
    end, number = 0.0, 0
    todo = deque(seconds)

    def hand_out(now: float, worker: int) -> None:
        nonlocal number
        taken = todo.popleft()
        free[worker] = max(free[worker], now) + taken + cost.workers
        number += 1
        heapq.heappush(events, (free[worker], number, worker))

    # The client hands all in at once, which the scheduler takes as fast as it can.
    for _ in range(len(todo)):
        waiting.append(client.serve(0.0, cost.client / 2))
    while waiting and room:
        hand_out(scheduler.serve(waiting.popleft(), cost.scheduler / 2), room.popleft())
    while events:
        now, _, worker = heapq.heappop(events)
        known = scheduler.serve(now, cost.scheduler / 2)
        end = client.serve(known, cost.client / 2)
        if waiting:
            hand_out(scheduler.serve(max(known, waiting.popleft()), cost.scheduler / 2), worker)
    return Played(end, float(np.sum(seconds)), scheduler, client)


def simulated(cost: Counted, records: int, group: int, cores: int) -> list[str]:
    """A row: what a run of so many records would be."""
    tasks = -(-records // group)
    mean = group / RATE
    sigma = float(np.sqrt(np.log(1.0 + SPREAD**2)))
    seconds = np.random.default_rng(0).lognormal(np.log(mean) - sigma**2 / 2.0, sigma, tasks)
    run = play(seconds.tolist(), cores, cost)
    used = run.judging / (cores * run.makespan)
    return [
        f"{cores:,}",
        f"{group:,}",
        f"{tasks:,}",
        f"{run.makespan:,.0f} s",
        f"{used:.0%}",
        f"{run.scheduler.busy / run.makespan:.0%}",
        f"{run.client.busy / run.makespan:.0%}",
        f"{cost.messages * tasks:,.0f}",
        f"{cost.bytes * tasks / 1e6:,.0f} MB",
        f"{cores * run.makespan / 3600 * PRICE:,.2f} USD",
    ]


def main() -> None:
    """Measure, simulate, and write the page."""
    parser = options("scheduling", __doc__)
    arguments = parser.parse_args()
    tasks, sizes = (50, (1,)) if arguments.quick else (300, (1, 2))
    found = {count: counted(tasks, count) for count in sizes}
    measured = Table(
        f"{tasks:,} tasks that only answer",
        ["workers", "messages a task", "bytes a task", "scheduler", "client", "workers together"],
        [
            [f"{count}", f"{one.messages:.1f}", f"{one.bytes:,.0f}"]
            + [f"{1000 * seconds:.2f} ms" for seconds in (one.scheduler, one.client, one.workers)]
            for count, one in found.items()
        ],
        "Messages and bytes are those that the scheduler reads and writes, connections of clients and workers together;"
        " small ones that come within milliseconds travel as one. Seconds are of processors.",
    )
    cost = found[max(found)]
    cases = [(10**9, group, cores) for group in (20_000, 50_000, 100_000) for cores in (100, 1000, 2000)]
    if arguments.quick:
        cases = [(10**6, 10_000, 10)]
    played = Table(
        "A billion records, simulated",
        [*_COLUMNS],
        [simulated(cost, *case) for case in cases],
        f"At {RATE:,.0f} records a second and core, {START:.0f} s to start a worker and {PRICE} dollars a core and"
        " hour, with the costs of a task of the last line above.",
    )
    result = Result(
        "A thousand cores, simulated",
        (__doc__ or "").partition("\n\n")[2],
        "python -m benchmarks.scheduling",
        [measured, played],
        {str(count): vars(one) for count, one in found.items()},
        machine(),
        versions(["distributed"]),
    )
    print(measured.markdown(), played.markdown(), sep="\n")
    save("scheduling", result, arguments.output)


if __name__ == "__main__":
    # Functions of this module reach the scheduler by their names, which those of a script have not.
    from benchmarks import scheduling

    scheduling.main()
