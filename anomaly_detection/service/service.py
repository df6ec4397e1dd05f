"""`Service`: takes records, has them judged and kept, and says how it is."""

from __future__ import annotations

import asyncio
import enum
import os
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import groupby
from pathlib import Path
from typing import Any, TextIO

from anomaly_detection.calibration.drift import find_drift
from anomaly_detection.data.files import prepare_folder
from anomaly_detection.errors import DataError
from anomaly_detection.service import jobs
from anomaly_detection.service.configuration import Configuration
from anomaly_detection.service.database import Database
from anomaly_detection.service.drift_cases import changed_columns
from anomaly_detection.service.incoming import Incoming
from anomaly_detection.service.json_answer import dumps
from anomaly_detection.service.judging import Judge
from anomaly_detection.service.keeping import Kept, keep
from anomaly_detection.service.keys import has_keys
from anomaly_detection.service.learning import progress
from anomaly_detection.service.logins import Logins
from anomaly_detection.service.metrics import Metrics, Sample
from anomaly_detection.service.models import add_model, current_models, digest_of, has_digest, new_file
from anomaly_detection.service.notifier import Notifier
from anomaly_detection.service.problems import Problem
from anomaly_detection.service.repeating import Repeating
from anomaly_detection.service.replies import earlier_reply, keep_reply
from anomaly_detection.service.rules import Rule, rules_of
from anomaly_detection.service.sessions import Signatures
from anomaly_detection.service.source_book import checked_folder, watch_by_option
from anomaly_detection.service.stream_settings import StreamSettings
from anomaly_detection.service.streams import (
    DEFAULT,
    Stream,
    all_streams,
    find_stream,
    need_stream,
    open_stream,
    personal_columns,
)
from anomaly_detection.service.supervisor import Supervisor
from anomaly_detection.service.uploads import digest_of_file, sweep, uploads_of
from anomaly_detection.service.users import has_users
from anomaly_detection.service.verdicts import Verdicts
from anomaly_detection.service.watcher import Watcher
from anomaly_detection.service.writer import Writer
from mlx_iforest.compiled_code import compile_at_once
from mlx_iforest.files import lock_file

__all__ = ["Part", "Service", "Taken"]

_SCORES_FOR_DRIFT = 1000


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


class Part(enum.Enum):
    """What one process does of a service: all, only lead others (it has jobs done, and judges nothing), or answer."""

    ALL = "all"
    LEADS = "leads"
    ANSWERS = "answers"


class Service:
    """All that there is behind the requests.

    Parameters
    ----------
    configuration : Configuration
    part : Part, default ALL

    Raises
    ------
    DataError
        If the folder cannot be used, another service has it, or the address is open to others and there is neither a
        key nor a user.
    ModelFileError
        If the model file given is none.
    """

    def __init__(self, configuration: Configuration, part: Part = Part.ALL) -> None:
        self.configuration, self.part = configuration, part
        self.limits = configuration.limits
        # Set once it is told to end: answers that go on and on end then.
        self.ending = threading.Event()
        with ExitStack() as opened:
            self._open(configuration, opened)
            # Where anything failed, what was open until then is closed.
            self._opened = opened.pop_all()

    def _open(self, configuration: Configuration, opened: ExitStack) -> None:
        compile_at_once()
        prepare_folder(configuration.models_dir)
        # Records may name people: the folder is its owner's alone, unless somebody made it otherwise.
        configuration.data_dir.mkdir(0o700, parents=True, exist_ok=True)
        configuration.models_dir.mkdir(parents=True, exist_ok=True)
        if self.part is not Part.ANSWERS:
            opened.enter_context(_sole(configuration))
        self.database = Database(configuration.url)
        opened.callback(self.database.close)
        if self.part is not Part.ANSWERS:
            self.database.migrate()
            self._refuse_without_keys()
        self.signatures = Signatures(configuration.data_dir)
        self.writer = Writer(self.database)
        opened.callback(self.writer.close)
        self.metrics = Metrics(self._metrics_folder())
        self.uploads_dir = uploads_of(configuration.models_dir)
        if self.part is not Part.ANSWERS:
            self.uploads_dir.mkdir(parents=True, exist_ok=True)
            with self.database.reading() as connection:
                sweep(self.uploads_dir, jobs.needed_uploads(connection))
        # Columns of which only callers with the right see the values, in whatever stream.
        self.personal: frozenset[str] = frozenset(configuration.personal)
        self._ids: dict[str, int] = {}
        self._judges: dict[int, Judge] = {}
        self._rules: dict[int, list[Rule]] = {}
        self._created: dict[int, str] = {}
        self._scores: dict[int, deque[float]] = {}
        # More at a time would only wait for each other.
        self._judging = threading.Semaphore(os.cpu_count() or 1)
        # All processes together let a name try so often.
        tries = max(1.0, self.limits.logins / configuration.workers)
        self.logins = Logins(tries)
        self._reloading = threading.Lock()
        if self.part is not Part.ANSWERS:
            self._take_in_model(self.stream_id(DEFAULT))
        if self.part is not Part.LEADS:
            self.reload()
        self._beside: list[Supervisor | Repeating] = [self._made_supervisor()]
        if self.part is not Part.ANSWERS:
            self._watch_by_option()
            watcher = Watcher(self.database, self.uploads_dir)
            notifier = Notifier(self.database, configuration.personal)
            self._beside += [Repeating("sources", watcher.look, 1.0), Repeating("notifications", notifier.look, 2.0)]
        for each in self._beside:
            opened.callback(each.close)

    def _watch_by_option(self) -> None:
        """Have the sources that were given by option be what they were given to be."""
        wanted = self.configuration.watch
        for _, name in wanted:
            try:
                self.stream_id(name)
            except Problem as problem:
                raise DataError(str(problem)) from problem
        try:
            targets = [(checked_folder(self.configuration.data_dir, folder), name) for folder, name in wanted]
            self.writer.run(lambda connection: watch_by_option(connection, targets))
        except Problem as problem:
            raise DataError(str(problem)) from problem

    def _metrics_folder(self) -> Path | None:
        """Where several processes leave what they have counted; None where there is one."""
        folder = self.configuration.data_dir / "metrics"
        if self.part is Part.LEADS:
            # They count from their start.
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        return folder if self.part is Part.ANSWERS else None

    def _made_supervisor(self) -> Supervisor:
        configuration = self.configuration
        return Supervisor(
            self.database,
            configuration.url,
            configuration.models_dir,
            None if self.part is Part.LEADS else self._look,
            None if self.part is Part.ANSWERS else configuration.retention,
        )

    def start(self) -> None:
        """Begin with what goes on beside the requests."""
        for each in self._beside:
            each.start()

    def close(self) -> None:
        """End; all that was answered is kept."""
        self.ending.set()
        self._opened.close()

    def _refuse_without_keys(self) -> None:
        with self.database.reading() as connection:
            open_to_all = not (self.configuration.is_trusted or has_keys(connection) or has_users(connection))
        if open_to_all:
            how = "a proxy" if self.configuration.behind_proxy else self.configuration.host
            raise DataError(
                f"The service can be reached from other machines, by {how}, and there is no API key and no user; add"
                " one with anomaly-detection keys add NAME or users add NAME, or listen on 127.0.0.1."
            )

    def _take_in_model(self, stream_id: int) -> None:
        """Take the model file that was given, once: what the stream has learned since stays."""
        given = self.configuration.model
        if given is None:
            return
        path = new_file(self.configuration.models_dir, stream_id)
        # Loading it says what is wrong with it.
        Judge.load(given, 0, 0)
        source = f"file {digest_of(given)}"
        with self.database.reading() as connection:
            if has_digest(connection, stream_id, source):
                return
        shutil.copyfile(given, path)
        self.writer.run(lambda connection: add_model(connection, stream_id, path, source, 0, "service"))

    def reload(self) -> None:
        """Put into effect what judges and hides now, whichever process changed it; called again and again."""
        with self._reloading:
            self._reload()

    def _reload(self) -> None:
        with self.database.reading() as connection:
            rows = current_models(connection)
            self._rules = rules_of(connection)
            known = all_streams(connection)
        self.personal = personal_columns(known, self.configuration.personal)
        names = {stream.name: stream.id for stream in known}
        for name, stream_id in list(self._ids.items()):
            if names.get(name) != stream_id:
                # Deleted. One that was made since is only looked up again.
                self.forget(name)
        for stream_id, row in rows.items():
            judge = self._judges.get(stream_id)
            ratio = StreamSettings.of(row["settings"]).anomaly_ratio
            if judge is None or (judge.model_id, judge.ratio) != (row["id"], ratio):
                path = self.configuration.models_dir / row["file"]
                made = Judge.load(path, row["id"], row["version"], ratio)
                self._scores[stream_id] = deque(maxlen=_SCORES_FOR_DRIFT)
                self._created[stream_id] = row["created"]
                self._judges[stream_id] = made
        for stream_id in self._judges.keys() - rows.keys():
            # The stream was deleted, or the model is no longer in effect.
            del self._judges[stream_id]

    def _look(self) -> None:
        self.reload()
        self.metrics.leave()

    def stream_id(self, name: str) -> int:
        """Of a stream, which is made if need be; raises as `open_stream`."""
        if name not in self._ids:
            learn_from, most = self.configuration.learn_from, self.limits.streams
            made = self.writer.run(lambda connection: open_stream(connection, name, learn_from, most))
            self._ids[name] = made.id
        return self._ids[name]

    def forget(self, name: str) -> None:
        """Look a stream up anew when it is named next: it was deleted."""
        self._ids.pop(name, None)

    def take(self, name: str, records: Sequence[Incoming]) -> Taken:
        """Judge records and keep them; what this returns is in the database."""
        stream_id = self.stream_id(name)
        with self._judging:
            found, judge = self._judged(stream_id, records)
        taken = self.writer.submit(self._keep_all, (name, stream_id, found, judge)).result()
        self._count(taken, stream_id)
        return taken

    async def take_soon(self, name: str, records: Sequence[Incoming]) -> Taken:
        """As `take`, of few records: judged here and now, and others go on until they are kept."""
        stream_id = self.stream_id(name)
        work = (name, stream_id, *self._judged(stream_id, records))
        taken = await asyncio.wrap_future(self.writer.submit(self._keep_all, work))
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
        stream_id = self.stream_id(name)
        with self.database.reading() as connection:
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

        made, taken = self.writer.run(work)
        if taken is None:
            return made, False
        self._count(taken, stream_id)
        return made, True

    def _judged(self, stream_id: int, records: Sequence[Incoming]) -> tuple[Verdicts, Judge | None]:
        judge = self._judges.get(stream_id)
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
            self.forget(name)
            raise Problem(409, f"The stream {name!r} was deleted a moment ago; send this again to begin a new one.")
        rules = self._rules.get(stream.id, ())
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
            self.metrics.count("records_total", count, stream=taken.stream, state=state)
        self.metrics.count("anomalies_detected_total", len(found.alerting), stream=taken.stream)
        scores = self._scores.get(stream_id)
        if scores is not None:
            scores.extend(found.scores)

    def train(self, name: str, given: Mapping[str, Any] | None = None) -> int:
        """Queue a training on a stream's records, or as `given`, unless one is there; gives the job's id.

        Raises
        ------
        Problem
            409 where there is none to learn from, or a training goes on; 429 where too many jobs wait.
        """
        stream_id = self.stream_id(name)

        def work(connection: Any) -> int:
            stream = need_stream(connection, name)
            if stream.kept < 2 and "file" not in (given or {}):
                raise Problem(409, f"There are {stream.kept} records to learn from; send at least two first.")
            if jobs.is_training(connection, stream_id):
                raise Problem(409, "A model is being trained already; wait until that is done.")
            self._check_room(connection)
            return jobs.add_job(connection, "train", stream_id, given)

        return self.writer.run(work)

    def _check_room(self, connection: Any) -> None:
        if jobs.open_jobs(connection, jobs.ASKED_FOR) >= self.limits.jobs:
            raise Problem(429, f"{self.limits.jobs} jobs wait already; ask again later.", {"Retry-After": "60"})

    def queue(
        self, name: str, path: Path, kind: str, who: str, key: str | None, known: str = "take"
    ) -> tuple[bytes, bool]:
        """Queue the taking of a file's records, or of those that the stream lacks; gives the reply as `take_once`."""
        is_new = False

        def work(connection: Any) -> tuple[bytes, bool]:
            before = None if key is None else earlier_reply(connection, stream_id, key, digest)
            if before is not None:
                return before, False
            self._check_room(connection)
            number = jobs.add_job(
                connection, "take", stream_id, {"file": path.name, "kind": kind, "who": who, "known": known}
            )
            made = dumps({"job_id": number, "status_url": f"/v1/jobs/{number}"})
            if key is not None:
                keep_reply(connection, stream_id, key, digest, made)
            return made, True

        try:
            stream_id = self.stream_id(name)
            digest = "" if key is None else digest_of_file(path)
            made, is_new = self.writer.run(work)
        finally:
            if not is_new:
                path.unlink(missing_ok=True)
        return made, is_new

    @property
    def is_ready(self) -> bool:
        """Whether records of the default stream are judged."""
        return self.judge(DEFAULT) is not None

    def judge(self, name: str) -> Judge | None:
        """What judges a stream's records, if there is anything yet."""
        return self._judges.get(self.stream_id(name))

    def judge_of(self, name: str) -> Judge | None:
        """The same, of a stream that need not be there."""
        with self.database.reading() as connection:
            stream = find_stream(connection, name)
        return None if stream is None else self._judges.get(stream.id)

    def progress(self, name: str) -> str:
        """How far a stream has come that has no model; see `learning.progress`."""
        with self.database.reading() as connection:
            stream = find_stream(connection, name)
            assert stream is not None
            return progress(connection, stream)

    def streams(self) -> list[dict[str, Any]]:
        """What there is to say of each stream."""
        with self.database.reading() as connection:
            return [self.described(connection, each) for each in all_streams(connection)]

    def described(self, connection: Any, stream: Stream) -> dict[str, Any]:
        """What there is to say of a stream."""
        judge = self._judges.get(stream.id)
        return {
            "name": stream.name,
            "judged": stream.judged,
            "waiting": stream.waiting,
            "refused": stream.refused,
            "alerting": stream.alerting,
            "model": None if judge is None else {"version": judge.version, "created": self._created[stream.id]},
            "learning": progress(connection, stream) if judge is None else None,
        }

    def gauges(self) -> Iterator[Sample]:
        """What is measured when somebody asks."""
        yield "write_queue_length", {}, self.writer.waiting
        with self.database.reading() as connection:
            yield "jobs_open", {}, jobs.open_jobs(connection)
            names = {stream.id: stream.name for stream in all_streams(connection)}
            changed = {stream_id: len(changed_columns(connection, stream_id)) for stream_id in names}
        for stream_id, judge in list(self._judges.items()):
            if stream_id not in names:
                continue
            labels = {"stream": names[stream_id]}
            yield "model_version", labels, judge.version
            yield "columns_changed", labels, changed[stream_id]
            yield "model_age_seconds", labels, time.time() - _seconds(self._created[stream_id])
            drift = find_drift(judge.calibration, list(self._scores[stream_id]))
            if drift is not None:
                yield "score_drift_distance", labels, drift.distance


def _seconds(moment: str) -> float:
    return datetime.strptime(moment, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc).timestamp()


def _sole(configuration: Configuration) -> TextIO:
    """A lock on the folder while the file that this gives is open: two services would not see each other's models."""
    file = (configuration.data_dir / "service.lock").open("a")
    if not lock_file(file.fileno()):
        file.close()
        raise DataError(
            f"Another service uses the folder {configuration.data_dir}; give this one a --data-dir of its own."
        )
    return file
