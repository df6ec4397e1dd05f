"""Numbers and dates that follow exactly from others: an amount that repeats another, a sum, a fixed multiple."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from anomaly_detection.data.columns.table import Table, as_table
from anomaly_detection.features.categories.pairing import MOST_PARTNERS, paired_dates
from anomaly_detection.features.clauses import named_value, number, times_seen
from anomaly_detection.features.compiled.program import Program, Value
from anomaly_detection.features.dates.derivation import rounding
from anomaly_detection.features.dates.derived import Duration
from anomaly_detection.features.forms import SELDOM, seldom, worth_less_together
from anomaly_detection.features.group import FeatureGroup, FeatureSource, Range, Row
from anomaly_detection.features.numbers.bounds import bounded
from anomaly_detection.features.numbers.quantiles import median
from anomaly_detection.texts.said import Day, Said, say

__all__ = ["Tie", "Ties"]

Floats = npt.NDArray[np.float64]

_SAMPLE = 2_000
_FEWEST = 30  # rows that a tie binds
_LEAST_SHARE = 0.05  # of the rows
_FEWEST_VALUES = 10
_MOST_SUMMED = 24  # columns: their sums grow as the cube
_EXACTLY = 1e-6
_LARGEST = 20  # rows, by which a factor is measured: small numbers are rounded most
_SAME_DAY = 1e-3


@dataclass(frozen=True)
class Tie:
    """A column that is `factor` times the sum of others; of dates, the same as one.

    Attributes
    ----------
    column : str
    of : tuple of str
        One column or two.
    factor : float
    tolerance : float
        What rounding explains.
    dates : bool
    breaches : int
        Training records that break it.
    """

    column: str
    of: tuple[str, ...]
    factor: float
    tolerance: float
    dates: bool = False
    breaches: int = 0

    @property
    def columns(self) -> tuple[str, ...]:
        """All that it binds."""
        return (self.column, *self.of)

    def broken(self, X: Table) -> npt.NDArray[np.bool_]:
        """Whether each row breaks it; one without a value does not; shape (n,)."""
        if self.dates:
            return np.abs(Duration(self.of[0], self.column).values(X)) > _SAME_DAY
        found, *parts = (bounded(X.numbers(name)) for name in self.columns)
        return np.abs(found - _sum(parts) * self.factor) > np.abs(found) * _EXACTLY + self.tolerance

    def broken_in(self, program: Program) -> Value:
        """`broken` as a program has it."""
        if self.dates:
            return abs(program.days_between(self.of[0], self.column)) > _SAME_DAY
        found, *parts = (program.number(name).bounded() for name in self.columns)
        return abs(found - _sum(parts) * self.factor) > abs(found) * _EXACTLY + self.tolerance


def _sum(parts: Sequence[Any]) -> Any:
    return parts[0] if len(parts) == 1 else parts[0] + parts[1]


class Ties(FeatureGroup):
    """Evidence in nats that a record breaks what nearly all others keep to the last digit, a feature each.

    Of two columns that say the same, other groups look at the first alone, so what is wrong in the second is told here.
    Evidence is how seldom a tie was broken, however little. Where more than one in a hundred rows of a batch break it,
    each is worth less, as `Gaps` are.

    Parameters
    ----------
    numbers, dates : sequence of str
    """

    units: ClassVar[tuple[float, float]] = (0.0, 1.0)
    nats: ClassVar[bool] = True

    def __init__(self, numbers: Sequence[str] = (), dates: Sequence[str] = ()) -> None:
        self.numbers = numbers
        self.dates = dates

    def fit(self, X: Any, y: object = None) -> Ties:
        """Find the ties, and how often they were broken."""
        X = self._seen(X)
        self.n_rows_ = len(X)
        sample = X.take(slice(None, None, -(-len(X) // _SAMPLE)))
        self.ties_: list[Tie] = []
        for tie in _found(sample, self.numbers, self.dates):
            tie = replace(tie, breaches=int(tie.broken(X).sum()))
            if tie.breaches < SELDOM * len(X):
                self.ties_.append(tie)
        return self

    def features_of(self, X: Table) -> npt.NDArray[np.float32]:
        """The evidence in nats, shape (n, ties)."""
        out = np.zeros((len(X), len(self.ties_)), dtype=np.float32)
        for i, tie in enumerate(self.ties_):
            out[tie.broken(X), i] = seldom(tie.breaches, self.n_rows_)
        self.with_others(X, out)
        return out

    def fit_transform(self, X: Any, y: object = None, **params: Any) -> npt.NDArray[np.float32]:
        """Fit, and give each training row's evidence by the other rows."""
        X = as_table(X)
        out = np.zeros((len(X), len(self.fit(X).ties_)), dtype=np.float32)
        for i, tie in enumerate(self.ties_):
            out[tie.broken(X), i] = seldom(max(tie.breaches - 1, 0), self.n_rows_)
        return out

    def with_others(self, X: Table, found: npt.NDArray[np.float32]) -> None:
        """Change the evidence, shape (n, ties), by how many rows break each."""
        worth_less_together(found)

    def emit(self, program: Program, columns: Sequence[str]) -> list[Value] | None:
        """`FeatureGroup.emit`."""
        return [tie.broken_in(program).where(float(seldom(tie.breaches, self.n_rows_)), 0.0) for tie in self.ties_]

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """Return ``<column> as <others>`` for each."""
        return np.asarray([f"{tie.column} as {' + '.join(tie.of)}" for tie in self.ties_], dtype=object)

    @property
    def feature_columns_(self) -> list[tuple[str, ...]]:
        """The columns that each tie binds."""
        return [tie.columns for tie in self.ties_]

    def in_units(self, X: Any) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Return the cells, and ``(factor, breaches in training, whether it is broken)``; both (n, ties)."""
        X = as_table(X)
        values = np.empty((len(X), len(self.ties_)), dtype=object)
        usual = np.empty(values.shape, dtype=object)
        for i, tie in enumerate(self.ties_):
            values[:, i] = X.objects(tie.column)
            usual[:, i] = [(tie.factor, tie.breaches, broken) for broken in tie.broken(X).tolist()]
        return values, usual

    @classmethod
    def weight(cls, source: FeatureSource) -> float:
        """`FeatureGroup.weight`: the words name all columns, and what is exact is understood first."""
        return 1.0

    @classmethod
    def tells(cls, usual: Any) -> bool:
        """Nothing of a row that keeps it."""
        return bool(usual[2])

    @classmethod
    def phrase(cls, source: FeatureSource, value: Any, usual: Any, row: Row, rows: int, between: Range | None) -> Said:
        """`FeatureGroup.phrase`: what it should be, by what."""
        factor, breaches, _ = usual
        what, *parts = (named_value(name, _shown(row[name])) for name in source.columns)
        other = parts[0] if len(parts) == 1 else say("%(first)s + %(second)s", first=parts[0], second=parts[1])
        if factor != 1.0:
            other = say("%(first)s x %(second)s", first=number(factor), second=other)
        return say("%(what)s is not %(other)s, as in %(seen)s", what=what, other=other, seen=times_seen(breaches, rows))


def _shown(value: Any) -> str:
    return number(float(value)) if isinstance(value, (int, float, np.number)) else Day(str(value)[:10])


def _found(X: Table, numbers: Sequence[str], dates: Sequence[str]) -> Iterator[Tie]:
    """The ties that some rows keep, each column by one that comes before it, if any is the same."""
    values = {name: bounded(X.numbers(name)) for name in numbers[:MOST_PARTNERS]}
    several = {name: own for name, own in values.items() if len(np.unique(own[~np.isnan(own)])) >= _FEWEST_VALUES}
    steps = {name: rounding(own) for name, own in several.items()}
    largest = {name: np.argsort(-np.abs(own), kind="stable") for name, own in several.items()}
    apart: list[str] = []
    for name, own in several.items():
        for other in apart:
            factor = _factor(own, several[other], largest[other])
            if factor is None:
                continue
            # As whole a factor as there is: the larger is told by the smaller.
            column, of = (name, other) if abs(factor) >= 1.0 else (other, name)
            factor = factor if column == name else 1.0 / factor
            tolerance = 0.0 if factor == 1.0 else 0.505 * (steps[column] + abs(factor) * steps[of])
            tie = Tie(column, (of,), factor, tolerance)
            if _holds(tie, X, (own != 0) & (several[other] != 0)):
                yield tie
                break
        else:
            apart.append(name)
    for first, second in combinations(apart[:_MOST_SUMMED], 2):
        both = several[first] + several[second]
        for name in apart[:_MOST_SUMMED]:
            if name not in (first, second):
                tie = Tie(name, (first, second), 1.0, 0.505 * (steps[name] + steps[first] + steps[second]))
                some = slice(None, None, max(len(X) // 64, 1))
                near = np.abs(both[some] - several[name][some]) <= np.abs(both[some]) * _EXACTLY + tie.tolerance
                if near.any() and _holds(tie, X, (several[first] != 0) & (several[second] != 0)):
                    yield tie
    known: list[str] = []
    for name in paired_dates(X, dates):
        for other in known:
            tie = Tie(name, (other,), 1.0, 0.0, dates=True)
            if _holds(tie, X, ~np.isnan(Duration(other, name).values(X))):
                yield tie
                break
        else:
            known.append(name)


def _factor(values: Floats, of: Floats, largest: npt.NDArray[np.intp]) -> float | None:
    """So many times another column a column is, where its `largest` numbers tell; 1 where both are the same."""
    both = ~np.isnan(values) & ~np.isnan(of) & (of != 0)
    if np.count_nonzero(both) < _FEWEST:
        return None
    largest = largest[both[largest]][:_LARGEST]
    factor = median(values[largest] / of[largest])
    if abs(factor - 1.0) <= _EXACTLY:
        return 1.0
    return factor if factor else None


def _holds(tie: Tie, X: Table, telling: npt.NDArray[np.bool_]) -> bool:
    """Whether nearly all rows keep it, and enough of those that tell."""
    telling = telling & ~np.logical_or.reduce([X.isna(name) for name in tie.columns])
    broken = tie.broken(X)
    return bool(
        telling.sum() >= max(_FEWEST, _LEAST_SHARE * len(X))
        and broken.sum() < SELDOM * len(X)
        and broken[telling].sum() <= SELDOM * telling.sum()
    )
