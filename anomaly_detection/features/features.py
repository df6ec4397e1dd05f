"""`SupplyChainFeatures`: raw records to the numbers a forest is grown on, each traceable to its columns."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import joblib
import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.utils import Bunch
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_is_fitted

from anomaly_detection.data.frames import to_frame
from anomaly_detection.data.levels import Kept, grouped_by
from anomaly_detection.data.records import RecordReader, is_record
from anomaly_detection.data.schema import CleaningReport, CleanRecords, Role, Schema, infer_schema
from anomaly_detection.data.table import Table, as_table
from anomaly_detection.errors import DataError
from anomaly_detection.features.branches import Branch, plan_branches
from anomaly_detection.features.coincidences import keys_by_column
from anomaly_detection.features.column_reference import learn_references
from anomaly_detection.features.compiled.choice import by_compiled_code
from anomaly_detection.features.compiled.features import CompiledFeatures
from anomaly_detection.features.compiled.program import Program
from anomaly_detection.features.copies import Copies
from anomaly_detection.features.cross_fitting import BELOW, FEWEST, as_unseen, held_out
from anomaly_detection.features.derivation import find_derived
from anomaly_detection.features.derived import Derived, add_derived, derived_names
from anomaly_detection.features.evidence import NAME, Evidence, learn_tails
from anomaly_detection.features.feature_scales import scales_of
from anomaly_detection.features.group import FeatureSource
from anomaly_detection.features.kept_features import kept_features, take_kept
from anomaly_detection.features.kinds import GROUPS, KINDS, PLAIN_GROUPS
from anomaly_detection.features.memory import Memory
from anomaly_detection.features.pairing import MOST_PARTNERS
from anomaly_detection.features.restated_columns import find_restated
from anomaly_detection.features.row_summaries import RowSummaries
from anomaly_detection.features.sources import sources_of
from anomaly_detection.features.surprise import DeviationSummary
from anomaly_detection.features.units import Units

__all__ = ["GROUPS", "FeatureSource", "SupplyChainFeatures"]

_FEW = 20_000  # rows: below, threads cost more than they save


class SupplyChainFeatures(RowSummaries, TransformerMixin, BaseEstimator):  # type: ignore[misc]
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
    group or the rest of its record, whose mere size says less.

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

    @property
    def named_transformers_(self) -> Bunch:
        """The branches by the names of their groups."""
        check_is_fitted(self, "transformers_")
        return Bunch(**{name: branch for name, branch, _ in self.transformers_})

    @property
    def numerical_features(self) -> list[str]:
        """Input columns that hold numbers."""
        check_is_fitted(self, "schema_")
        return self.schema_.names(Role.NUMERIC)

    @property
    def categorical_features(self) -> list[str]:
        """Input columns that hold categories."""
        check_is_fitted(self, "schema_")
        return self.schema_.names(Role.CATEGORICAL)

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

    def learn(self, X: Any, *, by_others: bool = False, watched: bool = True) -> tuple[npt.NDArray[np.float32], Table]:
        """Fit; give the features of the training records, and these as `prepare` makes them.

        What a record is compared with (relations, contexts, expectations) is chosen on all records, itself among them:
        of few, it looks more usual than a new one. With `by_others`, the row-level features of 100 to 1,999 records
        are on the scale of those that each has by what is learned without it (`cross_fitting`), if evidence is weighed.
        Without `watched` nothing is kept to tell by how columns change.
        """
        unknown = [group for group in self.groups if group not in KINDS]
        if unknown:
            raise DataError(f"Unknown feature group {unknown[0]!r}; expected some of {', '.join(GROUPS)}.")
        Kept.forget(self)
        records = self.read(X)
        self.__dict__.pop("_excuses", None)
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
        blocks = self._blocks("fit_transform", extended)
        for made in (grouped_by, keys_by_column):
            extended.forget(made)
        extended.forget_lookups()
        sources = self._sources()
        self.kept_ = kept_features(blocks, sources)
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
            scales = scales_of(self.feature_sources_, logarithmic[self.kept_].tolist(), extended)
            self.evidence_ = Evidence(scales, learn_tails(found, scales, [least for least, _ in units]))
        self.feature_sources_ = self._all_sources()
        Kept.forget(self)
        places = self._summarised(learned)
        if by_others and self.is_cross_fitted:
            row_level = learned[:, len(self.kept_) :]
            row_level[:] = as_unseen(row_level, held_out(len(records), partial(self._row_level, records)))
        self.remembered_ = self._remember(extended, learned, places)
        return learned, extended

    @property
    def is_cross_fitted(self) -> bool:
        """Whether `learn` can judge each training record by what is learned without it."""
        return self.weighs_evidence and FEWEST <= self.n_records_ < BELOW

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
        return self.features_of(self.prepare(X)[0])

    def prepare(self, X: Any, first: int | None = None) -> tuple[Table, CleaningReport]:
        """Return the clean records with the columns that follow from others, and what cleaning did.

        `first` is for a part of a larger table, see `Schema.clean`.
        """
        if not hasattr(self, "feature_sources_"):
            check_is_fitted(self, "feature_sources_")
        if isinstance(X, CleanRecords):
            return self._extended(X.table), X.report
        found = self._reader().read(X) if first is None and is_record(X) else None
        clean, report = self.schema_.read(X, first) if found is None else found
        return self._extended(clean), report

    def _reader(self) -> RecordReader:
        found = _reader(self)
        if found.schema is not self.schema_:
            _reader.forget(self)
            found = _reader(self)
        return found

    def extend(self, X: Any, first: int | None = None) -> tuple[pd.DataFrame, CleaningReport]:
        """Return what `prepare` does, as a frame."""
        extended, report = self.prepare(X, first)
        return extended.frame(), report

    def _extended(self, clean: Table) -> Table:
        # Names may be left out of what is scored.
        absent = [name for name in _plan(self).identifiers if name not in clean]
        if absent:
            clean = clean.with_columns({name: np.full(len(clean), None, dtype=object) for name in absent})
        return add_derived(clean, _plan(self).derived)

    def _derived_columns(self) -> dict[str, Derived]:
        """The derived columns by name."""
        names = derived_names(self.derived_, [*self.schema_.names(), *self.schema_.word_columns().values()])
        return dict(zip(names, self.derived_, strict=True))

    def features_of(self, extended: Any) -> npt.NDArray[np.float32]:
        """Return the features of records that `prepare` or `extend` made; training records have theirs again."""
        extended = as_table(extended)
        if by_compiled_code(len(extended)):
            # Threads over rows; below, they cost more than they save.
            n_threads = 1 if len(extended) < _FEW else joblib.effective_n_jobs(self.n_jobs)
            found = _compiled(self).of(extended, n_threads)
            self._append_summary(found, n_threads)
        else:
            found = self.summarise(self._of_branches("features_of", extended)[:, self.kept_])
        copies = self._copies()
        if self.remembered_ is None or copies is None:
            return found
        if len(extended) == 1 and not copies[0].may_be_known(extended):
            return found
        return self.remembered_.restore(copies[0].keys(extended), found)

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

    def _copies(self) -> tuple[Copies, list[str]] | None:
        """The branch that knows records by all that they say, and its columns."""
        return _plan(self).copies

    def _of_branches(self, method: str, extended: Table) -> npt.NDArray[np.float32]:
        """What a method of the branches makes of prepared records, side by side."""
        return np.hstack([np.empty((len(extended), 0), dtype=np.float32), *self._blocks(method, extended)])

    def _blocks(self, method: str, extended: Table) -> list[npt.NDArray[np.float32]]:
        """What a method of each branch makes of prepared records, of many each branch in a thread."""
        used = _plan(self).used
        if len(extended) < _FEW:
            return [getattr(branch, method)(extended.only(columns)) for _, branch, columns in used]
        with joblib.parallel_config(backend="threading"):
            found: list[npt.NDArray[np.float32]] = Parallel(n_jobs=self.n_jobs)(
                delayed(getattr(branch, method))(extended.only(columns)) for _, branch, columns in used
            )
        return found

    @property
    def pair_limit(self) -> str | None:
        """One line where there are more columns than are compared with each other, None where there are not."""
        judged = self.schema_.names(Role.NUMERIC, Role.CATEGORICAL, Role.TIMESTAMP)
        if len(judged) <= MOST_PARTNERS:
            return None
        return (
            f"{len(judged):,} columns are more than can all be compared with each other: each is compared with up to"
            f" {MOST_PARTNERS} that promise most, and judged by itself as ever."
        )

    def known_share(self, X: Any) -> float:
        """Share of the records, 0 to 1, that are remembered from training in every column; 0 without ``copies``."""
        copies = self._copies()
        if copies is None:
            return 0.0
        branch, columns = copies
        return float(branch.known(self.prepare(X)[0].only(columns)).mean())

    def in_units(
        self, extended: Any, rows: npt.NDArray[np.int64] | None = None
    ) -> tuple[npt.NDArray[np.object_], npt.NDArray[np.object_]]:
        """Return, for each feature but the row-level summary, the value and what is usual, as a person would say them.

        Both have shape (n, n_features without the summary); `rows` are the positions of the n records to tell of, among
        all that came together, all if not given. For numbers they are in the column's own units; for
        categories the level and its count; for pairs both levels, and the rows with both and with the second.
        """
        return Units(self, as_table(extended), rows).all()

    def ranges_in_units(self, extended: Any) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return between what each feature's value usually lies: both ends, in the units of `in_units`.

        Both have its shape; the middle 90 % of the training records lie between, each against its own group or
        expectation. NaN for features whose values have no such range: categories, rules, repeats.
        """
        return Units(self, as_table(extended), None).all_between()

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """Return the names of the features, in the order of the outputs."""
        check_is_fitted(self, "feature_sources_")
        return np.asarray([source.name for source in self.feature_sources_], dtype=object)

    def _branches(self) -> list[Branch]:
        return plan_branches(self.schema_, self.restated_, self._derived_columns(), self.groups, self.n_jobs)

    def _used(self) -> list[Branch]:
        return [part for part in self.transformers_ if part[1] != "drop"]

    def _sources(self) -> list[FeatureSource]:
        """The sources of all features of the branches."""
        return sources_of(self._used(), self._derived_columns())

    def _all_sources(self) -> list[FeatureSource]:
        """The sources of the kept features, and of the row-level summary."""
        sources = self._sources()
        tails = self.tails_.get_feature_names_out() if "tails" in self.groups else ()
        return [
            *(sources[i] for i in self.kept_),
            *(FeatureSource(str(name), "tails", ()) for name in tails),
            *([FeatureSource(NAME, NAME, ())] if self.weighs_evidence else []),
        ]


class _Plan:
    """What follows from the columns and branches of fitted features, for every batch."""

    def __init__(self, features: SupplyChainFeatures) -> None:
        self.identifiers = features.schema_.names(Role.IDENTIFIER)
        self.derived = features._derived_columns()
        self.used = features._used() if hasattr(features, "transformers_") else []
        self.copies = next(((branch, columns) for name, branch, columns in self.used if name == "copies"), None)

    def compiled(self, features: SupplyChainFeatures) -> CompiledFeatures:
        """What computes the features by compiled code."""
        schema, derived = features.schema_, features._derived_columns()
        words = schema.word_columns()
        categories = [*schema.names(Role.CATEGORICAL), *words.values(), *derived]
        program = Program(schema.names(Role.NUMERIC), schema.names(Role.TIMESTAMP), categories, derived, words)
        return CompiledFeatures(program, self.used, features.kept_, features._summaries)


_plan: Kept[SupplyChainFeatures, _Plan] = Kept(_Plan)
_compiled: Kept[SupplyChainFeatures, CompiledFeatures] = Kept(lambda features: _plan(features).compiled(features))
_reader: Kept[SupplyChainFeatures, RecordReader] = Kept(lambda features: RecordReader(features.schema_))
