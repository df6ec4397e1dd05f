"""What a process has in its memory for long, settled after a model was loaded."""

from __future__ import annotations

import gc

from anomaly_detection.heap import trim

__all__ = ["settle"]

_ROUNDS = (50, 100)
"""Looks at new objects before one at those that stayed, and such before a look at all: by itself 10 each, often enough
in one batch to take a fourteenth of its time. Fewer looks at new objects would each hold up requests for longer."""


def settle() -> None:
    """Take what is there now for what stays, and give back what loading it took besides.

    Else Python looks through all of it for what nobody needs, a tenth of a second at a time in which nobody is
    answered, and the C library keeps what it once had. What stayed until now is looked through here, once: a model that
    another has replaced is gone after this.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    gc.set_threshold(700, *_ROUNDS)
    trim()
