"""Work done ahead: while one item is used, another thread makes the next."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, TypeVar

__all__ = ["ahead"]

Item = TypeVar("Item")
_END: Any = object()


def ahead(items: Iterable[Item]) -> Iterator[Item]:
    """Go through `items`, of which the next is made by a thread while the last is used.

    The items and their order are the same, and so is the error that making one raises, when its turn comes. Two are
    held at a time: the one in use and the one in the making. Whoever stops early waits for that one.

    Parameters
    ----------
    items : iterable
        Gone through by one thread, in a copy of the caller's context.
    """
    # An iterator of its own: its steps never run at the same time.
    steps = iter(items)
    context = copy_context()

    def make() -> Any:
        return next(steps, _END)

    with ThreadPoolExecutor(1, "ahead") as pool:
        coming = pool.submit(context.run, make)
        try:
            while (item := coming.result()) is not _END:
                coming = pool.submit(context.run, make)
                yield item
                # Else it would be held while the next but one is made.
                del item
        finally:
            pool.shutdown()
            if hasattr(steps, "close"):
                steps.close()
