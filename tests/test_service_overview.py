"""The overview: counted by hand."""

from __future__ import annotations

import pytest
from service_example import RECORDS, hot, is_problem, simulated
from starlette.testclient import TestClient

from anomaly_detection.service import audit, keeping


def test_an_overview_counts_what_there_was(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = client.get("/v1/overview").json()
    assert (nothing["records"], nothing["days"], nothing["alert_rate"], nothing["amount"]) == (0, [], None, None)
    assert (nothing["hours_to_verdict"], nothing["weeks"], nothing["by_field"]) == (None, [], [])

    def at(moment: str) -> None:
        for module in (keeping, audit):
            monkeypatch.setattr(module, "now", lambda: moment)

    at("2026-03-02T10:00:00.000Z")
    first = client.post(RECORDS, json=[{**hot(1), "supplier": "A"}, {**hot(2), "supplier": "B"}, {"odd": 1}]).json()
    at("2026-03-03T10:00:00.000Z")
    usual = client.post(RECORDS, json=simulated(4, seed=81)).json()
    again = client.post(RECORDS, json=[{**hot(1), "supplier": "A"}, {**hot(3), "supplier": "A"}]).json()
    one, two = (each["alert_id"] for each in first["alerts"])
    three = again["alerts"][1]["alert_id"]
    at("2026-03-03T12:00:00.000Z")
    client.patch(f"/v1/alerts/{one}", json={"state": "resolved", "verdict": "false alarm"})
    client.patch(f"/v1/alerts/{three}", json={"state": "resolved", "verdict": "expected"})
    at("2026-03-09T10:00:00.000Z")
    client.patch(f"/v1/alerts/{two}", json={"state": "resolved"})
    client.patch(f"/v1/alerts/{two}", json={"undo": True})
    client.patch(f"/v1/alerts/{two}", json={"state": "resolved"})
    query = {"since": "2026-03-01", "until": "2026-04-01", "by": "supplier", "stream": "default"}
    found = client.get("/v1/overview", params=query).json()
    more = usual["alerting"]
    assert (found["records"], found["alerts"]) == (9, 3 + more)
    assert found["alert_rate"] == pytest.approx((4 + more) / 9)
    assert [(each["day"], each["records"], each["alerting"], each["alerts"]) for each in found["days"]] == [
        ("2026-03-02", 3, 2, 2),
        ("2026-03-03", 6, 2 + more, 1 + more),
    ]
    amounts = [client.get(f"/v1/alerts/{each}").json()["amount"] for each in (one, two, three)]
    assert found["days"][0]["amount"] == pytest.approx(amounts[0] + amounts[1])
    by = {each["value"]: (each["alerts"], each["amount"]) for each in found["by_field"]}
    assert by["B"] == (1, pytest.approx(amounts[1]))
    assert by["A"] == (2, pytest.approx(amounts[0] + amounts[2]))
    assert sum(each["alerts"] for each in found["by_column"]) == 3 + more
    assert found["verdicts"] == {"false alarm": 1, "expected": 1, "none": 1}
    # 26, 2 and 168 hours.
    assert found["hours_to_verdict"] == pytest.approx(26)
    first, last = found["weeks"]
    assert (first["week"], first["judged"], first["false_alarms"], first["share"]) == ("2026-W10", 2, 1, 0.5)
    # Of one, which was false, Wilson's interval ends at z^2 / (1 + z^2).
    assert (first["real"], first["precision"], first["precision_low"]) == (0, 0.0, 0.0)
    assert first["precision_high"] == pytest.approx(0.7935, abs=1e-4)
    assert (last["week"], last["judged"], last["share"], last["precision"]) == ("2026-W11", 1, 0.0, None)
    assert client.get("/v1/overview?stream=nowhere").json()["records"] == 0
    assert client.get("/v1/overview?since=2026-03-03&until=2026-03-03T09:00Z").json()["records"] == 0
    assert is_problem(client.get("/v1/overview?since=then"), 400)


def test_what_a_rule_hides_is_not_counted(client: TestClient) -> None:
    client.post(RECORDS, json=[hot(1), hot(2)])
    said = {"stream": "default", "where": {"transaction_id": "HOT-1"}, "reason": "r"}
    assert client.post("/v1/rules", json=said).status_code == 201
    found = client.get("/v1/overview").json()
    assert (found["records"], found["alerts"], found["days"][0]["alerting"]) == (2, 1, 2)
