"""`Intake`: judges the records of requests and has them kept."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any

from anomaly_detection.service.http.problems import Problem
from anomaly_detection.service.http.replies import earlier_reply, keep_reply
from anomaly_detection.service.learning.progress import progress
from anomaly_detection.service.processes.metrics import Metrics
from anomaly_detection.service.records.incoming import Incoming
from anomaly_detection.service.records.judging import Judge
from anomaly_detection.service.records.keeping import Kept, keep
from anomaly_detection.service.records.loaded import Loaded
from anomaly_detection.service.records.verdicts import Verdicts
from anomaly_detection.service.storage.database import Database
from anomaly_detection.service.storage.writer import Writer
from anomaly_detection.service.streams.stream_ids import StreamIds
from anomaly_detection.service.streams.streams import find_stream
from anomaly_detection.texts.said import say

__all__ = ["Intake", "Taken"]


_LOG = logging.getLogger(__name__)

_AT_ONCE = 64
"""Requests that are judged before anything else is done: more would make the first of them wait."""

_Work = tuple[str, int, Verdicts, "Judge | None"]
"""Records of a request, judged: the stream's name and number, and what judged them."""


@dataclass(frozen=True)
class _Asked:
    """Few records of a request, and who waits until they are kept."""

    stream: str
    stream_id: int
    records: Sequence[Incoming]
    taken: asyncio.Future[Taken]


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
        self._asked: dict[asyncio.AbstractEventLoop, list[_Asked]] = {}

    def take(self, name: str, records: Sequence[Incoming]) -> Taken:
        """Judge records and keep them; what this returns is in the database."""
        stream_id = self._ids.of(name)
        with self._judging:
            found, judge = self._judged(stream_id, records)
        taken = self._writer.submit(self._keep_all, (name, stream_id, found, judge)).result()
        self._count(taken, stream_id)
        return taken

    async def take_soon(self, name: str, records: Sequence[Incoming]) -> Taken:
        """As `take`, of few records: with what other requests brought at the same time, at the loop's next turn."""
        stream_id, loop = self._ids.of(name), asyncio.get_running_loop()
        asked = _Asked(name, stream_id, records, loop.create_future())
        waiting = self._asked.setdefault(loop, [])
        waiting.append(asked)
        if len(waiting) == 1:
            loop.call_soon(self._take_asked, loop)
        taken = await asked.taken
        self._count(taken, stream_id)
        return taken

    def _take_asked(self, loop: asyncio.AbstractEventLoop) -> None:
        """Judge what has been asked for, each request by itself, and have it kept in one transaction."""
        waiting = self._asked.pop(loop)
        some, rest = waiting[:_AT_ONCE], waiting[_AT_ONCE:]
        if rest:
            self._asked[loop] = rest
            loop.call_soon(self._take_asked, loop)
        works: list[tuple[_Asked, _Work]] = []
        try:
            for stream_id, same in groupby(sorted(some, key=lambda each: each.stream_id), lambda each: each.stream_id):
                works += self._judged_each(stream_id, list(same))
        except Exception as error:
            # Whoever asked is told, and does not wait for ever.
            for each in some:
                _tell(each.taken, error)
            return
        kept = self._writer.submit_all(self._keep_all, [work for _, work in works])
        told = partial(_tell_all, [asked.taken for asked, _ in works], kept)
        if kept:
            kept[-1].add_done_callback(lambda _: loop.call_soon_threadsafe(told))

    def _judged_each(self, stream_id: int, asked: Sequence[_Asked]) -> Iterable[tuple[_Asked, _Work]]:
        """What requests for a stream brought, judged; who brought what cannot be judged is told so."""
        judge = self._loaded.judge(stream_id)
        single = [each for each in asked if len(each.records) == 1] if judge is not None else []
        verdicts: dict[int, Verdicts] = {}
        try:
            if judge is not None:
                found = judge.judge_each([each.records[0] for each in single]).each()
                verdicts = dict(zip(map(id, single), found, strict=True))
        except Exception:
            _LOG.exception("Judging the records of %d requests failed; each is judged by itself.", len(single))
        for each in asked:
            try:
                made = verdicts.get(id(each)) or _verdicts(judge, each.records)
            except Exception as error:
                _tell(each.taken, error)
            else:
                yield each, (each.stream, stream_id, made, judge)

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
        return _verdicts(judge, records), judge

    def _keep_all(self, connection: Any, works: Sequence[_Work]) -> list[Taken]:
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
            raise Problem(
                409,
                say(
                    "The stream %(name)s was deleted a moment ago; send this again to begin a new one.",
                    name=f"{name!r}",
                ),
            )
        rules = self._loaded.rules(stream.id)
        kept = keep(connection, stream, None if judge is None else judge.model_id, found, rules)
        learning = ""
        if judge is not None:
            judge.recent.met(kept.record_ids)
        else:
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


def _verdicts(judge: Judge | None, records: Sequence[Incoming]) -> Verdicts:
    return Verdicts.unjudged(records) if judge is None else judge.judge(records)


def _tell_all(asked: Sequence[asyncio.Future[Taken]], kept: Sequence[Future[Taken]]) -> None:
    """Tell who waits what became of it."""
    for each, done in zip(asked, kept, strict=True):
        _tell(each, done.exception() or done.result())


def _tell(asked: asyncio.Future[Taken], told: Taken | BaseException) -> None:
    if asked.done():
        # Its client went away, or it was told already.
        return
    if isinstance(told, BaseException):
        asked.set_exception(told)
    else:
        asked.set_result(told)
