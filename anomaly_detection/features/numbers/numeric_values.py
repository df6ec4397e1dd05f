"""Numbers on the scale on which a forest's uniform thresholds are spent well."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from anomaly_detection.data.columns.table import Table, as_table
from anomaly_detection.features.compiled.program import Program, Value
from anomaly_detection.features.group import side_by_side
from anomaly_detection.features.numbers.bounds import LARGEST, bounded
from anomaly_detection.features.numbers.numeric_group import NumericGroup
from anomaly_detection.features.numbers.quantiles import median, quantiles

__all__ = ["Durations", "NumericValues", "Ratios", "Scale", "apply_scales", "choose_scale"]

Floats = npt.NDArray[np.float64]
_SAMPLE = 20_000
_LARGEST_HALF = 8e307
_LARGEST_FEATURE = 1e30
_LARGEST_LOG = 709.7
_LEAST_SHARE = 1e-12
_SMALLEST_FLOOR = 1e-200


class Scale:
    """A monotone scale: the number itself, or its logarithm above a floor.

    On a log scale what lies at or below the floor (a tenth of the smallest usual value) continues as a line and then as
    a logarithm again, so that a zero or a negative number stays finite, in order, and well apart from the rest.

    Parameters
    ----------
    floor : float or None
        Positive floor of a log scale; None for the number itself.
    """

    def __init__(self, floor: float | None = None) -> None:
        self.floor = floor

    def apply(self, values: npt.ArrayLike) -> Floats:
        """Bring numbers onto the scale; NaN stays NaN."""
        if self.floor is None:
            return bounded(values)
        x = np.asarray(values, dtype=np.float64)
        below = np.clip(x, -LARGEST, self.floor)
        return np.asarray(np.log(np.maximum(x, self.floor)) - np.log1p((self.floor - below) / self.floor))

    def of(self, value: Value) -> Value:
        """`apply` as a program has it."""
        if self.floor is None:
            return value.bounded()
        below = value.clip(-LARGEST, self.floor)
        return value.at_least(self.floor).log() - ((self.floor - below) / self.floor).log1p()

    def invert(self, values: npt.ArrayLike) -> Floats:
        """Take numbers off the scale."""
        y = np.asarray(values, dtype=np.float64)
        if self.floor is None:
            return y
        base = np.log(self.floor)
        with np.errstate(over="ignore"):
            below = self.floor * (1.0 - np.expm1(np.minimum(base - np.minimum(y, base), _LARGEST_LOG)))
        # What rounding has left of a zero.
        below = np.where(np.abs(below) < _LEAST_SHARE * self.floor, 0.0, below)
        return np.asarray(np.where(y >= base, np.exp(np.clip(y, base, _LARGEST_LOG)), below))

    @property
    def is_log(self) -> bool:
        """True for a log scale."""
        return self.floor is not None


def apply_scales(scales: Sequence[Scale], values: Floats) -> Floats:
    """Bring columns, shape (n, columns), each onto its scale."""
    log = np.array([scale.is_log for scale in scales], dtype=bool)
    if not log.any():
        return bounded(values)
    out = np.empty(values.shape)
    out[:, ~log] = bounded(values[:, ~log])
    floors = np.array([[scale.floor for scale in scales if scale.floor is not None]])
    x = values[:, log]
    below = np.clip(x, -LARGEST, floors)
    out[:, log] = np.log(np.maximum(x, floors)) - np.log1p((floors - below) / floors)
    return out


def is_flag(values: Floats) -> bool:
    """Whether numbers are two at most: they are levels, and lie no distance apart."""
    given = values[~np.isnan(values)]
    return not given.size or bool(((given == given.min()) | (given == given.max())).all())


def choose_scale(values: Floats) -> Scale:
    """Pick the log scale for numbers that are not negative, lean to the right, and lean less as logarithms.

    Or that are not negative and so large or small that float32 cannot tell them apart.
    """
    x = values[~np.isnan(values)]
    x = x[:: max(1, len(x) // _SAMPLE)]
    positive = x[x > 0]
    if len(positive) < max(3, 0.3 * len(x)) or (x < 0).mean() > 0.001:
        return Scale()
    lowest, low, middle, high = quantiles(positive, [0.01, 0.05, 0.5, 0.95])
    if np.log(high) <= np.log(low):
        return Scale()
    floor = max(float(lowest) / 10.0, _SMALLEST_FLOOR)
    if high > _LARGEST_FEATURE or high < 1.0 / _LARGEST_FEATURE:
        return Scale(floor)
    lean = (high + low - 2 * middle) / (high - low)
    log_lean = (np.log(high) + np.log(low) - 2 * np.log(middle)) / (np.log(high) - np.log(low))
    if lean > 0.25 and abs(log_lean) < lean and high > 3 * middle:
        return Scale(floor)
    return Scale()


class NumericValues(NumericGroup):
    """Each column on its own scale, float32; missing stays NaN."""

    plain: ClassVar[bool] = True

    def fit(self, X: Any, y: object = None) -> NumericValues:
        """Choose a scale for each column."""
        table = self._seen(X)
        self.scales_ = [choose_scale(table.numbers(name)) for name in table]
        self.medians_ = np.array([_median(table.numbers(name)) for name in table])
        return self

    def fit_transform(self, X: Any, y: object = None, **params: Any) -> npt.NDArray[np.float32]:
        """Fit, and give the training rows' columns on their scales, one by one: many rows take much memory."""
        table = as_table(X)
        self.fit(table)
        found = (scale.apply(table.numbers(name)) for name, scale in zip(table, self.scales_, strict=True))
        limited = [np.clip(scaled, -_LARGEST_FEATURE, _LARGEST_FEATURE).astype(np.float32) for scaled in found]
        return side_by_side(limited, len(table))

    def features_of(self, X: Table) -> npt.NDArray[np.float32]:
        """The columns on their scales, shape (n, columns)."""
        scaled = apply_scales(self.scales_, X.matrix(X.columns))
        # What float32 holds, also after what scalers do to it.
        return np.clip(scaled, -_LARGEST_FEATURE, _LARGEST_FEATURE).astype(np.float32)

    def emit(self, program: Program, columns: Sequence[str]) -> list[Value]:
        """`FeatureGroup.emit`."""
        scaled = [scale.of(program.number(name)) for scale, name in zip(self.scales_, columns, strict=True)]
        return [value.clip(-_LARGEST_FEATURE, _LARGEST_FEATURE) for value in scaled]

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """Return the columns' own names."""
        return np.asarray(self.feature_names_in_, dtype=object)

    def logarithmic_features(self) -> npt.NDArray[np.bool_]:
        """`FeatureGroup.logarithmic_features`: of those on a log scale."""
        return np.array([scale.is_log for scale in self.scales_], dtype=bool)

    def in_units(self, X: Any) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Return the values, and what is usual (the median), in the columns' own units; both (n, columns)."""
        table = as_table(X)
        values = table.matrix(table.columns)
        return values, np.broadcast_to(self.medians_, values.shape)

    def ranges_in_units(self, X: Any, bounds: Floats) -> Floats:
        """Turn `bounds` of the features, shape (2, columns), into the columns' own units, shape (2, n, columns)."""
        ends = [scale.invert(bounds[:, i]) for i, scale in enumerate(self.scales_)]
        return np.broadcast_to(np.stack(ends, axis=1)[:, None], (2, len(X), len(ends)))


class Durations(NumericValues):
    """Days between two dates, as `NumericValues`."""

    of_dates: ClassVar[bool] = True


class Ratios(NumericValues):
    """One amount for each unit of another, as `NumericValues`; evidence of quotients is that of `Contexts`."""

    weighed: ClassVar[bool] = False


def _median(values: Floats) -> float:
    # Two in the middle are added up.
    present = np.clip(values[~np.isnan(values)], -_LARGEST_HALF, _LARGEST_HALF)
    return median(present) if present.size else float("nan")
