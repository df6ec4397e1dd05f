"""What an argument may be: numbers within their bounds."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

__all__ = ["port", "positive", "rate", "ratio", "seconds", "seed", "tolerance", "whole"]


def whole(least: int, most: int | None = None, beyond: str = "") -> Callable[[str], int]:
    """A whole number from `least` up, and to `most`; `beyond` says what is wrong with a larger one."""

    def read(text: str) -> int:
        try:
            value = int(text.replace("_", "").replace(",", ""))
        except ValueError:
            value = least - 1
        if value < least:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {least} up")
        if most is not None and value > most:
            raise argparse.ArgumentTypeError(f"{text!r} {beyond or f'is too large; give at most {most:,}'}")
        return value

    return read


def _number(fits: Callable[[float], bool], what: str) -> Callable[[str], float]:
    """A number that fits; `what` one is."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not fits(value):
            raise argparse.ArgumentTypeError(f"{text!r} is no {what}")
        return value

    return read


seed = whole(0, 2**32 - 1, f"is too large; give a whole number below 2**32 = {2**32}")
port = whole(0, 65535, "is no port; give 1 to 65535, or 0 for any that is free")
ratio = _number(lambda value: 0.0 < value <= 0.5, "share above 0 and at most 0.5, such as 0.05")
rate = _number(lambda value: 0.0 < value < 1.0, "share above 0 and below 1, such as 0.1")
tolerance = _number(lambda value: 0.0 <= value < 1.0, "change of a score, from 0 up and below 1, such as 0.01")
positive = _number(lambda value: 0.0 < value < math.inf, "number above 0")
seconds = _number(lambda value: 0.0 <= value < math.inf, "number of seconds, 0 or more")
