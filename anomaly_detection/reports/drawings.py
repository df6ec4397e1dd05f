"""Small pictures for the page, as SVG that lies in it: bars over time, and a value among those of its group."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from anomaly_detection.alerts.spread import Spread
from anomaly_detection.alerts.totals import PeriodTotals
from anomaly_detection.reports.figures import count, percent

__all__ = ["draw_periods", "draw_spread"]

_WIDTH, _HEIGHT = 240, 44
_LONG, _TALL = 960, 180
_AXIS = 22


def draw_spread(spread: Spread) -> Markup:
    """A histogram of the group and a mark where the record lies; the heights are roots, so that few are seen too."""
    top = max(spread.counts)
    path = _bars([(bar / top) ** 0.5 for bar in spread.counts], _WIDTH, _HEIGHT)
    place = spread.place * _WIDTH
    return Markup(
        '<svg class="spread" viewBox="-5 -9 250 55" width="250" height="55" role="img" aria-label="{}">'
        '<path class="bars" d="{}"/><path class="mark" d="M{:.1f} 44V0m-4.5 -8h9l-4.5 8z"/></svg>'
    ).format(f"{spread.value} among {count(sum(spread.counts))} records: {spread.what}", path, place)


def draw_periods(totals: PeriodTotals) -> Markup:
    """Alerts by period as bars, each of which says its numbers when it is pointed at."""
    bars = totals.totals
    top = max(1, *(bar.alerts for bar in bars))
    step = _LONG / len(bars)
    gap = min(3.0, 0.2 * step)
    drawn = Markup("").join(
        Markup('<rect x="{:.2f}" y="{:.1f}" width="{:.2f}" height="{:.1f}"><title>{}</title></rect>').format(
            i * step,
            _TALL - _TALL * bar.alerts / top,
            step - gap,
            _TALL * bar.alerts / top,
            f"{bar.name}: {count(bar.alerts)} of {count(bar.records)} records"
            + (f" ({percent(bar.alerts / bar.records)})" if bar.records else ""),
        )
        for i, bar in enumerate(bars)
    )
    every = max(1, -(-len(bars) // 8))
    marks = Markup("").join(
        Markup('<text x="{:.1f}" y="{}">{}</text>').format(i * step, _TALL + _AXIS - 4, bars[i].name)
        for i in range(0, len(bars), every)
    )
    worst = max(bars, key=lambda bar: bar.alerts)
    return Markup(
        '<svg class="periods" viewBox="0 0 {} {}" role="img" aria-label="{}">{}'
        '<path class="axis" d="M0 {}H{}"/>{}</svg>'
    ).format(
        _LONG,
        _TALL + _AXIS,
        f"Alerts by {totals.unit} of {totals.column}; most in {worst.name}, {count(worst.alerts)}",
        drawn,
        _TALL,
        _LONG,
        marks,
    )


def _bars(heights: Sequence[float], width: float, height: float) -> str:
    """One path with a bar for each of the heights, from 0 to 1; any above 0 is at least a line."""
    step = width / len(heights)
    return "".join(
        f"M{i * step:.1f} {height}v{-max(1.0, height * one):.1f}h{step - 1:.1f}V{height}z"
        for i, one in enumerate(heights)
        if one
    )
