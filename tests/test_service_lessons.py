"""Verdicts teach the model of their stream: at once, in every process, after a restart, and undone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from service_example import client_of, resting, simulated, work_off
from starlette.testclient import TestClient

from anomaly_detection.service.service import Service

RECORDS = "/v1/streams/default/records"
STREAM = "/v1/streams/default"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with resting(tmp_path_factory.mktemp("lessons")) as opened:
        client_of(opened).post(RECORDS, json=simulated(60, seed=5))
        yield opened


@pytest.fixture
def client(service: Service) -> TestClient:
    return client_of(service)


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
    from anomaly_detection.service.incoming import Incoming

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
    # Another process that begins now, and a job, judge the same.
    work_off(service)
    with_settings = service.configuration
    judge = Service.__new__(Service)
    del judge, with_settings
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
