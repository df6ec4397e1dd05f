"""How far a number lies from what the rest of its record leads one to expect."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from anomaly_detection.group_deviation import robust_spread
from anomaly_detection.levels import Levels
from anomaly_detection.numeric_values import Scale, choose_scale
from anomaly_detection.rarity import determined

__all__ = ["Expectation"]

Floats = npt.NDArray[np.float64]
_SAMPLE = 10_000
_ROUNDS = 4
_LEAST_ROWS = 100
_FARTHEST = 1e6  # spreads from the centre that foretell anything more
_FARTHEST_JUDGED = 1e30


@dataclass
class _Target:
    column: str
    weights: Floats
    spread: float
    group_by: tuple[str, ...]


class Expectation(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Residual of each number after what all other columns foretell, as ``asinh(z)``; 0 is as expected.

    One robust ridge regression a number, additive in the other numbers (lopsided ones as logarithms) and in the
    categories: freight by weight, distance, mode and lane at once, where a group of two columns sees but two of them.
    Residuals beyond two spreads are cut while fitting (Huber), so that anomalies do not set the expectation. A number
    of which the others explain less than `min_explained` gives no feature.

    Parameters
    ----------
    numbers, categories : sequence of str
    bound : sequence of tuple of str
        Columns that are bound by an exact rule, such as a total and its factors; none of them foretells another.
    min_explained : float, default 0.3
        Least share of the robust spread's square explained, 0 to 1.
    strength : float, default 3.0
        Rows that each coefficient is lent towards 0.
    """

    def __init__(
        self,
        numbers: Sequence[str] = (),
        categories: Sequence[str] = (),
        bound: Sequence[tuple[str, ...]] = (),
        min_explained: float = 0.3,
        strength: float = 3.0,
    ) -> None:
        self.numbers = numbers
        self.categories = categories
        self.bound = bound
        self.min_explained = min_explained
        self.strength = strength

    def fit(self, X: pd.DataFrame, y: object = None) -> Expectation:
        """Learn the regressions."""
        self.feature_names_in_ = np.asarray(X.columns, dtype=object)
        self.n_features_in_ = X.shape[1]
        self.targets_: list[_Target] = []
        sample = X.iloc[:: -(-len(X) // _SAMPLE)]
        self.scales_: dict[str, Scale] = {}
        self.centres_: dict[str, tuple[float, float, float, float]] = {}
        for name in self.numbers:
            values = sample[name].to_numpy(dtype=np.float64)
            self.scales_[name] = choose_scale(values)
            scaled = self.scales_[name].apply(values)
            present = scaled[~np.isnan(scaled)]
            if present.size < _LEAST_ROWS or robust_spread(present) == 0.0:
                continue
            low, high = np.quantile(present, [0.001, 0.999])
            self.centres_[name] = (float(np.median(present)), robust_spread(present), float(low), float(high))
        found = {name: Levels(sample[name]) for name in self.categories}
        self.levels_ = {name: one for name, one in found.items() if 1 < len(one) <= len(sample) / 20}
        for name in determined(sample, self.levels_):
            del self.levels_[name]
        if len(sample) < _LEAST_ROWS:
            return self
        design, blocks = self._design(sample)
        gram = design.T @ design
        for name in self.centres_:
            target = self._fit_target(name, sample, design, gram, blocks)
            if target is not None:
                self.targets_.append(target)
        return self

    def _design(self, X: pd.DataFrame) -> tuple[Floats, dict[str, npt.NDArray[np.int64]]]:
        parts, blocks, width = [np.ones((len(X), 1))], {}, 1
        for name in self.centres_:
            parts.append(self._telling(X, name)[:, None])
            blocks[name] = np.array([width])
            width += 1
        for name, levels in self.levels_.items():
            codes = levels.codes(X[name])
            one_hot = np.zeros((len(X), len(levels)))
            known = np.flatnonzero(codes >= 0)
            one_hot[known, codes[known]] = 1.0
            parts.append(one_hot)
            blocks[name] = np.arange(width, width + len(levels))
            width += len(levels)
        return np.hstack(parts), blocks

    def _standard(self, X: pd.DataFrame, name: str) -> Floats:
        centre, spread, _, _ = self.centres_[name]
        standard = (self.scales_[name].apply(X[name].to_numpy(dtype=np.float64)) - centre) / spread
        return np.asarray(np.clip(standard, -_FARTHEST_JUDGED, _FARTHEST_JUDGED))

    def _telling(self, X: pd.DataFrame, name: str) -> Floats:
        """What a number says of others: not missing, and no farther out than nearly all are."""
        centre, spread, low, high = self.centres_[name]
        scaled = np.clip(self.scales_[name].apply(X[name].to_numpy(dtype=np.float64)), low, high)
        return np.asarray(np.clip(np.nan_to_num((scaled - centre) / spread), -_FARTHEST, _FARTHEST))

    def _fit_target(
        self, name: str, sample: pd.DataFrame, design: Floats, gram: Floats, blocks: dict[str, npt.NDArray[np.int64]]
    ) -> _Target | None:
        y = self._standard(sample, name)
        present = ~np.isnan(y)
        kin = {name, *(other for group in self.bound if name in group for other in group)}
        used = np.delete(np.arange(design.shape[1]), np.concatenate([blocks[one] for one in kin if one in blocks]))
        # Only the smaller part of the rows is copied out of the design.
        few = design[present if 2 * present.sum() < len(y) else ~present]
        part = few.T @ few
        own = (part if 2 * present.sum() < len(y) else gram - part)[np.ix_(used, used)]
        n = int(present.sum())
        penalty = np.full(len(used), self.strength)
        penalty[0] = 1e-6
        inverse = np.linalg.inv(own + np.diag(penalty))
        freedom = n - float(np.einsum("ij,ji->", inverse, own))
        if freedom < 0.5 * n:
            return None
        fitted = np.full(len(y), np.median(y[present]))
        full = np.zeros(design.shape[1])
        for _ in range(_ROUNDS):
            residual = y - fitted
            spread = max(robust_spread(residual[present]), 1e-6)
            goal = np.where(present, fitted + np.clip(residual, -2 * spread, 2 * spread), 0.0)
            full[used] = inverse @ (design.T @ goal)[used]
            fitted = design @ full
        spread = max(robust_spread((y - fitted)[present]) * np.sqrt(n / freedom), 0.02)
        if 1.0 - (spread / max(robust_spread(y[present]), 1e-6)) ** 2 < self.min_explained:
            return None
        power = {other: float((design[:, block] @ full[block]).std()) for other, block in blocks.items()}
        strongest = sorted(power, key=lambda other: -power[other])[:3]
        return _Target(name, full, spread, tuple(other for other in strongest if power[other] > 0.2))

    def transform(self, X: pd.DataFrame) -> npt.NDArray[np.float32]:
        """Give the residuals, shape (n, features); NaN where the number is missing."""
        check_is_fitted(self)
        out = np.empty((len(X), len(self.targets_)), dtype=np.float32)
        if not self.targets_:
            return out
        for start in range(0, len(X), _SAMPLE):
            some = X.iloc[start : start + _SAMPLE]
            expected = self._expected(some)
            for i, target in enumerate(self.targets_):
                away = self._standard(some, target.column) - expected[:, i]
                out[start : start + _SAMPLE, i] = np.arcsinh(away / target.spread)
        return out

    def _expected(self, X: pd.DataFrame) -> Floats:
        """Each row's sum by itself: a product of matrices may round otherwise where rows come in other numbers."""
        weights = np.column_stack([target.weights for target in self.targets_])
        expected = np.repeat(weights[:1], len(X), axis=0)
        place = 1
        for name in self.centres_:
            expected += self._telling(X, name)[:, None] * weights[place]
            place += 1
        for name, levels in self.levels_.items():
            # An unknown level is -1, the last row: it adds nothing.
            added = np.vstack([weights[place : place + len(levels)], np.zeros(len(self.targets_))])
            expected += added[levels.codes(X[name])]
            place += len(levels)
        return np.asarray(expected)

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """Return ``<number> as expected`` for each feature."""
        return np.asarray([f"{target.column} as expected" for target in self.targets_], dtype=object)

    @property
    def feature_columns_(self) -> list[tuple[str, ...]]:
        """The number that each feature judges."""
        return [(target.column,) for target in self.targets_]

    @property
    def feature_groups_(self) -> list[tuple[str, ...]]:
        """The columns that tell most about each number."""
        return [target.group_by for target in self.targets_]

    def in_units(self, X: pd.DataFrame) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Return the numbers and what was to be expected, in the numbers' own units; both (n, features)."""
        values = np.empty((len(X), len(self.targets_)))
        usual = np.empty_like(values)
        if self.targets_:
            expected = self._expected(X)
            for i, target in enumerate(self.targets_):
                centre, spread, low, high = self.centres_[target.column]
                values[:, i] = X[target.column].to_numpy(dtype=np.float64)
                # A line may foretell what no record ever had, such as a negative quantity.
                usual[:, i] = self.scales_[target.column].invert(np.clip(expected[:, i] * spread + centre, low, high))
        return values, usual

    def ranges_in_units(self, X: pd.DataFrame, bounds: Floats) -> Floats:
        """Turn `bounds` of the features, shape (2, features), into each row's own units, shape (2, n, features)."""
        ends = np.empty((2, len(X), len(self.targets_)))
        if self.targets_:
            expected = self._expected(X)
            for i, target in enumerate(self.targets_):
                centre, spread, low, high = self.centres_[target.column]
                standard = expected[:, i] + np.sinh(bounds[:, i, None]) * target.spread
                ends[..., i] = self.scales_[target.column].invert(np.clip(standard * spread + centre, low, high))
        return ends
