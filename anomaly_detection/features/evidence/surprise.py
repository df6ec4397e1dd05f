"""Standardised deviations: how far out a row lies in its most unusual feature, and in all of them together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from anomaly_detection.data.columns.levels import Kept
from anomaly_detection.features.compiled.choice import by_compiled_code
from anomaly_detection.features.fitted import require_fitted
from anomaly_detection.features.group import FeatureGroup
from anomaly_detection.features.numbers.quantiles import Places, columns_in_order
from anomaly_detection.progress import steps

__all__ = ["DeviationSummary"]

_LARGEST = 4
_LEVEL = 0.95
_SAMPLE = 200_000
_SORTED = 10_000
_LINEAR = np.float32(10.0)

Floats32 = npt.NDArray[np.float32]


def _normal(share: Any) -> Any:
    """What a share of normal values lies below: SciPy's `ndtri`, which scoring does without."""
    from scipy.special import ndtri

    return ndtri(share)


def _width(outwards: Floats32, middle: float, least: float) -> tuple[float, bool]:
    """One standard deviation on the side to which values in order go, and whether fewer than 5 % of them are there."""
    n = outwards.size
    # What lies on the other side of the middle comes before.
    away = np.abs(outwards[n // 2 :].astype(np.float64) - middle)
    beyond = away[int(away.searchsorted(least, side="right")) :]
    if not beyond.size:
        return np.inf, True
    share = beyond.size / n
    if share > 1.0 - _LEVEL:
        places = Places(n, [_LEVEL])
        between = float(places.between(away[places.low - n // 2], away[places.high - n // 2])[0])
        return between / float(_normal(_LEVEL)), False
    return float(Places(beyond.size, [0.25]).of(beyond)[0]) / float(_normal(1.0 - share)), True


class DeviationSummary(FeatureGroup):
    """The largest deviations of a row and their mean, on one scale for all features.

    An isolation forest picks features uniformly, so one odd feature among many is seldom looked at; these few features
    carry it. The deviation of a value is its distance from the feature's median, measured on its own side by the 95 %
    quantile there as a normal one would be, so that both a long tail and a lopsided feature are judged by what is usual
    for them. Where fewer than 5 % of the values differ from the median, as in a rule that is seldom broken, the smaller
    differences are taken to deviate as far as they are rare. Missing values do not deviate here. The features
    are called surprises, as model files and reports name them.

    Parameters
    ----------
    least, most : sequence of float, optional
        One a feature: so much of it is at least one standard deviation; at most, where hardly any training value
        differs from the median (infinite, as if not given, where such a feature tells nothing).
    """

    def __init__(self, least: Sequence[float] | None = None, most: Sequence[float] | None = None) -> None:
        self.least = least
        self.most = most

    def fit(self, X: Floats32, y: object = None) -> DeviationSummary:
        """Learn each feature's median and the width of either side."""
        Kept.forget(self)
        self.n_features_in_ = X.shape[1]
        sample = self.sample(X)
        self.median_ = np.zeros(X.shape[1], dtype=np.float32)
        self.width_ = np.full((2, X.shape[1]), np.inf, dtype=np.float32)
        self.bounds_ = np.full((2, X.shape[1]), np.nan, dtype=np.float32)
        every = steps(range(X.shape[1]), "learning what is usual")
        for i, values in zip(every, columns_in_order(sample), strict=True):
            least = 0.0 if self.least is None else self.least[i]
            most = np.inf if self.most is None else self.most[i]
            if values.size < 5:
                continue
            middle = float(Places(values.size, [0.5]).of(values)[0])
            self.median_[i] = middle
            self.bounds_[:, i] = Places(values.size, [1.0 - _LEVEL, _LEVEL]).of(values)
            for side, outwards in enumerate((values, values[::-1])):
                width, seldom = _width(outwards, middle, 1e-6 * (1.0 + abs(middle)))
                self.width_[side, i] = min(width, most) if seldom else max(width, least)
        some = sample[:: -(-len(sample) // _SORTED)]
        self.profile_ = np.median(np.sort(self.deviations(some), axis=1), axis=0)[::-1].copy()
        return self

    @staticmethod
    def sample(X: Floats32) -> Floats32:
        """The rows that `fit` looks at: up to 200,000, evenly spread."""
        return X[:: -(-len(X) // _SAMPLE)]

    def bounds(self) -> Floats32:
        """Between what the middle 90 % of each feature's training values lie, shape (2, features); NaN if unknown."""
        require_fitted(self)
        if hasattr(self, "bounds_"):
            return self.bounds_
        # Learned before ranges were kept: the widths are of the same quantiles, but where values seldom differ.
        away = _normal(_LEVEL) * self.width_
        away[~np.isfinite(away)] = np.nan
        return np.stack([self.median_ - away[1], self.median_ + away[0]]).astype(np.float32)

    def profile(self) -> Floats32:
        """How far a usual record deviates: its largest deviation, the second, and so on, shape (features,)."""
        require_fitted(self)
        if hasattr(self, "profile_"):
            return self.profile_
        # Learned before profiles were kept: that of as many independent normal features.
        count = len(self.median_)
        made: Floats32 = _normal(1.0 - (np.arange(count) + 0.5) / (2.0 * count)).astype(np.float32)
        return made

    def deviations(self, X: Floats32) -> Floats32:
        """Give how far each value deviates in standard deviations, shape (n, features), at least 0."""
        if not hasattr(self, "width_"):
            require_fitted(self)
        if by_compiled_code(len(X)):
            if X.shape[1] != len(self.median_):
                raise ValueError(f"there are {X.shape[1]} features of {len(self.median_)}")
            return self._deviations_of(np.ascontiguousarray(X), np.arange(X.shape[1]))
        away = X - self.median_
        z = np.where(away > 0, away / self.width_[0], -away / self.width_[1])
        return np.where(np.isnan(z), 0.0, np.where(z == np.inf, 1e6, z)).astype(np.float32)

    def _deviations_of(self, X: Floats32, features: npt.NDArray[np.int64]) -> Floats32:
        """`deviations` of some of the features of X, by compiled code."""
        from anomaly_detection.features.compiled.kernels import deviations

        median, width = _widths(self)
        if len(features) != len(median):
            raise ValueError(f"there are {len(features)} features of {len(median)}")
        found = np.empty((len(X), len(features)), dtype=np.float32)
        deviations(X, features, median, width, found)
        return found

    def append(self, out: Floats32, features: npt.NDArray[np.int64], first: int) -> None:
        """Write the summary of some features of `out` into its columns from the `first` on, by compiled code."""
        from anomaly_detection.features.compiled.kernels import largest

        z = self._deviations_of(out, features)
        count = min(_LARGEST, z.shape[1])
        summary = out[:, first : first + _LARGEST + 1]
        summary[:, count:] = 0.0
        largest(z, out, first, count)
        np.minimum(z, np.float32(10.0), out=z)
        summary[:, _LARGEST] = z.mean(axis=1, dtype=np.float64)
        if summary.max(initial=0.0) > _LINEAR:
            summary[:] = _beyond_linear(summary)

    def transform(self, X: Floats32) -> Floats32:
        """Give the four largest deviations and the mean one, shape (n, 5).

        They grow as the deviation itself up to `_LINEAR` standard deviations, and as its logarithm beyond. A forest's
        thresholds are uniform in a feature's range: logarithms throughout would spend most of them among usual rows,
        and would set the rows that deviate least apart as far as those that deviate most.
        """
        return self.summary(self.deviations(X))

    def summary(self, z: Floats32) -> Floats32:
        """`transform` of rows whose deviations, shape (n, features), are known."""
        largest = min(_LARGEST, z.shape[1])
        out = np.zeros((len(z), _LARGEST + 1), dtype=np.float32)
        out[:, :largest] = _largest(z, largest)
        out[:, _LARGEST] = np.minimum(z, 10.0).mean(axis=1, dtype=np.float64)
        return _beyond_linear(out)

    def write_coalitions(
        self,
        needed: npt.NDArray[np.uint8],
        weighed: tuple[Floats32, Any, Any, float, float],
        features: npt.NDArray[np.int64],
        surprises: Floats32,
        expected: Floats32,
        out: Floats32,
    ) -> None:
        """Write the `summary` and the evidence of coalitions into `out`, by compiled code.

        As `RowSummaries.of_coalitions` has it; `weighed` is what `Evidence.as_weighed` gives.
        """
        from anomaly_detection.features.compiled.coalitions import summaries

        if not len(self.median_) == len(features) == surprises.shape[1] == expected.shape[1]:
            raise ValueError(f"there are {surprises.shape[1]} features of {len(self.median_)}")
        count = min(_LARGEST, len(features))
        summaries(needed, *weighed, features, surprises, expected, count, 10.0, out)
        out[..., :-1] = _beyond_linear(out[..., :-1])

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """Return the names."""
        return np.asarray([*(f"surprise {i + 1}" for i in range(_LARGEST)), "mean surprise"], dtype=object)


def _of_sides(summary: DeviationSummary) -> tuple[Floats32, Floats32]:
    """Median and width as compiled code takes them."""
    median, width = (np.array(one, dtype=np.float32, order="C") for one in (summary.median_, summary.width_))
    if width.shape != (2, len(median)):
        raise ValueError(f"there are {width.shape} widths of {len(median)} features")
    return median, width


_widths: Kept[DeviationSummary, tuple[Floats32, Floats32]] = Kept(_of_sides)


def _beyond_linear(summary: Floats32) -> Floats32:
    """What is beyond `_LINEAR` as its logarithm."""
    logarithms = _LINEAR * (1.0 + np.log(np.maximum(summary, _LINEAR) / _LINEAR))
    return np.where(summary > _LINEAR, logarithms, summary)


def _largest(z: Floats32, count: int) -> Floats32:
    """The largest values of each row, descending."""
    if by_compiled_code(0):
        from anomaly_detection.features.compiled.kernels import largest

        found = np.empty((len(z), count), dtype=np.float32)
        largest(np.ascontiguousarray(z), found, 0, count)
        return found
    return np.sort(np.partition(z, z.shape[1] - count, axis=1)[:, -count:], axis=1)[:, ::-1]
