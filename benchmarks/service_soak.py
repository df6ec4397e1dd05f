"""Does the service's memory stay flat under a steady load?

One client sends single records, another batches of 200, some records being alerts and some the same again, and a third
looks at alerts and metrics, for `--minutes` (two hours: 120). Old records are deleted meanwhile, and a model is trained
anew now and then. Each minute a line is printed: records so far, memory of the processes that answer, their threads and
open files, and how large the database is. Memory is flat where its slope over the second half is below a megabyte in
ten minutes; the script ends with 1 where it is not.
"""

from __future__ import annotations

import argparse
import http.client
import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from anomaly_detection.anomaly_detection_api import AnomalyDetectionAPI
from anomaly_detection.data.json_values import plain
from anomaly_detection.synthetic import generate
from benchmarks.harness import Table
from benchmarks.service import BATCH, NDJSON, send, service

TRAINED = 2000

RATE = 40.0
"""Single records a second."""

FLAT = 0.1
"""Megabytes a minute."""

LOOKS = 5.0
"""Seconds between looks at alerts and metrics."""


@lru_cache(50)
def records(seed: int) -> list[dict[str, Any]]:
    """Of one of fifty worlds."""
    return [dict(each) for each in plain(generate("classic", 400, seed=seed).frame.to_dict("records"))]


class Load:
    """Clients in threads, until they are stopped."""

    def __init__(self, port: int, minutes: float) -> None:
        self.port, self.sent = port, 0
        # Three times in the first half: one of more records is larger, and what remains is that they take turns.
        self._trains_every = max(12, int(60 * minutes / 8 / LOOKS))
        self._stop = threading.Event()
        self._failed: list[BaseException] = []
        self._threads = [
            threading.Thread(target=self._run, args=(work,)) for work in (self._one, self._many, self._look)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop, and raise what a client ended with."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        if self._failed:
            raise self._failed[0]

    @property
    def goes_on(self) -> bool:
        """Whether no client has failed."""
        return not self._failed

    def _run(self, work: Callable[[http.client.HTTPConnection, int], None]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        number = 0
        try:
            while not self._stop.is_set() and self.goes_on:
                work(connection, number)
                # The service ends connections that idle, as they do on a machine with other work.
                connection.close()
                number += 1
        except BaseException as error:
            self._failed.append(error)
        finally:
            connection.close()

    def _one(self, connection: http.client.HTTPConnection, number: int) -> None:
        # Every fifth comes again; of a table made with seeds errors are a twentieth.
        record = records(number // 500 % 50)[number % 400]
        send(connection, "/detect", json.dumps({"data": record}).encode(), {})
        self.sent += 1
        self._stop.wait(1 / RATE)

    def _many(self, connection: http.client.HTTPConnection, number: int) -> None:
        lines = [json.dumps({**record, "batch": number}).encode() for record in records(number % 50)[:200]]
        send(connection, BATCH, b"\n".join(lines), NDJSON)
        self.sent += len(lines)
        self._stop.wait(2.0)

    def _look(self, connection: http.client.HTTPConnection, number: int) -> None:
        for path in ("/v1/alerts?sort=severity", "/metrics", "/status", "/health"):
            connection.request("GET", path)
            connection.getresponse().read()
        if number and number % self._trains_every == 0:
            connection.request("POST", "/train")
            connection.getresponse().read()
        self._stop.wait(LOOKS)


def state(process: psutil.Process, folder: Path) -> tuple[float, int, int, float]:
    """Megabytes of the process and of those that answer beside it, threads, open files, megabytes of the database."""
    mine = [process, *(each for each in process.children() if _answers(each))]
    memory = sum(each.memory_info().rss for each in mine) / 2**20
    size = sum(path.stat().st_size for path in folder.glob("service.sqlite*")) / 2**20
    return memory, sum(each.num_threads() for each in mine), sum(each.num_fds() for each in mine), size


def _answers(child: psutil.Process) -> bool:
    """Whether a child is one that answers requests; a child that has ended meanwhile (a training) is none."""
    try:
        return "answering" in " ".join(child.cmdline())
    except psutil.NoSuchProcess:  # a zombie is one, too
        return False


def main(arguments: list[str] | None = None) -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=4.0, help="how long (default: 4; two hours are 120)")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--every", type=float, default=60.0, help="seconds between lines (default: 60)")
    chosen = parser.parse_args(arguments)
    rows: list[tuple[float, int, float, int, int, float]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        AnomalyDetectionAPI().fit(generate("classic", TRAINED, seed=1).frame).save_model(folder / "model.safetensors")
        given = ("--model", str(folder / "model.safetensors"), "--keep-records", "20000")
        with service(folder / "data", *given, "--workers", str(chosen.workers)) as (port, process):
            load = Load(port, chosen.minutes)
            began = time.monotonic()
            while (passed := time.monotonic() - began) < 60 * chosen.minutes and load.goes_on:
                time.sleep(min(chosen.every, 60 * chosen.minutes - passed))
                rows.append((time.monotonic() - began, load.sent, *state(process, folder / "data")))
                print("{:6.0f} s {:9,} records {:7.1f} MB {:4} threads {:4} files {:7.1f} MB on disk".format(*rows[-1]))
            load.stop()
    half = rows[len(rows) // 2 :]
    slope = float(np.polyfit([row[0] / 60 for row in half], [row[2] for row in half], 1)[0]) if len(half) > 1 else 0.0
    columns = ["minutes", "records", "memory, MB", "threads", "files", "database, MB"]
    table = [[f"{row[0] / 60:.1f}", *(f"{value:,.0f}" for value in row[1:])] for row in rows]
    print(Table(f"Slope over the second half: {slope:.2f} MB a minute", columns, table).markdown())
    return int(slope > FLAT)


if __name__ == "__main__":
    sys.exit(main())
