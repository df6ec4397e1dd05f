"""Verdicts teach the model of their stream: at once, in every process, after a restart, and undone."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from service_example import RECORDS, client_of, is_problem, resting, simulated
from starlette.testclient import TestClient

from anomaly_detection.features.evidence.lessons import ANOMALY, NORMAL, Lessons
from anomaly_detection.model_files.persistence import load_detector
from anomaly_detection.service.learning.challenging import challenged
from anomaly_detection.service.learning.models import current_models
from anomaly_detection.service.learning.watched import Name, Watched
from anomaly_detection.service.processes.service import Service
from anomaly_detection.service.records.in_effect import judge_in_effect
from anomaly_detection.service.records.incoming import Incoming

STREAM = "/v1/streams/default"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with resting(tmp_path_factory.mktemp("lessons")) as opened:
        client_of(opened).post(RECORDS, json=simulated(60, seed=5))
        yield opened


def cold(number: int, **fields: Any) -> dict[str, Any]:
    """A record that is a false alarm whenever a supplier measures like this."""
    (usual,) = simulated(1, 77, number)
    return {**usual, "humidity": 88.0 + number / 100, "transaction_id": f"TX-8-{number:06d}", **fields}


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


def test_what_a_verdict_moves_is_judged_by_kept_features(client: TestClient, service: Service) -> None:
    judge = service.judge("default")
    assert judge is not None
    # Usual ones, one that the model learned from, odd ones, and one that cannot be judged.
    records = [*simulated(60, 8), *simulated(3), *(cold(400 + i) for i in range(6)), {"colour": "red"}]
    came = [Incoming(each) for each in records]
    rows = judge.read_off(came)
    assert [place for place, row in enumerate(rows) if row is None] == [len(came) - 1]
    kept = [row for row in rows if row is not None]
    leads = [name for name in judge.leading(came) if name is not None]
    lessons = Lessons((leads[-1],) * 5 + (leads[0],) * 2, (NORMAL,) * 5 + (ANOMALY,) * 2)
    for one in (judge.again(Lessons(), 0, None), judge.again(lessons, 1, None), judge.again(lessons, 1, 0.02)):
        assert one.decisions_by(kept).tolist() == one.decisions(came)[:-1]


def test_features_are_kept_from_one_verdict_to_the_next(service: Service) -> None:
    judge = service.judge("default")
    assert judge is not None
    odd = [Incoming({**each, "humidity": 61.0 + i}) for i, each in enumerate(simulated(12, 9))]
    leads = tuple(name for name in judge.leading(odd) if name is not None) * 10
    usual, quiet = judge.again(Lessons(), 0, None), judge.again(Lessons(leads, (NORMAL,) * len(leads)), 1, None)
    asked: list[list[int]] = []

    def fetch(names: Sequence[Name]) -> list[Incoming]:
        asked.append([number for _, number in names])
        return [odd[number % len(odd)] for number in asked[-1]]

    names = [("alert", i) for i in range(150)]
    watched = Watched()
    first = watched.moved(1, names[:12], fetch, usual, quiet)
    both = zip(usual.decisions(odd), quiet.decisions(odd), strict=True)
    below = [was is not None and now is not None and was < 0 <= now for was, now in both]
    assert {number for _, number in first} == {place for place, is_below in enumerate(below) if is_below}
    assert 0 < len(first) < 12
    assert set(first.values()) == {1}
    assert watched.moved(1, names[:12], fetch, quiet, usual) == dict.fromkeys(first, -1)
    watched.moved(1, names[6:], fetch, usual, quiet)
    watched.moved(1, names[6:], fetch, usual, quiet)
    watched.moved(1, names[:12], fetch, usual, quiet)
    # Of many new ones five at a time; what is not looked at is forgotten, and what is there is asked for no more.
    assert asked == [[*range(12)], [*range(12, 17)], [*range(17, 22)], [*range(5)]]
    other = copy.copy(quiet)
    other.model_id += 1
    watched.moved(1, names[:3], fetch, usual, other)
    assert asked[-1] == [0, 1, 2]
    for others in ([1], [2]):
        watched.forget_others(others)
        watched.moved(1, names[:3], fetch, usual, other)
    assert len(asked) == 6


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


def test_a_challenger_meets_the_champion_as_it_judges(client: TestClient, service: Service) -> None:
    for number in raised(client, *(cold(700 + i) for i in range(4))):
        judged(client, number, "false alarm")
    client.post(RECORDS, json=simulated(120, seed=6))
    judge, stream_id = service.judge("default"), service.stream_id("default")
    found = challenged(service.database, service.configuration.models_dir, stream_id)
    assert judge is not None
    assert judge.lessons
    assert found is not None
    assert found.champion.lessons == judge.lessons
    probe = [Incoming(cold(50))]
    assert found.champion.decisions(probe) == judge.decisions(probe)
    # The same model, without lessons of its own, judges alike.
    untaught = load_detector(next(service.configuration.models_dir.glob("*.safetensors")))
    same = found.compared(untaught)
    assert same.lost == same.gained == ()
    assert all(champion == challenger for champion, challenger in (same.alerts, same.agreed, same.found))


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
