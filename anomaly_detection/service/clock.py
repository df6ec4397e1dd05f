"""Moments as text: UTC, to the millisecond, in an order that texts have too."""

from __future__ import annotations

from datetime import datetime, timezone

__all__ = ["as_text", "now"]


def now() -> str:
    """This moment, such as ``2026-11-23T10:15:00.123Z``."""
    return as_text(datetime.now(timezone.utc))


def as_text(moment: datetime) -> str:
    """A moment of UTC in the form of `now`."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
