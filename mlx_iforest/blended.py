"""`BlendedIsolationForest`: the recipe that finds more, without labels and without tuning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.utils._param_validation import Interval, StrOptions

from mlx_iforest.backends import BACKENDS
from mlx_iforest.backends.crossover import Work
from mlx_iforest.base import BaseIsolationForest, Matrix
from mlx_iforest.batches import batches
from mlx_iforest.forest import Forest
from mlx_iforest.growth import GrowthPlan
from mlx_iforest.model import ScoredForest
from mlx_iforest.score_function import BLEND, Part, ScoreFunction, View
from mlx_iforest.scoring import Spread

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
    asinh : bool
        Grow on asinh of the standardised columns: far values no longer stretch the range that thresholds are drawn
        from, so that the bulk of the rows is divided as well.
    tails : bool
        Draw features by the square root of their kurtosis: those with far values more often.
    """

    trees: int
    max_samples: int
    depth: float = 0.0
    density: float = 0.0
    asinh: bool = False
    tails: bool = False

    @property
    def views(self) -> dict[str, float]:
        """The leaf values that count, and their weights."""
        told = {"path_length": self.depth, "log_density": self.density}
        return {name: weight for name, weight in told.items() if weight}


MEMBERS = (
    Member(trees=2, max_samples=256, depth=0.5, density=0.5, asinh=True),
    Member(trees=1, max_samples=64, density=0.5),
    Member(trees=1, max_samples=512, depth=0.5, density=0.5),
    Member(trees=2, max_samples=256, depth=1.0, tails=True),
)
"""How the forest is put together (docs/performance.md tells what was tried)."""

TAMING = 4.0
"""Factor on standard deviations before asinh: beyond a quarter of one, ranges grow like logarithms."""

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

    def to_asinh(self, X: NDArray[np.float32]) -> NDArray[np.float32]:
        """Every column through asinh; increasing, so that trees can ask of the column what they learned of this."""
        return np.arcsinh(TAMING * ((X - self.mean) / self.deviation)).astype(np.float32)

    def from_asinh(self, forest: Forest) -> Forest:
        """The forest grown on columns on an asinh scale as one of the columns themselves."""
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

    _member_trees: list[tuple[int, int]]
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
            if member.asinh:
                forests.append(columns.from_asinh(self._grow_plan(X, plan, sample_weight, columns.to_asinh)))
            else:
                forests.append(self._grow_plan(X, plan, sample_weight))
        self.forest_ = Forest.concatenate(forests)
        self.max_samples_ = min(max(member.max_samples for member in MEMBERS), drawable)

    def _learn_scores(self, X: Matrix) -> None:
        rows, resources = self._spread_rows(X), self._resources()
        plain = ScoredForest(self.forest_, self._function([[None] * len(views) for views in self._grown_views()]))
        backend, _ = resources.backend_for(lambda: Work.scoring(self.forest_, len(rows)), 1)
        columns = np.concatenate([plain.columns(rows[some], backend) for some in batches(rows)])
        spreads = iter([Spread.of(column) for column in columns.T])
        self._spreads = [[next(spreads) for _ in part.views] for part in plain.function.parts]
        self._scored = plain.standardised(self._score_function())

    def _score_function(self) -> ScoreFunction:
        return self._function(self._spreads)

    def _function(self, spreads: Sequence[Sequence[Spread | None]]) -> ScoreFunction:
        """The score function by spreads of each part's views."""
        parts = []
        bounds = [(first, stop) for first, stop in self._member_trees if first < stop]
        for (first, stop), views, of_part in zip(bounds, self._grown_views(), spreads, strict=True):
            terms = zip(views.items(), of_part, strict=True)
            parts.append(Part(first, stop, tuple(View(((name, spread),), weight) for (name, weight), spread in terms)))
        return ScoreFunction(tuple(parts), BLEND)

    def _grown_views(self) -> list[dict[str, float]]:
        """Those of each member that has trees."""
        members = zip(MEMBERS, self._member_trees, strict=True)
        return [member.views for member, (first, stop) in members if first < stop]

    def _take_parts(self, function: ScoreFunction) -> None:
        # Members are those parts that had trees before.
        sizes = iter([part.stop - part.first for part in function.parts])
        stops = np.cumsum([next(sizes) if first < stop else 0 for first, stop in self._member_trees]).tolist()
        self._member_trees = list(zip([0, *stops[:-1]], stops, strict=True))
