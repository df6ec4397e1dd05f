"""Processes that begin with Numba loaded and its compiler warm, each forked from one that keeps waiting.

Loading takes a second of a processor, most of what a process costs that compiles one small function.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections.abc import Mapping
from pathlib import Path


class ReadyNumba:
    """Runs programs as ``python -W error -c`` would, one at a time."""

    def __init__(self) -> None:
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def run(self, code: str, environment: Mapping[str, str], folder: Path) -> tuple[int, str, str]:
        """The program's exit status and what it printed, on both streams; ``PYTHONPATH`` is one folder."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([code, dict(environment), str(folder)]) + "\n")
        self._process.stdin.flush()
        status, out, err = json.loads(self._process.stdout.readline())
        return status, out, err

    def close(self) -> None:
        self._process.communicate()


def _become(code: str, environment: Mapping[str, str], folder: str) -> None:
    """What the forked process does."""
    from numba.core import config

    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    config.reload_config()  # type: ignore[attr-defined]
    sys.path[0] = environment["PYTHONPATH"]
    warnings.simplefilter("error")
    exec(code, {"__name__": "__main__"})


def main() -> None:
    """Answer until the input ends."""
    from numba import njit

    njit(lambda x: x + 1)(1)
    for line in sys.stdin:
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            child = os.fork()
            if not child:
                status = 1
                os.dup2(out.fileno(), 1)
                os.dup2(err.fileno(), 2)
                try:
                    _become(*json.loads(line))
                    status = 0
                except BaseException:
                    traceback.print_exc()
                finally:
                    sys.stdout.flush()
                    os._exit(status)
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            for written in (out, err):
                written.seek(0)
            sys.stdout.write(json.dumps([status, out.read(), err.read()]) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
