"""Topics of MQTT: acknowledged when they are kept, and what comes again is known."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from mqtt_broker import MqttBroker, broker
from service_example import a_service, client_of, is_problem, model_file, started, wait_until
from topics_example import Reading, consumer_of, ids, kept_in, kill, rows

from anomaly_detection.service.processes.service import Service
from anomaly_detection.service.topics import consuming, mqtt

pytest.importorskip("paho.mqtt")


@pytest.fixture
def made() -> Iterator[MqttBroker]:
    with broker() as one:
        yield one


service = a_service()


@pytest.fixture
def reading(service: Service, made: MqttBroker, request: pytest.FixtureRequest) -> Iterator[Reading]:
    one = Reading(service, made.url, "plant/+/state", request.node.originalname[-50:], topic_column="where")
    yield one
    one.consuming.close()


def test_messages_are_acknowledged_when_they_are_kept(
    reading: Reading, made: MqttBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = rows(9)
    # The session began when the source was made: what comes before anybody reads is not lost.
    for each in sent[:6]:
        made.publish("plant/1/state", each)
    monkeypatch.setattr(consuming, "keep", _killed)
    with pytest.raises(KeyboardInterrupt):
        reading.turn()
    assert made.acknowledged == []
    monkeypatch.undo()
    reading.consuming = reading.begun()
    reading.until(6)
    wait_until(lambda: len(made.acknowledged) == 6)
    for each in sent[6:]:
        made.publish("plant/2/state", each)
    reading.until(9)
    assert reading.ids == ids(sent)
    assert {each["record"]["where"] for each in reading.records} == {"plant/1/state", "plant/2/state"}


def _killed(*_: Any) -> None:
    raise KeyboardInterrupt


def test_what_comes_again_is_one_record_and_the_same_that_comes_anew_is_another(
    reading: Reading, made: MqttBroker
) -> None:
    sent = rows(4, 1)
    reading.turn()
    made.loses_acknowledgements = True
    for each in sent:
        made.publish("plant/1/state", each)
    reading.until(4)
    made.cut()
    made.loses_acknowledgements = False
    while len(made.acknowledged) < 4:
        # The first finds that the connection is gone.
        reading.turn()
    assert reading.ids == ids(sent)
    made.publish("plant/1/state", sent[0])
    reading.until(5)
    assert reading.ids == ids([sent[0], *sent])


def test_what_cannot_be_read_is_told_and_acknowledged(reading: Reading, made: MqttBroker) -> None:
    (good,) = rows(1, 2)
    for each in (b"23.5", good, b""):
        made.publish("plant/1/state", each)
    reading.until(1)
    wait_until(lambda: len(made.acknowledged) == 3)
    assert [each["place"] for each in reading.letters] == ["plant/1/state, packet 1", "plant/1/state, packet 3"]


def test_no_more_than_a_batch_is_read_and_kept_at_a_time(
    reading: Reading, made: MqttBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consuming, "_MOST", 3)
    for each in rows(10, 3):
        made.publish("plant/1/state", each)
    assert max(reading.batches(10)) == 3


def test_messages_that_ask_for_no_acknowledgement_are_taken_and_retained_ones_are_not(
    service: Service, made: MqttBroker
) -> None:
    old, new = rows(2, 4)
    made.retained = [("plant/1/state", old)]
    reading = Reading(service, made.url, "plant/#", "quality", topic_column="")
    reading.turn()
    made.publish("plant/1/state", new, quality=0)
    reading.until(1)
    reading.turn()
    assert reading.ids == ids([new])
    assert made.acknowledged == []
    reading.consuming.close()


def test_a_session_ends_with_its_source(reading: Reading, made: MqttBroker) -> None:
    reading.turn()
    assert list(made.sessions) == [reading.settings["client"]]
    reading.client.delete(f"/v1/sources/{reading.number}")
    reading.consuming.leave()
    wait_until(lambda: made.sessions == {})


def test_a_broker_that_is_away_or_refuses_is_told_and_asked_again(
    service: Service, reading: Reading, made: MqttBroker
) -> None:
    reading.turn()
    made.refuses = True
    made.cut()
    assert reading.turn(2) == [False, False]
    assert "refuses the connection: Not authorized" in reading.source["trouble"]
    made.refuses = False
    assert reading.turn() == [True]
    assert reading.source["trouble"] is None
    away = {"stream": "a", "url": "mqtt://ann:hunter22@127.0.0.1:1", "topic": "a"}
    answer = client_of(service).post("/v1/sources", json=away)
    assert is_problem(answer, 422)
    assert "cannot be reached" in answer.json()["detail"]
    assert "hunter22" not in answer.text
    begun = client_of(service).post("/v1/sources", json={**away, "begin": "newest"})
    assert "begin is for Kafka" in begun.json()["detail"]


def test_a_broker_that_says_nothing_is_told(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    monkeypatch.setattr(mqtt, "_TIMEOUT", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"mqtt://127.0.0.1:{silent.getsockname()[1]}"
        answer = client_of(service).post("/v1/sources", json={"stream": "a", "url": url, "topic": "a"})
    assert is_problem(answer, 422)
    assert "does not answer" in answer.json()["detail"]


@pytest.mark.slow
def test_kills_in_the_middle_lose_nothing_and_double_nothing(made: MqttBroker, tmp_path: Path) -> None:
    sent = rows(3000, 5)
    source = {"stream": "killed", "url": made.url, "topic": "plant/#"}
    options = ("--model", str(model_file()))
    with started(tmp_path, *options) as (process, url):
        assert requests.post(f"{url}/v1/sources", json=source, timeout=30).status_code == 201
        for each in sent[:1500]:
            made.publish("plant/1", each)
        wait_until(lambda: kept_in(tmp_path))
        consumer = consumer_of(process.pid)
        assert consumer is not None
        kill(consumer.pid)
        wait_until(lambda: consumer_of(process.pid) not in (None, consumer))
        wait_until(lambda: len(kept_in(tmp_path)) >= 1000)
        kill(process.pid)
    for each in sent[1500:]:
        made.publish("plant/1", each)
    with started(tmp_path, *options):
        wait_until(lambda: len(kept_in(tmp_path)) >= 3000)
        wait_until(lambda: len(made.acknowledged) >= 3000)
    assert kept_in(tmp_path) == ids(sent)


@contextmanager
def _amqtt(folder: Path) -> Iterator[int]:
    """A broker of somebody else's, which asks for a password; its port."""
    import socket

    import pwdlib
    from amqtt.broker import Broker
    from pwdlib.hashers.argon2 import Argon2Hasher

    logging.getLogger("amqtt").setLevel(logging.CRITICAL)
    passwords = folder / "passwords"
    passwords.write_text(f"ann:{pwdlib.PasswordHash((Argon2Hasher(),)).hash('hunter22')}\n")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    plugin = "amqtt.plugins.authentication.FileAuthPlugin"
    settings = {
        "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}},
        "plugins": {plugin: {"password_file": str(passwords)}},
    }
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def begun() -> Broker:
        one = Broker(settings, loop=loop)
        await one.start()
        return one

    running = asyncio.run_coroutine_threadsafe(begun(), loop).result(30)
    try:
        yield port
    finally:
        asyncio.run_coroutine_threadsafe(running.shutdown(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _publish(port: int, bodies: list[bytes]) -> None:
    import paho.mqtt.client as paho

    client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id="sensor")
    client.username_pw_set("ann", "hunter22")
    client.connect("127.0.0.1", port)
    client.loop_start()
    for each in bodies:
        client.publish("plant/1/state", each, qos=1).wait_for_publish(30)
    client.disconnect()
    client.loop_stop()


def test_with_a_broker_of_somebody_else(service: Service, tmp_path: Path) -> None:
    pytest.importorskip("amqtt")
    sent = rows(6, 6)
    with _amqtt(tmp_path) as port:
        reading = Reading(service, f"mqtt://ann:hunter22@127.0.0.1:{port}", "plant/#", "amqtt")
        assert "hunter22" not in str(reading.source)
        # Nobody reads: the broker keeps them.
        _publish(port, sent[:3])
        reading.until(3)
        _publish(port, [*sent[3:], b"bad"])
        reading.until(6)
        end = time.monotonic() + 30
        while not reading.letters and time.monotonic() < end:
            reading.turn()
        assert reading.ids == ids(sent)
        assert [each["body"] for each in reading.letters] == ["bad"]
        reading.consuming.leave()
        wrong = {"stream": "amqtt", "url": f"mqtt://ann:wrong@127.0.0.1:{port}", "topic": "plant/#"}
        assert is_problem(client_of(service).post("/v1/sources", json=wrong), 422)
