"""Streams and their models: made, set, trained, uploaded, put into effect, rolled back and deleted."""

from __future__ import annotations

import gc
import json
import weakref
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from service_example import hot, is_problem, model_file, simulated, work_off
from sqlalchemy import func, select
from starlette.testclient import TestClient

from anomaly_detection.anomaly_detection_api import AnomalyDetectionAPI
from anomaly_detection.data.columns.column import Role
from anomaly_detection.data.columns.declarations import read_declarations
from anomaly_detection.model_files.persistence import load_detector, save_detector
from anomaly_detection.service.http.limits import Limits
from anomaly_detection.service.jobs import jobs
from anomaly_detection.service.processes.memory import settle
from anomaly_detection.service.processes.service import Service
from anomaly_detection.service.records import loaded
from anomaly_detection.service.records.incoming import Incoming
from anomaly_detection.service.records.judging import Judge, with_ratio
from anomaly_detection.service.storage.tables import alerts, models, records

BINARY = {"Content-Type": "application/octet-stream"}


def made(client: TestClient, name: str, **said: Any) -> str:
    answer = client.post("/v1/streams", json={"name": name, **said})
    assert answer.status_code == 201, answer.text
    return answer.headers["Location"]


def test_a_stream_is_made_with_its_columns_and_changed_and_changed_back(client: TestClient) -> None:
    where = made(client, "ports", columns={"port": {"kind": "category"}}, missing=["-999"], learn_from=50)
    stream = client.get(where).json()
    assert stream["settings"] == {
        "columns": {"port": {"kind": "category"}},
        "missing": ["-999"],
        **dict.fromkeys(("anomaly_ratio", "keep_days", "keep_records")),
        "personal": [],
        "learns": True,
        "promote": "person",
        "retrain_days": None,
        "retrain_on_drift": False,
    }
    assert (stream["learn_from"], stream["judged"], stream["model"]) == (50, 0, None)
    assert is_problem(client.post("/v1/streams", json={"name": "ports"}), 409)
    changed = client.patch(where, json={"anomaly_ratio": 0.01, "learn_from": 60}).json()
    assert (changed["settings"]["anomaly_ratio"], changed["learn_from"]) == (0.01, 60)
    assert changed["settings"]["missing"] == ["-999"]
    line = changed["history"][-1]
    assert line["before"]["settings"]["anomaly_ratio"] is None
    assert client.post(f"/v1/audit/{line['id']}/undo").status_code == 200
    undone = client.get(where).json()
    assert (undone["settings"], undone["learn_from"]) == (stream["settings"], 50)
    assert "ports" in [each["name"] for each in client.get("/v1/streams").json()["streams"]]
    assert is_problem(client.get("/v1/streams/nowhere"), 404)
    assert is_problem(client.patch("/v1/streams/nowhere", json={}), 404)


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"name": "a b"},
        {"name": "a" * 65},
        {"name": 3},
        {"name": "odd", "colour": "red"},
        {"name": "odd", "anomaly_ratio": 0},
        {"name": "odd", "anomaly_ratio": 0.6},
        {"name": "odd", "anomaly_ratio": "much"},
        {"name": "odd", "learn_from": 1},
        {"name": "odd", "missing": [1]},
        {"name": "odd", "keep_days": 0},
        {"name": "odd", "keep_records": 0.5},
        {"name": "odd", "personal": ["a" * 256]},
        {"name": "odd", "columns": {"a": {"kind": "letter"}}},
        {"name": "odd", "columns": {"a": {"colour": "red"}}},
        {"name": "odd", "columns": {"a": {"unit": "furlong"}}},
        {"name": "odd", "columns": {"a": {"dates": ["now"]}}},
        {"name": "odd", "columns": {"a": {"missing": [" "]}}},
        {"name": "odd", "columns": []},
        [],
    ],
)
def test_odd_streams_are_refused(client: TestClient, said: Any) -> None:
    assert is_problem(client.post("/v1/streams", json=said), 400)
    assert is_problem(client.get("/v1/streams/odd"), 404)


def test_columns_are_read_by_all_records_that_a_training_would_take(client: TestClient) -> None:
    where = made(client, "goods", learn_from=50_000)
    sent = [{"product": f"PR-{i % 200 if i < 4000 else i:05}", "quantity": i % 7} for i in range(6000)]
    assert client.post(f"{where}/records", json=sent).status_code == 200
    kinds = {each["name"]: each["kind"] for each in client.get(f"{where}/columns").json()["columns"]}
    assert kinds["product"] == "category"  # the newest 2,000 have one each


def test_columns_are_told_before_and_after_the_training_and_set_as_a_file(
    client: TestClient, service: Service, tmp_path: Path
) -> None:
    where = made(client, "columns")
    assert is_problem(client.get(f"{where}/columns"), 409)
    client.post(f"{where}/records", json=simulated(120, seed=41))
    before = {each["name"]: each for each in client.get(f"{where}/columns").json()["columns"]}
    assert before["temperature"]["kind"] == "number"
    assert before["supplier"]["kind"] == "category"
    assert len(before["supplier"]["examples"]) == 3
    assert before["transaction_id"]["kind"] == "id"
    text = client.get(f"{where}/columns?format=toml").text
    path = tmp_path / "columns.toml"
    path.write_text(text, "utf-8")
    assert read_declarations(path, list(before))["supplier"].role is Role.CATEGORICAL
    # As a file it is given back.
    text = text.replace('kind = "number"', 'kind = "ignore"', 1)
    answer = client.put(f"{where}/columns", content=text, headers={"Content-Type": "application/toml"})
    assert answer.status_code == 200, answer.text
    ignored = [name for name, said in answer.json()["settings"]["columns"].items() if said["kind"] == "ignore"]
    assert len(ignored) == 1
    assert client.put(f"{where}/columns", json={"humidity": {"kind": "ignore"}}).status_code == 200
    # A body that says nothing is none: the kept records are learned from.
    assert client.post(f"{where}/train", json={}).status_code == 202
    work_off(service)
    after = {each["name"]: each for each in client.get(f"{where}/columns").json()["columns"]}
    assert after["humidity"]["kind"] == "ignore"
    assert after["supplier"]["reason"] == before["supplier"]["reason"]
    for body in ("a = ", "[a]\nkind = 3\n", 'a = "b"\n', "\xff"):
        headers = {"Content-Type": "application/toml"}
        assert is_problem(client.put(f"{where}/columns", content=body.encode("latin-1"), headers=headers), 400)
    assert is_problem(client.put(f"{where}/columns", content="a", headers={"Content-Type": "text/odd"}), 415)


def test_a_column_that_no_record_has_is_told_by_the_job(client: TestClient, service: Service) -> None:
    where = made(client, "unknown", columns={"temprature": {"kind": "number"}})
    client.post(f"{where}/records", json=simulated(20, seed=42))
    job = client.post(f"{where}/train").json()["status_url"]
    work_off(service)
    assert "Unknown column 'temprature' (did you mean 'temperature'?)" in client.get(job).json()["error"]


def test_a_code_for_missing_holds_in_every_column(client: TestClient, service: Service) -> None:
    where = made(client, "codes", missing=["-7"])
    sent = [{**each, "humidity": -7} if place % 5 == 0 else each for place, each in enumerate(simulated(60, seed=43))]
    client.post(f"{where}/records", json=sent)
    client.post(f"{where}/train")
    work_off(service)
    columns = {each["name"]: each for each in client.get(f"{where}/columns").json()["columns"]}
    assert "-7" in columns["humidity"]["missing"]


def test_the_ratio_moves_the_threshold_at_once(client: TestClient) -> None:
    where = "/v1/streams/default"
    sent = [*simulated(200, seed=44), hot(400)]
    few = client.post(f"{where}/records", json=sent).json()["alerting"]
    told = client.get(f"{where}/threshold", params={"anomaly_ratio": 0.3, "records": 201}).json()
    assert (told["records"], told["alerts"], told["anomaly_ratio"]) == (201, few, 0.3)
    assert told["alerts_then"] > few
    # Of some moments nothing can be said by day.
    assert (told["alerts_per_day"], told["alerts_per_day_then"]) == (None, None)
    client.patch(where, json={"anomaly_ratio": 0.3})
    # What is usual has gone along with them since.
    assert abs(client.post(f"{where}/records", json=sent).json()["alerting"] - told["alerts_then"]) <= 2
    client.patch(where, json={"anomaly_ratio": None})
    assert client.post(f"{where}/records", json=sent).json()["alerting"] < told["alerts_then"] / 2
    plain = client.get(f"{where}/threshold").json()
    assert plain["alerts_then"] is None
    for odd in ("anomaly_ratio=0", "anomaly_ratio=0.51", "records=0", "records=100001"):
        assert is_problem(client.get(f"{where}/threshold?{odd}"), 400)
    assert is_problem(client.get("/v1/streams/nowhere/threshold"), 404)


def test_a_model_under_its_own_ratio_is_left_as_it_is() -> None:
    detector = load_detector(model_file())
    assert with_ratio(detector, detector.threshold_rule.ratio) is detector
    other = with_ratio(detector, 0.2)
    assert other.model.offset_ == detector.calibration.cut(0.2) > detector.model.offset_
    judge = Judge(detector, 1, 1, 0.2)
    found = judge.judge([Incoming(each) for each in simulated(100, seed=45)])
    for each in found:
        assert each.verdict is not None
        assert each.verdict.is_alert is (each.verdict.p_value <= 0.2)


def test_a_model_is_trained_of_kept_records_or_of_a_file(client: TestClient, service: Service) -> None:
    where = made(client, "train")
    assert is_problem(client.post(f"{where}/train"), 409)
    assert is_problem(client.post("/v1/streams/nowhere/train"), 404)
    # Of a file, whose records are not kept.
    lines = "\n".join(map(json.dumps, simulated(80, seed=46)))
    first = client.post(f"{where}/train", content=lines, headers={"Content-Type": "application/x-ndjson"})
    assert first.status_code == 202
    assert is_problem(client.post(f"{where}/train", content=lines, headers={"Content-Type": "text/csv"}), 409)
    work_off(service)
    job = client.get(first.json()["status_url"]).json()
    assert job["result"] == {"version": 1, "records": 80}
    assert client.get(where).json()["judged"] == 0
    assert list(service.uploads_dir.iterdir()) == []
    answer = client.post(f"{where}/records", json=simulated(100, seed=47)).json()
    assert (answer["judged"], answer["model_version"]) == (100, 1)
    # Of the newest kept ones, and not put into effect.
    client.post(f"{where}/train?promote=false&records=60")
    work_off(service)
    versions = client.get(f"{where}/models").json()["models"]
    assert [(each["version"], each["is_current"], each["records"]) for each in versions] == [
        (2, False, 60),
        (1, True, 80),
    ]
    assert client.get(where).json()["model"]["version"] == 1


def test_a_model_that_is_not_in_effect_judges_nothing(client: TestClient, service: Service) -> None:
    where = made(client, "candidate", learn_from=500)
    headers = {"Content-Type": "application/json", "Prefer": "respond-async"}
    client.post(f"{where}/records", content=json.dumps(simulated(60, seed=50)), headers=headers)
    # What is done besides is no training.
    assert client.get(where).json()["learning"] == "learning: 0 of 500 records"
    work_off(service)
    assert client.get(where).json()["learning"] == "learning: 60 of 500 records"
    cancelled = client.post(f"{where}/train").json()["status_url"]
    assert client.get(where).json()["learning"] == "learning: a model is being trained on 60 records"
    client.delete(cancelled)
    assert client.get(where).json()["learning"] == "learning: 60 of 500 records"
    client.post(f"{where}/train?promote=false")
    work_off(service)
    told = client.get(where).json()
    assert told["model"] is None
    assert told["learning"] == "learning: 60 of 500 records; a model is there, and waits to be put into effect"
    stream_id = service.stream_id("candidate")
    with service.database.writing() as connection:
        assert stream_id not in jobs.unjudged(connection)
        number = jobs.add_job(connection, "judge", stream_id)
    work_off(service)
    assert client.get(f"/v1/jobs/{number}").json()["result"] == {"records": 0}
    client.post(f"{where}/models/1/promote")
    with service.database.reading() as connection:
        assert stream_id in jobs.unjudged(connection)
    assert client.post(f"{where}/records", json=simulated(1)).json()["judged"] == 1


def test_a_model_that_another_replaced_is_gone_from_memory(
    client: TestClient, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loaded, "settle", settle)
    where = made(client, "replaced")
    client.post(f"{where}/models?promote=true", content=model_file().read_bytes(), headers=BINARY)
    sent = simulated(70)
    assert client.post(f"{where}/records", json=sent).json()["judged"] == 70
    assert client.post(f"{where}/records", json=sent[:1]).json()["judged"] == 1
    judge = service.judge("replaced")
    assert judge is not None
    detector = judge.detector
    parts = [weakref.ref(each) for each in (judge, detector, detector.model, detector.preprocessor)]
    del judge, detector
    client.post(f"{where}/models?promote=true", content=model_file().read_bytes(), headers=BINARY)
    assert client.post(f"{where}/records", json=sent).json()["model_version"] == 2
    gc.collect()
    assert [part() for part in parts] == [None] * 4


def test_a_version_is_downloaded_uploaded_promoted_and_rolled_back(
    client: TestClient, service: Service, tmp_path: Path
) -> None:
    where = made(client, "versions")
    joblib = tmp_path / "model.joblib"
    save_detector(load_detector(model_file()), joblib)
    uploaded = client.post(f"{where}/models?promote=true", content=joblib.read_bytes(), headers=BINARY)
    assert uploaded.status_code == 201, uploaded.text
    assert (uploaded.json()["version"], uploaded.json()["is_current"]) == (1, True)
    # What is kept is the native part alone.
    native = client.get(f"{where}/models/1/file")
    assert native.headers["Content-Disposition"] == 'attachment; filename="versions-1.safetensors"'
    file = tmp_path / "got.safetensors"
    file.write_bytes(native.content)
    records_ = pd.DataFrame(simulated(20, seed=48))
    assert (
        AnomalyDetectionAPI(file).predict(records_)[1] == AnomalyDetectionAPI(model_file()).predict(records_)[1]
    ).all()
    again = client.post(f"{where}/models", content=native.content, headers=BINARY).json()
    assert (again["version"], again["is_current"]) == (2, False)
    assert client.get(where).json()["model"]["version"] == 1
    assert is_problem(client.post(f"{where}/rollback"), 409)
    promoted = client.post(f"{where}/models/2/promote", json={"comment": "better"}).json()
    assert promoted["is_current"] is True
    assert client.post(f"{where}/records", json=simulated(1)).json()["model_version"] == 2
    assert client.post(f"{where}/rollback").json()["version"] == 1
    assert client.post(f"{where}/records", json=simulated(1)).json()["model_version"] == 1
    history = client.get(where).json()["history"]
    assert [each["what"] for each in history] == ["make", "add model", "promote", "add model", "promote", "undo"]
    assert history[4]["comment"] == "better"
    assert client.get(f"{where}/models/2").json()["is_current"] is False
    for path in ("models/3", "models/3/file", f"models/{2**40}"):
        assert is_problem(client.get(f"{where}/{path}"), 404)
    assert is_problem(client.post(f"{where}/models/3/promote"), 404)
    for body in (b"", b"odd", native.content[:-10]):
        assert is_problem(client.post(f"{where}/models", content=body, headers=BINARY), 400)
    assert {each.suffix for each in service.configuration.models_dir.iterdir()} == {".safetensors"}


def test_a_model_may_be_larger_than_records_may(client: TestClient, service: Service, monkeypatch: Any) -> None:
    body, where = model_file().read_bytes(), made(client, "large")
    monkeypatch.setattr(service, "limits", Limits(body=1000, model=len(body)))
    assert client.post(f"{where}/models", content=body, headers=BINARY).status_code == 201
    assert is_problem(client.post(f"{where}/models", content=body + b" ", headers=BINARY), 413)
    parts = (part for part in (body, b" "))
    assert is_problem(client.post(f"{where}/models", content=parts, headers=BINARY), 413)
    assert list(service.uploads_dir.iterdir()) == []


def test_a_stream_is_deleted_with_all_that_it_had_and_its_name_is_free(client: TestClient, service: Service) -> None:
    where = made(client, "gone")
    client.post(f"{where}/models?promote=true", content=model_file().read_bytes(), headers=BINARY)
    sent = [*simulated(10, seed=49), hot(410), hot(411)]
    alert = client.post(f"{where}/records", json=sent).json()["alerts"][-1]["alert_id"]
    client.patch(f"/v1/alerts/{alert}", json={"state": "acknowledged"})
    client.post("/v1/rules", json={"stream": "gone", "where": {"transaction_id": "HOT-410"}, "reason": "known"})
    with service.database.reading() as connection:
        number = connection.execute(select(alerts.c.stream_id).where(alerts.c.id == alert)).scalar_one()
        file = connection.execute(select(models.c.file).where(models.c.stream_id == number)).scalar_one()
    assert is_problem(client.delete(where), 409)
    assert is_problem(client.delete(f"{where}?confirm=default"), 409)
    assert is_problem(client.delete("/v1/streams/default?confirm=default"), 409)
    assert is_problem(client.delete("/v1/streams/nowhere?confirm=nowhere"), 404)
    answer = client.delete(f"{where}?confirm=gone")
    assert answer.status_code == 202
    # At once nothing of it is seen.
    assert is_problem(client.get(where), 404)
    assert is_problem(client.get(f"/v1/alerts/{alert}"), 404)
    assert client.get("/v1/records?stream=gone").json()["records"] == []
    assert client.post(f"{where}/records", json=simulated(1)).json()["waiting"] == 1
    job = answer.json()["status_url"]
    assert is_problem(client.delete(job), 409)
    work_off(service)
    assert client.get(job).json()["result"]["models"] == 1
    with service.database.reading() as connection:
        for table in (records, alerts, models):
            count = select(func.count()).select_from(table).where(table.c.stream_id == number)
            assert connection.execute(count).scalar_one() == 0
    assert not (service.configuration.models_dir / file).exists()
    assert client.get(where).json()["waiting"] == 1
    lines = client.get("/v1/audit", params={"subject": "stream", "subject_id": number}).json()["audit"]
    assert lines[0]["what"] == "delete"
    # An alert that gets the number of one of those has a history of its own.
    again = client.post("/v1/streams/default/records", json=[hot(412)]).json()["alerts"][0]["alert_id"]
    assert [each["what"] for each in client.get(f"/v1/alerts/{again}").json()["history"]] == ["raise"]
    assert is_problem(client.patch(f"/v1/alerts/{again}", json={"undo": True}), 409)


def test_a_stream_that_another_process_deleted_is_told_once(client: TestClient, service: Service) -> None:
    where = made(client, "shared")
    client.post(f"{where}/records", json=simulated(1))
    stream_id = service.stream_id("shared")
    client.delete(f"{where}?confirm=shared")
    # As a second process knows it still.
    service.ids._ids["shared"] = stream_id
    assert is_problem(client.post(f"{where}/records", json=simulated(1)), 409)
    assert client.post(f"{where}/records", json=simulated(1)).json()["waiting"] == 1


def test_settings_are_read_changed_and_changed_back(client: TestClient) -> None:
    assert client.get("/v1/settings").json() == {"case_days": 7, "address": ""}
    assert client.patch("/v1/settings", json={"case_days": 3}).json() == {"case_days": 3, "address": ""}
    (line,) = client.get("/v1/audit?subject=setting").json()["audit"]
    assert (line["before"], line["after"]) == ({"case_days": None}, {"case_days": 3})
    client.post(f"/v1/audit/{line['id']}/undo")
    assert client.get("/v1/settings").json() == {"case_days": 7, "address": ""}
    for odd in ({"case_days": 0}, {"case_days": None}, {"colour": "red"}, []):
        assert is_problem(client.patch("/v1/settings", json=odd), 400)
