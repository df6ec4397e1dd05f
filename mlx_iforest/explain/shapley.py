"""Exact Shapley values of a fitted forest's path lengths, densities and scores."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mlx_iforest.backends import Backend, get_backend
from mlx_iforest.backends.memoize import MadeOnce
from mlx_iforest.batches import as_float32, batches, issparse
from mlx_iforest.explain.reference import ReferenceTrees, expectations, gauss_legendre
from mlx_iforest.finite import check_finite
from mlx_iforest.forest import Forest
from mlx_iforest.model import FittedModel, ScoredForest
from mlx_iforest.score_function import Identity, Part, ScoreFunction
from mlx_iforest.threads import run

__all__ = ["EXPLAINED", "Explanation", "explain"]

EXPLAINED = ("path_length", "log_density", "score")
"""What can be explained."""

POINTS = 32
"""Of the integral along the way from the base to a row, where a score is made of several means."""

SAME = 1e-6
"""Closer together than so, a row's mean and the base have the slope of the point between them."""

BATCH_BYTES = 1 << 20
"""Of one array of a batch's Shapley values; a few are in use at a time in each thread."""

FEWEST_ROWS = 256
"""Of a batch, however wide rows are and however many threads there are."""


class Explainer(Protocol):
    """Trees, and values of their leaves, made ready to be explained."""

    def add(
        self,
        X: NDArray[np.float32],
        parts: Sequence[tuple[int, int]],
        factors: NDArray[np.float64],
        out: NDArray[np.float64],
        *,
        fresh: bool,
        expected: NDArray[np.float64] | None,
    ) -> None:
        """Add to `out` the Shapley values of the sums over some parts of the trees, each times a factor.

        Parameters
        ----------
        X : ndarray of float32 in C order, shape (n_rows, n_features)
            Finite or NaN.
        parts : sequence of (int, int)
            The first tree of each, and the one after the last.
        factors : ndarray of float64, shape (n_parts, n_rows)
        out : ndarray of float64, shape (n_rows, n_features)
        fresh : bool
            Whether to overwrite what is in `out`.
        expected : ndarray of float64, shape (n_rows,), or None
            What each row of `out` is to add up to in the end; rounding is put right by it.
        """
        ...


def _make_explainer(forest: Forest, values: NDArray[np.float32]) -> Explainer:
    try:
        from mlx_iforest.explain.tables import ExplainedTrees
    except ImportError:
        # Without Numba: slowly.
        return ReferenceTrees(forest.trees(0, forest.n_trees), values)
    return ExplainedTrees.of(forest, values)


_explainer = MadeOnce(_make_explainer)


@dataclass(frozen=True, eq=False)
class Explanation:
    """What each feature adds to what a model says of each row: ``base_values + values.sum(axis=1)`` is what it says.

    Where the package `shap` has been imported, this counts as one of its explanations: it goes into
    ``shap.plots.beeswarm(explanation)`` and ``shap.plots.waterfall(explanation[0])`` as it is.

    Attributes
    ----------
    values : ndarray of float64, shape (n_rows, n_features)
        The sign is that of what is explained: a negative value makes the path length, the density or the score lower,
        and so the row more abnormal.
    base_values : ndarray of float64, shape (n_rows,)
        What the model says of a row of which nothing is known; the same for all.
    data : ndarray, shape (n_rows, n_features)
        The rows as they were given.
    feature_names : list of str or None
        Those of the training data.
    """

    values: NDArray[np.float64]
    base_values: NDArray[np.float64]
    data: NDArray[Any]
    feature_names: list[str] | None = None

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: Any) -> Any:
        """Some of the rows, or one; other forms (columns, names, `shap`'s orders) are left to `shap`."""
        if isinstance(rows, int | np.integer | slice | list | np.ndarray):
            picked = (self.values[rows], self.base_values[rows], self.data[rows])
            return Explanation(*picked, feature_names=self.feature_names)
        return self.to_shap()[rows]

    def importance(self) -> NDArray[np.float64]:
        """How much each feature counts over all rows: the mean of the sizes of its values.

        Returns
        -------
        ndarray of float64, shape (n_features,)
            In units of what is explained; 0 for a feature that changes nothing. Of a single row, the sizes.
        """
        importance: NDArray[np.float64] = np.abs(np.atleast_2d(self.values)).mean(axis=0)
        return importance

    def to_shap(self) -> Any:
        """The same as a `shap.Explanation`.

        Raises
        ------
        ImportError
            `shap` is not installed.
        """
        try:
            shap = import_module("shap")
        except ImportError as error:
            raise ImportError(f"this needs the package shap ({error}); pip install shap") from error
        return shap.Explanation(
            self.values, base_values=self.base_values, data=self.data, feature_names=self.feature_names
        )

    # shap's plots take nothing but instances of its own class, and importing it takes seconds; so what is explained
    # becomes one for those who have imported it, before or after.
    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return getattr(sys.modules.get("shap"), "Explanation", type(self))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or "shap" not in sys.modules:
            raise AttributeError(f"an Explanation has no attribute {name!r}; shap's own come with 'import shap'")
        return getattr(self.to_shap(), name)

    def __reduce__(self) -> Any:
        return Explanation, (self.values, self.base_values, self.data, self.feature_names)


def explain(model: FittedModel, X: Any, of: str = "score", *, given: Any = None) -> Explanation:
    """`MLXIsolationForest.explain` of a model that nothing changes.

    Parameters
    ----------
    model : FittedModel
    X : ndarray or CSR matrix of shape (n_samples, n_features)
        Real numbers, as many features as the forest has; infinities are refused.
    of : {'path_length', 'log_density', 'score'}
    given : {array-like, sparse matrix} of shape (n_samples, n_features), default=None
        The rows in the form that the explanation is to show them in; None for `X`.
    """
    if of not in EXPLAINED:
        raise ValueError(f"of={of!r} cannot be explained; expected one of {', '.join(map(repr, EXPLAINED))}")
    forest = model.forest
    if forest.direction_weight is not None:
        raise ValueError(
            "a forest of oblique splits (extension_level > 0) cannot be explained: each split asks of several features"
            " at once, so no question belongs to one of them; fit with extension_level=0"
        )
    if of == "log_density" and forest.log_density is None:
        raise ValueError("of='log_density' needs densities, which this forest does not have; use of='path_length'")
    n_rows, n_features = X.shape
    attribution = _Attribution.of_model(model, of)
    values = np.empty((n_rows, n_features))
    n_threads = model.resources.threads()
    rows = model.resources.batch_rows(max(FEWEST_ROWS, min(BATCH_BYTES // (8 * n_features), -(-n_rows // n_threads))))

    def attribute(rows: slice) -> None:
        part = X[rows]
        if not issparse(part):
            check_finite(part)
        attribution.fill(as_float32(part), values[rows])

    run(attribute, list(batches(X, rows)), n_threads)
    names = model.feature_names
    data = _as_given(X if given is None else given, X)
    return Explanation(values, np.full(n_rows, attribution.base), data, None if names is None else list(names))


def _as_given(X: Any, data: Any) -> NDArray[Any]:
    """The rows as a dense array, in the user's own type where that is a numeric one."""
    given = X.toarray() if issparse(X) else np.asarray(X)
    return given if given.dtype.kind in "fiub" else np.asarray(data)


_expectations = MadeOnce(expectations)


def _base_columns(forest: Forest, part: Part) -> NDArray[np.float64]:
    """The views of a part, shape (n_views,), where no feature is known."""
    columns = part.offset.copy()
    for name, weights in part.weights.items():
        of_trees = _expectations(forest, forest.arrays()[name])
        columns += float(of_trees[part.first : part.stop].mean()) * weights
    return columns


@dataclass(frozen=True)
class _Attribution:
    """How what is explained is made of means over trees.

    Parameters
    ----------
    scored : ScoredForest
        Its scores are what is explained.
    base_columns : ndarray of float64, shape (1, n_views)
    backend : Backend
    explainers : dict of str to Explainer
        For each of the leaf values that count.
    """

    scored: ScoredForest
    base_columns: NDArray[np.float64]
    backend: Backend
    explainers: dict[str, Explainer]

    @classmethod
    def of_model(cls, model: FittedModel, of: str) -> _Attribution:
        forest = model.forest
        scored = model.scored
        if of == "score" and model.function.given is not None:
            raise ValueError(
                "a score that a column of evidence lowers is not explained by the trees; explain 'path_length' or"
                " 'log_density'"
            )
        if of != "score":
            scored = ScoredForest(forest, ScoreFunction.of_mean(forest.n_trees, of, Identity()))
        base = np.concatenate([_base_columns(forest, part) for part in scored.function.parts])[None]
        # Every backend but scikit-learn's gives the same bits as Numba's.
        backend = get_backend("sklearn" if model.resources.backend.name == "sklearn" else "numba")
        explainers = {name: _explainer(forest, forest.arrays()[name]) for name in scored.function.used}
        return cls(scored, base, backend, explainers)

    @property
    def function(self) -> ScoreFunction:
        return self.scored.function

    @cached_property
    def base(self) -> float:
        """What is explained, where no feature is known."""
        return float(self.function.scores(self.base_columns)[0])

    def fill(self, X: NDArray[np.float32], out: NDArray[np.float64]) -> None:
        """Write the attributions of valid rows."""
        columns = self.scored.columns(X, self.backend)
        expected = self.function.scores(columns) - self.base
        factors = self._factors(mean_slopes(self.function, self.base_columns, columns))
        for name, of_parts in factors.items():
            fresh, last = name == next(iter(factors)), name == next(reversed(factors))
            self.explainers[name].add(
                X, list(of_parts), np.stack(list(of_parts.values())), out,
                fresh=fresh, expected=expected if last else None,
            )  # fmt: skip

    def _factors(self, slopes: NDArray[np.float64]) -> dict[str, dict[tuple[int, int], NDArray[np.float64]]]:
        """For each leaf value, by how much each row counts in each part its sums over the trees."""
        factors: dict[str, dict[tuple[int, int], NDArray[np.float64]]] = {}
        column = 0
        for part in self.function.parts:
            for name, weights in part.weights.items():
                # Column by column: a row's result must not depend on the rows beside it, as in a product of matrices.
                factor = np.zeros(len(slopes))
                for offset, weight in enumerate(weights.tolist()):
                    factor += slopes[:, column + offset] * (weight / (part.stop - part.first))
                factors.setdefault(name, {})[part.first, part.stop] = factor
            column += len(part.offset)
        return factors


def mean_slopes(
    how: ScoreFunction, base: NDArray[np.float64], columns: NDArray[np.float64], n_points: int = POINTS
) -> NDArray[np.float64]:
    """The derivative of the score by each column, averaged along the straight line from the base to each row.

    Times how far the columns are apart, they add up to how far the scores are apart (Aumann and Shapley, 1974).

    Parameters
    ----------
    base : ndarray of float64, shape (1, n_columns)
    columns : ndarray of float64, shape (n_rows, n_columns)

    Returns
    -------
    ndarray of float64, shape (n_rows, n_columns)
    """
    if columns.shape[1] == 1:
        # The average is the slope of the secant.
        apart = columns - base
        near = np.abs(apart) < SAME
        secant = (how.scores(columns) - how.scores(base))[:, None] / np.where(near, 1.0, apart)
        return np.where(near, how.gradient((columns + base) / 2), secant)
    slopes = np.zeros_like(columns)
    for t, weight in zip(*gauss_legendre(n_points), strict=True):
        slopes += weight * how.gradient(base + t * (columns - base))
    return slopes
