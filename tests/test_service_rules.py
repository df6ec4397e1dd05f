"""Rules that hide alerts: what they hide and what not, previewed, counted, expiring and revoked."""

from __future__ import annotations

from typing import Any

import pytest
from service_example import RECORDS, hot, is_problem
from starlette.testclient import TestClient

from anomaly_detection.service.alerts.rules import Rule


def alert(client: TestClient, number: int, **fields: Any) -> int:
    (made,) = client.post(RECORDS, json=[{**hot(number), **fields}]).json()["alerts"]
    return int(made["alert_id"])


def make(client: TestClient, **said: Any) -> Any:
    answer = client.post("/v1/rules", json={"stream": "default", "reason": "known", **said})
    assert answer.status_code == 201, answer.text
    return answer.json()


def listed(client: TestClient, **query: Any) -> list[int]:
    return [each["id"] for each in client.get("/v1/alerts", params={"limit": 500, **query}).json()["alerts"]]


@pytest.mark.parametrize(
    ("where", "fields", "hides"),
    [
        ({"a": "x"}, {"a": "x"}, True),
        ({"a": "x"}, {"a": " x "}, True),
        ({"a": "x"}, {"a": "X"}, False),
        ({"a": "x"}, {"b": "x"}, False),
        ({"a": "x", "b": 1}, {"a": "x", "b": 2}, False),
        ({"a": ["x", 5]}, {"a": "5.0"}, True),
        ({"a": 5}, {"a": "5"}, True),
        ({"a": 1}, {"a": True}, False),
        ({"a": True}, {"a": True}, True),
        ({"a": None}, {"a": None}, True),
        ({"a": None}, {"a": ""}, False),
        ({"a": None}, {}, False),
        ({"a": {"max": 60}}, {"a": 60}, True),
        ({"a": {"max": 60}}, {"a": "60.1"}, False),
        ({"a": {"min": 1, "max": 60}}, {"a": 0}, False),
        ({"a": {"min": 1}}, {"a": "many"}, False),
        ({"a": {"min": 1}}, {"a": "inf"}, False),
        ({"a": {"min": 1}}, {"a": None}, False),
        ({"a": "x"}, {"a": ["x"]}, False),
    ],
)
def test_a_rule_hides_what_it_names_and_no_siblings(where: Any, fields: Any, hides: bool) -> None:
    assert Rule(1, None, where, None).hides(fields, "c", "2026") is hides


def test_a_rule_about_a_column_or_until_a_moment() -> None:
    assert Rule(1, "c", {}, None).hides({}, "c", "2026")
    assert not Rule(1, "c", {}, None).hides({}, "d", "2026")
    assert Rule(1, None, {"a": 1}, "2026-02").hides({"a": 1}, "c", "2026-01")
    assert not Rule(1, None, {"a": 1}, "2026-02").hides({"a": 1}, "c", "2026-02")


def test_a_rule_is_previewed_made_counted_and_revoked(client: TestClient) -> None:
    here, other = alert(client, 500, supplier="Known"), alert(client, 501, supplier="Unknown")
    done = alert(client, 502, supplier="Known")
    client.patch(f"/v1/alerts/{done}", json={"state": "resolved", "verdict": "expected"})
    said = {"stream": "default", "where": {"supplier": "Known", "temperature": {"max": 95}}}
    told = client.post("/v1/rules/preview", json=said).json()
    assert (told["days"], told["hidden"], told["open"]) == (90, 2, 1)
    assert [each["id"] for each in told["examples"]] == [done, here]
    assert told["alerts"] >= 3
    assert here in listed(client)
    rule = make(client, where=said["where"], reason="the cold room is being mended")
    assert (rule["hidden"], rule["who"], rule["until"], rule["revoked"]) == (1, "local", None, None)
    assert rule["history"][0]["comment"] == "the cold room is being mended"
    assert here not in listed(client)
    # What was resolved stays where it is.
    assert {other, done} <= set(listed(client))
    assert listed(client, hidden="only") == listed(client, hidden="too", rule=rule["id"]) == [here]
    assert client.get(f"/v1/alerts/{here}").json()["hidden_by"] == rule["id"]
    # What comes is hidden, kept and counted; the verdict of the model is what it was.
    answer = client.post("/detect", json={"data": {**hot(503), "supplier": "Known"}}).json()
    assert answer["is_anomaly"] is True
    assert answer["alert_id"] in listed(client, hidden="only")
    assert alert(client, 504, supplier="Known", temperature=95.5) in listed(client)
    again = client.get(f"/v1/rules/{rule['id']}").json()
    assert (again["hidden"], again["last_hidden"] is None) == (2, False)
    assert rule["id"] in [each["id"] for each in client.get("/v1/rules?state=active&sort=hidden").json()["rules"]]
    revoked = client.delete(f"/v1/rules/{rule['id']}").json()
    assert revoked["revoked"]
    assert {here, answer["alert_id"]} <= set(listed(client))
    assert client.get(f"/v1/alerts/{answer['alert_id']}").json()["case_id"] is not None
    assert is_problem(client.delete(f"/v1/rules/{rule['id']}"), 409)
    assert rule["id"] in [each["id"] for each in client.get("/v1/rules?state=ended").json()["rules"]]
    assert alert(client, 505, supplier="Known") in listed(client)
    # It holds again, and counts nothing twice.
    back = client.patch(f"/v1/rules/{rule['id']}", json={"revoked": None}).json()
    assert (back["revoked"], back["hidden"]) == (None, 3)
    assert not {here, answer["alert_id"]} & set(listed(client))
    assert done in listed(client)


def test_a_rule_ends_and_its_end_is_moved_and_moved_back(client: TestClient) -> None:
    rule = make(client, where={"supplier": "Till"}, until="2120-01-31")
    assert rule["until"] == "2120-01-31T00:00:00.000Z"
    hidden = alert(client, 510, supplier="Till")
    assert hidden not in listed(client)
    ended = client.patch(f"/v1/rules/{rule['id']}", json={"until": "2020-01-01", "reason": "over"}).json()
    assert (ended["until"], ended["reason"]) == ("2020-01-01T00:00:00.000Z", "over")
    assert alert(client, 511, supplier="Till") in listed(client)
    # What it hid stays hidden, until the record comes again.
    assert hidden not in listed(client)
    assert alert(client, 510, supplier="Till") == hidden
    assert hidden in listed(client)
    line = ended["history"][-1]
    client.post(f"/v1/audit/{line['id']}/undo")
    assert client.get(f"/v1/rules/{rule['id']}").json()["until"] == "2120-01-31T00:00:00.000Z"
    assert alert(client, 512, supplier="Till") not in listed(client)


def test_a_rule_is_suggested_by_an_alert(client: TestClient) -> None:
    number = alert(client, 520)
    said = client.get(f"/v1/alerts/{number}/rule").json()
    assert said["stream"] == "default"
    assert said["where"]
    told = client.post("/v1/rules/preview", json=said).json()
    assert number in [each["id"] for each in told["examples"]]
    assert is_problem(client.get("/v1/alerts/999999/rule"), 404)


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"where": {}},
        {"column": None},
        {"where": {"a": {}}},
        {"where": {"a": {"max": "60"}}},
        {"where": {"a": {"most": 60}}},
        {"where": {"a": {"max": True}}},
        {"where": {"a": []}},
        {"where": {"a": [[]]}},
        {"where": "a"},
        {"where": {"a": 1}, "until": "later"},
        {"where": {"a": 1}, "reason": ""},
        {"where": {"a": 1}, "colour": "red"},
    ],
)
def test_odd_rules_are_refused(client: TestClient, said: Any) -> None:
    before = len(client.get("/v1/rules").json()["rules"])
    assert is_problem(client.post("/v1/rules", json={"stream": "default", "reason": "known", **said}), 400)
    assert len(client.get("/v1/rules").json()["rules"]) == before


def test_rules_of_what_is_not_there(client: TestClient) -> None:
    assert is_problem(client.post("/v1/rules", json={"stream": "none", "reason": "r", "column": "a"}), 404)
    assert is_problem(client.post("/v1/rules/preview", json={"stream": "none", "column": "a"}), 404)
    assert is_problem(client.get("/v1/rules/999"), 404)
    assert is_problem(client.delete("/v1/rules/999"), 404)
    assert is_problem(client.patch("/v1/rules/999", json={"reason": "r"}), 404)
