"""`python -m anomaly_detection.service.topics.consumer FOLDER`: takes the messages of all topics, until there are none.

The URL of the database is in the environment, ``DATABASE_URL``, as for the worker.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import RowMapping

from anomaly_detection.service.sources.source_book import TOPICS, all_sources
from anomaly_detection.service.storage.database import Database
from anomaly_detection.service.topics.consuming import Consuming

__all__ = ["consume"]

_PAUSE = 1.0
_AFTER_TROUBLE = 5.0
_TO_END = 15.0
_LOG = logging.getLogger(__name__)


class _Reader:
    """The thread that reads one source."""

    def __init__(self, database: Database, models_dir: Path, source: RowMapping) -> None:
        self._stop = threading.Event()
        self._is_removed = False
        self._consuming = Consuming(database, models_dir, source)
        self._told = ""
        self._thread = threading.Thread(target=self._run, name=f"source {source['id']}", daemon=True)
        self._thread.start()

    def end(self, is_removed: bool) -> None:
        """Have it end after its batch."""
        self._is_removed = is_removed
        self._stop.set()

    def wait(self) -> None:
        """Wait until it has ended; one that waits for another machine is left alone after some seconds."""
        self._thread.join(_TO_END)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                goes_on = self._consuming.turn()
            except Exception as error:
                # The same error is told once.
                if self._told != repr(error):
                    self._told = repr(error)
                    _LOG.exception("Taking messages failed; it is tried again and again.")
                goes_on = False
            if not goes_on:
                self._stop.wait(_AFTER_TROUBLE)
        if self._is_removed:
            self._consuming.leave()
        else:
            self._consuming.close()


def consume(database: Database, models_dir: Path, goes_on: Callable[[], bool]) -> None:
    """Take what topics bring, a thread for each source, as long as there are such sources and it `goes_on`."""
    readers: dict[int, _Reader] = {}
    while goes_on():
        with database.reading() as connection:
            rows = {row["id"]: row for row in all_sources(connection) if row["kind"] in TOPICS}
        wanted = {number: row for number, row in rows.items() if not row["is_paused"]}
        for number in readers.keys() - wanted.keys():
            readers[number].end(number not in rows)
            readers.pop(number).wait()
        for number in wanted.keys() - readers.keys():
            readers[number] = _Reader(database, models_dir, wanted[number])
        if not readers:
            return
        time.sleep(_PAUSE)
    for reader in readers.values():
        reader.end(is_removed=False)
    for reader in readers.values():
        reader.wait()


if __name__ == "__main__":
    parent = os.getppid()
    # Nobody waits for what was not settled: it comes again.
    consume(Database(os.environ["DATABASE_URL"]), Path(sys.argv[1]), lambda: os.getppid() == parent)
