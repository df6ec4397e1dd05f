"""What is kept, and for how long; and that nothing goes which an open alert needs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from service_example import BOTH, client_of, hot, on, resting, running, simulated, wait_until
from sqlalchemy import Column, ForeignKey, Integer, MetaData, Table, func, insert, select, update

from anomaly_detection.service.jobs import jobs
from anomaly_detection.service.jobs.worker import work
from anomaly_detection.service.processes.service import Service
from anomaly_detection.service.records import retention
from anomaly_detection.service.records.incoming import Incoming
from anomaly_detection.service.records.retention import Retention, forget, queue_forgetting
from anomaly_detection.service.storage.clock import as_text
from anomaly_detection.service.storage.tables import METADATA, alerts, audit, idempotency, records
from anomaly_detection.service.storage.tables import jobs as jobs_table


@pytest.fixture(params=BOTH)
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Service]:
    """One with ten usual records, three alerts of two records each, and one that was refused."""
    with on(request.param, resting, tmp_path) as made:
        client = client_of(made)
        usual = usual_ones(made, 10)
        for record in usual[:5]:
            client.post("/detect", json={"data": record})
        for _ in range(2):
            client.post("/detect", json={"data": [hot(1), hot(2), hot(3)]})
        client.post("/detect", json={"data": [{}]})
        for record in usual[5:]:
            client.post("/detect", json={"data": record})
        yield made


def usual_ones(service: Service, count: int) -> list[dict[str, Any]]:
    """Records that are no alerts."""
    judge = service.judge("default")
    assert judge is not None
    found = (record for record in simulated(100) if judge.judge([Incoming.of(record)])[0].verdict.is_alert is False)
    return [record for record, _ in zip(found, range(count), strict=False)]


def gone(service: Service, limits: Retention) -> int:
    return sum(forget(service.database, service.stream_id("default"), limits))


def counted(service: Service, table: Any) -> int:
    with service.database.reading() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()


def age(service: Service, days: float, table: Any = records, upto: int = 10**9) -> None:
    """Make rows older."""
    moment = as_text(datetime.now(timezone.utc) - timedelta(days=days))
    values = {"received": moment} if table is records else {"created": moment}
    column = table.c.get("id")
    with service.database.writing() as connection:
        query = update(table).values(values)
        connection.execute(query if column is None else query.where(column <= upto))


def test_by_number(service: Service) -> None:
    assert counted(service, records) == 17
    assert gone(service, Retention(records=17)) == 0
    # The first five go, and one of the last six and the refused one; the six of open alerts stay.
    assert gone(service, Retention(records=4)) == 7
    assert counted(service, records) == 10
    assert counted(service, alerts) == 3
    assert gone(service, Retention(records=4)) == 0


def test_by_age(service: Service) -> None:
    assert gone(service, Retention(days=1)) == 0
    age(service, 10, upto=8)
    assert gone(service, Retention(days=11)) == 0
    assert gone(service, Retention(days=9)) == 5
    age(service, 10)
    # Never the newest record: its number would come again.
    assert gone(service, Retention(days=9)) == 5
    assert counted(service, records) == 7


def test_a_resolved_alert_goes_with_its_last_record(service: Service) -> None:
    client = client_of(service)
    first, second, third = sorted(each["id"] for each in client.get("/v1/alerts").json()["alerts"])
    client.patch(f"/v1/alerts/{first}", json={"state": "resolved", "verdict": "real: fixed"})
    client.patch(f"/v1/alerts/{second}", json={"state": "acknowledged"})
    client.patch(f"/v1/alerts/{third}", json={"state": "resolved"})
    age(service, 10, upto=8)
    # They are of one case, which is looked at as a whole.
    (case,) = client.get("/v1/cases").json()["cases"]
    assert gone(service, Retention(days=9)) == 5
    made = client.post(f"/v1/cases/{case['id']}/split", json={"alerts": [second]}).json()
    client.patch(f"/v1/cases/{case['id']}", json={"state": "resolved"})
    history = counted(service, audit)
    # Of each alert one record is old.
    assert gone(service, Retention(days=9)) == 2
    assert client.get(f"/v1/alerts/{first}").status_code == 200
    age(service, 10)
    gone(service, Retention(days=9))
    assert client.get(f"/v1/alerts/{first}").status_code == 404
    assert client.get(f"/v1/alerts/{second}").json()["state"] == "acknowledged"
    assert client.get(f"/v1/cases/{made['id']}").json()["alerts"] == 1
    assert client.get(f"/v1/cases/{case['id']}").json()["alerts"] == 1
    # The newest alert stays, for its number must not come again: the history tells of numbers.
    assert client.get(f"/v1/alerts/{third}").status_code == 200
    assert counted(service, audit) == history
    # What came again is an alert again.
    assert client.post("/detect", json={"data": hot(1)}).json()["alert_id"] > third


def test_a_case_goes_with_its_last_alert_and_those_that_were_merged_into_it(service: Service) -> None:
    client = client_of(service)
    first, second, third = sorted(each["id"] for each in client.get("/v1/alerts").json()["alerts"])
    (case,) = (each["id"] for each in client.get("/v1/cases").json()["cases"])
    merged = client.post(f"/v1/cases/{case}/split", json={"alerts": [second]}).json()["id"]
    apart = client.post(f"/v1/cases/{case}/split", json={"alerts": [third]}).json()["id"]
    client.post("/v1/cases/merge", json={"ids": [case, merged]})
    age(service, 10)
    gone(service, Retention(days=9))
    assert {client.get(f"/v1/cases/{each}").status_code for each in (case, merged, apart)} == {200}
    client.patch(f"/v1/cases/{case}", json={"state": "resolved"})
    assert gone(service, Retention(days=9)) == 4
    assert [client.get(f"/v1/cases/{each}").status_code for each in (case, merged, apart)] == [404, 404, 200]
    # It followed the one that is gone.
    assert client.get(f"/v1/cases/{apart}").json()["follows"] is None
    assert client.get(f"/v1/alerts/{third}").status_code == 200
    assert client.get(f"/v1/alerts/{first}").status_code == 404
    assert client.post("/detect", json={"data": hot(1)}).json()["alert_id"] > third


def test_alerts_that_a_rule_hides_go_by_age_and_the_rule_goes_on(service: Service) -> None:
    client = client_of(service)
    first, *_ = sorted(each["id"] for each in client.get("/v1/alerts").json()["alerts"])
    rule = {"stream": "default", "where": {"transaction_id": "HOT-1"}, "reason": "a test"}
    made = client.post("/v1/rules", json=rule).json()
    assert made["hidden"] == 2
    age(service, 10)
    gone(service, Retention(days=9))
    assert client.get(f"/v1/alerts/{first}").status_code == 404
    assert len(client.get("/v1/alerts").json()["alerts"]) == 2
    again = client.post("/detect", json={"data": hot(1)}).json()["alert_id"]
    assert client.get(f"/v1/alerts/{again}").json()["hidden_by"] == made["id"]
    assert client.get(f"/v1/rules/{made['id']}").json()["hidden"] == 3
    assert client.delete(f"/v1/rules/{made['id']}").status_code == 200
    assert len(client.get("/v1/alerts").json()["alerts"]) == 3


def test_what_waits_for_a_verdict_stays(tmp_path: Path) -> None:
    with resting(tmp_path, model=None, learn_from=100) as service:
        client_of(service).post("/detect", json={"data": simulated(20)})
        age(service, 10)
        assert gone(service, Retention(days=1, records=1)) == 0


def test_what_other_tables_name_stays(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables that come later need not be told of here."""
    pins = Table("pins", METADATA, Column("record_id", Integer, ForeignKey("records.id")))
    try:
        with service.database.writing() as connection:
            pins.create(connection)
            connection.execute(insert(pins).values(record_id=2))
        age(service, 10)
        assert gone(service, Retention(days=9)) == 9
        with service.database.reading() as connection:
            assert connection.execute(select(records.c.id).where(records.c.id == 2)).scalar() == 2
        with service.database.writing() as connection:
            pins.drop(connection)
    finally:
        METADATA.remove(pins)
    assert isinstance(METADATA, MetaData)


def test_answers_with_a_key_and_jobs_go_by_age(service: Service) -> None:
    headers = {"Idempotency-Key": "a"}
    client_of(service).post("/v1/streams/default/records", json=[hot(1)], headers=headers)
    with service.database.writing() as connection:
        for _ in range(3):
            jobs.end(connection, jobs.add_job(connection, "train", 1), result={})
        open_one = jobs.add_job(connection, "train", 1)
    for table in (idempotency, jobs_table):
        age(service, 10, table)
    gone(service, Retention(records=1000))
    assert (counted(service, idempotency), counted(service, jobs_table)) == (1, 4)
    gone(service, Retention(days=9))
    assert counted(service, idempotency) == 0
    with service.database.reading() as connection:
        assert list(connection.execute(select(jobs_table.c.id)).scalars()) == [open_one]


def test_many_are_deleted_some_at_a_time_while_others_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "_AT_ONCE", 20)
    with resting(tmp_path) as service:
        client = client_of(service)
        (record,) = usual_ones(service, 1)
        for _ in range(150):
            client.post("/detect", json={"data": record})
        statuses: list[int] = []

        def send() -> None:
            for i in range(20):
                statuses.append(client.post("/detect", json={"data": simulated(1, 5, i)[0]}).status_code)

        sending = threading.Thread(target=send)
        sending.start()
        parts = list(forget(service.database, service.stream_id("default"), Retention(records=50)))
        sending.join()
        assert set(statuses) == {200}
        assert max(parts) == 20
        assert 100 <= sum(parts) <= 120


def test_jobs_to_forget_come_once_an_hour_and_do_not_pile_up(tmp_path: Path) -> None:
    with resting(tmp_path) as service:
        for record in usual_ones(service, 10):
            client_of(service).post("/detect", json={"data": record})
        for hour in range(3):
            for _ in range(2):
                with service.database.writing() as connection:
                    queue_forgetting(connection, Retention(records=4))
            work(service.database, tmp_path / "models", "me", Retention(records=4))
            with service.database.reading() as connection:
                rows = connection.execute(select(jobs_table.c.state, jobs_table.c.result)).all()
            assert {row.state for row in rows} == {"done"}
            assert len(rows) <= 2
            assert rows[0].result == ('{"records":6}' if hour < 2 else '{"records":0}')
            age(service, 0.05, jobs_table)
        assert counted(service, records) == 4


def test_a_service_forgets_by_itself(tmp_path: Path) -> None:
    with running(tmp_path) as service:
        (record,) = usual_ones(service, 1)
        for _ in range(30):
            client_of(service).post("/detect", json={"data": record})
        # What is said of the stream comes before what is said of all.
        client_of(service).patch("/v1/streams/default", json={"keep_records": 10})
    with running(tmp_path, retention=Retention(records=20)) as service:
        wait_until(lambda: counted(service, records) == 10)
