"""`FittedForest`: how rows are checked, scored and explained."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, OutlierMixin
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from mlx_iforest.backends import BackendChoice
from mlx_iforest.batches import as_float32, issparse
from mlx_iforest.device_arrays import library_of
from mlx_iforest.device_arrays import score as score_array
from mlx_iforest.explain.explanation import Explanation
from mlx_iforest.explain.shapley import explain
from mlx_iforest.finite import check_finite
from mlx_iforest.kernel_input import check_sparse
from mlx_iforest.model import FittedModel
from mlx_iforest.performance import ScoringPerformance, peak_process_memory
from mlx_iforest.resources import Resources
from mlx_iforest.scorer import Scorer

__all__ = ["FittedForest", "Matrix", "MatrixLike"]

MatrixLike = Any
"""An array-like or a sparse matrix, as users give it."""

Matrix = Any
"""An array of real numbers, of any dtype and layout, or a float32 CSR matrix: what `_accept` lets through."""

Self = TypeVar("Self", bound="FittedForest")
Learned = TypeVar("Learned")


class _Learned(Generic[Learned]):
    """A public attribute that is read off the fitted model, and missing before a fit and where the model has none."""

    def __init__(self, get: Callable[[FittedModel], Learned]) -> None:
        self._get = get

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, estimator: FittedForest | None, owner: type) -> Learned:
        model = None if estimator is None else estimator.__dict__.get("_model")
        if model is None:
            raise AttributeError(f"{owner.__name__!r} object has no attribute {self._name!r}; a fit gives it one")
        return self._get(model)

    def __set__(self, estimator: FittedForest, value: object) -> None:
        raise AttributeError(f"{self._name} is what a fit found out, and cannot be set; fit again")


class FittedForest(OutlierMixin, BaseEstimator):
    """Scoring; a subclass fits.

    A fit puts one `FittedModel` in the place of the one before, and every public call takes the one that is there: a
    fit in another thread comes before or after it.
    """

    n_jobs: int | None
    backend: str
    batch_size: str | int

    _model: FittedModel

    forest_ = _Learned(lambda model: model.forest)
    max_samples_ = _Learned(lambda model: model.max_samples)
    quantized_bits_ = _Learned(lambda model: model.quantized_bits)
    pruned_ = _Learned(lambda model: model.pruned)
    pruning_ = _Learned(lambda model: model.pruning)
    backend_ = _Learned(lambda model: model.resources.backend)
    performance_ = _Learned(lambda model: model.performance)
    feedback_ = _Learned(lambda model: model.log().verdicts.copy())
    n_features_in_ = _Learned(lambda model: model.forest.n_features)

    @property
    def feature_names_in_(self) -> NDArray[np.object_]:
        model = self.__dict__.get("_model")
        if model is None or model.feature_names is None:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute 'feature_names_in_'")
        names: NDArray[np.object_] = model.feature_names
        return names

    @property
    def offset_(self) -> float:
        if "_model" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute 'offset_'")
        return self._model.offset

    @offset_.setter
    def offset_(self, offset: float) -> None:
        self._fitted()
        self._model = self._model._replace(offset=offset)

    def predict(self, X: MatrixLike) -> NDArray[np.int64]:
        """+1 for a normal row, -1 for an anomaly.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of int64, shape (n_samples,), or an array of X's library (see `score_samples`)
            -1 where ``decision_function(X) < 0``.
        """
        # Two lines: the decisions make room before the labels are made.
        is_anomaly = self.decision_function(X) < 0
        library = library_of(X)
        return np.where(is_anomaly, -1, 1) if library is None else library.labels(is_anomaly)

    def decision_function(self, X: MatrixLike) -> NDArray[np.float64]:
        """``score_samples(X) - offset_``.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of float64, shape (n_samples,), or an array of X's library (see `score_samples`)
            Lower is more abnormal; negative is an anomaly.

        Raises
        ------
        ValueError
            `offset_` is not finite, or `X` is nothing that `score_samples` takes.
        """
        model = self._fitted()
        offset = model.threshold()
        scores = self._scores(X, model)
        scores -= offset
        return scores

    def score_samples(self, X: MatrixLike) -> NDArray[np.float64]:
        """The opposite of the anomaly score of Liu, Ting and Zhou (2008, equation 2), or what stands in its place.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Used as float32. NaN is a missing value; infinities are refused. Arrays of MLX are scored on its GPU, where
            there is one, without a way through the host; those of PyTorch and CuPy go through it.

        Returns
        -------
        ndarray of float64, shape (n_samples,), or for those three an array of the same library
            In [-1, 0); lower is more abnormal. MLX's are float32, within 1e-6 of the host's.
        """
        return self._scores(X, self._fitted())

    def _scores(self, X: MatrixLike, model: FittedModel) -> Any:
        library = library_of(X)
        if library is not None:
            return score_array(model, X, library, check=True)
        return model.score(self._accept(X, model), check=True)

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
        model = self._fitted()
        data = self._accept(X, model)
        _, (scored_by, batch_rows, backend) = model.score_and_facts(data, check=True)
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
        return self._score_each(parts, self._fitted(), progress)

    def _score_each(
        self, parts: Iterable[MatrixLike], model: FittedModel, progress: Callable[[int], object] | None
    ) -> Iterator[NDArray[np.float64]]:
        done = 0
        for number, part in enumerate(parts, 1):
            try:
                scores = model.score(self._accept(part, model), check=True)
            except (TypeError, ValueError) as error:
                raise ValueError(f"batch {number}: {error}") from error
            done += len(scores)
            if progress is not None:
                progress(done)
            yield scores

    def explain(
        self, X: MatrixLike, of: str = "path_length", *, background: MatrixLike = None, interactions: bool = False
    ) -> Explanation:
        """What each feature of each row adds to its path length, density or score: exact Shapley values.

        What a tree says with only some features known is the mean over both sides, by the training samples that went
        there, wherever it asks of an unknown one (path-dependent TreeSHAP, [1]_). The values of a row and its base
        value add up to what is explained. A score is no sum over trees but a function of one or several means of such
        sums; each mean's Shapley values count times the average of the score's derivative by that mean along the
        straight line from the base to the row ([2]_). With one mean, that is one factor for all features of a row.

        A feature that changes no mean gets 0.

        With a background, a row is compared with each of its rows: an unknown feature has the value that it has there
        (interventional TreeSHAP). The values are means over the background, so they and what the model says of it on
        average add up. Time grows with its rows; a hundred are usual. Oblique splits (``extension_level > 0``) are
        explained so alone, up to 16 features: by scoring all mixtures of both rows, so time doubles with each feature.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            As for `score_samples`.
        of : {'path_length', 'log_density', 'score'}, default='path_length'
            The mean over the trees of the leaves' path lengths, or of the logarithms of their densities, or what
            `score_samples` returns. All are lower for the more abnormal.
        background : {array-like, sparse matrix} of shape (n_rows, n_features), default=None
            Rows that `score_samples` would take, such as those that are known to be normal.
        interactions : bool, default=False
            Whether to share Shapley values further out among pairs of features: exact Shapley interaction values
            ([3]_). Memory is that of n_features squared for each row.

        Returns
        -------
        Explanation
            `values` of shape (n_samples, n_features), `base_values`, `data` and `feature_names`; with interactions
            `values` of shape (n_samples, n_features, n_features). It goes into the plots of the package `shap` as it
            is, and `importance()` has the means of sizes over the rows.

        Raises
        ------
        ValueError
            Oblique splits without a background, with interactions or with many features, densities that the forest
            does not have, or rows that `score_samples` would not take.

        References
        ----------
        .. [1] Lundberg et al. From local explanations to global understanding with explainable AI for trees. Nature
           Machine Intelligence 2, 2020.
        .. [2] Aumann and Shapley. Values of Non-Atomic Games. Princeton, 1974.
        .. [3] Grabisch and Roubens. An axiomatic approach to the concept of interaction among players in cooperative
           games. International Journal of Game Theory 28, 1999.

        Examples
        --------
        >>> from mlx_iforest import MLXIsolationForest
        >>> X = [[0.1, 5.0], [0.3, 5.2], [0.2, 5.1], [0.2, 9.0]]
        >>> explanation = MLXIsolationForest(random_state=0).fit(X).explain(X)
        >>> int(explanation.values[3].argmin())  # what makes the last row easy to isolate
        1
        """
        model = self._fitted()
        if background is not None:
            background = self._validate(background, model)
        data = self._accept(X, model)
        return explain(model, data, of, background=background, interactions=interactions, given=X)

    def scorer(self) -> Scorer:
        """This model for services: fastest for a row at a time, safe from many threads, never changed.

        Returns
        -------
        Scorer
            Takes float32 arrays in C order as they are; gives the scores of `score_samples`, bit for bit.
        """
        return Scorer(self._fitted())

    def __sklearn_is_fitted__(self) -> bool:
        return "_model" in self.__dict__

    def _snapshot(self: Self, **changes: Any) -> Self:
        """An estimator of the same parameters and fitted model, but for `changes`."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__, **changes)
        return other

    def _fitted(self) -> FittedModel:
        """The fitted model with the parameters of the moment, or scikit-learn's error where there is none."""
        # `check_is_fitted` takes longer than scoring a row.
        if "_model" not in self.__dict__:
            check_is_fitted(self)
        model = self._model
        return model._replace(resources=self._resources(model.resources.backend))

    def _resources(self, backend: BackendChoice) -> Resources:
        return Resources(backend, self.backend, self.n_jobs, self.batch_size, type(self).__name__)

    def _validate(self, X: MatrixLike, model: FittedModel) -> Matrix:
        """Float32 rows in C order, or a float32 CSR matrix, checked as a whole."""
        data = self._accept(X, model)
        if issparse(data):
            return data
        check_finite(data)
        return as_float32(data)

    def _accept(self, X: MatrixLike, model: FittedModel | None) -> Matrix:
        """Check shape, type and, where there is a model, that columns and their names are those of its fit.

        Arrays are neither copied nor looked through for infinities.
        """
        # Subclasses mean other things by the same names: a masked array's largest value is not its data's.
        is_numeric = type(X) is np.ndarray and X.dtype.kind in "fiub"
        plain = is_numeric and X.ndim == 2 and X.size > 0
        if plain and (model is None or (X.shape[1] == model.forest.n_features and model.feature_names is None)):
            # What follows would find no more, in more time than scoring a row or growing twenty trees takes.
            return X
        if issparse(X):
            check_sparse(X)
        how: dict[str, Any] = {
            "accept_sparse": "csr",
            "dtype": None if is_numeric else np.float32,
            "ensure_all_finite": "allow-nan" if issparse(X) else False,
        }
        if model is None:
            accepted: Matrix = check_array(X, input_name="X", estimator=self, **how)
        else:
            # By attributes of an estimator, and this one may have been fitted anew.
            accepted = validate_data(self._snapshot(_model=model), X, reset=False, **how)
        if issparse(accepted) and accepted is not X:
            # Formats such as lists of rows tell only now where their entries lie.
            check_sparse(accepted)
        return accepted

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
