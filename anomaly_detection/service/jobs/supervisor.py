"""`Supervisor`: the thread that starts a worker where a job waits, and looks for models that have changed."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

from anomaly_detection.service.jobs import jobs
from anomaly_detection.service.learning.challenging import to_retrain
from anomaly_detection.service.learning.drifting import to_look
from anomaly_detection.service.processes.child import Child
from anomaly_detection.service.processes.repeating import Repeating
from anomaly_detection.service.records.retention import Retention, queue_forgetting, to_forget
from anomaly_detection.service.storage.database import Database

__all__ = ["LEASE_LOST", "Supervisor"]

LEASE_LOST = 3
"""The status with which a worker ends whose job is another's by now, or was cancelled."""

_PAUSE = 0.5
_LOOKS = 60.0
"""Seconds after which it is looked again whether it is time to forget."""
_AFTER_A_CRASH = 5.0
_LOG = logging.getLogger(__name__)


class Supervisor:
    """Looks after what goes on beside the requests, twice a second.

    Parameters
    ----------
    database : Database
    url : str
        Its, for the worker.
    models_dir : Path
    reload : callable, optional
        Takes over models that have changed; called again and again.
    retention : Retention, optional
        What the worker forgets, once an hour; without it another process has an eye on jobs.
    """

    def __init__(
        self,
        database: Database,
        url: str,
        models_dir: Path,
        reload: Callable[[], object] | None,
        retention: Retention | None,
    ) -> None:
        self._database, self._models_dir, self._reload = database, models_dir, reload
        self._retention = retention
        self._forgets_at = 0.0
        self._child = Child("anomaly_detection.service.jobs.worker", url)
        self._worker = ""
        self._not_before = 0.0
        self._repeating = Repeating("jobs", self._look, _PAUSE)

    def start(self) -> None:
        """Begin."""
        self._repeating.start()

    def close(self) -> None:
        """End, and the worker with it; its job is free for the next start."""
        self._repeating.close()
        if self._child.end():
            with self._database.writing() as connection:
                jobs.set_free(connection, self._worker)

    def _look(self) -> None:
        if self._retention is not None:
            self._look_after_jobs(self._retention)
        if self._reload is not None:
            self._reload()

    def _look_after_jobs(self, retention: Retention) -> None:
        status = self._child.ended()
        if status not in (None, 0, LEASE_LOST):
            _LOG.error("A worker ended with status %d; its job is tried again.", status)
            self._not_before = time.monotonic() + _AFTER_A_CRASH
        with self._database.reading() as connection:
            waits, unjudged = jobs.waits_for_worker(connection), jobs.unjudged(connection)
        if unjudged:
            with self._database.writing() as connection:
                for stream_id in unjudged:
                    jobs.add_job(connection, "judge", stream_id)
        if time.monotonic() >= self._forgets_at:
            with self._database.reading() as connection:
                asked_for: list[tuple[str, int, dict[str, bool] | None]] = [
                    *(("watch", each, None) for each in to_look(connection)),
                    *(("train", each, {"challenge": True}) for each in to_retrain(connection)),
                ]
                is_due = bool(to_forget(connection, retention))
            if is_due:
                with self._database.writing() as connection:
                    queue_forgetting(connection, retention)
            if asked_for:
                with self._database.writing() as connection:
                    for kind, stream_id, given in asked_for:
                        jobs.add_job(connection, kind, stream_id, given)
            self._forgets_at = time.monotonic() + _LOOKS
        if waits and not self._child.runs and time.monotonic() >= self._not_before:
            self._worker = f"{os.getpid()}-{os.urandom(4).hex()}"
            self._child.begin(str(self._models_dir), self._worker, retention.written())
