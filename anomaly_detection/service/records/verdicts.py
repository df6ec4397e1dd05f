"""`Judged` and `Verdicts`: what became of one record, and of records that came together, column by column."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, chain
from typing import Any, NamedTuple, overload

from anomaly_detection.alerts.alert import Alert
from anomaly_detection.alerts.causes import Cause
from anomaly_detection.service.records.incoming import Incoming

__all__ = ["VERDICT", "Judged", "Verdict", "Verdicts"]


class Verdict(NamedTuple):
    """What is known of each record that was judged, as `Alert` has it."""

    is_alert: bool
    score: float
    decision: float
    p_value: float
    severity: float
    risk_level: str
    confidence: float

    @classmethod
    def of(cls, alert: Alert) -> Verdict:
        """That of an alert."""
        return cls(*(getattr(alert, name) for name in VERDICT))


VERDICT = Verdict._fields


@dataclass(frozen=True)
class Judged:
    """What became of one record.

    Attributes
    ----------
    incoming : Incoming
    verdict : Verdict or None
        None where there is none.
    alert : Alert or None
        The same with its reasons, where it is an alert.
    error : str
        Why the record could not be judged; empty where it was, and where no model was there.
    cause : Cause or None
        Of an alert, what it shares with others.
    amount : float or None
        Of an alert, the money that is in the record.
    """

    incoming: Incoming
    verdict: Verdict | None = None
    alert: Alert | None = None
    error: str = ""
    cause: Cause | None = None
    amount: float | None = None

    @property
    def state(self) -> str:
        """``judged``, ``refused`` or ``waiting``."""
        return "judged" if self.verdict is not None else "refused" if self.error else "waiting"


class Verdicts(Sequence[Judged]):
    """What became of records that came together; as a sequence, of each.

    An object for each of ten thousand records takes longer than judging them, so what is known of all is in columns,
    and an object is made of those that are asked for.

    Parameters
    ----------
    incoming : sequence of Incoming
    errors : mapping of int to str
        Why records could not be judged, by their places.
    alerting : mapping of int to Judged
        Those that are alerts, by their places, in their order.
    columns : mapping of str to sequence
        `VERDICT` of every record, None where it was not judged; empty where none was.
    """

    def __init__(
        self,
        incoming: Sequence[Incoming],
        errors: Mapping[int, str],
        alerting: Mapping[int, Judged],
        columns: Mapping[str, Sequence[Any]],
    ) -> None:
        self.incoming, self.errors, self.alerting = incoming, errors, alerting
        self._columns = columns

    @classmethod
    def of(cls, found: Iterable[Judged]) -> Verdicts:
        """Of what became of each: the plain way, by which tests compare the other."""
        listed = list(found)
        verdicts = [each.verdict for each in listed]
        columns = {
            name: [None if verdict is None else getattr(verdict, name) for verdict in verdicts] for name in VERDICT
        }
        return cls(
            [each.incoming for each in listed],
            {place: each.error for place, each in enumerate(listed) if each.error},
            {place: each for place, each in enumerate(listed) if each.verdict is not None and each.verdict.is_alert},
            columns if any(verdict is not None for verdict in verdicts) else {},
        )

    @classmethod
    def unjudged(cls, incoming: Sequence[Incoming]) -> Verdicts:
        """Of records for which there is no model yet."""
        return cls.of(Judged(each, error=each.fault) for each in incoming)

    @classmethod
    def joined(cls, parts: Sequence[Verdicts]) -> Verdicts:
        """What became of the records of several, one after the other; they were judged by one model, or all by none."""
        if len(parts) == 1:
            return parts[0]
        starts = list(accumulate(map(len, parts), initial=0))[:-1]
        placed = list(zip(starts, parts, strict=True))
        is_judged = any(part._columns for part in parts)
        columns = zip(*(part.columns() for part in parts), strict=True)
        return cls(
            [each for part in parts for each in part.incoming],
            {start + place: error for start, part in placed for place, error in part.errors.items()},
            {start + place: each for start, part in placed for place, each in part.alerting.items()},
            {name: list(chain.from_iterable(some)) for name, some in zip(VERDICT, columns, strict=True)}
            if is_judged
            else {},
        )

    def at(self, places: Sequence[int]) -> Verdicts:
        """What became of the records at some places, which ascend."""
        there = {place: at for at, place in enumerate(places)}
        return Verdicts(
            [self.incoming[place] for place in places],
            {there[place]: error for place, error in self.errors.items() if place in there},
            {there[place]: each for place, each in self.alerting.items() if place in there},
            {name: [column[place] for place in places] for name, column in self._columns.items()},
        )

    def each(self) -> list[Verdicts]:
        """What became of each by itself."""
        rows = zip(*self._columns.values(), strict=True) if self._columns else ((),) * len(self)
        return [
            Verdicts(
                [self.incoming[place]],
                {0: self.errors[place]} if place in self.errors else {},
                {0: self.alerting[place]} if place in self.alerting else {},
                {} if place in self.errors else {name: [value] for name, value in zip(VERDICT, row, strict=False)},
            )
            for place, row in enumerate(rows)
        ]

    def __len__(self) -> int:
        return len(self.incoming)

    @overload
    def __getitem__(self, place: int) -> Judged: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[Judged]: ...

    def __getitem__(self, place: int | slice) -> Judged | Sequence[Judged]:
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(len(self)))]
        if place < 0:
            place += len(self)
        if place in self.alerting:
            return self.alerting[place]
        record = self.incoming[place]
        if place in self.errors or not self._columns:
            return Judged(record, error=self.errors.get(place, ""))
        return Judged(record, Verdict(*(column[place] for column in self._columns.values())))

    @cached_property
    def states(self) -> list[str]:
        """``judged``, ``refused`` or ``waiting`` of each."""
        states = ["judged" if self._columns else "waiting"] * len(self)
        for place in self.errors:
            states[place] = "refused"
        return states

    @cached_property
    def counts(self) -> Counter[str]:
        """How many there are in each state."""
        return Counter(self.states)

    @property
    def scores(self) -> list[float]:
        """Of those that were judged."""
        return [score for score in self._columns.get("score", ()) if score is not None]

    def columns(self) -> list[Sequence[Any]]:
        """Those of `VERDICT`, in its order."""
        nothing: Sequence[Any] = [None] * len(self)
        return [self._columns.get(name, nothing) for name in VERDICT]
