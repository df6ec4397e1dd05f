"""`BaseIsolationForest`: what all our isolation forests do alike, around growing trees and valuing leaves."""

from __future__ import annotations

import time
from abc import ABCMeta, abstractmethod
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, TypeVar

import numpy as np
from joblib import cpu_count, effective_n_jobs
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, OutlierMixin, _fit_context
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from mlx_iforest.backends import Backend, BackendChoice, BackendUnavailableError, choose_backend, get_backend
from mlx_iforest.forest import OPTIONAL, Forest
from mlx_iforest.growth import GrowthPlan
from mlx_iforest.performance import Performance, peak_process_memory
from mlx_iforest.pruning import PruningReport, ScoreParts, prune
from mlx_iforest.quantization import LEAF_VALUES, PackedForest, quantize_forest

__all__ = ["BaseIsolationForest", "Matrix", "MatrixLike"]

MatrixLike = Any
"""An array-like or a sparse matrix, as users give it."""

Matrix = Any
"""A float32 array or CSR matrix, as validation leaves it."""

DENSE_BYTES = 16 << 20
"""Sparse rows that become dense at a time."""

SPREAD_ROWS = 10_000
"""Training rows, evenly spaced, that tell the spread of columns and of leaf values."""

Self = TypeVar("Self", bound="BaseIsolationForest")


class BaseIsolationForest(OutlierMixin, BaseEstimator, metaclass=ABCMeta):
    """Validation, scoring and measuring; a subclass grows the forest, values its leaves and turns means into scores."""

    n_estimators: int
    contamination: str | float
    n_jobs: int | None
    random_state: int | np.random.RandomState | None
    verbose: int
    backend: str
    batch_size: str | int

    forest_: Forest
    offset_: float
    max_samples_: int
    backend_: BackendChoice
    performance_: Performance
    quantized_bits_: int | None = None
    _seed: int
    _derived: ClassVar[tuple[str, ...]]
    """Names of the attributes that `_value_leaves` sets."""

    @abstractmethod
    def _grow(self, X: Matrix, sample_weight: NDArray[np.float64] | None) -> None:
        """Set `forest_` and `max_samples_`."""

    @abstractmethod
    def _learn_scores(self, X: Matrix) -> None:
        """Learn from the training rows what scoring needs besides the forest, and value the leaves."""

    @abstractmethod
    def _value_leaves(self) -> None:
        """Set what follows from the forest and from what was learned; it is not stored with the model."""

    @abstractmethod
    def _score(self, X: Matrix) -> NDArray[np.float64]:
        """Scores in [-1, 0) of valid rows."""

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def fit(self: Self, X: MatrixLike, y: object = None, sample_weight: ArrayLike | None = None) -> Self:
        """Grow the forest.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Used as float32. NaN is a missing value; infinities are refused.
        y : ignored
        sample_weight : array-like of shape (n_samples,), default=None
            The chance of each row to be drawn into a tree, relative to the others; a row of weight 0 is never drawn.

        Returns
        -------
        self
            Fitted.

        Raises
        ------
        ValueError
            The data or a parameter are not usable; the message says what was expected.
        BackendUnavailableError
            The backend asked for by name is missing here.
        """
        checked = self._validate(X, reset=True)
        weight = None if sample_weight is None else self._check_weight(sample_weight, checked)
        began = time.perf_counter()
        self.backend_ = choose_backend(self.backend)
        self._grow(checked, weight)
        self.quantized_bits_ = None
        seconds = time.perf_counter() - began
        self.performance_ = Performance(grow_seconds=seconds, peak_process_memory=peak_process_memory())
        if self.verbose:
            what = f"{self.forest_.n_trees} trees of {self.max_samples_} samples"
            print(f"a forest of {what} after {seconds:.3f} s ({self.backend_.name})")  # noqa: T201
        self._learn_scores(checked)
        if self.contamination == "auto":
            self.offset_ = -0.5
        else:
            self.offset_ = float(np.percentile(self._score_samples(checked), 100.0 * float(self.contamination)))
        return self

    def predict(self, X: MatrixLike) -> NDArray[np.int64]:
        """+1 for a normal row, -1 for an anomaly.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of int64, shape (n_samples,)
            -1 where ``decision_function(X) < 0``.
        """
        return np.where(self.decision_function(X) < 0, -1, 1)

    def decision_function(self, X: MatrixLike) -> NDArray[np.float64]:
        """``score_samples(X) - offset_``.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of float64, shape (n_samples,)
            Lower is more abnormal; negative is an anomaly.
        """
        return self.score_samples(X) - self.offset_

    def score_samples(self, X: MatrixLike) -> NDArray[np.float64]:
        """The opposite of the anomaly score of Liu, Ting and Zhou (2008, equation 2), or what stands in its place.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Used as float32. NaN is a missing value; infinities are refused.

        Returns
        -------
        ndarray of float64, shape (n_samples,)
            In [-1, 0); lower is more abnormal.
        """
        check_is_fitted(self)
        return self._score_samples(self._validate(X, reset=False))

    def quantize(self: Self, bits: int = 8) -> Self:
        """A smaller model that scores nearly alike; this one stays as it is.

        Thresholds and leaf values become few enough that codes of `bits` bits number them (`quantize_forest`), and the
        new model is stored as codes. Values that its scores do not use are left out. Threshold (`offset_`) and what
        was learned of the spread of the training rows' scores stay this model's.

        Parameters
        ----------
        bits : {8, 16}, default=8
            8 moves scores a little; 16 hardly ever moves any.

        Returns
        -------
        BaseIsolationForest
            Fitted, of this class, with `quantized_bits_` set. Of a quantised model the same again.

        Raises
        ------
        ValueError
            Other bits, or oblique splits (``extension_level > 0``).
        """
        check_is_fitted(self)
        forest = quantize_forest(self.forest_, bits)
        unused = OPTIONAL.intersection(LEAF_VALUES) - self._used_values()
        arrays = {name: array for name, array in forest.arrays().items() if name not in unused}
        model = self._with_forest(Forest(forest.n_features, **arrays))
        model.quantized_bits_ = min(bits, self.quantized_bits_ or bits)
        return model

    def prune(self: Self, tolerance: float = 0.001, X: MatrixLike | None = None) -> tuple[Self, PruningReport]:
        """A smaller model whose scores stay close to this one's; this one stays as it is.

        Subtrees become leaves where no score of any row can change by more than `tolerance`: that is proven, not
        sampled. What no row can reach, and splits between equal leaves, go at any tolerance. With validation rows `X`,
        trees go as well, as long as the scores of these rows change by no more than `tolerance`. For other rows nothing
        but the report's `bound` is then proven, which may be far above the tolerance.

        Threshold (`offset_`) and what was learned of the training rows stay this model's. The number of nodes decides
        what is cheap to score, so prune before you `quantize`.

        Parameters
        ----------
        tolerance : float in [0, 1), default=0.001
            Largest change of a score. Scores lie in [-1, 0).
        X : {array-like, sparse matrix} of shape (n_samples, n_features), default=None
            Rows like those to be scored, not those of the training: trees that they show to be redundant go.

        Returns
        -------
        model : BaseIsolationForest
            Fitted, of this class.
        report : PruningReport
            What went, the bound, and what was measured on `X`.

        Raises
        ------
        ValueError
            `tolerance` is no number in [0, 1), or `X` does not fit the model.
        """
        check_is_fitted(self)
        return prune(self, tolerance, None if X is None else self._validate(X, reset=False))

    @abstractmethod
    def _score_parts(self) -> ScoreParts:
        """How scores are made of leaf values."""

    def _with_parts(self: Self, parts: Sequence[Forest]) -> Self:
        """This model with other trees in place of those of each of its `_score_parts`."""
        return self._with_forest(Forest.concatenate(parts))

    def model_bytes(self) -> int:
        """Bytes of the forest's arrays as they are stored: packed where the model is quantised."""
        check_is_fitted(self)
        return self.forest_.nbytes if self.quantized_bits_ is None else PackedForest.of(self.forest_).nbytes

    @abstractmethod
    def _used_values(self) -> set[str]:
        """Which of the forest's leaf values scoring uses."""

    def _with_forest(self: Self, forest: Forest, **learned: object) -> Self:
        """This model with another forest, and what goes with it, in place of its own; all else that was learned and set
        stays."""
        model = copy(self)
        model.forest_, model.performance_ = forest, replace(self.performance_)
        model.__dict__.update(learned)
        model._value_leaves()
        return model

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        state = {name: value for name, value in state.items() if name not in self._derived}
        if self.quantized_bits_ is not None:
            state["forest_"] = PackedForest.of(self.forest_)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if hasattr(self, "forest_"):
            if isinstance(self.forest_, PackedForest):
                self.forest_ = self.forest_.unpack()
            self._value_leaves()

    def _validate(self, X: MatrixLike, *, reset: bool) -> Matrix:
        checked: Matrix = validate_data(
            self, X, accept_sparse="csr", dtype=np.float32, ensure_all_finite="allow-nan", reset=reset
        )
        return checked

    @staticmethod
    def _check_weight(sample_weight: ArrayLike, X: Matrix) -> NDArray[np.float64]:
        weight: NDArray[np.float64] = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        if not weight.any():
            raise ValueError("sample_weight is zero for every row; at least one row must have a positive weight")
        return weight

    def _score_samples(self, X: Matrix) -> NDArray[np.float64]:
        """`score_samples` without validation, which would warn of lost column names in `fit`."""
        began = time.perf_counter()
        scores = self._score(X)
        performance = self.performance_
        performance.score_seconds = time.perf_counter() - began
        performance.scored_rows = X.shape[0]
        performance.peak_process_memory = peak_process_memory()
        performance.peak_mlx_memory = self._scorer().peak_memory()
        return scores

    def _leaf_means(self, forest: Forest, values: NDArray[np.float32], X: Matrix) -> NDArray[np.float64]:
        """For every row the means over the trees of its leaf's values; sparse rows become dense a batch at a time.

        Parameters
        ----------
        values : ndarray of float32, shape (n_nodes,) or (n_nodes, n_values)

        Returns
        -------
        ndarray of float64, shape (n_samples,) or (n_samples, n_values)
        """
        batch_size = None if self.batch_size == "auto" else int(self.batch_size)
        columns = values[:, None] if values.ndim == 1 else values
        score = partial(self._scorer().leaf_means, forest, columns, n_threads=self._n_threads(), batch_size=batch_size)
        if issparse(X):
            rows = batch_size or max(1, DENSE_BYTES // (4 * X.shape[1]))
            means = np.concatenate([score(X[i : i + rows].toarray()) for i in range(0, X.shape[0], rows)])
        else:
            means = score(X)
        return means[:, 0] if values.ndim == 1 else means

    def _spread_rows(self, X: Matrix) -> NDArray[np.float32]:
        """At most `SPREAD_ROWS` rows, evenly spaced."""
        rows = X[:: -(-X.shape[0] // SPREAD_ROWS)]
        return rows.toarray() if issparse(X) else rows

    def _grow_plan(
        self,
        X: Matrix,
        plan: GrowthPlan,
        sample_weight: NDArray[np.float64] | None = None,
        transform: Callable[[NDArray[np.float32]], NDArray[np.float32]] | None = None,
    ) -> Forest:
        """Grow from the rows of the plan; only those are transformed or, where the data are sparse, become dense."""
        rows = None if sample_weight is None else plan.weighted_rows(sample_weight)
        if issparse(X) or transform is not None:
            rows = plan.rows() if rows is None else rows
            needed, positions = np.unique(rows, return_inverse=True)
            X, rows = X[needed], positions.reshape(rows.shape)
            X = X.toarray() if issparse(X) else X
            X = X if transform is None else transform(X)
        if rows is not None:
            plan = plan.with_rows(rows, len(X))
        return get_backend(self.backend_.name).grow(X, plan, n_threads=self._n_threads())

    def _draw_seed(self) -> None:
        words = check_random_state(self.random_state).randint(0, 2**32, size=2, dtype=np.uint64)
        self._seed = int(words[0]) | int(words[1]) << 32

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

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.allow_nan = True
        return tags
