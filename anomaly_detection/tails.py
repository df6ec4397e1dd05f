"""How far out a row lies in its most unusual feature, and in all of them together."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import norm
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

__all__ = ["TailSummary"]

_LARGEST = 4
_LEVELS = (0.95, 0.99, 0.999)
_SAMPLE = 200_000
_LINEAR = np.float32(10.0)

Floats32 = npt.NDArray[np.float32]


class TailSummary(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """The largest surprises of a row and their mean, on one scale for all features.

    An isolation forest picks features uniformly, so one odd feature among many is seldom looked at; these few features
    carry it. The surprise of a value is its distance from the feature's median, measured on its own side by the 95 %
    quantile there as a normal one would be (by the 99 % or 99.9 % one where most values are equal), so that both a long
    tail and a lopsided feature are judged by what is usual for them. Missing values surprise nobody here.
    """

    def fit(self, X: Floats32, y: object = None) -> TailSummary:
        """Learn each feature's median and the width of either side."""
        self.n_features_in_ = X.shape[1]
        sample = X[:: -(-len(X) // _SAMPLE)]
        self.median_ = np.zeros(X.shape[1], dtype=np.float32)
        self.width_ = np.full((2, X.shape[1]), np.inf, dtype=np.float32)
        for i in range(X.shape[1]):
            values = np.sort(sample[~np.isnan(sample[:, i]), i]).astype(np.float64)
            if values.size < 5:
                continue
            quantiles = np.quantile(values, [0.5, *_LEVELS, *(1 - level for level in _LEVELS)])
            self.median_[i] = quantiles[0]
            extremes = (values[-1], values[0])
            for side, sign in ((0, 1.0), (1, -1.0)):
                gaps = sign * (np.append(quantiles[1 + 3 * side : 4 + 3 * side], extremes[side]) - quantiles[0])
                levels = norm.ppf([*_LEVELS, 1.0 - 0.5 / values.size])
                wide = np.flatnonzero(gaps > 1e-6 * (1.0 + abs(quantiles[0])))
                if wide.size:
                    self.width_[side, i] = gaps[wide[0]] / levels[wide[0]]
        return self

    def surprises(self, X: Floats32) -> Floats32:
        """Give each value's surprise in standard deviations, shape (n, features), at least 0."""
        check_is_fitted(self)
        away = X - self.median_
        z = np.where(away > 0, away / self.width_[0], -away / self.width_[1])
        return np.nan_to_num(z, nan=0.0, posinf=1e6).astype(np.float32)

    def transform(self, X: Floats32) -> Floats32:
        """Give the four largest surprises and the mean one, shape (n, 5).

        They grow as the surprise itself up to `_LINEAR` standard deviations, and as its logarithm beyond. A forest's
        thresholds are uniform in a feature's range: logarithms throughout would spend most of them among usual rows,
        and would set the least surprising rows apart as far as the most.
        """
        z = self.surprises(X)
        largest = min(_LARGEST, z.shape[1])
        out = np.zeros((len(z), _LARGEST + 1), dtype=np.float32)
        out[:, :largest] = np.sort(np.partition(z, z.shape[1] - largest, axis=1)[:, -largest:], axis=1)[:, ::-1]
        out[:, _LARGEST] = np.minimum(z, 10.0).mean(axis=1)
        return np.where(out > _LINEAR, _LINEAR * (1.0 + np.log(np.maximum(out, _LINEAR) / _LINEAR)), out)

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """Return the names."""
        return np.asarray([*(f"surprise {i + 1}" for i in range(_LARGEST)), "mean surprise"], dtype=object)
