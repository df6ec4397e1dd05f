"""`FittedForest`: how rows are checked, scored and explained."""

from __future__ import annotations

import time
from abc import ABCMeta, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from mlx_iforest.backends import BackendChoice
from mlx_iforest.batches import as_float32
from mlx_iforest.explain.shapley import Explanation, explain
from mlx_iforest.finite import check_finite
from mlx_iforest.forest import Forest
from mlx_iforest.kernel_input import check_sparse
from mlx_iforest.model import FittedModel, ScoredForest
from mlx_iforest.performance import Performance, ScoringPerformance, peak_process_memory
from mlx_iforest.resources import Resources
from mlx_iforest.score_function import ScoreFunction
from mlx_iforest.scorer import Scorer

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
    quantized_bits_: int | None
    _scored: ScoredForest
    performance_: Performance

    @abstractmethod
    def _score_function(self) -> ScoreFunction:
        """How scores are made of the forest's leaf values, by the fit: parameters may have been set since."""

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
        estimator = self._fitted()
        model = estimator._model()
        offset = model.threshold()
        scores = model.score(estimator._accept(X, reset=False), check=True)
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
        estimator = self._fitted()
        return estimator._model().score(estimator._accept(X, reset=False), check=True)

    def measure_scoring(self, X: MatrixLike) -> ScoringPerformance:
        """What `score_samples` takes of time and memory here, and who does it: scores once, and measures that.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ScoringPerformance
            The first scoring of a model also pays for what is made once; measure the second.
        """
        began = time.perf_counter()
        estimator = self._fitted()
        data = estimator._accept(X, reset=False)
        _, (scored_by, batch_rows, backend) = estimator._model().score_and_facts(data, check=True)
        seconds = time.perf_counter() - began
        return ScoringPerformance(
            seconds, data.shape[0], scored_by, batch_rows, peak_process_memory(), backend.peak_memory()
        )

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
                scores = self.score_samples(part)
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
        estimator = self._fitted()
        return explain(estimator._model(), estimator._accept(X, reset=False), of, given=X)

    def scorer(self) -> Scorer:
        """This model for services: fastest for a row at a time, safe from many threads, never changed.

        Returns
        -------
        Scorer
            Takes float32 arrays in C order as they are; gives the scores of `score_samples`, bit for bit.
        """
        return Scorer(self._fitted()._model())

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

    def _model(self) -> FittedModel:
        """This estimator's forest, offset and resources as they are now."""
        names = self.__dict__.get("feature_names_in_")
        return FittedModel(self._ready(), self.offset_, self.quantized_bits_, self._resources(), names)

    def _ready(self) -> ScoredForest:
        """The forest made ready for scoring; anew where another one was put in its place."""
        scored = self.__dict__.get("_scored")
        if scored is None or scored.forest is not self.forest_:
            scored = self._scored = ScoredForest(self.forest_, self._score_function())
        return scored

    def _resources(self) -> Resources:
        return Resources(self.backend_, self.backend, self.n_jobs, self.batch_size, type(self).__name__)

    def _validate(self, X: MatrixLike) -> Matrix:
        """Float32 rows in C order, or a float32 CSR matrix, checked as a whole."""
        data = self._accept(X, reset=False)
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

    def _spread_rows(self, X: Matrix) -> NDArray[np.float32]:
        """At most `SPREAD_ROWS` rows, evenly spaced."""
        return as_float32(X[:: -(-X.shape[0] // SPREAD_ROWS)])

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
