"""Records in every kind of body; many of them as a job, which is followed, cancelled, and goes on after a kill."""

from __future__ import annotations

import gzip
import io
import json
import sqlite3
from collections import Counter
from contextlib import closing
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pandas as pd
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet
import pytest
import requests
from anyio import to_thread
from service_example import (
    BOTH,
    RECORDS,
    a_service,
    client_of,
    hot,
    is_problem,
    kill,
    model_file,
    on,
    resting,
    simulated,
    started,
    wait_until,
    work_off,
)
from sqlalchemy import func, select
from starlette.testclient import TestClient
from workbooks import xlsx

from anomaly_detection.features.numbers.moves import Moves
from anomaly_detection.service.http import bodies
from anomaly_detection.service.http.bodies import MEDIA, parts_of, records_of
from anomaly_detection.service.http.limits import Limits
from anomaly_detection.service.http.problems import Problem
from anomaly_detection.service.jobs import jobs, taking, uploads
from anomaly_detection.service.processes.service import Service
from anomaly_detection.service.records.plain_records import records_of_frame
from anomaly_detection.service.storage.tables import records

ASYNC = {"Prefer": "respond-async"}


def arrow(table: pa.Table, *, file: bool, rows: int = 3) -> bytes:
    out = io.BytesIO()
    make = pyarrow.ipc.new_file if file else pyarrow.ipc.new_stream
    with make(out, table.schema) as writer:
        writer.write_table(table, max_chunksize=rows)
    return out.getvalue()


def parquet(table: pa.Table) -> bytes:
    out = io.BytesIO()
    pyarrow.parquet.write_table(table, out)
    return out.getvalue()


def bodies_of(sent: list[dict[str, Any]]) -> dict[str, bytes]:
    """The same records in every kind of body."""
    table = pa.Table.from_pylist(sent)
    return {
        "application/json": json.dumps(sent).encode(),
        "application/x-ndjson": "\n".join(map(json.dumps, sent)).encode(),
        "application/jsonl": b"\n\n".join(map(orjson.dumps, sent)) + b"\n",
        "text/csv": pd.DataFrame(sent).to_csv(index=False).encode(),
        "application/vnd.apache.parquet": parquet(table),
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": xlsx(
            {"Orders": [list(sent[0]), *(list(each.values()) for each in sent)]}
        ),
        "application/vnd.apache.arrow.stream": arrow(table, file=False),
        "application/vnd.apache.arrow.file": arrow(table, file=True),
    }


service = a_service(limits=Limits(records=50, body=100_000))


def send(client: TestClient, body: bytes, media: str, **headers: str) -> Any:
    return client.post(RECORDS, content=body, headers={"Content-Type": media, **headers})


def finished(service: Service, where: str) -> Any:
    work_off(service)
    return client_of(service).get(where).json()


def count(service: Service) -> int:
    with service.database.reading() as connection:
        return int(connection.execute(select(func.count()).select_from(records)).scalar_one())


def test_each_kind_of_body_is_judged_alike(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Moves, "remember", lambda *given: None)  # one body would move what the next is judged by
    sent = [*simulated(6, seed=31), hot(300)]
    made = bodies_of(sent)
    assert set(made) == set(MEDIA)
    answers = {media: send(client, body, media).json() for media, body in made.items()}
    for media, answer in answers.items():
        assert (answer["received"], answer["judged"]) == (7, 7), media
        assert answer["alerts"] == [
            {**each, "record_id": answer["first_record_id"] + each["row"] - 1} | {"alert_id": ours["alert_id"]}
            for each, ours in zip(answers["application/json"]["alerts"], answer["alerts"], strict=True)
        ]
        kept = client.get(f"/v1/records/{answer['last_record_id']}").json()["record"]
        assert float(kept["temperature"]) == 95.0
    # Typed ones stay so: it is the same record, and the same alert.
    for media in ("application/vnd.apache.parquet", "application/vnd.apache.arrow.stream"):
        assert answers[media]["alerts"][-1]["alert_id"] == answers["application/json"]["alerts"][-1]["alert_id"]


def test_cells_of_any_type_become_values_of_json() -> None:
    frame = pd.DataFrame(
        {
            "whole": pd.array([1, None], dtype="Int64"),
            "number": [1.5, np.nan],
            "endless": [np.inf, -np.inf],
            "flag": [True, False],
            "day": [date(2026, 1, 2), None],
            "moment": pd.to_datetime(["2026-01-02T03:04:05Z", None]),
            "exact": [Decimal("1.10"), None],
            "bytes": [b"a\xff", None],
            "tall": [2**70, 1],
            "list": [[1, np.float64(2), None], None],
            "inner": [{"a": {"b": datetime(2026, 1, 1)}}, None],
            "half": pd.Series(["\ud800", "x"], dtype=object),
            "far": np.array([-(2**62), 2**62], "datetime64[us]"),
        }
    )
    first, second = records_of_frame(frame)
    assert orjson.loads(first.body) == {
        "whole": 1,
        "number": 1.5,
        "endless": "inf",
        "flag": True,
        "day": "2026-01-02",
        "moment": "2026-01-02T03:04:05+00:00",
        "exact": "1.10",
        "bytes": "a\\xff",
        "tall": str(2**70),
        "list": [1, 2.0, None],
        "inner": {"a": {"b": "2026-01-01T00:00:00"}},
        "half": "\\ud800",
        "far": str(np.datetime64(-(2**62), "us")),
    }
    assert orjson.loads(second.body) == {
        **dict.fromkeys(("whole", "number", "day", "moment", "exact", "bytes", "list", "inner")),
        "endless": "-inf",
        "flag": False,
        "tall": 1,
        "half": "x",
        "far": str(np.datetime64(2**62, "us")),
    }


@pytest.mark.parametrize("path", ["/detect", "/v1/streams/default/records"])
def test_a_compressed_body_is_refused_as_a_whole(client: TestClient, service: Service, path: str) -> None:
    before = count(service)
    media = {"Content-Type": "application/x-ndjson", "Content-Encoding": "gzip"}
    answer = client.post(path, content=gzip.compress(b'{"a": 1}\n{"a": 2}'), headers=media)
    assert answer.status_code == 415
    assert "without a Content-Encoding" in answer.text
    assert count(service) == before


@pytest.mark.parametrize("media", [each for each in MEDIA if "json" not in each])
@pytest.mark.parametrize("body", [b"", b"odd", b"PAR1 PAR1", b"ARROW1\0\0 odd", b"\xff\xff\xff\xff\x10\0\0\0"])
def test_bodies_that_are_not_what_they_say(client: TestClient, service: Service, body: bytes, media: str) -> None:
    before = count(service)
    answer = send(client, body, media)
    assert is_problem(answer, 400), answer.text
    assert "/tmp" not in answer.text
    assert count(service) == before


def test_tables_with_a_column_twice_or_a_damaged_one(client: TestClient) -> None:
    twice = pa.Table.from_arrays([pa.array([1]), pa.array([2])], ["a", "a"])
    for file, media in ((False, "application/vnd.apache.arrow.stream"), (True, "application/vnd.apache.arrow.file")):
        answer = send(client, arrow(twice, file=file), media)
        assert is_problem(answer, 400)
        assert "'a'" in answer.json()["detail"]
        texts = arrow(pa.table({"a": ["ab", "cd"]}), file=file)
        broken = texts.replace(np.array([0, 2, 4], "i4").tobytes(), np.array([0, 2, 2 * 10**9], "i4").tobytes())
        answer = send(client, broken, media)
        assert is_problem(answer, 400)
        assert "damaged" in answer.json()["detail"]


def test_few_bytes_that_unpack_to_many(client: TestClient, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    before = count(service)
    body = parquet(pa.table({"a": ["x" * 10_000] * 20}))
    assert len(body) < 1000
    monkeypatch.setattr(taking, "MOST_BYTES", 150_000)
    answer = send(client, body, "application/vnd.apache.parquet")
    assert answer.status_code == 202
    job = finished(service, answer.json()["status_url"])
    assert job["state"] == "failed"
    assert "unpacks to more than 150,000 bytes" in job["error"]
    assert count(service) == before


@pytest.mark.parametrize("media", list(MEDIA))
def test_many_records_become_a_job(client: TestClient, service: Service, media: str) -> None:
    before = count(service)
    sent = [*simulated(58, seed=32), {"odd": 1}, hot(301)]
    answer = send(client, bodies_of(sent)[media], media)
    assert answer.status_code == 202
    where = answer.json()["status_url"]
    assert answer.headers["Location"] == where
    job = finished(service, where)
    assert (job["state"], job["kind"], job["done"], job["total"], job["error"]) == ("done", "take", 60, 60, None)
    result = job["result"]
    assert (result["received"], result["judged"], result["refused"]) == (60, 59, 1)
    assert result["alerting"] >= 1
    assert [each["row"] for each in result["refusals"]] == [59]
    assert count(service) == before + 60
    assert client.get(f"/v1/records/{result['last_record_id']}").json()["is_alert"] is True
    assert list(service.uploads_dir.iterdir()) == []


def test_whoever_prefers_so_is_answered_by_a_job(client: TestClient, service: Service) -> None:
    answer = send(client, orjson.dumps([hot(302)]), "application/json", **ASYNC)
    assert answer.status_code == 202
    assert finished(service, answer.json()["status_url"])["result"]["alerting"] == 1


def test_a_body_too_large_to_hold_is_a_file_and_a_job(client: TestClient, service: Service) -> None:
    lines = b"\n".join(orjson.dumps({**each, "note": "x" * 3000}) for each in simulated(40, seed=33))
    assert len(lines) > service.limits.body
    answer = send(client, lines, "application/x-ndjson")
    assert answer.status_code == 202
    assert finished(service, answer.json()["status_url"])["result"]["judged"] == 40


def test_a_job_with_a_key_is_queued_once(client: TestClient, service: Service) -> None:
    body = orjson.dumps(simulated(3, seed=34))
    first = send(client, body, "application/json", **ASYNC, **{"Idempotency-Key": "job"})
    again = send(client, body, "application/json", **ASYNC, **{"Idempotency-Key": "job"})
    # Answered as it was the first time, without asking for a job.
    third = send(client, body, "application/json", **{"Idempotency-Key": "job"})
    assert first.json() == again.json() == third.json()
    assert again.headers["Idempotent-Replayed"] == third.headers["Idempotent-Replayed"] == "true"
    assert (again.status_code, third.status_code) == (202, 202)
    assert is_problem(send(client, b"[{}]", "application/json", **ASYNC, **{"Idempotency-Key": "job"}), 422)
    finished(service, first.json()["status_url"])
    assert list(service.uploads_dir.iterdir()) == []


@pytest.mark.parametrize(
    ("body", "media", "told"),
    [
        (b"[]", "application/json", "no record"),
        (b"{", "application/json", "no JSON"),
        (b"a,b\n1,2\n3\n", "text/csv", "line 3"),
        (b"odd", "application/vnd.apache.arrow.stream", "Arrow"),
        (orjson.dumps(dict.fromkeys(map(str, range(1001)))), "application/x-ndjson", "1,001 fields"),
    ],
)
def test_of_a_file_that_cannot_be_read_nothing_is_kept(
    client: TestClient, service: Service, body: bytes, media: str, told: str
) -> None:
    before = count(service)
    job = finished(service, send(client, body, media, **ASYNC).json()["status_url"])
    assert job["state"] == "failed"
    assert told in job["error"]
    assert str(service.uploads_dir) not in job["error"]
    assert count(service) == before


def events(text: str) -> list[tuple[str, Any]]:
    parts = [dict(line.split(": ", 1) for line in each.splitlines()) for each in text.strip().split("\n\n")]
    return [(part["event"], json.loads(part["data"])) for part in parts if "event" in part]


def test_a_job_is_followed_to_its_end(client: TestClient, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    where = send(client, orjson.dumps(simulated(5, seed=35)), "application/json", **ASYNC).json()["status_url"]

    async def sleep(seconds: float) -> None:
        # Meanwhile somebody works.
        await to_thread.run_sync(work_off, service)

    monkeypatch.setattr("anomaly_detection.service.routes.jobs.anyio.sleep", sleep)
    answer = client.get(f"{where}/events")
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    told = events(answer.text)
    assert [name for name, _ in told] == ["progress", "done"]
    assert told[0][1]["state"] == "queued"
    assert told[1][1] == client.get(where).json()
    assert is_problem(client.get("/v1/jobs/999999/events"), 404)


def test_who_follows_a_job_is_let_go_when_the_service_ends(tmp_path: Path) -> None:
    with resting(tmp_path) as service:
        client = client_of(service)
        where = send(client, b"[{}]", "application/json", **ASYNC).json()["status_url"]
        service.ending.set()
        assert [name for name, _ in events(client.get(f"{where}/events").text)] == ["progress"]


def test_jobs_are_listed(client: TestClient, service: Service) -> None:
    where = send(client, b"[{}]", "application/json", **ASYNC).json()["status_url"]
    finished(service, where)
    query = {"stream": "default", "kind": "take", "state": "done", "limit": 1}
    assert client.get("/v1/jobs", params=query).json()["jobs"] == [client.get(where).json()]
    assert client.get("/v1/jobs", params={"kind": "delete"}).json()["jobs"] == []
    assert client.get("/v1/jobs", params={"sort": "oldest", "limit": 1}).json()["jobs"][0]["id"] == 1


def test_a_job_is_cancelled_before_it_begins(client: TestClient, service: Service) -> None:
    where = send(client, b"[{}]", "application/json", **ASYNC).json()["status_url"]
    assert len(list(service.uploads_dir.iterdir())) == 1
    job = client.delete(where).json()
    assert (job["state"], job["done"]) == ("cancelled", 0)
    assert list(service.uploads_dir.iterdir()) == []
    assert is_problem(client.delete(where), 409)
    assert is_problem(client.delete("/v1/jobs/7777"), 404)
    assert client.get("/v1/audit?what=cancel").json()["audit"][0]["subject_id"] == job["id"]
    assert events(client.get(f"{where}/events").text)[-1][0] == "cancelled"


@pytest.mark.parametrize("kind", BOTH)
def test_a_job_that_runs_is_cancelled_and_goes_no_further(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process: after the second part somebody cancels it."""
    with on(kind, resting, tmp_path) as service:
        client = client_of(service)
        monkeypatch.setattr(bodies, "_PART", 10)
        where = send(client, orjson.dumps(simulated(50, seed=36)), "application/json", **ASYNC).json()["status_url"]
        number = int(where.rpartition("/")[2])
        with service.database.writing() as connection:
            job = jobs.claim(connection, "w")
        assert job is not None
        kept = taking.keep

        def keep(connection: Any, *given: Any) -> Any:
            made = kept(connection, *given)
            if count_in(connection) == 20:
                jobs.cancel(connection, number)
            return made

        def count_in(connection: Any) -> int:
            return int(connection.execute(select(func.count()).select_from(records)).scalar_one())

        monkeypatch.setattr(taking, "keep", keep)
        taking.take(service.database, service.configuration.models_dir, service.uploads_dir, job, "w")
        assert count(service) == 20
        assert client.get(where).json()["state"] == "cancelled"


def test_whoever_takes_a_job_up_goes_on_where_it_was_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with resting(tmp_path) as service:
        client = client_of(service)
        monkeypatch.setattr(bodies, "_PART", 10)
        sent = simulated(45, seed=37)
        where = send(client, orjson.dumps(sent), "application/json", **ASYNC).json()["status_url"]
        number = int(where.rpartition("/")[2])
        folders = (service.configuration.models_dir, service.uploads_dir)
        kept, calls = taking.keep, [0]

        def keep(*given: Any) -> Any:
            made = kept(*given)
            calls[0] += 1
            if calls[0] == 3:
                # As a kill would: what this part has written is undone.
                raise KeyboardInterrupt
            return made

        monkeypatch.setattr(taking, "keep", keep)
        for _ in range(2):
            with service.database.writing() as connection:
                job = jobs.claim(connection, "w")
                assert job is not None
            if calls[0] == 0:
                with pytest.raises(KeyboardInterrupt):
                    taking.take(service.database, *folders, job, "w")
                assert count(service) == 20
                with service.database.writing() as connection:
                    jobs.set_free(connection, "w")
            else:
                taking.take(service.database, *folders, job, "w")
        assert [each.fields for part in parts_of_kept(service) for each in part] == sent
        done = client.get(f"/v1/jobs/{number}").json()
        assert (done["state"], done["done"], done["result"]["received"]) == ("done", 45, 45)
        assert (done["result"]["first_record_id"], done["result"]["last_record_id"]) == (1, 45)


def parts_of_kept(service: Service) -> list[Any]:
    with service.database.reading() as connection:
        rows = connection.execute(select(records.c.body).order_by(records.c.id)).scalars()
        return [records_of(body.encode(), "json", Limits()) for body in rows]


@pytest.mark.slow
def test_a_kill_in_the_middle_loses_nothing_and_keeps_nothing_twice(tmp_path: Path) -> None:
    """With the service its workers end."""
    sent = simulated(12_000, seed=38)
    lines = b"\n".join(map(orjson.dumps, sent))
    headers = {"Content-Type": "application/x-ndjson", **ASYNC}
    with started(tmp_path, "--model", str(model_file())) as (process, url):
        where = requests.post(url + RECORDS, data=lines, headers=headers, timeout=30).json()["status_url"]
        wait_until(lambda: requests.get(url + where, timeout=10).json()["done"] > 0)
        kill(process, tmp_path)
    with started(tmp_path) as (_, url):
        wait_until(lambda: requests.get(url + where, timeout=10).json()["state"] == "done", 120)
        job = requests.get(url + where, timeout=10).json()
    assert (job["done"], job["result"]["received"]) == (12_000, 12_000)
    with closing(sqlite3.connect(tmp_path / "service.sqlite")) as database:
        times = Counter(name for (name,) in database.execute("SELECT sent_id FROM records"))
    assert times == Counter(each["transaction_id"] for each in sent)


def test_only_old_files_that_nobody_needs_are_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("needed", "old"):
        (tmp_path / name).write_bytes(b"")
    uploads.sweep(tmp_path, {"needed"})
    assert {each.name for each in tmp_path.iterdir()} == {"needed", "old"}
    monkeypatch.setattr(uploads, "_OLD", -1.0)
    uploads.sweep(tmp_path, {"needed"})
    assert {each.name for each in tmp_path.iterdir()} == {"needed"}


def test_more_than_a_million_records_are_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(taking, "MOST_RECORDS", 3)
    path = tmp_path / "a.json"
    path.write_bytes(b"[{}, {}, {}, {}]")
    with pytest.raises(Problem, match="more than 3 records"):
        taking._checked(path, "json")
    monkeypatch.setattr(bodies, "MOST_JSON", 3)
    with pytest.raises(Problem, match="send NDJSON"):
        list(parts_of(path, "json"))


def test_records_that_come_before_there_is_a_model_wait(tmp_path: Path) -> None:
    with resting(tmp_path, model=None, learn_from=1000) as service:
        client = client_of(service)
        where = send(client, orjson.dumps(simulated(5)), "application/json", **ASYNC).json()["status_url"]
        assert finished(service, where)["result"]["waiting"] == 5
        assert service.streams()[0]["waiting"] == 5
