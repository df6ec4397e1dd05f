"""Being told to end: what `docker stop`, systemd and a closed terminal send is treated as Ctrl-C is."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["Ended", "Told", "ended_by_signals"]

GRACE = 5.0
"""Seconds that the program may take to end by itself; `docker stop` waits for 10, then kills."""

_AGAIN = 0.02
"""Seconds after which an `Ended` that got lost is raised again."""

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")


class Ended(KeyboardInterrupt):
    """The process was told to end.

    Attributes
    ----------
    code : int
        What the process returns then, by custom: 128 and the signal's number.
    name : str
        The signal's.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.code = 128 + number
        self.name = signal.Signals(number).name


class Told:
    """What the process was told.

    Attributes
    ----------
    code : int
        Of `Ended`, or 0.
    """

    code = 0


@contextmanager
def ended_by_signals() -> Iterator[Told]:
    """The first signal to end raises `Ended` in the block, further ones are ignored; gives what it was.

    Where the block has not ended `GRACE` seconds later, because something waits or the error got lost, the process ends
    at once: files that are being written are removed and the processes of a pool killed. Signals that the process was
    started to ignore stay ignored (``nohup``). Only the main thread can do this; elsewhere nothing changes.
    """
    told = Told()
    if threading.current_thread() is not threading.main_thread():
        yield told
        return
    found = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
    # None is a handler that was not set from Python.
    before = {number: signal.getsignal(number) for number in found}
    before = {number: handler for number, handler in before.items() if handler not in (signal.SIG_IGN, None)}
    process, alarm, deadline, lost, hook = os.getpid(), None, 0.0, False, sys.unraisablehook

    def end(number: int, frame: FrameType | None) -> None:
        nonlocal alarm, deadline
        if os.getpid() != process:
            # In a forked process, which is not what was told to end, if it was the group.
            os._exit(128 + number)
        for each in before:
            signal.signal(each, signal.SIG_IGN)
        told.code = 128 + number
        if hasattr(signal, "SIGALRM"):
            deadline = time.monotonic() + GRACE
            alarm = signal.signal(signal.SIGALRM, again)
            signal.setitimer(signal.ITIMER_REAL, GRACE)
        raise Ended(number)

    def again(number: int, frame: FrameType | None) -> None:
        nonlocal lost
        left = deadline - time.monotonic()
        if not lost or left <= 0:
            _end_at_once(told.code)
        lost = False
        signal.setitimer(signal.ITIMER_REAL, left)
        raise Ended(told.code - 128)

    def unraisable(error: sys.UnraisableHookArgs) -> None:
        # What is raised in a function that C calls, as compilers do, goes no further.
        nonlocal lost
        if alarm is None or not isinstance(error.exc_value, Ended):
            hook(error)
            return
        lost = True
        signal.setitimer(signal.ITIMER_REAL, _AGAIN)

    for number in before:
        signal.signal(number, end)
    sys.unraisablehook = unraisable
    try:
        yield told
    finally:
        sys.unraisablehook = hook
        if alarm is not None:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            signal.signal(signal.SIGALRM, alarm)
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_at_once(code: int) -> None:
    # Nothing was written, and no pool begun, before these were loaded.
    files, pools = (sys.modules.get(name) for name in ("mlx_iforest.files", "multiprocessing"))
    if pools is not None:
        for child in pools.active_children():
            child.kill()
    if files is not None:
        files.settle_open()
    os._exit(code)
