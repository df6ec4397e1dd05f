"""Moments as text: UTC, to the millisecond, in an order that texts have too."""

from __future__ import annotations

import time
from datetime import datetime, timezone

__all__ = ["as_text", "now", "seconds_since"]


def now() -> str:
    """This moment, such as ``2026-11-23T10:15:00.123Z``."""
    return as_text(datetime.now(timezone.utc))


def as_text(moment: datetime) -> str:
    """A moment of UTC in the form of `now`."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def seconds_since(moment: str) -> float:
    """From a moment in the form of `now` until now."""
    then = datetime.strptime(moment, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc)
    return time.time() - then.timestamp()
