"""`Fleet`: several processes that answer requests on one socket."""

from __future__ import annotations

import logging
import pickle
import socket
import subprocess
import sys
import time

from anomaly_detection.errors import DataError
from anomaly_detection.service.processes.configuration import Configuration

__all__ = ["Fleet"]

_TO_END = 7.0
"""Seconds in which they end: requests may take 5 of them."""

_AFTER_A_CRASH = 1.0
_LOG = logging.getLogger(__name__)


class Fleet:
    """Starts processes that answer, another one where one has ended, and ends them all.

    Each loads the model for itself, which is little beside the libraries of a process (docs/performance.md), and writes
    by itself; the database has them take turns.

    Parameters
    ----------
    configuration : Configuration
    listener : socket
        On which they all listen: who is free takes the next connection.
    """

    def __init__(self, configuration: Configuration, listener: socket.socket) -> None:
        self._configuration, self._listener = configuration, listener
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start them, and wait until all answer; raises `DataError` where one does not."""
        self._processes = [self._begun() for _ in range(self._configuration.workers)]
        for process in self._processes:
            assert process.stdout is not None
            if not process.stdout.readline():
                raise DataError("A process that answers requests ended at its start; what it said stands above.")

    def look(self) -> None:
        """Start another one for each that has ended."""
        for place, process in enumerate(self._processes):
            if process.poll() is not None:
                _LOG.error("A process that answers ended with status %d; another one is started.", process.returncode)
                _close(process)
                # One that ends at once would be started again and again.
                time.sleep(_AFTER_A_CRASH)
                self._processes[place] = self._begun()

    def close(self) -> None:
        """End them; those that do not are killed."""
        for process in self._processes:
            if process.poll() is None:
                process.terminate()
        end = time.monotonic() + _TO_END
        for process in self._processes:
            try:
                process.wait(max(0.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            _close(process)

    def _begun(self) -> subprocess.Popen[bytes]:
        number = self._listener.fileno()
        # In a session of its own: an interrupt from the keyboard is for the first process, which tells it to end.
        process = subprocess.Popen(
            [sys.executable, "-m", "anomaly_detection.service.http.answering", str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[number],
            start_new_session=True,
        )
        assert process.stdin is not None
        # What it was started with may name a password: no argument of a process is a secret.
        process.stdin.write(pickle.dumps(self._configuration))
        process.stdin.flush()
        return process


def _close(process: subprocess.Popen[bytes]) -> None:
    for stream in (process.stdin, process.stdout):
        assert stream is not None
        stream.close()
