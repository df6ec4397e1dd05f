"""Databases of earlier versions: brought to this one with all that is in them, and used."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import orjson
import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from service_example import client_of, hot, model_file, running
from sqlalchemy import Connection, inspect, text

from anomaly_detection.service.access import keys
from anomaly_detection.service.storage import database as module
from anomaly_detection.service.storage.database import Database
from anomaly_detection.service.storage.tables import METADATA

MOMENT = "2026-11-01T08:00:00.000Z"
REASONS = [{"columns": ["temperature"], "share": 1.0, "text": "temperature 95", "feature": "x", "direction": "high"}]
ROWS: dict[str, dict[str, Any]] = {
    "streams": {"name": "cold", "created": MOMENT, "judged": 1, "waiting": 0, "refused": 1, "alerting": 1},
    "models": {"stream_id": 1, "version": 1, "file": "a", "digest": "d", "source": "s", "records": 9},
    "alerts": {
        "stream_id": 1,
        "fingerprint": "f",
        "state": "resolved",
        "verdict": "unusual but right",
        "count": 2,
        "first_seen": MOMENT,
        "last_seen": MOMENT,
        "severity": 60.0,
        "risk_level": "high",
        "decision": -0.1,
        "reason": "It is warm.",
        "contributions": orjson.dumps(REASONS).decode(),
        "record": orjson.dumps(hot()).decode(),
    },
    "records": {"stream_id": 1, "received": MOMENT, "body": "{}", "state": "judged", "alert_id": 1, "model_id": 1},
    "audit": {"at": MOMENT, "who": "ann", "what": "change", "subject": "alert", "subject_id": 1, "after": "{}"},
    "jobs": {"kind": "train", "stream_id": 1, "state": "done", "attempts": 1, "result": '{"version": 1}'},
    "idempotency": {"stream_id": 1, "key": "k", "digest": "d", "answer": b"{}"},
    "keys": {"name": "backend", "digest": keys._digest("ad_known")},
}
MORE = {"streams": {"learn_at": 1000}}


def fill(connection: Connection) -> None:
    """A row of each table that the version has."""
    for table, row in ROWS.items():
        created = {"created": MOMENT} if "created" in _columns(connection, table) else {}
        values = {**created, **row, **MORE.get(table, {})}
        names = ", ".join(values)
        connection.execute(
            text(f"INSERT INTO {table} ({names}) VALUES ({', '.join(f':{name}' for name in values)})"), values
        )


def _columns(connection: Connection, table: str) -> set[str]:
    return {column["name"] for column in inspect(connection).get_columns(table)}


def test_the_versions_are_in_line() -> None:
    config = Config()
    config.set_main_option("script_location", str(module._MIGRATIONS))
    config.set_main_option("path_separator", "os")
    script = ScriptDirectory.from_config(config)
    assert len(script.get_heads()) == 1
    numbers = [each.revision for each in script.walk_revisions()]
    assert numbers == [f"{number:04}" for number in range(len(numbers), 0, -1)]


def test_days_that_were_counted_stand_at_noon(empty: Database) -> None:
    empty.migrate("0010")
    with empty.writing() as connection:
        fill(connection)
        connection.execute(text("INSERT INTO days VALUES (1, '2026-03-02', 7, 2)"))
    empty.migrate()
    with empty.reading() as connection:
        told = connection.execute(text("SELECT quarter, records, alerting FROM quarters")).all()
    assert told == [("2026-03-02T12:00", 7, 2)]


@pytest.mark.parametrize("version", ["0001", "0002", "0003", "0004"])
def test_all_that_an_earlier_version_has_kept_is_there(empty: Database, version: str, tmp_path: Path) -> None:
    empty.migrate(version)
    with empty.writing() as connection:
        fill(connection)
    empty.migrate()
    with empty.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []
        for table in ROWS:
            assert connection.execute(text(f"SELECT count(*) FROM {table}")).scalar() == 1
        owner = keys.owner_of(connection, "ad_known")
        assert owner is not None
        # It may do all that it could.
        assert (owner.name, owner.role, owner.streams) == ("backend", "admin", None)
        url = empty._engine.url.render_as_string(hide_password=False).replace("+psycopg", "")
    (tmp_path / "models").mkdir()
    shutil.copyfile(model_file(), tmp_path / "models" / "a")
    with running(tmp_path, database=url) as service:
        client = client_of(service)
        alert = client.get("/v1/alerts/1").json()
        assert alert["record"] == hot()
        assert alert["stream"] == "cold"
        if version == "0001":
            assert (alert["verdict"], alert["column"]) == ("expected", "temperature")
        assert client.get("/v1/jobs/1").json()["result"] == {"version": 1}
        assert client.get("/v1/records/1").json()["alert_id"] == 1
        assert client.patch("/v1/alerts/1", json={"state": "open"}).json()["history"][0]["who"] == "ann"
        assert client.post("/detect", json={"data": hot(3)}).json()["alert_id"] == 2
        assert client.get("/v1/cases").json()["cases"][0]["alerts"] == 1
