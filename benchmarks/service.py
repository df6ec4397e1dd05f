"""How long does the service take for a record, judged and kept, and how many does it take a second?

A client in a process of its own, on loopback: one record a request, over one connection or a new one each time, by one
client or by several at once; and batches, as NDJSON and as Arrow. Once with a model, and once without one, where
records are only kept: the difference is what judging costs. The clients share the cores with the service. Beside it, in
the same run, the same model behind FastAPI and joblib as people write it, which keeps nothing and tells no reasons.
"""

from __future__ import annotations

import http.client
import io
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import psutil
import pyarrow as pa
import pyarrow.ipc

from anomaly_detection.anomaly_detection_api import AnomalyDetectionAPI
from anomaly_detection.data.json_values import plain
from anomaly_detection.synthetic import generate
from benchmarks.harness import Result, Table, machine, options, save, versions

CLIENTS = 8
TRAINED = 2000
JSON = {"Content-Type": "application/json"}
NDJSON = {"Content-Type": "application/x-ndjson"}
ARROW = {"Content-Type": "application/vnd.apache.arrow.stream"}
PEER = "FastAPI + joblib, judged alone"
BATCH = "/v1/streams/default/records"


@contextmanager
def service(folder: Path, *given: str) -> Iterator[tuple[int, psutil.Process]]:
    """A service as a user starts it: its port, and its process."""
    command = [sys.executable, "-m", "anomaly_detection", "serve", "--data-dir", str(folder), "--port", "0", *given]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        if "listening on" not in line:
            raise SystemExit(line + process.stderr.read())
        try:
            yield int(line.split(";")[0].rsplit(":", 1)[1]), psutil.Process(process.pid)
        finally:
            process.terminate()


@contextmanager
def peer(model: Path) -> Iterator[tuple[int, psutil.Process]]:
    """`service_peer` by uvicorn: its port, and its process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "benchmarks.service_peer:app", "--port", str(port), "--no-access-log"]
    variables = {**os.environ, "MODEL": str(model)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=variables) as process:
        assert process.stderr is not None
        told = ""
        while "running on" not in told:
            line = process.stderr.readline()
            if not line:
                raise SystemExit(told)
            told += line
        try:
            yield port, psutil.Process(process.pid)
        finally:
            process.terminate()


def bodies(count: int, seed: int) -> list[bytes]:
    """Records of the classic profile, as requests."""
    records = plain(generate("classic", count, seed=seed).frame.to_dict("records"))
    return [json.dumps({"data": record}).encode() for record in records]


def batch_of(count: int, seed: int, kind: str) -> bytes:
    """Records of the classic profile, as the body of one request."""
    if kind == "NDJSON":
        return b"\n".join(body[len('{"data": ') : -1] for body in bodies(count, seed))
    table = pa.Table.from_pandas(generate("classic", count, seed=seed).frame, preserve_index=False)
    out = io.BytesIO()
    with pyarrow.ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table)
    return out.getvalue()


def send(connection: http.client.HTTPConnection, path: str, body: bytes, headers: dict[str, str]) -> Any:
    """One request, whose answer is read."""
    connection.request("POST", path, body, headers)
    answer = connection.getresponse()
    content = answer.read()
    if answer.status != 200:
        raise SystemExit(f"{path}: {answer.status} {content.decode()}")
    return json.loads(content)


def one_client(port: int, requests: list[bytes], *, anew: bool) -> list[float]:
    """Seconds of each request, one after the other."""
    took = []
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    for body in requests:
        began = time.perf_counter()
        if anew:
            connection.close()
        send(connection, "/detect", body, JSON)
        took.append(time.perf_counter() - began)
    connection.close()
    return took


def several_clients(port: int, requests: list[bytes]) -> tuple[list[float], float]:
    """Seconds of each request, and of all, by `CLIENTS` at once."""
    took: list[float] = []
    shares = [requests[i::CLIENTS] for i in range(CLIENTS)]
    threads = [
        threading.Thread(target=lambda part=part: took.extend(one_client(port, part, anew=False))) for part in shares
    ]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return took, time.perf_counter() - began


def measured(port: int, process: psutil.Process, count: int, batch: int, seed: int) -> dict[str, list[float]]:
    """Of each way to send: p50 and p99 in ms, requests or records a second, CPU of the service for each in us."""
    requests = bodies(3 * count, seed)
    one_client(port, requests[:20], anew=False)
    found: dict[str, list[float]] = {}

    def note(name: str, took: list[float], seconds: float, records: int, cpu: float) -> None:
        p50, p99 = np.quantile(took, (0.5, 0.99)) * 1e3
        found[name] = [float(p50), float(p99), records / seconds, 1e6 * cpu / records]

    for name, part in (("kept connection", requests[:count]), ("a new connection each", requests[count : 2 * count])):
        before = sum(process.cpu_times()[:2])
        took = one_client(port, part, anew="new" in name)
        note(f"one client, {name}", took, sum(took), count, sum(process.cpu_times()[:2]) - before)
    before = sum(process.cpu_times()[:2])
    took, seconds = several_clients(port, requests[2 * count :])
    note(f"{CLIENTS} clients", took, seconds, count, sum(process.cpu_times()[:2]) - before)
    if not batch:
        return found
    for place, (kind, media) in enumerate((("NDJSON", NDJSON), ("Arrow", ARROW))):
        body = batch_of(batch, seed + 1 + place, kind)
        before = sum(process.cpu_times()[:2])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        began = time.perf_counter()
        send(connection, BATCH, body, media)
        seconds = time.perf_counter() - began
        connection.close()
        note(f"a batch of {batch:,}, {kind}", [seconds], seconds, batch, sum(process.cpu_times()[:2]) - before)
    return found


def main(arguments: list[str] | None = None) -> None:
    """Run the benchmark."""
    chosen = options("service", __doc__).parse_args(arguments)
    here = machine()
    count, batch, repeats = (20, 200, 1) if chosen.quick else (400, 10_000, chosen.repeats)
    found: dict[str, list[dict[str, list[float]]]] = {"judged and kept": [], "kept": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = AnomalyDetectionAPI().fit(generate("classic", TRAINED, seed=1).frame)
        model.save_model(folder / "model.safetensors")
        joblib.dump(model, folder / "model.joblib")
        ways = {
            "judged and kept": ("--model", str(folder / "model.safetensors")),
            "kept": ("--learn-from", "1000000"),
        }
        for number in range(repeats):
            for way, given in ways.items():
                with service(folder / way, *given) as (port, process):
                    found[way].append(measured(port, process, count, batch, 10 * number + 2))
            if find_spec("fastapi") is not None:
                with peer(folder / "model.joblib") as (port, process):
                    found.setdefault(PEER, []).append(measured(port, process, count, 0, 10 * number + 2))
    rows = []
    for way, runs in found.items():
        for how in runs[0]:
            p50, p99, rate, cpu = np.median([run[how] for run in runs], axis=0)
            rows.append([f"{way}, {how}", f"{p50:,.1f}", f"{p99:,.1f}", f"{rate:,.0f}", f"{cpu:,.0f}"])
    columns = ["what", "p50, ms", "p99, ms", "records a second", "us of the service's CPU a record"]
    table = Table(f"Records of 13 columns; medians of {repeats} runs", columns, rows)
    print(table.markdown())
    packages = ["starlette", "uvicorn", "sqlalchemy", "orjson", "fastapi"]
    result = Result(
        "Service", str(__doc__).strip(), "python -m benchmarks.service", [table], found, here, versions(packages)
    )
    print(f"written to {save('service', result, chosen.output)}")


if __name__ == "__main__":
    main()
