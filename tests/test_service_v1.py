"""Our own API: records in, refused by row, once by key; alerts listed, changed and changed back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from service_example import RECORDS, hot, is_problem, simulated
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from starlette.testclient import TestClient

from anomaly_detection.service.alerts.alert_book import ALERTS
from anomaly_detection.service.processes.service import Service


def send(client: TestClient, body: str, kind: str, **headers: str) -> Any:
    return client.post(RECORDS, content=body, headers={"Content-Type": kind, **headers})


def count(service: Service, table: str) -> int:
    with service.database.reading() as connection:
        return int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())


def new_alert(client: TestClient, number: int) -> int:
    return int(client.post(RECORDS, json=[hot(number)]).json()["alerts"][0]["alert_id"])


def test_refused_records_are_told_by_row_and_kept(client: TestClient) -> None:
    lines = [json.dumps(simulated(1, seed=22)[0]), "{broken", "[1]", json.dumps({**hot(101), "quantity": "inf"})]
    answer = send(client, "\n".join(lines), "application/x-ndjson").json()
    assert (answer["judged"], answer["refused"]) == (1, 3)
    assert [each["row"] for each in answer["refusals"]] == [2, 3, 4]
    assert "no JSON" in answer["refusals"][0]["reason"]
    assert "infinite value in row 4" in answer["refusals"][2]["reason"]
    kept = client.get(f"/v1/records/{answer['refusals'][0]['record_id']}").json()
    assert (kept["state"], kept["record"]) == ("refused", {"line": "{broken"})


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        ("[]", "application/json", 400),
        ("{", "application/json", 400),
        ("", "application/x-ndjson", 400),
        ("a,b\n1,2\n3", "text/csv", 400),
        ("<a/>", "application/xml", 415),
        ('[{"a": %s}]' % ("[" * 40 + "]" * 40), "application/json", 413),
        (json.dumps([dict.fromkeys(map(str, range(1001)))]), "application/json", 413),
    ],
)
def test_bodies_that_cannot_be_taken_leave_nothing(
    client: TestClient, service: Service, body: str, kind: str, status: int
) -> None:
    before = count(service, "records")
    answer = send(client, body, kind)
    assert is_problem(answer, status)
    assert answer.json()["detail"].endswith(".")
    assert "/tmp" not in answer.text
    assert count(service, "records") == before


def test_a_request_with_a_key_takes_effect_once(client: TestClient, service: Service) -> None:
    body = json.dumps({"records": [hot(102), *simulated(2, seed=23)]})
    first = send(client, body, "application/json", **{"Idempotency-Key": "one"})
    assert first.json()["judged"] == 3
    before = count(service, "records")
    second = send(client, body, "application/json", **{"Idempotency-Key": "one"})
    assert second.json() == first.json()
    assert second.headers["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first.headers
    assert count(service, "records") == before
    assert is_problem(send(client, "[{}]", "application/json", **{"Idempotency-Key": "one"}), 422)
    assert is_problem(send(client, body, "application/json", **{"Idempotency-Key": " "}), 400)


def test_each_stream_is_by_itself(client: TestClient) -> None:
    answer = client.post("/v1/streams/other/records", json=simulated(2)).json()
    assert (answer["waiting"], answer["learning"]) == (2, "learning: 2 of 1,000 records")
    assert is_problem(client.post("/v1/streams/odd name/records", json=[{"a": 1}]), 400)


def test_alerts_are_found_filtered_and_paged(client: TestClient) -> None:
    made = {new_alert(client, number) for number in range(110, 117)}
    everything = client.get("/v1/alerts", params={"limit": 500}).json()
    ids = [each["id"] for each in everything["alerts"]]
    assert made <= set(ids)
    assert ids == sorted(ids, reverse=True)
    assert everything["next"] is None
    for sort in ("newest", "severity"):
        paged: list[int] = []
        page = client.get("/v1/alerts", params={"limit": 2, "sort": sort}).json()
        paged += [each["id"] for each in page["alerts"]]
        while page["next"]:
            page = client.get("/v1/alerts", params={"limit": 2, "sort": sort, "after": page["next"]}).json()
            paged += [each["id"] for each in page["alerts"]]
        assert sorted(paged) == sorted(ids)
        assert len(set(paged)) == len(paged)
        # Backwards from the last, whatever ties there are.
        last = ALERTS.place(everything["alerts"][ids.index(paged[-1])], sort)
        back = client.get("/v1/alerts", params={"limit": 500, "sort": sort, "before": last}).json()
        assert [each["id"] for each in back["alerts"]] == paged[-2::-1]
        first = ALERTS.place(everything["alerts"][ids.index(paged[0])], sort)
        assert client.get("/v1/alerts", params={"sort": sort, "before": first}).json()["alerts"] == []
    severities = [each["severity"] for each in client.get("/v1/alerts", params={"sort": "severity"}).json()["alerts"]]
    assert severities == sorted(severities, reverse=True)
    assert client.get("/v1/alerts", params={"min_severity": 100}).json()["alerts"] == []
    assert client.get("/v1/alerts", params={"stream": "nowhere"}).json()["alerts"] == []
    client.patch(f"/v1/alerts/{ids[0]}", json={"state": "acknowledged"})
    assert ids[0] in [each["id"] for each in client.get("/v1/alerts?state=acknowledged").json()["alerts"]]


def test_an_alerts_life_is_written_down_and_undone(client: TestClient) -> None:
    number = new_alert(client, 120)
    where = f"/v1/alerts/{number}"
    client.patch(where, json={"state": "acknowledged", "comment": "on it"})
    client.patch(where, json={"comment": "called the carrier"})
    done = client.patch(where, json={"state": "resolved", "verdict": "real: fixed"}).json()
    assert (done["state"], done["verdict"]) == ("resolved", "real: fixed")
    once = client.patch(where, json={"undo": True}).json()
    assert (once["state"], once["verdict"]) == ("acknowledged", None)
    twice = client.patch(where, json={"undo": True}).json()
    assert twice["state"] == "acknowledged"  # the comment is taken back
    thrice = client.patch(where, json={"undo": True, "comment": "not ours"}).json()
    assert thrice["state"] == "open"
    assert is_problem(client.patch(where, json={"undo": True}), 409)
    history = client.get(where).json()["history"]
    assert [each["what"] for each in history] == ["raise", "change", "comment", "change", *["undo"] * 3]
    assert [each["undoes"] for each in history][4:] == [history[place]["id"] for place in (3, 2, 1)]
    assert {each["who"] for each in history} == {"service", "local"}
    assert history[6]["comment"] == "not ours"
    client.patch(where, json={"state": "resolved", "verdict": "false alarm"})
    again = client.patch(where, json={"state": "open"}).json()
    assert (again["state"], again["verdict"]) == ("open", None)
    assert client.patch(where, json={"undo": True}).json()["verdict"] == "false alarm"


def test_a_change_to_what_is_so_already_leaves_no_line(client: TestClient) -> None:
    number = new_alert(client, 119)
    assert len(client.patch(f"/v1/alerts/{number}", json={"state": "open"}).json()["history"]) == 1
    said = client.patch(f"/v1/alerts/{number}", json={"state": "open", "comment": "still"}).json()["history"]
    assert [each["what"] for each in said] == ["raise", "comment"]


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"odd": 1},
        {"state": "gone"},
        {"verdict": "real: fixed"},
        {"state": "resolved", "verdict": "odd"},
        {"comment": ""},
        {"comment": 3},
        {"comment": None},
        {"undo": True, "state": "open"},
        {"undo": "yes"},
        {"undo": False, "state": "open"},
        [1],
    ],
)
def test_odd_changes_are_refused(client: TestClient, change: Any) -> None:
    number = new_alert(client, 121)
    before = client.get(f"/v1/alerts/{number}").json()["history"]
    assert is_problem(client.patch(f"/v1/alerts/{number}", json=change), 400)
    assert client.get(f"/v1/alerts/{number}").json()["history"] == before


@pytest.mark.parametrize("kind", ["alerts", "records", "jobs"])
@pytest.mark.parametrize("number", ["999999", "x", "-1", "9" * 30, "9" * 5000, "9223372036854775807"])
def test_what_is_not_there(client: TestClient, kind: str, number: str) -> None:
    assert is_problem(client.get(f"/v1/{kind}/{number}"), 404)


def test_no_name_has_a_nul_and_texts_that_have_one_are_kept(client: TestClient) -> None:
    assert is_problem(client.get("/v1/alerts/%00"), 400)
    assert is_problem(client.get("/v1/alerts?stream=%00"), 400)
    assert is_problem(client.post("/v1/streams/a%00b/records", json={"a": 1}), 400)
    record = {**hot(124), "transaction_id": "a\0b", "product": "\0", "temperature": "\0warm"}
    answer = client.post("/v1/streams/default/records", json=record).json()
    kept = client.get(f"/v1/records/{answer['first_record_id']}").json()
    assert (kept["record"], kept["sent_id"]) == (record, "a\\x00b")
    number = new_alert(client, 125)
    assert client.patch(f"/v1/alerts/{number}", json={"comment": "a\0b"}).status_code == 200


def test_what_is_possible_is_said_where_something_is_not(client: TestClient) -> None:
    answer = client.put("/v1/alerts/1")
    assert is_problem(answer, 405)
    assert set(answer.headers["Allow"].split(", ")) == {"GET", "HEAD", "PATCH"}


def test_nobody_rewrites_the_audit(client: TestClient, service: Service) -> None:
    new_alert(client, 122)
    for statement in ("UPDATE audit SET who = 'nobody'", "DELETE FROM audit"):
        with pytest.raises(IntegrityError, match="append-only"), service.database.writing() as connection:
            connection.execute(text(statement))


def test_a_resolved_alert_whose_record_comes_again_stays_resolved(client: TestClient) -> None:
    number = new_alert(client, 123)
    client.patch(f"/v1/alerts/{number}", json={"state": "resolved", "verdict": "real: fixed"})
    assert new_alert(client, 123) == number
    alert = client.get(f"/v1/alerts/{number}").json()
    assert (alert["state"], alert["count"]) == ("resolved", 2)
