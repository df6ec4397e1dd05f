"""`KafkaTopic`: a topic of Kafka, read partition by partition from the offsets that the database has."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from anomaly_detection.errors import DataError
from anomaly_detection.service.topics.address import Address
from anomaly_detection.service.topics.message import Letter, Message

__all__ = ["KafkaTopic"]

_TIMEOUT = 10.0
_MOMENT = 0.02
"""Seconds for which a batch waits for more once it has its first message."""

_NEW_PARTITIONS = 60.0
_AHEAD = 1000
"""Messages of a partition that are fetched before they are asked for."""

_AHEAD_KB = 16 * 1024


class KafkaTopic:
    """A topic of Kafka.

    The database says where each partition goes on, so no group shares out partitions and none is rebalanced. What is
    committed to the group is for those who look there how far behind this is, and for a source that is made again.

    Parameters
    ----------
    address : Address
    topic : str
    group : str
        Where the address names no other.
    newest : bool
        Whether a partition that neither the database nor the group knows begins with what comes from now on.

    Raises
    ------
    DataError
        Where confluent-kafka is not installed.
    """

    def __init__(self, address: Address, topic: str, group: str, newest: bool) -> None:
        try:
            import confluent_kafka
        except ModuleNotFoundError as error:
            raise DataError(
                "Kafka needs confluent-kafka, which is not installed; run pip install 'mlx-iforest[kafka]'."
            ) from error
        self._kafka: Any = confluent_kafka
        self._address, self._topic, self._newest = address, topic, newest
        self._group = address.options.get("group", group)
        self._consumer: Any = None
        self._trouble = ""
        self._look_at = 0.0
        self._partitions: set[int] = set()

    def open(self, marks: Mapping[int, str]) -> tuple[dict[int, str], list[Letter]]:
        """Connect; a partition goes on after its mark, else where the group was, else where it is to begin."""
        self.close()
        self._trouble = ""
        try:
            self._consumer = self._kafka.Consumer(self._configuration())
            self._partitions = self._found()
            committed = self._committed([each for each in self._partitions if each not in marks])
            starts, new, letters = [], {}, []
            for partition in sorted(self._partitions):
                low, high = self._consumer.get_watermark_offsets(self._at(partition), timeout=_TIMEOUT)
                known = int(marks[partition]) if partition in marks else committed.get(partition)
                start = (high if self._newest else low) if known is None else known
                if start > high:
                    raise DataError(
                        f"Partition {partition} of {self._topic} ends at offset {high}, and all before {start} was"
                        " taken: it was made anew. Remove this source, and make it again with another group in its URL."
                    )
                if start < low:
                    place = f"{self._topic}, partition {partition}, offsets {start} to {low - 1}"
                    letters.append(Letter(place, "The broker deleted these messages before they were taken."))
                    start = low
                if str(start) != marks.get(partition):
                    new[partition] = str(start)
                starts.append(self._at(partition, start))
            self._consumer.assign(starts)
        except self._kafka.KafkaException as error:
            raise self._explained(error.args[0]) from error
        self._look_at = time.monotonic() + _NEW_PARTITIONS
        return new, letters

    def batch(self, most: int, seconds: float) -> list[Message]:
        """At most so many messages, in the order of each partition; `DataError` where the broker does not give them."""
        if time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + _NEW_PARTITIONS
            if self._found() != self._partitions:
                raise DataError(f"{self._topic} has other partitions than before.")
        first = self._consumer.poll(seconds)
        if first is None:
            if self._trouble:
                raise DataError(self._trouble)
            return []
        self._trouble = ""
        found = [first, *self._consumer.consume(most - 1, timeout=_MOMENT)]
        wrong = next((each.error() for each in found if each.error() is not None), None)
        if wrong is not None:
            raise self._explained(wrong)
        return [_message(each) for each in found]

    def is_new(self, message: Message, mark: str | None) -> bool:
        """Whether its offset is one that was not kept yet."""
        return mark is None or message.number >= int(mark)

    def settle(self, messages: Sequence[Message]) -> None:
        """Commit the offsets after them."""
        last = {each.part: each for each in messages}
        offsets = [self._at(partition, int(each.mark)) for partition, each in last.items()]
        try:
            self._consumer.commit(offsets=offsets, asynchronous=False)
        except self._kafka.KafkaException as error:
            raise self._explained(error.args[0]) from error

    def close(self) -> None:
        """Disconnect."""
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None

    def leave(self) -> None:
        """Nothing to tell: who is gone commits no more."""

    def _configuration(self) -> dict[str, Any]:
        address = self._address
        login: dict[str, Any] = {}
        if address.user:
            mechanism = address.options.get("mechanism", "PLAIN")
            login = {"sasl.mechanism": mechanism, "sasl.username": address.user, "sasl.password": address.password}
        protocol = f"{'SASL_' if address.user else ''}{'SSL' if address.encrypted else 'PLAINTEXT'}"
        trusted = {"ssl.ca.location": address.options["ca"]} if "ca" in address.options else {}
        return {
            "bootstrap.servers": address.servers,
            "security.protocol": protocol,
            **login,
            **trusted,
            "group.id": self._group,
            "client.id": "anomaly-detection",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",
            "queued.min.messages": _AHEAD,
            "queued.max.messages.kbytes": _AHEAD_KB,
            "error_cb": self._told,
            # What hinders is told at the source.
            "log_level": 0,
        }

    def _told(self, error: Any) -> None:
        """What the client finds out beside the messages. One broker of several may be away."""
        codes = self._kafka.KafkaError
        if error.fatal() or error.code() in (codes._ALL_BROKERS_DOWN, codes._AUTHENTICATION, codes._SSL):
            self._trouble = str(self._explained(error))

    def _found(self) -> set[int]:
        try:
            topic = self._consumer.list_topics(self._topic, timeout=_TIMEOUT).topics[self._topic]
        except self._kafka.KafkaException as error:
            raise self._explained(error.args[0]) from error
        if topic.error is not None:
            raise self._explained(topic.error)
        return set(topic.partitions)

    def _committed(self, partitions: Sequence[int]) -> dict[int, int]:
        if not partitions:
            return {}
        found = self._consumer.committed([self._at(each) for each in partitions], timeout=_TIMEOUT)
        return {each.partition: each.offset for each in found if each.offset >= 0}

    def _at(self, partition: int, offset: int | None = None) -> Any:
        given = (self._topic, partition) if offset is None else (self._topic, partition, offset)
        return self._kafka.TopicPartition(*given)

    def _explained(self, error: Any) -> DataError:
        told = self._address.without_secrets(error.str())
        return DataError(f"Kafka at {self._address.servers} does not give {self._topic}: {told}.")


def _message(given: Any) -> Message:
    topic, partition, offset = given.topic(), given.partition(), given.offset()
    place = f"{topic}, partition {partition}, offset {offset}"
    return Message(topic, place, given.value() or b"", partition, str(offset + 1), number=offset)
