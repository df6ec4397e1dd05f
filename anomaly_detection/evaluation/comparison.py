"""A challenger beside the champion: what both make of the same records."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from anomaly_detection.alerts.scoring import score_table
from anomaly_detection.data.frames import to_frame
from anomaly_detection.detector import Detector
from anomaly_detection.errors import DataError
from anomaly_detection.evaluation.judging import judge

__all__ = ["Comparison", "compare"]

_ALERTS = 0.02
_LISTED = 100


@dataclass(frozen=True)
class Comparison:
    """What two models make of the same records.

    Attributes
    ----------
    records : int
    alerts : tuple of int
        Of the champion and of the challenger.
    gained, lost : tuple of int
        Records, by their number from 1, that are an alert of the challenger alone and of the champion alone, the most
        abnormal first; at most a hundred.
    gained_in_all, lost_in_all : int
    verdicts : int
        Records with a verdict of somebody.
    agreed : tuple of int
        For how many of them the champion and the challenger say the same.
    planted : int
        Errors put into copies of the records; 0 where none could be.
    found : tuple of float
        Share of them among the 2 % most abnormal, by the champion and by the challenger.
    has_learned : bool
        Whether the champion learned from some of the records, so that they look more usual to it.
    """

    records: int
    alerts: tuple[int, int]
    gained: tuple[int, ...]
    lost: tuple[int, ...]
    gained_in_all: int
    lost_in_all: int
    verdicts: int
    agreed: tuple[int, int]
    planted: int
    found: tuple[float, float]
    has_learned: bool = False

    @property
    def is_not_worse(self) -> bool:
        """Whether the challenger finds as many planted errors, agrees with as many verdicts, and alerts as seldom.

        Chance moves single alerts: up to half as many more, and one more in any case, are as seldom. And it moves what
        is found: within a standard error of the difference is as many.
        """
        before, after = self.alerts
        is_as_seldom = after <= before + max(before // 2, 1)
        chance = math.sqrt(sum(share * (1.0 - share) for share in self.found) / max(self.planted, 1))
        return is_as_seldom and self.found[1] >= self.found[0] - chance and self.agreed[1] >= self.agreed[0]

    @property
    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return {**asdict(self), "is_not_worse": self.is_not_worse, "text": str(self)}

    def __str__(self) -> str:
        agreed = f"; of {self.verdicts:,} verdicts it agrees with {self.agreed[1]:,} (before: {self.agreed[0]:,})"
        planted = (
            f"; of {self.planted:,} planted errors it finds {self.found[1]:.0%} at 2 % alerts"
            f" (before: {self.found[0]:.0%})"
        )
        return (
            f"On the same {self.records:,} records: {self.alerts[1]:,} alerts (before: {self.alerts[0]:,}),"
            f" {self.gained_in_all:,} gained and {self.lost_in_all:,} lost{agreed if self.verdicts else ''}"
            f"{planted if self.planted else ''}."
            f"{' The model before has learned from some of them, so it finds fewer odd.' if self.has_learned else ''}"
        )


def compare(
    champion: Detector,
    challenger: Detector,
    frame: Any,
    verdicts: Mapping[int, bool] | None = None,
    *,
    draws: int = 2,
    seed: int = 0,
) -> Comparison:
    """Have both judge a table, best one that neither has learned from.

    Parameters
    ----------
    champion, challenger : Detector
    frame : table
    verdicts : mapping of int to bool, optional
        Whether a record, by its place from 0, is an anomaly, where somebody has said so.
    draws, seed
        Of the planted errors, as `judge` takes them.

    Raises
    ------
    DataError
        For records that one of them cannot read.
    """
    frame = to_frame(frame).reset_index(drop=True)
    old, new = score_table(champion, frame), score_table(challenger, frame)
    gained, lost = new.is_alert & ~old.is_alert, old.is_alert & ~new.is_alert
    told = dict(verdicts or {})
    places = np.array(list(told), dtype=np.int64)
    said = np.array(list(told.values()), dtype=bool)
    agreed = tuple(int((batch.is_alert[places] == said).sum()) for batch in (old, new))
    planted, found = 0, (0.0, 0.0)
    try:
        before, after = (
            judge(one, frame, draws=draws, seed=seed, alert_shares=(_ALERTS,)) for one in (champion, challenger)
        )
    except DataError:
        # Too few records, or none of a kind that an error could be put into: the rest still says something.
        pass
    else:
        # Both schemas may not allow the same kinds.
        if before.changed == after.changed and "all" in before.recall:
            planted = before.changed["all"]
            found = before.recall["all"][_ALERTS], after.recall["all"][_ALERTS]
    return Comparison(
        len(frame),
        (int(old.is_alert.sum()), int(new.is_alert.sum())),
        _numbers(gained, new.decisions),
        _numbers(lost, old.decisions),
        int(gained.sum()),
        int(lost.sum()),
        len(told),
        (agreed[0], agreed[1]),
        planted,
        found,
    )


def _numbers(which: np.ndarray[Any, np.dtype[np.bool_]], decisions: np.ndarray[Any, Any]) -> tuple[int, ...]:
    rows = np.flatnonzero(which)
    return tuple((rows[np.argsort(decisions[rows], kind="stable")][:_LISTED] + 1).tolist())
