"""Queries of databases: rows from a watermark on, each once, and nothing is written there."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import date, datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from service_example import a_service, is_problem, postgresql, work_off
from sqlalchemy import create_engine, text, update
from starlette.testclient import TestClient

from anomaly_detection.data.databases.locations import masked_url
from anomaly_detection.errors import DataError
from anomaly_detection.service.jobs import query_job
from anomaly_detection.service.processes.service import Service
from anomaly_detection.service.sources import querying
from anomaly_detection.service.sources.querying import Position, Query
from anomaly_detection.service.sources.source_book import find_source
from anomaly_detection.service.sources.watcher import Watcher
from anomaly_detection.service.storage.tables import jobs as jobs_table

QUERY = "SELECT id, supplier, price, changed FROM orders -- a comment; it is at the end"


service = a_service(model=None)


@pytest.fixture
def orders(tmp_path: Path) -> Path:
    path = tmp_path / "orders.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE orders (id INTEGER, supplier TEXT, price REAL, changed TEXT)")
        connection.commit()
    add(path, (1, "2026-01-01"), (2, "2026-01-02"))
    return path


def add(path: Path, *rows: tuple[int, str | None]) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executemany("INSERT INTO orders VALUES (?, 'A', 1.5, ?)", rows)
        connection.commit()


def made(client: TestClient, path: Path, stream: str, **more: Any) -> Any:
    said = {"stream": stream, "url": f"sqlite:///{path}", "query": QUERY.replace(";", ","), "watermark": "changed"}
    return client.post("/v1/sources", json={**said, **more})


def poll(service: Service, number: int) -> None:
    with service.database.reading() as connection:
        row = find_source(connection, number)
    Watcher(service.database, service.uploads_dir).look_at(row)
    work_off(service)


def ids(client: TestClient, stream: str) -> list[int]:
    found = client.get("/v1/records", params={"stream": stream, "limit": 500, "sort": "oldest"}).json()["records"]
    return [each["record"]["id"] for each in found]


def test_rows_of_an_equal_watermark_that_come_late_are_taken_once(
    service: Service, client: TestClient, orders: Path
) -> None:
    number = made(client, orders, "late").json()["id"]
    jobs = lambda: len(client.get("/v1/jobs", params={"stream": "late"}).json()["jobs"])  # noqa: E731
    poll(service, number)
    assert ids(client, "late") == [1, 2]
    poll(service, number)
    # Where nothing is new no job is made.
    assert jobs() == 1
    add(orders, (3, "2026-01-02"), (4, None))
    poll(service, number)
    poll(service, number)
    assert ids(client, "late") == [1, 2, 3]
    # Late ones beside newer ones, and one that is the same to the letter as another.
    add(orders, (5, "2026-01-02"), (3, "2026-01-02"), (6, "2026-01-03"))
    poll(service, number)
    assert sorted(ids(client, "late")) == [1, 2, 3, 3, 5, 6]
    # Of what is before the watermark nothing comes any more.
    add(orders, (7, "2026-01-01"))
    poll(service, number)
    assert sorted(ids(client, "late")) == [1, 2, 3, 3, 5, 6]
    assert jobs() == 3


def test_a_worker_that_ends_in_the_middle_loses_and_doubles_nothing(
    service: Service, client: TestClient, orders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(querying, "_AT_ONCE", 2)
    add(orders, *((number, "2026-01-02") for number in range(3, 8)), (8, "2026-01-03"))
    number = made(client, orders, "ends").json()["id"]
    kept, calls = query_job.keep_part, [0]

    def killed(*given: Any) -> Any:
        calls[0] += 1
        if calls[0] in (3, 5):
            raise KeyboardInterrupt
        return kept(*given)

    monkeypatch.setattr(query_job, "keep_part", killed)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            poll(service, number)
        with service.database.writing() as connection:
            connection.execute(update(jobs_table).values(lease_until=0.0))
    work_off(service)
    assert sorted(ids(client, "ends")) == list(range(1, 9))
    poll(service, number)
    assert len(ids(client, "ends")) == 8


def test_nothing_is_written_and_no_secret_is_told(client: TestClient, orders: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="without a semicolon"):
        Query(f"sqlite:///{orders}", "SELECT 1 x); DROP TABLE orders --", "x")
    before = orders.read_bytes()
    for query in ("DELETE FROM orders RETURNING id", "INSERT INTO orders (id) VALUES (9) RETURNING id"):
        with pytest.raises(DataError, match="cannot be asked"):
            Query(f"sqlite:///{orders}", query, "id").check()
    assert orders.read_bytes() == before
    missing = made(client, tmp_path / "none.sqlite", "a")
    assert is_problem(missing, 422)
    assert not (tmp_path / "none.sqlite").exists()
    secret = "postgresql://ann:hunter22@127.0.0.1:1/db?passfile=hunter33"
    refused = client.post("/v1/sources", json={"stream": "a", "url": secret, "query": "SELECT 1", "watermark": "a"})
    assert is_problem(refused, 422)
    assert "hunter" not in refused.text
    assert masked_url(secret) == "postgresql://ann:***@127.0.0.1:1/db?passfile=***"


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"url": "nothing"}, "no URL of a database"),
        ({"url": "sqlite://"}, "is a file"),
        ({"url": "nosuch://host/name"}, "knows no databases of kind 'nosuch'"),
        ({"url": "mssql+pymssql://host/name"}, "pymssql, which is not installed"),
        ({"watermark": "gone"}, "no such column"),
        ({"query": "SELECT x FROM orders"}, "cannot be asked"),
        ({"query": "SELECT x'01' AS changed"}, "of type bytes"),
        ({"after": "move"}, "unknown member"),
    ],
)
def test_what_cannot_be_asked_is_told(client: TestClient, orders: Path, said: dict[str, Any], told: str) -> None:
    answer = made(client, orders, "bad", **said)
    assert is_problem(answer, 400 if "after" in said else 422)
    assert told in answer.json()["detail"]


def test_a_database_that_is_away_is_told_and_asked_again(service: Service, client: TestClient, orders: Path) -> None:
    number = made(client, orders, "away").json()["id"]
    elsewhere = orders.with_name("elsewhere")
    orders.rename(elsewhere)
    poll(service, number)
    assert "cannot be asked: unable to open" in client.get(f"/v1/sources/{number}").json()["trouble"]
    elsewhere.rename(orders)
    poll(service, number)
    assert client.get(f"/v1/sources/{number}").json()["trouble"] is None
    assert ids(client, "away") == [1, 2]
    assert is_problem(client.patch(f"/v1/sources/{number}", json={"after": "move"}), 422)


@pytest.mark.parametrize(
    "value",
    [7, 1.5, "a", Decimal("1.10"), date(2026, 1, 2), datetime(2026, 1, 2, 3, 4, 5, 6), datetime.now(timezone.utc)],
)
def test_positions_are_kept_as_they_are(value: Any) -> None:
    assert Position.of(Position(value, 3).written()) == Position(value, 3)


@pytest.mark.parametrize("value", [True, float("nan"), b"a", None])
def test_other_positions_are_refused(value: Any) -> None:
    with pytest.raises(DataError, match="watermark"):
        Position(value, 1).written()


@pytest.mark.slow
def test_postgresql_is_asked_without_writing(service: Service, client: TestClient) -> None:
    with postgresql() as url:
        engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE orders (id int, price numeric, at timestamptz, day date)"))
            connection.execute(text("INSERT INTO orders SELECT i, i / 4.0, now(), now() FROM generate_series(1, 5) i"))
            connection.execute(
                text("CREATE FUNCTION hit() RETURNS int LANGUAGE sql AS 'DELETE FROM orders RETURNING id'")
            )
        for column in ("id", "price", "at", "day"):
            said = {"stream": column, "url": url, "query": "SELECT *, '10:30 %' AS c FROM orders", "watermark": column}
            answer = client.post("/v1/sources", json=said)
            assert answer.status_code == 201, answer.text
            poll(service, answer.json()["id"])
            poll(service, answer.json()["id"])
            assert sorted(ids(client, column)) == [1, 2, 3, 4, 5]
            assert len(client.get("/v1/jobs", params={"stream": column}).json()["jobs"]) == 1
        said = {"stream": "a", "url": url, "query": "SELECT hit() AS a", "watermark": "a"}
        assert "read-only transaction" in client.post("/v1/sources", json=said).json()["detail"]
        engine.dispose()
