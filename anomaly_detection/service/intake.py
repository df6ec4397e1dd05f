"""`Intake`: judges the records of requests and has them kept."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from anomaly_detection.service.database import Database
from anomaly_detection.service.incoming import Incoming
from anomaly_detection.service.judging import Judge
from anomaly_detection.service.keeping import Kept, keep
from anomaly_detection.service.learning import progress
from anomaly_detection.service.loaded import Loaded
from anomaly_detection.service.metrics import Metrics
from anomaly_detection.service.problems import Problem
from anomaly_detection.service.replies import earlier_reply, keep_reply
from anomaly_detection.service.stream_ids import StreamIds
from anomaly_detection.service.streams import find_stream
from anomaly_detection.service.verdicts import Verdicts
from anomaly_detection.service.writer import Writer

__all__ = ["Intake", "Taken"]


@dataclass(frozen=True)
class Taken:
    """Records that were judged and kept.

    Attributes
    ----------
    stream : str
    found : Verdicts
    kept : Kept
    version : int or None
        Of the model; None where there is none yet.
    learning : str
        How far the stream has come where there is none.
    """

    stream: str
    found: Verdicts
    kept: Kept
    version: int | None
    learning: str


class Intake:
    """Takes records in: what its methods return is in the database.

    Parameters
    ----------
    database : Database
    writer : Writer
    metrics : Metrics
        Counts what is taken.
    ids : StreamIds
    loaded : Loaded
        What judges.
    """

    def __init__(self, database: Database, writer: Writer, metrics: Metrics, ids: StreamIds, loaded: Loaded) -> None:
        self._database, self._writer, self._metrics = database, writer, metrics
        self._ids, self._loaded = ids, loaded
        # More at a time would only wait for each other.
        self._judging = threading.Semaphore(os.cpu_count() or 1)

    def take(self, name: str, records: Sequence[Incoming]) -> Taken:
        """Judge records and keep them; what this returns is in the database."""
        stream_id = self._ids.of(name)
        with self._judging:
            found, judge = self._judged(stream_id, records)
        taken = self._writer.submit(self._keep_all, (name, stream_id, found, judge)).result()
        self._count(taken, stream_id)
        return taken

    async def take_soon(self, name: str, records: Sequence[Incoming]) -> Taken:
        """As `take`, of few records: judged here and now, and others go on until they are kept."""
        stream_id = self._ids.of(name)
        work = (name, stream_id, *self._judged(stream_id, records))
        taken = await asyncio.wrap_future(self._writer.submit(self._keep_all, work))
        self._count(taken, stream_id)
        return taken

    def take_once(
        self,
        name: str,
        records: Sequence[Incoming],
        key: str,
        digest: str,
        reply: Callable[[Taken], bytes],
    ) -> tuple[bytes, bool]:
        """As `take`, but only the first time that this key comes; gives the reply to that, and whether it is one.

        `digest` is that of the request's body.
        """
        stream_id = self._ids.of(name)
        with self._database.reading() as connection:
            before = earlier_reply(connection, stream_id, key, digest)
        if before is not None:
            return before, False
        with self._judging:
            found, judge = self._judged(stream_id, records)

        def work(connection: Any) -> tuple[bytes, Taken | None]:
            # The same request may have come a moment ago.
            before = earlier_reply(connection, stream_id, key, digest)
            if before is not None:
                return before, None
            taken = self._kept(connection, name, stream_id, found, judge)
            made = reply(taken)
            keep_reply(connection, stream_id, key, digest, made)
            return made, taken

        made, taken = self._writer.run(work)
        if taken is None:
            return made, False
        self._count(taken, stream_id)
        return made, True

    def _judged(self, stream_id: int, records: Sequence[Incoming]) -> tuple[Verdicts, Judge | None]:
        judge = self._loaded.judge(stream_id)
        if judge is None:
            return Verdicts.unjudged(records), None
        return judge.judge(records), judge

    def _keep_all(self, connection: Any, works: Sequence[tuple[str, int, Verdicts, Judge | None]]) -> list[Taken]:
        """Keep what several requests brought; those of a stream, next to each other, share their statements."""
        kept: list[Taken] = []
        for (name, stream_id, judge), some in groupby(works, key=lambda work: (work[0], work[1], work[3])):
            parts = [work[2] for work in some]
            whole = self._kept(connection, name, stream_id, Verdicts.joined(parts), judge)
            first = 0
            for found in parts:
                these = slice(first, first := first + len(found))
                ids = Kept(whole.kept.record_ids[these], whole.kept.alert_ids[these])
                kept.append(Taken(name, found, ids, whole.version, whole.learning))
        return kept

    def _kept(self, connection: Any, name: str, stream_id: int, found: Verdicts, judge: Judge | None) -> Taken:
        stream = find_stream(connection, name)
        if stream is None or stream.id != stream_id:
            self._ids.forget(name)
            raise Problem(409, f"The stream {name!r} was deleted a moment ago; send this again to begin a new one.")
        rules = self._loaded.rules(stream.id)
        kept = keep(connection, stream, None if judge is None else judge.model_id, found, rules)
        learning = ""
        if judge is None:
            after = find_stream(connection, name)
            assert after is not None
            learning = progress(connection, after)
        return Taken(name, found, kept, None if judge is None else judge.version, learning)

    def _count(self, taken: Taken, stream_id: int) -> None:
        found = taken.found
        for state, count in found.counts.items():
            self._metrics.count("records_total", count, stream=taken.stream, state=state)
        self._metrics.count("anomalies_detected_total", len(found.alerting), stream=taken.stream)
        self._loaded.scored(stream_id, found.scores)
