"""Verdicts teach the model of their stream: at once, in every process, after a restart, and undone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from service_example import RECORDS, client_of, is_problem, resting, simulated
from starlette.testclient import TestClient

from anomaly_detection.service.in_effect import judge_in_effect
from anomaly_detection.service.incoming import Incoming
from anomaly_detection.service.models import current_models
from anomaly_detection.service.service import Service

STREAM = "/v1/streams/default"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with resting(tmp_path_factory.mktemp("lessons")) as opened:
        client_of(opened).post(RECORDS, json=simulated(60, seed=5))
        yield opened


def cold(number: int, **fields: Any) -> dict[str, Any]:
    """A record that is a false alarm whenever a supplier measures like this."""
    (usual,) = simulated(1, 77, number)
    return {**usual, "humidity": 88.0 + number / 100, "transaction_id": f"COLD-{number}", **fields}


def raised(client: TestClient, *records: dict[str, Any]) -> list[int]:
    made = client.post(RECORDS, json=list(records)).json()
    return [each["alert_id"] for each in made["alerts"]]


def judged(client: TestClient, number: int, verdict: str) -> Any:
    return client.patch(f"/v1/alerts/{number}", json={"state": "resolved", "verdict": verdict}).json()


def decision(service: Service, record: dict[str, Any]) -> float:
    judge = service.judge("default")
    assert judge is not None
    (found,) = judge.decisions([Incoming(record)])
    assert found is not None
    return found


def test_verdicts_teach_and_are_undone(client: TestClient, service: Service) -> None:
    probe = cold(50)
    before = decision(service, probe)
    assert before < 0
    numbers = raised(client, *(cold(i) for i in range(6)))
    assert len(numbers) == 6
    for number in numbers[:2]:
        assert judged(client, number, "expected")["effects"] == []
        assert judged(client, number, "duplicate")["effects"] == []
    assert decision(service, probe) == before
    told = [judged(client, number, "false alarm") for number in numbers[:3]]
    assert decision(service, probe) > before
    assert {below for each in told for effect in each["effects"] for below in effect["alerts_below"]} <= set(numbers)
    taught = decision(service, probe)
    # What begins now, another process or a job, judges the same.
    with service.database.reading() as connection:
        (row,) = current_models(connection).values()
    again = judge_in_effect(service.database, service.configuration.models_dir, row)
    assert again.decisions([Incoming(probe)]) == [taught]
    for number in numbers[:3]:
        client.patch(f"/v1/alerts/{number}", json={"undo": True})
    assert decision(service, probe) == before
    for number in numbers[:3]:
        judged(client, number, "false alarm")
    assert decision(service, probe) == taught
    client.patch(STREAM, json={"learns": False})
    assert decision(service, probe) == before
    client.patch(STREAM, json={"learns": True})
    assert decision(service, probe) == taught


def test_what_was_learned_is_told_and_rules_are_proposed(client: TestClient) -> None:
    numbers = raised(client, *(cold(100 + i) for i in range(5)))
    for number in numbers[:3]:
        judged(client, number, "false alarm")
    told = client.get(f"{STREAM}/learning").json()
    assert told["learns"] is True
    assert told["false_alarms"] >= 3
    first = told["features"][0]
    assert first["weight"] == pytest.approx(2 * (first["real"] + 1) / (first["real"] + first["false_alarms"] + 2))
    assert first["weight"] < 1
    rule = max(told["rules"], key=lambda each: each["false_alarms"])
    assert rule["column"] == "humidity"
    # As a preview of the same rule counts it.
    said = {"stream": "default", "column": rule["column"], **({"where": rule["where"]} if rule["where"] else {})}
    preview = client.post("/v1/rules/preview", json=said).json()
    assert {name: rule[name] for name in ("days", "alerts", "hidden", "open")} == {
        name: preview[name] for name in ("days", "alerts", "hidden", "open")
    }
    page = client.get("/streams/default").text
    assert "What verdicts teach" in page
    assert f"/alerts/{rule['alert_id']}/rule?" in page
    assert client.get(f"/alerts/{rule['alert_id']}/rule?asked=1&about=1").status_code == 200
    # One that was real after all speaks against it.
    judged(client, rule["alert_id"], "real: fixed")
    told = [(each["column"], each["where"]) for each in client.get(f"{STREAM}/learning").json()["rules"]]
    assert (rule["column"], rule["where"]) not in told


def test_questions_are_about_what_has_no_verdict(client: TestClient) -> None:
    asked = client.get(f"{STREAM}/questions").json()["questions"]
    assert 1 <= len(asked) <= 5
    assert len({each["feature"] for each in asked}) == len(asked)
    assert [each["verdicts"] for each in asked] == sorted(each["verdicts"] for each in asked)
    for each in asked:
        if each["alert_id"] is not None:
            assert client.get(f"/v1/alerts/{each['alert_id']}").json()["state"] != "resolved"


def test_a_page_says_what_a_verdict_moved(client: TestClient) -> None:
    numbers = raised(client, *(cold(200 + i) for i in range(2)))
    case = client.get(f"/v1/alerts/{numbers[0]}").json()["case_id"]
    answer = client.post("/cases", data={"ids": str(case), "do": "false alarm"})
    assert answer.status_code == 200
    assert "false alarm." in answer.text


def test_a_stream_without_a_model_has_nothing_to_learn(client: TestClient) -> None:
    client.post("/v1/streams", json={"name": "empty"})
    for what in ("learning", "questions"):
        assert is_problem(client.get(f"/v1/streams/empty/{what}"), 409)
        assert is_problem(client.get(f"/v1/streams/nowhere/{what}"), 404)
    assert client.get("/streams/empty").status_code == 200
