"""Rules that nearly all records keep, and by how much one breaks them: totals and factors, dates in their order."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from anomaly_detection.data.columns.table import Table, as_table
from anomaly_detection.features.categories.pairing import paired_dates
from anomaly_detection.features.compiled.program import Program, Value
from anomaly_detection.features.dates.derived import Duration, Product
from anomaly_detection.features.numbers.numeric_group import NumericGroup

__all__ = ["Rules"]

Floats = npt.NDArray[np.float64]

_KEPT_SHARE = 0.99
_LEAST_ROWS = 50
_LEAST_QUOTIENT = 1e-3
_TOLERANCE = 0.05


class Rules(NumericGroup):
    """By how much each rule is broken, as ``log(1 + breach / tolerance)`` with a sign; 0 where it is kept.

    For a product the breach is the logarithm of the total over what its factors make, the tolerance 5 %. For two dates
    of which one follows the other in nearly all records it is the days by which it comes before, the tolerance a day.

    Parameters
    ----------
    products : sequence of Product
        Their quotients are the first columns, dates aside, in this order.
    dates : sequence of str
        Columns of dates, whose order is learned; of many those that `paired_dates` names.
    """

    logarithmic: ClassVar[bool] = True
    units: ClassVar[tuple[float, float]] = (0.0, 0.3)
    of_dates: ClassVar[bool] = True

    def __init__(self, products: Sequence[Product] = (), dates: Sequence[str] = ()) -> None:
        self.products = products
        self.dates = dates

    def fit(self, X: Any, y: object = None) -> Rules:
        """Find the dates that follow each other."""
        X = self._seen(X)
        self.orders_: list[tuple[Duration, float]] = []
        for first, second in combinations(paired_dates(X, self.dates), 2):
            days = Duration(first, second).values(X)
            days = days[~np.isnan(days)]
            if len(days) < _LEAST_ROWS:
                continue
            middle = float(np.median(days))
            pair, days = (Duration(first, second), days) if middle >= 0 else (Duration(second, first), -days)
            if (days >= 0).mean() >= _KEPT_SHARE and (days > 0).any():
                self.orders_.append((pair, abs(middle)))
        return self

    def features_of(self, X: Table) -> npt.NDArray[np.float32]:
        """The breaches, shape (n, rules); NaN where a value is missing."""
        values = self._values(X)
        out = np.empty(values.shape, dtype=np.float32)
        split = len(self.products)
        breach = np.log(np.maximum(values[:, :split], _LEAST_QUOTIENT)) / _TOLERANCE
        out[:, :split] = np.copysign(np.log1p(np.abs(breach)), breach)
        # Within a day of each other clocks and time zones decide.
        out[:, split:] = -np.log1p(np.maximum(-np.ceil(values[:, split:]), 0.0))
        return out

    def emit(self, program: Program, columns: Sequence[str]) -> list[Value] | None:
        """`FeatureGroup.emit`."""
        named = [name for name in columns if name not in self.dates]
        found = []
        for name in named[: len(self.products)]:
            breach = program.number(name).at_least(_LEAST_QUOTIENT).log() / _TOLERANCE
            found.append(abs(breach).log1p().with_sign_of(breach))
        for pair, _ in self.orders_:
            found.append(-(-pair.number(program).ceiling()).at_least(0.0).log1p())
        return found

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """Return ``<total> / (<factors>)`` and ``<date> after <date>`` for the rules."""
        products = [product.name for product in self.products]
        return np.asarray([*products, *(f"{pair.end} after {pair.start}" for pair, _ in self.orders_)], dtype=object)

    @property
    def feature_columns_(self) -> list[tuple[str, ...]]:
        """The columns that each rule binds."""
        return [*(product.columns for product in self.products), *(pair.columns for pair, _ in self.orders_)]

    def in_units(self, X: Any) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Return quotients and 1, days from one date to the next and their median; both (n, rules)."""
        values = self._values(as_table(X))
        usual = np.array([1.0] * len(self.products) + [middle for _, middle in self.orders_])
        return values, np.broadcast_to(usual, values.shape)

    def _values(self, X: Table) -> Floats:
        # Before the dates, in their order: a column of the records may have the name that a product usually has.
        named = [name for name in X if name not in self.dates]
        quotients = [X.numbers(name) for name in named[: len(self.products)]]
        parts = [*quotients, *(pair.values(X) for pair, _ in self.orders_)]
        return np.column_stack(parts) if parts else np.empty((len(X), 0))
