"""`RowSummaries`: what a row's features come to, once they are there: surprises, evidence, and how far each is out."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from anomaly_detection.data.columns.levels import Kept
from anomaly_detection.data.columns.schema import Role, Schema
from anomaly_detection.errors import DataError
from anomaly_detection.features.compiled.choice import explained_by_compiled_code
from anomaly_detection.features.dates.derived import Derived, Duration
from anomaly_detection.features.evidence.evidence import Evidence
from anomaly_detection.features.evidence.excuses import Excuses
from anomaly_detection.features.evidence.lessons import Lessons
from anomaly_detection.features.evidence.surprise import DeviationSummary
from anomaly_detection.features.fitted import require_fitted
from anomaly_detection.features.group import FeatureSource
from anomaly_detection.features.kept_features import for_the_forest
from anomaly_detection.features.kinds import weigh_evidence
from anomaly_detection.features.memory import Memory, standing_out
from mlx_iforest.threads import run

__all__ = ["RowSummaries"]

_MOST_COMPILED = 128  # features for the forest: more are not added one after the other
_ROWS = 8_192  # summarised at once
_ROWS_AT_ONCE = 512  # by compiled code: what they take stays in the cache


class RowSummaries:
    """The row-level features of `SupplyChainFeatures`, and what they are made of.

    It looks at features only, not at records. The attributes are those that fitting leaves behind.
    """

    groups: Sequence[str]
    schema_: Schema
    derived_: list[Derived]
    kept_: npt.NDArray[np.int64]
    feature_sources_: list[FeatureSource]
    tails_: DeviationSummary
    evidence_: Evidence | None
    remembered_: Memory | None

    def _derived_columns(self) -> dict[str, Derived]:
        raise NotImplementedError

    @property
    def weighs_evidence(self) -> bool:
        """Whether the last feature is the evidence against a row, see `Evidence`."""
        return weigh_evidence(self.groups)

    @property
    def forest_features(self) -> npt.NDArray[np.int64]:
        """Which of the kept features are for the forest, by their numbers; the others are evidence only."""
        return _forest_features(self)

    @property
    def usual_(self) -> npt.NDArray[np.float32]:
        """The usual value of each feature but the row-level summary: its median, 0 of what is evidence."""
        require_fitted(self, "feature_sources_")
        usual = np.zeros(len(self.kept_), dtype=np.float32)
        if self.evidence_ is not None:
            usual[:] = self.evidence_.tails.median
        usual[self.forest_features] = self.tails_.median_
        return usual

    @property
    def usual_surprises_(self) -> npt.NDArray[np.float32]:
        """The `surprises` of a usual record, the largest first, each the median over the records."""
        require_fitted(self, "feature_sources_")
        return self.tails_.profile()

    def surprises(self, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Say how far out each feature for the forest is, the row-level summary aside, in standard deviations."""
        return self.tails_.deviations(features[:, : len(self.kept_)][:, self.forest_features])

    def evidence(self, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32] | None:
        """Evidence in nats of each feature but the row-level summary; None where none is weighed."""
        return None if self.evidence_ is None else self.evidence_.of(features[:, : len(self.kept_)])

    def blame(self, features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32] | None:
        """The `evidence` as reasons tell it: against the value that is odd, and not what is expected from it."""
        evidence = self.evidence(features)
        return None if evidence is None else self._excuses.apply(evidence)

    def leading(self, features: npt.NDArray[np.float32]) -> list[str]:
        """The name of the feature of each row that has most evidence by itself, the first of equal ones."""
        evidence = self.evidence(features)
        if evidence is None:
            raise DataError("This model weighs no evidence, so verdicts teach it nothing; train one that does.")
        return [self.feature_sources_[place].name for place in evidence.argmax(axis=1).tolist()]

    def taught(self, lessons: Lessons) -> RowSummaries:
        """The same by what verdicts teach: rows are weighed up anew, those that are remembered too."""
        made = copy.copy(self)
        if self.evidence_ is None:
            return made
        names = [source.name for source in self.feature_sources_[: len(self.kept_)]]
        made.evidence_ = self.evidence_.taught(lessons.weights(names))
        if made.evidence_.weights is not None and self.remembered_ is not None:
            made.remembered_ = self._taught_memory(self.remembered_, made.evidence_)
        return made

    def weighed(
        self,
        features: npt.NDArray[np.float32],
        evidence: npt.NDArray[np.float32] | None,
        keys: npt.NDArray[np.uint64] | None,
    ) -> npt.NDArray[np.float32]:
        """Features (n, n_features) of records before it was `taught`, as it has them since.

        `evidence` is theirs, and `keys` (n,) are what they would be remembered by.
        """
        if evidence is None or self.evidence_ is None:
            return features
        found = features.copy()
        found[:, -1] = self.evidence_.total(evidence)
        return found if self.remembered_ is None or keys is None else self.remembered_.restore(keys, found)

    def _taught_memory(self, memory: Memory, taught: Evidence) -> Memory:
        """Memory of rows weighed up anew, where a feature that they are remembered by has another weight."""
        assert taught.weights is not None
        moved = np.flatnonzero((taught.weights[memory.places] != 1.0).any(axis=1))
        summaries = memory.summaries.copy()
        for start in range(0, len(moved), _ROWS):
            some = moved[start : start + _ROWS]
            summaries[some, -1] = taught.total(self._evidence_remembered(memory, some))
        return replace(memory, summaries=summaries)

    def _as_remembered(self, memory: Memory, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Rows of a memory: what stood out as it was, and all else usual."""
        found = np.tile(self.usual_, (len(rows), 1))
        found[np.arange(len(rows))[:, None], memory.places[rows]] = memory.values[rows]
        return np.hstack([found, memory.summaries[rows]])

    def _evidence_remembered(self, memory: Memory, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Evidence of rows of a memory: that of all else is as in any other row."""
        usual, odd = _told(self)
        found = np.tile(usual, (len(rows), 1))
        found[np.arange(len(rows))[:, None], memory.places[rows]] = odd[rows]
        return found

    def remembered_rows(self, most: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]] | None:
        """About the features of `most` training rows, each judged by the others, and their evidence.

        None where none are remembered, or no evidence is weighed.

        Of more they are a random part, for their order is that of digests.
        """
        memory = self.remembered_
        if memory is None or self.evidence_ is None:
            return None
        n = len(memory.keys)
        rows = np.unique(np.linspace(0, n - 1, min(n, most)).astype(np.int64))
        return self._as_remembered(memory, rows), self._evidence_remembered(memory, rows)

    @cached_property
    def _excuses(self) -> Excuses:
        origins = {name: part.columns for name, part in self._derived_columns().items()}
        durations = [part.columns for part in self.derived_ if isinstance(part, Duration)]
        measured = self.schema_.names(Role.NUMERIC, Role.TIMESTAMP)
        return Excuses(self.feature_sources_[: len(self.kept_)], origins, measured, durations)

    def farness(
        self, features: npt.NDArray[np.float32], blame: npt.NDArray[np.float32] | None = None
    ) -> npt.NDArray[np.float32]:
        """Say how far out each feature but the row-level summary is, in standard deviations, at least 0.

        Where evidence is weighed, its `blame`, found out if not given, says so: so many of a normal deviate as have a
        tail as thin.
        """
        blame = self.blame(features) if blame is None else blame
        return self.surprises(features) if blame is None else np.sqrt(2.0 * blame)

    def standing_out(
        self, farness: npt.NDArray[np.float32], surprises: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float32]:
        """`farness`, or how much a feature surprises the forest, if more than any does in a usual record."""
        surprises = self._in_their_places(surprises)
        if self.evidence_ is None:
            return surprises
        most = float(self.usual_surprises_.max(initial=0.0))
        return np.maximum(farness, np.where(surprises > most, surprises, 0.0))

    def summarise(
        self,
        found: npt.NDArray[np.float32],
        surprises: npt.NDArray[np.float32] | None = None,
        evidence: npt.NDArray[np.float32] | None = None,
    ) -> npt.NDArray[np.float32]:
        """Append the row-level summary to the features of single columns, replacing one that is there already.

        It is that of `surprises` and `evidence`, as the methods of these names give them, where those are given.
        """
        found = found[:, : len(self.kept_)]
        if "tails" in self.groups and surprises is None:
            surprises = self.surprises(found)
        if self.evidence_ is not None and evidence is None:
            evidence = self.evidence_.of(found)
        if surprises is None and evidence is None:
            return found
        return np.hstack([found, self.summaries(surprises, evidence)])

    def summaries(
        self, surprises: npt.NDArray[np.float32] | None, evidence: npt.NDArray[np.float32] | None
    ) -> npt.NDArray[np.float32]:
        """The row-level features alone, of rows whose `surprises` and `evidence` are known, if the groups have them."""
        parts = [np.empty((len(one), 0), dtype=np.float32) for one in (surprises, evidence) if one is not None]
        if "tails" in self.groups and surprises is not None:
            parts.append(self.tails_.summary(surprises))
        if self.evidence_ is not None and evidence is not None:
            parts.append(self.evidence_.total(evidence)[:, None])
        return np.hstack(parts)

    def of_coalitions(
        self,
        needed: npt.NDArray[np.uint8],
        coalitions: int,
        surprises: npt.NDArray[np.float32],
        expected: npt.NDArray[np.float32],
        evidence: npt.NDArray[np.float32] | None,
    ) -> npt.NDArray[np.float32]:
        """The `summaries` of rows where coalition 1, 2 and so on keep their features, shape (coalitions, n, n_summary).

        Of n rows `needed` (n, features) has the coalition, a set of bits, that keeps a feature at least. Others have no
        evidence, and of `surprises` what is `expected`; both (n, features for the forest).
        """
        plain = self.forest_features
        weighed = None if evidence is None or self.evidence_ is None else self.evidence_.as_weighed(evidence)
        able = "tails" in self.groups and len(plain) <= _MOST_COMPILED
        if weighed is not None and able and explained_by_compiled_code(len(needed)):
            out = np.empty((coalitions, len(needed), self._summaries), dtype=np.float32)
            self.tails_.write_coalitions(needed, weighed, plain, surprises, expected, out)
            return out
        lacking = (needed & ~np.arange(1, coalitions + 1, dtype=np.uint8)[:, None, None]) > 0
        kept = np.where(lacking[..., plain], expected, surprises).reshape(-1, len(plain))
        against = None
        if evidence is not None:
            against = np.where(lacking, np.float32(0.0), evidence).reshape(-1, evidence.shape[1])
        found = self.summaries(kept, against)
        return found.reshape(coalitions, len(needed), found.shape[1])

    @property
    def _summaries(self) -> int:
        """How many row-level features there are."""
        return ("tails" in self.groups) * len(self.tails_.get_feature_names_out()) + self.weighs_evidence

    def _summarised(self, learned: npt.NDArray[np.float32]) -> npt.NDArray[np.uint32] | None:
        """Put the row-level summary behind the features of training records, in the columns that are left for it.

        Returns which features of each stand out, as `Memory` has them; None where no evidence is weighed.
        """
        single, places = len(self.kept_), []
        for start in range(0, len(learned), _ROWS):
            some = learned[start : start + _ROWS]
            found = np.ascontiguousarray(some[:, :single])
            surprises, evidence = self.surprises(found), self.evidence(found)
            some[:, single:] = self.summarise(found, surprises, evidence)[:, single:]
            if evidence is not None:
                places.append(standing_out(evidence, self._in_their_places(surprises)))
        return np.concatenate(places) if places else None

    def _append_summary(self, out: npt.NDArray[np.float32], n_threads: int) -> None:
        """`summarise` by compiled code, in the columns behind the features of single columns."""

        def append(some: npt.NDArray[np.float32]) -> None:
            if "tails" in self.groups:
                self.tails_.append(some, self.forest_features, len(self.kept_))
            if self.evidence_ is not None:
                self.evidence_.append(some)

        run(append, [out[start : start + _ROWS_AT_ONCE] for start in range(0, len(out), _ROWS_AT_ONCE)], n_threads)

    def _in_their_places(self, surprises: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The `surprises` in the places of their features; 0 of those that are not for the forest."""
        found = np.zeros((len(surprises), len(self.kept_)), dtype=np.float32)
        found[:, self.forest_features] = surprises
        return found


_forest_features: Kept[RowSummaries, npt.NDArray[np.int64]] = Kept(
    lambda features: np.flatnonzero(for_the_forest(features.feature_sources_[: len(features.kept_)]))
)


def _tell(features: RowSummaries) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """The evidence of a usual row, shape (n_features,), and that of what stood out in those that are remembered."""
    memory, evidence = features.remembered_, features.evidence_
    assert memory is not None
    assert evidence is not None
    odd = np.empty(memory.values.shape, dtype=np.float32)
    for start in range(0, len(odd), _ROWS):
        some = np.arange(start, min(start + _ROWS, len(odd)))
        found = evidence.of(features._as_remembered(memory, some)[:, : len(features.kept_)])
        odd[some] = np.take_along_axis(found, memory.places[some].astype(np.int64), axis=1)
    return evidence.of(features.usual_[None])[0], odd


# Each verdict weighs it up anew, and finding it out takes longer.
_told: Kept[RowSummaries, tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]] = Kept(_tell)
