"""`BlendedIsolationForest`: the recipe that finds more, without labels and without tuning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from numbers import Integral, Real
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray
from sklearn.utils._param_validation import Interval, StrOptions

from mlx_iforest.backends import BACKENDS, Backend
from mlx_iforest.base import BaseIsolationForest, Matrix
from mlx_iforest.compress.pruning import Part, ScoreParts
from mlx_iforest.forest import LEAF_VALUES, Forest
from mlx_iforest.growth import GrowthPlan
from mlx_iforest.scoring import (
    ALERT_DEVIATIONS,
    Spread,
    blend_score,
    density_slope,
    soft_minimum,
    soft_minimum_and_slopes,
)

__all__ = ["MEMBERS", "BlendedIsolationForest", "Member"]


@dataclass(frozen=True)
class Member:
    """Some of the trees, grown in one way, and what their leaves count for.

    Parameters
    ----------
    trees : int
        Share of the trees, out of the sum over all members.
    max_samples : int
        Rows of each tree, or all rows where there are fewer.
    depth, density : float
        Weight, among all views, of the path length and of the logarithm of the density.
    tame : bool
        Grow on asinh of the standardised columns: far values no longer stretch the range that thresholds are drawn
        from, so that the bulk of the rows is divided as well.
    tails : bool
        Draw features by the square root of their kurtosis: those with far values more often.
    """

    trees: int
    max_samples: int
    depth: float = 0.0
    density: float = 0.0
    tame: bool = False
    tails: bool = False

    @property
    def views(self) -> dict[str, float]:
        """The leaf values that count, and their weights."""
        told = {"path_length": self.depth, "log_density": self.density}
        return {name: weight for name, weight in told.items() if weight}


MEMBERS = (
    Member(trees=2, max_samples=256, depth=0.5, density=0.5, tame=True),
    Member(trees=1, max_samples=64, density=0.5),
    Member(trees=1, max_samples=512, depth=0.5, density=0.5),
    Member(trees=2, max_samples=256, depth=1.0, tails=True),
)
"""How the forest is put together (docs/performance.md tells what was tried)."""

TAMING = 4.0
"""Factor on standard deviations before asinh: beyond a quarter of one, ranges grow like logarithms."""

Self = TypeVar("Self", bound="BlendedIsolationForest")

LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Columns:
    """Mean, standard deviation and kurtosis of each column, of the values present."""

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    kurtosis: NDArray[np.float64]

    @classmethod
    def of(cls, X: NDArray[np.float32]) -> Columns:
        present = np.maximum((~np.isnan(X)).sum(axis=0), 1)
        wide = X.astype(np.float64)
        mean = np.nansum(wide, axis=0) / present
        centred = wide - mean
        deviation = np.sqrt(np.nansum(centred**2, axis=0) / present)
        # A constant column has no spread to divide by, and never splits.
        deviation = np.where(deviation > 0, deviation, 1.0)
        kurtosis = np.nansum((centred / deviation) ** 4, axis=0) / present
        return cls(mean, deviation, np.maximum(kurtosis, 1.0))

    def tame(self, X: NDArray[np.float32]) -> NDArray[np.float32]:
        """Every column through asinh; increasing, so that trees can ask of the column what they learned of this."""
        return np.arcsinh(TAMING * ((X - self.mean) / self.deviation)).astype(np.float32)

    def untame(self, forest: Forest) -> Forest:
        """The forest grown on tamed columns as one of the columns themselves."""
        is_split = forest.feature >= 0
        mean, deviation = self.mean[forest.feature], self.deviation[forest.feature]
        threshold = mean + deviation * np.sinh(forest.threshold.astype(np.float64)) / TAMING
        threshold = np.where(is_split, np.clip(threshold, -LARGEST, LARGEST), 0)
        arrays = {**forest.arrays(), "threshold": threshold.astype(np.float32)}
        return Forest(forest.n_features, **arrays)

    def tail_weights(self) -> NDArray[np.int64]:
        """Weights that add up to about 2**30."""
        weights = np.sqrt(self.kurtosis)
        return np.maximum(np.rint(weights / weights.sum() * 2**30), 1).astype(np.int64)


def member_trees(n_trees: int) -> list[tuple[int, int]]:
    """First tree, and the one after the last, of each member of a forest of `n_trees`."""
    shares = np.cumsum([0] + [member.trees for member in MEMBERS])
    bounds = np.rint(shares / shares[-1] * n_trees).astype(int)
    return list(zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True))


class BlendedIsolationForest(BaseIsolationForest):
    """An isolation forest of differently grown trees whose leaves are judged by depth and by density.

    The path length of the classic forest finds what lies far out. Density finds what lies alone between clusters;
    trees on few rows see the shape of the whole, trees on many rows the local one; asinh keeps a few far values from
    wasting the splits; and features with heavy tails deserve more of them. Each of these views is standardised on the
    training rows by median and quartiles, and their soft minimum makes the score: a row is about as abnormal as the
    view says that finds it most abnormal. All splits are on single features, so that scores can be explained
    exactly.

    Parameters
    ----------
    n_estimators : int, default=200
        Number of trees of all kinds together.
    contamination : 'auto' or float in (0, 0.5], default='auto'
        Share of anomalies in the training data; sets `offset_`. 'auto' is -0.5, three robust standard deviations
        below the training rows' median.
    n_jobs, random_state, verbose, backend, batch_size
        As in `MLXIsolationForest`.

    Attributes
    ----------
    forest_, offset_, quantized_bits_, backend_, performance_, n_features_in_, feature_names_in_
        As in `MLXIsolationForest`.
    max_samples_ : int
        Rows of the largest trees.

    References
    ----------
    .. [1] Liu, Ting and Zhou. Isolation Forest. ICDM 2008.
    .. [2] Cortes. Isolation forests: looking beyond tree depth. arXiv:2111.11639, 2021. (Density at the leaves.)

    Examples
    --------
    >>> from mlx_iforest import BlendedIsolationForest
    >>> X = [[-1.1], [0.3], [0.5], [0.2], [-0.4], [0.9], [100]]
    >>> BlendedIsolationForest(random_state=0).fit(X).predict([[0.1], [90]])
    array([ 1, -1])
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_estimators": [Interval(Integral, 1, None, closed="left")],
        "contamination": [StrOptions({"auto"}), Interval(Real, 0, 0.5, closed="right")],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
        "backend": [StrOptions({"auto", *BACKENDS})],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
    }

    _derived = ("_views",)
    _member_trees: list[tuple[int, int]]
    _views: list[_Views]
    _spreads: list[list[Spread]]

    def __init__(
        self,
        n_estimators: int = 200,
        *,
        contamination: str | float = "auto",
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
        backend: str = "auto",
        batch_size: str | int = "auto",
    ) -> None:
        self.n_estimators = n_estimators
        self.contamination = contamination
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose
        self.backend = backend
        self.batch_size = batch_size

    def _grow(self, X: Matrix, sample_weight: NDArray[np.float64] | None) -> None:
        n_samples, n_features = X.shape
        drawable = n_samples if sample_weight is None else int(np.count_nonzero(sample_weight))
        columns = Columns.of(self._spread_rows(X))
        self._draw_seed()
        self._member_trees = member_trees(self.n_estimators)
        forests = []
        for member, (first, stop) in zip(MEMBERS, self._member_trees, strict=True):
            if first == stop:
                continue
            plan = GrowthPlan(
                seed=self._seed,
                first_tree=first,
                n_trees=stop - first,
                n_samples=n_samples,
                n_features=n_features,
                subsample_size=min(member.max_samples, drawable),
                features_per_tree=n_features,
                weights=columns.tail_weights() if member.tails else None,
            )
            if member.tame:
                forests.append(columns.untame(self._grow_plan(X, plan, sample_weight, columns.tame)))
            else:
                forests.append(self._grow_plan(X, plan, sample_weight))
        self.forest_ = Forest.concatenate(forests)
        self.max_samples_ = min(max(member.max_samples for member in MEMBERS), drawable)

    def _learn_scores(self, X: Matrix) -> None:
        rows = self._spread_rows(X)
        means = [self._leaf_means(views.trees, views.values, rows) for views in self._make_views()]
        self._spreads = [[Spread.of(column) for column in table.T] for table in means]
        self._value_leaves()

    def _value_leaves(self) -> None:
        self._views = self._make_views()
        for views, spreads in zip(self._views, self._spreads, strict=True):
            views.spreads = spreads

    @property
    def _fitted_scoring(self) -> str:
        return "blend"

    def _used_values(self) -> set[str]:
        return set(LEAF_VALUES)

    def _score_parts(self) -> ScoreParts:
        names = [name for name in LEAF_VALUES if name in self.forest_.arrays()]
        bounds = [(first, stop) for first, stop in self._member_trees if first < stop]
        parts = [
            Part.of(*trees, names, [[column] for column in zip(views.names, views.spreads, strict=True)])
            for trees, views in zip(bounds, self._views, strict=True)
        ]
        weights = np.concatenate([views.weights for views in self._views])
        combine = partial(soft_minimum, weights=weights)

        def gradient(columns: NDArray[np.float64]) -> NDArray[np.float64]:
            normality, slopes = soft_minimum_and_slopes(columns, weights)
            return density_slope(normality + ALERT_DEVIATIONS)[:, None] * slopes

        return ScoreParts(parts, combine, blend_score, -ALERT_DEVIATIONS, gradient)

    def _with_parts(self: Self, parts: Sequence[Forest]) -> Self:
        # Members are those parts that had trees before.
        sizes = iter([part.n_trees for part in parts])
        stops = np.cumsum([next(sizes) if first < stop else 0 for first, stop in self._member_trees]).tolist()
        bounds = list(zip([0, *stops[:-1]], stops, strict=True))
        return self._with_forest(Forest.concatenate(parts), _member_trees=bounds, pruned_=True)

    def _make_views(self) -> list[_Views]:
        members = zip(MEMBERS, self._member_trees, strict=True)
        return [_Views.of(member, self.forest_.trees(*trees)) for member, trees in members if trees[0] < trees[1]]

    def _score(self, X: Matrix, backend: Backend) -> NDArray[np.float64]:
        weights = np.concatenate([views.weights for views in self._views])
        # View by view, as the soft minimum reads them.
        normality = np.empty((len(weights), len(X)))
        rows = iter(normality)
        for views in self._views:
            means = self._leaf_means(views.trees, views.values, X, backend)
            for spread, column in zip(views.spreads, means.T, strict=True):
                next(rows)[:] = spread.standardise(column)
        return blend_score(soft_minimum(normality.T, weights))


@dataclass
class _Views:
    """What one member's trees tell of a row: one or two values of its leaf, standardised on the training rows."""

    trees: Forest
    names: list[str]
    values: NDArray[np.float32]
    weights: NDArray[np.float64]
    spreads: list[Spread] = field(default_factory=list)

    @classmethod
    def of(cls, member: Member, trees: Forest) -> _Views:
        arrays = trees.arrays()
        values = np.stack([arrays[name] for name in member.views], axis=1)
        return cls(trees, list(member.views), values, np.array(list(member.views.values())))
