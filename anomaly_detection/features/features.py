"""`SupplyChainFeatures`: raw records to the numbers a forest is grown on, each traceable to its columns."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.utils import Bunch
from sklearn.utils.validation import check_is_fitted

from anomaly_detection.data.columns.levels import Kept, grouped_by
from anomaly_detection.data.columns.schema import CleanRecords, Role, Schema, infer_schema
from anomaly_detection.data.columns.table import Table
from anomaly_detection.data.frames import to_frame
from anomaly_detection.errors import DataError
from anomaly_detection.features.column_reference import learn_references
from anomaly_detection.features.cross_fitting import as_unseen, held_out
from anomaly_detection.features.dates.derivation import find_derived
from anomaly_detection.features.dates.restated_columns import find_restated
from anomaly_detection.features.evidence.evidence import Evidence, learn_tails
from anomaly_detection.features.evidence.feature_scales import scales_of
from anomaly_detection.features.evidence.surprise import DeviationSummary
from anomaly_detection.features.fitted_branches import FittedBranches
from anomaly_detection.features.group import FeatureSource
from anomaly_detection.features.kept_features import foretold, kept_features, take_kept
from anomaly_detection.features.kinds import GROUPS, KINDS, PLAIN_GROUPS
from anomaly_detection.features.memory import Memory
from anomaly_detection.features.repeats.coincidences import keys_by_column
from anomaly_detection.features.trained_features import TrainedFeatures
from anomaly_detection.heap import trim

__all__ = ["GROUPS", "FeatureSource", "SupplyChainFeatures"]

_MANY = 100_000  # rows


class SupplyChainFeatures(TrainedFeatures, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Raw records to features, float32 with NaN where a value is missing.

    It cleans the records once by their schema, adds the columns that follow from others, and runs one branch a group
    of features on the result, each on columns of its own.

    ==============  ==================================================================================================
    group           features
    ==============  ==================================================================================================
    `num`           the numbers, lopsided ones as logarithms
    `cat`           rarity of each category
    `pairs`         oddity of two categories together
    `calendar`      rarity of the weekday and hour of the main date
    `durations`     days between dates
    `ratios`        ratios of two numbers
    `deviations`    numbers, durations and ratios against the group the row belongs to
    `expectations`  numbers against what the rest of the record foretells
    `rules`         breaches of what nearly all records keep: totals and their factors, dates in order
    `missing`       rarity of which numbers and dates are missing together, and in which words
    `copies`        records that say the same as another
    `readings`      values that repeat others although values hardly ever do
    `tails`         the largest and mean surprise over all other features of the row
    ==============  ==================================================================================================

    Constant features, and those that repeat another, are left out; so are plain values of what is judged against its
    group or the rest of its record, whose mere size says less; as evidence, columns far beyond all others stay.

    Parameters
    ----------
    schema : Schema, optional
        What the columns are; inferred from the training records if not given.
    groups : sequence of str, default PLAIN_GROUPS
        Which groups of features to make. With any of `EVIDENCE_GROUPS`, all that are made are weighed up in a last
        feature, ``evidence``, see `Evidence`.
    n_jobs : int, optional
        Threads over branches and columns.

    Attributes
    ----------
    schema_ : Schema
    restated_ : dict of column to (part, date)
        Columns that are not judged, because they only restate a part of a date.
    cleaning_report_ : CleaningReport
        What cleaning did to the training records.
    n_records_ : int
        Training records.
    references_ : list of ColumnReference
        By which it is seen whether columns change; none where a file lacks them.
    feature_sources_ : list of FeatureSource
        One a feature, in the order of the outputs.
    transformers_ : list of (name, branch or "drop", columns)
        A branch for each group but ``tails``, fitted; "drop" where the group is not wanted or has no columns.
    named_transformers_ : Bunch of name to branch or "drop"
    feature_names_in_ : ndarray of str
        The columns that branches choose from: those of the clean records, and those that follow from others.
    numerical_features, categorical_features : list of str
        Input columns by role.
    """

    def __init__(
        self, schema: Schema | None = None, groups: Sequence[str] = PLAIN_GROUPS, n_jobs: int | None = None
    ) -> None:
        self.schema = schema
        self.groups = groups
        self.n_jobs = n_jobs

    @classmethod
    def of(cls, trained: TrainedFeatures) -> SupplyChainFeatures:
        """An estimator that has learned what `trained` has."""
        made = cls()
        made.__dict__.update(trained.__dict__)
        return made

    @property
    def named_transformers_(self) -> Bunch:
        """The branches by the names of their groups."""
        check_is_fitted(self, "transformers_")
        return Bunch(**{name: branch for name, branch, _ in self.transformers_})

    def fit(self, X: Any, y: object = None, **params: Any) -> SupplyChainFeatures:
        """Learn what is usual; see `fit_transform`."""
        self.fit_transform(X, y)
        return self

    def fit_transform(self, X: Any, y: object = None, **params: Any) -> npt.NDArray[np.float32]:
        """Learn what is usual from training records and return their features.

        Parameters
        ----------
        X : table or CleanRecords
            Anything `to_frame` takes, at least two rows; or what `read` gave.
        y : ignored

        Returns
        -------
        ndarray of float32, shape (n, n_features)

        Raises
        ------
        DataError
            For unusable records or an unknown group of features; the message says why.
        """
        return self.learn(X)[0]

    def read(self, X: Any) -> CleanRecords:
        """The clean records that a fit learns from, for those who fit on parts of them too; ``schema_`` is theirs."""
        if isinstance(X, CleanRecords):
            if self.schema is None:
                raise DataError("Records that were read already say nothing of their columns; give a schema too.")
            self.schema_ = self.schema
            return X
        frame = to_frame(X)
        self.schema_ = infer_schema(frame) if self.schema is None else self.schema
        return CleanRecords(*self.schema_.read(frame))

    def learn(
        self, X: Any, *, by_others: bool = False, watched: bool = True, fitted: FittedBranches | None = None
    ) -> tuple[npt.NDArray[np.float32], Table]:
        """Fit; give the features of the training records, and these as `prepare` makes them.

        What a record is compared with (relations, contexts, expectations) is chosen on all records, itself among them:
        of few, it looks more usual than a new one. With `by_others`, the row-level features of 100 to 1,999 records
        are on the scale of those that each has by what is learned without it (`cross_fitting`), if evidence is weighed.
        Without `watched` nothing is kept to tell by how columns change. What others have `fitted` on these records is
        taken from there.
        """
        unknown = [group for group in self.groups if group not in KINDS]
        if unknown:
            raise DataError(f"Unknown feature group {unknown[0]!r}; expected some of {', '.join(GROUPS)}.")
        Kept.forget(self)
        records = self.read(X)
        for name in ("_excuses", "newcomers_", "moves_"):
            self.__dict__.pop(name, None)
        clean, self.cleaning_report_ = records.table, records.report
        self.restated_ = find_restated(
            clean, self.schema_.names(Role.NUMERIC, Role.CATEGORICAL), self.schema_.names(Role.TIMESTAMP)
        )
        self.derived_ = find_derived(clean, self.schema_, self.restated_, levels=self.weighs_evidence)
        extended = self._extended(clean)
        self.feature_names_in_ = np.asarray(extended.columns, dtype=object)
        self.n_features_in_ = len(extended.columns)
        self.transformers_ = self._branches()
        Kept.forget(self)
        fit = fitted.fit_transform if fitted is not None else lambda branch, X: branch.fit_transform(X)
        blocks = self._blocks(fit, extended)
        for made in (grouped_by, keys_by_column):
            extended.forget(made)
        extended.forget_lookups()
        if len(extended) >= _MANY:
            # Two tables of all features are to be there at once: the heap would keep beside them what was freed.
            trim()
        sources = self._sources()
        self.kept_ = kept_features(blocks, sources, self.weighs_evidence)
        if not self.kept_.size:
            raise DataError("No feature varies among the records; expected records that differ.")
        self.feature_sources_ = [sources[i] for i in self.kept_]
        self.n_records_ = len(records)
        self.references_ = learn_references(clean, self.schema_) if watched else []
        units = [KINDS[source.kind].units_of(source.name) for source in self.feature_sources_]
        plain = self.forest_features
        self.tails_ = DeviationSummary([units[i][0] for i in plain], [units[i][1] for i in plain])
        learned = take_kept(blocks, self.kept_, self._summaries)
        found = learned[:, : len(self.kept_)]
        self.tails_.fit(self.tails_.sample(found)[:, plain])
        self.evidence_ = None
        if self.weighs_evidence:
            logarithmic = np.concatenate([branch.logarithmic_features() for _, branch, _ in self._used()])
            least = np.concatenate([branch.least_deviations() for _, branch, _ in self._used()])[self.kept_]
            scales = scales_of(self.feature_sources_, logarithmic[self.kept_].tolist(), extended)
            far = foretold(self.feature_sources_).tolist()
            self.evidence_ = Evidence(scales, learn_tails(found, scales, least.tolist(), far))
        self.feature_sources_ = self._all_sources()
        Kept.forget(self)
        places = self._summarised(learned)
        if by_others and self.is_cross_fitted:
            row_level = learned[:, len(self.kept_) :]
            row_level[:] = as_unseen(row_level, held_out(len(records), partial(self._row_level, records)))
        self.remembered_ = self._remember(extended, learned, places)
        return learned, extended

    def _row_level(
        self, records: CleanRecords, known: npt.NDArray[np.int64], rows: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float32]:
        """The row-level features of some records by features learned from others."""
        other = clone(self).set_params(schema=self.schema_)
        other.learn(records.part(known), watched=False)
        return np.asarray(other.transform(records.part(rows))[:, len(other.kept_) :])

    def transform(self, X: Any, **params: Any) -> npt.NDArray[np.float32]:
        """Return the features of records, shape (n, n_features).

        Raises
        ------
        DataError
            If a column is missing or holds what cannot be read; the message says which.
        """
        return super().transform(X)

    def keys_of(self, extended: Table) -> npt.NDArray[np.uint64] | None:
        """What the records of a table that `prepare` made would be remembered by, (n,); None where none are."""
        copies = self._copies()
        return None if copies is None or self.remembered_ is None else copies[0].keys(extended)

    def _remember(
        self, extended: Table, learned: npt.NDArray[np.float32], places: npt.NDArray[np.uint32] | None
    ) -> Memory | None:
        copies = self._copies()
        if places is None or copies is None:
            return None
        branch, columns = copies
        return Memory.of(branch.keys(extended.only(columns)), learned, places, len(self.kept_))
