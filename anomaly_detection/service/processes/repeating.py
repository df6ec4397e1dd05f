"""`Repeating`: a thread that looks at something again and again, whatever goes wrong at a look."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

__all__ = ["Repeating"]

_TO_END = 5.0
_LOG = logging.getLogger(__name__)


class Repeating:
    """Looks, waits, and looks again until it is closed.

    Parameters
    ----------
    name : str
        What it looks after, for the log.
    look : callable
    pause : float
        Seconds between looks.
    """

    def __init__(self, name: str, look: Callable[[], object], pause: float) -> None:
        self._name, self._look, self._pause = name, look, pause
        self._stop = threading.Event()
        self._told = ""
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End; a look that waits for another machine is left alone after some seconds."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(_TO_END)

    def _run(self) -> None:
        while not self._stop.wait(self._pause):
            try:
                self._look()
                self._told = ""
            except Exception as error:
                # A full disk, say: it may have room again. The same error is told once.
                if self._told != repr(error):
                    self._told = repr(error)
                    _LOG.exception("Looking after %s failed; it is tried again and again.", self._name)
