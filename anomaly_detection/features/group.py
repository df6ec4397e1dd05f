"""`FeatureGroup`: what all groups of features share, and what each says of its features."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from inspect import signature
from math import inf
from typing import Any, ClassVar, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from anomaly_detection.data.columns.levels import Kept
from anomaly_detection.data.columns.table import Table, as_table
from anomaly_detection.features.compiled.program import Program, Value
from anomaly_detection.features.dates.derived import Derived
from anomaly_detection.features.fitted import require_fitted
from anomaly_detection.texts.said import N_, Said

__all__ = ["FEW", "OF_A_RECORD", "Facts", "FeatureGroup", "FeatureSource", "Range", "Row", "side_by_side"]

Row = Mapping[str, Any]


class Facts(NamedTuple):
    """How many values there were, their median, and between what the middle 90 % of them lay, in their own units."""

    values: int
    median: float
    low: float
    high: float


Range = tuple[float, float]

FEW = 5
"""Records that make a history."""

OF_A_RECORD = 3
"""A feature of more columns is about the whole record, and about none of them."""
Part = TypeVar("Part", bound=Derived)


@dataclass(frozen=True)
class FeatureSource:
    """Where a feature comes from.

    Attributes
    ----------
    name : str
        The feature's name.
    kind : str
        One of `GROUPS`.
    columns : tuple of str
        Input columns, the one that is judged first; empty for the row-level summary ("tails").
    group_by : tuple of str
        What the feature is compared within: categorical input columns, or calendar parts such as ``month of date``.
    derived : mapping of str to Derived
        The derived columns among those that it judges or compares within, by name. It follows from the records'
        columns and the branches, so comparisons and model files leave it out.
    """

    name: str
    kind: str
    columns: tuple[str, ...]
    group_by: tuple[str, ...] = ()
    derived: Mapping[str, Derived] = field(default_factory=dict, compare=False)

    def parts(self, kind: type[Part]) -> list[Part]:
        """The derived columns of a kind that the feature looks at."""
        return [part for part in self.derived.values() if isinstance(part, kind)]


def side_by_side(columns: Sequence[npt.NDArray[Any]], rows: int) -> npt.NDArray[np.float32]:
    """Columns of so many rows as float32, shape (rows, columns)."""
    out = np.empty((rows, len(columns)), dtype=np.float32)
    for i, column in enumerate(columns):
        out[:, i] = column
    return out


class FeatureGroup:
    """A transformer that makes the features of one group, and what is to be known of any of them.

    It has what scikit-learn's `clone` asks for, and is none of its classes: a model that is read from a file scores
    without scikit-learn, which takes longer to load than all else together.

    Attributes
    ----------
    units : tuple of two floats
        At least and at most so much of a feature counts as one standard deviation (`DeviationSummary`). Where the
        second is finite, the feature tells something even if no training value differs.
    ordered : bool
        Whether values lie above or below what is usual, so that one over the other says something.
    plain : bool
        Whether it is a number as it stands, whose mere size says less than how it lies `beside` others.
    beside : bool
        Whether a number is judged against its group or the rest of its record.
    counted : bool
        Whether values depend on which records come together.
    repeats : bool
        Whether they tell that other records say the same.
    remembers : bool
        Whether `remember` has a use.
    nats : bool
        Whether values are evidence in nats (`Evidence`) already.
    by_name : bool
        Whether columns are looked up by their names, so that others beside them do no harm.
    weighed : bool
        Whether they are evidence, and told as reasons, in a model that weighs evidence; else others tell it better.
    logarithmic : bool
        Whether values grow as the logarithm of a deviation.
    one_sided : bool
        Whether only large values are odd.
    titled : mapping of str to str
        What heads records of each `direction`, a template after "Profit is"; "unusual" of those that are not in it.
    """

    units: ClassVar[tuple[float, float]] = (0.0, inf)
    ordered: ClassVar[bool] = False
    plain: ClassVar[bool] = False
    beside: ClassVar[bool] = False
    counted: ClassVar[bool] = False
    repeats: ClassVar[bool] = False
    remembers: ClassVar[bool] = False
    nats: ClassVar[bool] = False
    by_name: ClassVar[bool] = False
    weighed: ClassVar[bool] = True
    logarithmic: ClassVar[bool] = False
    one_sided: ClassVar[bool] = False
    titled: ClassVar[Mapping[str, str]] = {
        "high": N_("high"),
        "low": N_("low"),
        "missing": N_("missing"),
        "repeated": N_("repeated"),
    }

    def keep_recent(self) -> None:
        """From now on compare with what `remember` is told of too."""

    def remember(self, X: Any, label: Callable[[int], Callable[[], str]]) -> None:
        """Take in records that were judged, once each, in their order; `label` gives what says what one is called."""

    def some_alike(self, tables: Sequence[Table]) -> bool:
        """Whether any of these tables of one row would change what is said of another, once it is remembered."""
        return False

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The parameters of the constructor, by their names."""
        return {name: getattr(self, name) for name in signature(type(self)).parameters}

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self.get_params().items())
        return f"{type(self).__name__}({given})"

    def fit(self, X: Any, y: object = None) -> Any:
        """Learn from clean records, a frame or a `Table`."""
        raise NotImplementedError(f"{type(self).__name__} learns nothing of records")

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """The names of the features, in the order of the outputs."""
        raise NotImplementedError(f"{type(self).__name__} has no features")

    def fit_transform(self, X: Any, y: object = None, **params: Any) -> npt.NDArray[np.float32]:
        """The features of the records learned from, shape (n, features)."""
        found: npt.NDArray[np.float32] = self.fit(X, y).transform(X)
        return found

    def _seen(self, X: Any) -> Table:
        """The records to learn from, whose columns are those of the group from now on."""
        Kept.forget(self)
        table = as_table(X)
        self.feature_names_in_ = np.asarray(table.columns, dtype=object)
        self.n_features_in_ = len(table.columns)
        return table

    def transform(self, X: Any) -> npt.NDArray[np.float32]:
        """Give the features of clean records, a frame or a `Table`, shape (n, features)."""
        require_fitted(self)
        return self.features_of(as_table(X))

    def features_of(self, X: Table) -> npt.NDArray[np.float32]:
        """`transform` of a fitted group, without looking whether it is one."""
        raise NotImplementedError(f"{type(self).__name__} makes no features of records")

    def emit(self, program: Program, columns: Sequence[str]) -> list[Value] | None:
        """`features_of` as a program of these columns of the records; None where it has none."""
        return None

    def least_deviations(self) -> npt.NDArray[np.float64]:
        """One deviation of each feature is so much at least, for `Evidence`: that of `units`, if no better is known."""
        return np.array([self.units_of(str(name))[0] for name in self.get_feature_names_out()], dtype=np.float64)

    def logarithmic_features(self) -> npt.NDArray[np.bool_]:
        """`logarithmic` of each feature."""
        return np.full(len(self.get_feature_names_out()), self.logarithmic)

    @classmethod
    def units_of(cls, name: str) -> tuple[float, float]:
        """The `units` of the feature of this name."""
        return cls.units

    @classmethod
    def weight(cls, source: FeatureSource) -> float:
        """How well a feature tells about one of its columns, in (0, 1]: the fewer there are, the better."""
        return 1.0 / max(len(source.columns), 1)

    @classmethod
    def subject(cls, source: FeatureSource) -> str | None:
        """What a feature judges, where that is no column but made of several; else None."""
        return None

    @classmethod
    def direction(cls, value: Any, usual: Any) -> str:
        """In a word how a value differs from what is usual, see `Contribution`."""
        return "rare"

    @classmethod
    def says(cls, value: Any) -> bool:
        """Whether there is something to say of a value that lies far out."""
        return True

    @classmethod
    def tells(cls, usual: Any) -> bool:
        """Whether there is something to say beside what is usual."""
        return True

    def facts(self, X: Table, feature: int, row: int = 0) -> Facts | None:
        """The training values that a row is held against, as a pivot shows them; None where they were not kept."""
        return None

    def is_fact(self, X: Table, feature: int, row: int = 0) -> bool:
        """Whether what is no evidence is told for want of any, as a fact that a pivot of the records shows."""
        return False

    def told_beside(self, X: Table, feature: int, row: int = 0) -> tuple[str, ...] | None:
        """The columns that a feature's words name as what a row is held against; None: its `group_by`."""
        return None

    @classmethod
    def is_ordinary(cls, feature: float, value: Any, usual: Any) -> bool:
        """Whether a person would call a value ordinary, though its feature counts a little; said for want of better."""
        return False

    @classmethod
    def phrase(cls, source: FeatureSource, value: Any, usual: Any, row: Row, rows: int, between: Range | None) -> Said:
        """Say in a clause what is odd about a feature of a row; the parameters are those of `wording.phrase`.

        The row-level summary has no words: it follows from other features.
        """
        raise NotImplementedError(f"{cls.__name__} has no words for its features")
