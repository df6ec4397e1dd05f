"""Topics of Kafka: each message once, whatever ends whoever takes it, and none that cannot be read blocks others."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import requests
from service_example import (
    BOTH,
    a_service,
    client_of,
    hot,
    is_problem,
    model_file,
    on,
    resting,
    started,
    wait_until,
    work_off,
)
from sqlalchemy import select, update
from topics_example import KafkaBroker, Reading, consumer_of, ids, kafka_broker, kept_in, kill, rows

from anomaly_detection.service.processes.service import Service
from anomaly_detection.service.records.incoming import Incoming
from anomaly_detection.service.records.judging import Judge
from anomaly_detection.service.records.retention import Retention, forget
from anomaly_detection.service.storage import tables
from anomaly_detection.service.topics import consuming, letters
from anomaly_detection.service.topics.address import Address, masked_broker
from anomaly_detection.service.topics.kafka import KafkaTopic
from anomaly_detection.service.topics.message import MOST_BYTES

pytest.importorskip("confluent_kafka")


@pytest.fixture(scope="module")
def broker() -> Iterator[KafkaBroker]:
    with kafka_broker() as made:
        yield made


service = a_service()


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """Of a topic and a stream that only this test has."""
    return str(request.node.originalname)[-50:]


@pytest.mark.parametrize("kind", BOTH)
def test_messages_are_kept_once_and_committed_when_they_are(
    kind: str, broker: KafkaBroker, name: str, tmp_path: Path
) -> None:
    sent = rows(40)
    topic = f"{name}-{kind}"
    broker.send(topic, sent[:30])
    with on(kind, resting, tmp_path) as service:
        reading = Reading(service, broker.url, topic, "orders", topic_column="from")
        assert broker.committed(topic, "anomaly-detection-orders") == {}
        reading.until(30)
        assert reading.ids == ids(sent[:30])
        assert {each["record"]["from"] for each in reading.records} == {topic}
        broker.send(topic, sent[30:])
        reading.until(40)
        assert sum(broker.committed(topic, "anomaly-detection-orders").values()) == 40
        # Nothing comes twice, neither to this one nor to one that begins.
        reading.turn()
        reading.consuming.close()
        reading.consuming = reading.begun()
        reading.turn(2)
        assert reading.ids == ids(sent)
        assert reading.source["trouble"] is None


def test_what_a_stream_has_a_model_for_is_judged(service: Service, broker: KafkaBroker, name: str) -> None:
    broker.send(name, [*rows(5, 1), orjson.dumps(hot(7))])
    reading = Reading(service, broker.url, name, "default")
    before = len(reading.ids)
    reading.until(before + 6)
    found = {each["record"]["transaction_id"]: each for each in reading.records}
    assert found["HOT-7"]["is_alert"] is True
    judge = service.judge("default")
    assert judge is not None
    assert found["HOT-7"]["score"] == judge.judge([Incoming(hot(7))]).scores[0]


def test_what_cannot_be_read_is_told_with_its_reason_and_blocks_nothing(
    service: Service, broker: KafkaBroker, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep: Any = 1
    for _ in range(40):
        deep = {"a": deep}
    bad = [
        b"{broken",
        b"[1]",
        None,
        b"7",
        b"{}",
        b"\xff\x00",
        b'{"a": "' + b"x" * MOST_BYTES + b'"}',
        orjson.dumps({"a": deep}),
    ]
    good = rows(6, 2)
    broker.send(name, [*good[:3], *bad, *good[3:]])
    reading = Reading(service, broker.url, name, name)
    reading.until(6)
    reading.turn()
    assert reading.ids == ids(good)
    told = {each["reason"] for each in reading.letters}
    assert len(reading.letters) == len(bad)
    for words in ("is no JSON", "one object", "is empty", "holds no field", "at most 1,048,576", "nested more than"):
        assert any(words in each for each in told), words
    assert f"{name}, partition 3, offset 0" in [each["place"] for each in reading.letters]
    assert {each["body"] for each in reading.letters} >= {"{broken", "[1]", "", "\\xff\\x00"}
    page = client_of(service).get("/sources").text
    assert "is no JSON" in page
    # They are as many as are kept of a source, the newest.
    monkeypatch.setattr(letters, "MOST_LETTERS", 3)
    broker.send(name, [b"late"])
    reading.turn(2)
    assert [each["body"] for each in reading.letters][-1] == "late"
    assert len(reading.letters) == 3


@pytest.mark.parametrize("step", ["keep", "write_marks", "settle"])
def test_one_that_ends_at_any_step_loses_and_doubles_nothing(
    step: str, service: Service, broker: KafkaBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent, topic = rows(30, 3), f"ends-{step}"
    broker.send(topic, sent)
    reading = Reading(service, broker.url, topic, topic)
    home = KafkaTopic if step == "settle" else consuming
    monkeypatch.setattr(consuming, "_MOST", 7)
    usual, calls = getattr(home, step), [0]

    def killed(*given: Any) -> Any:
        calls[0] += 1
        # The first marks are those of the beginning.
        if calls[0] in (2, 3):
            raise KeyboardInterrupt
        return usual(*given)

    monkeypatch.setattr(home, step, killed)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            reading.turn(3)
        committed = sum(broker.committed(topic, f"anomaly-detection-{topic}").values())
        assert committed <= len(reading.ids)
        reading.consuming = reading.begun()
    reading.until(30)
    reading.turn(2)
    assert reading.ids == ids(sent)


def test_no_more_than_a_batch_is_in_hand(
    service: Service, broker: KafkaBroker, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consuming, "_MOST", 4)
    broker.send(name, rows(30, 4))
    reading = Reading(service, broker.url, name, name)
    assert max(reading.batches(30)) == 4


def test_two_at_a_time_take_each_message_once(
    service: Service, broker: KafkaBroker, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = rows(20, 5)
    broker.send(name, sent)
    reading = Reading(service, broker.url, name, name)
    usual = consuming._judged

    def slowly(*given: Any) -> Any:
        # While the one judges, the other takes the same.
        monkeypatch.setattr(consuming, "_judged", usual)
        reading.until(20)
        return usual(*given)

    monkeypatch.setattr(consuming, "_judged", slowly)
    other = reading.begun()
    assert [other.turn() for _ in range(3)] == [True] * 3
    assert reading.ids == ids(sent)
    other.close()


def test_a_record_that_cannot_even_be_judged_is_refused_and_blocks_nothing(
    service: Service, broker: KafkaBroker, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker.send(name, rows(6, 6))
    usual = Judge.judge

    def fails(judge: Judge, records: Any) -> Any:
        if any(each.fields["transaction_id"].endswith("3") for each in records):
            raise ZeroDivisionError
        return usual(judge, records)

    monkeypatch.setattr(Judge, "judge", fails)
    reading = Reading(service, broker.url, name, "default")
    before = len(reading.ids)
    reading.until(before + 6)
    newest = {each["record"]["transaction_id"]: each for each in reading.records[before:]}
    assert newest["TX-6-000003"]["state"] == "refused"
    assert newest["TX-6-000003"]["error"] == "Judging it failed: ZeroDivisionError."
    assert [each["state"] for each in newest.values()].count("judged") == 5


def test_messages_that_are_gone_are_told_and_a_topic_that_was_made_anew_is_not_mistaken(
    service: Service, broker: KafkaBroker, name: str
) -> None:
    sent = rows(20, 7)
    broker.send(name, sent)
    reading = Reading(service, broker.url, name, name)
    reading.until(20)
    reading.consuming.close()
    with service.database.writing() as connection:
        consuming.write_marks(connection, reading.number, {1: "900"})
    assert reading.turn(1) == [False]
    assert "was made anew" in reading.source["trouble"]
    assert len(reading.ids) == 20
    with service.database.writing() as connection:
        consuming.write_marks(connection, reading.number, {1: "5"})
    assert reading.turn(1) == [True]
    assert reading.source["trouble"] is None


def test_what_was_deleted_before_it_was_taken_is_told(service: Service, broker: KafkaBroker, name: str) -> None:
    import confluent_kafka

    class Late(confluent_kafka.Consumer):
        """Of a broker that has deleted the first three messages of each partition."""

        def get_watermark_offsets(self, *given: Any, **more: Any) -> tuple[int, int]:
            return 3, super().get_watermark_offsets(*given, **more)[1]

    broker.send(name, rows(20, 8))
    topic = KafkaTopic(Address.of(broker.url), name, "late", newest=False)
    topic._kafka = type("Module", (), {**vars(confluent_kafka), "Consumer": Late})
    begun, told = topic.open({0: "1", 1: "4"})
    topic.close()
    assert begun == {0: "3", 2: "3", 3: "3"}
    assert [each.place for each in told] == [f"{name}, partition 0, offsets 1 to 2"]


def test_the_newest_are_those_that_come_from_now_on(service: Service, broker: KafkaBroker, name: str) -> None:
    broker.send(name, rows(8, 9))
    reading = Reading(service, broker.url, name, name, begin="newest")
    reading.turn()
    reading.consuming.close()
    late = rows(8, 10)
    broker.send(name, late)
    reading.consuming = reading.begun()
    reading.until(8)
    assert reading.ids == ids(late)


def test_a_source_that_is_made_again_goes_on_where_its_group_was(
    service: Service, broker: KafkaBroker, name: str
) -> None:
    sent = rows(16, 11)
    broker.send(name, sent[:8])
    reading = Reading(service, broker.url, name, name)
    reading.until(8)
    reading.consuming.leave()
    assert reading.client.delete(f"/v1/sources/{reading.number}").status_code == 200
    # Of one that is gone nothing is kept.
    reading.consuming = Reading(service, broker.url, name, name).consuming
    broker.send(name, sent[8:])
    reading.until(16)
    assert reading.ids == ids(sent)


def test_one_that_is_paused_or_removed_takes_nothing(service: Service, broker: KafkaBroker, name: str) -> None:
    broker.send(name, rows(8, 12))
    reading = Reading(service, broker.url, name, name)
    path = f"/v1/sources/{reading.number}"
    assert reading.client.patch(path, json={"paused": True}).json()["paused"] is True
    reading.turn(2)
    assert reading.ids == []
    assert is_problem(reading.client.patch(path, json={"every": 9}), 422)
    reading.client.patch(path, json={"paused": False})
    reading.until(8)
    broker.send(name, [*rows(4, 13), b"bad"])
    reading.client.delete(path)
    reading.turn(2)
    assert len(reading.ids) == 8


def test_what_could_not_be_read_goes_when_records_do_and_all_of_a_stream_with_it(
    service: Service, broker: KafkaBroker, name: str
) -> None:
    broker.send(name, [*rows(2, 16), b"old", b"new"])
    reading = Reading(service, broker.url, name, "gone")
    reading.until(2)
    reading.turn()
    reading.consuming.close()
    old = next(each["id"] for each in reading.letters if each["body"] == "old")
    with service.database.writing() as connection:
        connection.execute(update(tables.letters).where(tables.letters.c.id == old).values(created="2020-01-01"))
        stream_id = connection.execute(select(tables.sources.c.stream_id).where(tables.sources.c.id == reading.number))
        number = stream_id.scalar_one()
    list(forget(service.database, number, Retention(days=30)))
    assert [each["body"] for each in reading.letters] == ["new"]
    assert reading.client.delete("/v1/streams/gone?confirm=gone").status_code == 202
    work_off(service)
    with service.database.reading() as connection:
        for table in (tables.sources, tables.letters):
            assert connection.execute(select(table).where(table.c.stream_id == number)).all() == []
        assert connection.execute(select(tables.marks).where(tables.marks.c.source_id == reading.number)).all() == []


def test_a_broker_that_is_away_is_told_without_secrets_and_asked_again(
    service: Service, broker: KafkaBroker, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from anomaly_detection.service.topics import kafka

    monkeypatch.setattr(kafka, "_TIMEOUT", 0.5)
    client = client_of(service)
    made = {"stream": name, "url": "kafka://ann:hunter22@127.0.0.1:1", "topic": name}
    refused = client.post("/v1/sources", json=made)
    assert is_problem(refused, 422)
    assert "hunter22" not in refused.text
    broker.send(name, rows(4, 14))
    reading = Reading(service, broker.url, name, name)
    elsewhere = Address.of("kafka://127.0.0.1:1")
    reading.consuming._topic = KafkaTopic(elsewhere, name, "g", newest=False)
    assert reading.turn() == [False]
    assert "Kafka at 127.0.0.1:1 does not give" in reading.source["trouble"]
    reading.consuming._topic = None
    reading.until(4)
    assert reading.source["trouble"] is None
    assert is_problem(client.post("/v1/sources", json={"stream": name, "url": broker.url, "topic": name}), 409)


@pytest.mark.parametrize(
    ("url", "topic", "told"),
    [
        ("kafka://", "a", "names no host"),
        ("kafka://host:port", "a", "no HOST:PORT"),
        ("kafka://ann:half#half@host", "a", "ends with its port"),
        ("kafka://host:1/a", "a", "give the topic by itself"),
        ("kafka://host?plugin.library.paths=/x", "a", "no option 'plugin.library.paths'"),
        ("kafka://host?mechanism=GSSAPI", "a", "one of PLAIN"),
        ("kafka://host?ca", "a", "cannot be read"),
        ("http://host", "a", "no URL of a broker"),
        ("kafka://host", "a/b", "no topic of Kafka"),
        ("mqtt://a,b", "a", "one host"),
        ("mqtt://host?group=a", "a", "no option 'group'"),
        ("mqtt://host", "a/#/b", "no topic of MQTT"),
        ("mqtt://host", "a/b+", "no topic of MQTT"),
    ],
)
def test_a_broker_or_topic_that_is_none_is_told(service: Service, url: str, topic: str, told: str) -> None:
    answer = client_of(service).post("/v1/sources", json={"stream": "bad", "url": url, "topic": topic})
    assert is_problem(answer, 422)
    assert told in answer.json()["detail"]


def test_the_password_of_a_broker_is_not_shown() -> None:
    url = "kafkas://ann:p%40ss@one:9093,[::1]?mechanism=SCRAM-SHA-256"
    address = Address.of(url)
    assert (address.user, address.password, address.encrypted) == ("ann", "p@ss", True)
    assert address.servers == "one:9093,[::1]:9093"
    assert "p@ss" not in repr(address)
    assert masked_broker(url) == "kafkas://ann:***@one:9093,[::1]:9093?mechanism=SCRAM-SHA-256"


@pytest.mark.parametrize(("module", "url"), [("confluent_kafka", "kafka://host"), ("paho.mqtt.client", "mqtt://host")])
def test_a_client_that_is_not_installed_is_named(
    service: Service, module: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    answer = client_of(service).post("/v1/sources", json={"stream": "bad", "url": url, "topic": "a"})
    assert is_problem(answer, 422)
    assert "pip install 'mlx-iforest[" in answer.json()["detail"]


@pytest.mark.slow
def test_kills_in_the_middle_lose_nothing_and_double_nothing(broker: KafkaBroker, name: str, tmp_path: Path) -> None:
    """Of the process that takes messages, and of the service, while messages come."""
    sent = rows(3000, 15)
    source = {"stream": "killed", "url": broker.url, "topic": name}
    broker.send(name, [sent[0], b"bad"])
    options = ("--model", str(model_file()))
    with started(tmp_path, *options) as (process, url):
        assert requests.post(f"{url}/v1/sources", json=source, timeout=30).status_code == 201
        broker.send(name, sent[1:1500])
        wait_until(lambda: kept_in(tmp_path))
        consumer = consumer_of(process.pid)
        assert consumer is not None
        kill(consumer.pid)
        wait_until(lambda: consumer_of(process.pid) not in (None, consumer))
        wait_until(lambda: len(kept_in(tmp_path)) >= 1000)
        kill(process.pid)
    broker.send(name, sent[1500:])
    with started(tmp_path, *options) as (_, url):
        wait_until(lambda: len(kept_in(tmp_path)) >= 3000)
        assert kept_in(tmp_path) == ids(sent)
        told = requests.get(f"{url}/v1/letters", timeout=30).json()["letters"]
        assert [each["body"] for each in told] == ["bad"]
    assert kept_in(tmp_path) == ids(sent)
