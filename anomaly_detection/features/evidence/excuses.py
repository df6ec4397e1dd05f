"""`Excuses`: what is expected from an odd value is evidence against that value, and not against the one expected."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from anomaly_detection.features.group import OF_A_RECORD, FeatureSource
from anomaly_detection.features.kinds import KINDS

__all__ = ["Excuses"]

_FAR = 5.0  # nats: one usual value in 150 lies as far out
_LEAST = 0.5  # nats: what is less is no reason anyway

Floats32 = npt.NDArray[np.float32]
Codes = npt.NDArray[np.int64]
Value = tuple[str, ...]


class Excuses:
    """Moves evidence against a value that is odd only beside another to the other, where that is odd without the first.

    A lead time of 213 days is odd among all lead times by sea. The distance that it would belong to is then no evidence
    against the distance of the record, but against the lead time. It is moved where features of the other value that do
    not look at the judged one have 5 nats, and more than those of the judged one that do not look at the other. None
    is lost. What counts repeats is about none of the values that repeat.

    Parameters
    ----------
    sources : sequence of FeatureSource
        Of each feature.
    origins : mapping of str to tuple of str
        The columns that derived ones are made of.
    measured : collection of str
        Columns of numbers and dates; of two categories that do not go together none is moved.
    durations : collection of tuple of str
        Pairs of dates; the days between them are a value like a column's.
    """

    def __init__(
        self,
        sources: Sequence[FeatureSource],
        origins: Mapping[str, Value],
        measured: Collection[str],
        durations: Collection[Value],
    ) -> None:
        about: dict[Value, list[int]] = {}
        looks_at: list[set[Value]] = []
        judged: list[Value] = []
        for i, source in enumerate(sources):
            value = next((pair for pair in durations if source.columns[:2] == pair), source.columns[:1])
            own = [value, *((name,) for name in source.columns[len(value) :])]
            if len(source.columns) > OF_A_RECORD or KINDS[source.kind].repeats or not {*source.columns} <= {*measured}:
                own = []
            for one in own:
                about.setdefault(one, []).append(i)
            judged.append(value)
            looks_at.append({*own, *(origins.get(name, (name,)) for name in source.group_by)} if own else set())
        cases: list[tuple[int, list[int], list[int], list[int]]] = []
        for i, value in enumerate(judged):
            for other in sorted(about.keys() & looks_at[i] - {value}):
                others = [one for one in about[other] if value not in looks_at[one]]
                if others:
                    own_features = [one for one in about[value] if other not in looks_at[one]]
                    alone = [one for one in others if sources[one].columns == other]
                    cases.append(
                        (i, own_features, others, alone or [one for one in others if judged[one] == other] or others)
                    )
        # One feature more than there are has no evidence: lists are filled up with it.
        nothing = len(sources)
        columns = list(zip(*cases, strict=True)) or [()] * 4
        self._features = np.array(columns[0], dtype=np.int64)
        self._own, self._others, self._blamed = (_filled(lists, nothing) for lists in columns[1:])

    def apply(self, evidence: Floats32) -> Floats32:
        """The evidence in nats, shape (n, features), after it was moved; changes it."""
        odd = np.flatnonzero(evidence.max(axis=1, initial=0.0) >= _FAR)
        if not odd.size or not self._features.size:
            return evidence
        before = np.hstack([evidence[odd], np.zeros((len(odd), 1), dtype=np.float32)])
        row, case = np.nonzero(before[:, self._features] >= _LEAST)
        own, other = (before[row[:, None], features[case]].max(axis=1) for features in (self._own, self._others))
        moved = (other >= _FAR) & (other > own)
        row, case = row[moved], case[moved]
        features = self._features[case]
        strongest, most = _strongest(before, row, self._blamed[case])
        # What is usual by itself cannot be told of: then the feature that found the other value odd is.
        strongest = np.where(most >= _LEAST, strongest, _strongest(before, row, self._others[case])[0])
        evidence[odd[row], features] = 0.0
        np.maximum.at(evidence, (odd[row], strongest), before[row, features])
        return evidence


def _strongest(evidence: Floats32, row: Codes, features: Codes) -> tuple[Codes, Floats32]:
    """For each case the feature with most evidence, of those in its row of `features`, and that evidence."""
    found = evidence[row[:, None], features]
    place = found.argmax(axis=1)[:, None]
    return np.take_along_axis(features, place, axis=1)[:, 0], np.take_along_axis(found, place, axis=1)[:, 0]


def _filled(lists: Sequence[Sequence[int]], with_what: int) -> Codes:
    made = np.full((len(lists), max(map(len, lists), default=0) or 1), with_what, dtype=np.int64)
    for row, values in zip(made, lists, strict=True):
        row[: len(values)] = values
    return made
