"""Several processes that answer on one port: as one, of which any may end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from service_example import ROOT, client_of, hot, is_alive, model_file, resting, simulated, started, wait_until
from test_service_kill import check, clients

from anomaly_detection.errors import DataError
from anomaly_detection.service.jobs import worker
from anomaly_detection.service.jobs.jobs import JOB
from anomaly_detection.service.processes.configuration import Configuration
from anomaly_detection.service.processes.metrics import Metrics
from anomaly_detection.service.processes.service import Part, Service
from anomaly_detection.service.storage.database import Database


def answering(process: Any) -> list[psutil.Process]:
    """The processes beside the first one that answer."""
    return [each for each in psutil.Process(process.pid).children() if "answering" in words_of(each)]


def words_of(process: psutil.Process) -> str:
    """The command line of one that runs; nothing of one that ended meanwhile."""
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def detect(url: str, record: dict[str, Any]) -> dict[str, Any]:
    """Over a connection of its own, so that any process may take it."""
    answer = requests.post(f"{url}/detect", json={"data": record}, timeout=20)
    assert answer.status_code == 200
    return dict(answer.json())


@pytest.mark.slow
def test_several_are_as_one_and_one_that_is_killed_is_replaced(tmp_path: Path) -> None:
    with started(tmp_path, "--model", str(model_file()), "--workers", "2") as (process, url):
        assert len(answering(process)) == 2
        # The same record is one alert, whoever is asked.
        found = [detect(url, hot(1)) for _ in range(12)]
        assert len({each["alert_id"] for each in found}) == 1
        assert len({each["record_id"] for each in found}) == 12
        assert requests.get(f"{url}/v1/alerts/{found[0]['alert_id']}", timeout=9).json()["count"] == 12

        def counted() -> dict[str, float]:
            text = requests.get(f"{url}/metrics", timeout=9).text
            lines = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
            return {name: float(value) for name, value in lines}

        wait_until(lambda: counted()['records_total{stream="default",state="judged"}'] == 12)
        assert counted()['request_duration_seconds_count{handler="detect"}'] == 12
        # A process tells of itself a while after it has begun to answer.
        wait_until(lambda: sum(name.startswith("process_resident_memory_bytes") for name in counted()) == 2)
        old = answering(process)
        old[0].kill()
        wait_until(lambda: len(answering(process)) == 2 and old[0] not in answering(process))
        for i in range(6):
            detect(url, hot(10 + i))
        # What it had counted stays.
        wait_until(lambda: counted()['records_total{stream="default",state="judged"}'] == 18)
        # What is asked of them as they end is answered or not there.
        answered: dict[str, dict[str, Any]] = {}
        threads = clients(url, answered, 9, 0)
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert not any(map(is_alive, old))
        for thread in threads:
            thread.join()
    check(tmp_path, answered, 18)


@pytest.mark.slow
def test_they_end_when_the_first_is_killed(tmp_path: Path) -> None:
    with started(tmp_path, "--learn-from", "100", "--workers", "2") as (process, url):
        others = answering(process)
        # A model that one of them does not train is taken over by all.
        requests.post(f"{url}/v1/streams/default/records", json=simulated(120), timeout=20)
        wait_until(lambda: all(requests.get(f"{url}/ready", timeout=9).status_code == 200 for _ in range(8)))
        process.kill()
        process.wait()
        wait_until(lambda: not any(map(is_alive, others)), 20)
    # The folder is free.
    with resting(tmp_path) as service:
        assert client_of(service).post("/detect", json={"data": hot(1)}).json()["is_anomaly"] is True


def test_what_one_process_changes_the_others_go_by(tmp_path: Path) -> None:
    """Models, rules, settings and streams; each process looks twice a second, here when it is told to."""
    configuration = Configuration(tmp_path, model=model_file(), workers=2)
    with ExitStack() as opened:
        parts = [Service(configuration, part) for part in (Part.LEADS, Part.ANSWERS, Part.ANSWERS)]
        for each in parts:
            opened.callback(each.close)
        lead, first, second = parts
        one, other = client_of(first), client_of(second)
        # A rule.
        rule = {"stream": "default", "where": {"transaction_id": "HOT-1"}, "reason": "a test"}
        number = one.post("/v1/rules", json=rule).json()["id"]
        second.reload()
        alert = other.post("/detect", json={"data": hot(1)}).json()["alert_id"]
        assert one.get(f"/v1/alerts/{alert}").json()["hidden_by"] == number
        # A threshold, and another version.
        assert other.post("/detect", json={"data": hot(2)}).json()["is_anomaly"] is True
        one.patch("/v1/streams/default", json={"anomaly_ratio": 0.2})
        body = model_file().read_bytes()
        headers = {"Content-Type": "application/octet-stream"}
        kept = one.post("/v1/streams/default/models?promote=true", content=body, headers=headers)
        assert kept.json()["version"] == 2
        second.reload()
        judge = second.judge("default")
        assert judge is not None
        assert (judge.version, judge.ratio) == (2, 0.2)
        # A setting is read where it counts.
        one.patch("/v1/settings", json={"case_days": 3})
        assert other.get("/v1/settings").json()["case_days"] == 3
        # A stream that is gone, and comes again.
        for client in (one, other):
            assert client.post("/v1/streams/gone/records", json=[hot(3)]).status_code == 200
        before = second.stream_id("gone")
        assert one.delete("/v1/streams/gone?confirm=gone").status_code == 202
        late = other.post("/v1/streams/gone/records", json=[hot(3)])
        assert late.status_code == 409
        assert other.post("/v1/streams/gone/records", json=[hot(3)]).status_code == 200
        assert second.stream_id("gone") > before
        # The other had forgotten it, and knows the new one.
        assert one.post("/v1/streams/gone/records", json=[hot(3)]).status_code == 200
        assert first.stream_id("gone") == second.stream_id("gone")
        worker.work(lead.database, configuration.models_dir, "here")
        assert one.get("/v1/streams/gone").json()["waiting"] == 2


def test_a_worker_can_do_every_kind_of_job() -> None:
    assert {*worker._KINDS, "forget"} == set(JOB["properties"]["kind"]["enum"])


def test_turns_wake_who_waits_and_end_with_their_process(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'a.sqlite'}"
    first, second = Database(url), Database(url)
    first.migrate()
    entered = threading.Event()

    def write() -> None:
        with second.writing():
            entered.set()

    with first.writing():
        other = threading.Thread(target=write)
        other.start()
        assert not entered.wait(0.2)
    assert entered.wait(10)
    other.join()
    killed = (
        "import os, sys; from anomaly_detection.service.storage.database import Database\n"
        f"with Database({url!r}).writing():\n    os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", killed], cwd=ROOT, check=False).returncode == -9
    with second.writing():
        pass
    first.close()
    second.close()


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be used: No such file"):
        Database(f"sqlite:///{tmp_path / 'none' / 'a.sqlite'}").migrate()


def test_whoever_is_asked_adds_what_others_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = Metrics(tmp_path), Metrics(tmp_path)
    for metrics, number in ((first, 1), (second, os.getpid())):
        monkeypatch.setattr(os, "getpid", lambda number=number: number)
        metrics.count("records_total", 3, stream="a", state="judged")
        metrics.time("detect", 0.003, 200)
        metrics.leave()
    text = second.text([])
    assert 'records_total{stream="a",state="judged"} 6' in text
    assert 'request_duration_seconds_bucket{handler="detect",le="0.005"} 2' in text
    assert 'request_duration_seconds_bucket{handler="detect",le="0.002"} 0' in text
    assert 'requests_total{handler="detect",status="200"} 2' in text
    assert 'process_resident_memory_bytes{process="1"}' in text
    assert Metrics().text([]).count("process_resident_memory_bytes ") == 3
