"""Durations, sizes, shares and counts as people read them."""

from __future__ import annotations

__all__ = ["count", "number", "percent", "rate", "seconds", "size"]


def seconds(value: float) -> str:
    """Format a duration, e.g. ``420 ms``, ``1.24 s``."""
    return f"{value * 1000:.3g} ms" if value < 0.9995 else f"{value:.2f} s" if value < 100 else f"{value:,.0f} s"


def rate(value: float) -> str:
    """Format rows a second, e.g. ``370,000 /s``, ``1.62 M/s``."""
    return f"{value / 1e6:.2f} M/s" if value >= 999_500 else f"{value:,.0f} /s"


def size(value: float) -> str:
    """Format bytes in powers of 1000, e.g. ``12.3 MB``."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= 0.9995 * factor:
            return f"{value / factor:.3g} {unit}" if value < 999.5 * factor else f"{value / factor:,.0f} {unit}"
    return f"{value:.0f} B"


def percent(value: float) -> str:
    """Format a share of 1, e.g. ``96.95 %``."""
    return f"{100 * value:.2f} %"


def number(value: float) -> str:
    """Format a score or an area, four decimals."""
    return f"{value:.4f}"


def count(value: float) -> str:
    """Format a count with thousands separators."""
    return f"{value:,.0f}"
