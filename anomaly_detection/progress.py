"""Long loops say how far they are, to whoever wants to know."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

__all__ = ["listening", "steps"]

_LEAST = 100
"""Loops of fewer steps end soon enough."""

Item = TypeVar("Item")
_listener: ContextVar[Callable[[float, str], None] | None] = ContextVar("listener", default=None)


@contextmanager
def listening(listener: Callable[[float, str], None]) -> Iterator[None]:
    """Within the block, call ``listener(fraction, message)`` as this thread's loops go on, from 0 to 1 for each."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def steps(items: Sequence[Item], message: str) -> Iterator[Item]:
    """Go through `items`, and say with `message` how many are done: once for each hundredth of a long loop."""
    listener, count = _listener.get(), len(items)
    for i, item in enumerate(items):
        if listener is not None and count >= _LEAST and i % (count // _LEAST) == 0:
            listener(i / count, f"{message} ({i:,} of {count:,})")
        yield item
