"""`Consuming`: takes the messages of one source, a batch at a time, each once."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import Connection, RowMapping, select, update

from anomaly_detection.errors import AnomalyDetectionError
from anomaly_detection.service.alerts.rules import rules_of
from anomaly_detection.service.jobs.taking import current_judge
from anomaly_detection.service.records.incoming import Incoming
from anomaly_detection.service.records.judging import Judge
from anomaly_detection.service.records.keeping import keep
from anomaly_detection.service.records.verdicts import Judged, Verdicts
from anomaly_detection.service.sources.source_book import settings_of
from anomaly_detection.service.storage.database import Database, FullError
from anomaly_detection.service.storage.tables import sources
from anomaly_detection.service.streams.streams import find_stream
from anomaly_detection.service.topics.letters import write_letters
from anomaly_detection.service.topics.marks import all_marks, marks_of, write_marks
from anomaly_detection.service.topics.message import Letter, Message, Topic, read_message
from anomaly_detection.service.topics.opening import topic_of
from anomaly_detection.texts.said import written

__all__ = ["Consuming"]

_MOST = 500
"""Messages in hand at a time: none further are fetched before these are kept."""

_WAIT = 0.5
_LOG = logging.getLogger(__name__)


class Consuming:
    """What takes the messages of a source.

    Records, what could not be read, and how far this has come are one transaction; the broker is told after it. So
    whatever ends this loses nothing, and what the broker then sends again is known by its mark.

    Parameters
    ----------
    database : Database
    models_dir : Path
    source : RowMapping
        Its row, as `source_book` gives it.
    topic : Topic, optional
        What is read; that of the source if not given.
    """

    def __init__(self, database: Database, models_dir: Path, source: RowMapping, topic: Topic | None = None) -> None:
        self._database, self._models_dir, self._source = database, models_dir, source
        self._topic_column: str = settings_of(source)["topic_column"]
        self._topic = topic
        self._judge: Judge | None = None
        self._is_open = False
        self._trouble = source["trouble"]

    def turn(self) -> bool:
        """Take a batch, if one comes soon. False where something hinders, which is told at the source."""
        try:
            self._take()
            trouble = None
        except (AnomalyDetectionError, FullError) as error:
            trouble = written(error.args[0])
        except Exception:
            # A database that is away, say.
            self.close()
            raise
        if trouble is not None:
            self.close()
        if trouble != self._trouble:
            with self._database.writing() as connection:
                connection.execute(update(sources).where(sources.c.id == self._source["id"]).values(trouble=trouble))
            self._trouble = trouble
        return trouble is None

    def close(self) -> None:
        """End the connection; the next turn begins where the database has come to."""
        if self._is_open and self._topic is not None:
            self._is_open = False
            self._topic.close()

    def leave(self) -> None:
        """End for good: the source was removed."""
        self.close()
        if self._topic is not None:
            self._topic.leave()

    def _take(self) -> None:
        if self._topic is None:
            source = self._source
            self._topic = topic_of(source["target"], source["stream"], settings_of(source))
        if not self._is_open:
            self._open(self._topic)
        messages = self._topic.batch(_MOST, _WAIT)
        if not messages:
            return
        if self._kept(self._topic, messages):
            self._topic.settle(messages)
        else:
            self.close()

    def _open(self, topic: Topic) -> None:
        number = self._source["id"]
        # Whatever this raises, what is half open is closed.
        self._is_open = True
        with self._database.reading() as connection:
            before = all_marks(connection, number)
        begun, told = topic.open(before)
        if begun or told:
            with self._database.writing() as connection:
                if self._is_there(connection):
                    write_letters(connection, self._source, told)
                    write_marks(connection, number, begun)

    def _kept(self, topic: Topic, messages: Sequence[Message]) -> bool:
        """Keep what is new of some messages; False where this is not for us any more."""
        number, stream_id = self._source["id"], self._source["stream_id"]
        parts = {each.part for each in messages}
        with self._database.reading() as connection:
            before = marks_of(connection, number, parts)
        new = [each for each in messages if topic.is_new(each, before.get(each.part))]
        read = [read_message(each, self._topic_column) for each in new]
        records = [each for each in read if isinstance(each, Incoming)]
        letters = [each for each in read if isinstance(each, Letter)]
        self._judge = current_judge(self._database, self._models_dir, stream_id, self._judge)
        found = _judged(self._judge, records)
        with self._database.writing() as connection:
            if not self._is_there(connection) or marks_of(connection, number, parts) != before:
                # Paused, removed, or taken by another meanwhile.
                return False
            stream = find_stream(connection, self._source["stream"])
            if stream is None or stream.id != stream_id:
                return False
            model_id = None if self._judge is None else self._judge.model_id
            kept = keep(connection, stream, model_id, found, rules_of(connection, stream_id))
            if self._judge is not None:
                self._judge.recent.met(kept.record_ids)
            write_letters(connection, self._source, letters)
            write_marks(connection, number, {each.part: each.mark for each in new if each.mark})
        return True

    def _is_there(self, connection: Connection) -> bool:
        """Whether the source is still to be read."""
        paused = select(sources.c.is_paused).where(sources.c.id == self._source["id"])
        return connection.execute(paused).scalar() is False


def _judged(judge: Judge | None, records: Sequence[Incoming]) -> Verdicts:
    """What becomes of records; where judging them fails in a way that nobody thought of, of each by itself.

    One that fails is kept as refused: else it would come again and again, and nothing after it.
    """
    if judge is None:
        return Verdicts.unjudged(records)
    try:
        return judge.judge(records)
    except Exception as error:
        _LOG.exception("Judging %d messages failed.", len(records))
        if len(records) == 1:
            return Verdicts.of([Judged(records[0], error=f"Judging it failed: {type(error).__name__}.")])
    return Verdicts.joined([_judged(judge, [each]) for each in records])
