"""A broker of Kafka in this process, and what takes the messages of a source, turn by turn, for the tests of topics."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import psutil
from service_example import client_of, simulated

from anomaly_detection.service.processes.service import Service
from anomaly_detection.service.sources.source_book import find_source
from anomaly_detection.service.topics.consuming import Consuming

__all__ = ["KafkaBroker", "Reading", "consumer_of", "ids", "kafka_broker", "kept_in", "kill", "rows"]


class KafkaBroker:
    """The mock cluster that confluent-kafka brings: it lives as long as its producer."""

    def __init__(self, partitions: int = 4) -> None:
        import confluent_kafka

        self._kafka: Any = confluent_kafka
        self._producer = confluent_kafka.Producer(
            {
                "test.mock.num.brokers": 1,
                "bootstrap.servers": "none:1",
                "message.max.bytes": 2_000_000,
                "log_level": 0,
            }
        )
        self.partitions = partitions
        found = self._producer.list_topics(timeout=30).brokers.values()
        self.url = "kafka://" + ",".join(f"{each.host}:{each.port}" for each in found)

    def send(self, topic: str, bodies: Sequence[bytes | None]) -> None:
        for place, body in enumerate(bodies):
            self._producer.produce(topic, body, partition=place % self.partitions)
        assert self._producer.flush(30) == 0

    def committed(self, topic: str, group: str) -> dict[int, int]:
        consumer = self._kafka.Consumer(
            {"bootstrap.servers": self.url.partition("://")[2], "group.id": group, "log_level": 0}
        )
        asked = [self._kafka.TopicPartition(topic, each) for each in range(self.partitions)]
        found = {each.partition: each.offset for each in consumer.committed(asked, timeout=30)}
        consumer.close()
        return {partition: offset for partition, offset in found.items() if offset >= 0}


@contextmanager
def kafka_broker() -> Iterator[KafkaBroker]:
    """One, until the block ends: nothing else may hold it."""
    made = KafkaBroker()
    yield made


class Reading:
    """A source of a service that rests, read turn by turn in this process."""

    def __init__(self, service: Service, url: str, topic: str, stream: str, **more: Any) -> None:
        self.service, self.stream, self.client = service, stream, client_of(service)
        answer = self.client.post("/v1/sources", json={"stream": stream, "url": url, "topic": topic, **more})
        assert answer.status_code == 201, answer.text
        self.number: int = answer.json()["id"]
        self.settings: dict[str, Any] = answer.json()["settings"]
        self.consuming = self.begun()

    def begun(self) -> Consuming:
        """Another one that takes the same source, as a process that begins does."""
        with self.service.database.reading() as connection:
            source = find_source(connection, self.number)
        return Consuming(self.service.database, self.service.configuration.models_dir, source)

    def turn(self, times: int = 1) -> list[bool]:
        return [self.consuming.turn() for _ in range(times)]

    def until(self, count: int) -> None:
        """Take turns until so many records are kept."""
        for _ in range(100):
            if len(self.ids) >= count:
                return
            self.consuming.turn()
        raise AssertionError(f"{len(self.ids)} of {count} came: {self.source['trouble']}")

    def batches(self, count: int) -> list[int]:
        """Take turns until so many records are kept; how many each kept."""
        sizes: list[int] = []
        while sum(sizes) < count:
            before = len(self.ids)
            self.turn()
            sizes.append(len(self.ids) - before)
        return sizes

    @property
    def source(self) -> dict[str, Any]:
        found: dict[str, Any] = self.client.get(f"/v1/sources/{self.number}").json()
        return found

    @property
    def records(self) -> list[dict[str, Any]]:
        asked = {"stream": self.stream, "limit": 500, "sort": "oldest"}
        return list(self.client.get("/v1/records", params=asked).json()["records"])

    @property
    def ids(self) -> list[str]:
        return sorted(each["record"]["transaction_id"] for each in self.records)

    @property
    def letters(self) -> list[dict[str, Any]]:
        asked = {"source": self.number, "sort": "oldest"}
        return list(self.client.get("/v1/letters", params=asked).json()["letters"])


def rows(count: int, seed: int = 0) -> list[bytes]:
    """Records of the simulator as messages."""
    return [orjson.dumps(each) for each in simulated(count, seed)]


def ids(sent: Sequence[bytes]) -> list[str]:
    """What the sender calls the records of messages, in order."""
    return sorted(orjson.loads(each)["transaction_id"] for each in sent)


def consumer_of(process: int) -> psutil.Process | None:
    """The process beside a service that takes messages."""
    for each in psutil.Process(process).children():
        try:
            if "anomaly_detection.service.topics.consumer" in each.cmdline():
                return each
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    return None


def kill(process: int) -> None:
    """As -9 does."""
    os.kill(process, signal.SIGKILL)


def kept_in(folder: Path) -> list[str]:
    """The ids of all records of a service's database."""
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(folder / "service.sqlite", timeout=30)) as database:
        found = database.execute("SELECT body FROM records").fetchall()
    return ids([body for (body,) in found])
