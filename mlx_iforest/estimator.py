"""`MLXIsolationForest`: the classic algorithm."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import replace
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import _fit_context, clone
from sklearn.utils._param_validation import Interval, RealNotInt, StrOptions

from mlx_iforest.backends import BACKENDS, choose_backend
from mlx_iforest.base import BaseIsolationForest, Grown, Matrix, MatrixLike, grow_trees
from mlx_iforest.batches import issparse
from mlx_iforest.forest import Forest
from mlx_iforest.growth import GrowthPlan
from mlx_iforest.model import FittedModel, ScoredForest
from mlx_iforest.moving import follow
from mlx_iforest.randomness import draw_seed
from mlx_iforest.resources import Resources
from mlx_iforest.score_function import LEAF_VALUE, MOST_EVIDENCE, Given, mean_score
from mlx_iforest.stream import WINDOW, Rows, Stream

if TYPE_CHECKING:
    from sklearn.ensemble import IsolationForest

__all__ = ["MLXIsolationForest"]

_USUAL = 0.95
Self = TypeVar("Self", bound="MLXIsolationForest")


def _usual_evidence(X: Matrix, column: int) -> float:
    """Evidence that is nothing special: what chance finds in some of so many rows, or 5 % of the rows have."""
    values = X[:, [column]].toarray() if issparse(X) else np.asarray(X[:, column], dtype=np.float64)
    usual = float(np.quantile(np.nan_to_num(values), _USUAL))
    return min(max(math.log(X.shape[0]) - 1.0, usual, 0.0), MOST_EVIDENCE)


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
        'depth', the density of an even spread for 'density'.
    max_features : int or float, default=1.0
        Features each tree may ask about: a number, or a share (at least one feature).
    bootstrap : bool, default=False
        Whether the rows of a tree are drawn with replacement.
    n_jobs : int or None, default=None
        Threads for growing and scoring: None is 1, or what a surrounding `joblib.parallel_config` says, and -1 all
        cores. Results never depend on it.
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
    scoring : {'depth', 'density'}, default='depth'
        What a leaf says of a row: 'depth' is the score of the paper; 'density' compares the leaf's share of the
        samples with its share of the space. `BlendedIsolationForest` goes by both.
    evidence : int, default=None
        A column, counted from 0, whose values are evidence against a row in nats, 0 for none. No tree splits on it; it
        lowers the scores of rows with more than ``log(n_samples) - 1``, and than 95 % of the rows, without end
        (`score_function.Given`).
    window : int, default=4096
        Rows of a stream that `update` keeps and grows new trees on; at least as many as a tree is grown on. A tenth of
        the trees is grown anew whenever a tenth as many rows came. A stream that has begun keeps its window.
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
    pruned_ : bool
        Whether `prune` made it.
    pruning_ : PruningReport or None
        What `prune` did; model files do not keep it.
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
        "scoring": [StrOptions(set(LEAF_VALUE))],
        "evidence": [Interval(Integral, 0, None, closed="left"), None],
        "window": [Interval(Integral, 1, None, closed="left")],
        "backend": [StrOptions({"auto", *BACKENDS})],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
    }

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
        evidence: int | None = None,
        window: int = WINDOW,
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
        self.evidence = evidence
        self.window = window
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
        made._model = model._replace(seed=draw_seed(made.random_state))
        return made

    def update(self: Self, X: MatrixLike) -> Self:
        """Follow a stream: trees grown on its last rows take the place of the oldest, at fixed counts of rows.

        The state depends on the fit and on the rows in their order, not on how they are cut into calls: one row at a
        time and all at once give the same trees, bit for bit, on every backend that draws alike. Scores by
        `score_samples` and the like are of the newest trees. Memory is bounded: the last `window` rows are kept.

        `offset_` stays as it is, whatever `contamination` says; set it to follow the stream. A fit ends the stream.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The next rows of the stream, oldest first; as for `score_samples`. The rows of the fit are no part of it.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            Rows that `score_samples` would not take, a `window` smaller than `max_samples_`, or a model that was
            quantised, pruned or told verdicts. The model stays as it is.

        Examples
        --------
        >>> import numpy as np
        >>> from mlx_iforest import MLXIsolationForest
        >>> rng = np.random.default_rng(0)
        >>> model = MLXIsolationForest(random_state=0, window=1000).fit(rng.normal(size=(500, 2)))
        >>> before = model.score_samples([[9, 9]])
        >>> bool(model.update(rng.normal(9, 1, size=(2000, 2))).score_samples([[9, 9]]) > before + 0.1)
        True
        """
        self._follow(X, score=False)
        return self

    def score_update(self, X: MatrixLike) -> NDArray[np.float64]:
        """Score rows of a stream and `update`: each row is scored by the trees grown on rows before it.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            As for `update`.

        Returns
        -------
        ndarray of float64, shape (n_samples,)
            As of `score_samples` just before the row; they do not depend on how the rows are cut into calls.

        Raises
        ------
        ValueError
            As for `update`.
        """
        return self._follow(X, score=True)

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def partial_fit(self: Self, X: MatrixLike, y: object = None) -> Self:
        """`update`; where there is no fit yet, a fit on these rows first.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The first time, at least as many rows as a tree should be grown on: trees stay of that size. What rows
            come first is part of what the forest is; how later ones are cut into calls is not.
        y : ignored

        Returns
        -------
        self
        """
        model = self if self.__sklearn_is_fitted__() else self._snapshot().fit(X)
        self._model = model._snapshot().update(X)._model
        return self

    def _follow(self, X: MatrixLike, *, score: bool) -> NDArray[np.float64]:
        model = self._fitted()
        rows = self._validate(X, model)
        rows = rows.toarray() if issparse(rows) else rows
        for is_so, how in (
            (model.quantized_bits is not None, "was quantised; update the one that it was made of"),
            (model.pruned, "was pruned; update the one that it was made of"),
            (model.feedback is not None, "was told verdicts, which are about leaves of its trees; call forget() first"),
        ):
            if is_so:
                raise ValueError(f"this model cannot follow a stream: it {how}")
        stream = model.stream or Stream.begin(int(self.window), model.max_samples, model.forest.n_features)
        transform = self._ungiven(model.forest.n_features)
        hidden = rows if transform is None else transform(rows)
        scores = np.empty(len(rows) if score else 0)

        def grow(some: Rows, first_tree: int, n_trees: int) -> Forest:
            return self._grow_on(model, some, first_tree, n_trees)

        self._model = follow(model, stream, rows, hidden, grow, scores=scores if score else None)
        return scores

    def _grow_on(self, model: FittedModel, rows: Rows, first_tree: int, n_trees: int) -> Forest:
        """Trees as those of a fitted model, on other rows."""
        direction = model.forest.direction_feature
        plan = GrowthPlan(
            seed=model.seed,
            first_tree=first_tree,
            n_trees=n_trees,
            n_samples=len(rows),
            n_features=model.forest.n_features,
            subsample_size=model.max_samples,
            features_per_tree=self._features_per_tree(model.forest.n_features),
            bootstrap=bool(self.bootstrap),
            extension_level=0 if direction is None else direction.shape[1] - 1,
        )
        return grow_trees(rows, plan, model.resources)[0]

    def _grow(self, X: Matrix, sample_weight: NDArray[np.float64] | None, resources: Resources) -> Grown:
        # A warm start grows only the trees that it lacks.
        before = self._warm()
        have = 0 if before is None else before.forest.n_trees
        if before is not None and before.pruned:
            raise ValueError(
                "a pruned forest cannot grow further (warm_start=True): its trees are no longer those of the fit; "
                "fit with warm_start=False, or grow the model that was pruned"
            )
        if before is not None and before.stream is not None:
            raise ValueError(
                "a forest that moved with a stream cannot grow further (warm_start=True): its trees are no longer those"
                " of the fit; fit with warm_start=False"
            )
        if self.n_estimators < have:
            raise ValueError(
                f"n_estimators={self.n_estimators} must be larger or equal to the {have} trees already grown "
                "when warm_start==True"
            )
        drawable = X.shape[0] if sample_weight is None else int(np.count_nonzero(sample_weight))
        max_samples = self._subsample_size(X.shape[0], drawable)
        if before is not None and have == self.n_estimators:
            warnings.warn("Warm-start fitting without increasing n_estimators does not fit new trees.", stacklevel=5)
            return Grown(before.forest, max_samples, before.seed, None)
        n_samples, n_features = X.shape
        plan = GrowthPlan(
            seed=draw_seed(self.random_state) if before is None else before.seed,
            first_tree=have,
            n_trees=self.n_estimators - have,
            n_samples=n_samples,
            n_features=n_features,
            subsample_size=max_samples,
            features_per_tree=self._features_per_tree(n_features),
            bootstrap=bool(self.bootstrap),
            extension_level=min(int(self.extension_level), n_features - 1),
        )
        forest, grown_by = grow_trees(X, plan, resources, sample_weight, self._ungiven(n_features))
        whole = forest if before is None else Forest.concatenate([before.forest, forest])
        return Grown(whole, max_samples, plan.seed, grown_by)

    def _value(self, grown: Grown, X: Matrix, resources: Resources) -> ScoredForest:
        if self.scoring == "density" and grown.forest.log_density is None:
            raise ValueError(
                "scoring='density' needs densities, which trees that come from scikit-learn do not have; "
                "fit with warm_start=False, or with scoring='depth'"
            )
        function = mean_score(grown.forest.n_trees, LEAF_VALUE[self.scoring], grown.max_samples)
        if self.evidence is not None:
            function = replace(function, given=Given(int(self.evidence), _usual_evidence(X, int(self.evidence))))
        return ScoredForest(grown.forest, function)

    def _ungiven(self, n_features: int) -> Callable[[NDArray[np.float32]], NDArray[np.float32]] | None:
        """What makes the column of evidence constant, so that no tree splits on it; None where there is none."""
        column = self.evidence
        if column is None:
            return None
        if column >= n_features:
            raise ValueError(f"evidence={column} must be a column of X, which has {n_features}: 0 to {n_features - 1}")

        def constant(rows: NDArray[np.float32]) -> NDArray[np.float32]:
            rows = rows.copy()
            rows[:, column] = 0.0
            return rows

        return constant

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
