"""`Lessons`: what verdicts teach of the features that led to them, as a weight for the evidence of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from anomaly_detection.errors import DataError

__all__ = ["ANOMALY", "MOST_LESSONS", "NORMAL", "Lessons"]

ANOMALY, NORMAL = -1, 1
"""A verdict: the record is an anomaly, or a false alarm. As everywhere in an estimator."""

MOST_LESSONS = 100_000

_PRIOR = 2.0


@dataclass(frozen=True)
class Lessons:
    """The log of verdicts: each with the name of the feature that led to the alert it is about.

    The evidence of a feature is multiplied by how often alerts that it leads to are real, two that were real taken for
    granted: with r real and f false alarms by ``(r + 2) / (r + f + 2)``. That is the mean of a rate with the prior
    Beta(2, 0), at most 1: what is real needs no more evidence than it has, and other errors would go down in it. Only
    counts matter: neither the order nor the model that raised an alert does.

    Parameters
    ----------
    features : tuple of str
        Of each verdict, the feature.
    verdicts : tuple of int
        `ANOMALY` or `NORMAL`.

    Raises
    ------
    DataError
        Other verdicts, not as many of them as features, or more than `MOST_LESSONS`.
    """

    features: tuple[str, ...] = ()
    verdicts: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if len(self.features) != len(self.verdicts):
            raise DataError(f"There are {len(self.verdicts)} verdicts on {len(self.features)} records; give one each.")
        if not set(self.verdicts) <= {ANOMALY, NORMAL}:
            raise DataError("A verdict is -1 for an anomaly or +1 for a normal record; there is another.")
        if len(self.verdicts) > MOST_LESSONS:
            raise DataError(f"{MOST_LESSONS:,} verdicts are the most that are learned from; forget the oldest.")

    def __len__(self) -> int:
        return len(self.verdicts)

    def with_more(self, features: Iterable[str], verdicts: Iterable[int]) -> Lessons:
        """The log with more verdicts behind."""
        return Lessons((*self.features, *features), (*self.verdicts, *verdicts))

    def without(self, places: Iterable[int]) -> Lessons:
        """The log without the verdicts at these places of it; -1 is the last.

        Raises
        ------
        DataError
            There is no such verdict.
        """
        count = len(self)
        given = list(places)
        if any(not -count <= place < count for place in given):
            raise DataError(f"There are {count} verdicts to forget; their places are {-count} to {count - 1}.")
        gone = {place % count for place in given}
        kept = [place for place in range(count) if place not in gone]
        return Lessons(tuple(self.features[place] for place in kept), tuple(self.verdicts[place] for place in kept))

    def counts(self) -> Mapping[str, tuple[int, int]]:
        """By feature, how many anomalies and how many false alarms it led to."""
        found = Counter(zip(self.features, self.verdicts, strict=True))
        names = dict.fromkeys(self.features)
        return {name: (found[name, ANOMALY], found[name, NORMAL]) for name in names}

    def weights(self, names: Sequence[str]) -> npt.NDArray[np.float32] | None:
        """What the evidence of the features of these names is multiplied by; None where nothing changes."""
        counts = self.counts()
        found = [counts.get(name, (0, 0)) for name in names]
        if not any(false for _, false in found):
            return None
        weights = [(real + _PRIOR) / (real + false + _PRIOR) for real, false in found]
        return np.array(weights, dtype=np.float32)
