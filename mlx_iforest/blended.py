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
from mlx_iforest.members import RECIPES, blended_score, member_trees
from mlx_iforest.model import ScoredForest
from mlx_iforest.randomness import draw_seed
from mlx_iforest.resources import Resources
from mlx_iforest.scoring import Spread

__all__ = ["BlendedIsolationForest"]


TAMING = 4.0
"""Factor on standard deviations before asinh: beyond a quarter of one, ranges grow like logarithms."""

LARGEST = float(np.finfo(np.float32).max)

SPREAD_ROWS = 4096
"""Training rows, evenly spaced, that tell the spread of columns and of views, and that trimmed members draw from."""


@dataclass(frozen=True)
class Columns:
    """Mean and standard deviation of each column, of the values present."""

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]

    @classmethod
    def of(cls, X: NDArray[np.float32]) -> Columns:
        present = np.maximum((~np.isnan(X)).sum(axis=0), 1)
        wide = X.astype(np.float64)
        mean = np.nansum(wide, axis=0) / present
        centred = wide - mean
        deviation = np.sqrt(np.nansum(centred**2, axis=0) / present)
        # A constant column has no spread to divide by, and never splits.
        return cls(mean, np.where(deviation > 0, deviation, 1.0))

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


class BlendedIsolationForest(BaseIsolationForest):
    """An isolation forest that finds more on tables that it was not made for.

    Three things are different from the classic forest. Its paths also end where a row lies beyond the values that a
    node's training rows have (`guards`): in plain trees such a row goes on as if it lay at the edge. Some trees are
    grown without the training rows that look most abnormal, which would otherwise hide others like them. And some are
    grown on asinh of the columns, where a few far values do not waste the splits. Each of these views is standardised
    on the training rows by median and quartiles, and their soft minimum makes the score: a row is about as abnormal as
    the view says that finds it most abnormal. All splits are on single features, so that scores can be explained
    exactly.

    Parameters
    ----------
    n_estimators : int, default=100
        Number of trees of all kinds together.
    history : {'contaminated', 'clean'}, default='contaminated'
        Whether there may be anomalies among the training rows. Where it is known that there are none ('clean'),
        whatever lies beyond them is new, and far more is found; where there are some all the same, fewer are.
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
    .. [2] Liu, Ting and Zhou. On detecting clustered anomalies using SCiForest. ECML PKDD 2010. (The range that rows
       may lie in.)

    Examples
    --------
    >>> import numpy as np
    >>> from mlx_iforest import BlendedIsolationForest
    >>> X = np.random.default_rng(0).normal(size=(500, 2))
    >>> BlendedIsolationForest(random_state=0).fit(X).predict([[0.1, 0.0], [6.0, 6.0]])
    array([ 1, -1])
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_estimators": [Interval(Integral, 1, None, closed="left")],
        "history": [StrOptions(set(RECIPES))],
        "contamination": [StrOptions({"auto"}), Interval(Real, 0, 0.5, closed="right")],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
        "backend": [StrOptions({"auto", *BACKENDS})],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        n_estimators: int = 100,
        *,
        history: str = "contaminated",
        contamination: str | float = "auto",
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
        backend: str = "auto",
        batch_size: str | int = "auto",
    ) -> None:
        self.n_estimators = n_estimators
        self.history = history
        self.contamination = contamination
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose
        self.backend = backend
        self.batch_size = batch_size

    def _grow(self, X: Matrix, sample_weight: NDArray[np.float64] | None, resources: Resources) -> Grown:
        rows, step = spread_rows(X)
        columns = Columns.of(rows)
        weight = None if sample_weight is None else sample_weight[::step]
        seed, largest = draw_seed(self.random_state), 1
        forests: list[Forest] = []
        grown_by, abnormality = None, None
        recipe = RECIPES[self.history]
        for member, (first, stop) in zip(recipe, member_trees(recipe, self.n_estimators), strict=True):
            if first == stop:
                continue
            data, chances = X, sample_weight
            if member.trimmed and forests and (weight is None or weight.any()):
                if abnormality is None:
                    abnormality = -_path_lengths(forests[0], rows, resources)
                kept = _least(abnormality, weight, member.trimmed)
                data, chances = rows[kept], None if weight is None else weight[kept]
            drawable = data.shape[0] if chances is None else int(np.count_nonzero(chances))
            plan = GrowthPlan(
                seed=seed,
                first_tree=first,
                n_trees=stop - first,
                n_samples=data.shape[0],
                n_features=X.shape[1],
                subsample_size=min(member.max_samples, drawable),
                features_per_tree=X.shape[1],
            )
            transform = columns.to_asinh if member.asinh else None
            forest, grown_by = grow_trees(data, plan, resources, chances, transform, member.margin)
            forests.append(columns.from_asinh(forest) if member.asinh else forest)
            largest = max(largest, plan.subsample_size)
        return Grown(Forest.concatenate(forests), largest, seed, grown_by)

    def _value(self, grown: Grown, X: Matrix, resources: Resources) -> ScoredForest:
        recipe = RECIPES[self.history]
        bounds, views = member_trees(recipe, self.n_estimators), [{"path_length": 1.0}] * len(recipe)
        rows, _ = spread_rows(X)
        plain = ScoredForest(grown.forest, blended_score(bounds, views))
        backend, _ = resources.backend_for(lambda: Work.scoring(grown.forest, len(rows)), 1)
        columns = np.concatenate([plain.columns(rows[some], backend) for some in batches(rows)])
        spreads = [[Spread.of(column)] for column in columns.T]
        return plain.standardised(blended_score(bounds, views, spreads))


def spread_rows(X: Matrix) -> tuple[NDArray[np.float32], int]:
    """At most `SPREAD_ROWS` rows, evenly spaced, and how far apart."""
    step = -(-X.shape[0] // SPREAD_ROWS)
    return as_float32(X[::step]), step


def _path_lengths(forest: Forest, rows: NDArray[np.float32], resources: Resources) -> NDArray[np.float64]:
    """The mean path length of each row."""
    backend, _ = resources.backend_for(lambda: Work.scoring(forest, len(rows)), 1)
    values = forest.path_length[:, None]
    return np.concatenate([backend.leaf_means(forest, values, rows[some])[:, 0] for some in batches(rows)])


def _least(abnormality: NDArray[np.float64], weight: NDArray[np.float64] | None, without: float) -> NDArray[np.int64]:
    """Rows that may be drawn, in order, without this share of them: the most abnormal."""
    rows = np.arange(len(abnormality)) if weight is None else np.flatnonzero(weight)
    kept = len(rows) - int(without * len(rows))
    return np.sort(rows[np.argsort(abnormality[rows], kind="stable")[:kept]])
