"""The pages of sources and of notifications: what is done there is done by the API, and no secret is shown."""

from __future__ import annotations

import html
import sqlite3
from pathlib import Path

import pytest
from service_example import a_service, hot, model_file, simulated, work_off
from starlette.testclient import TestClient
from test_inbox import page
from topics_example import kafka_broker, rows

from anomaly_detection.service.jobs import jobs
from anomaly_detection.service.processes.service import Service
from anomaly_detection.service.sources.source_book import all_sources
from anomaly_detection.service.sources.watcher import Watcher
from anomaly_detection.service.topics.consuming import Consuming

SCRIPT = "<script>alert(1)</script>"


service = a_service()


def post(client: TestClient, path: str, status: int = 200, **form: str) -> str:
    answer = client.post(path, data=form, headers={"HX-Request": "true"})
    assert answer.status_code == status, answer.text
    return html.unescape(answer.text)


def test_a_folder_is_watched_paused_and_removed(service: Service, client: TestClient, tmp_path: Path) -> None:
    folder = tmp_path / SCRIPT.replace("/", "")
    folder.mkdir()
    assert "There are none." in page(client, "/sources")
    told = post(client, "/sources", do="watch", folder=str(folder), stream="orders", after="move", known="skip")
    assert f"{folder} is watched for the stream orders." in told
    watcher = Watcher(service.database, service.uploads_dir)
    source = client.get("/v1/sources").json()["sources"][0]
    shown = page(client, "/sources")
    assert "<script>alert" not in shown
    assert "only new rows" in shown
    number = str(source["id"])
    assert "is paused" in post(client, "/sources", do="pause", number=number)
    watcher.look()
    assert "goes on" in post(client, "/sources", do="go on", number=number)
    assert "at no more" in post(client, "/sources", do="remove", number=number)
    post(client, "/sources", 400, do="remove", number="x")
    post(client, "/sources", 404, do="remove", number="99")
    post(client, "/sources", 400, do="explode")
    assert "no folder" in post(
        client, "/sources", 422, do="watch", folder="/nowhere", stream="orders", after="move", known="skip"
    )


def test_a_database_is_asked_and_its_password_is_not_shown(client: TestClient, tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / "a.sqlite").close()
    form = {"url": f"sqlite:///{tmp_path}/a.sqlite?token=hunter22", "query": "SELECT 1 AS a", "watermark": "a"}
    told = post(client, "/sources", do="ask", stream="asked", every="60", **form)
    assert "is asked every 60 seconds for the stream asked." in told
    assert "hunter" not in told
    assert "hunter" not in page(client, "/audit")
    post(client, "/sources", 400, do="ask", stream="asked", every="soon", **form)


def test_a_topic_is_read_and_what_could_not_be_is_shown(service: Service, client: TestClient) -> None:
    pytest.importorskip("confluent_kafka")
    with kafka_broker() as broker:
        broker.send("orders", [SCRIPT.encode(), *rows(1)])
        url = broker.url.replace("kafka://", "kafka://ann:hunter22@")
        form = {"url": broker.url, "topic": "orders", "topic_column": ""}
        assert "All could be read." in page(client, "/sources")
        told = post(client, "/sources", do="read", stream="topics", **form)
        assert f"orders of {broker.url} is read for the stream topics." in told
        assert "topic <bdi>orders</bdi>" in page(client, "/sources")
        with service.database.reading() as connection:
            (source,) = (row for row in all_sources(connection) if row["kind"] == "kafka")
        consuming = Consuming(service.database, service.configuration.models_dir, source)
        for _ in range(4):
            assert consuming.turn()
        consuming.close()
        shown = page(client, "/sources")
        assert "The message is no JSON" in shown
        assert "<script>alert" not in shown
        post(client, "/sources", 409, do="read", stream="topics", **form)
        refused = post(client, "/sources", 422, do="read", stream="topics", **{**form, "url": f"{url}?nosuch=1"})
        assert "hunter22" not in refused
        assert "at no more" in post(client, "/sources", do="remove", number=str(source["id"]))


def test_channels_are_added_tested_and_removed(client: TestClient) -> None:
    pytest.importorskip("apprise")
    assert "Nobody is told." in page(client, "/notifications")
    # Nobody listens there.
    url = "json://ann:hunter22@127.0.0.1:1/s3cr3t"
    told = post(
        client, "/notifications", do="add", name=SCRIPT, url=url, min_severity="50", digest_hour="7", zone="UTC"
    )
    assert "is told from now on" in told
    shown = page(client, "/notifications")
    assert "<script>alert" not in shown
    assert "daily at 07:00 UTC, cases of severity 50 or more" in shown
    for text in (told, shown, page(client, "/audit")):
        assert "hunter" not in text
        assert "s3cr3t" not in text
    number = str(client.get("/v1/channels").json()["channels"][0]["id"])
    assert "It could not be sent" in post(client, "/notifications", 502, do="test", number=number)
    assert "links to that address" in post(client, "/notifications", do="address", address="https://a.example/")
    assert client.get("/v1/settings").json()["address"] == "https://a.example"
    post(client, "/notifications", 400, do="address", address="javascript:alert(1)")
    assert "no links" in post(client, "/notifications", do="address", address="")
    post(client, "/notifications", 422, do="add", name="a", url=url, min_severity="", digest_hour="")
    post(client, "/notifications", 404, do="send again", number="99")
    assert "is told no more" in post(client, "/notifications", do="remove", number=number)


def test_a_file_that_is_sent_again_says_how_much_of_it_is_new(service: Service, client: TestClient) -> None:
    sent = simulated(40)
    client.post("/v1/streams/again/records", json=sent)
    client.post(
        "/v1/streams/again/models?promote=true",
        content=model_file().read_bytes(),
        headers={"Content-Type": "application/octet-stream"},
    )
    work_off(service)
    with service.database.writing() as connection:
        for stream_id in jobs.unjudged(connection):
            jobs.add_job(connection, "judge", stream_id)
    work_off(service)
    client.post("/v1/streams/again/records?known=skip", json=[*sent, hot(1)])
    work_off(service)
    shown = page(client, "/start/again")
    assert "This stream already has 40 records of this file: 1 new." in shown
    assert 'href="/?stream=again"' in shown
    assert "How the columns are read" in shown
