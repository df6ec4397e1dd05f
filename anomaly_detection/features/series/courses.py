"""`Courses`: numbers of a sensor or a lane beside what their own series did before, by their times."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from anomaly_detection.data.columns.levels import Levels
from anomaly_detection.data.columns.table import Table, as_table
from anomaly_detection.features.clauses import tells_time
from anomaly_detection.features.dates.spans import days_of
from anomaly_detection.features.group import FeatureGroup, FeatureSource, Range, Row
from anomaly_detection.features.numbers.bounds import bounded
from anomaly_detection.features.series.course import NAMES, Course, Judged, sentence
from anomaly_detection.features.series.sequence import find_series
from anomaly_detection.texts.said import N_, Said, say

__all__ = ["Courses", "Followed"]

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

_FEWEST_A_SERIES = 200
_REGULAR = 0.8
_GAP = NAMES.index("gap")


@dataclass(frozen=True)
class Followed:
    """A column that is followed, with what is remembered of each of its series when the training records end.

    Attributes
    ----------
    column, time : str
    by : str or None
        The category whose rows make a series each; None where all rows are one.
    levels : Levels or None
        Those of `by`.
    between : float
        Days between two readings.
    cells : ndarray of float64, shape (series, m, 3)
    tails : ndarray of float64, shape (series, 4, 4)
    counts : ndarray of float64, shape (series, 9)
        Of each series, see `Course`.
    """

    column: str
    time: str
    by: str | None
    levels: Levels | None
    between: float
    cells: Floats
    tails: Floats
    counts: Floats

    def judged(self, X: Table, carried: Mapping[int, Course]) -> Judged:
        """What is said of each record by those before it of its series, and by what is known if all that is older.

        That are series as they were `carried` on, of each code, or as the training records left them: then how long it
        was until the first record says nothing.
        """
        n = len(X)
        nats, told = np.zeros((n, len(NAMES))), np.full((n, len(NAMES), 2), np.nan)
        times, values = days_of(X[self.time]), bounded(X[self.column])
        for code, rows in _series(X, self.by, self.levels, times):
            known = self._known(code, carried)
            course = known if times[rows[0]] > _last(known) else Course(self.between)
            found = course.follow(times[rows], values[rows])
            if code not in carried:
                found.nats[0, _GAP] = 0.0
            nats[rows], told[rows] = found.nats, found.told
        return Judged(nats, told, self.between)

    def carry_on(self, X: Table, carried: dict[int, Course]) -> None:
        """Follow the series of the training records through records that come later; others change nothing."""
        times, values = days_of(X[self.time]), bounded(X[self.column])
        for code, rows in _series(X, self.by, self.levels, times):
            course = self._known(code, carried)
            later = rows[times[rows] > _last(course)]
            if 0 <= code < len(self.counts) and len(later):
                course.follow(times[later], values[later])
                carried[code] = course

    def _known(self, code: int, carried: Mapping[int, Course]) -> Course:
        """A series as it was carried on, or as the training records left it, of which there may be none.

        A copy, to be followed further: another thread may do so too.
        """
        if code in carried:
            return carried[code].copy()
        made = Course(self.between)
        if 0 <= code < len(self.counts) and self.counts[code, 0] > 0:
            made.cells, made.tails, made.counts = (each[code].copy() for each in (self.cells, self.tails, self.counts))
        return made


def _last(course: Course) -> float:
    """The time of a series' last reading, in days."""
    return float(course.counts[4]) if course.counts[0] > 0 else -np.inf


def _series(X: Table, by: str | None, levels: Levels | None, times: Floats) -> Iterator[tuple[int, Codes]]:
    """Each series' code and its rows in the order of their times; those without a time are in none."""
    codes = np.zeros(len(X), dtype=np.int64) if by is None or levels is None else levels.codes(X[by]).astype(np.int64)
    known = np.flatnonzero(~np.isnan(times))
    order = known[np.lexsort((times[known], codes[known]))]
    starts = np.flatnonzero(np.diff(codes[order], prepend=codes[order[:1]] - 1))
    for rows in np.split(order, starts[1:]) if len(order) else ():
        yield int(codes[rows[0]]), rows


class Courses(FeatureGroup):
    """Evidence in nats that a record falls out of its own series' past, see `Course`.

    For numbers that the rows around foretell, in records with a regular time, of all or of each level of a category.
    A record is judged by those before it alone, which it came with, and by the training records before them or, where
    recent ones are kept, by all since the training.

    Parameters
    ----------
    numbers, dates, categories : sequence of str
    """

    counted: ClassVar[bool] = True
    remembers: ClassVar[bool] = True
    nats: ClassVar[bool] = True
    units: ClassVar[tuple[float, float]] = (0.0, 1.0)
    titled: ClassVar[Mapping[str, str]] = {
        "high": N_("above its own course"),
        "low": N_("below its own course"),
        "repeated": N_("not moving"),
    }

    carried: list[dict[int, Course]] | None = None
    """Of each of `followed_`, its series as they are now, where recent records are kept; not learned."""

    def __init__(self, numbers: Sequence[str] = (), dates: Sequence[str] = (), categories: Sequence[str] = ()) -> None:
        self.numbers = numbers
        self.dates = dates
        self.categories = categories

    def fit(self, X: Any, y: object = None) -> Courses:
        """Find the series, and follow them to their end."""
        self.fit_transform(X)
        return self

    def fit_transform(self, X: Any, y: object = None, **params: Any) -> npt.NDArray[np.float32]:
        """Do that, and give the features of the training records, each by those before it."""
        X = self._seen(X)
        self.followed_: list[Followed] = []
        found = []
        # The hour of a date goes another way where clocks are put forward.
        numbers = [name for name in self.numbers if not tells_time(name)]
        for one in find_series(X, numbers, self.categories) if self.dates else ():
            for time in self.dates:
                made = _followed(X, one.column, time, one.by, one.levels)
                if made is not None:
                    self.followed_.append(made[0])
                    found.append(made[1])
                    break
        return np.column_stack([np.empty((len(X), 0)), *found]).astype(np.float32)

    def features_of(self, X: Table) -> npt.NDArray[np.float32]:
        """The features, shape (n, columns)."""
        found = [self._judged(X, i).evidence for i in range(len(self.followed_))]
        return np.column_stack([np.empty((len(X), 0)), *found]).astype(np.float32)

    def _judged(self, X: Table, place: int) -> Judged:
        # Reasons are told of the same records.
        carried = self.carried[place] if self.carried else {}
        made: Judged = X.made((self, place), lambda: self.followed_[place].judged(X, carried))
        return made

    def keep_recent(self) -> None:
        """See `FeatureGroup`; records that are no later than those before them of their series change nothing."""
        self.carried = [{} for _ in self.followed_]

    def remember(self, X: Any, label: Callable[[int], Callable[[], str]]) -> None:
        """See `FeatureGroup`."""
        X = as_table(X)
        for one, carried in zip(self.followed_, self.carried or (), strict=False):
            one.carry_on(X, carried)

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """Return ``<column> beside its own past`` for each."""
        return np.asarray([f"{one.column} beside its own past" for one in self.followed_], dtype=object)

    @property
    def feature_columns_(self) -> list[tuple[str, ...]]:
        """The column of each feature."""
        return [(one.column,) for one in self.followed_]

    @property
    def feature_groups_(self) -> list[tuple[str, ...]]:
        """The category whose rows make a series, if any."""
        return [() if one.by is None else (one.by,) for one in self.followed_]

    def in_units(self, X: Any, rows: Codes | None = None) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Return in which way each value is odd, with what is told of it, and what was usual; both (n, columns)."""
        X = as_table(X)
        places = np.arange(len(X)) if rows is None else np.asarray(rows, dtype=np.int64)
        told = np.full((2, len(places), len(self.followed_)), None, dtype=object)
        for i in range(len(self.followed_)):
            judged = self._judged(X, i)
            for at, place in enumerate(places.tolist()):
                if judged.nats[place].any():
                    value, usual = judged.odd(place)
                    told[:, at, i] = (judged.way(place), value), usual
        return told[0], told[1]

    @classmethod
    def direction(cls, value: Any, usual: Any) -> str:
        """``high``, ``low``, ``repeated`` or, of a gap, ``rare``."""
        if value is None or value[0] == "gap":
            return "rare"
        return "repeated" if value[0] == "stuck" else "high" if value[1] > usual else "low"

    @classmethod
    def says(cls, value: Any) -> bool:
        """Nothing of what is as ever."""
        return value is not None

    @classmethod
    def tells(cls, usual: Any) -> bool:
        """Nothing where nothing was before."""
        return usual is not None

    @classmethod
    def phrase(cls, source: FeatureSource, value: Any, usual: Any, row: Row, rows: int, between: Range | None) -> Said:
        """`FeatureGroup.phrase`: see `sentence`; of which series it is said."""
        way, found = value
        told = sentence(way, source.columns[0], found, usual)
        return say("%(told)s, of this %(column)s", told=told, column=source.group_by[0]) if source.group_by else told


def _followed(
    X: Table, column: str, time: str, by: str | None, levels: Levels | None
) -> tuple[Followed, Floats] | None:
    """Follow a column by a time; None where that is not regular. Also the evidence of each record."""
    times, values = days_of(X[time]), bounded(X[column])
    series = list(_series(X, by, levels, times))
    if not series or sum(len(rows) for _, rows in series) < _FEWEST_A_SERIES * len(series):
        return None
    apart = np.concatenate([np.diff(times[rows]) for _, rows in series])
    between = float(np.median(apart))
    if not between > 0.0 or not float((np.abs(apart / between - 1.0) <= 0.5).mean()) >= _REGULAR:
        return None
    count = 1 if levels is None else len(levels)
    empty = Course(between)
    cells, tails, counts = (np.stack([each] * count) for each in (empty.cells, empty.tails, empty.counts))
    evidence = np.zeros(len(X))
    for code, rows in series:
        course = Course(between)
        evidence[rows] = course.follow(times[rows], values[rows]).evidence
        cells[code], tails[code], counts[code] = course.cells, course.tails, course.counts
    return Followed(column, time, by, levels, between, cells, tails, counts), evidence
