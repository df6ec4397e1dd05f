"""`Leading`: has a process take the messages of topics, as long as a source asks for one."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from sqlalchemy import select

from anomaly_detection.service.processes.child import Child
from anomaly_detection.service.processes.repeating import Repeating
from anomaly_detection.service.sources.source_book import TOPICS
from anomaly_detection.service.storage.database import Database
from anomaly_detection.service.storage.tables import sources

__all__ = ["Leading"]

_PAUSE = 1.0
_AFTER_A_CRASH = 5.0
_LOG = logging.getLogger(__name__)


class Leading:
    """Looks once a second whether that process is there where it is needed.

    Parameters
    ----------
    database : Database
    url : str
        Its, for the process.
    models_dir : Path
    """

    def __init__(self, database: Database, url: str, models_dir: Path) -> None:
        self._database, self._models_dir = database, models_dir
        self._child = Child("anomaly_detection.service.topics.consumer", url)
        self._not_before = 0.0
        self._repeating = Repeating("topics", self._look, _PAUSE)

    def start(self) -> None:
        """Begin."""
        self._repeating.start()

    def close(self) -> None:
        """End, and the process with it: what it had not kept comes again."""
        self._repeating.close()
        self._child.end()

    def _look(self) -> None:
        status = self._child.ended()
        if status:
            _LOG.error("The process that takes messages ended with status %d; it is begun again.", status)
            self._not_before = time.monotonic() + _AFTER_A_CRASH
        if self._child.runs or time.monotonic() < self._not_before:
            return
        asks = select(sources.c.id).where(sources.c.kind.in_(TOPICS), sources.c.is_paused.is_(False)).limit(1)
        with self._database.reading() as connection:
            is_needed = connection.execute(asks).first() is not None
        if is_needed:
            self._child.begin(str(self._models_dir))
