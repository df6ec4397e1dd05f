"""The overview: counted by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from service_example import RECORDS, hot, is_problem, simulated
from starlette.testclient import TestClient

from anomaly_detection.service.alerts import audit
from anomaly_detection.service.records import keeping


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Sets the clock."""

    def set_to(moment: str) -> None:
        for module in (keeping, audit):
            monkeypatch.setattr(module, "now", lambda: moment)

    return set_to


def test_an_overview_counts_what_there_was(client: TestClient, at: Callable[[str], None]) -> None:
    nothing = client.get("/v1/overview").json()
    assert (nothing["records"], nothing["days"], nothing["alert_rate"], nothing["amount"]) == (0, [], None, None)
    assert (nothing["hours_to_verdict"], nothing["weeks"], nothing["by_field"]) == (None, [], [])
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
    # No alert has such a field.
    assert client.get("/v1/overview", params={**query, "by": "nowhere"}).json()["by_field"] == []
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


def test_days_and_weeks_are_those_of_a_zone(client: TestClient, at: Callable[[str], None]) -> None:
    for moment in ("2026-05-04T03:05:00.000Z", "2026-05-04T03:20:00.000Z", "2026-05-05T03:59:59.000Z"):
        at(moment)
        (alert,) = client.post(RECORDS, json=hot(1000 + int(moment[14:16]))).json()["alerts"]
    client.patch(f"/v1/alerts/{alert['alert_id']}", json={"state": "resolved", "verdict": "expected"})
    for zone, first, second in (
        ("UTC", "2026-05-04", "2026-05-05"),
        ("America/New_York", "2026-05-03", "2026-05-04"),
        ("Asia/Kathmandu", "2026-05-04", "2026-05-05"),
        ("Pacific/Kiritimati", "2026-05-04", "2026-05-05"),
    ):
        query = {"since": "2026-05-03T12:07:00Z", "until": "2026-05-07", "zone": zone}
        found = client.get("/v1/overview", params=query).json()
        told = [(each["day"], each["records"], each["alerting"], each["alerts"]) for each in found["days"]]
        assert told == [(first, 2, 2, 2), (second, 1, 1, 1)], zone
        assert [each["week"] for each in found["weeks"]] == ["2026-W19"], zone
        # A span that begins and ends within a quarter of an hour counts what is in it.
        query |= {"since": "2026-05-04T03:10:00Z", "until": "2026-05-04T03:20:30Z"}
        assert client.get("/v1/overview", params=query).json()["records"] == 1, zone


def test_a_zone_that_is_none_is_refused(client: TestClient) -> None:
    assert is_problem(client.get("/v1/overview?zone=Nowhere"), 422)
