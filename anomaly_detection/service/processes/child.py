"""`Child`: a process that works beside this one, and ends with it."""

from __future__ import annotations

import os
import subprocess
import sys

__all__ = ["Child"]

_TO_END = 2.0


class Child:
    """A module that runs as a process, at most one at a time.

    Parameters
    ----------
    module : str
    url : str
        Of the database. It is given in the environment: arguments of a process are for all to see.
    """

    def __init__(self, module: str, url: str) -> None:
        self._module, self._url = module, url
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def runs(self) -> bool:
        """Whether it was begun and its end was not asked for yet (`ended`)."""
        return self._process is not None

    def begin(self, *arguments: str) -> None:
        """Start it."""
        # In a session of its own: an interrupt from the keyboard is for the service, which tells it to end.
        self._process = subprocess.Popen(
            [sys.executable, "-m", self._module, *arguments],
            env={**os.environ, "DATABASE_URL": self._url},
            start_new_session=True,
        )

    def ended(self) -> int | None:
        """The status with which it ended since this was last asked; None where it runs, or was not begun."""
        status = None if self._process is None else self._process.poll()
        if status is not None:
            self._process = None
        return status

    def end(self) -> bool:
        """End it; says whether there was one."""
        if self._process is None:
            return False
        self._process.terminate()
        try:
            self._process.wait(_TO_END)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None
        return True
