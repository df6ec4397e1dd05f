"""`BaseIsolationForest`: fitting, quantising and pruning, around growing trees and valuing leaves."""

from __future__ import annotations

import os
import time
from abc import abstractmethod
from collections.abc import Callable
from copy import copy
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse
from sklearn.base import _fit_context
from sklearn.utils.validation import _check_sample_weight, check_is_fitted

from mlx_iforest.backends import choose_backend
from mlx_iforest.backends.crossover import Work
from mlx_iforest.batches import as_float32, is_plain
from mlx_iforest.compress.pruning import PruningReport, prune
from mlx_iforest.compress.quantization import PackedForest, quantize_forest, stored_bytes
from mlx_iforest.finite import check_finite
from mlx_iforest.fitted_forest import FittedForest, Matrix, MatrixLike
from mlx_iforest.forest import Forest
from mlx_iforest.growth import GrowthPlan
from mlx_iforest.offsets import AUTO, offset_of_share
from mlx_iforest.performance import Performance, peak_process_memory
from mlx_iforest.randomness import draw_seed
from mlx_iforest.resources import threads
from mlx_iforest.score_function import ScoreFunction

if TYPE_CHECKING:
    from onnx import ModelProto
    from sklearn.ensemble import IsolationForest

__all__ = ["BaseIsolationForest", "Matrix", "MatrixLike"]

Self = TypeVar("Self", bound="BaseIsolationForest")


class BaseIsolationForest(FittedForest):
    """Fitting, quantising and pruning; a subclass grows the forest, values its leaves and turns means into scores."""

    n_estimators: int
    contamination: str | float
    random_state: int | np.random.RandomState | None
    verbose: int

    max_samples_: int
    quantized_bits_: int | None = None
    pruned_: bool = False
    _seed: int

    @abstractmethod
    def _grow(self, X: Matrix, sample_weight: NDArray[np.float64] | None) -> None:
        """Set `forest_` and `max_samples_`."""

    @abstractmethod
    def _learn_scores(self, X: Matrix) -> None:
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
        # Other threads score by the fit before until this one is whole; a failure changes nothing.
        model = self._snapshot()
        model._fit(X, sample_weight)
        self.__dict__ = model.__dict__
        return self

    def _fit(self, X: MatrixLike, sample_weight: ArrayLike | None) -> None:
        data = self._accept(X, reset=not self._keeps_trees)
        if not issparse(data):
            check_finite(data, threads(self.n_jobs, type(self).__name__))
        weight = None if sample_weight is None else self._check_weight(sample_weight, data)
        self.performance_ = Performance(grow_seconds=0.0)
        began = time.perf_counter()
        self.backend_ = choose_backend(self.backend)
        self._grow(data, weight)
        self.quantized_bits_, self.pruned_ = None, False
        seconds = time.perf_counter() - began
        self.performance_.grow_seconds, self.performance_.peak_process_memory = seconds, peak_process_memory()
        if self.verbose:
            what = f"{self.forest_.n_trees} trees of {self.max_samples_} samples"
            print(f"a forest of {what} after {seconds:.3f} s ({(self.performance_.grown_by or self.backend_).name})")  # noqa: T201
        self.__dict__.pop("_scored", None)
        self._learn_scores(data)
        self._ready()
        self.offset_ = AUTO
        if self.contamination != "auto":
            self.offset_ = offset_of_share(self._model().score(data), float(self.contamination))

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
        model = model._with_forest(quantize_forest(model.forest_, bits, model._score_function().used))
        model.quantized_bits_ = min(bits, model.quantized_bits_ or bits)
        model._ready()
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
        model = self._fitted()
        pruned, report = prune(model._model(), tolerance, None if X is None else model._validate(X))
        smaller = model._with_forest(pruned.forest)
        smaller.pruned_ = True
        smaller._take_parts(pruned.function)
        smaller._ready()
        return smaller, report

    def _take_parts(self, function: ScoreFunction) -> None:
        """Note which trees belong to which part of the score function, where that is not plain."""

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

        return to_sklearn(self._fitted()._model(), self.get_params())

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

        return to_onnx(self._fitted()._model(), path)

    def model_bytes(self) -> int:
        """Bytes of the forest's arrays as they are stored: packed where the model is quantised."""
        check_is_fitted(self)
        return stored_bytes(self.forest_, self.quantized_bits_)

    @property
    def _keeps_trees(self) -> bool:
        """Whether the next fit adds trees to those that there are: it must be on the same columns."""
        return False

    def _with_forest(self: Self, forest: Forest) -> Self:
        """This model with another forest in place of its own; all else that was learned and set stays."""
        model = copy(self)
        model.forest_ = forest
        return model

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        state = {name: value for name, value in state.items() if name != "_scored"}
        if self.quantized_bits_ is not None:
            state["forest_"] = PackedForest.of(self.forest_)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if isinstance(state.get("forest_"), PackedForest):
            self.forest_ = state["forest_"].unpack()
        if "forest_" in state:
            self._ready()

    @staticmethod
    def _check_weight(sample_weight: ArrayLike, X: Matrix) -> NDArray[np.float64]:
        weight: NDArray[np.float64] = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        if not weight.any():
            raise ValueError("sample_weight is zero for every row; at least one row must have a positive weight")
        return weight

    def _grow_plan(
        self,
        X: Matrix,
        plan: GrowthPlan,
        sample_weight: NDArray[np.float64] | None = None,
        transform: Callable[[NDArray[np.float32]], NDArray[np.float32]] | None = None,
    ) -> Forest:
        """Grow from the rows of the plan; where data have to be converted or transformed, only those are."""
        rows = None if sample_weight is None else plan.weighted_rows(sample_weight)
        n_drawn = plan.n_trees * plan.subsample_size
        if n_drawn < X.shape[0] and (transform is not None or not is_plain(X)):
            drawn = plan.rows() if rows is None else rows
            X, rows = X[drawn.ravel()], np.arange(n_drawn).reshape(drawn.shape)
        X = as_float32(X)
        X = X if transform is None else transform(X)
        if rows is not None:
            plan = plan.with_rows(rows, len(X))
        resources = self._resources()
        n_threads = resources.threads()
        backend, self.performance_.grown_by = resources.backend_for(lambda: Work.growing(plan), n_threads)
        return backend.grow(X, plan, n_threads=n_threads)

    def _draw_seed(self) -> None:
        self._seed = draw_seed(self.random_state)
