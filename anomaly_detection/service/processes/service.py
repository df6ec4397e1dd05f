"""`Service`: puts the parts of a process together, opens and closes them, and says how it is."""

from __future__ import annotations

import enum
import shutil
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TextIO

from anomaly_detection.data.files import prepare_folder
from anomaly_detection.errors import DataError
from anomaly_detection.service.access.keys import has_keys
from anomaly_detection.service.access.logins import Logins
from anomaly_detection.service.access.sessions import Signatures
from anomaly_detection.service.access.users import has_users
from anomaly_detection.service.alerts.drift_cases import changed_columns
from anomaly_detection.service.http.problems import Problem
from anomaly_detection.service.jobs import jobs
from anomaly_detection.service.jobs.job_queue import JobQueue
from anomaly_detection.service.jobs.supervisor import Supervisor
from anomaly_detection.service.jobs.uploads import sweep, uploads_of
from anomaly_detection.service.learning.models import add_model, digest_of, has_digest, new_file
from anomaly_detection.service.learning.progress import progress
from anomaly_detection.service.learning.watched import Watched
from anomaly_detection.service.notifications.notifier import Notifier
from anomaly_detection.service.processes.configuration import Configuration
from anomaly_detection.service.processes.metrics import Metrics, Sample
from anomaly_detection.service.processes.repeating import Repeating
from anomaly_detection.service.records.intake import Intake
from anomaly_detection.service.records.judging import Judge
from anomaly_detection.service.records.loaded import Loaded
from anomaly_detection.service.sources.source_book import checked_folder, watch_by_option
from anomaly_detection.service.sources.watcher import Watcher
from anomaly_detection.service.storage.database import Database
from anomaly_detection.service.storage.writer import Writer
from anomaly_detection.service.streams.stream_ids import StreamIds
from anomaly_detection.service.streams.streams import (
    DEFAULT,
    Stream,
    all_streams,
    find_stream,
)
from anomaly_detection.service.topics.leading import Leading
from mlx_iforest.compiled_code import compile_at_once
from mlx_iforest.files import lock_file

__all__ = ["Part", "Service"]


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
        self.ids = StreamIds(self.writer, configuration.learn_from, self.limits.streams)
        self.loaded = Loaded(self.database, configuration.models_dir, configuration.personal, self.ids)
        self.watched = Watched()
        self.intake = Intake(self.database, self.writer, self.metrics, self.ids, self.loaded)
        self.queue = JobQueue(self.writer, self.ids, self.limits.jobs)
        # All processes together let a name try so often.
        tries = max(1.0, self.limits.logins / configuration.workers)
        self.logins = Logins(tries)
        if self.part is not Part.ANSWERS:
            self._take_in_model(self.ids.of(DEFAULT))
        if self.part is not Part.LEADS:
            self.reload()
        self._beside: list[Supervisor | Repeating | Leading] = [self._made_supervisor()]
        if self.part is not Part.ANSWERS:
            self._watch_by_option()
            watcher = Watcher(self.database, self.uploads_dir)
            notifier = Notifier(self.database, configuration.personal)
            self._beside += [Repeating("sources", watcher.look, 1.0), Repeating("notifications", notifier.look, 2.0)]
            self._beside.append(Leading(self.database, configuration.url, configuration.models_dir))
        for each in self._beside:
            opened.callback(each.close)

    def _watch_by_option(self) -> None:
        """Have the sources that were given by option be what they were given to be."""
        wanted = self.configuration.watch
        for _, name in wanted:
            try:
                self.ids.of(name)
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
        # Loading it says what is wrong with it, and so does judging by it.
        Judge.load(given, 0, 0).prepare()
        source = f"file {digest_of(given)}"
        with self.database.reading() as connection:
            if has_digest(connection, stream_id, source):
                return
        shutil.copyfile(given, path)
        self.writer.run(lambda connection: add_model(connection, stream_id, path, source, 0, "service"))

    def _look(self) -> None:
        self.reload()
        self.metrics.leave()

    def reload(self) -> None:
        """Put into effect what another process, or a request, changed."""
        self.loaded.reload()

    @property
    def personal(self) -> frozenset[str]:
        """Columns of which only callers with the right see the values, in whatever stream."""
        return self.loaded.personal

    def stream_id(self, name: str) -> int:
        """Of a stream, which is made if need be; raises as `open_stream`."""
        return self.ids.of(name)

    @property
    def is_ready(self) -> bool:
        """Whether records of the default stream are judged."""
        return self.judge(DEFAULT) is not None

    def judge(self, name: str) -> Judge | None:
        """What judges a stream's records, if there is anything yet."""
        return self.loaded.judge(self.ids.of(name))

    def judge_of(self, name: str) -> Judge | None:
        """The same, of a stream that need not be there."""
        return self.loaded.judge_named(name)

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
        model = self.loaded.told(stream.id)
        return {
            "name": stream.name,
            "judged": stream.judged,
            "waiting": stream.waiting,
            "refused": stream.refused,
            "alerting": stream.alerting,
            "model": model,
            "learning": progress(connection, stream) if model is None else None,
        }

    def gauges(self) -> Iterator[Sample]:
        """What is measured when somebody asks."""
        yield "write_queue_length", {}, self.writer.waiting
        with self.database.reading() as connection:
            yield "jobs_open", {}, jobs.open_jobs(connection)
            names = {stream.id: stream.name for stream in all_streams(connection)}
            changed = {stream_id: len(changed_columns(connection, stream_id)) for stream_id in names}
        for stream_id, name in names.items():
            yield "columns_changed", {"stream": name}, changed[stream_id]
            yield from self.loaded.gauges(stream_id, name)


def _sole(configuration: Configuration) -> TextIO:
    """A lock on the folder while the file that this gives is open: two services would not see each other's models."""
    file = (configuration.data_dir / "service.lock").open("a")
    if not lock_file(file.fileno()):
        file.close()
        raise DataError(
            f"Another service uses the folder {configuration.data_dir}; give this one a --data-dir of its own."
        )
    return file
