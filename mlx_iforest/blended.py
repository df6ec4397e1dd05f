"""`BlendedIsolationForest`: the recipe that finds more, without labels and without tuning."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.utils._param_validation import Interval, StrOptions

from mlx_iforest.backends import BACKENDS
from mlx_iforest.backends.crossover import Work
from mlx_iforest.base import BaseIsolationForest, Grown, Matrix, grow_trees
from mlx_iforest.batches import as_float32, batches
from mlx_iforest.forest import Forest
from mlx_iforest.growth import GrowthPlan
from mlx_iforest.members import MEMBERS, blended_score, member_trees
from mlx_iforest.model import ScoredForest
from mlx_iforest.randomness import draw_seed
from mlx_iforest.resources import Resources
from mlx_iforest.scoring import Spread

__all__ = ["BlendedIsolationForest"]


TAMING = 4.0
"""Factor on standard deviations before asinh: beyond a quarter of one, ranges grow like logarithms."""

LARGEST = float(np.finfo(np.float32).max)

SPREAD_ROWS = 10_000
"""Training rows, evenly spaced, that tell the spread of columns and of views."""


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
    forest_, offset_, quantized_bits_, pruned_, pruning_, backend_, performance_, n_features_in_, feature_names_in_
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

    def _grow(self, X: Matrix, sample_weight: NDArray[np.float64] | None, resources: Resources) -> Grown:
        n_samples, n_features = X.shape
        drawable = n_samples if sample_weight is None else int(np.count_nonzero(sample_weight))
        columns = Columns.of(spread_rows(X))
        seed = draw_seed(self.random_state)
        forests, grown_by = [], None
        for member, (first, stop) in zip(MEMBERS, member_trees(self.n_estimators), strict=True):
            if first == stop:
                continue
            plan = GrowthPlan(
                seed=seed,
                first_tree=first,
                n_trees=stop - first,
                n_samples=n_samples,
                n_features=n_features,
                subsample_size=min(member.max_samples, drawable),
                features_per_tree=n_features,
                weights=columns.tail_weights() if member.tails else None,
            )
            transform = columns.to_asinh if member.asinh else None
            forest, grown_by = grow_trees(X, plan, resources, sample_weight, transform)
            forests.append(columns.from_asinh(forest) if member.asinh else forest)
        largest = min(max(member.max_samples for member in MEMBERS), drawable)
        return Grown(Forest.concatenate(forests), largest, seed, grown_by)

    def _value(self, grown: Grown, X: Matrix, resources: Resources) -> ScoredForest:
        bounds, rows = member_trees(self.n_estimators), spread_rows(X)
        plain = ScoredForest(grown.forest, blended_score(bounds))
        backend, _ = resources.backend_for(lambda: Work.scoring(grown.forest, len(rows)), 1)
        columns = np.concatenate([plain.columns(rows[some], backend) for some in batches(rows)])
        spreads = iter([Spread.of(column) for column in columns.T])
        return plain.standardised(
            blended_score(bounds, [[next(spreads) for _ in part.views] for part in plain.function.parts])
        )


def spread_rows(X: Matrix) -> NDArray[np.float32]:
    """At most `SPREAD_ROWS` rows, evenly spaced."""
    return as_float32(X[:: -(-X.shape[0] // SPREAD_ROWS)])
