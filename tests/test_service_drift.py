"""A stream's columns are watched: what changed is told, its alerts are one case, and people say what it is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from service_example import RECORDS, client_of, resting, simulated, work_off
from sqlalchemy import select, update
from starlette.testclient import TestClient

from anomaly_detection.service.jobs import jobs
from anomaly_detection.service.jobs.worker import work
from anomaly_detection.service.learning.challenging import to_retrain
from anomaly_detection.service.learning.drifting import to_look
from anomaly_detection.service.processes.service import Service
from anomaly_detection.service.storage.database import Database
from anomaly_detection.service.storage.tables import drift

DRIFT = "/v1/streams/default/drift"


def looked(service: Service, models_dir: Path) -> None:
    """Have a look, in this process."""
    with service.database.writing() as connection:
        jobs.add_job(connection, "watch", 1)
    work(service.database, models_dir, "here")


def dearer(count: int, first: int) -> list[dict[str, Any]]:
    return [
        {**record, "cost_per_unit": 1.9 * record["cost_per_unit"]}
        for record in simulated(count, seed=first, first=first)
    ]


def changed(client: TestClient) -> dict[str, Any]:
    return {each["column"]: each for each in client.get(DRIFT).json()["changes"]}


def test_a_changed_column_is_told_is_one_case_and_becomes_the_new_normal(tmp_path: Path) -> None:
    with resting(tmp_path) as service:
        client, folder = client_of(service), service.configuration.models_dir
        client.post(RECORDS, json=simulated(300, seed=3))
        with service.database.reading() as connection:
            assert to_look(connection) == [1]
        looked(service, folder)
        first = client.get(DRIFT).json()
        assert (first["is_watched"], first["changes"]) == (True, [])
        client.post(RECORDS, json=dearer(200, 1000))
        looked(service, folder)
        with service.database.reading() as connection:
            assert to_look(connection) == []
        found = changed(client)["cost_per_unit"]
        assert found["change"] == "numbers"
        assert 1.7 < found["factor"] < 2.1
        assert found["since"].startswith("20")
        assert re.match(r"cost_per_unit is [12]\.\d+ times what it was", found["text"])
        assert len(found["chart"]["x"]) == len(found["chart"]["series"][0]["values"]) == 15
        metrics = client.get("/metrics").text
        assert re.search(r'columns_changed\{stream="default"\} [1-9]', metrics)
        # Alerts that it leads to from now on are one case.
        client.post(RECORDS, json=dearer(40, 2000))
        found = changed(client)["cost_per_unit"]
        case = client.get(f"/v1/cases/{found['case_id']}").json()
        assert case["about"] == found["text"]
        assert case["alerts"] > 1
        page = client.get("/streams/default").text
        assert "It is the new normal" in page
        assert "times what it was" in page
        answer = client.post(DRIFT, json={"column": "cost_per_unit", "action": "wait"}).json()
        assert "cost_per_unit" in {each["column"] for each in answer["changes"]}
        assert client.get(f"/v1/cases/{found['case_id']}").json()["snoozed_until"] is not None
        answer = client.post(DRIFT, json={"column": "cost_per_unit", "action": "normal"}).json()
        assert "cost_per_unit" not in {each["column"] for each in answer["changes"]}
        assert client.get(f"/v1/cases/{found['case_id']}").json()["verdict"] == "expected"
        assert client.post(DRIFT, json={"column": "cost_per_unit", "action": "wrong"}).status_code == 404
        client.post(RECORDS, json=dearer(200, 3000))
        looked(service, folder)
        assert "cost_per_unit" not in changed(client)


def test_what_the_model_learned_from_has_not_changed_and_is_said_to_be_known(tmp_path: Path) -> None:
    with resting(tmp_path) as service:
        client, folder = client_of(service), service.configuration.models_dir
        # Sorted: its second half is dearer, and both are learned from.
        client.post("/v1/streams/sorted/records", json=[*simulated(200, seed=3), *dearer(200, 1000)])
        client.post("/v1/streams/sorted/train")
        work_off(service)
        for kind in ("judge", "watch"):
            with service.database.writing() as connection:
                jobs.add_job(connection, kind, 2)
            work(service.database, folder, "here")
        found = client.get("/v1/streams/sorted/drift").json()
        assert (found["is_watched"], found["changes"]) == (True, [])
        assert client.get("/v1/streams/sorted").json()["judged"] == 400
        client.post("/v1/streams/sorted/train?challenge=true")
        work_off(service)
        newest = client.get("/v1/streams/sorted/models").json()["models"][0]
        assert newest["comparison"]["has_learned"]
        assert "has learned from some of them" in newest["comparison"]["text"]


def test_the_picture_of_a_level_is_of_that_level(tmp_path: Path) -> None:
    with resting(tmp_path) as service:
        client, folder = client_of(service), service.configuration.models_dir
        for name in ("Vaccine", "Chips", "Fish"):
            client.post(RECORDS, json=[{**each, "product": name} for each in simulated(200, seed=5)])
            looked(service, folder)
            told = changed(client)["product"]
            assert told["change"] == "mix"
            assert f"has {name} in" in told["text"]
            assert told["chart"]["series"][0]["values"][-1] > 0.9
            # As its button does.
            said = {"do": "decide", "column": "product", "action": "normal"}
            assert client.post("/streams/default", data=said, follow_redirects=False).status_code == 303
            assert "product" not in changed(client)


def test_looking_often_finds_what_looking_once_does(tmp_path: Path) -> None:
    found = []
    for name, often in (("often", True), ("once", False)):
        with resting(tmp_path / name) as service:
            client, folder = client_of(service), service.configuration.models_dir
            sent = [*simulated(100, seed=3), *dearer(90, 1000)]
            for start in range(0, len(sent), 45):
                client.post(RECORDS, json=sent[start : start + 45])
                if often:
                    looked(service, folder)
            looked(service, folder)
            found.append({column: (each["period"], each["log_e_value"]) for column, each in changed(client).items()})
    assert found[0] == found[1] != {}


def test_a_model_that_does_not_know_how_columns_were_is_said(tmp_path: Path) -> None:
    with resting(tmp_path) as service:
        client = client_of(service)
        client.post(RECORDS, json=simulated(40, seed=3))
        assert client.get(DRIFT).json()["looked"] is None
        judge = service.judge("default")
        assert judge is not None
        looked(service, service.configuration.models_dir)
        forget_state(service.database)
        assert client.get(DRIFT).json()["is_watched"] is False
        assert "learn again" in client.get("/streams/default").text


def test_a_challenger_is_compared_and_put_into_effect_by_the_rule(tmp_path: Path) -> None:
    with resting(tmp_path) as service:
        client = client_of(service)
        client.post(RECORDS, json=dearer(300, 1000))
        odd = client.get("/v1/alerts").json()["alerts"][0]
        client.patch(f"/v1/alerts/{odd['id']}", json={"state": "resolved", "verdict": "real: fixed"})
        client.post("/v1/streams/default/train?challenge=true")
        assert "A model is learning" in client.get("/streams/default").text
        work_off(service)
        assert "A model is learning" not in client.get("/streams/default").text
        newest, first = client.get("/v1/streams/default/models").json()["models"]
        assert (newest["version"], newest["is_current"], first["is_current"]) == (2, False, True)
        assert first["comparison"] is None
        told = newest["comparison"]
        assert told["records"] == 60
        # Then it has learned from these too, and not from what was found real.
        assert newest["records"] == 299
        assert told["alerts"][1] < told["alerts"][0]
        assert told["lost_in_all"] > 20
        assert not told["has_learned"]
        assert told["text"] in client.get("/streams/default").text
        with service.database.reading() as connection:
            assert to_retrain(connection) == []
        client.patch("/v1/streams/default", json={"promote": "not worse", "retrain_on_drift": True})
        looked(service, service.configuration.models_dir)
        with service.database.reading() as connection:
            assert to_retrain(connection) == [1]
        client.post("/v1/streams/default/train?challenge=true")
        work_off(service)
        newest = client.get("/v1/streams/default/models/3").json()
        assert not newest["comparison"]["has_learned"]
        assert newest["is_current"] == newest["comparison"]["is_not_worse"]
        with service.database.reading() as connection:
            assert to_retrain(connection) == []
        client.patch("/v1/streams/default", json={"retrain_days": 1e-9})
        with service.database.reading() as connection:
            assert to_retrain(connection) == [1]


def forget_state(database: Database) -> None:
    with database.writing() as connection:
        connection.execute(update(drift).values(state=None, found="[]"))
        assert connection.execute(select(drift.c.state)).scalar() is None
