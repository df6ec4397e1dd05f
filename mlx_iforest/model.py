"""`FittedModel`: a forest, how it scores, and where: all that scoring, explaining, pruning and exporting need."""

from __future__ import annotations

import math
from copy import copy
from numbers import Real
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlx_iforest.backends import Backend, BackendChoice
from mlx_iforest.backends.crossover import Work
from mlx_iforest.batches import as_float32, batches, issparse, rows_in_memory
from mlx_iforest.feedback import Feedback
from mlx_iforest.finite import check_finite
from mlx_iforest.forest import Forest
from mlx_iforest.performance import Performance, PruningReport
from mlx_iforest.resources import Resources
from mlx_iforest.score_function import Part, ScoreFunction
from mlx_iforest.threads import FEWEST_THREADED_ROWS, run

if TYPE_CHECKING:
    from mlx_iforest.stream import Stream

__all__ = ["FittedModel", "ScoredForest"]


class ScoredForest:
    """A forest and a score function, made ready: leaf values where backends read them.

    Parameters
    ----------
    forest : Forest
    function : ScoreFunction
        Of this forest's trees.

    Raises
    ------
    InvalidForestError
        The forest is not valid.
    """

    def __init__(self, forest: Forest, function: ScoreFunction) -> None:
        forest.ensure_valid()
        self.forest, self.function = forest, function
        self.tables = [self._table(part) for part in function.parts]

    def __reduce__(self) -> Any:
        return ScoredForest, (self.forest, self.function)

    def _table(self, part: Part) -> tuple[Forest, NDArray[np.float32]]:
        """Its trees, and the leaf values of its views."""
        whole = (part.first, part.stop) == (0, self.forest.n_trees)
        trees = self.forest if whole else self.forest.trees(part.first, part.stop)
        arrays = trees.arrays()
        values = [arrays[view.leaf_value] for view in part.views]
        # One view's values stay where they are: the forest may have been made ready for them before.
        return trees, values[0][:, None] if len(values) == 1 else np.stack(values, axis=1)

    def standardised(self, function: ScoreFunction) -> ScoredForest:
        """The same with a function whose views have other spreads; what was made ready stays."""
        other = copy(self)
        other.function = function
        return other

    def columns(self, X: NDArray[np.float32], backend: Backend) -> NDArray[np.float64]:
        """The views' values of valid rows, shape (n_samples, n_views)."""
        views = self.function.views
        if len(views) == 1 and views[0].spread is None:
            return backend.leaf_means(*self.tables[0], X)
        # View by view, as the soft minimum reads them.
        columns = np.empty((len(views), len(X)))
        means = (mean for table in self.tables for mean in backend.leaf_means(*table, X).T)
        for column, view, mean in zip(columns, views, means, strict=True):
            column[:] = mean if view.spread is None else view.spread.standardise(mean)
        return columns.T

    def scores(self, X: NDArray[np.float32], backend: Backend) -> NDArray[np.float64]:
        """Scores in [-1, 0) of valid rows, float32 in C order."""
        scores = self.function.scores(self.columns(X, backend))
        return scores if self.function.given is None else self.function.given.lower(scores, X)


class FittedModel(NamedTuple):
    """All that a fit leaves behind, without the estimator around it; nothing changes it.

    Attributes
    ----------
    scored : ScoredForest
    offset : float
        Scores below it are anomalies.
    resources : Resources
        Of the fit. An estimator scores with its parameters of the moment.
    feature_names : ndarray of str or None
        Of the training data.
    max_samples : int
        Rows of the largest trees.
    seed : int
        64 bits, of which all trees were drawn.
    performance : Performance
    quantized_bits : int or None
        None for a forest that is stored as it is.
    pruned : bool
        Whether trees are no longer those of the fit.
    pruning : PruningReport or None
        Of the last pruning, where that was in this process or what it pickled.
    feedback : Feedback or None
        The verdicts that moved the leaf values of `scored`; None where there are none to forget.
    stream : Stream or None
        What trees have been grown anew on since the fit; None where no stream has begun.
    """

    scored: ScoredForest
    offset: float
    resources: Resources
    feature_names: Any
    max_samples: int
    seed: int
    performance: Performance
    quantized_bits: int | None = None
    pruned: bool = False
    pruning: PruningReport | None = None
    feedback: Feedback | None = None
    stream: Stream | None = None

    @property
    def forest(self) -> Forest:
        return self.scored.forest

    @property
    def function(self) -> ScoreFunction:
        return self.scored.function

    def threshold(self) -> float:
        """`offset`, which anyone may have set.

        Raises
        ------
        ValueError
            It is not finite.
        """
        offset: Any = self.offset
        try:
            threshold = float(offset) if isinstance(offset, Real) else math.nan
        except OverflowError:
            threshold, offset = math.inf, "beyond all floats"
        if not math.isfinite(threshold):
            raise ValueError(f"offset_ is {str(offset)[:40]}; set it to a finite number, or fit again")
        return threshold

    def with_forest(self, forest: Forest, function: ScoreFunction, **changes: Any) -> FittedModel:
        """This model with another forest, how that one scores, and what else is different; no verdicts, no stream."""
        return self._replace(scored=ScoredForest(forest, function), **{"feedback": None, "stream": None, **changes})

    def log(self) -> Feedback:
        """The verdicts so far."""
        return Feedback.none(self.forest, self.function) if self.feedback is None else self.feedback

    def taught(self, feedback: Feedback) -> FittedModel:
        """This model as it is after all the verdicts of a log of its own, and no others."""
        if not len(feedback.verdicts):
            return self.with_forest(feedback.forget_all(self.forest), self.function, stream=self.stream)
        taught = feedback.teach(self.forest, self.function)
        return self.with_forest(taught, self.function, feedback=feedback, stream=self.stream)

    def score(self, X: Any, *, check: bool = False) -> NDArray[np.float64]:
        """Scores of rows, which become float32 a batch at a time.

        Parameters
        ----------
        X : ndarray or CSR matrix of shape (n_samples, n_features)
            Real numbers, as many features as the forest has.
        check : bool
            Whether to refuse infinities.

        Returns
        -------
        ndarray of float64, shape (n_samples,)
            In [-1, 0); lower is more abnormal.
        """
        return self.score_and_facts(X, check=check)[0]

    def score_and_facts(self, X: Any, *, check: bool) -> tuple[NDArray[np.float64], tuple[BackendChoice, int, Backend]]:
        """`score`, and who did it, the rows of a batch and the backend."""
        n_rows, n_features = X.shape
        scores = np.empty(n_rows)
        forest, resources, check = self.scored.forest, self.resources, check and not issparse(X)
        resources.check_n_jobs()
        n_threads = resources.threads() if n_rows > FEWEST_THREADED_ROWS else 1
        backend, choice = resources.backend_for(lambda: Work.scoring(forest, n_rows), n_threads)
        rows = backend.piece_rows(n_rows, n_features, n_threads)
        if rows is None:
            n_threads = 1
        else:
            rows = rows_in_memory(rows, n_features, n_threads)
        parts = list(batches(X, resources.batch_rows(rows)))

        def score(rows: slice) -> None:
            part = X[rows]
            if check:
                check_finite(part)
            scores[rows] = self.scored.scores(as_float32(part), backend)

        run(score, parts, n_threads)
        return scores, (choice, parts[0].stop if parts else 0, backend)
