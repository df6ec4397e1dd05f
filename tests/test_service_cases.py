"""Cases: alerts of one cause together, closed with their alerts, snoozed, split, merged, and all of it undone."""

from __future__ import annotations

from typing import Any

import pytest
from service_example import case_number, emptied, hot, is_problem, raised
from sqlalchemy import update
from starlette.testclient import TestClient

from anomaly_detection.service.processes.service import Service
from anomaly_detection.service.records import keeping
from anomaly_detection.service.storage.tables import alerts, records, rules, settings
from anomaly_detection.service.storage.tables import cases as table


@pytest.fixture
def client(service: Service) -> TestClient:
    """Of a service without records."""
    return emptied(service, records, alerts, table, rules, settings)


def case_of(client: TestClient, alert: int) -> Any:
    return client.get(f"/v1/cases/{case_number(client, alert)}").json()


def cases(client: TestClient, **query: Any) -> list[int]:
    answer = client.get("/v1/cases", params=query)
    assert answer.status_code == 200, answer.text
    return [each["id"] for each in answer.json()["cases"]]


def test_alerts_of_one_cause_are_a_case_with_totals(client: TestClient) -> None:
    ids = raised(client, 1, 2, 3)
    raised(client, 2)
    case = case_of(client, ids[0])
    mine = [client.get(f"/v1/alerts/{each}").json() for each in ids]
    assert len({each["about"] for each in mine}) == 1
    assert {each["case_id"] for each in mine} == {case["id"]}
    assert (case["alerts"], case["count"], case["state"]) == (3, 4, "open")
    assert (case["about"], case["column"]) == (mine[0]["about"], mine[0]["column"])
    assert case["severity"] == max(each["severity"] for each in mine)
    assert case["amount"] == pytest.approx(sum(each["amount"] for each in mine))
    assert case["first_seen"] == min(each["first_seen"] for each in mine)
    assert case["last_seen"] == max(each["last_seen"] for each in mine)
    assert {each["id"] for each in case["alerts_shown"]} == set(ids)
    assert cases(client, stream="default", state="unresolved", column=case["column"]) == [case["id"]]
    assert cases(client, text=case["about"][:5]) == cases(client, assignee="") == [case["id"]]
    assert cases(client, text="hot-2") == [case["id"]]
    assert cases(client, min_severity=100) == cases(client, until="2020-01-01") == cases(client, text="%_%") == []


def test_closing_a_case_closes_its_alerts_and_is_undone_with_them(client: TestClient) -> None:
    ids = raised(client, 1, 2, 3)
    client.patch(f"/v1/alerts/{ids[0]}", json={"state": "resolved", "verdict": "real: fixed"})
    number = case_of(client, ids[0])["id"]
    closed = client.patch(f"/v1/cases/{number}", json={"state": "resolved", "verdict": "expected"}).json()
    assert (closed["state"], closed["verdict"], closed["alerts_changed"]) == ("resolved", "expected", 2)
    verdicts = [client.get(f"/v1/alerts/{each}").json()["verdict"] for each in ids]
    # What had a verdict of its own keeps it.
    assert verdicts == ["real: fixed", "expected", "expected"]
    back = client.patch(f"/v1/cases/{number}", json={"undo": True, "comment": "no"}).json()
    assert (back["state"], back["verdict"], back["alerts_changed"]) == ("open", None, 2)
    assert [client.get(f"/v1/alerts/{each}").json()["state"] for each in ids] == ["resolved", "open", "open"]
    assert [each["what"] for each in back["history"]] == ["change", "undo"]
    many = client.patch("/v1/cases", json={"ids": [number], "state": "resolved", "verdict": "duplicate"})
    assert (many.json()["cases"], many.json()["alerts"]) == (1, 2)
    assert cases(client, state="unresolved") == []
    assert cases(client, verdict="duplicate") == [number]


def test_a_resolved_case_takes_in_nothing_and_the_new_one_names_it(client: TestClient) -> None:
    (first,) = raised(client, 1)
    old = case_of(client, first)["id"]
    client.patch(f"/v1/cases/{old}", json={"state": "resolved", "verdict": "real: fixed"})
    (second,) = raised(client, 2)
    new = case_of(client, second)
    assert new["id"] != old
    assert (new["follows"], new["state"]) == (old, "open")
    assert [each["id"] for each in new["related"]] == [old]
    # The same record again is the same alert, which a person has judged.
    assert raised(client, 1) == [first]
    again = client.get(f"/v1/cases/{old}").json()
    assert (again["state"], again["count"], again["alerts"]) == ("resolved", 2, 1)


def test_what_comes_long_after_is_a_new_case(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "now", lambda: "2026-01-01T00:00:00.000Z")
    first = case_of(client, raised(client, 1)[0])["id"]
    monkeypatch.setattr(keeping, "now", lambda: "2026-01-08T00:00:00.000Z")
    assert case_of(client, raised(client, 2)[0])["id"] == first
    monkeypatch.setattr(keeping, "now", lambda: "2026-01-15T00:00:00.001Z")
    later = case_of(client, raised(client, 3)[0])
    assert (later["id"] != first, later["follows"]) == (True, first)
    client.patch("/v1/settings", json={"case_days": 30})
    monkeypatch.setattr(keeping, "now", lambda: "2026-02-10T00:00:00.000Z")
    assert case_of(client, raised(client, 4)[0])["id"] == later["id"]


def test_a_case_is_snoozed_until_a_moment_or_until_it_gets_worse(client: TestClient) -> None:
    (alert,) = raised(client, 1)
    case = case_of(client, alert)
    where = f"/v1/cases/{case['id']}"
    client.patch(where, json={"snooze_until": "2120-01-01"})
    assert cases(client) == []
    assert cases(client, snoozed="only") == cases(client, snoozed="too") == [case["id"]]
    client.patch(where, json={"undo": True})
    assert cases(client) == [case["id"]]
    assert is_problem(client.patch(where, json={"snooze_until": "2020-01-01"}), 422)
    snoozed = client.patch(where, json={"snooze_until": "2120-01-01", "or_worse_by": 0.001, "comment": "wait"}).json()
    assert snoozed["snoozed_below"] == pytest.approx(min(100, case["severity"] + 0.001))
    assert cases(client) == []
    woken = client.patch(where, json={"snooze_until": None}).json()
    assert (woken["snoozed_until"], woken["snoozed_below"]) == (None, None)
    for odd in ({"or_worse_by": 101}, {"snooze_until": "soon"}, {"snooze_until": "2120-01-01", "state": "open"}):
        assert is_problem(client.patch(where, json=odd), 400)
    assert is_problem(client.patch(where, json={"snooze_until": "2120-01-01", "or_worse_by": 0}), 400)


def test_a_snoozed_case_that_gets_worse_is_seen_again(client: TestClient, service: Service) -> None:
    (alert,) = raised(client, 1)
    number = case_of(client, alert)["id"]
    client.patch(f"/v1/cases/{number}", json={"snooze_until": "2120-01-01", "or_worse_by": 5})
    assert cases(client) == []
    below = client.get(f"/v1/cases/{number}").json()["snoozed_below"]
    with service.database.writing() as connection:
        connection.execute(update(table).values(severity=below))
    assert cases(client) == [number]


def test_a_case_is_snoozed_until_it_gets_worse_whenever_that_is(client: TestClient, service: Service) -> None:
    number = case_of(client, raised(client, 1)[0])["id"]
    where = f"/v1/cases/{number}"

    def worst(severity: float) -> None:
        with service.database.writing() as connection:
            connection.execute(update(table).values(severity=severity))

    worst(80.0)
    assert client.patch(where, json={"or_worse_by": 5}).json()["snoozed_below"] == 85
    assert cases(client) == []
    worst(85.0)
    assert cases(client) == [number]
    # What is as severe as can be does not get worse: it is away until its moment, and has to have one.
    worst(100.0)
    assert is_problem(client.patch(where, json={"or_worse_by": 5}), 422)
    client.patch(where, json={"snooze_until": "2120-01-01", "or_worse_by": 5})
    assert cases(client) == []


def test_a_case_is_split_and_merged_and_both_are_undone(client: TestClient) -> None:
    ids = raised(client, 1, 2, 3)
    old = case_of(client, ids[0])
    new = client.post(f"/v1/cases/{old['id']}/split", json={"alerts": ids[1:]})
    assert new.status_code == 201
    assert (new.json()["alerts"], new.json()["follows"]) == (2, old["id"])
    assert client.get(f"/v1/cases/{old['id']}").json()["alerts"] == 1
    number = new.json()["id"]
    for odd in ([ids[0]], ids[1:], [10**6]):
        # Of another case; all of it; none at all.
        assert is_problem(client.post(f"/v1/cases/{number}/split", json={"alerts": odd}), 409)
    assert is_problem(client.post(f"/v1/cases/{number}/split", json={"alerts": []}), 400)
    merged = client.post("/v1/cases/merge", json={"ids": [number, old["id"]]}).json()
    assert (merged["id"], merged["alerts"], merged["count"]) == (old["id"], 3, 3)
    assert merged["amount"] == pytest.approx(old["amount"])
    assert cases(client) == [old["id"]]
    gone = client.get(f"/v1/cases/{number}").json()
    assert (gone["merged_into"], gone["alerts"]) == (old["id"], 0)
    assert is_problem(client.patch(f"/v1/cases/{number}", json={"state": "resolved"}), 409)
    assert is_problem(client.post("/v1/cases/merge", json={"ids": [number, old["id"]]}), 409)
    back = client.patch(f"/v1/cases/{number}", json={"undo": True}).json()
    assert (back["merged_into"], back["alerts"]) == (None, 2)
    assert client.get(f"/v1/cases/{old['id']}").json()["alerts"] == 1
    # What was merged comes back from the case that took it in too, and what was split from either half.
    client.post("/v1/cases/merge", json={"ids": [number, old["id"]]})
    assert client.patch(f"/v1/cases/{old['id']}", json={"undo": True}).json()["alerts"] == 1
    for of_new in (False, True):
        half = number if of_new else old["id"]
        assert client.patch(f"/v1/cases/{half}", json={"undo": True}).json()["alerts_changed"] == 2
        assert client.get(f"/v1/cases/{old['id']}").json()["alerts"] == 3
        assert client.get(f"/v1/cases/{number}").json()["alerts"] == 0
        assert is_problem(client.patch(f"/v1/cases/{number}", json={"undo": True}), 409)
        number = client.post(f"/v1/cases/{old['id']}/split", json={"alerts": ids[1:]}).json()["id"]
    assert is_problem(client.post("/v1/cases/merge", json={"ids": [number]}), 400)
    assert is_problem(client.post("/v1/cases/merge", json={"ids": [number, 10**6]}), 404)


def test_a_comment_is_taken_back_and_an_alert_that_was_already_stays(client: TestClient) -> None:
    ids = raised(client, 1, 2)
    where = f"/v1/cases/{case_of(client, ids[0])['id']}"
    client.patch(where, json={"state": "resolved", "verdict": "expected"})
    client.patch(where, json={"comment": "wrong case"})
    back = client.patch(where, json={"undo": True}).json()
    assert (back["state"], back["history"][-1]["undoes"]) == ("resolved", back["history"][-2]["id"])
    client.patch(f"/v1/alerts/{ids[0]}", json={"undo": True})
    back = client.patch(where, json={"undo": True}).json()
    assert (back["state"], back["alerts_changed"]) == ("open", 1)
    assert {client.get(f"/v1/alerts/{each}").json()["state"] for each in ids} == {"open"}


def test_cases_of_two_streams_are_not_merged(client: TestClient, service: Service) -> None:
    (one,) = raised(client, 1)
    model = client.get("/v1/streams/default/models/1/file").content
    headers = {"Content-Type": "application/octet-stream"}
    client.post("/v1/streams/second/models?promote=true", content=model, headers=headers)
    sent = client.post("/v1/streams/second/records", json=[hot(1)]).json()
    other = case_of(client, sent["alerts"][0]["alert_id"])["id"]
    ids = [case_of(client, one)["id"], other]
    assert is_problem(client.post("/v1/cases/merge", json={"ids": ids}), 409)
    assert cases(client, stream="second") == [other]


def test_an_alert_that_a_rule_hides_is_in_no_case(client: TestClient) -> None:
    (one,) = raised(client, 1)
    number = case_of(client, one)["id"]
    rule = client.post(
        "/v1/rules", json={"stream": "default", "where": {"transaction_id": "HOT-2"}, "reason": "r"}
    ).json()
    (hidden,) = raised(client, 2)
    assert client.get(f"/v1/alerts/{hidden}").json()["case_id"] is None
    assert client.get(f"/v1/cases/{number}").json()["alerts"] == 1
    client.delete(f"/v1/rules/{rule['id']}")
    assert client.get(f"/v1/alerts/{hidden}").json()["case_id"] == number
    assert client.get(f"/v1/cases/{number}").json()["alerts"] == 2


def test_what_a_rule_hides_leaves_its_case_until_it_is_seen_again(client: TestClient) -> None:
    one, two = raised(client, 1, 2)
    number = case_of(client, one)["id"]
    said = {"stream": "default", "where": {"transaction_id": ["HOT-1", "HOT-3"]}, "reason": "r"}
    rule = client.post("/v1/rules", json=said).json()
    assert client.get(f"/v1/cases/{number}").json()["alerts"] == 1
    (three,) = raised(client, 3)
    raised(client, 1)
    assert client.get(f"/v1/cases/{number}").json()["count"] == 1
    other = client.post("/v1/rules", json={**said, "where": {"transaction_id": "HOT-2"}}).json()
    # Of a case all of whose alerts are hidden nobody is told.
    assert cases(client) == []
    assert client.get(f"/v1/cases/{number}").json()["alerts"] == 0
    client.delete(f"/v1/rules/{other['id']}")
    client.patch(f"/v1/rules/{rule['id']}", json={"until": "2020-01-01"})
    raised(client, 3)
    assert client.get(f"/v1/alerts/{three}").json()["case_id"] == number
    raised(client, 1)
    seen = client.get(f"/v1/cases/{number}").json()
    assert (seen["alerts"], seen["count"]) == (3, 6)
    assert {each["id"] for each in seen["alerts_shown"]} == {one, two, three}


def test_odd_changes_of_cases_are_refused(client: TestClient) -> None:
    number = case_of(client, raised(client, 1)[0])["id"]
    for odd in ({}, {"verdict": "expected"}, {"state": "gone"}, {"undo": False}, {"comment": ""}, [1]):
        assert is_problem(client.patch(f"/v1/cases/{number}", json=odd), 400)
    assert is_problem(client.patch(f"/v1/cases/{number}", json={"undo": True}), 409)
    assert is_problem(client.patch("/v1/cases/99999", json={"state": "open"}), 404)
    assert is_problem(client.get("/v1/cases/99999"), 404)
    assert is_problem(client.patch("/v1/cases", json={"ids": [number, 99999], "state": "resolved"}), 404)
    assert is_problem(client.patch("/v1/cases", json={"ids": [], "state": "resolved"}), 400)
    assert client.get(f"/v1/cases/{number}").json()["state"] == "open"
