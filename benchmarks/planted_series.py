"""Series without labels to choose by: synthetic ones and a year of air quality, and errors put into any."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = ["ERRORS", "Readings", "air_quality", "planted", "synthetic"]

Floats = NDArray[np.float64]

ERRORS = ("spike", "level", "ramp", "season", "stuck", "gap")
_HOUR, _FIVE_MINUTES = 1.0 / 24.0, 1.0 / 288.0
_DAYS = 60
_MISSING = -200.0


@dataclass(frozen=True)
class Readings:
    """Times in days, ascending, values (n,), and from when to when something is wrong."""

    name: str
    times: Floats
    values: Floats
    wrong: tuple[tuple[float, float], ...] = ()


def synthetic(count: int) -> Iterator[Readings]:
    """Days and half days, noise with a memory and heavy tails, and a drift, every hour and every five minutes."""
    for seed in range(count):
        for between in (_HOUR, _FIVE_MINUTES):
            random = np.random.default_rng(seed)
            n = int(_DAYS / between)
            times = np.arange(n, dtype=np.float64) * np.float64(between)
            day, half = random.uniform(0, 6), random.uniform(0, 2)
            values = 60 + day * np.sin(2 * np.pi * (times + random.random()))
            values += half * np.sin(4 * np.pi * times + random.random())
            memory = np.exp(-between / random.uniform(0.05, 0.5))
            shocks = random.standard_t(4, n) * np.sqrt(1 - memory**2) * random.uniform(0.5, 2)
            wander = np.zeros(n)
            for i in range(1, n):
                wander[i] = memory * wander[i - 1] + shocks[i]
            values += wander + np.cumsum(random.normal(0, 0.3 * np.sqrt(between), n)) * random.uniform(0, 1)
            values += random.normal(0, random.uniform(0.05, 0.5), n)
            rounded: Floats = np.round(values, int(random.integers(1, 4)))
            yield Readings(f"synthetic {seed}, {1440 * between:.0f} minutes", times, rounded)


def air_quality(path: Path) -> Iterator[Readings]:
    """Those columns of UCI's air quality that hold more than 70 % of their hours."""
    frame = pd.read_csv(path, sep=";", decimal=",").dropna(how="all").dropna(axis=1, how="all")
    moments = pd.to_datetime(frame["Date"] + " " + frame["Time"], format="%d/%m/%Y %H.%M.%S")
    times = (moments - pd.Timestamp("2004-01-01")).dt.total_seconds().to_numpy() / 86_400
    for name in frame.columns[2:]:
        values = frame[name].to_numpy(dtype=np.float64)
        given = ~np.isnan(values) & (values != _MISSING)
        if given.mean() > 0.7:
            yield Readings(f"air quality, {name}", times[given], values[given])


def planted(series: Readings, error: str, seed: int) -> Readings:
    """The series with one of `ERRORS` in its second half."""
    random = np.random.default_rng(seed + 1000)
    times, values = series.times, series.values.copy()
    n, spread, sign = len(values), float(np.std(values)), random.choice([-1.0, 1.0])
    day = round(1.0 / float(np.median(np.diff(times))))
    first = int(n * random.uniform(0.5, 0.9))
    kept = np.ones(n, dtype=bool)
    if error == "spike":
        length = 1
        values[first] += sign * 3.0 * max(float(np.std(np.diff(values))), 0.2)
    elif error == "level":
        length = 2 * day
        values[first : first + length] += sign * 1.5 * spread
    elif error == "ramp":
        length = day
        rise = np.linspace(0.0, 2.0 * spread, length)[: n - first]
        values[first : first + length] += sign * rise
    elif error == "season":
        length = 2 * day
        values[first : first + length] = values.mean()
    elif error == "stuck":
        length = max(day // 2, 8)
        values[first : first + length] = values[first]
    else:
        length = max(day // 4, 5)
        kept[first : first + length] = False
    # A gap is noticed by the reading after it.
    last = float(times[min(first + length, n - 1)])
    return Readings(f"{series.name}, {error}", times[kept], values[kept], ((float(times[first]), last),))
