"""The database: brought to this version, written by one thread, whole when the disk is full."""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from service_example import client_of, hot, running, simulated
from sqlalchemy import Connection, insert, select, text
from sqlalchemy.exc import IntegrityError

from anomaly_detection.errors import DataError
from anomaly_detection.service.access.keys import add_key, list_keys, remove_key
from anomaly_detection.service.alerts.alert_book import ALERTS
from anomaly_detection.service.jobs.jobs import find_job
from anomaly_detection.service.learning.models import current_models
from anomaly_detection.service.processes.configuration import database_url
from anomaly_detection.service.storage.database import Database, FullError
from anomaly_detection.service.storage.tables import METADATA, keys
from anomaly_detection.service.storage.writer import Writer


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Database]:
    """SQLite's."""
    made = Database(database_url(tmp_path))
    made.migrate()
    yield made
    made.close()


def names(database: Database) -> list[str]:
    with database.reading() as connection:
        return [each["name"] for each in list_keys(connection)]


def test_the_migrations_make_the_tables_that_the_code_knows(database: Database) -> None:
    with database.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []


VERDICTS = {"error": "real: fixed", "unusual but right": "expected", "no error": "false alarm"}


def test_a_database_of_the_first_version_comes_up_with_what_is_in_it(empty: Database) -> None:
    empty.migrate("0001")
    stream = {"id": 1, "name": "default", "created": "2026", "learn_at": 10}
    counts = dict.fromkeys(("judged", "waiting", "refused", "alerting"), 3)
    model = {"stream_id": 1, "file": "f", "digest": "d", "source": "s", "records": 0, "created": "2026"}
    seen = {"first_seen": "2026", "last_seen": "2026", "severity": 60.0, "risk_level": "high", "decision": -0.1}
    alert = {**seen, "stream_id": 1, "state": "resolved", "count": 1, "reason": "r", "record": "{}"}
    reasons = '[{"columns": ["lead_time", "mode"]}]'
    with empty.writing() as connection:
        put(connection, "streams", {**stream, **counts})
        for version in (1, 2):
            put(connection, "models", {**model, "version": version})
        for verdict in VERDICTS:
            put(connection, "alerts", {**alert, "fingerprint": verdict, "verdict": verdict, "contributions": reasons})
        put(connection, "alerts", {**alert, "fingerprint": "none", "contributions": "[]"})
        put(connection, "jobs", {"kind": "train", "stream_id": 1, "state": "done", "attempts": 1, "created": "2026"})
    empty.migrate()
    with empty.reading() as connection:
        assert current_models(connection)[1]["version"] == 2
        page, _ = ALERTS.page(
            connection, {**dict.fromkeys(each.name for each in ALERTS.parameters), "sort": "oldest"}, 9
        )
        assert [each["verdict"] for each in page] == [*VERDICTS.values(), None]
        assert [each["column"] for each in page] == ["lead_time"] * 3 + [""]
        job = find_job(connection, 1)
        assert job is not None
        assert (job["done"], job["total"], job["input"]) == (0, None, None)


def put(connection: Connection, table: str, row: dict[str, Any]) -> None:
    names = ", ".join(row)
    connection.execute(text(f"INSERT INTO {table} ({names}) VALUES ({', '.join(f':{name}' for name in row)})"), row)


def test_migrating_again_changes_nothing(database: Database) -> None:
    with database.writing() as connection:
        add_key(connection, "a")
    database.migrate()
    assert names(database) == ["a"]


def test_how_sqlite_is_set(file: Database) -> None:
    with file.reading() as connection:
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        assert connection.execute(text("PRAGMA synchronous")).scalar() == 2
        assert connection.execute(text("PRAGMA busy_timeout")).scalar() == 5000
        assert connection.execute(text("PRAGMA foreign_keys")).scalar() == 1


def test_a_file_that_is_no_database_and_one_of_a_newer_version(tmp_path: Path, file: Database) -> None:
    (tmp_path / "odd").write_text("this is no database, and long enough to be looked at " * 20)
    with pytest.raises(DataError, match="not a database"):
        Database(f"sqlite:///{tmp_path / 'odd'}").migrate()
    with file.writing() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(DataError, match="newer version"):
        file.migrate()


@pytest.mark.parametrize("url", ["nonsense", "mysql://localhost/a", "sqlite://", "sqlite:///:memory:"])
def test_other_databases_are_refused(url: str) -> None:
    with pytest.raises(DataError, match="sqlite:///FILE"):
        Database(url)


def test_a_transaction_is_kept_as_a_whole_or_not_at_all(database: Database) -> None:
    with pytest.raises(DataError, match="no key"), database.writing() as connection:
        remove_key(connection, add_key(connection, "a"))
    assert names(database) == []


def test_works_share_transactions_and_none_fails_for_anothers_sake(database: Database) -> None:
    writer = Writer(database)
    begun, hold = threading.Event(), threading.Event()

    def slow(connection: Connection) -> None:
        begun.set()
        hold.wait(10)

    def fails(connection: Connection) -> None:
        add_key(connection, "undone")
        raise ZeroDivisionError

    found: dict[str, Any] = {}

    def run(name: str, work: Any) -> None:
        try:
            found[name] = writer.run(work)
        except ZeroDivisionError as error:
            found[name] = error

    works = {f"k{i}": partial(add_key, name=f"k{i}") for i in range(5)}
    threads = [threading.Thread(target=run, args=("slow", slow))]
    threads[0].start()
    assert begun.wait(10)
    for name, work in {**works, "fails": fails}.items():
        threads.append(threading.Thread(target=run, args=(name, work)))
        threads[-1].start()
    while writer.waiting < 6:
        pass
    hold.set()
    for thread in threads:
        thread.join()
    assert isinstance(found["fails"], ZeroDivisionError)
    assert sorted(names(database)) == sorted(works)
    assert all(found[name].startswith("ad_") for name in works)
    writer.close()


def test_a_server_that_is_not_there_is_told_without_the_password() -> None:
    database = Database("postgresql://ann:secret@127.0.0.1:1/none")
    with pytest.raises(DataError, match=r"ann:\*\*\*@127\.0\.0\.1:1/none cannot be used") as told:
        database.migrate()
    assert "secret" not in str(told.value)
    database.close()


def test_an_error_names_no_values(database: Database) -> None:
    """What a log says of one holds neither records nor digests."""
    row = {"name": "a", "digest": "0123456789abcdef", "created": "now"}
    with pytest.raises(IntegrityError) as told, database.writing() as connection:
        connection.execute(insert(keys), [row, {**row, "name": "b"}])
    assert row["digest"] not in str(told.value).replace("Key (digest)=(0123456789abcdef)", "")


def test_writers_of_one_database_take_turns(database: Database) -> None:
    """Each sees what the other wrote, also from other processes: else two would open one alert."""

    def add(place: int) -> None:
        for _ in range(10):
            with database.writing() as connection:
                add_key(connection, f"k{len(list_keys(connection))}")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add, range(4)))
    assert sorted(names(database)) == sorted(f"k{number}" for number in range(40))


@contextmanager
def limited(writing: Any, is_full: bool) -> Iterator[Connection]:
    """A transaction on a disk that is full, or no longer."""
    with writing() as connection:
        pages = 1 if is_full else 1_000_000
        # SQLite takes no less than there is.
        connection.execute(text(f"PRAGMA max_page_count = {pages}"))
        if is_full:
            # What is free within the file's last pages is taken first.
            connection.execute(text("CREATE TABLE filling (a)"))
            connection.execute(text("INSERT INTO filling VALUES (zeroblob(100000))"))
        yield connection


def test_a_full_disk_is_told_and_what_was_there_stays(file: Database) -> None:
    with file.writing() as connection:
        add_key(connection, "before")
    rows = [{"name": f"{i}" * 20, "digest": f"{i:064}", "created": "now"} for i in range(1000)]
    with pytest.raises(FullError), limited(file.writing, True) as connection:
        connection.execute(insert(keys), rows)
    assert names(file) == ["before"]
    with limited(file.writing, False) as connection:
        connection.execute(insert(keys), rows)
        assert len(connection.execute(select(keys)).all()) == 1001


def without_room(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_service_on_a_full_disk_answers_507_and_goes_on_when_there_is_room(tmp_path: Path, monkeypatch: Any) -> None:
    with running(tmp_path) as service:
        client = client_of(service)
        monkeypatch.setattr(service.database, "writing", partial(limited, service.database.writing, True))
        first = client.post("/detect", json={"data": hot(1)})
        assert first.status_code == 507
        assert "full" in first.json()["error"]
        second = client.post("/v1/streams/default/records", json=simulated(50))
        assert (second.status_code, second.json()["title"]) == (507, "Insufficient Storage")
        assert client.get("/health").status_code == 200
        monkeypatch.undo()
        monkeypatch.setattr("os.fsync", without_room)
        third = client.post("/v1/streams/default/records", json=simulated(1), headers={"Prefer": "respond-async"})
        assert (third.status_code, third.json()["title"]) == (507, "Insufficient Storage")
        assert list(service.uploads_dir.iterdir()) == []
        monkeypatch.undo()
        with limited(service.database.writing, False):
            pass
        assert client.post("/detect", json={"data": hot(1)}).status_code == 200
        (stream,) = client.get("/status").json()["streams"]
        assert (stream["judged"], stream["alerting"]) == (1, 1)
