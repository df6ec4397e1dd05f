"""`MLXIsolationForest`: the classic algorithm."""

from __future__ import annotations

import warnings
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.utils._param_validation import Interval, RealNotInt, StrOptions

from mlx_iforest.backends import BACKENDS, choose_backend
from mlx_iforest.base import BaseIsolationForest, Matrix
from mlx_iforest.forest import LEAF_VALUES, Forest
from mlx_iforest.growth import GrowthPlan
from mlx_iforest.performance import Performance
from mlx_iforest.resources import Resources
from mlx_iforest.score_function import BLEND, DENSITY, Depth, Part, ScoreFunction, View
from mlx_iforest.scoring import Spread

if TYPE_CHECKING:
    from sklearn.ensemble import IsolationForest

__all__ = ["MLXIsolationForest"]

Self = TypeVar("Self", bound="MLXIsolationForest")


class MLXIsolationForest(BaseIsolationForest):
    """Isolation forest, grown and scored by MLX on a GPU, by Numba on any CPU, or by scikit-learn.

    Anomalies are few and different, so random splits isolate them early: the fewer splits a row needs, the more
    abnormal it is (Liu, Ting and Zhou, 2008). A drop-in for `sklearn.ensemble.IsolationForest`.

    Parameters
    ----------
    n_estimators : int, default=100
        Number of trees.
    max_samples : 'auto', int or float, default='auto'
        Rows each tree is grown on: min(256, n_samples), a number, or a share of the rows.
    contamination : 'auto' or float in (0, 0.5], default='auto'
        Share of anomalies in the training data; sets `offset_` half way between two scores, so that as many rows lie
        below it as scikit-learn would call anomalies. 'auto' is -0.5: the threshold of the paper for
        'depth', the density of an even spread for 'density', three robust standard deviations below the median for
        'blend'.
    max_features : int or float, default=1.0
        Features each tree may ask about: a number, or a share (at least one feature).
    bootstrap : bool, default=False
        Whether the rows of a tree are drawn with replacement.
    n_jobs : int or None, default=None
        Threads for growing and scoring; None and -1 are all cores (results never depend on it).
    random_state : int, RandomState or None, default=None
        The same seed gives the same forest on the 'numba' and 'mlx' backends.
    verbose : int, default=0
        Above 0, prints what growing took.
    warm_start : bool, default=False
        Keep the trees of the previous fit and grow only those that are new. The result is the forest that one fit
        would have given, if the data are the same. They must have the same columns.
    extension_level : int, default=0
        0 splits on one feature, as in [1]_; k splits on a random direction in k + 1 features, as in [2]_, or in
        all where there are fewer.
    scoring : {'depth', 'density', 'blend'}, default='depth'
        What a leaf says of a row: 'depth' is the score of the paper; 'density' compares the leaf's share of the
        samples with its share of the space; 'blend' is the mean of both, each in robust standard deviations of the
        training rows.
    backend : {'auto', 'mlx', 'numba', 'sklearn'}, default='auto'
        'auto' takes 'mlx' where MLX has a GPU, else 'numba', else 'sklearn'; with a GPU, 'numba' does what it is faster
        at, with the same results. A backend asked for by name does all the work, and is an error where it is missing.
    batch_size : 'auto' or int, default='auto'
        Rows scored at a time. It bounds memory and never changes a score.

    Attributes
    ----------
    forest_ : Forest
        The trees as arrays. It stands in the place of scikit-learn's `estimators_`, `estimators_samples_` and
        `estimators_features_`, which are not here: ``forest_.trees(i, i + 1)`` is tree i, and ``to_sklearn()`` gives
        scikit-learn's objects.
    offset_ : float
        ``decision_function = score_samples - offset_``. Finite; it may be set.
    max_samples_ : int
        Rows each tree was grown on.
    quantized_bits_ : int or None
        What `quantize` made it of; None for a model as it was grown.
    backend_ : BackendChoice
        Name of the backend that was chosen, and the reason for it.
    performance_ : Performance
        What the fit took: seconds of growing, peak memory of the process, and who grew the trees. `measure_scoring`
        tells what scoring takes.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Where the training data had column names.

    References
    ----------
    .. [1] Liu, Ting and Zhou. Isolation Forest. ICDM 2008.
    .. [2] Hariri, Kind and Brunner. Extended Isolation Forest. IEEE TKDE 33(4), 2021; arXiv:1811.02141.

    Examples
    --------
    >>> from mlx_iforest import MLXIsolationForest
    >>> X = [[-1.1], [0.3], [0.5], [100]]
    >>> MLXIsolationForest(random_state=0).fit(X).predict([[0.1], [0], [90]])
    array([ 1,  1, -1])
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_estimators": [Interval(Integral, 1, None, closed="left")],
        "max_samples": [
            StrOptions({"auto"}),
            Interval(Integral, 1, None, closed="left"),
            Interval(RealNotInt, 0, 1, closed="right"),
        ],
        "contamination": [StrOptions({"auto"}), Interval(Real, 0, 0.5, closed="right")],
        "max_features": [Interval(Integral, 1, None, closed="left"), Interval(RealNotInt, 0, 1, closed="right")],
        "bootstrap": ["boolean"],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "extension_level": [Interval(Integral, 0, None, closed="left")],
        "scoring": [StrOptions({"depth", "density", "blend"})],
        "backend": [StrOptions({"auto", *BACKENDS})],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
    }

    _counted: tuple[tuple[str, Spread | None], ...]
    """The leaf values that count and, where several do, the spread that standardises each."""

    def __init__(
        self,
        n_estimators: int = 100,
        *,
        max_samples: str | float = "auto",
        contamination: str | float = "auto",
        max_features: float = 1.0,
        bootstrap: bool = False,
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
        warm_start: bool = False,
        extension_level: int = 0,
        scoring: str = "depth",
        backend: str = "auto",
        batch_size: str | int = "auto",
    ) -> None:
        self.n_estimators = n_estimators
        self.max_samples = max_samples
        self.contamination = contamination
        self.max_features = max_features
        self.bootstrap = bootstrap
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose
        self.warm_start = warm_start
        self.extension_level = extension_level
        self.scoring = scoring
        self.backend = backend
        self.batch_size = batch_size

    @classmethod
    def from_sklearn(cls: type[Self], forest: IsolationForest, *, backend: str = "auto") -> Self:
        """A fitted scikit-learn isolation forest as one of ours: the same trees, on our backends.

        Parameters
        ----------
        forest : sklearn.ensemble.IsolationForest
            Fitted, by scikit-learn 1.6 or newer, on dense or sparse data. It stays as it is.
        backend : {'auto', 'mlx', 'numba', 'sklearn'}, default='auto'
            As in `MLXIsolationForest`.

        Returns
        -------
        MLXIsolationForest
            Of this class, fitted, with the forest's parameters, threshold (`offset_`) and column names. Its scores
            differ by less than 1e-6 for every row of finite or missing values, also for values on thresholds. An
            `offset_` that is not -0.5 comes out lower by about that much: it usually is a score, and rows that have it
            must stay normal.
            Scores are by depth, since scikit-learn does not keep what densities need. With ``warm_start=True`` more
            trees can be grown; they are those of our growers.

        Raises
        ------
        TypeError
            Something else than an `IsolationForest`.
        sklearn.exceptions.NotFittedError
            It has not been fitted.
        ValueError
            It cannot be converted, such as after a fit on infinite values.
        BackendUnavailableError
            The backend asked for by name is missing here.

        Examples
        --------
        >>> from sklearn.ensemble import IsolationForest
        >>> from mlx_iforest import MLXIsolationForest
        >>> theirs = IsolationForest(random_state=0).fit([[-1.1], [0.3], [0.5], [100]])
        >>> MLXIsolationForest.from_sklearn(theirs).predict([[0.1], [0], [90]])
        array([ 1,  1, -1])
        """
        # Imported when asked for: scikit-learn's ensembles take a tenth of a second.
        from mlx_iforest.convert.scikit_learn import from_sklearn

        model = from_sklearn(forest, Resources(choose_backend(backend), backend, None, "auto", cls.__name__))
        # A copy, so that a RandomState is not shared.
        made = cls(**clone(forest).get_params(), backend=backend)
        made.forest_, made.offset_, made.backend_ = model.forest, model.offset, model.resources.backend
        made.max_samples_, made.performance_ = int(forest._max_samples), Performance(grow_seconds=0.0)
        made.n_features_in_ = model.forest.n_features
        if model.feature_names is not None:
            made.feature_names_in_ = model.feature_names
        made._counted = (("path_length", None),)
        made._draw_seed()
        made._ready()
        return made

    def _learn_scores(self, X: Matrix) -> None:
        forest = self.forest_
        if self.scoring != "depth" and forest.log_density is None:
            raise ValueError(
                f"scoring={self.scoring!r} needs densities, which trees that come from scikit-learn do not have; "
                "fit with warm_start=False, or with scoring='depth'"
            )
        if self.scoring == "blend":
            rows, arrays, resources = self._spread_rows(X), forest.arrays(), self._resources()
            self._counted = tuple(
                (name, Spread.of(resources.leaf_means(forest, arrays[name], rows))) for name in LEAF_VALUES
            )
        else:
            self._counted = (("path_length" if self.scoring == "depth" else "log_density", None),)

    def _score_function(self) -> ScoreFunction:
        name = self._counted[0][0]
        link = BLEND if len(self._counted) > 1 else Depth(self.max_samples_) if name == "path_length" else DENSITY
        return ScoreFunction((Part(0, self.forest_.n_trees, (View(self._counted),)),), link)

    @property
    def _keeps_trees(self) -> bool:
        return bool(self.warm_start) and hasattr(self, "forest_")

    def _grow(self, X: Matrix, sample_weight: NDArray[np.float64] | None) -> None:
        # A warm start grows only the trees that it lacks.
        have = self.forest_.n_trees if self._keeps_trees else 0
        if have and self.pruned_:
            raise ValueError(
                "a pruned forest cannot grow further (warm_start=True): its trees are no longer those of the fit; "
                "fit with warm_start=False, or grow the model that was pruned"
            )
        if self.n_estimators < have:
            raise ValueError(
                f"n_estimators={self.n_estimators} must be larger or equal to the {have} trees already grown "
                "when warm_start==True"
            )
        drawable = X.shape[0] if sample_weight is None else int(np.count_nonzero(sample_weight))
        self.max_samples_ = self._subsample_size(X.shape[0], drawable)
        if have == self.n_estimators:
            warnings.warn("Warm-start fitting without increasing n_estimators does not fit new trees.", stacklevel=5)
            return
        if not have:
            self._draw_seed()
        plan = self._plan(X, have, self.n_estimators - have)
        grown = self._grow_plan(X, plan, sample_weight)
        self.forest_ = Forest.concatenate([self.forest_, grown]) if have else grown

    def _plan(self, X: Matrix, first_tree: int, n_trees: int) -> GrowthPlan:
        n_samples, n_features = X.shape
        return GrowthPlan(
            seed=self._seed,
            first_tree=first_tree,
            n_trees=n_trees,
            n_samples=n_samples,
            n_features=n_features,
            subsample_size=self.max_samples_,
            features_per_tree=self._features_per_tree(n_features),
            bootstrap=bool(self.bootstrap),
            extension_level=min(int(self.extension_level), n_features - 1),
        )

    def _subsample_size(self, n_samples: int, drawable: int) -> int:
        """Rows of a tree; only `drawable` of the `n_samples` rows have a weight."""
        most = n_samples if self.bootstrap else drawable
        if self.max_samples == "auto":
            return min(256, most)
        if isinstance(self.max_samples, Integral):
            if self.max_samples > n_samples:
                warnings.warn(
                    f"max_samples ({self.max_samples}) is greater than the total number of samples ({n_samples}). "
                    "max_samples will be set to n_samples for estimation.",
                    stacklevel=6,
                )
            return min(int(self.max_samples), most)
        return min(max(1, int(float(self.max_samples) * n_samples)), most)

    def _features_per_tree(self, n_features: int) -> int:
        if isinstance(self.max_features, Integral):
            if self.max_features > n_features:
                raise ValueError(
                    f"max_features ({self.max_features}) must be in [1, {n_features}], the number of features"
                )
            return int(self.max_features)
        return max(1, int(self.max_features * n_features))
