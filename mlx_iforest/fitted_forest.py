"""`FittedForest`: how rows are checked and scored, batch by batch."""

from __future__ import annotations

import math
import time
from abc import ABCMeta, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from numbers import Integral, Real
from typing import Any, TypeVar

import numpy as np
from joblib import cpu_count, effective_n_jobs
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from mlx_iforest.backends import Backend, BackendChoice, BackendUnavailableError, backend_for, choose_backend
from mlx_iforest.backends.crossover import Work
from mlx_iforest.batches import as_float32, batches, rows_in_memory
from mlx_iforest.compress.pruning import ScoreParts
from mlx_iforest.explain.shapley import Explanation, explain
from mlx_iforest.finite import check_finite
from mlx_iforest.forest import Forest
from mlx_iforest.kernel_input import check_sparse
from mlx_iforest.performance import Performance, peak_process_memory
from mlx_iforest.scorer import FEWEST_THREADED_ROWS, Scorer
from mlx_iforest.threads import run

__all__ = ["FittedForest", "Matrix", "MatrixLike"]

MatrixLike = Any
"""An array-like or a sparse matrix, as users give it."""

Matrix = Any
"""An array of real numbers, of any dtype and layout, or a float32 CSR matrix: what `_accept` lets through."""

SPREAD_ROWS = 10_000
"""Training rows, evenly spaced, that tell the spread of columns and of leaf values."""

Self = TypeVar("Self", bound="FittedForest")


class FittedForest(OutlierMixin, BaseEstimator, metaclass=ABCMeta):
    """Scoring; a subclass fits, values leaves and turns their means into scores.

    Every public call works on a snapshot of the attributes, so that a fit in another thread comes before or after it.
    """

    n_jobs: int | None
    backend: str
    batch_size: str | int

    forest_: Forest
    offset_: float
    backend_: BackendChoice
    performance_: Performance

    @abstractmethod
    def _score(self, X: Matrix, backend: Backend) -> NDArray[np.float64]:
        """Scores in [-1, 0) of valid rows, float32 in C order, by a backend."""

    @abstractmethod
    def _score_parts(self) -> ScoreParts:
        """How scores are made of leaf values."""

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
        # Two lines: the decisions make room before the labels are made.
        is_anomaly = self.decision_function(X) < 0
        return np.where(is_anomaly, -1, 1)

    def decision_function(self, X: MatrixLike) -> NDArray[np.float64]:
        """``score_samples(X) - offset_``.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of float64, shape (n_samples,)
            Lower is more abnormal; negative is an anomaly.

        Raises
        ------
        ValueError
            `offset_` is not finite, or `X` is nothing that `score_samples` takes.
        """
        model = self._fitted()
        offset = model._threshold()
        scores = model._score_samples(X)
        scores -= offset
        return scores

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
        return self._fitted()._score_samples(X)

    def score_batches(
        self, parts: Iterable[MatrixLike], *, progress: Callable[[int], object] | None = None
    ) -> Iterator[NDArray[np.float64]]:
        """Score data that come in parts, such as those of a file larger than memory; one part at a time is held.

        Parameters
        ----------
        parts : iterable of {array-like, sparse matrix} of shape (n_rows, n_features)
            Taken one by one as scores are asked for; each is what `score_samples` takes.
        progress : callable, default=None
            Called with the number of rows scored so far, after each part.

        Yields
        ------
        ndarray of float64, shape (n_rows,)
            The scores of each part, bit for bit those of scoring all at once. All are by the model as it was when
            this was called.

        Raises
        ------
        TypeError
            One array or frame instead of several.
        ValueError
            A part cannot be used; the message names its number, from 1 up.

        Examples
        --------
        >>> from mlx_iforest import MLXIsolationForest
        >>> model = MLXIsolationForest(random_state=0).fit([[-1.1], [0.3], [0.5], [100]])
        >>> [len(scores) for scores in model.score_batches([[[0.1], [0.2]], [[90]]], progress=print)]
        2
        3
        [2, 1]
        """
        if hasattr(parts, "shape"):
            raise TypeError(
                f"score_batches takes an iterable of arrays or frames, got one {type(parts).__name__}; "
                "give it to score_samples, or in a list"
            )
        return self._fitted()._score_each(parts, progress)

    def _score_each(
        self, parts: Iterable[MatrixLike], progress: Callable[[int], object] | None
    ) -> Iterator[NDArray[np.float64]]:
        done = 0
        for number, part in enumerate(parts, 1):
            try:
                scores = self._score_samples(part)
            except (TypeError, ValueError) as error:
                raise ValueError(f"batch {number}: {error}") from error
            done += len(scores)
            if progress is not None:
                progress(done)
            yield scores

    def explain(self, X: MatrixLike, of: str = "path_length") -> Explanation:
        """What each feature of each row adds to its path length, density or score: exact Shapley values.

        What a tree says with only some features known is the mean over both sides, by the training samples that went
        there, wherever it asks of an unknown one (path-dependent TreeSHAP, [1]_). The values of a row and its base
        value add up to what is explained. A score is no sum over trees but a function of one or several means of such
        sums; each mean's Shapley values count times the average of the score's derivative by that mean along the
        straight line from the base to the row ([2]_). With one mean, that is one factor for all features of a row.

        A feature that changes no mean gets 0.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            As for `score_samples`.
        of : {'path_length', 'log_density', 'score'}, default='path_length'
            The mean over the trees of the leaves' path lengths, or of the logarithms of their densities, or what
            `score_samples` returns. All are lower for the more abnormal.

        Returns
        -------
        Explanation
            `values` of shape (n_samples, n_features), `base_values`, `data` and `feature_names`. It goes into the plots
            of the package `shap` as it is.

        Raises
        ------
        ValueError
            Oblique splits (``extension_level > 0``), densities that the forest does not have, or rows that
            `score_samples` would not take.

        References
        ----------
        .. [1] Lundberg et al. From local explanations to global understanding with explainable AI for trees. Nature
           Machine Intelligence 2, 2020.
        .. [2] Aumann and Shapley. Values of Non-Atomic Games. Princeton, 1974.

        Examples
        --------
        >>> from mlx_iforest import MLXIsolationForest
        >>> X = [[0.1, 5.0], [0.3, 5.2], [0.2, 5.1], [0.2, 9.0]]
        >>> explanation = MLXIsolationForest(random_state=0).fit(X).explain(X)
        >>> int(explanation.values[3].argmin())  # what makes the last row easy to isolate
        1
        """
        return explain(self._fitted(), X, of)

    def scorer(self) -> Scorer:
        """This model for services: fastest for a row at a time, safe from many threads, never changed.

        Returns
        -------
        Scorer
            Takes float32 arrays in C order as they are; gives the scores of `score_samples`, bit for bit.
        """
        model = self._fitted()
        return Scorer(model.n_features_in_, model._threshold(), model._score_rows)

    def _snapshot(self: Self) -> Self:
        """This model as it is now, its arrays shared; what other threads do to this one does not change it."""
        model = object.__new__(type(self))
        model.__dict__.update(self.__dict__)
        return model

    def _fitted(self: Self) -> Self:
        """A snapshot, or scikit-learn's error where nothing has been fitted."""
        model = self._snapshot()
        # `check_is_fitted` takes longer than scoring a row.
        if "forest_" not in model.__dict__:
            check_is_fitted(self)
        # It may have been put there by hand.
        model.forest_.ensure_valid()
        return model

    def _threshold(self) -> float:
        """`offset_`, which anyone may set."""
        offset: Any = self.offset_
        try:
            threshold = float(offset) if isinstance(offset, Real) else math.nan
        except OverflowError:
            threshold, offset = math.inf, "beyond all floats"
        if not math.isfinite(threshold):
            raise ValueError(f"offset_ is {str(offset)[:40]}; set it to a finite number, or fit again")
        return threshold

    def _validate(self, X: MatrixLike, *, reset: bool) -> Matrix:
        """Float32 rows in C order, or a float32 CSR matrix, checked as a whole."""
        data = self._accept(X, reset=reset)
        if issparse(data):
            return data
        check_finite(data)
        return as_float32(data)

    def _accept(self, X: MatrixLike, *, reset: bool) -> Matrix:
        """Check shape, type and column names. Arrays are neither copied nor looked through for infinities."""
        # Subclasses mean other things by the same names: a masked array's largest value is not its data's.
        is_numeric = type(X) is np.ndarray and X.dtype.kind in "fiub"
        if is_numeric and X.ndim == 2 and X.size:
            # What follows would find no more, in more time than scoring a row or growing twenty trees takes.
            if reset:
                self.n_features_in_ = X.shape[1]
                self.__dict__.pop("feature_names_in_", None)
                return X
            if X.shape[1] == self.n_features_in_ and not hasattr(self, "feature_names_in_"):
                return X
        if issparse(X):
            check_sparse(X)
        accepted: Matrix = validate_data(
            self,
            X,
            accept_sparse="csr",
            dtype=None if is_numeric else np.float32,
            ensure_all_finite="allow-nan" if issparse(X) else False,
            reset=reset,
        )
        if issparse(accepted) and accepted is not X:
            # Formats such as lists of rows tell only now where their entries lie.
            check_sparse(accepted)
        return accepted

    def _score_samples(self, X: MatrixLike) -> NDArray[np.float64]:
        data = self._accept(X, reset=False)
        return self._measured(data, check=not issparse(data))

    def _measured(self, data: Matrix, *, check: bool) -> NDArray[np.float64]:
        """`_score_rows`, with what they took in `performance_`."""
        began = time.perf_counter()
        scores, facts = self._scored(data, check=check)
        # In place, and all at once: models that share it are this one as other threads see it.
        self.performance_.__dict__.update(
            score_seconds=time.perf_counter() - began,
            scored_rows=len(scores),
            peak_process_memory=peak_process_memory(),
            **facts,
        )
        return scores

    def _score_rows(self, data: Matrix, *, check: bool = False) -> NDArray[np.float64]:
        """Scores of accepted rows, which are checked and become float32 a batch at a time."""
        return self._scored(data, check=check)[0]

    def _scored(self, data: Matrix, *, check: bool) -> tuple[NDArray[np.float64], dict[str, Any]]:
        """`_score_rows`, and what `performance_` tells of how that was done."""
        n_rows, n_features = data.shape
        scores = np.empty(n_rows)
        self._check_n_jobs()
        n_threads = self._n_threads() if n_rows > FEWEST_THREADED_ROWS else 1
        backend, choice = self._backend_for(lambda: Work.scoring(self.forest_, n_rows), n_threads)
        rows = backend.piece_rows(n_rows, n_features, n_threads)
        if rows is None:
            n_threads = 1
        else:
            rows = rows_in_memory(rows, n_features, n_threads)
        parts = list(batches(data, self._batch_rows(rows)))

        def score(rows: slice) -> None:
            part = data[rows]
            if check:
                check_finite(part)
            scores[rows] = self._score(as_float32(part), backend)

        run(score, parts, n_threads)
        return scores, {
            "scored_by": choice,
            "batch_rows": parts[0].stop if parts else 0,
            "peak_mlx_memory": backend.peak_memory(),
        }

    def _leaf_means(
        self, forest: Forest, values: NDArray[np.float32], X: Matrix, backend: Backend | None = None
    ) -> NDArray[np.float64]:
        """For every row the means over the trees of its leaf's values.

        Parameters
        ----------
        values : ndarray of float32, shape (n_nodes,) or (n_nodes, n_values)
        backend : Backend, optional
            The best one for so many rows where none is given.

        Returns
        -------
        ndarray of float64, shape (n_samples,) or (n_samples, n_values)
        """
        columns = values[:, None] if values.ndim == 1 else values
        if backend is None:
            backend, _ = self._backend_for(lambda: Work.scoring(forest, X.shape[0]), 1)
            parts = list(batches(X))
        else:
            parts = [slice(None)]
        means = [backend.leaf_means(forest, columns, as_float32(X[rows])) for rows in parts]
        joined = means[0] if len(means) == 1 else np.concatenate(means)
        return joined[:, 0] if values.ndim == 1 else joined

    def _spread_rows(self, X: Matrix) -> NDArray[np.float32]:
        """At most `SPREAD_ROWS` rows, evenly spaced."""
        return as_float32(X[:: -(-X.shape[0] // SPREAD_ROWS)])

    def _batch_rows(self, automatic: int | None) -> int | None:
        """Rows to take at a time; the parameter may have been set since it was checked."""
        if self.batch_size == "auto":
            return automatic
        if not isinstance(self.batch_size, Integral) or self.batch_size < 1:
            raise ValueError(
                f"The 'batch_size' parameter of {type(self).__name__} must be 'auto' or an int in the range [1, inf)."
                f" Got {self.batch_size!r} instead."
            )
        return int(self.batch_size)

    def _check_n_jobs(self) -> None:
        """Refuse what the parameter may have been set to since the fit."""
        if self.n_jobs is not None and not isinstance(self.n_jobs, Integral):
            raise ValueError(
                f"The 'n_jobs' parameter of {type(self).__name__} must be an int or None. Got {self.n_jobs!r} instead."
            )

    def _n_threads(self) -> int:
        self._check_n_jobs()
        return int(cpu_count() if self.n_jobs is None else effective_n_jobs(self.n_jobs))

    def _backend_for(self, work: Callable[[], Work], n_threads: int) -> tuple[Backend, BackendChoice]:
        """The backend for a piece of work, and why; where the one that was chosen is missing (a model from another
        machine), what 'auto' takes here."""
        try:
            return backend_for(self.backend_, self.backend, work, n_threads)
        except BackendUnavailableError:
            if self.backend != "auto":
                raise
            return backend_for(choose_backend("auto"), self.backend, work, n_threads)

    @classmethod
    @cache
    def _get_param_names(cls) -> list[str]:
        """Found once a class: scikit-learn reads the constructor's signature at every fit."""
        names: list[str] = super()._get_param_names()
        return names

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.allow_nan = True
        return tags
