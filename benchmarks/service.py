"""How long does the service take for a record, judged and kept, and how many does it take a second?

Clients in a process of their own, on loopback: one record a request, over one connection or a new one each time, by one
client or by several at once, each as soon as it has its answer; at 300 requests a second, whose times count from when
each was due; and batches, as NDJSON and as Arrow, one and two at a time. Once with a model, also answered by two
processes, and once without a model, where records are only kept: the difference is what judging costs. The clients
share the cores with the service. Beside it, in the same run, the same model behind FastAPI and joblib as people write
it, and behind MLflow's scoring server, which keep nothing and tell no reasons.
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
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
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

CLIENTS = (8, 64)
RATE = 300
"""Requests a second, by as many clients as have to wait."""

TRAINED = 2000
NDJSON = {"Content-Type": "application/x-ndjson"}
ARROW = {"Content-Type": "application/vnd.apache.arrow.stream"}
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


@dataclass(frozen=True)
class Peer:
    """Another way to serve the same model: what starts it, when it listens, and how it is asked."""

    name: str
    package: str
    command: tuple[str, ...]
    path: str
    field: str
    in_a_list: bool = False

    def body(self, record: Any) -> bytes:
        """A request for one record."""
        return json.dumps({self.field: [record] if self.in_a_list else record}).encode()

    @contextmanager
    def served(self, folder: Path) -> Iterator[tuple[int, psutil.Process]]:
        """Its port, and its process."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [sys.executable, "-m", *self.command, "--port", str(port)]
        path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))  # MLflow looks for uvicorn
        variables = {**os.environ, "MODEL": str(folder / "model.joblib"), "PATH": path}
        with subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=variables, cwd=folder
        ) as process:
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


OURS = Peer("", "", (), "/detect", "data")
PEERS = (
    Peer(
        "FastAPI + joblib, judged alone",
        "fastapi",
        ("uvicorn", "--app-dir", str(Path(__file__).parent), "service_peer:app", "--no-access-log"),
        "/detect",
        "data",
    ),
    Peer(
        "MLflow, judged alone",
        "mlflow",
        ("mlflow", "models", "serve", "--env-manager", "local", "--workers", "1", "--model-uri", "mlflow"),
        "/invocations",
        "dataframe_records",
        in_a_list=True,
    ),
)


def save_for_mlflow(model: AnomalyDetectionAPI, folder: Path) -> None:
    """The model as MLflow serves Python functions."""
    import mlflow

    class Served(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
        # Hints of types would be read as the schema of requests.
        def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
            predictions, scores = model.predict(model_input)
            found = zip(predictions.tolist(), scores.tolist(), strict=True)
            return [{"is_anomaly": prediction == -1, "score": score} for prediction, score in found]

    mlflow.pyfunc.save_model(str(folder / "mlflow"), python_model=Served(), pip_requirements=[])


def bodies(count: int, seed: int, peer: Peer = OURS) -> list[bytes]:
    """Records of the classic profile, as requests."""
    return [peer.body(one) for one in plain(generate("classic", count, seed=seed).frame.to_dict("records"))]


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


class Client:
    """Sends records by a plain socket, which takes next to nothing of the cores that are shared."""

    def __init__(self, port: int, path: str) -> None:
        self._port, self._path = port, path
        self._socket = self._connected()

    def _connected(self) -> socket.socket:
        made = socket.create_connection(("127.0.0.1", self._port), timeout=60)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def send(self, body: bytes, *, anew: bool = False) -> None:
        """One request, whose answer is read; over a connection of its own if `anew`."""
        if anew:
            self._socket.close()
            self._socket = self._connected()
        head = f"POST {self._path} HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\nContent-Type: application/json\r\n"
        self._socket.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        got, length = b"", None
        while length is None or len(got) < length:
            part = self._socket.recv(65536)
            got += part
            if not part:
                raise SystemExit(f"{self._path} broke off after {got.decode()}")
            if length is None and b"\r\n\r\n" in got:
                told, _, _ = got.partition(b"\r\n\r\n")
                if b" 200 " not in told.split(b"\r\n")[0]:
                    raise SystemExit(f"{self._path}: {got.decode()}")
                size = next(line for line in told.lower().split(b"\r\n") if line.startswith(b"content-length:"))
                length = len(told) + 4 + int(size.partition(b":")[2])


Sent = tuple[list[float], float]
"""Seconds of each request, and of all."""


def by_clients(
    to: tuple[int, str], requests: Sequence[bytes], clients: int = 1, *, anew: bool = False, rate: float = 0
) -> Sent:
    """Have requests sent `to` a port and path by so many clients at once, each when it is free or, at a rate, due."""
    took, places = [0.0] * len(requests), iter(range(len(requests)))
    began = time.perf_counter()

    def run() -> None:
        client = Client(*to)
        try:
            for place in places:
                due = began + place / rate if rate else time.perf_counter()
                time.sleep(max(0.0, due - time.perf_counter()))
                client.send(requests[place], anew=anew)
                took[place] = time.perf_counter() - due
        finally:
            client.close()

    together(run, clients)
    return took, time.perf_counter() - began


def together(run: Callable[[], None], count: int) -> None:
    """Run something in so many threads, until all have ended; raises what one of them ended with."""
    with ThreadPoolExecutor(count) as pool:
        for done in [pool.submit(run) for _ in range(count)]:
            done.result()


def batches(port: int, bodies: Sequence[bytes], media: dict[str, str], clients: int) -> Sent:
    """As `by_clients`, of batches."""
    took, left = list[float](), iter(bodies)

    def run() -> None:
        for body in left:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
            before = time.perf_counter()
            send(connection, BATCH, body, media)
            took.append(time.perf_counter() - before)
            connection.close()

    began = time.perf_counter()
    together(run, clients)
    return took, time.perf_counter() - began


def cpu_of(process: psutil.Process) -> float:
    """Seconds of processor time of the service, and of what it started."""
    return sum(sum(each.cpu_times()[:4]) for each in (process, *process.children(recursive=True)))


def measured(
    port: int, process: psutil.Process, count: int, batch: int, seed: int, peer: Peer = OURS
) -> dict[str, list[float]]:
    """Of each way to send: p50 and p99 in ms, requests or records a second, CPU of the service for each in us."""
    made, to = bodies(8 * count, seed, peer), (port, peer.path)
    by_clients(to, made[:20])
    found: dict[str, list[float]] = {}

    def note(name: str, records: int, send: Callable[[], Sent]) -> None:
        before = cpu_of(process)
        took, seconds = send()
        p50, p99 = np.quantile(took, (0.5, 0.99)) * 1e3
        found[name] = [float(p50), float(p99), records / seconds, 1e6 * (cpu_of(process) - before) / records]

    parts = (made[:count], made[count : 2 * count], made[2 * count : 4 * count], made[4 * count :])
    note("one client, kept connection", count, lambda: by_clients(to, parts[0]))
    note("one client, a new connection each", count, lambda: by_clients(to, parts[1], anew=True))
    note(f"{RATE} a second", 2 * count, lambda: by_clients(to, parts[2], 16, rate=RATE))
    for clients in CLIENTS:
        note(f"{clients} clients", 4 * count, partial(by_clients, to, parts[3], clients))
    if not batch:
        return found
    for kind, media in (("NDJSON", NDJSON), ("Arrow", ARROW)):
        sent = [batch_of(batch, seed + len(found) + i, kind) for i in range(3)]
        note(f"a batch of {batch:,}, {kind}", batch, partial(batches, port, sent[:1], media, 1))
        note(f"two batches of {batch:,}, {kind}", 2 * batch, partial(batches, port, sent[1:], media, 2))
    return found


def main(arguments: list[str] | None = None) -> None:
    """Run the benchmark."""
    chosen = options("service", __doc__).parse_args(arguments)
    here = machine()
    count, batch, repeats = (5, 50, 1) if chosen.quick else (300, 10_000, chosen.repeats)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = AnomalyDetectionAPI().fit(generate("classic", TRAINED, seed=1).frame)
        model.save_model(folder / "model.safetensors")
        joblib.dump(model, folder / "model.joblib")
        peers = [one for one in PEERS if find_spec(one.package) is not None]
        if find_spec("mlflow") is not None:
            save_for_mlflow(model, folder)
        with_model = ("--model", str(folder / "model.safetensors"))
        ways: dict[str, tuple[str, ...]] = {
            "judged and kept": with_model,
            "judged and kept by two processes": (*with_model, "--workers", "2"),
            "kept": ("--learn-from", "1000000"),
        }
        found: dict[str, list[dict[str, list[float]]]] = {way: [] for way in ways}
        for number in range(repeats):
            for way, given in ways.items():
                with service(folder / way, *given) as (port, process):
                    found[way].append(measured(port, process, count, batch, 20 * number + 2))
            for one in peers:
                with one.served(folder) as (port, process):
                    found.setdefault(one.name, []).append(measured(port, process, count, 0, 20 * number + 2, one))
    rows = []
    for way, runs in found.items():
        for how in runs[0]:
            p50, p99, rate, cpu = np.median([run[how] for run in runs], axis=0)
            rows.append([f"{way}, {how}", f"{p50:,.1f}", f"{p99:,.1f}", f"{rate:,.0f}", f"{cpu:,.0f}"])
    columns = ["what", "p50, ms", "p99, ms", "records a second", "us of the service's CPU a record"]
    table = Table(f"Records of 13 columns; medians of {repeats} runs", columns, rows)
    print(table.markdown())
    packages = ["starlette", "uvicorn", "sqlalchemy", "orjson", "fastapi", "mlflow"]
    result = Result(
        "Service", str(__doc__).strip(), "python -m benchmarks.service", [table], found, here, versions(packages)
    )
    print(f"written to {save('service', result, chosen.output)}")


if __name__ == "__main__":
    main()
