"""Days of a time zone, and the quarters of an hour by which records are counted: every zone's days begin with one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from anomaly_detection.service.http.problems import Problem

__all__ = ["days_in", "next_quarter", "quarter_of", "zone_of"]

_MINUTES = 15


def zone_of(name: str) -> ZoneInfo:
    """The time zone of a name; `Problem` (422) where there is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise Problem(422, f"{name!r} is no time zone; give one such as Europe/Berlin, or UTC.") from error


def quarter_of(moment: str) -> str:
    """The quarter of an hour in which a moment is, both as texts of UTC: 2026-03-02T10:15."""
    return f"{moment[:14]}{int(moment[14:16]) // _MINUTES * _MINUTES:02d}"


def next_quarter(moment: str) -> str:
    """The first quarter of an hour that begins at a moment or after it."""
    begun = quarter_of(moment)
    if begun == moment[:16] and moment[16:] == ":00.000Z":
        return begun
    return (datetime.fromisoformat(begun) + timedelta(minutes=_MINUTES)).isoformat(timespec="minutes")


def days_in(zone: tzinfo, since: str, until: str) -> tuple[int, Callable[[str], str]]:
    """How many characters of a moment, between two others, tell its day in a zone, and what tells it by these."""
    if str(zone) == "UTC":
        return 10, lambda begin: begin[:10]
    offsets = [_there(moment[:16], zone).utcoffset() or timedelta(0) for moment in (since, until)]
    length = 16 if any(offset % timedelta(hours=1) for offset in offsets) else 13
    return length, lru_cache(None)(lambda begin: _there(begin, zone).date().isoformat())


def _there(begin: str, zone: tzinfo) -> datetime:
    """A moment of UTC, of which the minutes may lack."""
    return datetime.fromisoformat(f"{begin:0<13}:00"[:16]).replace(tzinfo=timezone.utc).astimezone(zone)
