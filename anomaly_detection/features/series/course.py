"""`Course`: a series of readings, each judged by what the series did before: step, course, slope, level, stuck, gap."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from anomaly_detection.errors import DataError
from anomaly_detection.features.compiled.course import CELLS, COUNTS, LOOKS, SCALED, TAILS, follow, following
from anomaly_detection.texts.said import N_, Figure, Said, say

__all__ = ["FALSE_ALARM_DAYS", "NAMES", "OF_DAYS", "OF_HOURS", "WAYS", "Course", "Judged", "alert_level", "sentence"]

Floats = npt.NDArray[np.float64]

NAMES = ("step", "course", "slope", "level", "stuck", "gap")
"""The ways in which a reading is looked at."""

OF_HOURS, OF_DAYS = "course of hours", "course of days"
"""What the course is called where an hour has several readings, and where a day has one at most."""

WAYS = (*NAMES, OF_HOURS, OF_DAYS)

FALSE_ALARM_DAYS = 14.0
"""An alert is as improbable as one reading in all those of so many days."""

_DAYS = 9
_REMEMBERED = 28.0
_QUIET = 3.0
_SHORTEST = 1.0 / 24.0
_FEWEST = 3
_SEVERAL = 0.75


@dataclass(frozen=True)
class Judged:
    """What is said of n readings.

    Attributes
    ----------
    nats : ndarray of float64, shape (n, 6)
        ``-log`` of how improbable each reading is in each way of `NAMES`, by its series' own past; 0 of what is usual.
    told : ndarray of float64, shape (n, 6, 2)
        What is odd, and what was usual, see `sentence`; NaN where nothing is known.
    between : float
        Days between two readings.
    """

    nats: Floats
    told: Floats
    between: float

    @property
    def evidence(self) -> Floats:
        """That of the way with most, shape (n,)."""
        return np.asarray(self.nats.max(axis=1, initial=0.0))

    def way(self, row: int) -> str:
        """The way in which a reading is odd, of `WAYS`."""
        name = NAMES[int(self.nats[row].argmax())]
        if name != "course":
            return name
        return OF_HOURS if self.between < _SEVERAL * _SHORTEST else OF_DAYS if self.between >= 1.0 else name

    def odd(self, row: int) -> tuple[float, float]:
        """What is odd in that way, and what was usual."""
        value, usual = self.told[row, int(self.nats[row].argmax())].tolist()
        return value, usual

    def sentence(self, row: int, name: str) -> Said:
        """What is odd about a reading of what is called so, see the function of this name."""
        return sentence(self.way(row), name, *self.odd(row))


def _figure(value: float) -> str:
    return Figure(f"{value:.4g}")


def _hours(days: float) -> str:
    minutes = days * 1440.0
    if minutes < 120:
        return say("%(count)s minutes", count=_figure(minutes))
    return say("%(count)s hours", count=_figure(minutes / 60))


def _beside(value: float, usual: float) -> str:
    template = N_("%(distance)s above") if value > usual else N_("%(distance)s below")
    return say(template, distance=_figure(abs(value - usual)))


_OF_NUMBERS = {
    "step": N_("%(name)s %(value)s: %(beside)s the nearer of the two readings before it (%(usual)s)"),
    "course": N_("%(name)s %(value)s: %(beside)s the last week's course (%(usual)s at this hour)"),
    OF_HOURS: N_(
        "%(name)s %(value)s on the mean of this hour: %(beside)s the last week's course (%(usual)s at this hour)"
    ),
    OF_DAYS: N_("%(name)s %(value)s: %(beside)s the median of the last week (%(usual)s)"),
    "level": N_("%(name)s %(value)s on the mean of a day: %(beside)s the days of the week before (%(usual)s)"),
}


def sentence(way: str, name: str, value: float, usual: float) -> Said:
    """What is odd about a reading, in numbers that anybody can look up.

    Parameters
    ----------
    way : str
        Of `WAYS`.
    name : str
        What is measured, such as "temperature".
    value, usual : float
        What `Judged` has told.
    """
    if way == "slope":
        template = N_("%(name)s is %(now)s the last week's course, and was %(before)s it some six hours before")
        return say(template, name=name, now=_beside(value, 0.0), before=_beside(usual, 0.0))
    if way == "stuck":
        return say("%(name)s has not moved in %(count)s readings", name=name, count=_figure(value))
    if way == "gap":
        template = N_("%(name)s was not measured for %(value)s; usual are %(usual)s")
        return say(template, name=name, value=_hours(value), usual=_hours(usual))
    beside = _beside(value, usual)
    return say(_OF_NUMBERS[way], name=name, value=_figure(value), beside=beside, usual=_figure(usual))


class Course:
    """A series, and all that is remembered of it: bounded, whatever its length.

    An hour's readings (of rarer ones each by itself) make a cell. A reading is beside the nearer of the two before it
    (*step*); the mean of its cell so far beside the median of the same hour's on the seven days before (*course*); how
    far that is beside the median of how far it was five to seven cells before (*slope*); the mean of a day of cells
    beside the median of the seven days before (*level*). Each distance is beside those of some four weeks before: what
    a tenth and a hundredth of them are beyond makes a tail that goes on as a power law. A value that stands still
    (*stuck*) and a time without one (*gap*) are beside how often that was. What comes sooner than half of the usual
    time after the one before is no step and does not stand still. Every number that is told is a mean or median of
    readings before.

    Parameters
    ----------
    between : float
        Days between two readings, above 0.

    Raises
    ------
    DataError
        For another `between`.
    """

    def __init__(self, between: float) -> None:
        if not 0.0 < between < np.inf:
            raise DataError(f"The time between two readings is above 0 days, not {between}; look at the times.")
        self.between = between
        cell = max(_SHORTEST, between)
        per_day = max(round(1.0 / cell), 1)
        self._sizes = (
            between,
            # Whole cells make a day, so that the same hour is the same.
            1.0 / per_day if cell < 1.0 else cell,
            float(per_day),
            _REMEMBERED / between,
            alert_level(between),
            _QUIET / min(between, 1.0),
        )
        self.cells = np.full((_DAYS * per_day, CELLS), np.nan)
        self.tails = np.zeros((SCALED, TAILS))
        self.counts = np.zeros(COUNTS)

    @classmethod
    def of(cls, times: npt.ArrayLike) -> Course:
        """One for a series with readings at these times, in days: half of them are that far apart at most."""
        given = np.asarray(times, dtype=np.float64)
        apart = np.diff(given)
        apart = apart[apart > 0.0]
        if apart.size < _FEWEST:
            raise DataError(f"There are {given.size} readings, of which nobody can tell how far apart they are.")
        return cls(float(np.median(apart)))

    def follow(self, times: npt.ArrayLike, values: npt.ArrayLike, *, compiled: bool = True) -> Judged:
        """Judge the next readings, and go on from there.

        All at once or one by one, the same comes out, bit for bit: each is judged by those before it alone.

        Parameters
        ----------
        times : array-like of float, shape (n,)
            Days, in their order, none before one that was there.
        values : array-like of float, shape (n,)
            NaN where missing.
        compiled : bool
            Whether by compiled code; the plain one says the same, but for the last digit of a logarithm.

        Raises
        ------
        DataError
            For times in another order.
        """
        when = np.ascontiguousarray(times, dtype=np.float64)
        what = np.ascontiguousarray(values, dtype=np.float64)
        known = when[~np.isnan(when)]
        if when.shape != what.shape or when.ndim != 1:
            raise DataError(f"There are times of shape {when.shape} for values of {what.shape}; give one for each.")
        if (np.diff(known) < 0.0).any() or (known.size and self.counts[0] and known[0] < self.counts[4]):
            raise DataError("Readings are judged by those before them; give them in the order of their times.")
        nats, told = np.empty((len(when), LOOKS)), np.empty((len(when), LOOKS, 2))
        step = following() if compiled else follow
        step(when, what, self._sizes, self.cells, self.tails, self.counts, nats, told)
        return Judged(nats, told, self.between)

    def copy(self) -> Course:
        """As it is now; neither changes the other."""
        return copy.deepcopy(self)


def alert_level(between: float) -> float:
    """The evidence, in nats, from which on a reading is an alert: one in all those of two weeks is as improbable."""
    return float(np.log(max(FALSE_ALARM_DAYS / between, 2.0)))
