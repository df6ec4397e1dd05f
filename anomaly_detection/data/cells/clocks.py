"""Times of a clock as whole numbers, 1745 or 174530: read as their hour, for they are no amounts."""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt

__all__ = ["CLOCKS", "clock_of", "hour_of"]

CLOCKS = ("hhmm", "hhmmss")
"""Hours and minutes; hours, minutes and seconds. Noughts in front may be lost."""

_FIELDS_OF_SAP = "cputm erzet uzeit aezet"
_WORDS = frozenset({"time", "hhmm", "hhmmss", "uhrzeit", "zeit", "hora", "heure", "clock", *_FIELDS_OF_SAP.split()})
_LENGTHS = frozenset({"lead", "cycle", "transit", "processing", "duration", "elapsed", "run", "response", "waiting"})
_DIGITS, _WITH_COLONS = re.compile(r"\d{1,6}"), re.compile(r"([01]?\d|2[0-3])(?::[0-5]\d){1,2}")
_FEWEST = 20
_FEWEST_HOURS = 6
_MOST = 0.995


def clock_of(numbers: npt.NDArray[np.float64], tokens: frozenset[str]) -> str | None:
    """By which of `CLOCKS` numbers are written, where the words of their column's name and nearly all say so."""
    present = numbers[~np.isnan(numbers)]
    if not tokens & _WORDS or tokens & _LENGTHS or present.size < _FEWEST or not (present == np.round(present)).all():
        return None
    clock = "hhmm" if np.quantile(present, _MOST) <= 2400 else "hhmmss"
    parts = present if clock == "hhmm" else present // 100
    fits = (present >= 0) & (parts <= 2400) & (parts % 100 < 60) & ((clock == "hhmm") | (present % 100 < 60))
    # Durations of less than an hour and amounts in steps of 50 have minutes of a clock too.
    hours, minutes = np.unique(parts // 100), np.unique(parts % 100)
    several = len(hours) >= _FEWEST_HOURS and len(minutes) >= _FEWEST_HOURS and np.median(parts) >= 100
    return clock if fits.mean() >= _MOST and several else None


def hour_of(text: str, clock: str) -> str:
    """The hour of a time of a clock, with colons too, such as ``17h``; of another text itself."""
    if (found := _WITH_COLONS.fullmatch(text)) is not None:
        return f"{int(found[1])}h"
    if _DIGITS.fullmatch(text) is None:
        return text
    figures = int(text) if clock == "hhmm" else int(text) // 100
    return f"{figures // 100 % 24}h" if figures <= 2400 and figures % 100 < 60 else text
