"""The first start without a model: records are kept, a worker learns from them, the next start loads what it made."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from service_example import (
    client_of,
    hot,
    model_file,
    postgresql,
    resting,
    running,
    simulated,
    wait_until,
    work_off,
    work_on,
)

from anomaly_detection.cli import main
from anomaly_detection.errors import DataError, ModelFileError
from anomaly_detection.service.jobs import jobs
from anomaly_detection.service.jobs.worker import work
from anomaly_detection.service.learning.models import current_models
from anomaly_detection.service.processes.configuration import Configuration, database_url
from anomaly_detection.service.processes.service import Service
from anomaly_detection.service.records.incoming import Incoming
from anomaly_detection.service.records.keeping import keep
from anomaly_detection.service.records.verdicts import Verdicts
from anomaly_detection.service.storage.database import Database
from anomaly_detection.service.streams.streams import open_stream

pytestmark = pytest.mark.usefixtures("few_folds")


def test_a_model_is_learned_from_the_first_records_and_loaded_again(tmp_path: Path) -> None:
    with resting(tmp_path, model=None, learn_from=150) as service:
        client = client_of(service)
        assert client.get("/health").json()["message"] == "learning: 0 of 150 records"
        for record in simulated(2):
            result = client.post("/detect", json={"data": record}).json()
        assert (result["error"], result["judged"], result["is_anomaly"]) == ("learning: 2 of 150 records", False, False)
        assert client.get("/ready").status_code == 503
        assert client.get("/explain").status_code == 409
        client.post("/detect", json={"data": simulated(147, first=2)})
        assert "149 of 150" in client.get("/health").json()["message"]
        answer = client.post("/detect", json={"data": hot(1)}).json()
        assert answer["error"] == "learning: a model is being trained on 150 records"
        # Requests do not wait for it.
        assert client.post("/detect", json={"data": hot(2)}).status_code == 200
        work_on(service)
        assert client.get("/health").json()["api_ready"] is True
        assert client.get("/ready").status_code == 200
        judged = client.post("/detect", json={"data": hot(3)}).json()
        assert judged["is_anomaly"] is True
        # What waited is judged by now, and what was answered so is an alert.
        (stream,) = service.streams()
        assert (stream["judged"], stream["refused"]) == (152, 0)
        first = client.get(f"/v1/records/{answer['record_id']}").json()
        assert (first["state"], first["is_alert"]) == ("judged", True)
        assert client.get(f"/v1/alerts/{first['alert_id']}").json()["record"] == hot(1)
        assert stream["alerting"] == len(client.get("/v1/alerts?limit=500").json()["alerts"])
        assert client.get("/v1/jobs/2").json()["kind"] == "judge"
        job = client.get("/v1/jobs/1").json()
        assert (job["state"], job["attempts"], job["stream"]) == ("done", 1, "default")
        assert job["result"]["version"] == 1
    with resting(tmp_path, model=None) as service:
        client = client_of(service)
        assert client.get("/health").json()["api_ready"] is True
        again = client.post("/detect", json={"data": hot(3)}).json()
        assert again["anomaly_score"] == judged["anomaly_score"]
        assert again["alert_id"] == judged["alert_id"]


def test_one_record_with_an_infinite_number_hinders_no_learning(tmp_path: Path) -> None:
    with resting(tmp_path, model=None, learn_from=150) as service:
        client = client_of(service)
        endless = client.post("/detect", json={"data": {**hot(1), "temperature": "1e999"}}).json()
        client.post("/detect", json={"data": simulated(150)})
        work_on(service)
        assert client.get("/v1/jobs/1").json()["result"] == {"version": 1, "records": 150}
        record = client.get(f"/v1/records/{endless['record_id']}").json()
        assert record["state"] == "refused"
        assert "infinite" in record["error"]


@pytest.mark.slow
def test_a_model_given_once_stays_and_gives_way_to_what_is_learned_later(tmp_path: Path) -> None:
    for _ in range(2):
        with resting(tmp_path) as service:
            (stream,) = service.streams()
            assert stream["model"]["version"] == 1
            assert len(list((tmp_path / "models").iterdir())) == 1
    with resting(tmp_path, model=None) as service:
        client = client_of(service)
        client.post("/v1/streams/default/records", json=simulated(120))
        where = client.post("/train").json()["status_url"]
        assert client.post("/train").status_code == 409
        work_off(service)
        assert client.get(where).json()["state"] == "done"
        assert service.streams()[0]["model"]["version"] == 2
    with resting(tmp_path) as service:
        assert service.streams()[0]["model"]["version"] == 2


@pytest.mark.slow
def test_records_that_nothing_can_be_learned_from_are_told_and_learned_from_later(tmp_path: Path) -> None:
    with resting(tmp_path, model=None, learn_from=2) as service:
        client = client_of(service)
        client.post("/detect", json={"data": [{"colour": "red"}, {"colour": "blue"}]})
        work_off(service)
        assert client.get("/v1/jobs/1").json()["state"] == "failed"
        assert client.get("/v1/jobs/1").json()["error"].startswith("No numeric column was found")
        message = client.get("/health").json()["message"]
        assert message.startswith("learning: 2 of 4 records; the last training failed: No numeric column")
        for number in range(2):
            client.post("/detect", json={"data": {"colour": "red", "size": number}})
        assert client.get("/v1/jobs/2").status_code == 200


def test_no_model_file_and_none_that_is_one(tmp_path: Path) -> None:
    (tmp_path / "odd.safetensors").write_bytes(b"odd")
    with pytest.raises(ModelFileError):
        Service(Configuration(tmp_path / "a", model=tmp_path / "odd.safetensors"))
    # What failed holds the folder no more.
    with running(tmp_path / "a", model=None):
        pass


def test_the_folder_is_its_owners_alone(tmp_path: Path) -> None:
    with running(tmp_path / "new", model=None):
        assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700


def test_two_services_do_not_share_a_folder(tmp_path: Path) -> None:
    with running(tmp_path, model=None), pytest.raises(DataError, match="Another service uses the folder"):
        Service(Configuration(tmp_path))


@pytest.fixture
def database(tmp_path: Path) -> Any:
    made = Database(database_url(tmp_path))
    made.migrate()
    with made.writing() as connection:
        stream = open_stream(connection, "default", 10, 10)
        jobs.add_job(connection, "train", stream.id)
    yield made
    made.close()


def claim(database: Database, worker: str) -> Any:
    with database.writing() as connection:
        return jobs.claim(connection, worker)


def later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    moment = time.time() + seconds
    monkeypatch.setattr(jobs.time, "time", lambda: moment)


def test_a_job_is_one_workers_until_its_lease_runs_out(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    assert claim(database, "a")["id"] == 1
    assert claim(database, "b") is None
    later(monkeypatch, jobs.LEASE - 1)
    with database.writing() as connection:
        assert jobs.renew(connection, 1, "a")
    later(monkeypatch, jobs.LEASE - 1)
    assert claim(database, "b") is None
    later(monkeypatch, jobs.LEASE + 1)
    assert claim(database, "b")["attempts"] == 1
    with database.writing() as connection:
        assert not jobs.renew(connection, 1, "a")
        assert jobs.renew(connection, 1, "b")


def test_a_job_that_ends_its_workers_is_given_up(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    for attempt in range(jobs.MOST_ATTEMPTS):
        assert claim(database, f"w{attempt}") is not None
        later(monkeypatch, jobs.LEASE + 1)
    assert claim(database, "last") is None
    with database.reading() as connection:
        row = jobs.find_job(connection, 1)
        assert row is not None
        assert (row["state"], row["error"]) == ("failed", "The work on it ended 3 times before it was done.")


def test_a_worker_that_was_told_to_end_gives_its_job_back(database: Database) -> None:
    assert claim(database, "a") is not None
    with database.writing() as connection:
        jobs.set_free(connection, "a")
    assert claim(database, "b")["attempts"] == 0


def test_a_worker_whose_lease_ran_out_changes_nothing(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database.writing() as connection:
        stream = open_stream(connection, "default", 10, 10)
        keep(connection, stream, None, Verdicts.unjudged([Incoming.of(each) for each in simulated(60)]))
    with monkeypatch.context() as patch:
        patch.setattr(jobs, "renew", lambda *_: False)
        claimed = iter([claim(database, "a"), None])
        patch.setattr(jobs, "claim", lambda *_: next(claimed))
        work(database, tmp_path, "a")
    with database.reading() as connection:
        assert current_models(connection) == {}
        assert jobs.find_job(connection, 1)["state"] == "running"  # type: ignore[index]
    later(monkeypatch, jobs.LEASE + 1)
    work(database, tmp_path, "b")
    with database.reading() as connection:
        assert current_models(connection)[stream.id]["records"] == 60
        assert jobs.find_job(connection, 1)["state"] == "done"  # type: ignore[index]


def test_a_worker_that_falls_is_told_of_and_hinders_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "executable", "false")
    with running(tmp_path, model=None, learn_from=3) as service:
        client = client_of(service)
        client.post("/detect", json={"data": simulated(3)})
        wait_until(lambda: "A worker ended with status 1" in caplog.text)
        assert client.get("/v1/jobs/1").json()["state"] == "queued"
        assert client.get("/health").status_code == 200


def test_a_worker_without_a_job_ends(database: Database, tmp_path: Path) -> None:
    with database.writing() as connection:
        jobs.end(connection, 1, error="for the test")
    work(database, tmp_path, "a")


@pytest.mark.slow
def test_a_service_on_postgresql_ends_its_worker_and_the_next_start_takes_the_job_up(tmp_path: Path) -> None:
    with postgresql() as url:
        with running(tmp_path, model=None, learn_from=120, database=url) as service:
            client = client_of(service)
            client.post("/detect", json={"data": simulated(120)})
            # It runs for two seconds; on a busy machine a look may come after them.
            wait_until(lambda: client.get("/v1/jobs/1").json()["state"] != "queued")
        with running(tmp_path, model=None, database=url) as service:
            wait_until(lambda: service.is_ready)
            client = client_of(service)
            assert client.get("/v1/jobs/1").json()["attempts"] == 1
            assert client.post("/detect", json={"data": hot(3)}).json()["is_anomaly"] is True
    assert not (tmp_path / "service.sqlite").exists()


def test_the_service_says_what_is_not_installed(tmp_path: Path) -> None:
    code = """
import sys
sys.modules["starlette"] = None
from anomaly_detection.cli import main
sys.exit(main(["serve", "--data-dir", sys.argv[1]]))
"""
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "anomaly-detection: error: The service needs starlette, which is not installed;"
        " run pip install 'mlx-iforest[service]'."
    ]


def test_the_command_says_what_is_wrong_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--data-dir", str(tmp_path), "--port", "0", "--host", "no.such.host.invalid"]) == 2
    assert "is no address of this machine" in capsys.readouterr().err
    assert main(["serve", "--data-dir", str(tmp_path), "--port", "0", "--host", "0.0.0.0"]) == 2
    assert "keys add NAME" in capsys.readouterr().err
    assert main(["serve", "--data-dir", str(tmp_path), "--port", "0", "--model", str(tmp_path / "none")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert model_file().is_file()
