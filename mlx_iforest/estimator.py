"""`MLXIsolationForest`: the scikit-learn contract."""

from __future__ import annotations

import time
import warnings
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from joblib import cpu_count, effective_n_jobs
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, OutlierMixin, _fit_context
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, RealNotInt, StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data

from mlx_iforest.backends import BACKENDS, Backend, BackendUnavailableError, choose_backend, get_backend
from mlx_iforest.forest import Forest
from mlx_iforest.growth import GrowthPlan
from mlx_iforest.performance import Performance, peak_process_memory
from mlx_iforest.scoring import score_from_path_length

__all__ = ["MLXIsolationForest"]


class MLXIsolationForest(OutlierMixin, BaseEstimator):
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
        Share of anomalies in the training data; sets `offset_`. 'auto' is the threshold of the paper, -0.5.
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
        would have given, if the data are the same.
    backend : {'auto', 'mlx', 'numba', 'sklearn'}, default='auto'
        'auto' takes 'mlx' where MLX has a GPU, else 'numba', else 'sklearn'. A backend asked for by name that is
        missing is an error.
    batch_size : 'auto' or int, default='auto'
        Rows scored at a time. It bounds memory and never changes a score.

    Attributes
    ----------
    forest_ : Forest
        The trees as arrays.
    offset_ : float
        ``decision_function = score_samples - offset_``.
    max_samples_ : int
        Rows each tree was grown on.
    backend_ : BackendChoice
        Name of the backend that grew the forest, and the reason for it.
    performance_ : Performance
        Seconds of growing and scoring, rows a second, peak memory of the process and of MLX.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Where the training data had column names.

    References
    ----------
    .. [1] Liu, Ting and Zhou. Isolation Forest. ICDM 2008.

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
        "backend": [StrOptions({"auto", *BACKENDS})],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
    }

    forest_: Forest
    offset_: float
    performance_: Performance

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
        self.backend = backend
        self.batch_size = batch_size

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def fit(self, X: ArrayLike, y: object = None) -> MLXIsolationForest:
        """Grow the forest.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Used as float32. NaN is a missing value; infinities are refused.
        y : ignored

        Returns
        -------
        MLXIsolationForest
            Itself, fitted.

        Raises
        ------
        ValueError
            The data or a parameter are not usable; the message says what was expected.
        BackendUnavailableError
            The backend asked for by name is missing here.
        """
        X_checked = self._validate(X, reset=True)
        if not self.warm_start:
            self._forget()
        choice = choose_backend(self.backend)
        plan = self._plan(X_checked)
        began = time.perf_counter()
        if plan.n_trees:
            grown = get_backend(choice.name).grow(X_checked, plan, n_threads=self._n_threads())
            self.forest_ = Forest.concatenate([self.forest_, grown]) if plan.first_tree else grown
        seconds = time.perf_counter() - began
        self.backend_ = choice
        self.max_samples_ = plan.subsample_size
        self.performance_ = Performance(grow_seconds=seconds, peak_process_memory=peak_process_memory())
        if self.verbose:
            print(f"grew {plan.n_trees} trees of {plan.subsample_size} samples in {seconds:.3f} s ({choice.name})")  # noqa: T201
        if self.contamination == "auto":
            self.offset_ = -0.5
        else:
            self.offset_ = float(np.percentile(self._score_samples(X_checked), 100.0 * float(self.contamination)))
        return self

    def predict(self, X: ArrayLike) -> NDArray[np.int64]:
        """+1 for a normal row, -1 for an anomaly.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of int64, shape (n_samples,)
            -1 where ``decision_function(X) < 0``.
        """
        return np.where(self.decision_function(X) < 0, -1, 1)

    def decision_function(self, X: ArrayLike) -> NDArray[np.float64]:
        """``score_samples(X) - offset_``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of float64, shape (n_samples,)
            Lower is more abnormal; negative is an anomaly.
        """
        return self.score_samples(X) - self.offset_

    def score_samples(self, X: ArrayLike) -> NDArray[np.float64]:
        """The opposite of the anomaly score of the paper ([1]_, equation 2).

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Used as float32. NaN is a missing value; infinities are refused.

        Returns
        -------
        ndarray of float64, shape (n_samples,)
            In [-1, 0); lower is more abnormal.
        """
        check_is_fitted(self)
        return self._score_samples(self._validate(X, reset=False))

    def _validate(self, X: ArrayLike, *, reset: bool) -> NDArray[np.float32]:
        checked: NDArray[np.float32] = validate_data(
            self, X, dtype=np.float32, ensure_all_finite="allow-nan", reset=reset
        )
        return checked

    def _score_samples(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        """`score_samples` without validation, which would warn of lost column names in `fit`."""
        began = time.perf_counter()
        backend = self._scorer()
        batch_size = None if self.batch_size == "auto" else int(self.batch_size)
        path_lengths = backend.path_lengths(self.forest_, X, n_threads=self._n_threads(), batch_size=batch_size)
        scores = score_from_path_length(path_lengths, self.max_samples_)
        performance = self.performance_
        performance.score_seconds = time.perf_counter() - began
        performance.scored_rows = len(X)
        performance.peak_process_memory = peak_process_memory()
        performance.peak_mlx_memory = backend.peak_memory()
        return scores

    def _plan(self, X: NDArray[np.float32]) -> GrowthPlan:
        """What to grow now: all trees, or those that a warm start lacks."""
        n_samples, n_features = X.shape
        have = self.forest_.n_trees if hasattr(self, "forest_") else 0
        if self.n_estimators < have:
            raise ValueError(
                f"n_estimators={self.n_estimators} must be larger or equal to the {have} trees already grown "
                "when warm_start==True"
            )
        if have == self.n_estimators:
            warnings.warn("Warm-start fitting without increasing n_estimators does not fit new trees.", stacklevel=3)
        if not have:
            words = check_random_state(self.random_state).randint(0, 2**32, size=2, dtype=np.uint64)
            self._seed = int(words[0]) | int(words[1]) << 32
        return GrowthPlan(
            seed=self._seed,
            first_tree=have,
            n_trees=self.n_estimators - have,
            n_samples=n_samples,
            n_features=n_features,
            subsample_size=self._subsample_size(n_samples),
            features_per_tree=self._features_per_tree(n_features),
            bootstrap=bool(self.bootstrap),
        )

    def _subsample_size(self, n_samples: int) -> int:
        if self.max_samples == "auto":
            return min(256, n_samples)
        if isinstance(self.max_samples, Integral):
            if self.max_samples > n_samples:
                warnings.warn(
                    f"max_samples ({self.max_samples}) is greater than the total number of samples ({n_samples}). "
                    "max_samples will be set to n_samples for estimation.",
                    stacklevel=4,
                )
            return min(int(self.max_samples), n_samples)
        return max(1, int(float(self.max_samples) * n_samples))

    def _features_per_tree(self, n_features: int) -> int:
        if isinstance(self.max_features, Integral):
            if self.max_features > n_features:
                raise ValueError(
                    f"max_features ({self.max_features}) must be in [1, {n_features}], the number of features"
                )
            return int(self.max_features)
        return max(1, int(self.max_features * n_features))

    def _n_threads(self) -> int:
        return int(cpu_count() if self.n_jobs is None else effective_n_jobs(self.n_jobs))

    def _scorer(self) -> Backend:
        """The backend that grew the forest; where it is missing (a model from another machine), what 'auto'
        takes here."""
        try:
            return get_backend(self.backend_.name)
        except BackendUnavailableError:
            if self.backend != "auto":
                raise
            return get_backend(choose_backend("auto").name)

    def _forget(self) -> None:
        if hasattr(self, "forest_"):
            del self.forest_

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags
