"""What stands beside an alert: its odd values among others, usual records like it, and what was before."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from service_example import BOTH, RECORDS, client_of, hot, is_problem, on, resting, simulated
from starlette.testclient import TestClient

from anomaly_detection.alerts.spread import spread_of
from anomaly_detection.service.alerts import context
from anomaly_detection.service.alerts.context import _reason, subject_of, window_of
from anomaly_detection.service.processes.service import Service
from anomaly_detection.service.records.incoming import Incoming


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with resting(tmp_path_factory.mktemp("service")) as made:
        client = client_of(made)
        assert client.post(RECORDS, json=simulated(120, seed=7)).is_success
        sent = [{**hot(number), "product": "Fish", "productId": "P3", "supplier": "Supplier 2"} for number in range(3)]
        assert client.post(RECORDS, json=sent).json()["alerting"] == 3
        yield made


def told(client: TestClient) -> tuple[dict[str, Any], dict[str, Any]]:
    """The newest alert, and what stands beside it."""
    number = client.get("/v1/alerts", params={"limit": 1}).json()["alerts"][0]["id"]
    return client.get(f"/v1/alerts/{number}").json(), client.get(f"/v1/alerts/{number}/context").json()


def test_each_odd_number_lies_among_those_of_its_group(service: Service, client: TestClient) -> None:
    alert, found = told(client)
    assert [each["columns"] for each in found["odd"]] == [each["columns"] for each in alert["reasons"]]
    judge = service.judge("default")
    assert judge is not None
    with service.database.reading() as connection:
        window = window_of(connection, service.stream_id("default"))
    _, clean = judge.read([Incoming(each) for each in (*window.records, alert["record"])])
    drawn = 0
    for reason, odd in zip(map(_reason, alert["reasons"]), found["odd"], strict=True):
        source = judge.source_of(reason.feature)
        assert source is not None
        spread = spread_of(reason, clean.iloc[-1], source, clean.iloc[:-1], 8)
        drawn += spread is not None
        assert (spread is None) == (odd["spread"] is None)
        assert spread is None or tuple(odd["spread"]["counts"]) == spread.counts
    assert drawn


def test_a_number_over_time_is_that_of_the_same_supplier(client: TestClient) -> None:
    alert, found = told(client)
    (over_time, *_) = [each["over_time"] for each in found["odd"] if each["over_time"]]
    column = next(each["columns"][0] for each in found["odd"] if each["over_time"] is over_time)
    mine = [
        each["record"]
        for each in client.get("/v1/records", params={"limit": 500}).json()["records"]
        if each["record"]["supplier"] == "Supplier 2"
    ]
    assert len(over_time["at"]) == len(over_time["values"]) == len(mine)
    assert sorted(over_time["at"]) == over_time["at"]
    assert sorted(over_time["values"]) == pytest.approx(sorted(each[column] for each in mine))
    assert over_time["own"] == pytest.approx(alert["record"][column])
    assert over_time["by"] == "timestamp"
    assert over_time["what"] == f"{column} of Supplier 2"


def test_usual_records_like_it_and_what_was_before(client: TestClient) -> None:
    alert, found = told(client)
    odd = {name for each in alert["reasons"] for name in each["columns"]}
    assert not odd & set(found["compared"])
    assert "transaction_id" not in found["compared"]
    assert len(found["nearest"]) == 3
    distances = [each["distance"] for each in found["nearest"]]
    assert distances == sorted(distances)
    for each in found["nearest"]:
        kept = client.get(f"/v1/records/{each['record_id']}").json()
        assert (kept["record"], kept["alert_id"]) == (each["record"], None)
        assert set(each["differs"]) <= {*found["compared"], *odd}
    listed = client.get("/v1/records", params={"limit": 500}).json()["records"]
    mine = [each for each in listed if each["record"]["supplier"] == "Supplier 2"]
    alerting = [each for each in mine if each["alert_id"] is not None]
    assert found["subject"] == {
        "column": "supplier",
        "value": "Supplier 2",
        "records": len(mine),
        "alerting": len(alerting),
    }
    before = {each["alert_id"] for each in alerting} - {alert["id"]}
    assert {each["id"] for each in found["before"]} == before
    assert is_problem(client.get("/v1/alerts/999/context"), 404)
    named = {"record": {"Vendor INCO Term": "EXW", "Vendor": "Roche"}, "reasons": []}
    assert subject_of(None, named) == ("Vendor", "Roche")


def test_only_the_newest_are_looked_at(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    _, everything = told(client)
    monkeypatch.setattr(context, "WINDOW", 10)
    monkeypatch.setattr(context, "window_of", lambda connection, stream: window_of(connection, stream, 10))
    _, found = told(client)
    assert (everything["records"], found["records"]) == (123, 10)
    assert all(each["record_id"] > 110 for each in found["nearest"])


def test_the_page_draws_it(client: TestClient) -> None:
    alert, found = told(client)
    case = unescape(client.get(f"/cases/{alert['case_id']}", params={"alert": alert["id"]}).text)
    text = client.get(f"/alerts/{alert['id']}/context").text
    # There is room for each picture before it comes.
    assert re.findall(r'id="(picture-\d)"', case) == re.findall(r'id="(picture-\d)" hx-swap-oob', text) != []
    charts = [json.loads(unescape(each)) for each in re.findall(r'data-chart="(.*?)"', text)]
    over_time = [each["over_time"] for each in found["odd"] if each["over_time"]]
    assert len(charts) == len(over_time)
    usual, own = (each["values"] for each in charts[0]["series"])
    assert [each for each in usual if each is not None] == over_time[0]["values"]
    assert [each for each in own if each is not None] == [over_time[0]["own"]]
    assert not re.search(r"<style|<script|<[a-z][^>]*\s(style|on[a-z]+)=", text)
    for each in found["nearest"]:
        assert f'href="/records/{each["record_id"]}"' in text


def test_without_a_model_nothing_is_drawn(tmp_path: Path, client: TestClient, service: Service) -> None:
    alert, _ = told(client)
    found = context.context_of(service.database, service.stream_id("default"), None, alert)
    assert (found["odd"], found["nearest"], found["model_version"]) == ([], [], None)
    assert found["subject"]["value"] == "Supplier 2"


def test_a_record_that_cannot_be_read_does_not_hinder(service: Service) -> None:
    judge = service.judge("default")
    assert judge is not None
    good = simulated(3)
    places, clean = judge.read([Incoming(each) for each in (good[0], {**good[1], "temperature": "inf"}, good[2], {})])
    assert places == [0, 2]
    assert clean["temperature"].tolist() == [good[0]["temperature"], good[2]["temperature"]]


@pytest.mark.parametrize("kind", BOTH)
def test_on_any_database(kind: str, tmp_path: Path) -> None:
    with on(kind, resting, tmp_path) as made:
        client = client_of(made)
        client.post(RECORDS, json=[*simulated(30, seed=8), hot(1), {**hot(2), "quantity": 1}])
        _, found = told(client)
        assert (found["records"], len(found["before"]) + 1) == (32, found["subject"]["alerting"])
