"""Rates of several libraries, or counts, as lines with their names beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

__all__ = ["Series", "draw", "draw_counts", "spaced"]

Series: TypeAlias = list[tuple[int, float]]
"""Points of one line: where, and rows a second there."""

_OURS = "mlx_iforest"
# Okabe and Ito's palette, told apart with any colour vision; ours is drawn thicker than the others.
_COLOURS = ("#0072B2", "#E69F00", "#CC79A7", "#56B4E9", "#009E73", "#777777", "#000000")
_OUR_COLOUR = "#D55E00"
_INK, _PALE = "#222222", "#DDDDDD"
_CLOSEST_LABELS = 0.055  # of the height of the axes


def draw(lines: Mapping[str, Series], what: str, title: str, path: Path) -> None:
    """Draw rows a second against `what` into a PNG file; lines without points are left out."""
    lines = {name: line for name, line in lines.items() if line}
    others = [name for name in lines if not name.startswith(_OURS)]
    figure, axes, colours = _plotted(lines, others, marker="o", ms=3.5)
    axes.set_xscale("log")
    axes.set_yscale("log")
    ticks = sorted({where for line in lines.values() for where, _ in line})
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.minorticks_off()
    axes.set_ylim(*_decades([rate for line in lines.values() for _, rate in line]))
    axes.set_yticks(*_rates(*axes.get_ylim()))
    bottom, top = np.log(axes.get_ylim())
    heights = [float((np.log(line[-1][1]) - bottom) / (top - bottom)) for line in lines.values()]
    _finish(figure, axes, what, f"rows scored a second: {title}", (lines, heights, colours, others), path)


def draw_counts(lines: Mapping[str, Series], what: str, title: str, path: Path) -> None:
    """Draw counts from 0 against `what`, on plain axes, into a PNG file."""
    others = [name for name in lines if not name.startswith(_OURS)]
    figure, axes, colours = _plotted(lines, others)
    top = 1.05 * max(count for line in lines.values() for _, count in line)
    axes.set_ylim(0, top)
    axes.locator_params(axis="x", integer=True)
    _finish(figure, axes, what, title, (lines, [line[-1][1] / top for line in lines.values()], colours, others), path)


def _plotted(lines: Mapping[str, Series], others: Sequence[str], **how: Any) -> tuple[Figure, Axes, dict[str, str]]:
    figure = Figure(figsize=(8, 4.6), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    colours = {}
    for name, line in lines.items():
        is_ours = name not in others
        colours[name] = _OUR_COLOUR if is_ours else _COLOURS[others.index(name) % len(_COLOURS)]
        axes.plot(*zip(*line, strict=True), color=colours[name], linewidth=3 if is_ours else 1.5, **how)
    return figure, axes, colours


def _finish(
    figure: Figure,
    axes: Axes,
    what: str,
    title: str,
    named: tuple[Mapping[str, Series], list[float], Mapping[str, str], Sequence[str]],
    path: Path,
) -> None:
    """Grid, titles, and the lines' names at these shares of the height; then the file."""
    axes.grid(color=_PALE, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.set_xlabel(what, color=_INK)
    axes.set_title(title, loc="left", fontsize=11, color=_INK)
    lines, heights, colours, others = named
    for (name, line), height in zip(lines.items(), spaced(heights, _CLOSEST_LABELS), strict=True):
        axes.annotate(
            name,
            xy=line[-1],
            xytext=(1.04, height),
            textcoords="axes fraction",
            color=colours[name],
            fontweight="bold" if name not in others else "normal",
            va="center",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colours[name], "linewidth": 0.7, "linestyle": ":", "shrinkB": 4},
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Software": None})


def spaced(heights: Sequence[float], least: float) -> list[float]:
    """The heights moved apart to at least `least` from each other, in their order and about their own middle.

    Neighbours that are too close become a group, evenly spaced around the mean of where its members would stand.
    """
    order = np.argsort(heights, kind="stable")
    groups: list[list[float]] = []
    for height in np.asarray(heights, dtype=float)[order]:
        groups.append([float(height)])
        while len(groups) > 1 and _lowest(groups[-1], least) < _lowest(groups[-2], least) + least * len(groups[-2]):
            last = groups.pop()
            groups[-1] += last
    placed = np.empty(len(heights))
    placed[order] = [_lowest(group, least) + least * i for group in groups for i in range(len(group))]
    return placed.tolist()


def _lowest(group: Sequence[float], least: float) -> float:
    return float(np.mean(group)) - least * (len(group) - 1) / 2


def _decades(rates: Sequence[float]) -> tuple[float, float]:
    return 0.7 * min(rates), 1.4 * max(rates)


def _rates(low: float, high: float) -> tuple[list[float], list[str]]:
    """Ticks at 1, 2 and 5 times powers of ten, in words."""
    ticks = [
        m * 10.0**e
        for e in range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))))
        for m in (1, 2, 5)
        if low <= m * 10.0**e <= high
    ]
    return ticks, [f"{tick / 1e6:g} million" if tick >= 1e5 else f"{tick:,.0f}" for tick in ticks]
