"""`BaseIsolationForest`: fitting, quantising and pruning, around growing trees and valuing leaves."""

from __future__ import annotations

import os
import time
from abc import ABCMeta, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import _fit_context
from sklearn.utils.validation import _check_sample_weight, _get_feature_names

from mlx_iforest.backends import BackendChoice, choose_backend
from mlx_iforest.backends.crossover import Work
from mlx_iforest.batches import as_float32, is_plain, issparse
from mlx_iforest.compress.pruning import prune
from mlx_iforest.compress.quantization import PackedForest, quantize_forest, stored_bytes
from mlx_iforest.feedback import as_verdicts, leaves_of
from mlx_iforest.finite import check_finite
from mlx_iforest.fitted_forest import FittedForest, Matrix, MatrixLike
from mlx_iforest.forest import Forest
from mlx_iforest.growth import GrowthPlan
from mlx_iforest.guards import guarded
from mlx_iforest.model import FittedModel, ScoredForest
from mlx_iforest.offsets import AUTO, offset_of_share
from mlx_iforest.performance import Performance, peak_process_memory
from mlx_iforest.resources import Resources, threads

if TYPE_CHECKING:
    from onnx import ModelProto
    from sklearn.ensemble import IsolationForest

__all__ = ["BaseIsolationForest", "Grown", "Matrix", "MatrixLike", "grow_trees"]

Self = TypeVar("Self", bound="BaseIsolationForest")


class Grown(NamedTuple):
    """What growing gives.

    Attributes
    ----------
    forest : Forest
    max_samples : int
        Rows of the largest trees.
    seed : int
    grown_by : BackendChoice or None
        None where a warm start has all trees already.
    """

    forest: Forest
    max_samples: int
    seed: int
    grown_by: BackendChoice | None


class BaseIsolationForest(FittedForest, metaclass=ABCMeta):
    """Fitting, quantising and pruning; a subclass grows the forest and says how its leaves make scores."""

    n_estimators: int
    contamination: str | float
    random_state: int | np.random.RandomState | None
    verbose: int
    warm_start = False

    @abstractmethod
    def _grow(self, X: Matrix, sample_weight: NDArray[np.float64] | None, resources: Resources) -> Grown:
        """Grow the forest."""

    @abstractmethod
    def _value(self, grown: Grown, X: Matrix, resources: Resources) -> ScoredForest:
        """Learn from the training rows what scoring needs besides the forest."""

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
        # Parameters that are set meanwhile count for the next fit; a failure changes nothing.
        self._model = self._snapshot()._fit(X, sample_weight)
        return self

    def _fit(self, X: MatrixLike, sample_weight: ArrayLike | None) -> FittedModel:
        before = self._warm()
        names = _get_feature_names(X) if before is None else before.feature_names
        data = self._accept(X, before)
        if not issparse(data):
            check_finite(data, threads(self.n_jobs, type(self).__name__))
        weight = None if sample_weight is None else self._check_weight(sample_weight, data)
        began = time.perf_counter()
        resources = self._resources(choose_backend(self.backend))
        grown = self._grow(data, weight, resources)
        performance = Performance(time.perf_counter() - began, peak_process_memory(), grown.grown_by)
        if self.verbose:
            what = f"{grown.forest.n_trees} trees of {grown.max_samples} samples"
            by = grown.grown_by or resources.backend
            print(f"a forest of {what} after {performance.grow_seconds:.3f} s ({by.name})")  # noqa: T201
        scored = self._value(grown, data, resources)
        model = FittedModel(scored, AUTO, resources, names, grown.max_samples, grown.seed, performance)
        if self.contamination == "auto":
            return model
        return model._replace(offset=offset_of_share(model.score(data), float(self.contamination)))

    def _warm(self) -> FittedModel | None:
        """The model whose trees the next fit keeps: it must be on the same columns."""
        return self.__dict__.get("_model") if self.warm_start else None

    def feedback(self: Self, X: MatrixLike, y: ArrayLike) -> Self:
        """Learn from verdicts: rows like those judged move with them, at once.

        Each verdict adds to the values of the leaves that its row falls into (`mlx_iforest.feedback`): towards abnormal
        for an anomaly, towards normal for a normal row. Further calls add to the log of verdicts, `feedback_`, and the
        scores are those of one call with all of them; their order does not matter. `forget` takes verdicts back, and a
        fit begins without any.

        `offset_` stays as it is, so that judged rows cross it. What is learned of the training rows stays too.
        `prune`, `quantize`, `to_onnx` and `to_sklearn` take the leaf values as they are, so what they make scores as
        this model does, and has no verdicts to forget.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The rows that were judged; as for `score_samples`. They are not kept: the log has their leaves.
        y : array-like of shape (n_samples,)
            -1 for an anomaly, +1 for a normal row.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            Other verdicts, rows that `score_samples` would not take, or more than `feedback.MOST_VERDICTS` in all. The
            model stays as it is.

        Examples
        --------
        >>> from mlx_iforest import MLXIsolationForest
        >>> model = MLXIsolationForest(random_state=0).fit([[-1.1], [0.3], [0.5], [0.4], [100]])
        >>> before = model.score_samples([[90]])
        >>> bool(model.feedback([[100]], [1]).score_samples([[90]]) > before)
        True
        >>> bool(model.forget().score_samples([[90]]) == before)
        True
        """
        model = self._fitted()
        rows = self._validate(X, model)
        verdicts = as_verdicts(y, rows.shape[0])
        rows = rows.toarray() if issparse(rows) else rows
        self._model = model.taught(model.log().with_more(leaves_of(model.forest, rows), verdicts))
        return self

    def forget(self: Self, verdicts: ArrayLike | None = None) -> Self:
        """Take verdicts back: the model is as if they had never been given.

        Parameters
        ----------
        verdicts : int or array-like of int, default=None
            Their places in `feedback_`; -1 is the last. None forgets all: the scores are bit for bit those of the fit.

        Returns
        -------
        self

        Raises
        ------
        IndexError
            There is no such verdict.
        TypeError
            Something else than whole numbers.
        """
        model = self._fitted()
        log = model.log()
        self._model = model.taught(log.without(range(len(log.verdicts)) if verdicts is None else verdicts))
        return self

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
        model = self._fitted()
        forest = quantize_forest(model.forest, bits, model.function.used)
        bits = min(bits, model.quantized_bits or bits)
        return self._snapshot(_model=model.with_forest(forest, model.function, quantized_bits=bits))

    def prune(self: Self, tolerance: float = 0.001, X: MatrixLike | None = None) -> Self:
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
        BaseIsolationForest
            Fitted, of this class, with `pruned_` set. Its `pruning_` is a `PruningReport`: what went, the bound, and
            what was measured on `X`.

        Raises
        ------
        ValueError
            `tolerance` is no number in [0, 1), or `X` does not fit the model.
        """
        model = self._fitted()
        return self._snapshot(_model=prune(model, tolerance, None if X is None else self._validate(X, model)))

    def to_sklearn(self) -> IsolationForest:
        """A fitted scikit-learn isolation forest of the same trees, for where only scikit-learn is installed.

        Returns
        -------
        sklearn.ensemble.IsolationForest
            Its scores differ by less than 1e-6, also for missing values and for values on thresholds. Threshold
            (`offset_`), column names and parameters are this model's, but an `offset_` that is not -0.5 comes out lower
            by about that much, so that rows which score just that stay normal, and it does not grow further
            (``warm_start=False``). It pickles, and scores where this library is not installed. Of a quantised or pruned
            model it scores alike too; programs that work path lengths out anew, from depths and samples, differ there.

        Raises
        ------
        ValueError
            Scikit-learn cannot do what this model does: densities, a blend, oblique splits.
        """
        # Imported when asked for: scikit-learn's ensembles take a tenth of a second.
        from mlx_iforest.convert.scikit_learn import to_sklearn

        return to_sklearn(self._fitted(), self.get_params())

    def to_onnx(self, path: str | os.PathLike[str] | None = None) -> ModelProto:
        """An ONNX model that scores as this one does, for other languages and for where this library is not installed.

        It takes ``X``, float32 of shape (rows, n_features), NaN where a value is missing, and gives ``scores``, float32
        of shape (rows,), as `score_samples`, and ``labels``, int64 of shape (rows,), as `predict`. All scorings can be
        exported, those of `BlendedIsolationForest`, of quantised and of pruned models too. Oblique splits take 4 bytes
        of memory for each row and split, so score them a few thousand rows at a time.

        Parameters
        ----------
        path : path, optional
            Where to write it, by custom ``*.onnx``; missing folders are made. An older file of that name stays as it is
            until the new one is whole.

        Returns
        -------
        onnx.ModelProto
            Checked with onnxruntime on rows on and next to thresholds and with missing values: scores differ by at most
            1e-5, labels only where rounding carries a score across the threshold. It needs opset 9 and ai.onnx.ml 1.
            Its metadata are `scoring`, `offset` (that of the labels, as for `to_sklearn`) and, where there are any,
            `feature_names` as JSON.

        Raises
        ------
        ImportError
            onnx or onnxruntime is missing: ``pip install 'mlx-iforest[onnx]'``.
        ValueError
            The check failed, or the forest is too large for an ONNX model.
        OSError
            The file cannot be written.
        """
        from mlx_iforest.convert.onnx import to_onnx

        return to_onnx(self._fitted(), path)

    def model_bytes(self) -> int:
        """Bytes of the forest's arrays as they are stored: packed where the model is quantised."""
        model = self._fitted()
        return stored_bytes(model.forest, model.quantized_bits)

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        model = state.get("_model")
        if model is None or model.quantized_bits is None:
            return state
        return {**state, "_model": model._replace(scored=(PackedForest.of(model.forest), model.function))}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        model = state.get("_model")
        if model is not None and model.quantized_bits is not None:
            packed, function = model.scored
            self._model = model.with_forest(packed.unpack(), function, feedback=model.feedback)

    @staticmethod
    def _check_weight(sample_weight: ArrayLike, X: Matrix) -> NDArray[np.float64]:
        weight: NDArray[np.float64] = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        if not weight.any():
            raise ValueError("sample_weight is zero for every row; at least one row must have a positive weight")
        return weight


def grow_trees(
    X: Matrix,
    plan: GrowthPlan,
    resources: Resources,
    sample_weight: NDArray[np.float64] | None = None,
    transform: Callable[[NDArray[np.float32]], NDArray[np.float32]] | None = None,
    margin: float | None = None,
) -> tuple[Forest, BackendChoice]:
    """Grow from the rows of the plan; where data have to be converted or transformed, only those are.

    With a `margin` the trees have guards (`guarded`).

    Returns
    -------
    forest : Forest
    grown_by : BackendChoice
    """
    rows = None if sample_weight is None else plan.weighted_rows(sample_weight)
    n_drawn = plan.n_trees * plan.subsample_size
    if n_drawn < X.shape[0] and (transform is not None or not is_plain(X)):
        drawn = plan.rows() if rows is None else rows
        X, rows = X[drawn.ravel()], np.arange(n_drawn).reshape(drawn.shape)
    X = as_float32(X)
    X = X if transform is None else transform(X)
    if rows is not None:
        plan = plan.with_rows(rows, len(X))
    n_threads = resources.threads()
    backend, grown_by = resources.backend_for(lambda: Work.growing(plan), n_threads)
    forest = backend.grow(X, plan, n_threads=n_threads)
    return (forest if margin is None else guarded(forest, X, plan.rows(), margin)), grown_by
