"""`TrainedFeatures`: the features of records by what was learned, without what learns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from anomaly_detection.data.columns.levels import Kept
from anomaly_detection.data.columns.records import RecordReader, is_record
from anomaly_detection.data.columns.schema import CleaningReport, CleanRecords, Role, Schema
from anomaly_detection.data.columns.table import Table, as_table
from anomaly_detection.features.branches import Branch, plan_branches
from anomaly_detection.features.categories.newcomers import Newcomers, Places
from anomaly_detection.features.categories.pairing import MOST_PARTNERS
from anomaly_detection.features.clauses import number
from anomaly_detection.features.column_reference import ColumnReference
from anomaly_detection.features.compiled.choice import by_compiled_code
from anomaly_detection.features.compiled.features import CompiledFeatures
from anomaly_detection.features.compiled.program import Program
from anomaly_detection.features.cross_fitting import BELOW, FEWEST
from anomaly_detection.features.dates.derived import CalendarPart, Derived, add_derived, derived_names
from anomaly_detection.features.evidence.evidence import NAME
from anomaly_detection.features.evidence.row_summaries import RowSummaries
from anomaly_detection.features.fitted import require_fitted
from anomaly_detection.features.group import FeatureGroup, FeatureSource
from anomaly_detection.features.kinds import PLAIN_GROUPS
from anomaly_detection.features.numbers.moves import Moves, Moving
from anomaly_detection.features.repeats.copies import Copies
from anomaly_detection.features.sources import sources_of
from anomaly_detection.features.units import Units
from anomaly_detection.texts.said import say
from mlx_iforest.resources import threads

__all__ = ["TrainedFeatures"]

_FEW = 20_000  # rows: below, threads cost more than they save


class TrainedFeatures(RowSummaries):
    """Records to features by what `SupplyChainFeatures` have learned: the part of them that needs no scikit-learn.

    What reads a model's file makes one, in a fifth of the time; `SupplyChainFeatures.of` makes an estimator of it. The
    attributes are those that `SupplyChainFeatures` list.
    """

    schema: Schema | None = None
    groups: Sequence[str] = PLAIN_GROUPS
    n_jobs: int | None = None
    n_records_: int
    restated_: dict[str, tuple[str, str]]
    references_: list[ColumnReference]
    transformers_: list[Branch]
    newcomers_: Newcomers | None = None
    moves_: Moves | None = None

    @property
    def numerical_features(self) -> list[str]:
        """Input columns that hold numbers."""
        require_fitted(self, "schema_")
        return self.schema_.names(Role.NUMERIC)

    @property
    def categorical_features(self) -> list[str]:
        """Input columns that hold categories."""
        require_fitted(self, "schema_")
        return self.schema_.names(Role.CATEGORICAL)

    @property
    def is_cross_fitted(self) -> bool:
        """Whether `learn` can judge each training record by what is learned without it."""
        return self.weighs_evidence and FEWEST <= self.n_records_ < BELOW

    def transform(self, X: Any) -> npt.NDArray[np.float32]:
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
            require_fitted(self, "feature_sources_")
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
        absent = [name for name in _plan(self).optional if name not in clean]
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
        if len(extended) == 1:
            return self.features_of_each([extended])
        if by_compiled_code(len(extended)):
            # Threads over rows; below, they cost more than they save.
            n_threads = 1 if len(extended) < _FEW else threads(self.n_jobs, type(self).__name__)
            found = _compiled(self).of(extended, n_threads)
            self._settle([extended], found)
            self._append_summary(found, n_threads)
        else:
            found = self._of_branches(extended)[:, self.kept_]
            self._settle([extended], found)
            found = self.summarise(found)
        copies = self._copies()
        if self.remembered_ is None or copies is None:
            return found
        return self.remembered_.restore(copies[0].keys(extended) + self._differ(found), found)

    def features_of_each(self, tables: Sequence[Table]) -> npt.NDArray[np.float32]:
        """Return what `features_of` gives for each of some tables of one row, shape (n, n_features), at once."""
        if by_compiled_code(len(tables)):
            found = _compiled(self).of_each(tables)
            self._settle(tables, found)
            self._append_summary(found, 1)
        else:
            found = np.vstack([self._of_branches(X)[:, self.kept_] for X in tables])
            self._settle(tables, found)
            found = np.vstack([self.summarise(one[None]) for one in found])
        copies = self._copies()
        if self.remembered_ is not None and copies is not None:
            for row, X in enumerate(tables):
                if copies[0].may_be_known(X):
                    own = found[row : row + 1]
                    self.remembered_.restore(copies[0].keys(X) + self._differ(own), own)
        return found

    def _differ(self, found: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
        """Which rows differ from all training records in columns that keys leave out, shape (n,), by their features."""
        return np.asarray(found[:, _plan(self).constants].any(axis=1))

    def keep_recent(self) -> None:
        """From now on compare records with those that `remember` is told of too, whatever comes together."""
        for branch, _ in self._remembering():
            branch.keep_recent()
        date = next((part.date for part in self.derived_ if isinstance(part, CalendarPart)), None)
        self.newcomers_ = Newcomers([part for part in self._kept_of() if hasattr(part[0], "newcomers")], date)
        if self.moves_ is None:
            self.move_on(None)

    def move_on(self, state: Moving | None) -> None:
        """From now on have what is usual go along with the records that `remember` is told of, from a state on."""
        contexts = [part for part in self._kept_of() if hasattr(part[0], "effects_of")]
        self.moves_ = Moves(*contexts[0], state) if contexts else None

    def remember(self, extended: Table, label: Callable[[int], Callable[[], str]]) -> None:
        """Take in records that were judged, as `prepare` made them.

        From a record's position `label` gives what says what it is called: few are ever asked.
        """
        for branch, columns in self._remembering():
            branch.remember(extended if branch.by_name else extended.only(columns), label)
        for one in self._since():
            one.remember(extended)

    def follow(self, extended: Table) -> None:
        """`remember`, of a stream that begins with the first of these, each called by its number."""
        before = 0
        if self.newcomers_ is None:
            self.keep_recent()
        else:
            before = self.newcomers_.records
        self.remember(extended, lambda at: lambda: say("%(place)s of those before", place=number(before + at + 1)))

    def _settle(self, tables: Sequence[Table], found: npt.NDArray[np.float32]) -> None:
        for one in self._since():
            one.settle(tables, found)

    def _since(self) -> list[Newcomers | Moves]:
        """What is learned from records since the training."""
        return [one for one in (self.newcomers_, self.moves_) if one is not None]

    def _kept_of(self) -> list[tuple[Any, list[str], Places, Places]]:
        """The branches that are evidence, the columns of each, which of its features are kept, and their places."""
        found, first = [], 0
        for _, branch, columns in _plan(self).used:
            last = first + len(branch.get_feature_names_out())
            places = np.flatnonzero((self.kept_ >= first) & (self.kept_ < last))
            if branch.weighed and len(places):
                found.append((branch, columns, self.kept_[places] - first, places))
            first = last
        return found

    def some_alike(self, tables: Sequence[Table]) -> bool:
        """Whether some of these tables of one row say the same, or all but a number, as far as that is looked for."""
        return any(branch.by_name and branch.some_alike(tables) for branch, _ in self._remembering())

    def _remembering(self) -> list[tuple[FeatureGroup, list[str]]]:
        return [(branch, columns) for _, branch, columns in _plan(self).used if getattr(branch, "remembers", False)]

    def _copies(self) -> tuple[Copies, list[str]] | None:
        """The branch that knows records by all that they say, and its columns."""
        return _plan(self).copies

    def _of_branches(self, extended: Table) -> npt.NDArray[np.float32]:
        """What the branches make of prepared records, side by side."""
        blocks = self._blocks(lambda branch, X: branch.features_of(X), extended)
        return np.hstack([np.empty((len(extended), 0), dtype=np.float32), *blocks])

    def _blocks(
        self, make: Callable[[Any, Table], npt.NDArray[np.float32]], extended: Table
    ) -> list[npt.NDArray[np.float32]]:
        """What is made of prepared records with each branch, of many each branch in a thread."""
        used = _plan(self).used
        if len(extended) < _FEW:
            return [make(branch, extended.only(columns)) for _, branch, columns in used]
        from joblib import parallel_config
        from sklearn.utils.parallel import Parallel, delayed

        with parallel_config(backend="threading"):
            found: list[npt.NDArray[np.float32]] = Parallel(n_jobs=self.n_jobs)(
                delayed(make)(branch, extended.only(columns)) for _, branch, columns in used
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
        require_fitted(self, "feature_sources_")
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

    def __init__(self, features: TrainedFeatures) -> None:
        self.optional = features.schema_.names(Role.IDENTIFIER, Role.CONSTANT)
        sources = getattr(features, "feature_sources_", ())
        self.constants = [i for i, source in enumerate(sources) if source.kind == "constants"]
        self.derived = features._derived_columns()
        self.used = features._used() if hasattr(features, "transformers_") else []
        self.copies = next(((branch, columns) for name, branch, columns in self.used if name == "copies"), None)

    def compiled(self, features: TrainedFeatures) -> CompiledFeatures:
        """What computes the features by compiled code."""
        schema, derived = features.schema_, features._derived_columns()
        words = schema.word_columns()
        categories = [*schema.names(Role.CATEGORICAL), *words.values(), *derived]
        program = Program(schema.names(Role.NUMERIC), schema.names(Role.TIMESTAMP), categories, derived, words)
        return CompiledFeatures(program, self.used, features.kept_, features._summaries)


_plan: Kept[TrainedFeatures, _Plan] = Kept(_Plan)
_compiled: Kept[TrainedFeatures, CompiledFeatures] = Kept(lambda features: _plan(features).compiled(features))
_reader: Kept[TrainedFeatures, RecordReader] = Kept(lambda features: RecordReader(features.schema_))
