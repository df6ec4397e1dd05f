"""`Memory`: how training records looked when they were learned, for when they come again."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Memory", "standing_out"]

_MOST_RECORDS = 100_000
_OF_EVIDENCE = 6  # as many as columns are looked at one by one for reasons
_OF_SURPRISE = 4  # as many as the summary has

Floats32 = npt.NDArray[np.float32]
Keys = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Memory:
    """Of training records, each judged by the others, what stood out and the summary.

    Judged by all records, a training record looks more usual than a new one, for it is among what it is compared with:
    the file that a model learned from would have a fifth of the alerts that new records have, and reasons in which
    nothing stands out. Of more than 100,000 records the most abnormal ones are kept; the others are no alerts anyway.

    Attributes
    ----------
    keys : ndarray of uint64, shape (n,)
        Of the records, ascending.
    summaries : ndarray of float32, shape (n, n_summary)
        Their row-level features, the last of all.
    places : ndarray of uint32, shape (n, n_told)
        Which of the other features had most evidence, and which surprised most.
    values : ndarray of float32, shape (n, n_told)
        What these were.
    """

    keys: Keys
    summaries: Floats32
    places: npt.NDArray[np.uint32]
    values: Floats32

    @classmethod
    def of(cls, keys: Keys, learned: Floats32, places: npt.NDArray[np.uint32], single: int) -> Memory:
        """Remember the features `learned` (n, n_features), the first `single` of columns and the others row-level.

        `places` are those that stand out, as `standing_out` gives them.
        """
        rows = np.arange(len(keys))
        if len(rows) > _MOST_RECORDS:
            rows = np.sort(np.argsort(-learned[:, -1], kind="stable")[:_MOST_RECORDS])
        known, first = np.unique(keys[rows], return_index=True)
        rows = rows[first]
        places = places[rows]
        return cls(known, learned[rows, single:], places, learned[rows[:, None], places])

    def restore(self, keys: Keys, features: Floats32) -> Floats32:
        """Give those of the records that are remembered what they had in place of their `features`; changes these."""
        if len(keys) == 1:
            return self._restore_one(keys[0], features)
        at = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        again = np.flatnonzero(self.keys[at] == keys)
        at = at[again]
        features[again[:, None], self.places[at]] = self.values[at]
        features[again, features.shape[1] - self.summaries.shape[1] :] = self.summaries[at]
        return features

    def _restore_one(self, key: np.uint64, features: Floats32) -> Floats32:
        """`restore` of one record."""
        at = int(np.searchsorted(self.keys, key))
        if at < len(self.keys) and self.keys[at] == key:
            features[0, self.places[at]] = self.values[at]
            features[0, features.shape[1] - self.summaries.shape[1] :] = self.summaries[at]
        return features


def standing_out(evidence: Floats32, surprises: Floats32) -> npt.NDArray[np.uint32]:
    """Which features of each row have most evidence, and which surprise most, the first of equal ones; (n, n_told)."""
    return np.hstack([_largest(evidence, _OF_EVIDENCE), _largest(surprises, _OF_SURPRISE)]).astype(np.uint32)


def _largest(values: Floats32, count: int) -> npt.NDArray[np.int64]:
    """Where the largest of each row are, in descending order."""
    from anomaly_detection.features.compiled.largest import largest

    return np.asarray(largest(np.ascontiguousarray(values), min(count, values.shape[1])))
