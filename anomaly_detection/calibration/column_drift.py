"""`Drift`: how a column of a stream is no longer what it was, since when, and by how much."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from enum import Enum
from functools import partial

import numpy as np
import numpy.typing as npt

from anomaly_detection.calibration.drift_test import LEVEL, DriftTest
from anomaly_detection.features.clauses import number
from anomaly_detection.features.column_reference import BINS, MISSING, NEW, UNREADABLE, ColumnReference
from anomaly_detection.texts.said import N_, Figure, Said, say

__all__ = ["ALERTS", "Change", "Drift", "find_drifts", "in_words", "starting_test"]

_Make = Callable[..., "Drift"]
Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

ALERTS = ""
"""The name under which the share of alerts is watched; its bins are the first two of a column's own."""

_ALERT = NEW + 1
_TOLD = 8
_LEAST_SHARE = 0.02
_LEAST_TIMES = 1.5
_LEAST_DISTANCE = 0.1
_LEAST_SHIFT = 0.02


class Change(Enum):
    """What has changed."""

    FORMAT = "format"
    MISSING = "missing"
    LEVELS = "levels"
    NUMBERS = "numbers"
    MIX = "mix"
    ALERTS = "alerts"


@dataclass(frozen=True)
class Drift:
    """A change of one column that is both no chance and large enough to matter.

    Attributes
    ----------
    column : str
        Empty for the share of alerts.
    change : Change
    since : datetime or None
        The moment of the first record from which on it is likeliest; None where moments are not known.
    period : int
        The period of the test that began then; 0 where all records that came are changed.
    records : int
        That it is about: with a new level, say, or with a value at all where numbers moved.
    before, after : float
        The share of such records; of numbers their distance in distribution (0 to 1) stands in `after`.
    factor : float or None
        Of positive amounts, what their geometric mean is of what it was.
    shift : float or None
        Of other numbers, how much larger their mean is, in their own units.
    context : str
        The category within which numbers are compared.
    examples : tuple of str
        Levels or texts that are new.
    log_e_value : float
        Natural logarithm of the evidence: the capital of bets on no change.
    """

    column: str
    change: Change
    since: datetime | None
    period: int
    records: int
    before: float
    after: float
    log_e_value: float
    factor: float | None = None
    shift: float | None = None
    context: str = ""
    examples: tuple[str, ...] = field(default=())

    @property
    def size(self) -> float:
        """By how much, to order changes by: a difference of shares, or a distance."""
        return abs(self.after - self.before)

    def __str__(self) -> str:
        return str(self.text)

    @property
    def text(self) -> Said:
        """What has changed, in a clause."""
        since: str = ""
        if self.since is not None and self.period:
            day, month, year = str(self.since.day), f"{self.since:%B}", str(self.since.year)
            since = say(" since %(day)s %(month)s %(year)s", day=day, month=say(month), year=year)
        records = N_("%(count)s record") if self.records == 1 else N_("%(count)s records")
        count = say(records, count=number(self.records))
        return say("%(what)s%(since)s: %(records)s", what=self._what(), since=since, records=count)

    def _what(self) -> Said:
        after, before = Figure(f"{100 * self.after:.1f}"), Figure(f"{100 * self.before:.1f}")
        if self.change is Change.ALERTS:
            return say("%(after)s%% of the records are alerts (before: %(before)s%%)", after=after, before=before)
        column = self.column
        shares = say("%(after)s%% of the records (before: %(before)s%%)", after=after, before=before)
        listed = f" ({', '.join(map(repr, self.examples[:3]))})" if self.examples else ""
        if self.change is Change.FORMAT:
            form = N_("%(column)s is written in another form%(listed)s in %(shares)s")
            return say(form, column=column, listed=listed, shares=shares)
        if self.change is Change.MISSING:
            return say("%(column)s is missing in %(shares)s", column=column, shares=shares)
        if self.change is Change.LEVELS:
            new = N_("%(column)s has values never seen before%(listed)s in %(shares)s")
            return say(new, column=column, listed=listed, shares=shares)
        if self.change is Change.MIX:
            which = self.examples[0] if self.examples else say("one of its values")
            return say("%(column)s has %(which)s in %(shares)s", column=column, which=which, shares=shares)
        within = say(" for its %(category)s", category=self.context) if self.context else ""
        if self.factor is not None and abs(np.log(self.factor)) >= _LEAST_SHIFT:
            ratio = _times(self.factor)
            return say("%(column)s is %(ratio)s what it was%(within)s", column=column, ratio=ratio, within=within)
        if self.shift is not None and self.shift:
            higher = N_("%(column)s is %(shift)s higher than it was%(within)s")
            template = higher if self.shift > 0 else N_("%(column)s is %(shift)s lower than it was%(within)s")
            return say(template, column=column, shift=Figure(f"{abs(self.shift):.3g}"), within=within)
        return say("%(column)s is spread otherwise than it was%(within)s", column=column, within=within)


def _times(factor: float) -> Said:
    if factor >= 1.0:
        return say("%(ratio)s times", ratio=Figure(f"{factor:.3g}"))
    return say("%(share)s%% of", share=Figure(f"{100 * factor:.0f}"))


def in_words(drifts: Sequence[Drift]) -> str:
    """All on one line, of many the largest."""
    more = len(drifts) - _TOLD
    return f"Changed: {'; '.join(map(str, drifts[:_TOLD]))}{f'; {more} more' if more > 0 else ''}."


def starting_test(references: Sequence[ColumnReference], alerts: tuple[int, int]) -> DriftTest:
    """The test of a stream of which nothing has come yet; `alerts` are reference records that are some, and others."""
    counts = np.zeros((len(references) + 1, BINS), dtype=np.int64)
    usual = np.zeros((len(references) + 1, 2))
    for place, reference in enumerate(references):
        counts[place, : len(reference.counts)] = reference.counts
        own = float(reference.counts[NEW + 1 :].sum())
        usual[place] = own, own * reference.mean
    counts[-1, _ALERT : _ALERT + 2] = alerts
    return DriftTest(counts, usual)


def find_drifts(
    test: DriftTest,
    references: Sequence[ColumnReference],
    examples: dict[str, dict[str, int]],
    *,
    alarms: npt.NDArray[np.bool_] | None = None,
    evidence: Floats | None = None,
    scale: float = 1.0,
) -> list[Drift]:
    """The changes that matter of the columns in alarm, the largest first.

    Parameters
    ----------
    test : DriftTest
        Whose columns are `references` and the share of alerts.
    examples : dict
        By column, how often each level or text came that is new.
    alarms, evidence : ndarray, shape (columns + 1,), optional
        Those of another test of the same records, in an order in which they are exchangeable; its own if not given.
    scale : float
        Records for one that was tested.
    """
    alarms = test.alarms(LEVEL) if alarms is None else alarms
    evidence = test.peaks if evidence is None else evidence
    found: list[Drift] = []
    for place in np.flatnonzero(alarms).tolist():
        period = _onset(test.reference[place], test.periods[:, place])
        before = test.reference[place] + test.periods[:period, place].sum(axis=0)
        after = test.periods[period:, place].sum(axis=0)
        if not before.sum() or not after.sum():
            continue
        moment = float(test.starts[period])
        since = None if np.isnan(moment) else datetime.fromtimestamp(moment, timezone.utc)
        name = ALERTS if place == len(references) else references[place].column
        found_here = partial(Drift, name, since=since, period=period, log_e_value=float(evidence[place]))
        if place == len(references):
            found += _alerts(found_here, before, after, scale)
            continue
        reference = references[place]
        found += _special(found_here, reference, before, after, scale, examples.get(name, {}))
        if reference.role == "categorical":
            found += _mix(found_here, reference, before, after, scale)
        elif reference.role == "numeric":
            sums = test.usual[place] + test.sums[:period, place].sum(axis=0), test.sums[period:, place].sum(axis=0)
            found += _numbers(found_here, reference, before, after, scale, sums)
    return sorted(found, key=lambda one: -one.size)


def _entropic(counts: Codes) -> Floats:
    """``n log n`` of each count, 0 of none."""
    return np.asarray(counts * np.log(np.maximum(counts, 1)))


def _onset(reference: Codes, periods: Codes) -> int:
    """The period from which on other shares are likeliest, by the likelihood ratio of two multinomials."""
    until = reference + np.cumsum(np.vstack([np.zeros_like(periods[:1]), periods]), axis=0)
    after, before = until[-1] - until[:-1], until[:-1]

    def likely(counts: Codes) -> Floats:
        whole = counts.sum(axis=-1)
        return np.asarray(_entropic(counts).sum(axis=-1) - _entropic(whole))

    return int(np.argmax(likely(after) + likely(before)))


def _is_other(was: float, now: float) -> bool:
    """Whether shares differ enough to matter."""
    return abs(now - was) >= _LEAST_SHARE and max(now, was) >= _LEAST_TIMES * min(now, was)


def _alerts(made: _Make, before: Codes, after: Codes, scale: float) -> list[Drift]:
    was, now = _share(before, _ALERT), _share(after, _ALERT)
    if not _is_other(was, now):
        return []
    return [made(Change.ALERTS, records=round(scale * int(after[_ALERT])), before=was, after=now)]


def _special(
    made: _Make, reference: ColumnReference, before: Codes, after: Codes, scale: float, examples: dict[str, int]
) -> list[Drift]:
    """More values that cannot be read or are new; more missing ones, or fewer."""
    found = []
    for code, change in ((UNREADABLE, Change.FORMAT), (MISSING, Change.MISSING), (NEW, Change.LEVELS)):
        was, now = _share(before, code), _share(after, code)
        if not _is_other(was, now) or (now < was and change is not Change.MISSING):
            continue
        shown = () if change is Change.MISSING else _commonest(reference, change, examples)
        records = round(scale * int(after[code]))
        found.append(made(change, records=records, before=was, after=now, examples=shown))
    return found


def _commonest(reference: ColumnReference, change: Change, examples: dict[str, int]) -> tuple[str, ...]:
    """Of a category the new levels, or the known ones that are written otherwise; of others all."""
    some = sorted(examples, key=lambda name: (-examples[name], name))
    if reference.role == "categorical":
        some = [name for name in some if reference.is_restated(name) == (change is Change.FORMAT)]
    return tuple(some[:3])


def _mix(made: _Make, reference: ColumnReference, before: Codes, after: Codes, scale: float) -> list[Drift]:
    """Known levels in other shares: the one that changed most, of two that changed places the one that came."""
    was, now, distance = _compared(before, after)
    if distance < _LEAST_DISTANCE:
        return []
    moved = (now - was).round(9)
    most = int(np.lexsort((-moved, -np.abs(moved)))[0])
    records = round(scale * int(after[NEW + 1 + most]))
    name = reference.name_of(most)
    return [made(Change.MIX, records=records, before=float(was[most]), after=float(now[most]), examples=(name,))]


def _numbers(
    made: _Make,
    reference: ColumnReference,
    before: Codes,
    after: Codes,
    scale: float,
    sums: tuple[Floats, Floats],
) -> list[Drift]:
    """Numbers that moved; `sums` are numbers and sums of residuals before and after."""
    distance = _compared(before, after)[2]
    if distance < _LEAST_DISTANCE or not sums[0][0] or not sums[1][0]:
        return []
    shift = float(sums[1][1] / sums[1][0] - sums[0][1] / sums[0][0])
    records = round(scale * int(after[NEW + 1 :].sum()))
    by = {"factor": float(np.exp(shift))} if reference.logarithmic else {"shift": shift * reference.spread}
    return [made(Change.NUMBERS, records=records, before=0.0, after=distance, context=reference.context, **by)]


def _compared(before: Codes, after: Codes) -> tuple[Floats, Floats, float]:
    """The shares of a column's own bins, and the total variation distance beyond what few records have by chance."""
    old, new = before[NEW + 1 :], after[NEW + 1 :]
    if not old.sum() or not new.sum():
        return old.astype(np.float64), new.astype(np.float64), 0.0
    was, now = old / old.sum(), new / new.sum()
    together = (old + new) / (old + new).sum()
    # Half the sum of mean absolute deviations of normal differences.
    by_chance = 0.4 * np.sqrt(together * (1.0 / old.sum() + 1.0 / new.sum())).sum()
    return was, now, 0.5 * float(np.abs(now - was).sum()) - float(by_chance)


def _share(counts: Codes, code: int) -> float:
    return float(counts[code] / counts.sum())
