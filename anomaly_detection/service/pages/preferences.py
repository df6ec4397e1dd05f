"""What language, region and time zone a request asks for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from anomaly_detection.service.access.sessions import cookie_of
from anomaly_detection.texts.viewer import LANGUAGES, Viewer

__all__ = ["viewer_of"]

_ZONE = re.compile(r"[A-Za-z0-9_+-]{1,32}(/[A-Za-z0-9_+-]{1,32}){0,2}")
_WEIGHED = re.compile(r"\s*([A-Za-z]{2,3})(?:-([A-Za-z]{2}))?(?:-[\w-]+)?\s*(?:;\s*q=([0-9.]+)\s*)?")


def viewer_of(headers: Mapping[str, str], language: str = "") -> Viewer:
    """Who sent a request: in the language asked for, else that of the cookie, else one that the browser prefers.

    It is written as in the region with which the browser prefers it.
    """
    accepted = _accepted(headers.get("accept-language", ""))
    wanted = (language, cookie_of(headers, "lang"), *(each for each, _ in accepted))
    chosen = next((each for each in wanted if each in LANGUAGES), "en")
    region = next((where for each, where in accepted if each == chosen and where), "")
    return Viewer(chosen, _zone(cookie_of(headers, "zone") or ""), region)


def _accepted(header: str) -> list[tuple[str, str]]:
    """Languages of ``Accept-Language`` with their regions, the preferred ones first."""
    found = [match for part in header[:500].split(",") if (match := _WEIGHED.fullmatch(part))]
    weights = [(_weight(match[3]), (match[1].lower(), (match[2] or "").upper())) for match in found]
    return [tag for weight, tag in sorted(weights, key=lambda pair: -pair[0]) if weight > 0]


def _weight(text: str | None) -> float:
    try:
        return 1.0 if text is None else float(text)
    except ValueError:
        return 0.0


@lru_cache(maxsize=1000)
def _zone(name: str) -> tzinfo | None:
    if not _ZONE.fullmatch(name):
        return None
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None
